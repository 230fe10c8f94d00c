"""Which columns the catalog's table names, and which keys rows have, after steps."""

from __future__ import annotations

from typing import Any

import pytest

from weir.api.v1alpha1.pipeline import Stage
from weir.blueprint.columns import catalog_columns, keys_after
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


KEYS: dict[str, tuple[list[dict[str, Any]], tuple[str, ...]]] = {
    "rows that are only changed keep them": (
        [{"clean": {"trim": True}}, {"transform": [{"filter": "id > 1"}, {"derive": {"a": "id"}}]}],
        ("id", "line"),
    ),
    "a renamed one has its new name": (
        [{"transform": [{"rename": {"ID": "number"}}]}],
        ("number", "line"),
    ),
    "a select that leaves one out leaves none": ([{"transform": [{"select": ["id"]}]}], ()),
    "a select of all leaves them": (
        [{"transform": [{"select": ["name", "Line", "ID"]}]}],
        ("id", "line"),
    ),
    "a dropped one leaves none": (
        [{"clean": {"pii": [{"column": "Line", "action": "drop"}]}}],
        (),
    ),
    "groups by all of them keep them": (
        [
            {
                "transform": [
                    {
                        "aggregate": {
                            "groupBy": ["line", "id", "name"],
                            "measures": {"n": "count(1)"},
                        }
                    }
                ]
            }
        ],
        ("id", "line"),
    ),
    "groups by others have none": (
        [{"transform": [{"aggregate": {"groupBy": ["id"], "measures": {"n": "count(1)"}}}]}],
        (),
    ),
    "several rows of one have none": ([{"transform": [{"explode": {"column": "items"}}]}], ()),
    "sql is taken to keep them": (
        [{"transform": [{"sql": "select * from input"}]}],
        ("id", "line"),
    ),
}


@pytest.mark.parametrize("name", KEYS)
def test_the_schemas_keys_are_a_loads_where_the_stages_keep_them(name: str) -> None:
    given, expected = KEYS[name]
    stages = [Stage.model_validate({"name": f"s{n}", **stage}) for n, stage in enumerate(given)]
    assert keys_after(stages, ("id", "line")) == expected
