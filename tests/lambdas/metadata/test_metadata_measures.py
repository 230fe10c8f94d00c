"""What is measured of columns, whatever batches their values come in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_lambdas.landing.records import RawNumber
from weir_lambdas.metadata_extractor.distinct import EXACT, Distinct
from weir_lambdas.metadata_extractor.hive import contract_type, type_at
from weir_lambdas.metadata_extractor.jsonlines import lines, records
from weir_lambdas.metadata_extractor.measure import ColumnMeasure
from weir_lambdas.metadata_extractor.sample import chosen


@given(st.lists(st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text())))
def test_few_values_are_counted_exactly_however_they_are_batched(values: list[Any]) -> None:
    values = [one for one in values if not isinstance(one, bool)]
    whole, pieces = ColumnMeasure(), ColumnMeasure()
    whole.see(values)
    for one in values:
        pieces.see([one])
    found = whole.metadata("c", "string", len(values))
    assert found == pieces.metadata("c", "string", len(values))
    known = [one for one in values if one is not None]
    assert found.nulls == len(values) - len(known)
    texts = {str(one) for one in known if isinstance(one, str)}
    if texts == {str(one) for one in known}:
        assert found.distinct == len(set(known))


@pytest.mark.parametrize("count", [20_000, 300_000])
def test_many_values_are_estimated_within_the_stated_error(count: int) -> None:
    distinct = Distinct()
    for start in range(0, count, 5_000):
        distinct.add(f"v{number}" for number in range(start, start + 5_000))
        distinct.add(f"v{number}" for number in range(start, start + 5_000))
    assert not distinct.exact
    assert abs(distinct.count - count) < 5 * 0.016 * count


def test_the_estimate_takes_over_where_counting_ends() -> None:
    distinct = Distinct()
    distinct.add(range(EXACT))
    assert (distinct.exact, distinct.count) == (True, EXACT)
    distinct.add(range(EXACT + 1))
    assert not distinct.exact
    assert abs(distinct.count - EXACT) < 0.08 * EXACT


def test_least_and_greatest_go_by_the_type() -> None:
    def ends(*batches: list[Any], **how: bool) -> tuple[str | None, str | None]:
        measure = ColumnMeasure(**how)
        for batch in batches:
            measure.see(batch)
        found = measure.metadata("c", "string", 10)
        return found.min, found.max

    assert ends([10, None], [9, 2.5]) == ("2.5", "10")
    assert ends([1], [RawNumber("0.12345678901234567890123")])[0] == "0.12345678901234567890123"
    assert ends(["10", "9"]) == ("10", "9")
    assert ends(["10", "9"], numeric=True) == ("9", "10")
    assert ends(["10", "n/a"], numeric=True) == (None, None)
    assert ends(["2024-01-02T00:00:00Z"], ["2024-01-01T00:00:00Z"])[0] == "2024-01-01T00:00:00Z"
    assert ends(["2024-01-02T00:00:00Z", "2024-01-02T00:30:00+01:00"]) == (None, None)
    assert ends([1, "a"]) == (None, None)
    assert ends([{"a": 1}]) == (None, None)
    assert ends(["secret"], guarded=True) == (None, None)
    assert len(ends(["x" * 500])[1] or "") == 128


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=200), st.integers(1, 10**10))
def test_a_sample_is_whole_parts_in_order_within_the_limit(sizes: list[int], limit: int) -> None:
    picked = chosen(sizes, limit)
    assert picked == sorted(set(picked))
    assert picked
    if sum(sizes) <= limit:
        assert picked == list(range(len(sizes)))
    assert len(picked) == 1 or sum(sizes[one] for one in picked) <= limit


def test_a_sample_is_spread_over_the_whole_landing() -> None:
    assert chosen([10] * 100, 100) == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]


@settings(max_examples=60)
@given(
    st.lists(
        st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9) | st.none()),
        max_size=30,
    ),
    st.integers(1, 40),
)
def test_records_are_the_same_wherever_the_text_is_cut(rows: list[Any], size: int) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    found = [row for some in lines(chunks, lambda: False) for row in records(some)]
    assert found == rows


def test_a_line_that_was_cut_on_purpose_and_lines_that_are_no_json_are_left_out() -> None:
    text = [b'{"a":1}\n{"a":', b"2}\nnonsense\n\n[1]\n", b'{"a":3']
    assert [row for some in lines(text, lambda: True) for row in records(some)] == [
        {"a": 1},
        {"a": 2},
        {"value": [1]},
    ]


def test_hive_types_are_read_as_the_contract_writes_them() -> None:
    kind = "struct<id:bigint,at:struct<Lat:double,tags:array<string>>,price:decimal(10,2)>"
    assert contract_type(kind) == "json"
    assert contract_type(type_at(kind, ["at", "lat"]) or "") == "number"
    assert contract_type(type_at(kind, ["PRICE"]) or "") == "decimal(10,2)"
    assert type_at(kind, ["at", "tags", 0]) == "string"
    assert type_at(kind, ["nowhere"]) is None
    assert contract_type("char(3)") == "string"
