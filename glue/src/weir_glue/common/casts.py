"""From text to typed columns: exact, and never silent about what does not fit.

Every cast gives two columns: the value, and whether the text did not fit. Nothing is rounded,
wrapped or cut to make it fit.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from weir_contract.rows import ColumnType, Field

INTEGER = r"^[+-]?[0-9]+(\.0*)?$"
NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
TIMESTAMP = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?)?(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)?$"
)
"""ISO 8601 / RFC 3339 with or without time, fraction and offset."""
OFFSET = r"(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)$"
BASE64 = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
TRUE = ("true", "t", "yes", "y", "1")
FALSE = ("false", "f", "no", "n", "0")
ZONE_LETTERS = frozenset("XxZVzO")
"""Letters of a Spark datetime pattern that read a zone (Spark SQL, *Datetime Patterns*)."""
MAX_EXPONENT = 400
"""Largest decimal exponent that is looked at: a longer one would only cost memory."""


@dataclass(frozen=True)
class Cast:
    """A cast's ``value`` and ``misfit`` (true where text was there and did not fit)."""

    value: Column
    misfit: Column


def cast_text(text: Column, item: Field) -> Cast:
    """Cast a text column to the type of a contract's field.

    Parameters
    ----------
    text
        A string column. Null stays null and is no misfit.
    item
        Its ``type``, ``format``, ``timezone`` and ``max_length`` (bytes) are obeyed.
    """
    kind = ColumnType.parse(item.type or "string")
    if kind.name == "string":
        return _string(text, item.max_length)
    bare = F.trim(text)
    if kind.name == "decimal":
        return _decimal(bare, kind)
    return {
        "integer": lambda: _checked(
            bare, INTEGER, F.regexp_replace(bare, r"\..*$", "").cast("bigint")
        ),
        "number": lambda: _number(bare),
        "boolean": lambda: _boolean(bare),
        "date": lambda: _date(bare, item.format),
        "timestamp": lambda: _timestamp(bare, item.format, "UTC"),
        "timestamptz": lambda: _timestamp(bare, item.format, item.timezone or "UTC"),
        "json": lambda: Cast(text, F.lit(False)),
        "binary": lambda: _checked(bare, BASE64, F.unbase64(bare)),
    }[kind.name]()


def spark_type(item: Field) -> str:
    """The Spark SQL type of a field's values."""
    kind = ColumnType.parse(item.type or "string")
    if kind.name == "decimal":
        return f"decimal({kind.precision},{kind.scale})"
    return {
        "integer": "bigint",
        "number": "double",
        "timestamptz": "timestamp",
        "json": "string",
    }.get(kind.name, kind.name)


def _misfit(text: Column, value: Column) -> Cast:
    return Cast(value, text.isNotNull() & value.isNull())


def _checked(text: Column, pattern: str, value: Column) -> Cast:
    return _misfit(text, F.when(text.rlike(pattern), value))


def _string(text: Column, max_length: int | None) -> Cast:
    limit = max_length or 65_535
    fits = F.octet_length(text) <= limit
    return Cast(F.when(fits, text), text.isNotNull() & ~fits)


def _number(text: Column) -> Cast:
    value = text.cast("double")
    finite = F.abs(value) < F.lit(float("inf"))
    return _misfit(text, F.when(text.rlike(NUMBER) & finite, value))


def _decimal(text: Column, kind: ColumnType) -> Cast:
    """Exact: the digits after the point that are not zero must be within the scale."""
    whole = F.regexp_extract(text, r"^[+-]?([0-9]*)", 1)
    fraction = F.regexp_extract(text, r"\.([0-9]*)", 1)
    exponent = F.coalesce(F.regexp_extract(text, r"[eE]([+-]?[0-9]+)$", 1).cast("int"), F.lit(0))
    digits = F.concat(whole, fraction)
    significant = F.regexp_replace(digits, "0+$", "")
    scale = F.length(fraction) - (F.length(digits) - F.length(significant)) - exponent
    exact = (F.length(F.regexp_replace(significant, "^0+", "")) == 0) | (scale <= kind.scale)
    bounded = F.abs(exponent) <= MAX_EXPONENT
    value = F.when(
        text.rlike(NUMBER) & bounded & exact, text.cast(f"decimal({kind.precision},{kind.scale})")
    )
    return _misfit(text, value)


def _boolean(text: Column) -> Cast:
    lower = F.lower(text)
    return _misfit(
        text, F.when(lower.isin(*TRUE), F.lit(True)).when(lower.isin(*FALSE), F.lit(False))
    )


def _date(text: Column, pattern: str | None) -> Cast:
    if pattern:
        return _misfit(text, F.to_date(text, pattern))
    return _checked(text, DATE, text.cast("date"))


def _timestamp(text: Column, pattern: str | None, zone: str) -> Cast:
    """An instant; the session zone is UTC. Text without an offset was written in ``zone``."""
    if pattern:
        value = F.to_timestamp(text, pattern)
        unquoted = "".join(pattern.split("'")[::2])
        if not ZONE_LETTERS & set(unquoted):
            value = F.to_utc_timestamp(value, zone)
        return _misfit(text, value)
    iso = F.regexp_replace(text, ",", ".")
    iso = F.regexp_replace(iso, r"([T ][0-9:.]+)([+-][0-9]{2})$", "$1$2:00")
    iso = F.regexp_replace(iso, r"([T ][0-9:.]+[+-][0-9]{2})([0-9]{2})$", "$1:$2")
    iso = F.regexp_replace(iso, "z$", "Z")
    parsed = iso.cast("timestamp")
    has_offset = text.rlike(r"[T ]") & text.rlike(OFFSET)
    value = F.when(has_offset, parsed).otherwise(F.to_utc_timestamp(parsed, zone))
    return _checked(text, TIMESTAMP, value)
