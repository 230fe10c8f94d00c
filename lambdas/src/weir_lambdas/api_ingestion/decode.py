"""An answer's bytes as records: cut out of the body as they stand, where that can be done.

JSON records are not decoded and encoded again: msgspec finds where each one begins and ends, and
the very bytes go into the raw zone. They are parsed once, for their types. Where that is not
possible (a selector with a filter, XML, CSV) records are written anew, numbers as they were.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from email.message import Message
from typing import Any, BinaryIO

import msgspec

from weir_contract.jsonpath import JsonPath, compile_path
from weir_contract.rest import Format
from weir_lambdas.api_ingestion.client import Answer
from weir_lambdas.api_ingestion.columnar import Shape
from weir_lambdas.api_ingestion.markup import element, only_list, tag
from weir_lambdas.api_ingestion.records import (
    Level,
    Levels,
    Records,
    long_numbers,
    no_member,
    numbered,
    of_value,
    plain_keys,
    records,
)
from weir_lambdas.api_ingestion.select import SelectorError, detected
from weir_lambdas.api_ingestion.select import shape as shape_of
from weir_lambdas.api_ingestion.spool import MEMORY_BYTES, Spooled, packing, unpacking
from weir_lambdas.api_ingestion.streamed import (
    STREAMS,
    Opened,
    Text,
    Whole,
    csv_rows,
    encoding_of,
)
from weir_lambdas.common.egress import without_query
from weir_lambdas.common.errors import SourceBadAnswer, SourceTooLarge
from weir_lambdas.landing.pieces import REFUSALS, TooLong
from weir_lambdas.landing.records import parse

BIG_BYTES = 4 * 1024 * 1024
"""Answers above this are parsed twice: once to see that they are whole, once chunk by chunk."""

MAX_WHOLE_BYTES = 64 * 1024 * 1024
"""An answer whose records can only be told from the whole is held in memory up to this size."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_VALUE = msgspec.json.Decoder()


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
        return records([], no_member)
    body, opened = plain(answer.body, limit, where)
    if opened is None and not body.strip():
        if fmt.type in ("jsonLines", "csv"):
            return records([], no_member)
        raise SourceBadAnswer(
            f"200 with an empty body, where {NAMES[fmt.type]} was expected", where
        )
    if fmt.type in ("json", "jsonLines", "csv"):
        _no_page(body, answer, fmt.type, where)
        if opened is None and fmt.encoding == "utf-8":
            body = _recoded(body, answer)
    try:
        if opened is None:
            return FORMATS[fmt.type](body, fmt, selector, shape)
        try:
            return STREAMS[fmt.type](Text(opened, shape), fmt, selector)
        except Whole as whole:
            body = _whole(opened, str(whole), where)
            return FORMATS[fmt.type](body, fmt, selector, shape)
    except TooLong as error:
        raise SourceTooLarge(str(error), where) from error
    except SelectorError as error:
        raise SourceBadAnswer(f"dataSelector: {error}", where) from error
    except (*REFUSALS, csv.Error, LookupError) as error:
        reason = str(error) or type(error).__name__
        raise SourceBadAnswer(
            f"200, but the body is no valid {NAMES[fmt.type]}: {reason}", where
        ) from error


def plain(body: bytes | Spooled, limit: int, where: str) -> tuple[bytes, Opened | None]:
    """A body unpacked where it is a packed file, whether a header says so or not.

    Returns
    -------
    tuple
        The whole and None; or, where it is too large to be held in memory, how it begins, and what
        opens it.

    Raises
    ------
    SourceTooLarge, SourceBadAnswer
        It is larger than ``limit``, as far as that is seen yet; it is damaged.
    """
    if isinstance(body, Spooled):
        head, packed = body.head, body.open
    else:
        head, packed = body, lambda: io.BytesIO(body)
    magic = packing(head)
    if magic is None:
        return head, packed if isinstance(body, Spooled) else None

    def opened() -> BinaryIO:
        return unpacking(packed(), magic, limit, where)

    with opened() as stream:
        first = stream.read(MEMORY_BYTES)
        return (first, opened) if stream.read(1) else (first, None)


def _whole(opened: Opened, reason: str, where: str) -> bytes:
    """A large answer in memory after all, if there is room for it."""
    with opened() as stream:
        body = stream.read(MAX_WHOLE_BYTES)
        if stream.read(1):
            raise SourceTooLarge(
                f"is more than {MAX_WHOLE_BYTES} bytes, and can't be read piece by piece: {reason}",
                where,
            )
    return body


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


def _recoded(body: bytes, answer: Answer) -> bytes:
    """A text that is no UTF-8 as such, if its header Content-Type says what it is written in."""
    message = Message()
    message["Content-Type"] = next(
        (text for name, text in answer.headers.items() if name.lower() == "content-type"), ""
    )
    charset = message.get_content_charset("utf-8")
    if charset.startswith("utf") or body.isascii():
        return body
    try:
        body.decode()
    except UnicodeDecodeError:
        try:
            return body.decode(charset).encode()
        except (LookupError, UnicodeDecodeError):
            pass  # what is wrong is told of the text as it came
    return body


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
        keys = plain_keys(path)
        if keys is None or not all(isinstance(key, str) for key in keys):
            return _found_by_path(body, path)
        levels, raws = _cut(body, keys, path, shape)
    except REFUSALS as error:
        if isinstance(error, SelectorError):
            raise
        return _found_by_path(body, compile_path(selector) if selector else None)
    exact = long_numbers(body)
    return _checked(records(raws, Levels(levels, numbered(raws)).lookup, exact, shape), body)


def _cut(
    body: bytes, keys: Sequence[str | int], path: JsonPath | None, shape: Shape | None
) -> tuple[list[Level], Sequence[Any]]:
    """The records of an answer, and its members down to them: at once where those are known."""
    if shape is None or len(keys) != 1:
        return _descend(body, keys, path, shape)
    key = str(keys[0])
    known = shape.envelope.cut(body, key)
    if known is not None:
        return [(known[0], key), (None, None)], known[1]
    levels, raws = _descend(body, keys, path, shape)
    if levels[-1] == (None, None) and levels[0][0] is not None:
        shape.envelope.learn(levels[0][0], key)
    return levels, raws


def _descend(
    body: bytes, keys: Sequence[str | int], path: JsonPath | None, shape: Shape | None
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
                f"{shape_of(members)}"
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
            if shape is not None:
                shape.envelope.detected = found
            levels.append((None, None))
            return levels, _ELEMENTS.decode(members[found])
        listed = shape.envelope.detected if shape is not None else None
        empty = listed in members and _first(members[listed]) == b"n"
        return levels, [] if empty else [current]
    if path is None and first != b"n":
        raise SelectorError(
            f"the answer is {shape_of(_VALUE.decode(current))}, neither a list nor an object"
        )
    levels.append((_MEMBERS.decode(current) if first == b"{" else None, None))
    return levels, [] if first == b"n" else [current]


def _first(raw: Any) -> bytes:
    return bytes(memoryview(raw)[:64]).lstrip()[:1]


def _found_by_path(body: bytes, path: JsonPath | None) -> Records:
    return of_value(parse(body), path)


def _json_lines(body: bytes, _fmt: Format, _selector: str | None, shape: Shape | None) -> Records:
    if body[:3] == b"\xef\xbb\xbf":
        body = body[3:]
    raws = [line for line in map(bytes.strip, body.split(b"\n")) if line]
    exact = long_numbers(body)
    return _checked(records(raws, no_member, exact, shape), body)


def _csv(body: bytes, fmt: Format, _selector: str | None, shape: Shape | None) -> Records:
    raws = list(csv_rows(io.StringIO(body.decode(encoding_of(fmt)), newline=""), fmt))
    return _checked(records(raws, no_member, shape=shape), body)


def _xml(body: bytes, _fmt: Format, selector: str | None, _shape: Shape | None) -> Records:
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root = fromstring(body)
    except (ParseError, DefusedXmlException) as error:
        raise ValueError(str(error)) from error
    value = {tag(root): element(root)}
    path = compile_path(selector) if selector else None
    return of_value(value if path else only_list(value), path)


NAMES: Mapping[str, str] = {"json": "JSON", "jsonLines": "JSON lines", "csv": "CSV", "xml": "XML"}
FORMATS: Mapping[str, Callable[[bytes, Format, str | None, Shape | None], Records]] = {
    "json": _json,
    "jsonLines": _json_lines,
    "csv": _csv,
    "xml": _xml,
}
"""``format.type`` -> its reader."""
