"""From a record's text to one text for each column, with nothing lost on the way.

Spark's own JSON reader passes numbers with a fraction through a double, whatever type it is asked
for; 12345678901234567.89 would lose its cents. Here numbers stay the text that was written, and
casts (:mod:`weir_glue.common.casts`) make exact values of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from weir_contract.codec import ContractError
from weir_contract.rows import DeletionMark, Field

Step = str | int

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_SHAPE = re.compile(r"(?:[^.\[\]]+|\[\d+\])(?:\.[^.\[\]]+|\[\d+\])*")


class _Literal(str):
    """A number as it was written."""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(
    parse_float=_Literal, parse_int=_Literal, parse_constant=_refuse_constant
)


def parse_path(path: str) -> tuple[Step, ...]:
    """Steps of a path: ``orders[0].id`` is ``("orders", 0, "id")``.

    Raises
    ------
    ContractError
        It is no path of dotted names and ``[n]``.
    """
    if not _SHAPE.fullmatch(path):
        raise ContractError(f"{path!r} is no path: write names with dots and list items as [0]")
    return tuple(name or int(index) for name, index in _STEP.findall(path))


def parse_record(text: str) -> dict[str, Any]:
    """A record's object, its numbers kept as text.

    Raises
    ------
    ValueError
        The text is no JSON object (RFC 8259), or holds text that has no UTF-8 form.
    """
    try:
        record = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    if "\\u" in text:
        encode(record).encode("utf-8")
    return record


def encode(value: Any) -> str:
    """A parsed value as compact JSON text, numbers as they were written.

    It calls not itself: whatever could be parsed can be written, however deep.
    """
    found: list[str] = []
    left: list[Any] = [value]
    while left:
        one = left.pop()
        if isinstance(one, _Literal):
            found.append(one)
        elif isinstance(one, dict):
            found.append("{")
            left.append(_Literal("}"))
            for number, key in reversed(list(enumerate(one))):
                comma = "," if number else ""
                name = json.dumps(key, ensure_ascii=False)
                left += (one[key], _Literal(f"{comma}{name}:"))
        elif isinstance(one, list):
            found.append("[")
            left.append(_Literal("]"))
            for number in range(len(one) - 1, -1, -1):
                left.append(one[number])
                if number:
                    left.append(_Literal(","))
        else:
            found.append(json.dumps(one, ensure_ascii=False))
    return "".join(found)


def look_up(record: dict[str, Any], path: str, steps: Sequence[Step]) -> Any:
    """The value at a path, or None. A top-level key spelled like the whole path goes first."""
    if path in record:
        return record[path]
    value: Any = record
    for step in steps:
        value = _stepped(value, step)
        if value is None:
            return None
    return value


def _stepped(value: Any, step: Step) -> Any:
    if isinstance(step, str):
        return value.get(step) if isinstance(value, dict) else None
    return value[step] if isinstance(value, list) and step < len(value) else None


def as_text(value: Any, as_json: bool) -> str | None:
    """A value as the text that casts read: strings bare, all else as JSON; null is None."""
    if value is None:
        return None
    if isinstance(value, str) and (isinstance(value, _Literal) or not as_json):
        return str(value)
    return encode(value)


def look_into(record: dict[str, Any], path: str, steps: Sequence[Step]) -> Any:
    """As :func:`look_up`; a text on the way that is JSON is read on into."""
    if path in record:
        return record[path]
    value: Any = record
    for step in steps:
        if isinstance(value, str) and not isinstance(value, _Literal):
            try:
                value = parse_record(value)
            except ValueError:
                return None
        value = _stepped(value, step)
        if value is None:
            return None
    return value


def extractor(
    fields: Sequence[Field], refuse_new: bool = False, deletion: DeletionMark | None = None
) -> Callable[[str], list[str | None]]:
    """A function from a record's text to ``[problem, new keys, deleted, value of each field..]``.

    Parameters
    ----------
    fields
        Columns with their paths; a ``json`` column keeps JSON text.
    refuse_new
        Whether top-level keys that no path reads are reported (second item of the answer).
    deletion
        How deletions are told; the third item of the answer is ``true`` for one, else None.
    """
    paths = [
        (
            item.path,
            parse_path(item.path) if _SHAPE.fullmatch(item.path) else (),
            item.type == "json",
        )
        for item in fields
    ]
    known = {path for path, _, _ in paths} | {steps[0] for _, steps, _ in paths if steps}
    mark: tuple[Step, ...] = ()
    elsewhere: dict[int, tuple[str, tuple[Step, ...]]] = {}
    if deletion is not None:
        mark = parse_path(deletion.path)
        moved = {name.lower(): path for name, path in deletion.mapping.items()}
        elsewhere = {
            index: (moved[item.name.lower()], parse_path(moved[item.name.lower()]))
            for index, item in enumerate(fields)
            if item.name.lower() in moved
        }
        read = [(deletion.path, mark), *elsewhere.values()]
        known |= {path for path, _ in read} | {steps[0] for _, steps in read}

    def extract(text: str) -> list[str | None]:
        try:
            record = parse_record(text)
        except UnicodeEncodeError:
            why = "the record has half of a pair of surrogates, which is no text"
            return [why, None, None, *[None] * len(paths)]
        except ValueError:
            return ["the record is no JSON object", None, None, *[None] * len(paths)]
        new = sorted(set(record) - known) if refuse_new else []
        values = [as_text(look_up(record, path, steps), raw) for path, steps, raw in paths]
        deleted = None
        if deletion is not None and deletion.meant_by(
            as_text(look_up(record, deletion.path, mark), False)
        ):
            deleted = "true"
            for index, (path, steps) in elsewhere.items():
                values[index] = as_text(look_into(record, path, steps), paths[index][2])
        return [None, "there are new fields" if new else None, deleted, *values]

    return extract
