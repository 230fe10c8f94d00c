"""Finds manifests whose event was lost, and flights that were never started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from weir_contract.manifest import (
    lane_source,
    manifest_key,
    manifest_prefix,
    parse_manifest_key,
)
from weir_contract.state import LANE, pipeline_pk, source_pk
from weir_lambdas.common.state import Table, Update
from weir_lambdas.common.storage import Storage
from weir_lambdas.trigger.flight import Flights

SWEPT = "SWEPT#"
"""``SWEPT#source`` in a pipeline's partition: up to this sequence every manifest is known."""

SUBSCRIBER = "SUBSCRIBER#"


def sources(storage: Storage, bucket: str) -> list[str]:
    """Every ``namespace/name`` that has a folder in the raw bucket."""
    return [
        folder.rstrip("/")
        for namespace in storage.folders(bucket)
        for folder in storage.folders(bucket, namespace)
    ]


def subscribers(table: Table, source: str) -> dict[str, Mapping[str, Any]]:
    """Pipelines that are told of a source's manifests: id -> the subscription."""
    return {
        str(item["sk"]).removeprefix(SUBSCRIBER): item
        for item in table.query(source_pk(source), SUBSCRIBER)
    }


def told(table: Table, source: str, lane: str | None) -> dict[str, Mapping[str, Any]]:
    """Pipelines that are told of a manifest: all subscribers, or the one whose lane it is in."""
    everyone = subscribers(table, source)
    if lane is None:
        return everyone
    own = f"{source.partition('/')[0]}/{lane.partition('/')[0]}"
    return {own: everyone[own]} if own in everyone else {}


def sweep(
    table: Table,
    storage: Storage,
    flights: Flights,
    bucket: str,
    ensure: Callable[[str, Mapping[str, Any]], None],
) -> int:
    """Let every manifest arrive that is not known yet, and every waiting pipeline fly.

    Sequences are committed in order and S3's listings are consistent, so that all manifests up to
    the highest listed one are listed: that number is remembered, and the next sweep begins there.

    Parameters
    ----------
    ensure
        Starts a pipeline's execution if none flies: ``(pipeline, subscription)``.

    Returns
    -------
    int
        Manifests that had been missed.
    """
    found = 0
    pipelines: dict[str, Mapping[str, Any]] = {}
    for source in sources(storage, bucket):
        for pipeline, subscription in subscribers(table, source).items():
            pipelines[pipeline] = subscription
            found += _catch_up(table, storage, flights, bucket, source, pipeline)
        found += _catch_up_lanes(table, storage, flights, bucket, source)
    for pipeline, subscription in pipelines.items():
        if flights.waiting(pipeline):
            ensure(pipeline, subscription)
    return found


def _catch_up(
    table: Table, storage: Storage, flights: Flights, bucket: str, source: str, pipeline: str
) -> int:
    pk, sk = pipeline_pk(pipeline), f"{SWEPT}{source}"
    known = int((table.get(pk, sk) or {}).get("sequence", 0))
    after = manifest_key(source, known) if known else ""
    highest, found = known, 0
    for key in storage.keys(bucket, manifest_prefix(source), after):
        parsed = parse_manifest_key(key)
        if parsed is None:
            continue
        highest = max(highest, parsed.sequence)
        if _unknown(table, pk, source, parsed.sequence):
            uri = f"s3://{bucket}/{key}"
            found += flights.arrive(pipeline, source, parsed.sequence, uri)
    if highest > known:
        table.update(pk, sk, Update("SET #sequence = :sequence", {"sequence": highest}))
    return found


def _catch_up_lanes(
    table: Table, storage: Storage, flights: Flights, bucket: str, source: str
) -> int:
    """The same for backfills and replays. A lane that has ended, and was looked at since, is done."""
    pk, found = source_pk(source), 0
    for item in table.query(pk, LANE):
        lane, known = str(item["sk"]).removeprefix(LANE), int(item.get("swept", 0))
        over = int(item.get("lease_until", 0)) == 0 and item.get("position") is None
        if over and known >= int(item.get("sequence", 0)):
            continue
        counted, highest = lane_source(source, lane), known
        after = manifest_key(source, known, lane) if known else ""
        for key in storage.keys(bucket, manifest_prefix(source, lane), after):
            parsed = parse_manifest_key(key)
            if parsed is None:
                continue
            highest = max(highest, parsed.sequence)
            for pipeline in told(table, source, lane):
                if _unknown(table, pipeline_pk(pipeline), counted, parsed.sequence):
                    uri = f"s3://{bucket}/{key}"
                    found += flights.arrive(pipeline, counted, parsed.sequence, uri)
        if highest > known:
            swept = Update("SET swept = :swept", {"swept": highest}, "attribute_exists(pk)")
            table.update(pk, str(item["sk"]), swept)
    return found


def _unknown(table: Table, pk: str, source: str, sequence: int) -> bool:
    number = f"{source}#{sequence:012d}"
    return not (table.get(pk, f"TAKEN#{number}") or table.get(pk, f"PENDING#{number}"))
