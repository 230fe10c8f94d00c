"""What landings add and widen is wanted in the tables, whatever the spec says; the spec stays."""

from __future__ import annotations

from typing import Any

from weir.blueprint.config import ingested_contract, row_contract, stated_contract

SCHEMA = {
    "fields": [
        {"name": "id", "type": "integer", "description": "The  number\non the paper."},
        {"name": "amount", "type": "integer"},
        {"name": "code", "type": "string", "maxLength": 4},
    ],
    "keys": ["id"],
    "evolution": {"onNewField": "add", "onTypeChange": "widen"},
}
GROWN = {
    "schema": {
        "landing": "default/customer-data-api#2",
        "fields": [
            {"name": "id", "type": "integer"},
            {"name": "amount", "type": "decimal(38,2)", "widenedFrom": "integer"},
            {"name": "code", "type": "string", "maxLength": 8, "widenedFrom": "string(4)"},
            {"name": "land_code", "type": "string", "path": "land code", "added": 2},
        ],
    }
}
REDSHIFT = {"schema": "s", "table": "t", "distkey": "id", "sortkey": "amount, code"}


def grown(worlds: Any, **schema: Any) -> Any:
    spec = {"schema": {**SCHEMA, **schema}, "redshift": REDSHIFT}
    return worlds(source_spec=spec, status=GROWN)


def columns(world: Any, kind: str) -> dict[str, str]:
    (table,) = [one for one in world.pipeline_resources() if one.kind == kind]
    if kind == "glue.Table":
        found = table.properties["StorageDescriptor"]["Columns"]
        return {one["Name"]: one["Type"] for one in found if not one["Name"].startswith("_")}
    assert table.properties["Widened"] == ["amount", "code"]
    found = table.properties["Columns"]
    return {one["name"]: one["type"] for one in found if not one["name"].startswith("_")}


def test_tables_follow_what_landings_brought(worlds: Any) -> None:
    world = grown(worlds)
    assert columns(world, "glue.Table") == {
        "id": "bigint",
        "amount": "decimal(38,2)",
        "code": "string",
        "land_code": "string",
    }
    assert columns(world, "redshift.Table") == {
        "id": "BIGINT",
        "amount": "DECIMAL(38,2)",
        "code": "VARCHAR(8)",
        "land_code": "VARCHAR(65535)",
    }


def test_tombstones_follow_what_landings_widened(worlds: Any) -> None:
    fields = [*SCHEMA["fields"], {"name": "gone", "type": "boolean"}]
    schema = {**SCHEMA, "fields": fields, "keys": ["code"], "deletion": {"path": "gone"}}
    target = {"schema": "s", "table": "t", "mode": "merge", "orderBy": "amount", "deletes": "hard"}
    world = worlds(source_spec={"schema": schema, "redshift": target}, status=GROWN)
    (table,) = [
        one for one in world.pipeline_resources() if one.logical_id.startswith("tombstones-")
    ]
    found = {one["name"]: one["type"] for one in table.properties["Columns"]}
    assert (found["code"], found["amount"]) == ("VARCHAR(8)", "DECIMAL(38,2)")
    # A key is never null, and so is never written anew: a longer VARCHAR is all that it may become.
    assert table.properties["Widened"] == ["amount"]


def test_what_was_taken_stays_when_the_spec_turns_evolution_off(worlds: Any) -> None:
    world = grown(worlds, evolution={})
    assert row_contract(world.source, {}).types == {
        "id": "integer",
        "amount": "decimal(38,2)",
        "code": "string",
        "land_code": "string",
    }


def test_functions_get_what_must_not_change_and_a_configuration_that_landings_leave_alone(
    worlds: Any,
) -> None:
    world = grown(worlds)
    contract = ingested_contract(world.source, {})
    assert contract.pinned == ("amount", "code", "id")
    assert contract.reserved == ("year", "month", "day")
    assert contract.fields == stated_contract(world.source, {}).fields
    assert not contract.fixed_scale
    lake = {"destination": {"prefix": "lake/", "format": "iceberg"}}
    in_lake = worlds(source_spec={"schema": SCHEMA, **lake})
    assert ingested_contract(in_lake.source, {}).fixed_scale
    plain = worlds(source_spec={"schema": {**SCHEMA, "evolution": {}}, "redshift": REDSHIFT})
    assert (plain_contract := ingested_contract(plain.source, {})).pinned == ()
    assert not plain_contract.evolves


def test_a_description_is_the_columns_comment_in_one_line(worlds: Any) -> None:
    (table,) = [one for one in grown(worlds).pipeline_resources() if one.kind == "glue.Table"]
    comments = {
        one["Name"]: one.get("Comment") for one in table.properties["StorageDescriptor"]["Columns"]
    }
    assert comments["id"] == "The number on the paper."
    assert comments["amount"] is None
