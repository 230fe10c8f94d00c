"""What a source has so that its shape is known: what to measure, and a table over what was landed.

The table is written by one alone: by the source's crawler where ``schema.discovery`` asks for one,
else by the operator, from what the metadata extractor has seen. Each change of it is a version in
the Glue catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir.api.v1alpha1.datasource import DataSource, DiscoveredSchema
from weir.api.v1alpha1.schema import DataSchema
from weir.blueprint import config, naming, pieces, policies, tables
from weir.blueprint.facts import PlatformFacts
from weir.resource import Resource
from weir_contract.codec import dumps
from weir_contract.metadata import Profiling
from weir_contract.rows import ColumnType
from weir_contract.state import PROFILE, source_pk

RAW, CRAWLED = "raw__", "crawled__"
"""Beginnings of the names of tables over what was landed. No Pipeline's table begins so: a
Kubernetes name would need two dashes in a row for it."""

HIDDEN = ("_manifests/**", "_metadata/**", "_received/**")
"""Folders of a source in the raw zone that hold no committed rows (Glue Developer Guide, *Include and
exclude patterns*)."""

ROOT_LEVEL = 3
"""Depth of a source's folder in the raw bucket: bucket, namespace, source. A crawler counts the bucket
as 1 (Glue Developer Guide, *How to specify the table location and partitioning level*)."""

JSON_TYPES = {"integer": "bigint", "number": "double", "boolean": "boolean"}
"""Type -> Hive type of a value in JSON lines; all else is read as text, as it was landed."""

PARQUET_TYPES = {
    **JSON_TYPES,
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamp",
    "binary": "binary",
}

JSON_LINES: dict[str, Any] = {
    "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
}
SERDE = "org.openx.data.jsonserde.JsonSerDe"
FIRST_DAY = "2020-01-01"


def discovery_resources(
    source: DataSource, facts: PlatformFacts, schemas: Mapping[str, DataSchema]
) -> tuple[Resource, ...]:
    """What measures a source's landings, and what its shape is written to."""
    stated = config.stated_contract(source, schemas)
    if stated.discovery == "crawler":
        return _crawler(source, facts, stated)
    found = source.status.discovered if source.status else None
    table = raw_table(source, facts, found) if found and found.columns else None
    item = _profile(source, facts, Profiling(stated, metrics_namespace=facts.metrics_namespace))
    return (item, table) if table else (item,)


def _profile(
    source: DataSource, facts: PlatformFacts, profiling: Profiling, *needs: str
) -> Resource:
    pk = source_pk(source.id)
    return Resource(
        "dynamodb.Item",
        "profile",
        f"{facts.state_table}|{pk}|{PROFILE}",
        {"Item": {"pk": pk, "sk": PROFILE, "body": dumps(profiling)}},
        needs,
        tagged=False,
    )


def crawled_folder(source: DataSource, facts: PlatformFacts) -> tuple[str, str]:
    """Bucket and prefix that a source's crawler looks through: the watched one of a source of files,
    which Glue's classifiers know as it is, else what was landed."""
    watched = config.watched(source) if source.spec.source.files else None
    if watched is None:
        return facts.buckets["raw"], f"{source.id}/"
    return watched.bucket, watched.prefix


def _crawler(source: DataSource, facts: PlatformFacts, stated: Any) -> tuple[Resource, ...]:
    names = pieces.Naming(facts.cluster, "DataSource", source.namespace, source.name)
    name = names("crawler", "discover")
    bucket, prefix = crawled_folder(source, facts)
    database = naming.catalog_database(facts.cluster, source.namespace)
    table_prefix = f"{CRAWLED}{naming.catalog_table(source.name)}__"
    role = pieces.role(
        facts,
        "crawler-role",
        names("role", "crawler"),
        trust=policies.trust(facts, "glue", facts.crawlers_arn + name),
        policy=policies.crawler(
            facts, bucket=bucket, prefix=prefix, database=database, tables=f"{table_prefix}*"
        ),
        description=f"Weir: discovers the schema of {source.id}",
    )
    landed = bucket == facts.buckets["raw"]
    level = ROOT_LEVEL if landed else 1 + len([part for part in prefix.split("/") if part])
    target: dict[str, Any] = {"Path": f"s3://{bucket}/{prefix}"}
    if landed:
        target["Exclusions"] = list(HIDDEN)
    crawler = Resource(
        "glue.Crawler",
        "crawler",
        name,
        {
            "Role": facts.role_arn(role.name),
            "DatabaseName": database,
            "Description": f"Weir: the schema of {source.id}",
            "Targets": {"S3Targets": [target]},
            "TablePrefix": table_prefix,
            "SchemaChangePolicy": {
                "UpdateBehavior": "UPDATE_IN_DATABASE",
                "DeleteBehavior": "LOG",
            },
            "RecrawlPolicy": {"RecrawlBehavior": "CRAWL_EVERYTHING"},
            "Configuration": {
                "Version": 1.0,
                "CrawlerOutput": {"Partitions": {"AddOrUpdateBehavior": "InheritFromTable"}},
                "Grouping": {
                    "TableGroupingPolicy": "CombineCompatibleSchemas",
                    "TableLevelConfiguration": level,
                },
            },
        },
        ("crawler-role",),
    )
    profiling = Profiling(
        stated,
        crawler=name,
        database=database,
        table_prefix=table_prefix,
        location=f"s3://{bucket}/{prefix}",
        metrics_namespace=facts.metrics_namespace,
    )
    return role, crawler, _profile(source, facts, profiling, "crawler")


def raw_table(source: DataSource, facts: PlatformFacts, found: DiscoveredSchema) -> Resource:
    """The table over what a source has landed, by the columns that its landings have shown.

    Athena finds a day's folder by the projection; what begins with ``_`` is not read.
    """
    parquet = found.format == "parquet"
    types = PARQUET_TYPES if parquet else JSON_TYPES
    columns: list[dict[str, str]] = []
    spelled: dict[str, str] = {}
    # Paths that lie deeper are parts of a top-level column, which has them whole.
    tops = [item for item in found.columns if not any(letter in item.name for letter in ".[")]
    for item in tops:
        column = naming.column_name(item.name, {"date", *(one["Name"] for one in columns)})
        if column != item.name:
            spelled[f"mapping.{column}"] = item.name
        columns.append({"Name": column, "Type": _hive_type(item.type, types)})
    location = f"s3://{facts.buckets['raw']}/{source.id}/"
    storage = tables.PARQUET if parquet else JSON_LINES
    serde = (
        tables.PARQUET["SerdeInfo"]
        if parquet
        else {
            "SerializationLibrary": SERDE,
            "Parameters": {"ignore.malformed.json": "true", "case.insensitive": "false", **spelled},
        }
    )
    return Resource(
        "glue.Table",
        "raw-table",
        f"{naming.catalog_database(facts.cluster, source.namespace)}."
        f"{RAW}{naming.catalog_table(source.name)}",
        {
            "Description": f"Weir: what {source.id} has landed, before its contract",
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {
                "EXTERNAL": "TRUE",
                "classification": "parquet" if parquet else "json",
                "projection.enabled": "true",
                "projection.date.type": "date",
                "projection.date.format": "yyyy-MM-dd",
                "projection.date.range": f"{FIRST_DAY},NOW+1DAYS",
                "storage.location.template": f"{location}date=${{date}}/",
                "weir.dev/schema-revision": str(found.revision),
            },
            "PartitionKeys": [{"Name": "date", "Type": "string"}],
            "StorageDescriptor": {
                "Columns": columns,
                "Location": location,
                **storage,
                "SerdeInfo": serde,
            },
        },
        tagged=False,
    )


def _hive_type(kind: str | None, types: Mapping[str, str]) -> str:
    if kind is None:
        return "string"
    parsed = ColumnType.parse(kind)
    if parsed.name == "decimal":
        return f"decimal({parsed.precision},{parsed.scale})"
    return types.get(parsed.name, "string")
