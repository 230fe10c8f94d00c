"""What an answer has: its records in chunks, and what lies beside them for the paginator."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import msgspec

from weir_contract.jsonpath import JsonPath, compile_path
from weir_lambdas.api_ingestion.columnar import Shape
from weir_lambdas.api_ingestion.select import selected
from weir_lambdas.common.errors import SourceBadAnswer
from weir_lambdas.landing.infer import Columns
from weir_lambdas.landing.paths import PathError, steps
from weir_lambdas.landing.paths import lookup as lookup_in
from weir_lambdas.landing.pieces import REFUSALS
from weir_lambdas.landing.records import dump_line, parse

CHUNK_ROWS = 5_000
"""Records that are parsed at once: bounds memory, whatever the answer's size."""

DIGITS = bytes.maketrans(b"123456789.", b"0000000000")
LONG_NUMBER = b"0" * 17
"""So many digits, a point among them, are more than a double keeps for certain."""
SAMPLED = 4
"""One byte of so many is looked at first."""
SAMPLES = LONG_NUMBER[: len(LONG_NUMBER) // SAMPLED]
"""What a long number shows at least of itself, wherever it begins."""

_VALUE = msgspec.json.Decoder()

Row = dict[str, Any]


_LONG = re.compile(rb"(?:^|[:\[,\n])\s*-?(?:\d{19}|(?=[\d.]{17})\d+\.\d)")
"""A number of so many digits, where JSON has a value; 18 digits without a point are an int64."""


class Chunk:
    """Some records.

    Parameters
    ----------
    raws
        The JSON text of each: bytes, or what msgspec cut out.
    rows
        Each parsed; None where a shape has decoded them: they are parsed where that is asked for.
    shape, decoded
        The shape, and the records as it decoded them.
    """

    def __init__(
        self,
        raws: Sequence[Any],
        rows: list[Row] | None,
        shape: Shape | None = None,
        decoded: Sequence[Any] = (),
    ) -> None:
        self.raws, self._rows = raws, rows
        self._shape, self._decoded = shape, decoded
        self._block: bytes | None = None

    @property
    def rows(self) -> list[Row]:
        """Each record parsed."""
        if self._rows is None:
            self._rows = parsed(self.raws, exact=False)
        return self._rows

    @property
    def seen(self) -> list[Row] | Columns:
        """What there is to be told of types."""
        return self._shape.columns(self._decoded) if self._shape is not None else self.rows

    def values(self, path: str) -> list[Any]:
        """The value at a path in each record, or None."""
        if self._shape is not None and len(keys := steps(path)) == 1:
            found = self._shape.values(str(keys[0]), self._decoded)
            if found is not None:
                return found
        return [lookup_in(row, path) for row in self.rows]

    @property
    def block(self) -> bytes:
        """All as lines that end in a line feed."""
        if self._block is None:
            self._block = b"\n".join([*self.raws, b""])
        return self._block

    @property
    def lines(self) -> Sequence[bytes]:
        """Each as a line that ends in a line feed."""
        return Lines(self.raws)


class Lines(Sequence[bytes]):
    """JSON texts as lines that end in a line feed, made as they are asked for."""

    def __init__(self, raws: Sequence[Any]) -> None:
        self._raws = raws

    def __len__(self) -> int:
        return len(self._raws)

    @overload
    def __getitem__(self, at: int) -> bytes: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...

    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(at, slice):
            return Lines(self._raws[at])
        return b"%b\n" % self._raws[at]


@dataclass(frozen=True)
class Records:
    """What an answer has.

    Parameters
    ----------
    count
        Number of records.
    chunks
        Gives them, in order.
    lookup
        The value at a path of the answer itself, for the paginator; None where there is none.
    """

    count: int
    chunks: Callable[[], Iterator[Chunk]]
    lookup: Callable[[str], Any]


def records(
    raws: Sequence[Any],
    lookup: Callable[[str], Any],
    exact: bool = False,
    shape: Shape | None = None,
) -> Records:
    """Records from the JSON text of each; ``exact``: some number may be longer than a double."""
    return Records(len(raws), lambda: cut(raws, exact, shape), lookup)


def cut(raws: Sequence[Any], exact: bool, shape: Shape | None) -> Iterator[Chunk]:
    """JSON texts in chunks."""
    for start in range(0, len(raws), CHUNK_ROWS):
        yield chunk_of(raws[start : start + CHUNK_ROWS], exact, shape)


def chunk_of(raws: Sequence[Any], exact: bool, shape: Shape | None) -> Chunk:
    """Some records from the JSON text of each, by their shape where they have it."""
    if shape is not None and not exact:
        decoded = shape.decode(raws)
        if decoded is not None:
            return Chunk(raws, None, shape, decoded)
    rows = parsed(raws, exact)
    if set(map(type, rows)) <= {dict}:
        if shape is not None and not exact:
            shape.learn(rows)
        return Chunk(raws, rows)
    raws = [
        raw if isinstance(row, dict) else b'{"value":%b}' % raw
        for raw, row in zip(raws, rows, strict=True)
    ]
    return Chunk(raws, [row if isinstance(row, dict) else {"value": row} for row in rows])


def parsed(raws: Sequence[Any], exact: bool) -> list[Any]:
    """JSON texts, each parsed."""
    if not exact:
        try:
            return list(map(_VALUE.decode, raws))
        except REFUSALS:
            pass  # lone surrogates, numbers beyond a double: the exact parser takes them
    return [parse(bytes(raw)) for raw in raws]


def long_numbers(body: bytes) -> bool:
    """Whether some number may be longer than a double, and an integer than 64 bits, keep."""
    if SAMPLES not in body[::SAMPLED].translate(DIGITS):
        return False
    return LONG_NUMBER in body.translate(DIGITS) and _LONG.search(body) is not None


Level = tuple[Mapping[str, Any] | None, str | None]
"""Members of an object as raw JSON, and the one that leads on to the records."""


class Levels:
    """Looks up paths in an answer whose members are parsed only where a path leads.

    Parameters
    ----------
    record
        Number of a record, from the end where it is negative -> its JSON text, or None: many APIs
        page by a value of the last record.
    """

    def __init__(
        self, levels: Sequence[Level], record: Callable[[int], Any] = lambda _number: None
    ) -> None:
        self._levels, self._record = levels, record

    def lookup(self, path: str) -> Any:
        """The value at a path, or None."""
        try:
            keys = steps(path)
        except PathError as error:
            raise SourceBadAnswer(f"paginator: {error}") from error
        for depth, key in enumerate(keys):
            if depth >= len(self._levels):
                return None
            members, onward = self._levels[depth]
            if members is None and isinstance(key, int):
                return _within(self._record(key), keys[depth + 1 :])
            if members is None or not isinstance(key, str) or key not in members:
                return None
            if key != onward:
                if members[key] is None:
                    raise SourceBadAnswer(
                        f"paginator: {path!r} leads into a part of the answer that is too large to "
                        "be kept beside the records"
                    )
                return _within(members[key], keys[depth + 1 :])
        return None


def _within(raw: Any, keys: Sequence[str | int]) -> Any:
    value = parse(bytes(raw)) if raw is not None else None
    return lookup_in(value, _path(keys)) if keys else value


def numbered(raws: Sequence[Any]) -> Callable[[int], Any]:
    """Gives the JSON text of a record by its number, or None."""
    return lambda number: raws[number] if -len(raws) <= number < len(raws) else None


def _path(keys: Sequence[str | int]) -> str:
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f"['{key}']" for key in keys)


def of_value(value: Any, path: JsonPath | None) -> Records:
    rows = selected(value, path)

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(rows), CHUNK_ROWS):
            some = rows[start : start + CHUNK_ROWS]
            yield Chunk([dump_line(row)[:-1] for row in some], some)

    return Records(len(rows), chunks, lambda place: _lookup(value, place))


def _lookup(value: Any, path: str) -> Any:
    try:
        return lookup_in(value, path)
    except PathError as error:
        raise SourceBadAnswer(f"paginator: {error}") from error


def no_member(_path: str) -> None:
    """What is no document has nothing beside its records."""


def plain_keys(path: JsonPath | None) -> tuple[str | int, ...] | None:
    """The steps to the list of records, where it takes no search; a closing ``[*]`` says nothing."""
    if path is None:
        return ()
    if path.keys is not None:
        return path.keys
    head = path.text.strip(" ").removesuffix("[*]")
    if head == path.text.strip(" ") or not head:
        return None
    return () if head == "$" else compile_path(head).keys
