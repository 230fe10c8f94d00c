"""Quarantined rows say whether they can be landed again, and replayed ones how old they are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pyspark.sql import DataFrame, SparkSession

from weir_contract.manifest import Manifest, Part
from weir_glue.common import records
from weir_glue.common.columns import REASON, RECORD, SEQUENCE, SOURCE
from weir_glue.common.quarantine import to_quarantine

RAW = f"{RECORD} string, {SOURCE} string, {SEQUENCE} long, {REASON} string, id long"


@pytest.mark.parametrize(
    ("record", "whole", "replayable"),
    [('{"id": "x"}', True, True), ('{"id": "x"}', False, False), (None, True, False)],
)
def test_a_row_is_replayable_while_its_record_is_known_and_stands_for_it_alone(
    spark: SparkSession, record: str | None, whole: bool, replayable: bool
) -> None:
    rows = spark.createDataFrame([(record, "ns/src", 7, "id: is missing", 1)], RAW)
    (found,) = to_quarantine(rows, "run-a", "cast", whole).collect()
    assert found["replayable"] is replayable
    assert (found["source"], found["sequence"]) == ("ns/src", 7)
    assert found["record"] == (record or '{"id":1}')


def test_a_row_whose_record_was_dropped_is_not_replayable(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("ns/src", 7, "broken", 1)], RAW.partition(", ")[2])
    (found,) = to_quarantine(rows, "run-a", "check").collect()
    assert found["replayable"] is False and found["record"] == '{"id":1}'


def test_records_count_as_old_as_their_part_says_and_else_as_their_manifest(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = (
        Part("a", 1, 1, "0", sequence=3),
        Part("b", 1, 1, "0", sequence=9),
        Part("c", 1, 1, "0"),
    )
    time = "2026-01-01T00:00:00Z"
    manifest = Manifest("ns/src", 1, 1, "r", time, time, "raw", parts, lane="pipe/replay-r")

    def lines(session: SparkSession, uris: Sequence[str]) -> DataFrame:
        return session.createDataFrame(
            [(uri[-1], uri) for uri in uris], "value string, _path string"
        )

    monkeypatch.setitem(records.READERS, "jsonl", lines)
    found = records.read_records(spark, [manifest]).collect()
    assert {row[RECORD]: row[SEQUENCE] for row in found} == {"a": 3, "b": 9, "c": 1}
    assert manifest.age == 9
