"""What a backfill or a replay comes to, and what is refused since it would spoil the table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from weir.api.v1alpha1.datasource import DataSource, Destination
from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.pipelinerun import Backfill
from weir.blueprint.parts import Part, PartsRefused, backfill_parts, replay_parts
from weir_contract.runs import RunRecord

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ASKED = {"from": "2026-01-01", "to": "2026-01-04"}
INCREMENTAL = {
    "cursorPath": "at",
    "startParam": "since",
    "endParam": "until",
    "initialValue": "2026-02-01T00:00:00Z",
}
FILES = {"files": {"bucket": "uploads", "prefix": "in/"}}


KAFKA = {
    "stream": {"kafka": {"bootstrapServers": ["broker.example.com:9092"], "topics": ["clicks"]}}
}


def kinesis(**more: Any) -> dict[str, Any]:
    arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
    return {"stream": {"kinesis": {"streamArn": arn, **more}}}


def at(moment: str) -> dict[str, Any]:
    return {"startingPosition": "AT_TIMESTAMP", "startingTimestamp": moment}


def api(**incremental: Any) -> dict[str, Any]:
    spec = {k: v for k, v in {**INCREMENTAL, **incremental}.items() if v is not None}
    return {
        "restApi": {
            "endpoint": "https://api.example.com/x",
            "schedule": "rate(1 hour)",
            "incremental": spec,
        }
    }


def source(spec: dict[str, Any]) -> DataSource:
    return DataSource.model_validate(
        {
            "apiVersion": "weir.dev/v1alpha1",
            "kind": "DataSource",
            "metadata": {
                "name": "orders",
                "namespace": "shop",
                "creationTimestamp": "2026-02-01T00:00:00Z",
            },
            "spec": {"source": spec, "schema": {"fields": [{"name": "id", "type": "integer"}]}},
        }
    )


def pipeline(mode: str | None = None, **stage: Any) -> Pipeline:
    target = {"schema": "sales", "table": "orders", "mode": mode}
    if mode == "merge":
        target["keys"] = ["id"]  # type: ignore[assignment]
    stages: list[dict[str, Any]] = [{"name": "load", "load": {"redshift": target}}] if mode else []
    return Pipeline.model_validate(
        {
            "apiVersion": "weir.dev/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {
                "sources": [{"name": "orders"}],
                "stages": [*stages, *([{"name": "last", **stage}] if stage else [])]
                or [{"name": "tidy", "clean": {"trim": True}}],
            },
        }
    )


def parts(spec: dict[str, Any], of: Pipeline, **asked: Any) -> list[Part]:
    backfill = Backfill.model_validate(ASKED | asked)
    return backfill_parts(backfill, of, {"orders": source(spec)}, {}, "hash", NOW)


def test_each_part_of_an_api_has_its_window_and_a_lane_that_the_request_names() -> None:
    found = parts(api(), pipeline("merge"))
    assert [one.message["lane"] for one in found] == [f"orders/hash-000{n}" for n in range(3)]
    assert found[0].message["window"] == {
        "from": "2026-01-01T00:00:00.000Z",
        "to": "2026-01-02T00:00:00.000Z",
    }


def test_a_kinesis_stream_is_one_part_whatever_the_step() -> None:
    (found,) = parts(kinesis(), pipeline("merge"), step="6h")
    assert found.message["window"]["to"] == "2026-01-04T00:00:00.000Z"


def test_topics_of_kafka_are_one_part_of_which_the_rest_can_be_asked_for() -> None:
    (found,) = parts(KAFKA, pipeline("merge"), force=True)
    assert found.message["window"]["to"] == "2026-01-04T00:00:00.000Z"
    assert found.message["force"] is True


def test_files_are_one_part() -> None:
    (found,) = parts(FILES, pipeline("merge"), force=True)
    assert found.message["force"] is True
    assert found.message["window"]["to"] == "2026-01-04T00:00:00.000Z"


@pytest.mark.parametrize(
    ("spec", "mode", "asked", "what"),
    [
        (api(), "replace", {}, "mode replace"),
        (api(initialValue="2026-01-03"), "append", {}, "from initialValue 2026-01-03"),
        (api(initialValue=None), "append", {}, "none: all"),
        (FILES, "append", {"force": True}, "mode append"),
        (api(endParam=None), "merge", {}, "has no end"),
        (api(endParam=None, step="1d"), "merge", {}, "has no end"),
        (api(lagNumber=5), "merge", {}, "is a number"),
        (api(format="date"), "merge", {"step": "6h"}, "whole days"),
        (api(), "merge", {"force": True}, "files, mails and topics"),
        (api(), "merge", {"to": "2026-03-02"}, "future"),
        (kinesis(), "append", {}, "from the oldest record on"),
        (kinesis(**at("2026-01-03T23:00:00Z")), "append", {}, "from 2026-01-03T23:00:00Z on"),
        (kinesis(), "merge", {"force": True}, "files, mails and topics"),
        (kinesis(), "replace", {}, "mode replace"),
        (KAFKA, "append", {"force": True}, "from the oldest record on"),
    ],
)
def test_what_would_spoil_a_table_or_can_not_be_asked_for_is_refused(
    spec: dict[str, Any], mode: str, asked: dict[str, Any], what: str
) -> None:
    with pytest.raises(PartsRefused, match=what):
        parts(spec, pipeline(mode), **asked)


@pytest.mark.parametrize(
    ("spec", "mode", "asked"),
    [
        (api(), "append", {}),
        (api(initialValue="2026-01-04T00:00:00Z"), "append", {}),
        (FILES, "append", {}),
        (api(), None, {}),
        (kinesis(), "merge", {}),
        (kinesis(**at("2026-01-04T00:00:00Z")), "append", {}),
        (kinesis(startingPosition="LATEST"), "append", {}),
    ],
)
def test_what_brings_no_row_twice_is_done(
    spec: dict[str, Any], mode: str | None, asked: dict[str, Any]
) -> None:
    assert parts(spec, pipeline(mode), **asked)


def in_a_lake(mode: str) -> Pipeline:
    made = pipeline()
    options = {"mode": mode, **({"keys": ["id"]} if mode == "merge" else {})}
    place = {"prefix": "lake/", "format": "iceberg", "iceberg": options}
    spec = made.spec.model_copy(update={"destination": Destination.model_validate(place)})
    return made.model_copy(update={"spec": spec})


def test_an_iceberg_table_is_not_spoiled_either() -> None:
    with pytest.raises(PartsRefused, match="the Iceberg table has mode replace"):
        parts(FILES, in_a_lake("replace"))
    with pytest.raises(PartsRefused, match="the Iceberg table has mode append"):
        parts(FILES, in_a_lake("append"), force=True)
    with pytest.raises(PartsRefused, match="the Iceberg table has mode replace"):
        replay_parts([("r", record())], in_a_lake("replace"), {"orders": source(api())}, {})
    assert parts(FILES, in_a_lake("merge"), force=True)


def record(**more: Any) -> RunRecord:
    known = {"manifests": ("shop/orders#3",), "quarantine_uri": "s3://q/"} | more
    return RunRecord("r", "pipeline", "shop/orders", "Succeeded", "2026-01-01T00:00:00Z", **known)


@pytest.mark.parametrize(
    ("of", "known", "what"),
    [
        (pipeline("replace"), record(), "mode replace"),
        (
            pipeline(write={"zone": "curated", "prefix": "x/", "mode": "overwritePartitions"}),
            record(),
            "overwrites partitions",
        ),
        (pipeline("merge"), record(manifests=("shop/gone#1",)), "DataSource gone"),
        (pipeline("merge"), record(quarantine_uri=None), "nothing to replay"),
        (pipeline("merge"), None, "no run r"),
    ],
)
def test_a_replay_that_would_take_others_rows_away_or_has_none_is_refused(
    of: Pipeline, known: RunRecord | None, what: str
) -> None:
    with pytest.raises(PartsRefused, match=what):
        replay_parts([("r", known)], of, {"orders": source(api())}, {})


def test_a_replay_has_a_lane_for_each_run() -> None:
    found = replay_parts(
        [("a", record()), ("b", record())], pipeline("merge"), {"orders": source(api())}, {}
    )
    assert [one.message for one in found] == [
        {"lane": "orders/replay-a", "replay": "a"},
        {"lane": "orders/replay-b", "replay": "b"},
    ]
