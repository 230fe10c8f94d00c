"""The tables that rows end in: in the Glue catalog and in Redshift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weir.blueprint import naming
from weir.blueprint.facts import WarehouseFacts
from weir.resource import Deletion, Resource
from weir_contract.compile import (
    SYSTEM_COLUMNS,
    glue_columns,
    glue_type,
    redshift_type,
    table_ddl,
)
from weir_contract.ledger import (
    LEDGER_COLUMNS,
    LEDGER_SCHEMA,
    LEDGER_TABLE,
    OWNER_SCHEMA,
    OWNER_TABLE,
    ledger_ddl,
)
from weir_contract.pipelines import Destination, Load
from weir_contract.rows import Field, RowContract
from weir_contract.tombstones import (
    tombstone_columns,
    tombstone_ddl,
    tombstone_distkey,
    tombstone_fields,
    tombstone_table,
)

ROW_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""On every table of a schema, also those that the operator creates later."""
SCHEMA_PRIVILEGES = ("USAGE", "CREATE")
"""A loader creates its target where it does not exist yet, from types inferred on the first run."""
LEDGER_PRIVILEGES = ("USAGE",)
"""In the ledger's schema nobody creates tables but the operator."""

PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "Compressed": False,
    "SerdeInfo": {
        "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
        "Parameters": {"serialization.format": "1"},
    },
}
SYSTEM_FIELDS = (
    Field("_weir_run", "_weir_run", "string"),
    Field("_weir_sequence", "_weir_sequence", "integer"),
)


RESERVED_SCHEMAS = (LEDGER_SCHEMA, OWNER_SCHEMA, "information_schema")


def is_reserved(schema: str) -> bool:
    """Whether a schema, in lower case, is Redshift's or Weir's own."""
    return schema in RESERVED_SCHEMAS or schema.startswith("pg_")


def partition_keys(target: Destination, contract: RowContract) -> list[dict[str, str]]:
    """``PartitionKeys`` of a Glue table: directories only, so never a column of the files.

    A time part is a number padded with zeros and kept as text; an identity partition has its
    column's type under the column's name.
    """
    keys = []
    types = {item.name.lower(): glue_type(item) for item in contract.fields if item.type}
    for part in target.partition_by:
        kind = "string"
        if part.transform == "identity" and part.field:
            kind = types.get(part.field.lower(), "string")
        keys.append({"Name": part.name.lower(), "Type": kind})
    return keys


def catalog_table(
    logical_id: str,
    database: str,
    target: Destination,
    contract: RowContract,
    description: str,
) -> Resource:
    """A Glue table over a destination.

    Parameters
    ----------
    contract
        The columns of the files as far as they are known. A type that is to be inferred is a
        string until the source's status has frozen it; what SQL and scripts make is not
        known, and only Weir's columns are named then.
    """
    partitions = partition_keys(target, contract)
    taken = {key["Name"] for key in partitions}
    fields = [*contract.fields, *SYSTEM_FIELDS]
    properties: dict[str, Any] = {
        "Description": description,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "classification": "parquet"},
        "PartitionKeys": partitions,
        "StorageDescriptor": {
            "Columns": [column for column in glue_columns(fields) if column["Name"] not in taken],
            "Location": f"s3://{target.bucket}/{target.prefix}",
            **PARQUET,
        },
    }
    return Resource(
        "glue.Table", logical_id, f"{database}.{target.glue_table}", properties, tagged=False
    )


def iceberg_table(
    logical_id: str, database: str, target: Destination, deletion: Deletion
) -> Resource:
    """The catalog's entry of an Iceberg table.

    It says where the table is. All else about it, its columns among them, is the table's own: the
    job that commits to it writes it there, and nobody else may.
    """
    properties = {
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"table_type": "ICEBERG"},
        "StorageDescriptor": {"Location": target.location},
    }
    return Resource(
        "glue.Table",
        logical_id,
        f"{database}.{target.glue_table}",
        properties,
        deletion=deletion,
        tagged=False,
    )


def warehouse_name(warehouse: WarehouseFacts) -> str:
    """The name of a ``redshift.Warehouse``: ``serverless:<workgroup>``, ``provisioned:<cluster>``."""
    return f"{'serverless' if warehouse.serverless else 'provisioned'}:{warehouse.name}"


def sql_name(warehouse: WarehouseFacts, thing: str) -> str:
    """The name of what only SQL can see: it carries whom the operator asks, and as whom.

    ``<warehouse>|<database>|<admin secret>|<schema>[.<table>]``, the thing folded to lower case.

    Raises
    ------
    ValueError
        The Platform has no admin secret.
    """
    if not warehouse.admin_secret_arn:
        raise ValueError(f"{warehouse.name} has no admin secret")
    place = (warehouse_name(warehouse), warehouse.database, warehouse.admin_secret_arn)
    return "|".join((*place, thing.lower()))


def claim(warehouse: WarehouseFacts, logical_id: str, depends_on: Sequence[str]) -> Resource:
    """The Platform's claim on the database: nothing in it is made before it is held."""
    return Resource(
        "redshift.Claim",
        logical_id,
        sql_name(warehouse, f"{OWNER_SCHEMA}.{OWNER_TABLE}"),
        depends_on=tuple(depends_on),
    )


def redshift_schema(
    warehouse: WarehouseFacts, logical_id: str, schema: str, namespaces: Sequence[str]
) -> Resource:
    """A schema that the loaders of these namespaces may use, and every table in it.

    On a provisioned cluster a loader is a database user who holds the namespace's role; on
    Serverless the role comes with the IAM role's tag ``RedshiftDbRoles``.
    """
    own = LEDGER_PRIVILEGES if schema == LEDGER_SCHEMA else SCHEMA_PRIVILEGES
    privileges = [*own, *ROW_PRIVILEGES]
    roles = {naming.database_role(ns): list(privileges) for ns in sorted(namespaces)}
    properties: dict[str, Any] = {"Roles": roles}
    if not warehouse.serverless:
        properties["Users"] = {
            naming.loader_user(ns): [naming.database_role(ns)] for ns in sorted(namespaces)
        }
    return Resource(
        "redshift.Schema",
        logical_id,
        sql_name(warehouse, schema),
        properties,
        deletion=Deletion.EMPTY_ONLY,
        tagged=False,
    )


def ledger_table(warehouse: WarehouseFacts, depends_on: Sequence[str]) -> Resource:
    """The table that says which loads are done."""
    return Resource(
        "redshift.Table",
        "load-ledger",
        sql_name(warehouse, f"{LEDGER_SCHEMA}.{LEDGER_TABLE}"),
        {
            "Columns": [
                {"name": name, "type": kind, "nullable": nullable}
                for name, kind, nullable in LEDGER_COLUMNS
            ],
            "SortKey": ["loaded_at"],
            "Ddl": ledger_ddl(),
        },
        tuple(depends_on),
        deletion=Deletion.RETAIN,
        tagged=False,
    )


def target_table(
    warehouse: WarehouseFacts,
    logical_id: str,
    load: Load,
    contract: RowContract,
    deletion: Deletion,
) -> Resource:
    """A load's target, from a contract whose types are all known."""
    required = {key.lower() for key in load.keys}
    columns = [
        {
            "name": item.name.lower(),
            "type": redshift_type(item),
            "nullable": item.nullable and item.name.lower() not in required,
        }
        for item in contract.fields
    ]
    columns += [{"name": name, "type": kind, "nullable": True} for name, kind in SYSTEM_COLUMNS]
    properties: dict[str, Any] = {
        "Columns": columns,
        "SortKey": [name.lower() for name in load.sortkey],
        "Ddl": table_ddl(load, contract.fields),
    }
    widened = [item.name.lower() for item in contract.fields if item.widened_from is not None]
    if widened:
        properties["Widened"] = widened
    if load.deletes == "soft":
        properties["Mark"] = True
    if load.distkey:
        properties["DistKey"] = load.distkey.lower()
    return Resource(
        "redshift.Table",
        logical_id,
        sql_name(warehouse, f"{load.schema}.{load.table}"),
        properties,
        deletion=deletion,
        tagged=False,
    )


def tombstones(
    warehouse: WarehouseFacts,
    logical_id: str,
    load: Load,
    contract: RowContract,
    deletion: Deletion,
) -> Resource:
    """The table beside a load's target that remembers which rows are gone."""
    properties: dict[str, Any] = {
        "Columns": [
            {"name": name, "type": kind, "nullable": nullable}
            for name, kind, nullable in tombstone_columns(load, contract.fields)
        ],
        "Ddl": tombstone_ddl(load, contract.fields),
    }
    keys = {key.lower() for key in load.keys}
    widened = [
        item.name.lower()
        for item in tombstone_fields(load, contract.fields)
        if item.widened_from is not None and item.name.lower() not in keys
    ]
    if widened:
        properties["Widened"] = widened
    if tombstone_distkey(load):
        properties["DistKey"] = tombstone_distkey(load)
    return Resource(
        "redshift.Table",
        logical_id,
        sql_name(warehouse, f"{load.schema}.{tombstone_table(load)}"),
        properties,
        deletion=deletion,
        tagged=False,
    )
