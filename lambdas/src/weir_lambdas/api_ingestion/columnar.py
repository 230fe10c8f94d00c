"""Records as columns, decoded no further than their types need.

What the records of a source look like is learned from the first ones. From there on msgspec decodes
the next ones by that shape, and says so where one does not keep to it: then the records are parsed
whole, and the shape is learned anew. Whole numbers are decoded within the digits that were seen: a
page that keeps to them tells nothing new, and its values are not read. Nothing is told of a value but
what a parsed one would tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated, Any

import msgspec

from weir_lambdas.api_ingestion.envelope import Envelope
from weir_lambdas.landing.infer import Columns, Look, columns_of, kind_of
from weir_lambdas.landing.pieces import REFUSALS

MAX_LEARNED = 16
"""A source whose records look different again and again is parsed whole."""

MAX_BOUNDED = 8
"""A source whose whole numbers grow again and again has them read, not bounded."""

MAX_TEXTS = 8
"""So many texts of a column are looked at for one that is nothing more."""

EXACT_INTEGER, LARGEST_INTEGER = 2**53, 2**63 - 1
"""What a double holds exactly, and what an int64 holds."""

MAX_KEYS = 500


class _Object(msgspec.Struct, gc=False):
    """Any JSON object; nothing of it is kept."""


class _Array(msgspec.Struct, array_like=True, gc=False):
    """Any JSON array; nothing of it is kept."""


ANNOTATIONS: Mapping[frozenset[type], Any] = {
    frozenset(): None,
    frozenset({str}): str | None,
    frozenset({int}): int | float | None,
    frozenset({float}): int | float | None,
    frozenset({int, float}): int | float | None,
    frozenset({bool}): bool | None,
    frozenset({dict}): _Object | None,
    frozenset({list}): _Array | None,
}
"""Types of a key's values -> what msgspec decodes them as; other mixtures are decoded whole."""

SAMPLES: Mapping[Any, Any] = {
    None: None,
    str | None: "",
    int | float | None: 0,
    bool | None: True,
    _Object | None: {},
    _Array | None: [],
}
"""What stands for a column whose values tell no more than their JSON type."""

TOLD_BY_TYPE = (None, bool | None, _Object | None, _Array | None)
"""Columns of which one value tells as much as all of them."""


@dataclass
class _Key:
    """What was seen of one key.

    Parameters
    ----------
    types
        Of its values, None's left out.
    always
        Whether each record had it.
    null
        Whether a record had None there.
    text
        A value that is text and nothing more: it settles the column's type.
    largest
        The greatest whole number, whatever its sign.
    """

    types: set[type] = field(default_factory=set)
    always: bool = True
    null: bool = False
    text: str | None = None
    largest: int = 0

    def see(self, values: Sequence[Any]) -> None:
        types = set(map(type, values))
        self.null = self.null or type(None) in types
        self.types |= types - {type(None)}
        if types == {int}:
            self.largest = max(self.largest, -min(values), max(values))
        if str in types and self.text is None:
            texts = [value for value in values if type(value) is str][:MAX_TEXTS]
            self.text = next((text for text in texts if kind_of(text) == "string"), None)

    @property
    def bounded(self) -> Any:
        """The annotation of whole numbers that tell no more than the largest; None for others."""
        if self.types != {int} or self.null or self.largest > LARGEST_INTEGER:
            return None
        last = EXACT_INTEGER if self.largest <= EXACT_INTEGER else LARGEST_INTEGER
        last = min(last, 10 ** len(str(self.largest)) - 1)
        return Annotated[int, msgspec.Meta(ge=-last, le=last)]


@dataclass(frozen=True)
class _Field:
    """One field of the shape: how it is read from a decoded record.

    ``bounded``: the key's largest whole number tells as much as all values of it.
    """

    key: str
    annotation: Any
    read: Callable[[Any], Any]
    always: bool
    bounded: bool


class Shape:
    """What the records of a source look like.

    Parameters
    ----------
    look
        How much a key's values tell beside their JSON type.
    """

    def __init__(self, look: Callable[[str], Look]) -> None:
        self._look = look
        self.envelope = Envelope()
        self._keys: dict[str, _Key] = {}
        self._learned = self._records = 0
        self._fields: list[_Field] = []
        self._decoder: msgspec.json.Decoder[Any] | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be learned: the records are too different."""
        return self._learned >= MAX_LEARNED or len(self._keys) > MAX_KEYS

    def decode(self, raws: Sequence[Any]) -> list[Any] | None:
        """The records by this shape; None where one does not keep to it, or none is known."""
        if self._decoder is None:
            return None
        try:
            return list(map(self._decoder.decode, raws))
        except REFUSALS:
            return None

    def columns(self, records: Sequence[Any]) -> Columns:
        """What decoded records tell of their columns."""
        found: dict[str, Sequence[Any]] = {}
        for one in self._fields:
            key, annotation = self._keys[one.key], one.annotation
            look = self._look(one.key)
            if annotation in SAMPLES and (look is Look.TYPE or annotation in TOLD_BY_TYPE):
                found[one.key] = [SAMPLES[annotation]]
            elif key.text is not None and annotation == str | None and look is not Look.EACH:
                found[one.key] = [key.text]
            elif one.bounded:
                found[one.key] = [key.largest]
            else:
                values = self._values(one, records)
                found[one.key] = values
                if annotation == str | None and values:
                    key.see(values[:1])
        return Columns(found)

    def values(self, key: str, records: Sequence[Any]) -> list[Any] | None:
        """The values of a key, None where a record has none; None where they were not decoded."""
        one = next((one for one in self._fields if one.key == key), None)
        if one is None or one.annotation in (_Object | None, _Array | None):
            return None
        values = list(map(one.read, records))
        return values if one.always else [None if v is msgspec.UNSET else v for v in values]

    def _values(self, one: _Field, records: Sequence[Any]) -> list[Any]:
        values = list(map(one.read, records))
        return values if one.always else [v for v in values if v is not msgspec.UNSET]

    def learn(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take parsed records into account."""
        if self.settled or not rows:
            return
        self._learned += 1
        found = columns_of(rows) or _gathered(rows)
        for name, values in found.items():
            if name not in self._keys:
                self._keys[name] = _Key(always=self._records == 0)
            self._keys[name].see(values)
        for name, key in self._keys.items():
            key.always = key.always and len(found.get(name, ())) == len(rows)
        self._records += len(rows)
        if len(self._keys) <= MAX_KEYS:
            self._build()

    def _build(self) -> None:
        self._fields, spelled, made = [], dict[str, str](), list[Any]()
        for number, (key, seen) in enumerate(self._keys.items()):
            name = f"f{number}"
            annotation = ANNOTATIONS.get(frozenset(seen.types), Any)
            if self._look(key) is Look.WHOLE and not seen.types.isdisjoint((dict, list)):
                annotation = Any
            bounded = seen.bounded if self._learned <= MAX_BOUNDED else None
            if bounded is not None and seen.always and self._look(key) is not Look.EACH:
                annotation = bounded
            else:
                bounded = None
            spelled[name] = key
            made.append((name, annotation) if seen.always else (name, annotation, msgspec.UNSET))
            self._fields.append(
                _Field(key, annotation, attrgetter(name), seen.always, bounded is not None)
            )
        record = msgspec.defstruct(
            "Record", made, kw_only=True, forbid_unknown_fields=True, rename=spelled, gc=False
        )
        self._decoder = msgspec.json.Decoder(record)


def _gathered(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows with any keys as columns of those values that are there."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return found


def blank(_key: str) -> Look:
    """For records of which nothing is to be told."""
    return Look.TYPE
