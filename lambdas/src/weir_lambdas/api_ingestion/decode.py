"""An answer's bytes as records: cut out of the body as they stand, where that can be done.

JSON records are not decoded and encoded again: msgspec finds where each one begins and ends, and
the very bytes go into the raw zone. They are parsed once, for their types. Where that is not
possible (a selector with a filter, XML, CSV) records are written anew, numbers as they were.
"""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import msgspec

from weir_contract.jsonpath import JsonPath, compile_path
from weir_contract.rest import Format
from weir_lambdas.api_ingestion.client import Answer
from weir_lambdas.api_ingestion.columnar import REFUSALS, Shape
from weir_lambdas.api_ingestion.select import SelectorError, detected, selected, shape
from weir_lambdas.common.egress import without_query
from weir_lambdas.common.errors import SourceBadAnswer, SourceTooLarge
from weir_lambdas.landing.infer import Columns
from weir_lambdas.landing.paths import PathError, steps
from weir_lambdas.landing.paths import lookup as lookup_in
from weir_lambdas.landing.records import dump_line, parse

CHUNK_ROWS = 5_000
"""Records that are parsed at once: bounds memory, whatever the answer's size."""

BIG_BYTES = 4 * 1024 * 1024
"""Answers above this are parsed twice: once to see that they are whole, once chunk by chunk."""

MAX_WINDOW_LOG = 27
"""zstd's window, as a power of two: 128 MiB of memory at most."""

DIGITS = bytes.maketrans(b"123456789.", b"0000000000")
LONG_NUMBER = b"0" * 17
"""So many digits, a point among them, are more than a double keeps for certain."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
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
        return b"\n".join(self.raws) + b"\n"

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


def decode(
    answer: Answer, fmt: Format, selector: str | None, limit: int, shape: Shape | None = None
) -> Records:
    """The records of an answer.

    Parameters
    ----------
    limit
        Bytes of the answer at most, unpacked.
    shape
        Decodes records of one source faster, once it knows them.

    Raises
    ------
    SourceBadAnswer
        It is not written in the format, or has no records where the selector says.
    SourceTooLarge
        It is packed and larger than ``limit``.
    """
    where = without_query(answer.url)
    if answer.ignored or answer.status == 204:
        return _records([], _no_member)
    body = unpacked(answer.body, limit, where)
    if not body.strip():
        if fmt.type in ("jsonLines", "csv"):
            return _records([], _no_member)
        raise SourceBadAnswer(
            f"200 with an empty body, where {NAMES[fmt.type]} was expected", where
        )
    if fmt.type in ("json", "jsonLines", "csv"):
        _no_page(body, answer, fmt.type, where)
    try:
        return FORMATS[fmt.type](body, fmt, selector, shape)
    except SelectorError as error:
        raise SourceBadAnswer(f"dataSelector: {error}", where) from error
    except (*REFUSALS, csv.Error, LookupError) as error:
        reason = str(error) or type(error).__name__
        raise SourceBadAnswer(
            f"200, but the body is no valid {NAMES[fmt.type]}: {reason}", where
        ) from error


def unpacked(body: bytes, limit: int, where: str) -> bytes:
    """A body that is a gzip or zstd file although no header says so, unpacked.

    Raises
    ------
    SourceTooLarge, SourceBadAnswer
        It is larger than ``limit``; it is damaged.
    """
    if body[:2] == b"\x1f\x8b":
        reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            plain = reader.decompress(body, limit + 1)
        except zlib.error as error:
            raise SourceBadAnswer(f"a damaged gzip body: {error}", where) from error
        if not reader.eof and len(plain) <= limit:
            raise SourceBadAnswer("a gzip body that ends too early", where)
    elif body[:4] == b"\x28\xb5\x2f\xfd":
        from backports import zstd

        options = {int(zstd.DecompressionParameter.window_log_max): MAX_WINDOW_LOG}
        frame = zstd.ZstdDecompressor(options=options)
        try:
            plain = frame.decompress(body, limit + 1)
        except zstd.ZstdError as error:
            raise SourceBadAnswer(f"a damaged zstd body: {error}", where) from error
        if not frame.eof and len(plain) <= limit:
            raise SourceBadAnswer("a zstd body that ends too early", where)
    else:
        return body
    if len(plain) > limit:
        raise SourceTooLarge(f"is more than {limit} bytes unpacked", where)
    return plain


def _no_page(body: bytes, answer: Answer, kind: str, where: str) -> None:
    content = next((v for k, v in answer.headers.items() if k.lower() == "content-type"), "")
    content = content.partition(";")[0].strip().lower()
    html = content in ("text/html", "application/xhtml+xml")
    if html or (kind != "csv" and body.lstrip()[:1] == b"<"):
        raise SourceBadAnswer(
            f"200 with a page of HTML or XML, where {NAMES[kind]} was expected: a login page, or "
            "the wrong path",
            where,
        )


def _records(
    raws: Sequence[Any],
    lookup: Callable[[str], Any],
    exact: bool = False,
    shape: Shape | None = None,
) -> Records:
    """Records from the JSON text of each; ``exact``: some number may be longer than a double."""

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(raws), CHUNK_ROWS):
            yield chunk_of(raws[start : start + CHUNK_ROWS], exact, shape)

    return Records(len(raws), chunks, lookup)


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
    return body.translate(DIGITS).find(LONG_NUMBER) >= 0 and _LONG.search(body) is not None


def _utf8(body: bytes) -> bytes:
    """A JSON text as UTF-8 in one line, whatever its encoding and its line breaks."""
    if body[:3] == b"\xef\xbb\xbf":
        body = body[3:]
    elif body[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in body[:4]:
        body = body.decode("utf-16" if body[2:4] != b"\0\0" else "utf-32").encode()
        body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.isascii():
        body.decode()  # msgspec passes over a text that is no UTF-8 where it only looks for its end
    if b"\n" in body or b"\r" in body:
        body = msgspec.json.format(body.strip(), indent=-1)
    return body


def _checked(records: Records, body: bytes) -> Records:
    """The records, after a look at each: a page is landed whole or not at all."""
    if len(body) <= BIG_BYTES:
        whole = list(records.chunks())
        return Records(records.count, lambda: iter(whole), records.lookup)
    for _ in records.chunks():
        pass
    return records


def _json(body: bytes, _fmt: Format, selector: str | None, shape: Shape | None) -> Records:
    try:
        body = _utf8(body)
        path = compile_path(selector) if selector else None
        keys = _plain_keys(path)
        if keys is None or not all(isinstance(key, str) for key in keys):
            return _found_by_path(body, path)
        levels, raws = _descend(body, keys, path)
    except REFUSALS as error:
        if isinstance(error, SelectorError):
            raise
        return _found_by_path(body, compile_path(selector) if selector else None)
    exact = long_numbers(body)
    return _checked(_records(raws, _Levels(levels).lookup, exact, shape), body)


def _plain_keys(path: JsonPath | None) -> tuple[str | int, ...] | None:
    """The steps to the list of records, where it takes no search; a closing ``[*]`` says nothing."""
    if path is None:
        return ()
    if path.keys is not None:
        return path.keys
    head = path.text.strip(" ").removesuffix("[*]")
    if head == path.text.strip(" ") or not head:
        return None
    return () if head == "$" else compile_path(head).keys


Level = tuple[Mapping[str, Any] | None, str | None]
"""Members of an object as raw JSON, and the one that leads on to the records."""


def _descend(
    body: bytes, keys: Sequence[str | int], path: JsonPath | None
) -> tuple[list[Level], Sequence[Any]]:
    levels: list[Level] = []
    current: Any = body
    for key in map(str, keys):
        if _first(current) != b"{":
            raise SelectorError(f"{path.text if path else ''!r}: {key!r} is asked of no object")
        members = _MEMBERS.decode(current)
        if key not in members:
            raise SelectorError(
                f"{path.text if path else ''!r}: the answer has no {key!r} there, it has "
                f"{shape(members)}"
            )
        levels.append((members, key))
        current = members[key]
    first = _first(current)
    if first == b"[":
        levels.append((None, None))
        return levels, _ELEMENTS.decode(current)
    if path is None and first == b"{":
        members = _MEMBERS.decode(current)
        found = detected(members, lambda raw: _first(raw) == b"[")
        levels.append((members, found))
        if found is not None:
            return levels, _ELEMENTS.decode(members[found])
        return levels, [current]
    if path is None:
        raise SelectorError(
            f"the answer is {shape(_VALUE.decode(current))}, neither a list nor an object"
        )
    levels.append((_MEMBERS.decode(current) if first == b"{" else None, None))
    return levels, [] if first == b"n" else [current]


def _first(raw: Any) -> bytes:
    return bytes(memoryview(raw)[:64]).lstrip()[:1]


class _Levels:
    """Looks up paths in an answer whose members are parsed only where a path leads."""

    def __init__(self, levels: Sequence[Level]) -> None:
        self._levels = levels

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
            if members is None or not isinstance(key, str) or key not in members:
                return None
            if key != onward:
                value = parse(bytes(members[key]))
                rest = keys[depth + 1 :]
                return lookup_in(value, _path(rest)) if rest else value
        return None


def _path(keys: Sequence[str | int]) -> str:
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f"['{key}']" for key in keys)


def _found_by_path(body: bytes, path: JsonPath | None) -> Records:
    return _of_value(parse(body), path)


def _of_value(value: Any, path: JsonPath | None) -> Records:
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


def _no_member(_path: str) -> None:
    """What is no document has nothing beside its records."""


def _json_lines(body: bytes, _fmt: Format, _selector: str | None, shape: Shape | None) -> Records:
    if body[:3] == b"\xef\xbb\xbf":
        body = body[3:]
    raws = [line for line in map(bytes.strip, body.split(b"\n")) if line]
    exact = long_numbers(body)
    return _checked(_records(raws, _no_member, exact, shape), body)


def _csv(body: bytes, fmt: Format, _selector: str | None, _shape: Shape | None) -> Records:
    encoding = "utf-8-sig" if fmt.encoding.lower().replace("_", "-") == "utf-8" else fmt.encoding
    text = body.decode(encoding)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=fmt.delimiter, strict=True)
    names = list(fmt.columns) or (next(reader, []) if fmt.header else [])
    if fmt.columns and fmt.header:
        next(reader, None)
    raws: list[bytes] = []
    for number, values in enumerate(reader, 1):
        if not values:
            continue
        if not names:
            names = [f"column{index}" for index in range(1, len(values) + 1)]
        if len(values) != len(names):
            raise ValueError(
                f"record {number} has {len(values)} fields, {len(names)} were expected"
            )
        row = {name: value or None for name, value in zip(names, values, strict=True)}
        raws.append(msgspec.json.encode(row))
    return _checked(_records(raws, _no_member), body)


def _xml(body: bytes, _fmt: Format, selector: str | None, _shape: Shape | None) -> Records:
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(body)
    except (ParseError, DefusedXmlException) as error:
        raise ValueError(str(error)) from error
    value = {_tag(root): _element(root)}
    path = compile_path(selector) if selector else None
    return _of_value(value if path else _only_list(value), path)


def _tag(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _element(element: Any) -> Any:
    """An element as JSON: attributes as ``@name``, children by name (a list where there are
    several), its text alone, or as ``#text`` beside them."""
    found: dict[str, Any] = {f"@{name.rpartition('}')[2]}": text for name, text in element.items()}
    for child in element:
        name, value = _tag(child), _element(child)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    text = (element.text or "").strip()
    if not found:
        return text or None
    if text:
        found["#text"] = text
    return found


def _only_list(value: Any) -> Any:
    """The first list on the way down of an XML document whose selector is not stated."""
    current = value
    while isinstance(current, dict):
        lists = [item for item in current.values() if isinstance(item, list)]
        if lists:
            return lists[0]
        objects = [item for item in current.values() if isinstance(item, dict)]
        if len(objects) != 1:
            break
        current = objects[0]
    return current if isinstance(current, (list, dict)) else []


NAMES: Mapping[str, str] = {"json": "JSON", "jsonLines": "JSON lines", "csv": "CSV", "xml": "XML"}
FORMATS: Mapping[str, Callable[[bytes, Format, str | None, Shape | None], Records]] = {
    "json": _json,
    "jsonLines": _json_lines,
    "csv": _csv,
    "xml": _xml,
}
"""``format.type`` -> its reader."""
