"""The row contract: which columns a source promises, of which type, and what becomes of a misfit.

One contract compiles to the ingest check, the DQDL ruleset, the Glue table and the Redshift DDL
(:mod:`weir_contract.compile`), so that the four can't disagree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from weir_contract.codec import ContractError

OnMisfit = Literal["quarantine", "null", "fail"]
Classification = Literal["public", "internal", "personal", "sensitive"]

TYPE_NAMES = (
    "string",
    "integer",
    "number",
    "decimal",
    "boolean",
    "date",
    "timestamp",
    "timestamptz",
    "json",
    "binary",
)
TYPE_PATTERN = (
    r"^(string|integer|number|boolean|date|timestamp|timestamptz|json|binary"
    r"|decimal\(([1-9]|[12][0-9]|3[0-8]),([0-9]|[12][0-9]|3[0-7])\))$"
)
"""The type expressions of the API. A decimal has a precision of 1..38 and a scale of 0..37."""

MAX_VARCHAR_BYTES = 65_535
"""Redshift's longest VARCHAR, in bytes (Amazon Redshift Database Developer Guide, *Character types*)."""


@dataclass(frozen=True)
class ColumnType:
    """A parsed type expression. ``precision`` and ``scale`` are digits, for ``decimal`` only."""

    name: str
    precision: int = 0
    scale: int = 0

    @classmethod
    def parse(cls, text: str) -> ColumnType:
        """Parse ``integer``, ``decimal(18,2)``, ...

        Raises
        ------
        ContractError
            The text is no type expression, or a decimal's scale exceeds its precision.
        """
        match = re.match(TYPE_PATTERN, text.replace(" ", ""))
        if not match:
            raise ContractError(f"{text!r} is no type; use one of {', '.join(TYPE_NAMES)}(p,s)")
        if not match.group(2):
            return cls(match.group(1))
        precision, scale = int(match.group(2)), int(match.group(3))
        if scale > precision:
            raise ContractError(f"{text!r}: the scale {scale} exceeds the precision {precision}")
        return cls("decimal", precision, scale)

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.name == "decimal" else self.name


@dataclass(frozen=True)
class Field:
    """One column of the contract.

    Parameters
    ----------
    name
        The target column, as the user spells it. Redshift and the Glue catalog fold it to lower
        case; Parquet keeps it.
    path
        Where the value stands in the raw record: dotted names, ``[n]`` for list items.
    type
        A type expression (:data:`TYPE_PATTERN`), or None where it is to be inferred from the first
        rows.
    nullable
        Whether a missing value or null is allowed.
    max_length
        For ``string``: VARCHAR length in *bytes*. None means Redshift's maximum.
    format
        For ``date`` and the timestamps: a Spark datetime pattern. None means ISO 8601.
    timezone
        For ``timestamptz`` given without an offset: the IANA zone it was written in. None is UTC.
    on_misfit
        What happens to a row whose value does not fit: quarantine the row, store null, or fail
        the run.
    added
        The landing (its sequence number) that brought the column, which the schema lacked; None
        for a column that was stated, or inferred at first.
    widened_from
        What was stated of the column when its type was made wider (:attr:`statement`); None where
        that was not done.
    """

    name: str
    path: str
    type: str | None = None
    nullable: bool = True
    max_length: int | None = None
    format: str | None = None
    timezone: str | None = None
    on_misfit: OnMisfit = "quarantine"
    classification: Classification | None = None
    description: str | None = None
    added: int | None = None
    widened_from: str | None = None

    @property
    def statement(self) -> str:
        """What is stated of the type: ``integer``, ``string(100)``; ``inferred`` for nothing."""
        length = f"({self.max_length})" if self.max_length else ""
        return (self.type or "inferred") + length


NO_MARK = ("", "0", "false")
"""Texts, in lower case, that mark no deletion where ``values`` does not say which do."""


@dataclass(frozen=True)
class DeletionMark:
    """How a record says that its row is gone at the source.

    Parameters
    ----------
    path
        Where the mark stands in the record.
    values
        The record is a deletion where the mark, as text, is one of these. Empty: where it is
        there, and not null or one of :data:`NO_MARK`.
    mapping
        Column -> path in a deletion record, for columns that stand elsewhere there. A path may lead
        on into a text that is JSON, as a Kafka key is.
    """

    path: str
    values: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)

    def meant_by(self, text: str | None) -> bool:
        """Whether a mark of this text (None: null, or not there) says that the row is gone."""
        if text is None:
            return False
        return text in self.values if self.values else text.lower() not in NO_MARK


@dataclass(frozen=True)
class RowContract:
    """What a source promises about its rows.

    ``fields`` empty means: take every top-level key of the record as a column of the same name,
    inferred on the first run. ``keys`` are column names that identify a row, ``rules`` are DQDL.
    ``discovery`` says who tells the types that are not stated: a Glue crawler, or (None) the landing.
    ``pinned`` are columns whose type can't be changed in the tables that they are loaded into;
    ``reserved`` are names that no new column may have, those of partitions. With ``fixed_scale`` a
    decimal gains digits before the point only and an integer stays one: an Iceberg table takes no other
    wider number.
    ``deletion`` says which records are no rows but deletions; None: none is.
    """

    RETIRED: ClassVar[frozenset[str]] = frozenset({"recordFormat"})

    fields: tuple[Field, ...] = ()
    keys: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    on_new_field: Literal["add", "ignore", "quarantine"] = "ignore"
    on_type_change: Literal["quarantine", "widen", "fail"] = "quarantine"
    discovery: Literal["crawler"] | None = None
    pinned: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()
    fixed_scale: bool = False
    deletion: DeletionMark | None = None

    @property
    def evolves(self) -> bool:
        """Whether landings may add columns, or make types wider."""
        return self.on_new_field == "add" or self.on_type_change == "widen"

    @property
    def resolved(self) -> bool:
        """Whether every column is known and typed, so that tables can be created from it."""
        return bool(self.fields) and all(item.type is not None for item in self.fields)

    @property
    def crawled(self) -> bool:
        """Whether types are missing that a crawler has to tell."""
        return self.discovery == "crawler" and not self.resolved

    def field(self, name: str) -> Field:
        """The field of that name, whatever the case; raises :class:`ContractError` if none is."""
        for item in self.fields:
            if item.name.lower() == name.lower():
                return item
        raise ContractError(
            f"no column {name!r}; the schema has {', '.join(f.name for f in self.fields) or 'none'}"
        )

    def with_types(
        self, types: Mapping[str, str], paths: Mapping[str, str] | None = None
    ) -> RowContract:
        """This contract with the types it lacks taken from ``types`` (column -> type).

        What is stated stays. A column without a stated or given type stays without one. Where the
        contract named no fields at all, ``types`` gives the columns, with ``paths`` (default: the
        column's name).
        """
        if not self.fields:
            fields = tuple(
                Field(name, (paths or {}).get(name, name), kind) for name, kind in types.items()
            )
        else:
            fields = tuple(
                item if item.type else replace(item, type=types.get(item.name))
                for item in self.fields
            )
        return replace(self, fields=fields)

    def frozen(
        self, inferred: Mapping[str, str], paths: Mapping[str, str] | None = None
    ) -> RowContract:
        """As :meth:`with_types`; columns without a stated or inferred type become ``string``."""
        typed = self.with_types(inferred, paths)
        return replace(
            typed, fields=tuple(replace(item, type=item.type or "string") for item in typed.fields)
        )

    def in_force(self, frozen: RowContract) -> RowContract:
        """This contract, as it was stated, with what landings have frozen since.

        What is stated goes first. From ``frozen`` come the types that are not stated, the columns
        that were added, and the wider types of columns of which the same is stated as when they
        were widened: who states something else means it. Where no columns are stated, ``frozen``
        has them all.
        """
        if not self.fields:
            return replace(self, fields=frozen.fields)
        known = {item.name.lower(): item for item in frozen.fields}
        stated = {item.name.lower() for item in self.fields}
        added = (
            item for name, item in known.items() if item.added is not None and name not in stated
        )
        settled = (_settled(item, known.get(item.name.lower())) for item in self.fields)
        return replace(self, fields=(*settled, *added))

    @property
    def types(self) -> dict[str, str]:
        """Column -> type, of the columns whose type is known."""
        return {item.name: item.type for item in self.fields if item.type}


def _settled(stated: Field, frozen: Field | None) -> Field:
    if frozen is None:
        return stated
    if frozen.widened_from is not None and frozen.widened_from == stated.statement:
        return replace(
            stated,
            type=frozen.type,
            max_length=frozen.max_length,
            widened_from=frozen.widened_from,
        )
    return stated if stated.type else replace(stated, type=frozen.type)


@dataclass(frozen=True)
class PartitionField:
    """One partition column: a part of the landing time, or a transform of a field.

    ``name`` is the directory's name (``year=``); ``field`` None means the landing time.
    """

    name: str
    field: str | None = None
    transform: Literal["identity", "year", "month", "day", "hour"] = "identity"
    timezone: str = "UTC"
