"""JSON documents and XML: a tree that holds a list of records."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from weir_contract.sources import Parsing
from weir_lambdas.file_processor.formats.base import Sink
from weir_lambdas.file_processor.formats.text import as_utf8
from weir_lambdas.file_processor.unpack import Unreadable, as_file
from weir_lambdas.landing.records import parse
from weir_lambdas.landing.values import exact

WHOLE_BYTES = 64 * 1024 * 1024
"""A JSON object whose list has to be looked for is read whole up to this size."""

LISTS = ("data", "results", "items", "records", "value")
"""Where an object has its list, if ``recordPath`` does not say: the names that APIs use too."""


def read_json(chunks: Iterable[bytes], parsing: Parsing, sink: Sink) -> None:
    """One JSON document: a list of records, an object that holds one, or one record.

    A list is read record by record, whatever its length. An item that is no object is rejected.

    Raises
    ------
    Unreadable
        It is no JSON, or nothing stands at ``recordPath``.
    """
    stream = as_file(as_utf8(chunks, parsing.csv.encoding))
    first = stream.peek(4096).lstrip()[:1]
    path = parsing.record_path
    if first == b"[" and not path:
        items = _streamed(stream, "item")
    elif path:
        items = _streamed(stream, f"{path}.item")
    else:
        items = iter(_whole(stream))
    count = 0
    for count, item in enumerate(items, 1):
        if isinstance(item, dict):
            sink.record(item)
        else:
            sink.reject(count, f"item {count} is no object", str(item)[:1000])
    if path and not count:
        raise Unreadable(f"there is no list of records at {path} (recordPath)")


def _streamed(stream: io.BufferedReader, prefix: str) -> Iterator[Any]:
    import ijson

    try:
        for item in ijson.items(stream, prefix):
            yield exact(item)
    except ijson.JSONError as error:
        raise Unreadable("it is no JSON document, or it ends too early") from error


def _whole(stream: io.BufferedReader) -> list[Any]:
    body = stream.read(WHOLE_BYTES + 1)
    if len(body) > WHOLE_BYTES:
        raise Unreadable(
            f"an object of more than {WHOLE_BYTES} bytes: state recordPath, so that its list is read "
            "record by record"
        )
    try:
        document = parse(body)
    except ValueError as error:
        raise Unreadable(f"it is no JSON: {error}") from error
    if isinstance(document, dict):
        for name in LISTS:
            if isinstance(document.get(name), list):
                return list(document[name])
    return [document]


def read_xml(chunks: Iterable[bytes], parsing: Parsing, sink: Sink) -> None:
    """XML: each ``recordPath`` element, or each child of the root, is one record.

    Attributes become ``@name``, text beside them ``#text``, a child that comes more than once a list.
    Names lose their namespaces. A DTD, and with it every entity, is refused.

    Raises
    ------
    Unreadable
        It is not well formed, or holds a DTD.
    """
    import defusedxml.ElementTree as Safe
    from defusedxml.common import DefusedXmlException

    wanted = parsing.record_path
    depth, trail = 0, []
    try:
        for event, element in Safe.iterparse(
            as_file(chunks), events=("start", "end"), forbid_dtd=True
        ):
            if event == "start":
                depth += 1
                trail.append(_local(element.tag))
                continue
            matches = depth == 2 if wanted is None else _at(trail, wanted)
            if matches:
                value = tree(element)
                sink.record(value if isinstance(value, dict) else {"#text": value})
                element.clear()
            elif depth <= 2:
                element.clear()
            depth -= 1
            trail.pop()
    except DefusedXmlException as error:
        raise Unreadable("it has a DTD or entities, which are refused") from error
    except (ParseError, LookupError, ValueError) as error:
        raise Unreadable(f"it is no well-formed XML: {error}") from error


def _at(trail: list[str], wanted: str) -> bool:
    """Whether an element stands at a path such as ``order`` or ``orders/order``."""
    steps = [step for step in wanted.split("/") if step]
    return trail[-len(steps) :] == steps


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def tree(element: Element) -> Any:
    """An element as a JSON value."""
    record: dict[str, Any] = {f"@{_local(name)}": text for name, text in element.attrib.items()}
    for child in element:
        name, value = _local(child.tag), tree(child)
        if name in record:
            known = record[name]
            record[name] = _Many([*known, value] if isinstance(known, _Many) else [known, value])
        else:
            record[name] = value
    text = (element.text or "").strip() or None
    if not record:
        return text
    if text is not None:
        record["#text"] = text
    return {
        key: list(value) if isinstance(value, _Many) else value for key, value in record.items()
    }


class _Many(list[Any]):
    """A child that came more than once, told from a value that is a list itself."""
