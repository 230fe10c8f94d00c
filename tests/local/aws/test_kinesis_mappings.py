"""Kinesis mappings of the local AWS treat batches as Lambda does."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from aws_makers import allow, eventually, give, refused, unique
from stream_makers import (
    POLL,
    Recorder,
    active,
    map_stream,
    put,
    put_at,
    recorder,
    settled,
    still,
    stream,
)

from weir_local.aws.server import EndpointSession, LocalAws

HALF = 2**127


@pytest.fixture(scope="module")
def fn(admin: EndpointSession) -> Recorder:
    """A recorder that may read every stream and write every destination."""
    everywhere = [*POLL, "sqs:SendMessage", "s3:PutObject", "s3:ListBucket"]
    return recorder(admin, allow(everywhere))


def test_a_mapping_brings_records_in_order_and_in_the_form_of_aws(
    admin: EndpointSession, fn: Recorder
) -> None:
    name, arn = stream(admin)
    seen = fn.of(arn)
    put(admin, name, [f"r{n}" for n in range(5)])
    uuid = map_stream(admin, arn, fn.name, BatchSize=2)
    assert seen.wait(5) == ["r0", "r1", "r2", "r3", "r4"]
    assert [len(rows) for rows in seen.calls()] == [2, 2, 1]
    record = seen.events()[0]["Records"][0]
    assert record["eventSource"] == "aws:kinesis"
    assert record["eventSourceARN"] == arn
    assert record["invokeIdentityArn"] == fn.role
    number = record["kinesis"]["sequenceNumber"]
    assert re.fullmatch(r"49\d{54}", number)
    assert record["eventID"] == f"shardId-000000000000:{number}"
    told = admin.client("lambda").get_event_source_mapping(UUID=uuid)
    assert told["LastProcessingResult"] == "OK"
    assert told["ParallelizationFactor"] == 1
    assert told["EventSourceMappingArn"].endswith(uuid)
    assert "Checkpoints" not in json.dumps(told, default=str)
    metric = admin.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="IteratorAge",
        Dimensions=[{"Name": "FunctionName", "Value": fn.name}],
        StartTime=0,
        EndTime=2**32 - 1,
        Period=60,
        Statistics=["SampleCount"],
    )
    assert sum(point["SampleCount"] for point in metric["Datapoints"]) == 3


def test_latest_begins_when_the_mapping_is_enabled(admin: EndpointSession, fn: Recorder) -> None:
    name, arn = stream(admin)
    seen = fn.of(arn)
    put(admin, name, ["before"])
    map_stream(admin, arn, fn.name, StartingPosition="LATEST")
    still(0.3)
    put(admin, name, ["after"])
    assert seen.wait(1) == ["after"]


def test_a_timestamp_is_a_place_to_begin(admin: EndpointSession, fn: Recorder) -> None:
    name, arn = stream(admin)
    seen = fn.of(arn)
    put(admin, name, ["before"])
    still(1.1)
    put(admin, name, ["after"])
    shard = {"StreamName": name, "ShardId": "shardId-000000000000"}
    kinesis = admin.client("kinesis")
    iterator = kinesis.get_shard_iterator(ShardIteratorType="TRIM_HORIZON", **shard)
    records = kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    moment = records[1]["ApproximateArrivalTimestamp"].timestamp() - 0.5
    map_stream(
        admin, arn, fn.name, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=moment
    )
    assert seen.wait(1) == ["after"]


def test_a_window_gathers_a_batch_and_six_megabytes_end_it(
    admin: EndpointSession, fn: Recorder
) -> None:
    name, arn = stream(admin)
    seen = fn.of(arn)
    map_stream(admin, arn, fn.name, MaximumBatchingWindowInSeconds=1, BatchSize=100)
    put(admin, name, ["a"])
    still(0.3)
    put(admin, name, ["b"])
    seen.wait(2)
    assert seen.calls() == [["a", "b"]]
    for number in range(6):
        put(admin, name, [f"{number}" + "x" * 1_000_000])
    seen.wait(8)
    assert [len(rows) for rows in seen.calls()][1:] == [4, 2]


def test_a_parent_is_read_to_its_end_before_its_children(
    admin: EndpointSession, fn: Recorder
) -> None:
    name, arn = stream(admin)
    kinesis = admin.client("kinesis")
    seen = fn.of(arn)
    put(admin, name, [f"slow{n}" for n in range(10)])
    map_stream(admin, arn, fn.name, BatchSize=1, StartingPosition="TRIM_HORIZON")
    kinesis.split_shard(
        StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(HALF)
    )
    active(admin, name)
    put_at(admin, name, ["left"], 0)
    put_at(admin, name, ["right"], HALF)
    seen.wait(12)
    kinesis.merge_shards(
        StreamName=name,
        ShardToMerge="shardId-000000000001",
        AdjacentShardToMerge="shardId-000000000002",
    )
    active(admin, name)
    put(admin, name, ["merged"])
    data = seen.wait(13)
    assert data[:10] == [f"slow{n}" for n in range(10)]
    assert sorted(data[10:12]) == ["left", "right"]
    assert data[12:] == ["merged"]


def test_resharding_keeps_every_record_once(admin: EndpointSession, fn: Recorder) -> None:
    name, arn = stream(admin, 2)
    kinesis = admin.client("kinesis")
    seen = fn.of(arn)
    map_stream(admin, arn, fn.name, BatchSize=50)
    expected = []
    for target in (3, 4, 2):
        values = [f"{target}-{n}" for n in range(40)]
        for number, value in enumerate(values):
            put_at(admin, name, [value], number * (2**128 // 40))
        expected += values
        kinesis.update_shard_count(
            StreamName=name, TargetShardCount=target, ScalingType="UNIFORM_SCALING"
        )
        active(admin, name)
        summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        assert summary["OpenShardCount"] == target
    assert sorted(seen.wait(120)) == sorted(expected)
    shards = kinesis.list_shards(StreamName=name)["Shards"]
    latest = kinesis.list_shards(StreamName=name, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    assert len(latest) == 2
    assert len(shards) > len(latest)
    closed = [each for each in shards if "EndingSequenceNumber" in each["SequenceNumberRange"]]
    assert len(closed) == len(shards) - 2


def test_a_closed_shard_ends_its_reader_and_names_its_children(admin: EndpointSession) -> None:
    name, _ = stream(admin)
    kinesis = admin.client("kinesis")
    put(admin, name, ["one"])
    iterator = kinesis.get_shard_iterator(
        StreamName=name, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )
    kinesis.split_shard(
        StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(HALF)
    )
    answer = kinesis.get_records(ShardIterator=iterator["ShardIterator"])
    assert [record["Data"] for record in answer["Records"]] == [b"one"]
    assert "NextShardIterator" not in answer
    assert [child["ShardId"] for child in answer["ChildShards"]] == [
        "shardId-000000000001",
        "shardId-000000000002",
    ]


def test_a_poison_record_is_bisected_out_and_kept_whole_in_the_bucket(
    admin: EndpointSession, fn: Recorder
) -> None:
    name, arn = stream(admin)
    bucket = unique("bucket")
    admin.client("s3").create_bucket(Bucket=bucket)
    seen = fn.of(arn)
    put(admin, name, ["a", "b", "c", "poison", "d", "e", "f", "g"])
    uuid = map_stream(
        admin,
        arn,
        fn.name,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}},
    )

    def written() -> Any:
        return admin.client("s3").list_objects_v2(Bucket=bucket).get("Contents")

    key = eventually(written)[0]["Key"]
    pattern = (
        rf"aws/lambda/{uuid}/shardId-000000000000/\d{{4}}/\d\d/\d\d/"
        r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d-[0-9a-f-]{36}"
    )
    assert re.fullmatch(pattern, key)
    eventually(lambda: "g" in seen.data())
    kept = json.loads(admin.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    assert kept["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert kept["KinesisBatchInfo"]["batchSize"] == 1
    assert kept["KinesisBatchInfo"]["streamArn"] == arn
    payload = json.loads(kept["payload"])
    assert [each["kinesis"]["sequenceNumber"] for each in payload["Records"]] == [
        kept["KinesisBatchInfo"]["startSequenceNumber"]
    ]
    calls = seen.calls()
    assert calls[:2] == [["a", "b", "c", "poison", "d", "e", "f", "g"], ["a", "b", "c", "poison"]]
    assert calls.count(["poison"]) == 2
    good = [rows for rows in calls if "poison" not in rows]
    assert [value for rows in good for value in rows] == ["a", "b", "c", "d", "e", "f", "g"]


def test_a_reported_failure_is_where_the_retry_begins(admin: EndpointSession, fn: Recorder) -> None:
    name, arn = stream(admin)
    queue = admin.client("sqs").create_queue(QueueName=unique("queue"))["QueueUrl"]
    queue_arn = admin.client("sqs").get_queue_attributes(
        QueueUrl=queue, AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    seen = fn.of(arn)
    put(admin, name, ["a", "b", "report", "c"])
    map_stream(
        admin,
        arn,
        fn.name,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MaximumRetryAttempts=2,
        DestinationConfig={"OnFailure": {"Destination": queue_arn}},
    )
    messages = eventually(
        lambda: admin.client("sqs").receive_message(QueueUrl=queue).get("Messages")
    )
    put(admin, name, ["after"])
    eventually(lambda: "after" in seen.data())
    assert seen.calls() == [
        ["a", "b", "report", "c"],
        ["report", "c"],
        ["report", "c"],
        ["after"],
    ]
    told = json.loads(messages[0]["Body"])
    assert told["KinesisBatchInfo"]["batchSize"] == 2
    assert told["requestContext"]["approximateInvokeCount"] == 3
    assert "payload" not in told


def test_an_answer_that_names_no_record_of_the_batch_fails_it_whole(
    admin: EndpointSession, fn: Recorder
) -> None:
    name, arn = stream(admin)
    seen = fn.of(arn)
    answer = json.dumps({"batchItemFailures": [{"itemIdentifier": ""}]})
    put(admin, name, ["a", answer])
    map_stream(
        admin,
        arn,
        fn.name,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MaximumRetryAttempts=1,
    )
    eventually(lambda: len(seen.calls()) == 2)
    put(admin, name, ["last"])
    seen.wait(5)
    assert seen.calls() == [["a", answer[:40]], ["a", answer[:40]], ["last"]]


def test_lanes_keep_the_order_of_each_key_and_run_at_once(
    admin: EndpointSession, fn: Recorder
) -> None:
    name, arn = stream(admin)
    seen = fn.of(arn)
    for number in range(3):
        for key in "abcdefgh":
            put(admin, name, [f"slow {key}{number}"], key)
    map_stream(admin, arn, fn.name, ParallelizationFactor=4, BatchSize=2)
    data = seen.wait(24)
    assert len(data) == 24
    for key in "abcdefgh":
        of_key = [value for value in data if value[5] == key]
        assert of_key == [f"slow {key}{number}" for number in range(3)]
    assert data != sorted(data, key=lambda value: value[6])


def test_a_consumer_with_enhanced_fan_out_reads_by_its_own_arn(
    admin: EndpointSession, aws: LocalAws
) -> None:
    name, arn = stream(admin)
    kinesis = admin.client("kinesis")
    named = [allow(["kinesis:RegisterStreamConsumer", "kinesis:TagResource"], f"{arn}/consumer/a*")]
    named.append(allow("kinesis:RegisterStreamConsumer", arn))
    narrow = aws.session(aws.principal({"Statement": named})).client("kinesis")
    tagged = {"StreamARN": arn, "Tags": {"team": "data"}}
    assert "kinesis:TagResource" in refused(
        narrow.register_stream_consumer, ConsumerName="b", **tagged
    )
    mine = narrow.register_stream_consumer(ConsumerName="a-1", **tagged)["Consumer"]
    kinesis.deregister_stream_consumer(ConsumerARN=mine["ConsumerARN"])
    made = kinesis.register_stream_consumer(
        StreamARN=arn, ConsumerName="fan", Tags={"team": "data"}
    )["Consumer"]
    consumer = made["ConsumerARN"]

    def described() -> Any:
        return kinesis.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"]

    eventually(lambda: described()["ConsumerStatus"] == "ACTIVE")
    assert kinesis.list_tags_for_resource(ResourceARN=consumer)["Tags"] == [
        {"Key": "team", "Value": "data"}
    ]
    fn = recorder(admin, allow(POLL[:2] + POLL[4:], arn))
    message = refused(
        admin.client("lambda").create_event_source_mapping,
        EventSourceArn=consumer,
        FunctionName=fn.name,
        StartingPosition="TRIM_HORIZON",
    )
    assert "InvalidParameterValueException" in message
    assert "kinesis:DescribeStreamConsumer" in message
    give(
        admin,
        fn.role,
        allow("dynamodb:PutItem"),
        allow(POLL[:2] + POLL[4:], arn),
        allow(["kinesis:SubscribeToShard", "kinesis:DescribeStreamConsumer"], f"{arn}/consumer/*"),
    )
    put(admin, name, ["one"])
    map_stream(admin, consumer, fn.name)
    assert fn.of(consumer).wait(1) == ["one"]
    kinesis.deregister_stream_consumer(ConsumerARN=consumer)
    assert kinesis.list_stream_consumers(StreamARN=arn)["Consumers"] == []


def test_a_mapping_passes_through_its_states(admin: EndpointSession, fn: Recorder) -> None:
    name, arn = stream(admin)
    seen = fn.of(arn)
    client = admin.client("lambda")
    made = client.create_event_source_mapping(
        EventSourceArn=arn, FunctionName=fn.name, StartingPosition="TRIM_HORIZON"
    )
    uuid = made["UUID"]
    assert made["State"] == "Creating"
    busy = refused(client.update_event_source_mapping, UUID=uuid, BatchSize=7)
    assert "ResourceInUseException" in busy
    settled(admin, uuid)
    assert client.update_event_source_mapping(UUID=uuid, BatchSize=7)["State"] == "Updating"
    settled(admin, uuid)
    assert client.update_event_source_mapping(UUID=uuid, Enabled=False)["State"] == "Disabling"
    settled(admin, uuid, "Disabled")
    put(admin, name, ["while disabled"])
    still()
    assert seen.calls() == []
    assert client.update_event_source_mapping(UUID=uuid, Enabled=True)["State"] == "Enabling"
    assert seen.wait(1) == ["while disabled"]
    assert client.delete_event_source_mapping(UUID=uuid)["State"] == "Deleting"
    again = refused(
        client.create_event_source_mapping,
        EventSourceArn=arn,
        FunctionName=fn.name,
        StartingPosition="LATEST",
    )
    assert "ResourceConflictException" in again

    def gone() -> bool:
        listed = client.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
        return listed == []

    eventually(gone)


@pytest.mark.parametrize("operation", ["get", "update", "delete"])
def test_one_mapping_is_its_own_resource_with_its_own_actions(
    operation: str, admin: EndpointSession, aws: LocalAws, fn: Recorder
) -> None:
    _, arn = stream(admin)
    uuid = map_stream(admin, arn, fn.name)
    mapping = f"arn:aws:lambda:us-east-1:000000000000:event-source-mapping:{uuid}"
    name = f"{operation}_event_source_mapping"
    action = f"lambda:{operation.capitalize()}EventSourceMapping"
    other = aws.principal({"Statement": [allow("lambda:List*"), allow(action, f"{mapping}x")]})
    message = refused(getattr(aws.session(other).client("lambda"), name), UUID=uuid)
    assert f"{action} on resource: {mapping}" in message
    may = aws.principal({"Statement": [allow(action, mapping)]})
    assert getattr(aws.session(may).client("lambda"), name)(UUID=uuid)["UUID"] == uuid


def test_a_mapping_stops_where_the_role_may_read_no_more(admin: EndpointSession) -> None:
    name, arn = stream(admin)
    fn = recorder(admin, allow(POLL, arn))
    seen = fn.of(arn)
    uuid = map_stream(admin, arn, fn.name)
    give(admin, fn.role, allow("dynamodb:PutItem"))
    client = admin.client("lambda")

    def result() -> str:
        return str(client.get_event_source_mapping(UUID=uuid)["LastProcessingResult"])

    eventually(lambda: result().startswith("PROBLEM: ") and "kinesis:" in result())
    give(admin, fn.role, allow("dynamodb:PutItem"), allow(POLL, arn))
    eventually(lambda: result() == "No records processed")
    give(admin, fn.role, allow("dynamodb:PutItem"))
    eventually(lambda: result().startswith("PROBLEM: "))
    put(admin, name, ["later"])
    still()
    assert seen.calls() == []
    give(admin, fn.role, allow("dynamodb:PutItem"), allow(POLL, arn))
    assert seen.wait(1) == ["later"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"StartingPosition": None}, "startingPosition"),
        ({"BatchSize": 10_001}, "batchSize"),
        ({"ParallelizationFactor": 11}, "parallelizationFactor"),
        ({"MaximumBatchingWindowInSeconds": 301}, "maximumBatchingWindowInSeconds"),
        ({"MaximumRetryAttempts": 10_001}, "maximumRetryAttempts"),
        ({"MaximumRecordAgeInSeconds": 30}, "MaximumRecordAgeInSeconds"),
        ({"StartingPosition": "AT_TIMESTAMP"}, "StartingPositionTimestamp"),
        ({"StartingPositionTimestamp": 1}, "StartingPositionTimestamp"),
        ({"Topics": ["topic"]}, "Topics"),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::not-there"}}},
            "no such resource",
        ),
    ],
)
def test_parameters_that_lambda_refuses_are_refused(
    admin: EndpointSession, reader: tuple[str, str], change: dict[str, Any], words: str
) -> None:
    function, arn = reader
    given = {"StartingPosition": "LATEST", **change}
    message = refused(
        unchecked(admin).create_event_source_mapping,
        EventSourceArn=arn,
        FunctionName=function,
        **{name: value for name, value in given.items() if value is not None},
    )
    assert "InvalidParameterValueException" in message
    assert words in message


@pytest.fixture(scope="module")
def reader(admin: EndpointSession) -> tuple[str, str]:
    """A function that may read a stream, and the stream."""
    _, arn = stream(admin)
    return recorder(admin, allow(POLL, arn)).name, arn


def unchecked(admin: EndpointSession) -> Any:
    """A Lambda client that leaves the checks to the service."""
    from botocore.config import Config

    return admin.client("lambda", config=Config(parameter_validation=False))


@pytest.mark.parametrize("missing", POLL)
def test_a_role_that_may_not_read_the_stream_is_refused(
    admin: EndpointSession, reader: tuple[str, str], missing: str
) -> None:
    function, arn = reader
    role = admin.client("lambda").get_function_configuration(FunctionName=function)["Role"]
    give(admin, role, allow([action for action in POLL if action != missing], arn))
    message = refused(
        admin.client("lambda").create_event_source_mapping,
        EventSourceArn=arn,
        FunctionName=function,
        StartingPosition="LATEST",
    )
    give(admin, role, allow(POLL, arn))
    assert f"Cannot access stream {arn}" in message
    assert missing in message


def test_a_destination_that_the_role_may_not_write_to_is_refused(
    admin: EndpointSession, reader: tuple[str, str]
) -> None:
    function, arn = reader
    bucket = unique("bucket")
    admin.client("s3").create_bucket(Bucket=bucket)
    message = refused(
        admin.client("lambda").create_event_source_mapping,
        EventSourceArn=arn,
        FunctionName=function,
        StartingPosition="LATEST",
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}},
    )
    assert (
        "The provided execution role does not have permissions to call PutObject on S3" in message
    )


def test_writers_and_readers_of_an_encrypted_stream_need_its_key(
    aws: LocalAws, admin: EndpointSession, fn: Recorder
) -> None:
    name, arn = stream(admin)
    kinesis = admin.client("kinesis")
    key = admin.client("kms").create_key()["KeyMetadata"]["Arn"]
    kinesis.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId=key)
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    assert (summary["EncryptionType"], summary["KeyId"]) == ("KMS", key)
    writer = aws.session(aws.principal({"Statement": [allow("kinesis:*")]})).client("kinesis")
    message = refused(writer.put_record, StreamName=name, Data=b"x", PartitionKey="k")
    assert "kms:GenerateDataKey" in message
    message = refused(
        admin.client("lambda").create_event_source_mapping,
        EventSourceArn=arn,
        FunctionName=fn.name,
        StartingPosition="LATEST",
    )
    assert "kms:Decrypt" in message


def test_streams_keep_tags_modes_and_limits(admin: EndpointSession) -> None:
    kinesis = admin.client("kinesis")
    name, arn = stream(admin, 2, Tags={"team": "data"})
    assert kinesis.list_tags_for_stream(StreamName=name)["Tags"] == [
        {"Key": "team", "Value": "data"}
    ]
    found = admin.client("resourcegroupstaggingapi").get_resources(
        ResourceTypeFilters=["kinesis:stream"]
    )["ResourceTagMappingList"]
    assert arn in [each["ResourceARN"] for each in found]
    kinesis.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    active(admin, name)
    kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=48)
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    assert summary["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert summary["RetentionPeriodHours"] == 48
    assert "on-demand" in refused(
        kinesis.update_shard_count,
        StreamName=name,
        TargetShardCount=4,
        ScalingType="UNIFORM_SCALING",
    )
    size = 1024 * 1024
    kinesis.put_record(StreamName=name, Data=b"x" * (size - 1), PartitionKey="k")
    assert "1024 KiB" in refused(
        kinesis.put_record, StreamName=name, Data=b"x" * size, PartitionKey="k"
    )
    records = [{"Data": b"x", "PartitionKey": "k"}] * 501
    assert "500" in refused(kinesis.put_records, StreamName=name, Records=records)
