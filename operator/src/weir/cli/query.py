"""``weir query``: SQL in a Platform's warehouse, through the Redshift Data API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

POLL_SECONDS = 0.2


class QueryError(RuntimeError):
    """The statement failed, or AWS refused; the message is for people."""


def target(platform: Mapping[str, Any]) -> dict[str, str]:
    """The Data API's parameters for a Platform's warehouse: WorkgroupName or ClusterIdentifier.

    Raises
    ------
    QueryError
        The Platform has no warehouse.
    """
    redshift = platform["spec"].get("redshift")
    if not redshift:
        raise QueryError(f"Platform {platform['metadata']['name']} has no redshift")
    where = {"Database": redshift.get("database", "dev")}
    if redshift.get("workgroup"):
        return {**where, "WorkgroupName": redshift["workgroup"]}
    return {**where, "ClusterIdentifier": redshift["clusterIdentifier"]}


def run(
    platform: Mapping[str, Any], sql: str, secret_arn: str | None, timeout_seconds: float
) -> list[dict[str, Any]]:
    """Run one statement and give its rows, as the caller's own AWS identity.

    Parameters
    ----------
    secret_arn
        A secret with username and password; None signs in as the caller's IAM identity.
    timeout_seconds
        How long to wait for the statement.

    Returns
    -------
    list of dict
        Column name -> value; no rows for a statement without a result.

    Raises
    ------
    QueryError
        AWS or the warehouse refused, or the statement took too long.
    """
    spec = platform["spec"]
    data = boto3.client(
        "redshift-data", region_name=spec["region"], endpoint_url=spec.get("endpointUrl")
    )
    parameters = target(platform)
    if secret_arn:
        parameters["SecretArn"] = secret_arn
    try:
        statement = data.execute_statement(Sql=sql, **parameters)["Id"]
        deadline = time.monotonic() + timeout_seconds
        while True:
            state = data.describe_statement(Id=statement)
            if state["Status"] in {"FINISHED", "FAILED", "ABORTED"}:
                break
            if time.monotonic() > deadline:
                data.cancel_statement(Id=statement)
                raise QueryError(f"no answer in {timeout_seconds:.0f} s; the statement was ended")
            time.sleep(POLL_SECONDS)
        if state["Status"] != "FINISHED":
            raise QueryError(f"Redshift: {state.get('Error', state['Status'])}")
        return _rows(data, statement) if state.get("HasResultSet") else []
    except (ClientError, BotoCoreError) as error:
        raise QueryError(f"AWS: {error}") from error


def _rows(data: Any, statement: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for page in data.get_paginator("get_statement_result").paginate(Id=statement):
        names = [column["name"] for column in page["ColumnMetadata"]]
        rows += [dict(zip(names, map(_value, record), strict=True)) for record in page["Records"]]
    return rows


def _value(field: Mapping[str, Any]) -> Any:
    if field.get("isNull"):
        return None
    return next(iter(field.values()))
