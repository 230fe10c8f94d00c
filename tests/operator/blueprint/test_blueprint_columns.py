"""Which columns the catalog's table names after steps that only the job knows entirely."""

from __future__ import annotations

from typing import Any

import pytest

from weir.api.v1alpha1.pipeline import Stage
from weir.blueprint.columns import catalog_columns
from weir_contract.rows import Field, RowContract

LEFT = RowContract(fields=(Field("id", "id", "integer"), Field("items", "items", "json")))
RIGHT = RowContract(fields=(Field("ID", "id", "integer"), Field("country", "c", "string")))

STEPS: dict[str, tuple[list[dict[str, Any]], dict[str, str | None]]] = {
    "a join has both sides": (
        [{"join": {"source": "right", "keys": ["id"]}}],
        {"id": "integer", "items": "json", "country": "string"},
    ),
    "a semi join has the left side": (
        [{"join": {"source": "right", "keys": ["id"], "how": "leftSemi"}}],
        {"id": "integer", "items": "json"},
    ),
    "a join with a source of unknown columns has the left side": (
        [{"join": {"source": "unknown", "keys": ["id"]}}],
        {"id": "integer", "items": "json"},
    ),
    "a union has what either has": (
        [{"union": {"source": "right"}}],
        {"id": "integer", "items": "json", "country": "string"},
    ),
    "an exploded column has another type": (
        [{"explode": {"column": "items"}}],
        {"id": "integer", "items": None},
    ),
    "an exploded column into another": (
        [{"explode": {"column": "items", "into": "item"}}],
        {"id": "integer", "items": "json", "item": None},
    ),
    "a flattened column is gone": ([{"flatten": {"column": "items"}}], {"id": "integer"}),
    "after sql nothing is known": ([{"sql": "select 1 as a from input"}], {}),
    "a select after sql brings names back": (
        [{"sql": "select * from input"}, {"select": ["a", "b"]}, {"derive": {"c": "a"}}],
        {"a": None, "b": None, "c": None},
    ),
    "an aggregate after a join keeps the group's type": (
        [
            {"join": {"source": "right", "keys": ["id"]}},
            {"aggregate": {"groupBy": ["country"], "measures": {"n": "count(id)"}}},
        ],
        {"country": "string", "n": None},
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_the_catalog_names_what_is_known(name: str) -> None:
    steps, expected = STEPS[name]
    stage = Stage.model_validate({"name": "s", "transform": steps})
    found = catalog_columns([stage], LEFT, {"right": RIGHT, "unknown": RowContract()})
    assert {item.name: item.type for item in found.fields} == expected
