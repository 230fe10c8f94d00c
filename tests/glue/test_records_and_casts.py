"""Records become typed rows exactly, or go to quarantine with a reason."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from weir_contract.rows import Field, RowContract
from weir_glue.common.mapping import encode, extractor, parse_path, parse_record
from weir_glue.common.records import map_records

pytestmark = pytest.mark.spark
WIDE = Context(prec=60)
SPARK = settings(
    max_examples=2,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def cast(landed: Any, texts: list[str], kind: str, **options: Any) -> list[tuple[Any, str | None]]:
    """Each JSON value text cast to a type: (value, reason)."""
    contract = RowContract((Field("v", "v", kind, **options),))
    rows = map_records(landed([f'{{"v":{text}}}' for text in texts]), contract)
    return [(row["v"], row["_weir_reason"]) for row in rows.orderBy("_weir_row").collect()]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), json_values))
def test_a_record_read_and_written_is_the_same_json(record: dict[str, Any]) -> None:
    assert json.loads(encode(parse_record(json.dumps(record)))) == record


@given(st.text(max_size=30))
def test_any_text_is_a_record_or_a_problem(text: str) -> None:
    answer = extractor((Field("a", "a"),))(text)
    assert len(answer) == 4


def test_numbers_stay_as_they_were_written() -> None:
    take = extractor((Field("a", "a"), Field("b", "b.c[1]"), Field("j", "b", "json")))
    assert take('{"a":1.10,"b":{"c":[0,12345678901234567890.120]}}') == [
        None,
        None,
        None,
        "1.10",
        "12345678901234567890.120",
        '{"c":[0,12345678901234567890.120]}',
    ]


@pytest.mark.parametrize("depth", [100, 400, 900, 985, 992, 997, 1_500])
def test_a_record_of_any_depth_is_taken_or_a_problem(depth: int) -> None:
    text = '{"a":' * depth + "[[[1]]]" + "}" * depth
    problem, _, _, value = extractor((Field("a", "a", "json"),))(text)
    assert problem or value == text[len('{"a":') : -1]
    assert depth > 900 or not problem


def test_paths_are_names_with_dots_and_list_items() -> None:
    assert parse_path("orders[0].id") == ("orders", 0, "id")


@pytest.mark.parametrize("text", ["", "[1]", '"a"', "{", "NaN", '{"a":NaN}', "[" * 100_000])
def test_what_is_no_json_object_is_a_problem_not_a_crash(text: str) -> None:
    assert extractor((Field("a", "a"),))(text)[0] == "the record is no JSON object"


def test_a_text_that_was_cut_within_a_character_is_told_as_such() -> None:
    problem = extractor((Field("a", "a"),))('{"a":"cut \\ud83d"}')[0]
    assert problem == "the record has half of a pair of surrogates, which is no text"


@SPARK
@given(st.lists(st.integers(-(10**25), 10**25) | st.integers(-(2**63), 2**63 - 1), min_size=50))
def test_integers_are_exact_or_quarantined(landed: Any, values: list[int]) -> None:
    for value, (found, reason) in zip(
        values, cast(landed, [str(v) for v in values], "integer"), strict=True
    ):
        if -(2**63) <= value < 2**63:
            assert (found, reason) == (value, None)
        else:
            assert (found, reason) == (None, "v: does not fit integer")


numbers_with_a_point = st.builds(
    lambda digits, places: f"{digits}E{places}" if places % 3 else fixed(digits, places),
    st.integers(-(10**20), 10**20),
    st.integers(-12, 6),
)


def fixed(digits: int, places: int) -> str:
    """Digits with the point moved, written out."""
    return format(Decimal(digits).scaleb(places, WIDE), "f")


@SPARK
@given(st.lists(numbers_with_a_point, min_size=100, max_size=200))
def test_decimals_are_exact_or_quarantined_never_rounded(landed: Any, texts: list[str]) -> None:
    for text, (found, reason) in zip(texts, cast(landed, texts, "decimal(18,4)"), strict=True):
        exact = Fraction(Decimal(text))
        if (exact * 10**4).denominator == 1 and abs(exact) < 10**14:
            assert Fraction(found) == exact and reason is None, text
        else:
            assert (found, reason) == (None, "v: does not fit decimal(18,4)"), text


CASES: list[tuple[str, dict[str, Any], str, Any]] = [
    ("decimal(5,2)", {}, "1.50e2", Decimal("150.00")),
    ("decimal(5,2)", {}, '"123.450"', Decimal("123.45")),
    ("decimal(5,2)", {}, "1e-999", None),
    ("decimal(5,2)", {}, "0e9", Decimal("0.00")),
    ("integer", {}, "12.0", 12),
    ("integer", {}, "12.5", None),
    ("integer", {}, "true", None),
    ("number", {}, "1e400", None),
    ("number", {}, '"1.5d"', None),
    ("boolean", {}, "true", True),
    ("boolean", {}, '"No"', False),
    ("boolean", {}, '"maybe"', None),
    ("date", {}, '"2024-02-29"', dt.date(2024, 2, 29)),
    ("date", {}, '"2023-02-29"', None),
    ("date", {"format": "dd.MM.yyyy"}, '"01.02.2024"', dt.date(2024, 2, 1)),
    ("timestamp", {}, '"2024-01-02T03:04:05.678901"', dt.datetime(2024, 1, 2, 3, 4, 5, 678901)),
    ("timestamptz", {}, '"2024-01-02T03:04:05+0130"', dt.datetime(2024, 1, 2, 1, 34, 5)),
    ("timestamptz", {}, '"2024-01-02T03:04:05Z"', dt.datetime(2024, 1, 2, 3, 4, 5)),
    (
        "timestamptz",
        {"timezone": "Europe/Berlin"},
        '"2024-07-02 03:04"',
        dt.datetime(2024, 7, 2, 1, 4),
    ),
    ("timestamptz", {}, '"12:00"', None),
    ("string", {"max_length": 3}, '"äb"', "äb"),
    ("string", {"max_length": 3}, '"äöb"', None),
    ("string", {}, '{"a": [1.0]}', '{"a":[1.0]}'),
    ("json", {}, '"x"', '"x"'),
    ("binary", {}, '"aGk="', bytearray(b"hi")),
    ("binary", {}, '"?"', None),
]


def test_a_value_fits_its_type_or_does_not(landed: Any) -> None:
    fields = [
        Field(f"c{index}", f"c{index}", kind, **options)
        for index, (kind, options, _, _) in enumerate(CASES)
    ]
    record = ",".join(f'"c{index}":{text}' for index, (_, _, text, _) in enumerate(CASES))
    [row] = map_records(landed(["{" + record + "}"]), RowContract(tuple(fields))).collect()
    misfits = {fault.split(":")[0] for fault in row["_weir_reason"].split("; ")}
    for index, (kind, _, text, value) in enumerate(CASES):
        found = row[f"c{index}"]
        if isinstance(found, dt.datetime):
            found = found.astimezone(dt.UTC).replace(tzinfo=None)
        assert (kind, text, found) == (kind, text, value)
        assert (f"c{index}" in misfits) == (value is None)


def test_a_misfit_can_become_null_and_a_missing_value_can_break_a_row(landed: Any) -> None:
    assert cast(landed, ['"x"'], "integer", on_misfit="null") == [(None, None)]
    assert cast(landed, ["null"], "integer", nullable=False) == [(None, "v: is missing")]


def test_a_changed_type_stops_the_run_where_the_contract_says_so_and_a_missing_value_does_not(
    landed: Any,
) -> None:
    fields = (Field("v", "v", "integer", on_misfit="null"), Field("w", "w", nullable=False))
    contract = RowContract(fields=fields, on_type_change="fail")
    texts = ['{"v":1,"w":"a"}', '{"v":"x","w":"a"}', '{"v":2}']
    rows = map_records(landed(texts), contract).collect()
    assert {(row["_weir_stage"], row["_weir_reason"]) for row in rows} == {
        (None, None),
        ("fail", "v: does not fit integer"),
        ("cast", "w: is missing"),
    }


def test_rows_of_older_landings_have_null_where_a_column_was_added_later(landed: Any) -> None:
    added = Field("c", "a b", "json", added=2)
    wide = Field("v", "v", "decimal(38,2)", widened_from="integer")
    rows = map_records(
        landed(['{"v":1}', '{"v":12345678901234567.25,"a b":{"x":1}}']),
        RowContract(fields=(wide, added), on_new_field="add"),
    ).collect()
    assert sorted((str(row["v"]), row["c"]) for row in rows) == [
        ("1.00", None),
        ("12345678901234567.25", '{"x":1}'),
    ]


def test_new_fields_are_quarantined_where_the_contract_says_so(landed: Any) -> None:
    contract = RowContract((Field("v", "v.w", "integer"),), on_new_field="quarantine")
    rows = map_records(landed(['{"v":{"w":1}}', '{"v":{"w":1},"z":2}']), contract).collect()
    assert sorted(str(row["_weir_reason"]) for row in rows) == ["None", "there are new fields"]
