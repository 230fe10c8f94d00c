"""JSON documents and XML: a tree that holds a list of records."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from weir_contract.sources import Parsing
from weir_lambdas.file_processor.formats.base import Sink
from weir_lambdas.file_processor.formats.text import as_utf8
from weir_lambdas.file_processor.unpack import Unreadable, as_file
from weir_lambdas.landing.pieces import REFUSALS, Pieces, TooLong, records_of
from weir_lambdas.landing.records import dump_line, parse

WHOLE_BYTES = 64 * 1024 * 1024
"""A JSON object whose list has to be looked for is read whole up to this size."""

LISTS = ("data", "results", "items", "records", "value")
"""Where an object has its list, if ``recordPath`` does not say: the names that APIs use too."""


def read_json(chunks: Iterable[bytes], parsing: Parsing, sink: Sink) -> None:
    """One JSON document: a list of records, an object that holds one, or one record.

    A list is read a few megabytes at a time, whatever its length, and its records are taken as they
    are written. An item that is no object is rejected.

    Raises
    ------
    Unreadable
        It is no JSON, or nothing stands at ``recordPath``.
    """
    stream = as_file(as_utf8(chunks, parsing.csv.encoding))
    path = parsing.record_path
    if not path and stream.peek(4096).lstrip()[:1] != b"[":
        _give(_whole(stream), 0, sink)
        return
    document, count = Pieces(stream), 0
    try:
        for piece in _lists(document, path.split(".") if path else []):
            items = records_of(piece)
            _give(list(map(bytes, items)), count, sink)
            count += len(items)
        document.end()
    except TooLong as error:
        raise Unreadable(str(error)) from error
    except REFUSALS as error:
        raise Unreadable("it is no JSON document, or it ends too early") from error
    if path and not count:
        raise Unreadable(f"there is no list of records at {path} (recordPath)")


def _lists(document: Pieces, keys: Sequence[str]) -> Iterator[bytes]:
    """The pieces of the list at the end of a path; what lies beside it is gone past."""
    first = document.peek()
    if not keys and first == b"[":
        yield from document.elements()
    elif keys and first == b"{":
        for key in document.members():
            if key == keys[0]:
                yield from _lists(document, keys[1:])
            else:
                document.skip()
    else:
        document.skip()


def _give(items: Sequence[bytes], before: int, sink: Sink) -> None:
    """Items of a list, each as a line of JSON.

    Parameters
    ----------
    before
        Items that came before them.
    """
    objects = [item for item in items if item.startswith(b"{")]
    if objects:
        sink.lines(objects)
    if len(objects) < len(items):
        for number, item in enumerate(items, before + 1):
            if not item.startswith(b"{"):
                shown = item[:1000].decode(errors="backslashreplace")
                sink.reject(number, f"item {number} is no object", shown)


def _whole(stream: io.BufferedReader) -> list[bytes]:
    """The records of a document that is no list, each as a line of JSON."""
    body = stream.read(WHOLE_BYTES + 1)
    if len(body) > WHOLE_BYTES:
        raise Unreadable(
            f"an object of more than {WHOLE_BYTES} bytes: state recordPath, so that its list is read "
            "record by record"
        )
    try:
        document = parse(body)
    except ValueError as error:
        hint = "; is it one record a line (jsonLines)?" if _is_line(body) else ""
        raise Unreadable(f"it is no JSON: {error}{hint}") from error
    found = [document]
    if isinstance(document, dict):
        lists = (document[name] for name in LISTS if isinstance(document.get(name), list))
        found = next(lists, found)
    return [dump_line(one)[:-1] for one in found]


def _is_line(body: bytes) -> bool:
    """Whether a text's first line is a whole JSON value."""
    try:
        parse(body.lstrip().partition(b"\n")[0])
    except ValueError:
        return False
    return True


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
    trail: list[Element] = []
    names: list[str] = []
    found = False
    try:
        for event, element in Safe.iterparse(
            as_file(chunks), events=("start", "end"), forbid_dtd=True
        ):
            if event == "start":
                trail.append(element)
                names.append(_local(element.tag))
                if len(trail) > MAX_XML_DEPTH:
                    raise Unreadable(f"its elements are nested more than {MAX_XML_DEPTH} deep")
                continue
            depth = len(trail)
            if depth == 2 if wanted is None else _at(names, wanted):
                value, found = tree(element), True
                sink.record(value if isinstance(value, dict) else {"#text": value})
                _forget(trail)
            elif depth <= 2:
                _forget(trail)
            trail.pop()
            names.pop()
    except DefusedXmlException as error:
        raise Unreadable("it has a DTD or entities, which are refused") from error
    except (ParseError, LookupError, ValueError) as error:
        raise Unreadable(f"it is no well-formed XML: {error}") from error
    if wanted is not None and not found:
        raise Unreadable(f"there is no element at {wanted} (recordPath)")


MAX_XML_DEPTH = 200
"""Elements within elements; real ones have ten or twenty."""


def _forget(trail: Sequence[Element]) -> None:
    """Drop the innermost element: its parent would keep an empty one for each record."""
    trail[-1].clear()
    if len(trail) > 1:
        trail[-2].remove(trail[-1])


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
