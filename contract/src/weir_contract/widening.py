"""Which type holds the values of another, and more? What is not here is not widened.

A double holds no BIGINT for certain (integers beyond 2^53), so that whole numbers become decimals.
"""

from __future__ import annotations

from dataclasses import replace

from weir_contract.rows import MAX_VARCHAR_BYTES, ColumnType, Field

INTEGER_DIGITS = 19
"""Decimal digits of a BIGINT."""

DECIMAL_DIGITS = 38
"""Digits of the largest decimal, of Redshift and of Spark."""

MAX_SCALE = 37
"""Digits after the point, at most (Amazon Redshift Database Developer Guide, *Numeric types*)."""


def wider_number(
    kind: ColumnType, whole: int, fraction: int, fixed_scale: bool = False
) -> ColumnType | None:
    """The decimal that holds a column's values and such numbers; None where none does, or need be.

    It has room for any BIGINT before the point, where there is that much: so that the column is not
    written anew for each further digit.

    Parameters
    ----------
    kind
        The column's type.
    whole, fraction
        Digits before and after the point that the numbers need.
    fixed_scale
        Whether the digits after the point have to stay as many as they are, and integers integers.
    """
    if kind.name not in ("integer", "decimal"):
        return None
    if fixed_scale and (kind.name == "integer" or fraction > kind.scale):
        return None
    held = INTEGER_DIGITS if kind.name == "integer" else kind.precision - kind.scale
    if whole <= held and fraction <= kind.scale:
        return None
    scale = max(kind.scale, fraction)
    whole = max(whole, held, min(INTEGER_DIGITS, DECIMAL_DIGITS - scale))
    if scale > MAX_SCALE or whole + scale > DECIMAL_DIGITS:
        return None
    return ColumnType("decimal", whole + scale, scale)


def longer_string(length: int | None, longest: int) -> int | None:
    """The length that holds a text: the stated one doubled until it fits; None where none need be.

    Parameters
    ----------
    length
        VARCHAR length, bytes; None: Redshift's maximum, which nothing exceeds.
    longest
        Of the texts, bytes.
    """
    if length is None or not length < longest <= MAX_VARCHAR_BYTES:
        return None
    while length < longest:
        length *= 2
    return min(length, MAX_VARCHAR_BYTES)


def widened(
    item: Field, whole: int, fraction: int, longest: int, mark: str, fixed_scale: bool = False
) -> Field | None:
    """A column that holds such values too, marked with what is stated of it; None: it stays.

    Parameters
    ----------
    item
        The column in force.
    mark
        What is stated of it (:attr:`weir_contract.rows.Field.statement`).
    whole, fraction
        Digits of the numbers that were seen.
    longest
        Bytes of the longest text.
    fixed_scale
        As of :func:`wider_number`.
    """
    kind = ColumnType.parse(item.type or "string")
    number = wider_number(kind, whole, fraction, fixed_scale)
    if number is not None:
        return replace(item, type=str(number), widened_from=mark)
    length = longer_string(item.max_length, longest) if kind.name == "string" else None
    return None if length is None else replace(item, max_length=length, widened_from=mark)


def holds(wide: ColumnType, narrow: ColumnType) -> bool:
    """Whether a number's type is a decimal that holds every value of another whole or decimal one."""
    if wide.name != "decimal" or narrow.name not in ("integer", "decimal") or wide == narrow:
        return False
    held = INTEGER_DIGITS if narrow.name == "integer" else narrow.precision - narrow.scale
    return wide.scale >= narrow.scale and wide.precision - wide.scale >= held
