"""Types of whole columns, told by Arrow: as conservatively as from single values."""

from __future__ import annotations

import re
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from weir_lambdas.landing.infer import DOUBLE_DIGITS, Column, SeenColumn, kind_of
from weir_lambdas.landing.needs import Needs
from weir_lambdas.landing.records import RawNumber

LEADING_ZERO = r"^[+-]?0[0-9]"
"""Digits after a leading zero: an article number or a postcode, no number."""

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


LIKE_NUMBER = r"^\s*[-+]?\.?\d[-+0-9.eE]*\s*$"
"""What may be a number, for a look at each value."""


def columns_of(table: pa.Table, open_: Callable[[str], bool]) -> dict[str, SeenColumn]:
    """What was seen of each column of a table.

    Parameters
    ----------
    open_
        Whether a column of text, by its name, is to be looked at for what else it could be.
    """
    found = typed_columns(table.schema)
    for name in table.column_names:
        if pa.types.is_string(table.schema.field(name).type):
            seen = text_column(table[name]) if open_(name) else Column()
            found[name] = SeenColumn("string", seen)
    return found


def measure(column: pa.ChunkedArray, needs: Needs) -> None:
    """Take the room that a column's values need into account."""
    kind = column.type
    if pa.types.is_integer(kind):
        ends = pc.min_max(column).as_py()
        needs.see(ends["min"])
        needs.see(ends["max"])
    elif pa.types.is_string(kind):
        needs.longest = max(needs.longest, pc.max(pc.binary_length(column)).as_py() or 0)
        numbers = column.filter(pc.match_substring_regex(column, LIKE_NUMBER))
        needs.see_many(pc.unique(numbers).to_pylist())
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        needs.see_many(pc.unique(column).to_pylist())


def typed_columns(schema: pa.Schema) -> dict[str, SeenColumn]:
    """What a schema says of each column; a column of text may still be anything."""
    return {one.name: SeenColumn(json_type(one.type), typed_column(one.type)) for one in schema}


def json_type(kind: pa.DataType) -> str:
    """The JSON type that a column's values have in a record."""
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    return "json" if pa.types.is_nested(kind) else "string"


def typed_column(kind: pa.DataType) -> Column:
    """A column whose type is known, in the contract's terms."""
    column = Column()
    if pa.types.is_boolean(kind):
        column.kinds.add("boolean")
    elif pa.types.is_integer(kind):
        column.kinds.add("integer")
        column.integer_digits, column.wide_integer = 19, kind.bit_width > 32
    elif pa.types.is_floating(kind):
        column.kinds.add("number")
    elif pa.types.is_decimal(kind):
        column.kinds.add("exact")
        column.integer_digits, column.scale = kind.precision - kind.scale, kind.scale
    elif pa.types.is_date(kind):
        column.kinds.add("date")
    elif pa.types.is_timestamp(kind):
        column.kinds.add("timestamptz")
    elif pa.types.is_binary(kind):
        column.kinds.add("binary")
    elif pa.types.is_nested(kind):
        column.kinds.add("json")
    elif not pa.types.is_null(kind):
        column.kinds.add("string")
    return column


def text_column(column: pa.ChunkedArray) -> Column:
    """What a column of text holds: the narrowest type that takes every value that is no null.

    A number with a leading zero, such as a postcode, is text.
    """
    seen = Column()
    present = column.drop_null()
    if len(present) == 0:
        return seen
    first = str(present[0])
    for guess in (_boolean, _number, _moment):
        found = guess(present, first)
        if found is not None:
            return found
    seen.kinds.add("string")
    return seen


def _boolean(column: pa.ChunkedArray, first: str) -> Column | None:
    if first.lower() not in ("true", "false"):
        return None
    words = pa.array(["true", "false"])
    if not pc.all(pc.is_in(pc.utf8_lower(column), value_set=words)).as_py():
        return None
    return Column(kinds={"boolean"})


def _letters(column: pa.ChunkedArray) -> tuple[int, int]:
    """The smallest and the largest byte in a column of text without nulls."""
    low, high = 255, 0
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        ends = pa.Array.from_buffers(pa.int32(), len(chunk) + 1, [None, offsets], 0, chunk.offset)
        first, last = ends[0].as_py(), ends[len(chunk)].as_py()
        if first == last:
            continue
        letters = pa.Array.from_buffers(pa.uint8(), last - first, [None, data], 0, first)
        found = pc.min_max(letters).as_py()
        low, high = min(low, found["min"]), max(high, found["max"])
    return low, high


def _number(column: pa.ChunkedArray, first: str) -> Column | None:
    if not NUMBER.fullmatch(first):
        return None
    low, high = _letters(column)
    if low < ord("+") or (high > ord("9") and _odd_letters(column)):
        return None
    # Without signs, what has a leading zero begins with it: that is told without an expression.
    doubted = column if low < ord(".") else column.filter(pc.starts_with(column, "0"))
    if pc.any(pc.match_substring_regex(doubted, LEADING_ZERO)).as_py():
        return None
    digits = pc.max(pc.binary_length(column)).as_py()
    if "." in first or high > ord("9"):
        return _fraction(column, digits)
    try:
        integers = pc.cast(column, pa.int64())
    except pa.ArrowInvalid:
        return _fraction(column, digits)
    ends = pc.min_max(integers).as_py()
    wide = max(ends["max"], -ends["min"]) > 2**53
    return Column(kinds={"integer"}, integer_digits=digits, wide_integer=wide)


def _odd_letters(column: pa.ChunkedArray) -> bool:
    """Whether there are letters of no decimal number: inf, nan and hexadecimal are numbers to
    Arrow, and text to everybody else."""
    return bool(pc.any(pc.match_substring_regex(column, r"[^-+0-9.eE]")).as_py())


def _fraction(column: pa.ChunkedArray, digits: int) -> Column | None:
    try:
        pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        return None
    if digits <= DOUBLE_DIGITS:
        return Column(kinds={"number"}, integer_digits=digits, scale=0)
    seen = Column()
    for text in pc.unique(column).to_pylist():
        number = RawNumber(text)
        seen.kinds.add(kind_of(number) or "number")
        seen.measure(number)
    return seen


MOMENTS: tuple[tuple[str, str, pa.DataType], ...] = (
    ("date", r"^\d{4}-\d{2}-\d{2}$", pa.date32()),
    (
        "timestamptz",
        r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})$",
        pa.timestamp("us", "UTC"),
    ),
    (
        "timestamp",
        r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?$",
        pa.timestamp("us"),
    ),
)
"""Type, its shape, and the Arrow type that knows whether the day exists."""


def _moment(column: pa.ChunkedArray, first: str) -> Column | None:
    for kind, shape, arrow in MOMENTS:
        if not re.match(shape, first):
            continue
        try:
            pc.cast(column, arrow)
        except pa.ArrowInvalid:
            return None
        if not pc.all(pc.match_substring_regex(column, shape)).as_py():
            return None
        return Column(kinds={kind})
    return None
