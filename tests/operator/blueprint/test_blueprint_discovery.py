"""What a source's shape is written to: one table over what was landed, with one writer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from weir.resource import Resource
from weir_contract.codec import loads
from weir_contract.metadata import Profiling

SHOWN = {
    "discovered": {
        "revision": 3,
        "sequence": 9,
        "columns": [
            {"name": "customerId", "type": "integer"},
            {"name": "address", "type": "json"},
            {"name": "address.city", "type": "string"},
            {"name": "Date", "type": "date"},
            {"name": "price", "type": "decimal(12,2)"},
            {"name": "void"},
        ],
    }
}


def found(world: Any) -> dict[str, Resource]:
    return {item.logical_id: item for item in world.source_resources()}


def test_a_source_that_has_shown_nothing_yet_is_measured_and_has_no_table(world: Any) -> None:
    resources = found(world)
    assert "raw-table" not in resources
    assert "crawler" not in resources
    profiling = loads(Profiling, resources["profile"].properties["Item"]["body"])
    assert profiling.crawler is None
    assert [item.name for item in profiling.contract.fields] == [
        "customerId",
        "customerName",
        "customerEmail",
    ]


def test_what_landings_have_shown_becomes_a_table_that_athena_can_read(worlds: Any) -> None:
    table = found(worlds(status=SHOWN))["raw-table"]
    assert table.name == "weir_prod_default.raw__customer_data_api"
    storage = table.properties["StorageDescriptor"]
    assert [(one["Name"], one["Type"]) for one in storage["Columns"]] == [
        ("customerid", "bigint"),
        ("address", "string"),
        ("date_2", "string"),
        ("price", "decimal(12,2)"),
        ("void", "string"),
    ]
    serde = storage["SerdeInfo"]["Parameters"]
    assert serde["mapping.customerid"] == "customerId"
    assert serde["mapping.date_2"] == "Date"
    parameters = table.properties["Parameters"]
    assert parameters["projection.enabled"] == "true"
    assert parameters["storage.location.template"].endswith(
        "/default/customer-data-api/date=${date}/"
    )
    assert parameters["weir.dev/schema-revision"] == "3"


def test_parquet_is_read_by_its_own_types(worlds: Any) -> None:
    shown = {"discovered": {**SHOWN["discovered"], "format": "parquet"}}
    table = found(worlds(status=shown))["raw-table"]
    columns = {one["Name"]: one["Type"] for one in table.properties["StorageDescriptor"]["Columns"]}
    assert columns["date_2"] == "date"
    assert table.properties["Parameters"]["classification"] == "parquet"


def test_a_crawler_is_the_only_writer_of_the_table_that_it_discovers(worlds: Any) -> None:
    resources = found(worlds(source_spec={"schema": {"discovery": "crawler"}}, status=SHOWN))
    assert "raw-table" not in resources
    crawler = resources["crawler"].properties
    (target,) = crawler["Targets"]["S3Targets"]
    assert target["Path"].endswith("/default/customer-data-api/")
    assert "_manifests/**" in target["Exclusions"]
    assert crawler["Configuration"]["Grouping"]["TableLevelConfiguration"] == 3
    profiling = loads(Profiling, resources["profile"].properties["Item"]["body"])
    assert profiling.crawler == resources["crawler"].name
    assert profiling.contract.crawled
    assert profiling.table_prefix == crawler["TablePrefix"]


@pytest.mark.parametrize("prefix", ["", "in/orders/"])
def test_a_source_of_files_is_crawled_where_its_files_arrive(worlds: Any, prefix: str) -> None:
    resources = found(
        worlds(
            source_spec={
                "source": {"files": {"bucket": "drops", "prefix": prefix}},
                "schema": {"discovery": "crawler"},
            }
        )
    )
    (target,) = resources["crawler"].properties["Targets"]["S3Targets"]
    assert target == {"Path": f"s3://drops/{prefix}"}
    policy = json.dumps(resources["crawler-role"].properties["Policies"])
    assert f"arn:aws:s3:::drops/{prefix}*" in policy
    assert "crawled__customer_data_api__*" in policy


def test_a_crawlers_role_writes_no_table_but_its_own(worlds: Any) -> None:
    resources = found(worlds(source_spec={"schema": {"discovery": "crawler"}}))
    statements = resources["crawler-role"].properties["Policies"]["weir"]["Statement"]
    (writes,) = [one for one in statements if one["Sid"] == "WriteTables"]
    tables = [arn for arn in writes["Resource"] if ":table/" in arn]
    assert [arn.rpartition("/")[2] for arn in tables] == ["crawled__customer_data_api__*"]
    actions = {action for one in statements for action in one["Action"]}
    assert not {one for one in actions if "Delete" in one or one.startswith("s3:Put")}
