"""An Iceberg table in the catalog: found again, created, and brought into shape."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import ClientError
from pyspark.sql import SparkSession

from weir_contract.pipelines import Destination, IcebergTable
from weir_contract.rows import Field
from weir_glue.common.errors import OutputRefused
from weir_glue.common.plan import split_uri
from weir_glue.iceberg import shape

CATALOG = "glue_catalog"
"""Spark's name of the Glue Data Catalog, as the job's ``--conf`` sets it up."""

METADATA = re.compile(r"/metadata/(\d+)-[^/]+\.metadata\.json$")


@dataclass(frozen=True)
class Table:
    """A table, by Spark and by Iceberg itself."""

    spark: SparkSession
    database: str
    name: str
    location: str
    options: IcebergTable

    @property
    def sql(self) -> str:
        """Its name in Spark SQL."""
        return ".".join((CATALOG, shape.quoted(self.database), shape.quoted(self.name)))

    def load(self) -> Any:
        """Iceberg's ``org.apache.iceberg.Table``, read anew."""
        jvm = self.spark._jvm
        assert jvm is not None
        return jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(
            self.spark._jsparkSession, self.sql
        )

    def columns(self) -> dict[str, str]:
        """Column -> Spark's type."""
        return {
            item.name: item.dataType.simpleString()
            for item in self.spark.table(self.sql).schema.fields
        }


def table_of(spark: SparkSession, database: str, to: Destination) -> Table:
    """The table of a destination.

    Raises
    ------
    OutputRefused
        The destination is none of an Iceberg table.
    """
    if to.iceberg is None or to.glue_table is None:
        raise OutputRefused(f"s3://{to.bucket}/{to.prefix} is no Iceberg table's destination")
    return Table(spark, database, to.glue_table, to.location, to.iceberg)


def prepare(table: Table, to: Destination, fields: Sequence[Field]) -> None:
    """Make the table as the rows need it: its columns, partitions and properties.

    Raises
    ------
    TableConflict
        A column has another type, and Iceberg can't widen the one into the other.
    """
    wanted, parts = shape.columns(fields, table.options), shape.partitions(to.partition_by)
    if not table.spark.catalog.tableExists(table.sql):
        body = ", ".join(f"{shape.quoted(name)} {kind}" for name, kind in wanted.items())
        by = f" PARTITIONED BY ({', '.join(parts)})" if parts else ""
        table.spark.sql(
            f"CREATE TABLE {table.sql} ({body}) USING iceberg{by} LOCATION '{table.location}' "
            f"TBLPROPERTIES ({_assigned(shape.properties(table.options))})"
        )
        return
    there = table.columns()
    kept = {
        name: there[name] if name in there and shape.fits(there[name], kind) else kind
        for name, kind in wanted.items()
    }
    for change in shape.changes(there, kept, f"{table.database}.{table.name}"):
        table.spark.sql(f"ALTER TABLE {table.sql} {change}")
    found = table.load()
    for change in partition_changes(_spec(found), parts):
        table.spark.sql(f"ALTER TABLE {table.sql} {change}")
    has = dict(found.properties())
    # Iceberg tells the format's version elsewhere than among the properties.
    lacks = {
        key: value
        for key, value in shape.properties(table.options).items()
        if has.get(key) != value and key != "format-version"
    }
    if lacks:
        table.spark.sql(f"ALTER TABLE {table.sql} SET TBLPROPERTIES ({_assigned(lacks)})")


def _assigned(properties: dict[str, str]) -> str:
    return ", ".join(f"'{key}'='{value}'" for key, value in properties.items())


def _spec(found: Any) -> list[str]:
    """The partition transforms that new files get, spelled as :func:`shape.partitions` does."""
    schema, spelled = found.schema(), []
    for item in found.spec().fields():
        name = shape.quoted(schema.findColumnName(item.sourceId()))
        transform = item.transform().toString()
        if transform == "void":
            continue
        spelled.append(name if transform == "identity" else f"{transform}s({name})")
    return spelled


def partition_changes(there: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """``ALTER TABLE`` clauses from one partitioning to another: files that are there keep theirs."""
    gone = [f"DROP PARTITION FIELD {item}" for item in there if item not in wanted]
    return gone + [f"ADD PARTITION FIELD {item}" for item in wanted if item not in there]


def recover(table: Table) -> None:
    """Give an entry without metadata the newest metadata that its folder in S3 has, if any.

    The entry in the catalog is the operator's. One without metadata is either new, or was deleted
    and made anew over a table that still is in S3: that is taken up where it was.

    Raises
    ------
    OutputRefused
        There is no entry, it is not Iceberg's, or two metadata files claim to be the newest.
    """
    glue = boto3.client("glue")
    about = f"Glue table {table.database}.{table.name}"
    try:
        entry = glue.get_table(DatabaseName=table.database, Name=table.name)["Table"]
    except ClientError as error:
        raise OutputRefused(
            f"{about}: {error.response['Error']['Code']}; it is made by the Pipeline's "
            "reconciliation, look at its Synced condition"
        ) from error
    parameters = entry.get("Parameters") or {}
    if parameters.get("table_type", "").upper() != "ICEBERG":
        raise OutputRefused(
            f"{about} is no Iceberg table; it is made by the Pipeline's reconciliation, look at its "
            "Synced condition"
        )
    if parameters.get("metadata_location"):
        return
    newest = _newest(_metadata(table.location), about)
    if newest is None:
        return
    glue.update_table(
        DatabaseName=table.database,
        # Refused where somebody else has written meanwhile.
        VersionId=entry["VersionId"],
        TableInput={
            "Name": table.name,
            "TableType": entry["TableType"],
            "StorageDescriptor": entry["StorageDescriptor"],
            "Parameters": {**parameters, "metadata_location": newest},
        },
    )


def _metadata(location: str) -> list[str]:
    bucket, prefix = split_uri(location)
    pages = boto3.client("s3").get_paginator("list_objects_v2")
    return [
        f"s3://{bucket}/{item['Key']}"
        for page in pages.paginate(Bucket=bucket, Prefix=f"{prefix}/metadata/")
        for item in page.get("Contents", ())
        if METADATA.search(item["Key"])
    ]


def _newest(found: Sequence[str], about: str) -> str | None:
    """The metadata file of the highest version.

    Raises
    ------
    OutputRefused
        Two files have it: one is of a commit that failed.
    """
    versions = {uri: int(match[1]) for uri in found if (match := METADATA.search(uri))}
    last = [uri for uri, version in versions.items() if version == max(versions.values())]
    if len(last) > 1:
        raise OutputRefused(
            f"{about} has lost its metadata_location, and {' and '.join(sorted(last))} are of the "
            "same version: set the parameter to the one that is the table's"
        )
    return last[0] if last else None
