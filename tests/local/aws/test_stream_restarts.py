"""What a mapping has read stays read when the local AWS is restarted; and its throttling."""

from __future__ import annotations

from pathlib import Path

import pytest
from aws_makers import allow, eventually, refused
from botocore.config import Config
from stream_makers import POLL, map_stream, put, recorder, still, stream

from weir_local.aws.server import LocalAws


def test_checkpoints_and_streams_outlive_a_restart(tmp_path: Path) -> None:
    local = LocalAws(tmp_path, persist=True)
    with local:
        admin = local.admin_session()
        name, arn = stream(admin, 2, Tags={"team": "data"})
        fn = recorder(admin, allow(POLL, arn))
        uuid = map_stream(admin, arn, fn.name)
        put(admin, name, ["one", "two"])
        assert fn.of(arn).wait(2) == ["one", "two"]
        client = admin.client("lambda")
        # That is said after the checkpoint was moved.
        eventually(
            lambda: client.get_event_source_mapping(UUID=uuid)["LastProcessingResult"] == "OK"
        )
        admin.client("kinesis").split_shard(
            StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey="1024"
        )
    with local:
        admin = local.admin_session()
        put(admin, name, ["three"])
        seen = fn.of(arn)
        seen.admin = admin
        assert seen.wait(3) == ["one", "two", "three"]
        still()
        assert seen.data() == ["one", "two", "three"]
        kinesis = admin.client("kinesis")
        shards = kinesis.list_shards(StreamName=name)["Shards"]
        assert len(shards) == 4
        assert kinesis.list_tags_for_stream(StreamName=name)["Tags"][0]["Value"] == "data"


def test_a_shard_that_is_held_to_its_throughput_refuses_what_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_KINESIS_THROTTLE", "1")
    with LocalAws(tmp_path) as local:
        admin = local.admin_session()
        kinesis = admin.client("kinesis")
        name, _ = stream(admin)
        half = {"Data": b"x" * 600_000, "PartitionKey": "key"}
        answer = kinesis.put_records(StreamName=name, Records=[half, half, half, half])
        late = [each.get("ErrorCode") for each in answer["Records"]]
        assert answer["FailedRecordCount"] == late.count("ProvisionedThroughputExceededException")
        assert answer["FailedRecordCount"] in (2, 3)
        assert late[0] is None
        without_retries = admin.client("kinesis", config=Config(retries={"max_attempts": 0}))
        kinesis.put_records(StreamName=name, Records=[half])
        assert "ProvisionedThroughputExceededException" in refused(
            lambda: [without_retries.put_record(StreamName=name, **half) for _ in range(4)]
        )
