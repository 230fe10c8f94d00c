"""One contract, compiled: Redshift DDL, Glue columns, DQDL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from weir_contract.codec import ContractError
from weir_contract.pipelines import Load
from weir_contract.rows import MAX_VARCHAR_BYTES, ColumnType, Field

REDSHIFT_TYPES = {
    "integer": "BIGINT",
    "number": "DOUBLE PRECISION",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "json": "SUPER",
    "binary": "VARBYTE(1024000)",
}
"""Type -> Redshift type; string and decimal carry their lengths (:func:`redshift_type`)."""

GLUE_TYPES = {
    "string": "string",
    "integer": "bigint",
    "number": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamp",
    "json": "string",
    "binary": "binary",
}
"""Type -> Hive type of the Glue Data Catalog; decimal carries its digits."""

IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_$]{0,126}\Z")


def quoted(identifier: str) -> str:
    """A Redshift identifier, folded to lower case as Redshift stores it, in double quotes.

    Raises
    ------
    ContractError
        It is no plain identifier (letters, digits, ``_`` and ``$``; 127 characters at most).
    """
    if not IDENTIFIER.match(identifier):
        raise ContractError(
            f"{identifier!r} can't name a schema, table or column: use letters, digits and _, "
            "starting with a letter"
        )
    return f'"{identifier.lower()}"'


def literal(text: str) -> str:
    """A SQL string literal; quotes and backslashes inside can't end it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def redshift_type(item: Field) -> str:
    """The Redshift type of a column. A column without a type is a string."""
    kind = ColumnType.parse(item.type or "string")
    if kind.name == "string":
        return f"VARCHAR({item.max_length or MAX_VARCHAR_BYTES})"
    if kind.name == "decimal":
        return f"DECIMAL({kind.precision},{kind.scale})"
    return REDSHIFT_TYPES[kind.name]


REWRITTEN = "_weir_rewritten"
"""Name of a column while it is written anew; no reader ever sees it."""


def rewrite_column(table: str, column: str, kind: str) -> list[str]:
    """Statements that give a column another type, for one transaction: add, copy, drop, rename.

    Redshift alters no other type in place than a VARCHAR's length. Done a second time, they change
    nothing. The table is locked, and each of its rows written.

    Parameters
    ----------
    table
        Its name in SQL.
    column, kind
        Its name, and the type that it gets, in SQL.
    """
    name = quoted(column)
    return [
        f"ALTER TABLE {table} ADD COLUMN {quoted(REWRITTEN)} {kind}",
        f"UPDATE {table} SET {quoted(REWRITTEN)} = {name}",
        f"ALTER TABLE {table} DROP COLUMN {name}",
        f"ALTER TABLE {table} RENAME COLUMN {quoted(REWRITTEN)} TO {name}",
    ]


def glue_type(item: Field) -> str:
    """The Glue catalog's type of a column."""
    kind = ColumnType.parse(item.type or "string")
    if kind.name == "decimal":
        return f"decimal({kind.precision},{kind.scale})"
    return GLUE_TYPES[kind.name]


def glue_columns(fields: Sequence[Field]) -> list[dict[str, str]]:
    """``Columns`` of a Glue ``StorageDescriptor``: names in lower case, descriptions as comments.

    A comment is one line of 255 characters at most (AWS Glue API, *Column*).
    """
    return [
        {"Name": item.name.lower(), "Type": glue_type(item)}
        | ({"Comment": " ".join(item.description.split())[:255]} if item.description else {})
        for item in fields
    ]


SYSTEM_COLUMNS = (
    ("_weir_run", "VARCHAR(128)"),
    ("_weir_sequence", "BIGINT"),
)
"""Columns that every loaded table carries: which run wrote the row, from which landing."""


DELETED_AT = ("_weir_deleted_at", "TIMESTAMP")
"""Column of a target with ``deletes: soft``: when a load found the row deleted, UTC; else null."""


def system_columns(load: Load) -> tuple[tuple[str, str], ...]:
    """Weir's own columns of a load's target, with their types."""
    return (*SYSTEM_COLUMNS, DELETED_AT) if load.deletes == "soft" else SYSTEM_COLUMNS


def table_ddl(load: Load, fields: Sequence[Field]) -> str:
    """``CREATE TABLE IF NOT EXISTS`` for a load's target, with its DISTKEY and SORTKEY.

    Keys become ``NOT NULL`` columns; Redshift does not enforce primary keys, so none is declared.

    Raises
    ------
    ContractError
        A key names a column that the fields lack, or a SUPER column is a dist or sort key.
    """
    names = {item.name.lower(): item for item in fields}
    for role, column in _key_columns(load):
        if column.lower() not in names:
            raise ContractError(
                f"{role} {column!r} is no column of {load.schema}.{load.table}; "
                f"there are {', '.join(item.name for item in fields)}"
            )
    lines = []
    required = {key.lower() for key in load.keys}
    for item in fields:
        null = " NOT NULL" if item.name.lower() in required or not item.nullable else ""
        lines.append(f"  {quoted(item.name)} {redshift_type(item)}{null}")
    lines += [f"  {quoted(name)} {kind}" for name, kind in system_columns(load)]
    text = f"CREATE TABLE IF NOT EXISTS {quoted(load.schema)}.{quoted(load.table)} (\n"
    text += ",\n".join(lines) + "\n)"
    if load.distkey:
        text += f"\nDISTSTYLE KEY DISTKEY ({quoted(load.distkey)})"
    if load.sortkey:
        text += f"\nSORTKEY ({', '.join(quoted(name) for name in load.sortkey)})"
    return text


def _key_columns(load: Load) -> Iterable[tuple[str, str]]:
    if load.distkey:
        yield "distkey", load.distkey
    for name in load.sortkey:
        yield "sortkey", name
    for name in load.keys:
        yield "key", name
    if load.order_by:
        yield "orderBy", load.order_by


def contract_rules(fields: Sequence[Field], keys: Sequence[str]) -> list[str]:
    """The DQDL rules that a contract implies: completeness and key uniqueness."""
    rules = [f'IsComplete "{item.name}"' for item in fields if not item.nullable]
    if len(keys) == 1:
        rules.append(f'IsPrimaryKey "{keys[0]}"')
    elif keys:
        columns = " ".join(f'"{key}"' for key in keys)
        rules.append(f"IsPrimaryKey {columns}")
    return rules
