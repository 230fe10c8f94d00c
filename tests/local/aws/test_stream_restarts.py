"""What a mapping has read stays read when the local AWS is restarted."""

from __future__ import annotations

from pathlib import Path

from aws_makers import allow, eventually
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
