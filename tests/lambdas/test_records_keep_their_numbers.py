"""JSON in, JSON out: nothing that the source wrote is bent."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_lambdas.api_ingestion.records import long_numbers
from weir_lambdas.landing.records import dump_line, parse

number = st.one_of(
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda d: str(d)),
    st.from_regex(r"-?(0|[1-9][0-9]{0,40})\.[0-9]{1,40}([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)


@given(number)
def test_a_number_leaves_with_the_digits_it_came_with(text: str) -> None:
    line = dump_line(parse(f'{{"n":{text}}}'.encode()))
    assert line == f'{{"n":{text}}}\n'.encode()


@given(
    st.text("abc-:T", max_size=9),
    st.from_regex(r"[1-9][0-9]{18,24}|[1-9][0-9]{0,14}\.[0-9]{17,24}", fullmatch=True),
)
def test_a_number_too_long_for_a_double_is_seen_wherever_it_begins(before: str, text: str) -> None:
    assert long_numbers(f'{{"a":"{before}","n":{text}}}'.encode())


@given(
    st.text("abc-:T", max_size=9),
    st.from_regex(r"[1-9][0-9]{0,14}|[1-9][0-9]{0,7}\.[0-9]{1,7}", fullmatch=True),
)
def test_a_number_that_a_double_keeps_is_no_long_one(before: str, text: str) -> None:
    assert not long_numbers(f'{{"a":"{before}","n":{text},"t":"2026-01-01T00:00:00Z"}}'.encode())


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


def _render(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{_render(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_render, value)) + "]"
    return json.dumps(value)


def _exact(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal)


@given(st.dictionaries(st.text(), documents, max_size=5))
def test_a_record_means_the_same_after_the_way_through(record: dict[str, Any]) -> None:
    text = _render(record)
    assert _exact(dump_line(parse(text.encode()))) == _exact(text)


@pytest.mark.parametrize("text", ["1.10", "1E400", "-0", "-0.0", "9007199254740993", "1" * 5000])
def test_numbers_that_a_float_would_bend_are_kept(text: str) -> None:
    assert dump_line(parse(f"[{text}]".encode())) == f"[{text}]\n".encode()


def test_a_lone_surrogate_is_kept_in_its_escaped_form() -> None:
    assert dump_line(parse(b'{"a":"\\ud800","n":1.10}')) == b'{"a":"\\ud800","n":1.10}\n'


@pytest.mark.parametrize("body", [b"NaN", b'{"a":Infinity}', b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse(body)


def test_a_byte_order_mark_is_taken_off() -> None:
    assert parse(b"\xef\xbb\xbf[1]") == [1]
