"""DuckDB's errors in Redshift's words."""

from __future__ import annotations

import re
from collections.abc import Callable

import duckdb

from weir_local.redshift.errors import SqlError, serialization
from weir_local.redshift.types import MARK

_TYPES = {"INT16": "smallint", "INT32": "integer", "INT64": "bigint", "BOOL": "boolean"}

_DUCKDB_ERRORS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], SqlError]], ...] = (
    (re.compile(re.escape(MARK) + r"([^\n]*)"), lambda m: SqlError(m[1].strip())),
    (
        re.compile(r"[Cc]onflict on|write-write conflict|has been altered by a different"),
        lambda m: serialization(m.string.split("\n")[0][:80]),
    ),
    (
        re.compile(r'Referenced column "([^"]+)" (?:not found|was not found)'),
        lambda m: SqlError(f'column "{m[1]}" does not exist'),
    ),
    (
        re.compile(r'(?:Referenced table|table named) "([^"]+)" not found'),
        lambda m: SqlError(f'missing FROM-clause entry for table "{m[1]}"'),
    ),
    (
        re.compile(r'Ambiguous reference to column name "([^"]+)"'),
        lambda m: SqlError(f'column reference "{m[1]}" is ambiguous'),
    ),
    (
        re.compile(r"to DECIMAL|DECIMAL\(\d+,\s*\d+\)|type DECIMAL"),
        lambda _: SqlError("Numeric data overflow (result precision)"),
    ),
    (
        re.compile(
            r"(?:destination type|to type|cast to) (INT16|INT32|INT64|SMALLINT|INTEGER|BIGINT)|out of range"
        ),
        lambda _: SqlError("Value out of range for the target type"),
    ),
    (
        re.compile(r"Could not convert string '([^']*)' to (\w+)"),
        lambda m: SqlError(
            f'invalid input syntax for type {_TYPES.get(m[2], m[2].lower())}: "{m[1]}"'
        ),
    ),
    (
        re.compile(
            r'(?:date|timestamp|time) field value out of range: "([^"]*)"|invalid (?:date|timestamp) field format: "([^"]*)"'
        ),
        lambda m: SqlError(f'invalid input syntax for date or timestamp: "{m[1] or m[2]}"'),
    ),
    (re.compile(r"Division by zero"), lambda _: SqlError("Divide by zero")),
    (re.compile(r"Malformed JSON"), lambda _: SqlError("Invalid JSON syntax")),
    (
        re.compile(r"must appear in the GROUP BY clause"),
        lambda _: SqlError("a column must appear in the GROUP BY clause or be aggregated"),
    ),
)


def translated_error(problem: duckdb.Error) -> SqlError:
    """DuckDB's error in Redshift's words; what is not known keeps DuckDB's first line."""
    text = str(problem)
    for pattern, make in _DUCKDB_ERRORS:
        if found := pattern.search(text):
            return make(found)
    return SqlError(text.split("\n")[0])
