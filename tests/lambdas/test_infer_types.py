"""Types told from rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_contract.compile import quoted
from weir_contract.rows import Field, RowContract
from weir_lambdas.landing.infer import Column, Inference, value_at
from weir_lambdas.landing.records import RawNumber, parse


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("[1,2,null]", "integer"),
        ("[9007199254740993]", "integer"),
        ("[9223372036854775808]", "decimal(38,0)"),
        ("[1,2.5]", "number"),
        ("[1.10]", "number"),
        ("[9007199254740993,2.5]", "decimal(38,1)"),
        ("[0.1234567890123456789]", "decimal(38,19)"),
        ("[1e400,0.1234567890123456789]", "string"),
        ("[true,false]", "boolean"),
        ("[true,1]", "string"),
        ('["2026-02-01","2026-02-28"]', "date"),
        ('["2026-02-01","2026-02-30"]', "string"),
        ('["2026-02-01T10:00:00","2026-02-01 10:00:00.5"]', "timestamp"),
        ('["2026-02-01T10:00:00Z","2026-02-01T10:00:00+02:00"]', "timestamptz"),
        ('["2026-02-01T10:00:00Z","2026-02-01T10:00:00"]', "string"),
        ('["2026-02-01","soon"]', "string"),
        ("[1e9999999]", "string"),
        ("[1, 1e99999999999999999999]", "string"),
        ("[1e-99999999999999999999]", "string"),
        ("[1.5e400]", "string"),
        ("[1.50e30, 1]", "number"),
        (f"[{'9' * 5_000}]", "string"),
        ('[{"a":1},[2]]', "json"),
        ('[{"a":1},"x"]', "string"),
        ("[null]", "string"),
    ],
)
def test_the_narrowest_type_that_holds_every_value(values: str, expected: str) -> None:
    inference = Inference(RowContract())
    for value in parse(values.encode()):
        inference.see({"c": value})
    assert inference.types == {"c": expected}


def test_only_columns_without_a_stated_type_are_inferred_by_their_path() -> None:
    contract = RowContract(fields=(Field("id", "id", "integer"), Field("city", "address.city")))
    inference = Inference(contract)
    inference.see({"id": 1, "address": {"city": "Ulm"}})
    assert inference.types == {"city": "string"}


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=12))
def test_any_keys_become_distinct_columns_that_lead_back_to_their_values(keys: list[str]) -> None:
    row: dict[str, Any] = {key: index for index, key in enumerate(keys)}
    inference = Inference(RowContract())
    inference.see(row)
    names = list(inference.types)
    assert len({quoted(name) for name in names}) == len(keys)
    for name, key in zip(names, keys, strict=True):
        assert value_at(row, inference.paths[name]) == row[key]


def test_the_fingerprint_changes_with_keys_and_types_alone() -> None:
    def fingerprint(*rows: dict[str, Any]) -> str:
        inference = Inference(RowContract())
        for row in rows:
            inference.see(row)
        return inference.fingerprint

    base = fingerprint({"a": 1, "b": "x"})
    assert fingerprint({"b": "y", "a": 2}, {"a": None, "b": "z"}) == base
    assert fingerprint({"a": "1", "b": "x"}) != base
    assert fingerprint({"a": 1}) != base


VALUES = [
    st.none() | st.integers(-(2**70), 2**70),
    st.integers(-1000, 1000),
    st.floats(allow_nan=False, allow_infinity=False) | st.none(),
    st.sampled_from(["2026-02-01", "2026-02-28", "2026-02-30", "x"]),
    st.sampled_from(["2026-02-01T10:00:00Z", "2026-02-01T10:00:00,5+02:00", None]),
    st.booleans(),
    st.sampled_from([{}, [], {"a": 1}, None]),
    st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=2)),
    st.sampled_from([RawNumber("1.10"), RawNumber("0.12345678901234567"), 5, 0.25]),
    st.sampled_from([12.34, 0.5, 100.125, -3.0, -1234.5678, RawNumber("1.1000000000000000001")]),
]


@given(st.data(), st.integers(2, 4), st.integers(1, 30))
def test_columns_at_once_tell_the_same_as_values_one_by_one(
    data: st.DataObject, width: int, count: int
) -> None:
    kinds = data.draw(st.lists(st.sampled_from(VALUES), min_size=width, max_size=width))
    rows = [
        {f"c{number}": data.draw(kind) for number, kind in enumerate(kinds)} for _ in range(count)
    ]
    if data.draw(st.booleans()) and len(rows) > 1:
        del rows[1]["c0"]
    contract = data.draw(
        st.sampled_from([RowContract(), RowContract(fields=(Field("a", "c0"), Field("b", "c1.a")))])
    )
    one, many = Inference(contract), Inference(contract)
    for row in rows:
        one.see(row)
    half = data.draw(st.integers(0, count))
    many.see_all(rows[:half])
    many.see_all(rows[half:])
    assert (many.types, many.fingerprint) == (one.types, one.fingerprint)
    # Text that is nothing else settles a column: only the others' digits still count.
    seen = {key: column for key, column in one.unstated.items() if column.type != "string"}
    assert {key: many.unstated[key] for key in seen} == seen


@pytest.mark.parametrize("later", [10.5, -10.5, 100.25, 9.125, -0.0625, 1e300, 5e-7, 12])
def test_numbers_that_need_more_digits_than_those_before_are_seen(later: float) -> None:
    one, many = Column(), Column()
    for values in ([9.5, 0.25, -1.0], [3.5, later, 7.5]):
        for value in values:
            one.see(value)
        many.see_many(values, set(map(type, values)))
    assert many == one
