"""Are the target and its tombstones as the rows need them, and what makes them so? One step at a
time, before the load.

How Redshift changes a table (Amazon Redshift Database Developer Guide, *ALTER TABLE*): columns are
added in a transaction; a VARCHAR is made longer in place, outside of one; any other type needs a new
column, a copy, and a change of names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir_contract.codec import ContractError
from weir_contract.compile import quoted, redshift_type, rewrite_column
from weir_contract.pipelines import Load
from weir_contract.rows import ColumnType, Field
from weir_contract.tombstones import tombstone_fields, tombstone_name, tombstone_table
from weir_contract.widening import holds

MAX_STATEMENTS = 40
"""Statements of a batch (Amazon Redshift Management Guide, *Using the Amazon Redshift Data API*)."""

MAX_REWRITES = 5
"""Columns that one transaction writes anew."""

NUMBERS: Mapping[str, str] = {"int8": "integer", "bigint": "integer"}
"""The catalog's type names of whole numbers that can be widened; ``numeric`` has its digits."""


@dataclass(frozen=True)
class Target:
    """A target's column as the catalog tells it: ``length`` in bytes, of a VARCHAR alone."""

    kind: ColumnType | None = None
    length: int | None = None


@dataclass(frozen=True)
class Step:
    """Statements to run now; ``alone``: the one outside of a transaction."""

    sqls: tuple[str, ...]
    alone: bool = False


def target_of(column: Mapping[str, Any]) -> Target:
    """A column of DescribeTable's ``ColumnList``."""
    name = str(column.get("typeName", "")).lower()
    if name in ("varchar", "character varying"):
        return Target(length=int(column.get("length") or 0))
    if name in ("numeric", "decimal"):
        digits = int(column.get("precision") or 0), int(column.get("scale") or 0)
        return Target(ColumnType("decimal", *digits))
    return Target(ColumnType(NUMBERS[name])) if name in NUMBERS else Target()


def next_step(load: Load, fields: Sequence[Field], there: Mapping[str, Target]) -> Step | None:
    """What is to be done to the target before it is loaded; None: nothing.

    Parameters
    ----------
    fields
        Columns of the rows. Those that landings have widened say so.
    there
        The target's columns by name, in lower case; none: it does not exist, and is created by the
        load.

    Raises
    ------
    ContractError
        A column would have to be written anew that can't be: a key, a distkey, a sortkey, or one
        that is not nullable.
    """
    if not there:
        return None
    table = f"{quoted(load.schema)}.{quoted(load.table)}"
    new = [
        f"ALTER TABLE {table} ADD COLUMN {quoted(item.name)} {redshift_type(item)}"
        for item in fields
        if item.name.lower() not in there
    ]
    if new:
        return Step(tuple(new[:MAX_STATEMENTS]))
    return _wider(table, fields, there, lambda item: _may_be_rewritten(load, item))


def widens_tombstones(load: Load, fields: Sequence[Field]) -> bool:
    """Whether landings have widened a column that the tombstones of a load have too."""
    return load.takes_deletions and any(
        item.widened_from is not None for item in tombstone_fields(load, fields)
    )


def tombstone_step(load: Load, fields: Sequence[Field], there: Mapping[str, Target]) -> Step | None:
    """What is to be done to a load's tombstones before it, once the target is as it should be; None:
    nothing.

    Parameters
    ----------
    fields, there
        As of :func:`next_step`; ``there`` are the tombstones' columns. A column that they lack is no
        step: they do not fit the load.

    Raises
    ------
    ContractError
        A key would have to be written anew, which is never null.
    """
    known = [item for item in tombstone_fields(load, fields) if item.name.lower() in there]

    def check(item: Field) -> None:
        if item.name.lower() in (key.lower() for key in load.keys):
            where = f"{load.schema}.{tombstone_table(load)}"
            raise ContractError(
                f"column {item.name} is {item.type} in the rows by now (onTypeChange: widen), and a "
                f"key of {where}, which Redshift can't change: drop {where}, which is made anew and "
                "forgets the deletions that it has"
            )

    return _wider(tombstone_name(load), known, there, check)


def _wider(
    table: str,
    fields: Sequence[Field],
    there: Mapping[str, Target],
    check: Callable[[Field], None],
) -> Step | None:
    """What makes columns of a table as wide as landings have made them."""
    wide = [item for item in fields if item.widened_from is not None]
    for item in wide:
        length = there[item.name.lower()].length
        if length is not None and item.max_length is not None and length < item.max_length:
            alter = f"ALTER COLUMN {quoted(item.name)} TYPE {redshift_type(item)}"
            return Step((f"ALTER TABLE {table} {alter}",), alone=True)
    narrow = [item for item in wide if _narrow(item, there[item.name.lower()])]
    for item in narrow:
        check(item)
    statements: list[str] = []
    for item in narrow[:MAX_REWRITES]:
        statements += rewrite_column(table, item.name, redshift_type(item))
    return Step(tuple(statements)) if statements else None


def _narrow(item: Field, target: Target) -> bool:
    kind = ColumnType.parse(item.type or "string")
    return target.kind is not None and holds(kind, target.kind)


def _may_be_rewritten(load: Load, item: Field) -> None:
    for role, names in (
        ("a key", load.keys),
        ("the distkey", (load.distkey or "",)),
        ("a sortkey", load.sortkey),
    ):
        if item.name.lower() in (name.lower() for name in names):
            raise ContractError(
                f"column {item.name} is {item.type} in the rows by now (onTypeChange: widen), and "
                f"{role} of {load.schema}.{load.table}, which Redshift can't change: load into a "
                "table of another name, or state another type of the column in schema.fields"
            )
    if not item.nullable:
        raise ContractError(
            f"column {item.name} is {item.type} in the rows by now (onTypeChange: widen), and not "
            f"nullable in {load.schema}.{load.table}: Redshift can't write such a column anew; state "
            "another type of it in schema.fields, or load into a table of another name"
        )
