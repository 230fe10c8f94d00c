"""What a run has to do: plan, configuration, manifests and contracts, read with boto3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import boto3
from botocore.exceptions import ClientError

from weir_contract import state
from weir_contract.codec import ContractError, loads
from weir_contract.manifest import Manifest, manifest_prefix, parse_manifest_key
from weir_contract.pipelines import Input, PipelineConfig
from weir_contract.rows import RowContract
from weir_contract.runs import RunPlan
from weir_glue.common.errors import ContractMissing, PlanInvalid

T = TypeVar("T")


@dataclass(frozen=True)
class Work:
    """A run, ready to start. ``manifests`` are in order of (source, sequence)."""

    plan: RunPlan
    config: PipelineConfig
    manifests: tuple[Manifest, ...]
    contracts: dict[str, RowContract]


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URI; raises :class:`PlanInvalid` for any other text."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket or not key:
        raise PlanInvalid(f"{uri!r} is no s3://bucket/key")
    return bucket, key


def read_message(s3: Any, cls: type[T], uri: str) -> T:
    """One message of the contract from S3; raises :class:`PlanInvalid` naming the object."""
    bucket, key = split_uri(uri)
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return loads(cls, body)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise PlanInvalid(f"can't read {uri}: {code}; check the job role's s3:GetObject") from error
    except ContractError as error:
        raise PlanInvalid(f"{uri}: {error}") from error


def read_work(plan_uri: str) -> Work:
    """All that one run needs to know, from the URI in ``--WEIR_PLAN``."""
    s3 = boto3.client("s3")
    plan = read_message(s3, RunPlan, plan_uri)
    config = read_message(s3, PipelineConfig, plan.config_uri)
    manifests = [read_message(s3, Manifest, uri) for uri in plan.manifests]
    manifests.sort(key=lambda item: (item.source, item.age, item.lane or "", item.sequence))
    contracts = {
        item.source: resolve_contract(
            config, item, [found for found in manifests if found.source == item.source]
        )
        for item in config.inputs
    }
    unknown = {item.source for item in manifests} - set(contracts)
    if unknown:
        raise PlanInvalid(f"the plan has manifests of {', '.join(sorted(unknown))}, no input")
    return Work(plan, config, tuple(manifests), contracts)


def resolve_contract(
    config: PipelineConfig, item: Input, manifests: Sequence[Manifest]
) -> RowContract:
    """An input's contract with every column typed, and those that landings have added.

    What is stated goes before the frozen contract of the state table, and that before what the
    manifests inferred.

    Raises
    ------
    ContractMissing
        Rows are there, but no column is known.
    """
    answer = boto3.client("dynamodb").get_item(
        TableName=config.state_table,
        Key={state.PK: {"S": state.source_pk(item.source)}, state.SK: {"S": state.CONTRACT}},
        ConsistentRead=True,
    )
    body = answer.get("Item", {}).get(state.BODY, {}).get("S")
    frozen = loads(RowContract, body) if body else RowContract()
    inferred: dict[str, str] = {}
    for manifest in reversed(manifests):
        inferred.update(manifest.inferred)
    contract = item.contract.in_force(frozen).frozen(inferred)
    if not contract.fields and any(manifest.rows for manifest in manifests):
        raise ContractMissing(
            f"source {item.source}: no columns are stated, and none were inferred; "
            "state schema.fields or schema.mapping on the DataSource"
        )
    return contract


def landed_manifests(raw_bucket: str, source: str) -> list[Manifest]:
    """Every manifest of a source, in order of sequence: for inputs that are joined, not driven."""
    s3 = boto3.client("s3")
    found = []
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=raw_bucket, Prefix=manifest_prefix(source)
    )
    for page in pages:
        for entry in page.get("Contents", []):
            if parse_manifest_key(entry["Key"]):
                found.append(read_message(s3, Manifest, f"s3://{raw_bucket}/{entry['Key']}"))
    return sorted(found, key=lambda item: item.sequence)
