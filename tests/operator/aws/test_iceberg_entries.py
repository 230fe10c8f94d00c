"""The catalog's entry of an Iceberg table: the operator's to make, the commits' to write."""

from __future__ import annotations

from typing import Any

import pytest
from adapters_world import World

from weir.aws.errors import Conflict
from weir.resource import Adapter, Change, Resource

PLACE = "s3://world-bucket/lake/table"
TAGS = {"weir.dev/cluster": "c", "weir.dev/uid": "1"}


def wanted(name: str, location: str = PLACE) -> Resource:
    return Resource(
        "glue.Table",
        "case",
        f"world_db.{name}",
        {
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {"table_type": "ICEBERG"},
            "StorageDescriptor": {"Location": location},
        },
        tagged=False,
    )


def entry(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = world.calls("glue")("GetTable", DatabaseName="world_db", Name=name)
    return found["Table"]  # type: ignore[no-any-return]


def commit(world: World, name: str) -> None:
    """What Iceberg's GlueCatalog writes with each commit."""
    table = entry(world, name)
    world.calls("glue")(
        "UpdateTable",
        DatabaseName="world_db",
        VersionId=table["VersionId"],
        TableInput={
            "Name": name,
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {**table["Parameters"], "metadata_location": f"{PLACE}/metadata/1.json"},
            "StorageDescriptor": {
                "Location": PLACE,
                "Columns": [
                    {"Name": "id", "Type": "bigint", "Parameters": {"iceberg.field.id": "1"}}
                ],
            },
        },
    )


def test_a_commit_is_no_drift_and_outlives_what_the_operator_writes(
    world: World, every: dict[str, Adapter]
) -> None:
    adapter = every["glue.Table"]
    resource = wanted("committed")
    made = adapter.create(resource, TAGS)
    assert made.properties == adapter.traits.canonical(resource.properties)
    try:
        commit(world, "committed")
        seen = adapter.observe([resource.name])[resource.name]
        assert seen.properties == made.properties
        assert seen.tags == TAGS

        adapter.update(resource, seen, [], {**TAGS, "weir.dev/uid": "2"})
        table = entry(world, "committed")
        assert table["Parameters"]["metadata_location"] == f"{PLACE}/metadata/1.json"
        assert table["Parameters"]["tag:weir.dev/uid"] == "2"
        assert [column["Name"] for column in table["StorageDescriptor"]["Columns"]] == ["id"]
    finally:
        adapter.delete(made)
    assert adapter.observe([resource.name]) == {}


@pytest.mark.parametrize("there", ["Parquet", "Iceberg elsewhere"])
def test_a_table_never_changes_its_format_or_its_place(
    world: World, every: dict[str, Adapter], there: str
) -> None:
    adapter = every["glue.Table"]
    iceberg = wanted("settled")
    parquet = Resource(
        "glue.Table",
        "case",
        "world_db.settled",
        {
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {"classification": "parquet"},
            "StorageDescriptor": {"Location": "s3://world-bucket/lake/"},
        },
        tagged=False,
    )
    before, after = {
        "Parquet": (parquet, iceberg),
        "Iceberg elsewhere": (wanted("settled", "s3://world-bucket/old/table"), iceberg),
    }[there]
    made = adapter.create(before, TAGS)
    try:
        seen = adapter.observe([before.name])[before.name]
        change = Change("StorageDescriptor.Location", "a", "b")
        with pytest.raises(Conflict, match="the one never becomes the other"):
            adapter.update(after, seen, [change], TAGS)
        assert entry(world, "settled")["VersionId"] == "1"
    finally:
        adapter.delete(made)


def test_an_iceberg_table_is_not_overwritten_by_one_of_files(
    world: World, every: dict[str, Adapter]
) -> None:
    adapter = every["glue.Table"]
    made = adapter.create(wanted("kept"), TAGS)
    try:
        commit(world, "kept")
        files = Resource(
            "glue.Table",
            "case",
            "world_db.kept",
            {
                "TableType": "EXTERNAL_TABLE",
                "Parameters": {"classification": "parquet"},
                "PartitionKeys": [],
                "StorageDescriptor": {"Location": "s3://world-bucket/lake/"},
            },
            tagged=False,
        )
        seen = adapter.observe([files.name])[files.name]
        with pytest.raises(Conflict, match="is Iceberg at s3://world-bucket/lake/table"):
            adapter.update(files, seen, [Change("Parameters", {}, {})], TAGS)
        assert "metadata_location" in entry(world, "kept")["Parameters"]
    finally:
        adapter.delete(made)
