"""Redshift's column types: how each is spelled, stored in DuckDB, and what fits into it.

https://docs.aws.amazon.com/redshift/latest/dg/c_Supported_data_types.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from weir_local.redshift.errors import SqlError

MAX_VARCHAR = 65_535
MAX_CHAR = 4_096
MAX_VARBYTE = 1_024_000


@dataclass(frozen=True)
class Base:
    """A type without its lengths.

    Parameters
    ----------
    name
        As ``svv_columns`` spells it.
    wire
        As the Data API's ``ColumnMetadata`` spells it.
    stored
        The DuckDB type that keeps it.
    """

    name: str
    wire: str
    stored: str


BASES = {
    base.wire: base
    for base in (
        Base("smallint", "int2", "SMALLINT"),
        Base("integer", "int4", "INTEGER"),
        Base("bigint", "int8", "BIGINT"),
        Base("real", "float4", "FLOAT"),
        Base("double precision", "float8", "DOUBLE"),
        Base("boolean", "bool", "BOOLEAN"),
        Base("date", "date", "DATE"),
        Base("timestamp without time zone", "timestamp", "TIMESTAMP"),
        Base("timestamp with time zone", "timestamptz", "TIMESTAMPTZ"),
        Base("time without time zone", "time", "TIME"),
        Base("super", "super", "JSON"),
        Base("numeric", "numeric", "DECIMAL"),
        Base("character varying", "varchar", "VARCHAR"),
        Base("character", "bpchar", "VARCHAR"),
        Base("binary varying", "varbyte", "BLOB"),
    )
}

SPELLINGS = {
    "smallint": "int2",
    "int2": "int2",
    "integer": "int4",
    "int": "int4",
    "int4": "int4",
    "bigint": "int8",
    "int8": "int8",
    "real": "float4",
    "float4": "float4",
    "double precision": "float8",
    "float8": "float8",
    "float": "float8",
    "boolean": "bool",
    "bool": "bool",
    "date": "date",
    "timestamp": "timestamp",
    "timestamp without time zone": "timestamp",
    "timestamptz": "timestamptz",
    "timestamp with time zone": "timestamptz",
    "time": "time",
    "time without time zone": "time",
    "super": "super",
    "decimal": "numeric",
    "numeric": "numeric",
    "varchar": "varchar",
    "character varying": "varchar",
    "nvarchar": "varchar",
    "text": "varchar",
    "char": "bpchar",
    "character": "bpchar",
    "nchar": "bpchar",
    "bpchar": "bpchar",
    "varbyte": "varbyte",
    "varbinary": "varbyte",
    "binary varying": "varbyte",
}


@dataclass(frozen=True)
class Type:
    """A column's type: ``wire`` names the base; lengths are bytes, precision and scale digits."""

    wire: str
    length: int | None = None
    precision: int | None = None
    scale: int | None = None

    @property
    def base(self) -> Base:
        """The type without its lengths."""
        return BASES[self.wire]

    @property
    def stored(self) -> str:
        """The DuckDB type that keeps it."""
        if self.wire == "numeric":
            return f"DECIMAL({self.precision},{self.scale})"
        return self.base.stored

    def __str__(self) -> str:
        if self.wire == "numeric":
            return f"numeric({self.precision},{self.scale})"
        if self.length is not None:
            return f"{self.base.name}({self.length})"
        return self.base.name


_TYPE = re.compile(r"^\s*([a-z0-9 _]+?)\s*(?:\(\s*([a-z0-9]+)\s*(?:,\s*(\d+)\s*)?\))?\s*$")

_LENGTHS = {
    "varchar": (256, MAX_VARCHAR),
    "bpchar": (1, MAX_CHAR),
    "varbyte": (64_000, MAX_VARBYTE),
}


def parse_type(text: str) -> Type:
    """Read a type as SQL spells it.

    Raises
    ------
    SqlError
        Redshift has no such type, or the length is beyond what it takes.
    """
    match = _TYPE.match(text.lower())
    if match is None or match[1] not in SPELLINGS:
        raise SqlError(f'type "{text.lower()}" does not exist')
    name, first, second = match.groups()
    wire = SPELLINGS[name]
    if wire in _LENGTHS:
        default, limit = _LENGTHS[wire]
        if name in ("text", "bpchar"):
            default = 256
        length = limit if first == "max" else int(first or default)
        if not 1 <= length <= limit:
            raise SqlError(f"length for type {name} cannot exceed {limit}")
        return Type(wire, length=length)
    if wire == "numeric":
        precision, scale = int(first or 18), int(second or 0)
        if not 1 <= precision <= 38:
            raise SqlError(f"DECIMAL precision {precision} must be between 1 and 38")
        if scale > min(precision, 37):
            raise SqlError(f"NUMERIC scale {scale} must be between 0 and precision {precision}")
        return Type(wire, precision=precision, scale=scale)
    if name == "float" and first:
        return Type("float4" if int(first) <= 24 else "float8")
    if first:
        raise syntax_of(name)
    return Type(wire)


def syntax_of(name: str) -> SqlError:
    """A type without lengths was given one."""
    return SqlError(f'type modifier is not allowed for type "{name}"')


def fitted(expression: str, kind: Type, column: str, not_null: bool, cast: bool = True) -> str:
    """DuckDB SQL that yields the expression as the column keeps it, or fails as Redshift does.

    Parameters
    ----------
    expression
        DuckDB SQL; it is evaluated more than once, so it should be a column's name.
    kind, column, not_null
        The column that is assigned.
    cast
        False if the expression already has the column's type.
    """
    value = f"CAST({expression} AS {kind.stored})" if cast else expression
    branches = ""
    if not_null:
        text = f"Cannot insert a NULL value into column {column}"
        branches += f" WHEN ({expression}) IS NULL THEN error({_text(text)})"
    if kind.wire in ("varchar", "bpchar"):
        text = f"value too long for type {kind}"
        branches += f" WHEN strlen({value}) > {kind.length} THEN error({_text(text)})"
    if kind.wire == "bpchar":
        text = "CHAR string contains invalid ASCII character"
        branches += f" WHEN strlen({value}) <> length({value}) THEN error({_text(text)})"
        value = f"rtrim({value}, ' ')"
    if kind.wire == "varbyte":
        text = f"value too long for type binary varying({kind.length})"
        branches += f" WHEN octet_length({value}) > {kind.length} THEN error({_text(text)})"
    return f"CASE{branches} ELSE {value} END" if branches else value


MARK = "redshift: "
"""Starts the errors that generated SQL raises itself, so that they can be told from DuckDB's."""


def _text(message: str) -> str:
    return "'" + (MARK + message).replace("'", "''") + "'"
