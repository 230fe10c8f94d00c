"""Types of columns, told from rows: conservatively, since a frozen type is hard to take back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from operator import itemgetter
from typing import Any

import msgspec

from weir_contract.rows import Field, RowContract
from weir_lambdas.landing.needs import Needs
from weir_lambdas.landing.paths import PathError, lookup, steps
from weir_lambdas.landing.records import RawNumber

INT64 = range(-(2**63), 2**63)
DOUBLE_DIGITS = 15
"""Significant decimal digits that a double keeps for certain."""

DOUBLE_EXPONENT = 307
"""Powers of ten that a double has for certain."""

MAX_DECIMAL_DIGITS = 38
MAX_COLUMNS = 1_598
"""Columns of a Redshift table (1,600) less Weir's own two."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,6})?)?")
_ZONED = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})")


def _valid(read: Any, text: str) -> bool:
    try:
        read(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _all_valid(read: Callable[[str], Any], texts: Iterable[str]) -> bool:
    try:
        for _ in map(read, texts):
            pass
    except ValueError:
        return False
    return True


_DIGITS = bytes.maketrans(b"123456789", b"000000000")


def _look_alike(values: Sequence[str], form: re.Pattern[str]) -> bool:
    """Whether all texts have a form that tells no digit from another: each shape is matched once."""
    text = "\n".join(values)
    if not text.isascii() or text.count("\n") != len(values) - 1:
        return all(map(form.fullmatch, values))
    lines = (text + "\n").encode().translate(_DIGITS)
    first = lines[: lines.index(b"\n") + 1]
    shapes = {first[:-1]} if lines == first * len(values) else set(lines[:-1].split(b"\n"))
    return all(form.fullmatch(shape.decode()) for shape in shapes)


def kind_of(value: Any) -> str | None:
    """The narrowest type of one value; None for null. ``exact`` is a number that a double bends."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (dict, list)):
        return "json"
    if isinstance(value, int):
        return "integer" if value in INT64 else "exact"
    if isinstance(value, float):
        return "number"
    if isinstance(value, RawNumber):
        return "number" if _fits_double(value.decimal) else "exact"
    if _DATE.fullmatch(value) and _valid(date.fromisoformat, value):
        return "date"
    if _TIMESTAMP.fullmatch(value) and _valid(datetime.fromisoformat, value):
        return "timestamp"
    if _ZONED.fullmatch(value) and _valid(datetime.fromisoformat, value):
        return "timestamptz"
    return "string"


def _fits_double(number: Decimal | None) -> bool:
    """Whether a double keeps a number's digits."""
    if number is None or not -DOUBLE_EXPONENT < number.adjusted() < DOUBLE_EXPONENT:
        return False
    digits = number.as_tuple().digits
    return len(digits) <= DOUBLE_DIGITS or not any(digits[DOUBLE_DIGITS:])


TEXTS: Mapping[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    "date": (_DATE, date.fromisoformat),
    "timestamp": (_TIMESTAMP, datetime.fromisoformat),
    "timestamptz": (_ZONED, datetime.fromisoformat),
}
"""Kinds of text that mean more -> their form, and what reads them."""

JSON_KINDS = {"integer": "number", "exact": "number", "date": "string", "timestamp": "string"}
"""Kind -> the JSON type that the fingerprint sees; the others are their own."""


@dataclass
class Column:
    """What was seen of one column."""

    kinds: set[str] = field(default_factory=set)
    integer_digits: int = 0
    scale: int = 0
    wide_integer: bool = False

    def see(self, value: Any) -> None:
        """Take one value into account."""
        kind = kind_of(value)
        if kind is None:
            return
        self.kinds.add(kind)
        if kind == "integer" and abs(value) > 2**53:
            self.wide_integer = True
        if kind in ("integer", "number", "exact"):
            self.measure(value)

    def see_many(self, values: Sequence[Any], types: set[type]) -> None:
        """Take values of these Python types into account: all at once where there is one type."""
        kinds = types - {type(None)}
        if len(kinds) != 1:
            for value in values:
                self.see(value)
            return
        kind = next(iter(kinds))
        if kind is str and ("string" in self.kinds or len(self.kinds & TEXTS.keys()) > 1):
            return  # Text that is nothing else has settled the column: the rest need no look.
        known = values if len(types) == 1 else [one for one in values if one is not None]
        if kind is str:
            self._see_texts(known)
        elif kind is int:
            self._see_integers(known)
        elif kind is float:
            self._see_floats(known)
        elif kind in (bool, dict, list):
            self.see(known[0])
        else:
            for value in known:
                self.see(value)

    def _see_texts(self, values: Sequence[str]) -> None:
        same = TEXTS.get(next(iter(self.kinds))) if len(self.kinds) == 1 else None
        if same and _look_alike(values, same[0]) and _all_valid(same[1], values):
            return
        for value in values:
            self.see(value)
            if "string" in self.kinds:
                return

    def _see_integers(self, values: Sequence[int]) -> None:
        ends = min(values), max(values)
        if not (ends[0] in INT64 and ends[1] in INT64):
            for value in values:
                self.see(value)
            return
        self.kinds.add("integer")
        largest = max(-ends[0], ends[1])
        self.wide_integer = self.wide_integer or largest > 2**53
        self.integer_digits = max(self.integer_digits, len(str(largest)))

    def _see_floats(self, values: Sequence[float]) -> None:
        self.kinds.add("number")
        text = msgspec.json.encode(values)[1:-1].translate(_DIGITS)
        if b"e" in text or b"n" in text:  # powers of ten; what is no number is null
            for value in set(values):
                self.measure(value)
            return
        if b"0" * (self.integer_digits + 1) in text:
            # No number has more digits before its point than the least or the greatest.
            self.measure(min(values))
            self.measure(max(values))
        if b"." + b"0" * (self.scale + 1) in text:
            self.scale = max(len(number.partition(b".")[2]) for number in set(text.split(b",")))

    def measure(self, value: Any) -> None:
        """Take one number's digits into account."""
        number = value.decimal if isinstance(value, RawNumber) else Decimal(str(value))
        if number is None:
            self.integer_digits = max(self.integer_digits, MAX_DECIMAL_DIGITS + 1)
            return
        if not number.is_finite():
            return
        exponent = int(number.as_tuple().exponent)
        self.scale = max(self.scale, -exponent, 0)
        self.integer_digits = max(self.integer_digits, number.adjusted() + 1, 1)

    def merge(self, other: Column) -> None:
        """Take what another stretch of the same column showed into account."""
        self.kinds |= other.kinds
        self.integer_digits = max(self.integer_digits, other.integer_digits)
        self.scale = max(self.scale, other.scale)
        self.wide_integer = self.wide_integer or other.wide_integer

    @property
    def type(self) -> str:
        """The type that holds every value seen; ``string`` where none else does."""
        kinds = self.kinds
        if kinds == {"integer"}:
            return "integer"
        if kinds and kinds <= {"integer", "number"} and not self.wide_integer:
            return "number"
        if kinds and kinds <= {"integer", "number", "exact"}:
            digits = self.integer_digits + self.scale
            if digits <= MAX_DECIMAL_DIGITS and self.scale < MAX_DECIMAL_DIGITS:
                return f"decimal({MAX_DECIMAL_DIGITS},{self.scale})"
            return "string"
        return next(iter(kinds)) if len(kinds) == 1 else "string"


@dataclass(frozen=True)
class SeenColumn:
    """A whole column: the JSON type of its values, and what they could be."""

    json_type: str
    column: Column


SHAPES: Mapping[type, str] = {
    type(None): "null",
    bool: "boolean",
    dict: "json",
    list: "json",
    int: "number",
    float: "number",
    RawNumber: "number",
    str: "string",
}
"""Python type of a value -> the JSON type that the fingerprint sees."""

MIN_ROWS = 8
"""Fewer rows are looked at one by one."""


class Look(Enum):
    """How much of a top-level key's values tells a type that is to be told."""

    TYPE = "their JSON type"
    OUTER = "the values, whatever is in objects and lists"
    EACH = "as the outer ones, and each of them: none stands for others"
    WHOLE = "the values with what is in them"


@dataclass(frozen=True)
class Columns:
    """Records as columns: top-level key -> the values that records have for it.

    An object or list may be stood for by an empty one, where :class:`Look` says that their content
    tells no type; and a column by one of its values, where the others tell no more.
    """

    values: Mapping[str, Sequence[Any]]


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]] | None:
    """Rows as columns, or None where they are few, or do not all have the same keys."""
    keys = list(rows[0]) if rows else []
    if len(rows) < MIN_ROWS or len(keys) < 2 or set(map(len, rows)) != {len(keys)}:
        return None
    try:
        found = zip(*map(itemgetter(*keys), rows), strict=True)
        return dict(zip(keys, found, strict=True))
    except KeyError:
        return None


def column_name(key: str, taken: Iterable[str]) -> str:
    """A key as a column's name: letters, digits and ``_``, unlike any taken name in any case."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", key)[:120] or "_"
    name = f"_{name}" if name[0].isdigit() else name
    used = {item.lower() for item in taken}
    candidate, number = name, 2
    while candidate.lower() in used:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """The value at a path; a top-level key that is spelled like the whole path goes first.

    A path that is none leads to nothing: the job, which reads by it, says what is wrong with it.
    """
    if path in row:
        return row[path]
    try:
        return lookup(row, path)
    except PathError:
        return None


def _head(path: str) -> tuple[Any, bool]:
    """A path's first step, and whether others follow; ``(None, False)`` for a path that is none."""
    try:
        first, *more = steps(path)
    except ValueError:  # malformed, or without a step
        return None, False
    return first, bool(more)


def types_known(contract: RowContract, frozen: RowContract | None) -> bool:
    """Whether every column's type is stated, or was told from earlier rows, and all stay as they
    are: where columns are added or widened, each landing has to be looked at."""
    if contract.evolves:
        return False
    if contract.resolved:
        return True
    if frozen is None:
        return False
    return {one.name for one in contract.fields} <= set(frozen.types)


def may_need_room(item: Field) -> bool:
    """Whether a column's type, as far as it is stated, has a wider one."""
    kind = (item.type or "integer").partition("(")[0]
    return kind in ("integer", "decimal") or (kind == "string" and item.max_length is not None)


def head_of(path: str) -> str:
    """The top-level key that a path begins with."""
    return re.split(r"[.\[]", path, maxsplit=1)[0] or path


def covered(contract: RowContract) -> set[str]:
    """Keys of a record that the contract has a use for, and paths: no new fields."""
    paths = {item.path for item in contract.fields}
    if contract.deletion is not None:
        paths |= {contract.deletion.path, *contract.deletion.mapping.values()}
    return paths | {head_of(path) for path in paths}


class Inference:
    """Watches a landing's rows for the types of the columns that the contract does not state.

    Where it says ``onNewField: add``, also for keys that no column takes; where it says
    ``onTypeChange: widen``, for the room that values need.
    """

    def __init__(self, contract: RowContract) -> None:
        self._open = not contract.fields
        self._adds = contract.on_new_field == "add" and not self._open
        self._covered = covered(contract)
        self._extra: dict[str, Column] = {}
        self._widens = contract.on_type_change == "widen"
        may_widen = (item.path for item in contract.fields if may_need_room(item))
        self._watched = sorted(set(may_widen)) if self._widens else []
        self._needs: dict[str, Needs] = {path: Needs() for path in self._watched}
        self._paths = {item.name: item.path for item in contract.fields if item.type is None}
        self._columns: dict[str, Column] = {name: Column() for name in self._paths}
        self._names: dict[str, str] = {}
        self._shape: dict[str, set[str]] = {}

    def look(self, key: str) -> Look:
        """How much of a top-level key's values is to be looked at."""
        paths = [*self._paths.values(), *self._watched]
        if self._widens and (self._open or key in self._watched):
            return Look.EACH
        if self._open or key in paths:
            return Look.OUTER
        heads = [_head(path) for path in paths]
        if (key, True) in heads:
            return Look.WHOLE
        if (key, False) in heads:
            return Look.EACH if self._widens else Look.OUTER
        if not self._adds or key in self._covered:
            return Look.TYPE
        return Look.EACH if self._widens else Look.OUTER

    def see_all(self, rows: Iterable[Mapping[str, Any]] | Columns) -> None:
        """Take rows into account: a column at a time where all rows have the same keys."""
        if isinstance(rows, Columns):
            self._see_columns(rows.values)
            for name, path in () if self._open else self._paths.items():
                head, _ = _head(path)
                if path in rows.values:
                    at = rows.values[path]
                elif head in rows.values:
                    at = [value_at({head: value}, path) for value in rows.values[head]]
                else:
                    continue
                self._columns[name].see_many(at, set(map(type, at)))
            for path in self._watched:
                head, _ = _head(path)
                if path in rows.values:
                    self._needs[path].see_many(rows.values[path])
                elif head in rows.values:
                    found = (value_at({head: value}, path) for value in rows.values[head])
                    self._needs[path].see_many(found)
            return
        some = list(rows)
        columns = columns_of(some)
        if columns is None:
            for row in some:
                self.see(row)
            return
        self._see_columns(columns)
        if not self._open:
            for name, path in self._paths.items():
                at = [value_at(row, path) for row in some]
                self._columns[name].see_many(at, set(map(type, at)))
        for path in self._watched:
            self._needs[path].see_many(value_at(row, path) for row in some)

    def _see_columns(self, columns: Mapping[str, Sequence[Any]]) -> None:
        for key, values in columns.items():
            types = set(map(type, values))
            self._shape.setdefault(key, set()).update(SHAPES[kind] for kind in types)
            if self._open:
                self._admit(key)
            if self._open and key in self._names:
                self._columns[self._names[key]].see_many(values, types)
            elif (extra := self._more(key)) is not None:
                extra.see_many(values, types)
            if (need := self._loose_need(key)) is not None:
                need.see_many(values)

    def see(self, row: Mapping[str, Any]) -> None:
        """Take one row into account."""
        for key, value in row.items():
            kind = kind_of(value) or "null"
            kind = JSON_KINDS.get(kind, "string" if kind == "timestamptz" else kind)
            self._shape.setdefault(key, set()).add(kind)
            if self._open:
                self._admit(key)
            if self._open and key in self._names:
                self._columns[self._names[key]].see(value)
            elif (extra := self._more(key)) is not None:
                extra.see(value)
            if (need := self._loose_need(key)) is not None:
                need.see(value)
        if not self._open:
            for name, path in self._paths.items():
                self._columns[name].see(value_at(row, path))
        for path in self._watched:
            self._needs[path].see(value_at(row, path))

    def _more(self, key: str) -> Column | None:
        """The column of a key that the contract lacks, where such are wanted and there is room."""
        found = self._extra.get(key)
        if found is None and self._adds and key not in self._covered:
            if len(self._extra) >= MAX_COLUMNS:
                return None
            found = self._extra[key] = Column()
        return found

    def _loose_need(self, key: str) -> Needs | None:
        """What the values of a key need that no stated column takes."""
        if not self._widens or not (key in self._names or key in self._extra):
            return None
        return self._needs.setdefault(key, Needs())

    def needs(self, path: str) -> Needs | None:
        """Where the values at a path are to be measured: what they needed so far."""
        return self._needs.get(path) or self._loose_need(path)

    @property
    def unstated(self) -> Mapping[str, Column]:
        """Top-level key -> what was seen of it, of the keys that no stated column takes."""
        if not self._open:
            return self._extra
        return {key: self._columns[name] for key, name in self._names.items()}

    def see_columns(self, columns: Mapping[str, SeenColumn]) -> None:
        """Take whole columns into account: top-level key -> what was seen of it."""
        for key, seen in columns.items():
            self._shape.setdefault(key, set()).add(seen.json_type)
            self._take(key, seen.column)

    def settled(self, key: str) -> bool:
        """Whether a top-level key is known to be text: no further value can change that."""
        if self._extra.get(key) is not None:
            return "string" in self._extra[key].kinds
        names = [name for name, path in self._paths.items() if path == key]
        return bool(names) and all("string" in self._columns[name].kinds for name in names)

    def merge(self, other: Inference) -> None:
        """Take what another has seen under the same contract into account."""
        for key, kinds in other._shape.items():
            self._shape.setdefault(key, set()).update(kinds)
        for name, path in other._paths.items():
            self._take(path, other._columns[name])
        for key, column in other._extra.items():
            self._take(key, column)
        for path, needs in other._needs.items():
            self._needs.setdefault(path, Needs()).merge(needs)

    def _take(self, path: str, column: Column) -> None:
        if self._open:
            self._admit(path)
        for name, known in self._paths.items():
            if known == path:
                self._columns[name].merge(column)
        if (extra := self._more(path)) is not None:
            extra.merge(column)

    def _admit(self, key: str) -> None:
        """A key becomes a column, if there is room for one more."""
        if key not in self._names and len(self._names) < MAX_COLUMNS:
            name = column_name(key, self._columns)
            self._names[key], self._columns[name], self._paths[name] = name, Column(), key

    @property
    def types(self) -> dict[str, str]:
        """Column -> type, for the columns that the contract does not state."""
        return {name: column.type for name, column in self._columns.items()}

    @property
    def paths(self) -> dict[str, str]:
        """Column -> path in the record."""
        return dict(self._paths)

    @property
    def fingerprint(self) -> str:
        """Hash of the top-level keys and their JSON types, whatever the order of rows and keys."""
        lines = [
            f"{key}:{','.join(sorted(kinds - {'null'}))}"
            for key, kinds in sorted(self._shape.items())
        ]
        return sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
