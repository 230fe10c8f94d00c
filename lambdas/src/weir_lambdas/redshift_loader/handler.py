"""The function ``redshift_loader``: writes a load's SQL, and reads what became of it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from weir_contract.codec import ContractError, loads
from weir_contract.compile import DELETED_AT
from weir_contract.manifest import LANES
from weir_contract.pipelines import PipelineConfig, Stage, Warehouse
from weir_contract.rows import Field, RowContract
from weir_contract.runs import OutputFile, RunPlan, RunResult
from weir_contract.tombstones import tombstone_table
from weir_lambdas.common.aws import client, error_code
from weir_lambdas.common.config import load_config
from weir_lambdas.common.entry import entry
from weir_lambdas.common.errors import ConfigInvalid, LoadLost, LoadRefused
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table, read_contract
from weir_lambdas.common.storage import Storage, split_uri
from weir_lambdas.redshift_loader.fragments import RUN, SEQUENCE
from weir_lambdas.redshift_loader.shape import (
    Target,
    next_step,
    target_of,
    tombstone_step,
    widens_tombstones,
)
from weir_lambdas.redshift_loader.sql import (
    RESULT_COLUMNS,
    LoadPlan,
    fields_of,
    load_statements,
)
from weir_lambdas.redshift_loader.unload import UnloadPlan, unload_statements

MAX_STATEMENT_NAME = 500


@entry
def handler(event: Mapping[str, Any], _context: Any) -> dict[str, Any]:
    """Entry point.

    Parameters
    ----------
    event
        ``{"action": "prepare", "run", "planUri", "resultUri", "stage"}``, or
        ``{"action": "result", ..., "records"}`` with the last statement's rows as
        GetStatementResult gives them (``statementId`` instead where they are to be fetched).

    Returns
    -------
    dict
        ``prepare``: ``{"skip", "alters", "alone", "sqls", "clientToken", "statementName",
        "database", ...}``. ``alters``: the statements make the target as the rows need it, and
        ``prepare`` is to be asked again; ``alone``: there is one, for no transaction.
        ``result``: ``{"rowsIn", "deduplicated", "inserted", "updated", "stale", "deleted"}``, and
        ``deletions`` where the load obeys them.

    Raises
    ------
    ConfigInvalid, LoadRefused, LoadLost
        The load can't be written, was refused by its guards, or left no trace.
    """
    config = load_config(PipelineConfig)
    stage = _stage(config, str(event["stage"]))
    action = event.get("action")
    if action == "prepare":
        return prepare(
            config,
            stage,
            event,
            Table(client("dynamodb"), config.state_table),
            Storage(client("s3"), config.kms_key_arn),
            client("redshift-data"),
        )
    if action == "result":
        records = event.get("records")
        if records is None:
            records = client("redshift-data").get_statement_result(Id=event["statementId"])[
                "Records"
            ]
        return counts_of(records, stage)
    raise ConfigInvalid(f"there is no action {action!r}; use prepare or result", "redshift_loader")


def prepare(
    config: PipelineConfig,
    stage: Stage,
    event: Mapping[str, Any],
    table: Table,
    storage: Storage,
    redshift: Any,
) -> dict[str, Any]:
    """Write a stage's statements; a load without a file to load is skipped."""
    warehouse = config.warehouse
    if warehouse is None:
        raise ConfigInvalid("the Platform has no Redshift", f"{config.id} stage {stage.name}")
    run, step = str(event["run"]), None
    if stage.unload is not None:
        statements = unload_statements(
            UnloadPlan(run, stage.unload, warehouse.copy_role_arn, config.kms_key_arn)
        )
    elif stage.load is not None:
        result = loads(RunResult, storage.get_uri(event["resultUri"]))
        gone = result.deletions if stage.load.takes_deletions else ()
        if not result.files and not gone:
            log("INFO", "nothing to load", run=run, stage=stage.name)
            return {"skip": True, "sqls": []}
        plan = loads(RunPlan, storage.get_uri(event["planUri"]))
        load_plan = LoadPlan(
            run=run,
            pipeline=config.id,
            load=stage.load,
            fields=fields_of(result.columns, result.types, _contract_fields(config, table)),
            file_columns=_file_columns(result.columns),
            manifest_uri=_copy_manifest(storage, result.files, event["resultUri"], stage.name),
            deletions_uri=_copy_manifest(
                storage, gone, event["resultUri"], f"{stage.name}-deletions"
            ),
            first_sequence=min(_sequences(plan), default=0),
            last_sequence=max(_sequences(plan), default=0),
            keep_from=_keep_from(config, plan),
            copy_role_arn=warehouse.copy_role_arn,
        )
        load, fields = stage.load, load_plan.fields
        there = existing_columns(redshift, warehouse, load.schema, load.table)
        new_mark = stage.load.deletes == "soft" and bool(there) and DELETED_AT[0] not in there
        try:
            statements = load_statements(replace(load_plan, new_mark=new_mark))
            step = next_step(load, fields, there)
            if step is None and widens_tombstones(load, fields):
                beside = tombstone_table(load)
                there = existing_columns(redshift, warehouse, load.schema, beside)
                step = tombstone_step(load, fields, there)
        except ContractError as error:
            raise ConfigInvalid(str(error), f"{config.id} stage {stage.name}") from error
    else:
        raise ConfigInvalid("is neither load nor unload", f"{config.id} stage {stage.name}")
    return {
        "skip": False,
        "alters": step is not None,
        "alone": step is not None and step.alone,
        "sqls": list(step.sqls) if step else statements,
        # New for each preparation: Submit's own retries reuse it, a later attempt must not.
        "clientToken": secrets.token_hex(32),
        "statementName": f"weir {config.id} {run} {stage.name}"[:MAX_STATEMENT_NAME],
    } | connection(warehouse)


def counts_of(records: Sequence[Sequence[Mapping[str, Any]]], stage: Stage) -> dict[str, int]:
    """The load's counts from the rows of its last statement.

    Raises
    ------
    LoadRefused
        The guards of ``replace`` left the table as it was.
    LoadLost
        There is no row, or no ledger entry, and no guard explains it.
    """
    if not records:
        raise LoadLost("the last statement gave no row", stage.name)
    values = [int(next((v for k, v in cell.items() if k != "isNull"), 0)) for cell in records[0]]
    row = dict(zip(RESULT_COLUMNS, values, strict=True))
    if not row["loaded"]:
        load = stage.load
        if load is None or load.mode != "replace":
            raise LoadLost("the ledger has no row of this load", stage.name)
        raise LoadRefused(
            f"replacing {row['existing']} rows by {row['fresh']} is against the guards: at least "
            f"minRows = {load.min_rows}, and no more than maxShrinkPercent = "
            f"{load.max_shrink * 100:g} of the rows may go",
            f"{load.schema}.{load.table}",
        )
    names = ["deduplicated", "inserted", "updated", "stale", "deleted"]
    if stage.load is not None and stage.load.takes_deletions:
        names.append("deletions")
    return {"rowsIn": row["rows_in"]} | {name: row[name] for name in names}


def connection(warehouse: Warehouse) -> dict[str, str]:
    """Where the state machine sends the statements."""
    found = {"database": warehouse.database}
    if warehouse.workgroup:
        return found | {"workgroupName": warehouse.workgroup}
    if not warehouse.cluster or not warehouse.db_user:
        raise ConfigInvalid("names neither a workgroup nor a cluster with its user", "warehouse")
    return found | {"clusterIdentifier": warehouse.cluster, "dbUser": warehouse.db_user}


def existing_columns(
    redshift: Any, warehouse: Warehouse, schema: str, table: str
) -> dict[str, Target]:
    """A table's columns by name, folded; none where it does not exist or may not be described.

    Where it may not be described, it is not altered: a load that needs that fails and says so.
    """
    names = {"database": "Database", "workgroupName": "WorkgroupName"}
    names |= {"clusterIdentifier": "ClusterIdentifier", "dbUser": "DbUser"}
    place = {names[key]: value for key, value in connection(warehouse).items()}
    columns: dict[str, Target] = {}
    more: dict[str, str] = {}
    while True:
        try:
            found = redshift.describe_table(
                **place, Schema=schema.lower(), Table=table.lower(), **more
            )
        except ClientError as error:
            log("WARNING", "table not described", table=table, code=error_code(error))
            return {}
        columns |= {
            str(column["name"]).lower(): target_of(column) for column in found.get("ColumnList", [])
        }
        if not found.get("NextToken"):
            return columns
        more = {"NextToken": found["NextToken"]}


def _stage(config: PipelineConfig, name: str) -> Stage:
    for stage in config.stages:
        if stage.name == name:
            return stage
    raise ConfigInvalid(f"the pipeline has no stage {name!r}", config.id)


def _contract_fields(config: PipelineConfig, table: Table) -> tuple[Field, ...]:
    source = next((item for item in config.inputs if item.primary), None)
    if source is None:
        return ()
    frozen = read_contract(table, source.source)
    return source.contract.in_force(frozen or RowContract()).fields


def _file_columns(columns: Sequence[str]) -> tuple[str, ...]:
    own = tuple(name for name in (RUN, SEQUENCE) if name not in {c.lower() for c in columns})
    return (*columns, *own)


def _sequences(plan: RunPlan) -> list[int]:
    """The sources' own landings; what a lane landed has no number among them."""
    return [
        int(uri.rpartition("-")[2].removesuffix(".json"))
        for uri in plan.manifests
        if f"/{LANES}" not in uri
    ]


def _keep_from(config: PipelineConfig, plan: RunPlan) -> int:
    """First landing that a replace keeps: of the one source that drives the pipeline."""
    primary = [item.source for item in config.inputs if item.primary]
    return int(plan.extraction_starts.get(primary[0], 0)) if len(primary) == 1 else 0


def _copy_manifest(
    storage: Storage, files: Sequence[OutputFile], result_uri: str, name: str
) -> str | None:
    """Write the COPY manifest beside the result; returns its URI, or None where it names no file.

    ``meta.content_length`` is required for Parquet (Amazon Redshift Database Developer Guide,
    *Using a manifest to specify data files*).
    """
    if not files:
        return None
    entries = [
        {"url": item.uri, "mandatory": True, "meta": {"content_length": item.bytes}}
        for item in files
    ]
    uri = f"{result_uri.removesuffix('result.json')}copy-{name}.json"
    bucket, key = split_uri(uri)
    storage.put(bucket, key, json.dumps({"entries": entries}).encode(), "application/json")
    return uri
