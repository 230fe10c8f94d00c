"""What an Iceberg table looks like: its columns, its partitions, its properties. Decisions only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from weir_contract.compile import DELETED_AT
from weir_contract.pipelines import IcebergTable
from weir_contract.rows import ColumnType, Field, PartitionField
from weir_glue.common.columns import LANDED, RUN, SEQUENCE
from weir_glue.common.errors import TableConflict

OWN = {RUN: "string", SEQUENCE: "bigint", LANDED: "timestamp"}
"""Weir's columns in a table: which run wrote the row, from which landing, and when that was."""

MARK = DELETED_AT[0]
"""Column of a table with ``deletes: soft``: when a run found the row deleted; else null."""

TYPES = {
    "string": "string",
    "integer": "bigint",
    "number": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp_ntz",
    "timestamptz": "timestamp",
    "json": "string",
    "binary": "binary",
}
"""Type expression -> Spark's type of the Iceberg column (Iceberg, *Spark Writes*, "Spark type to
Iceberg type": ``timestamp`` is one with a zone, ``timestamp_ntz`` one without)."""

PARTS = ("year", "month", "day", "hour")
"""From coarse to fine: a table takes one of them a column, and the finest says the most."""

DECIMAL = re.compile(r"^decimal\((\d+),\s*(\d+)\)$")


def own(table: IcebergTable) -> dict[str, str]:
    """Weir's columns of a table -> Spark's type."""
    return {**OWN, MARK: "timestamp"} if table.takes_deletions else OWN


def columns(fields: Sequence[Field], table: IcebergTable) -> dict[str, str]:
    """Column -> Spark's type, the names in lower case as Athena has them, Weir's own at the end."""
    found = {}
    for item in fields:
        kind = ColumnType.parse(item.type or "string")
        if kind.name == "decimal":
            found[item.name.lower()] = f"decimal({kind.precision},{kind.scale})"
        else:
            found[item.name.lower()] = TYPES[kind.name]
    return {**found, **own(table)}


def partitions(items: Sequence[PartitionField]) -> list[str]:
    """Hidden partition transforms as ``ALTER TABLE`` and ``CREATE TABLE`` spell them.

    year, month, day and hour of one column become the finest of them: Iceberg refuses two that say
    the same, and a filter on the column finds its files by the finest.
    """
    found: dict[str, str] = {}
    for item in items:
        name = (item.field or LANDED).lower()
        before = found.get(name)
        if item.transform == "identity":
            found.setdefault(name, "identity")
        elif before in (None, "identity") or PARTS.index(before) < PARTS.index(item.transform):
            found[name] = item.transform
    return [
        quoted(name) if part == "identity" else f"{part}s({quoted(name)})"
        for name, part in found.items()
    ]


def quoted(name: str) -> str:
    """A name in Spark SQL."""
    return "`" + name.replace("`", "``") + "`"


def properties(table: IcebergTable) -> dict[str, str]:
    """Table properties (Iceberg, *Configuration*). Rewritten files rather than delete files: every
    reader takes them, and reading costs no more after many merges."""
    return {
        "format-version": "2",
        "write.delete.mode": "copy-on-write",
        "write.update.mode": "copy-on-write",
        "write.merge.mode": "copy-on-write",
        "write.target-file-size-bytes": str(128 * 1024 * 1024),
        "write.metadata.delete-after-commit.enabled": "true",
        "write.metadata.previous-versions-max": "20",
        # A run finds its own rows by it: the default cuts a file's bounds after 16 characters.
        f"write.metadata.metrics.column.{RUN}": "full",
        "history.expire.max-snapshot-age-ms": str(table.keep_seconds * 1000),
        "history.expire.min-snapshots-to-keep": "1",
    }


def changes(there: Mapping[str, str], wanted: Mapping[str, str], table: str) -> list[str]:
    """What ``ALTER TABLE`` has to say before rows of the wanted columns fit.

    Parameters
    ----------
    there, wanted
        Column -> Spark's type. A column that only the table has stays, and is null in new rows.

    Raises
    ------
    TableConflict
        A column has another type, and Iceberg can't widen the one into the other.
    """
    added = [f"{quoted(name)} {kind}" for name, kind in wanted.items() if name not in there]
    found = [f"ADD COLUMNS ({', '.join(added)})"] if added else []
    for name, kind in wanted.items():
        before = there.get(name, kind)
        if before == kind:
            continue
        if not widens(before, kind):
            raise TableConflict(
                f"table {table}, column {name}: it holds {before}, the rows have {kind}, and "
                "Iceberg can't make the one the other. State the type that the table has, name "
                "the column anew, or let a new source write a new table"
            )
        found.append(f"ALTER COLUMN {quoted(name)} TYPE {kind}")
    return found


def fits(there: str, kind: str) -> bool:
    """Whether values of a type go into a column of another one that is wider."""
    return there == kind or widens(kind, there)


def widens(before: str, after: str) -> bool:
    """Whether Iceberg can promote a type: decimals to more digits of the same scale (Iceberg Table
    Spec, *Schema Evolution*; Weir writes neither ``int`` nor ``float``)."""
    old, new = DECIMAL.match(before), DECIMAL.match(after)
    return bool(old and new and old[2] == new[2] and int(old[1]) <= int(new[1]))
