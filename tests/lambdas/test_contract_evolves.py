"""A contract grows by what landings bring: columns, wider types; nothing that it has goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_contract.rest import RestApi
from weir_contract.rows import ColumnType, DeletionMark, Field, RowContract
from weir_contract.widening import holds, widened
from weir_lambdas.common.state import read_contract
from weir_lambdas.file_processor.columns import measure
from weir_lambdas.landing.evolve import MAX_ADDED, evolved
from weir_lambdas.landing.infer import Inference, types_known
from weir_lambdas.landing.needs import Needs
from weir_lambdas.landing.records import parse

STATED = RowContract(
    fields=(
        Field("id", "id", "integer"),
        Field("amount", "amount", "integer"),
        Field("code", "code", "string", max_length=4),
        Field("city", "address.city", "string"),
    ),
    keys=("id",),
    on_new_field="add",
    on_type_change="widen",
)


def grown(contract: RowContract, frozen: RowContract, *rows: Any, landing: int = 2) -> RowContract:
    inference = Inference(contract)
    inference.see_all([parse(json.dumps(row).encode()) for row in rows])
    return evolved(contract, frozen, inference, landing)


def types(contract: RowContract) -> dict[str, str]:
    return {item.name: item.statement for item in contract.fields}


@pytest.mark.parametrize("copies", [1, 20], ids=["row by row", "by columns"])
def test_a_landing_adds_columns_and_widens_types_and_keeps_what_there_is(copies: int) -> None:
    row = {"id": 1.5, "amount": 12.25, "code": "123456", "address": {"city": "Faro"}, "new": 1}
    found = grown(STATED, STATED, *[row] * copies)
    assert types(found) == {
        "id": "integer",
        "amount": "decimal(21,2)",
        "code": "string(8)",
        "city": "string",
        "new": "integer",
    }
    assert {one.name: one.widened_from for one in found.fields if one.widened_from} == {
        "amount": "integer",
        "code": "string(4)",
    }
    assert found.fields[-1].added == 2
    assert grown(STATED, found, row, landing=3) == found
    assert grown(STATED, found, {"amount": 1, "new": 2.5, "more": None}).types["new"] == (
        "decimal(20,1)"
    )
    assert types(STATED.in_force(found)) == types(found)


def test_what_the_schema_does_not_allow_stays_as_it_is() -> None:
    row = {"amount": 1.5, "code": "123456", "new": 1}
    still = replace(STATED, on_new_field="ignore", on_type_change="quarantine")
    assert grown(still, still, row) == still
    pinned = replace(STATED, pinned=("AMOUNT",), on_new_field="quarantine")
    assert types(grown(pinned, pinned, row))["amount"] == "integer"
    assert not types_known(STATED, STATED)
    assert types_known(still, still)


@pytest.mark.parametrize(
    ("kind", "value", "becomes"),
    [
        ("decimal(4,2)", 123.45, "decimal(21,2)"),
        ("decimal(4,2)", 1.125, "decimal(4,2)"),
        ("integer", 10**19, "integer"),
    ],
)
def test_an_iceberg_table_keeps_the_scale_of_its_numbers(
    kind: str, value: float, becomes: str
) -> None:
    stated = replace(STATED, fields=(Field("amount", "amount", kind),), fixed_scale=True)
    assert types(grown(stated, stated, {"amount": value}))["amount"] == becomes


def test_who_states_another_type_means_it() -> None:
    found = grown(STATED, STATED, {"amount": 1.5, "new": 1})
    other = (STATED.fields[0], Field("amount", "amount", "string"), Field("NEW", "new", "string"))
    assert types(replace(STATED, fields=other).in_force(found)) == {
        "id": "integer",
        "amount": "string",
        "NEW": "string",
    }
    same = replace(STATED, on_new_field="ignore", on_type_change="quarantine")
    assert types(same.in_force(found)) == types(found), "what was taken stays"


def test_an_inferred_contract_evolves_as_a_stated_one() -> None:
    stated = RowContract(on_new_field="add", on_type_change="widen")
    first = RowContract(fields=(Field("id", "id", "integer"), Field("name", "name", "string")))
    found = grown(stated, first, {"id": 2**63, "name": 1, "b": True})
    assert types(found) == {"id": "decimal(20,0)", "name": "string", "b": "boolean"}
    assert types(stated.in_force(found)) == types(found)


def test_a_new_column_has_a_name_of_its_own() -> None:
    stated = replace(STATED, reserved=("day",))
    row = {
        "ID": 1,
        "day": 1,
        "Year": 2026,
        "a b": 1,
        "a-b": 2,
        "9": 3,
        "_weir_run": "x",
        "é" * 200: 1,
    }
    found = grown(stated, stated, row)
    added = {item.path: item.name for item in found.fields if item.added}
    assert added == {
        "9": "_9",
        "ID": "ID_2",
        "Year": "Year_2",
        "a b": "a_b",
        "a-b": "a_b_2",
        "day": "day_2",
    }


def test_what_marks_deletions_is_no_new_column() -> None:
    mark = DeletionMark("source.op", ("d",), {"id": "before.id"})
    told = replace(STATED, deletion=mark)
    row = {"id": 1, "source": {"op": "d"}, "before": {"id": 1}, "new": True}
    assert [one.name for one in grown(told, told, row).fields if one.added] == ["new"]


def test_the_number_of_added_columns_is_bounded_for_all_landings_together() -> None:
    found = grown(STATED, STATED, {f"k{n}": n for n in range(MAX_ADDED - 1)})
    found = grown(STATED, found, {f"l{n}": n for n in range(50)})
    assert sum(item.added is not None for item in found.fields) == MAX_ADDED


def test_landings_write_the_contract_before_the_manifest_and_twice_is_once(
    api: Any, source: Callable[..., Any], lander: Callable[..., Any], table: Any
) -> None:
    rows: list[dict[str, Any]] = [{"id": 1, "amount": 2}]
    api.answer = lambda call, http: (200, {}, json.dumps(rows).encode())
    config = source(RestApi(api.url + "/x"), contract=STATED)
    lander(config).land("r1", None, None)
    rows[0] = {"id": 2, "amount": "2.50", "country": "pt"}
    for run in ("r2", "r3"):
        lander(config).land(run, None, None)
    found = read_contract(table, config.id)
    assert found is not None
    assert types(found)["amount"] == "decimal(20,1)"
    assert [(item.name, item.type, item.added) for item in found.fields if item.added] == [
        ("country", "string", 2)
    ]


@given(
    st.lists(
        st.one_of(st.integers(), st.decimals(allow_nan=False, allow_infinity=False)), max_size=9
    )
)
def test_a_widened_number_holds_all_that_the_column_held(values: list[Any]) -> None:
    needs = Needs()
    needs.see_many(values)
    for kind in ("integer", "decimal(10,2)"):
        found = widened(Field("v", "v", kind), needs.whole, needs.fraction, 0, kind)
        if found is not None:
            wide = ColumnType.parse(found.type or "")
            assert holds(wide, ColumnType.parse(kind))
            for value in values:
                sign, digits, exponent = Decimal(value).as_tuple()
                if len(digits) + abs(int(exponent)) <= 18:
                    shifted = Decimal((sign, digits, int(exponent) + wide.scale))
                    assert shifted == int(shifted), "no digit after the point is lost"
                    assert abs(shifted) < 10**wide.precision


def test_columns_of_files_need_what_their_values_need() -> None:
    wanted = {
        "int": (pa.array([-5, 70000]), (5, 0, 0)),
        "text": (pa.array(["é1", None, "12.50", " 7"]), (2, 1, 5)),
        "float": (pa.array([1.0, 0.125, None]), (1, 3, 0)),
        "decimal": (pa.array([Decimal("1.10")]), (1, 1, 0)),
        "flag": (pa.array([True]), (0, 0, 0)),
    }
    for name, (values, expected) in wanted.items():
        needs = Needs()
        measure(pa.chunked_array([values]), needs)
        assert (name, needs.whole, needs.fraction, needs.longest) == (name, *expected)
