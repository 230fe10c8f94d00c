"""What a stream source wants, and what is wrong with one."""

from __future__ import annotations

import base64
import json
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from weir.api.v1alpha1.stream import Kafka, Stream
from weir.blueprint import config, pieces, streamfaults, streams
from weir.resource import Resource, resolve

BROKERS = {"bootstrapServers": ["b.example.com:9096"], "topics": ["orders", "payments"]}
MSK = "arn:aws:kafka:eu-central-1:111122223333:cluster/shop/0f0e-1"
CLICKS = "arn:aws:kinesis:eu-central-1:111122223333:stream/clicks"
CONSUMER = f"{CLICKS}/consumer/shared:1700000000"


def kinesis(**more: Any) -> dict[str, Any]:
    return {"source": {"stream": {"kinesis": {"streamArn": CLICKS, **more}}}}


def kafka(**more: Any) -> dict[str, Any]:
    return {"source": {"stream": {"kafka": {**BROKERS, **more}}}}


def mappings(resources: tuple[Resource, ...]) -> list[dict[str, Any]]:
    return [dict(one.properties) for one in resources if one.kind == "lambda.EventSourceMapping"]


@pytest.mark.parametrize(
    "spec",
    [
        kinesis(enhancedFanOut=True, startingPosition="LATEST"),
        kinesis(consumerArn=CONSUMER),
        kafka(auth={"mtls": "kafka"}, caSecret="ca", pollers={"min": 2, "max": 3}),
        {"source": {"stream": {"kafka": {"clusterArn": MSK, "topics": ["orders"]}}}},
    ],
)
def test_boto_takes_the_properties_of_every_mapping(worlds: Any, spec: dict[str, Any]) -> None:
    model = botocore.session.Session().get_service_model("lambda")
    shape = model.operation_model("CreateEventSourceMapping").input_shape
    resources = worlds(source_spec=spec).source_resources()
    known = {(one.logical_id, "arn"): f"arn:aws:x:::{one.logical_id}" for one in resources}
    for properties in mappings(resources):
        given = {key: value for key, value in resolve(properties, known).items() if value}
        report = ParamValidator().validate(given, shape)
        assert not report.has_errors(), report.generate_report()


def test_a_consumer_of_others_is_read_through_and_none_is_registered(worlds: Any) -> None:
    resources = worlds(source_spec=kinesis(consumerArn=CONSUMER)).source_resources()
    (mapping,) = mappings(resources)
    assert mapping["EventSourceArn"] == CONSUMER
    assert "kinesis.Consumer" not in [one.kind for one in resources]
    (role,) = [one for one in resources if one.logical_id == "receive-role"]
    assert CONSUMER in json.dumps(role.properties, default=str)


def test_latest_is_the_time_at_which_the_object_was_created(worlds: Any) -> None:
    world = worlds(source_spec=kinesis(startingPosition="LATEST"))
    world.source.metadata["creationTimestamp"] = "2026-01-31T10:00:00Z"
    (mapping,) = mappings(world.source_resources())
    assert mapping["StartingPosition"] == "AT_TIMESTAMP"
    assert mapping["StartingPositionTimestamp"] == "2026-01-31T10:00:00Z"


def test_a_suspended_stream_keeps_its_mappings_switched_off(worlds: Any) -> None:
    before = worlds(source_spec=kafka()).source_resources()
    after = worlds(source_spec={**kafka(), "suspend": True}).source_resources()
    assert {one.key for one in before} == {one.key for one in after}
    assert [one["Enabled"] for one in mappings(before)] == [True, True]
    assert [one["Enabled"] for one in mappings(after)] == [False, False]


def test_each_topic_has_a_mapping_and_a_group_of_its_own(worlds: Any) -> None:
    found = mappings(worlds(source_spec=kafka(consumerGroup="weir")).source_resources())
    groups = [one["SelfManagedKafkaEventSourceConfig"]["ConsumerGroupId"] for one in found]
    assert [one["Topics"] for one in found] == [["orders"], ["payments"]]
    assert groups == ["weir-orders", "weir-payments"]


def test_a_group_of_a_long_topic_is_cut_and_stays_its_own() -> None:
    names = pieces.Naming("prod", "DataSource", "team", "orders")
    model = Kafka.model_validate({**BROKERS, "topics": ["t" * 248 + "a", "t" * 248 + "b"]})
    groups = {streams.consumer_group(model, names, topic) for topic in model.topics}
    assert len(groups) == 2
    assert {len(group) for group in groups} == {streams.GROUP_CHARACTERS}


@pytest.mark.parametrize(("pollers", "controls"), [(None, False), ({"min": 1, "max": 2}, True)])
def test_kafka_is_split_and_given_up_on_by_pollers_of_its_own_alone(
    worlds: Any, pollers: Any, controls: bool
) -> None:
    world = worlds(source_spec=kafka(**({"pollers": pollers} if pollers else {})))
    mapping = mappings(world.source_resources())[0]
    assert ("BisectBatchOnFunctionError" in mapping) is controls
    assert ("FunctionResponseTypes" in mapping) is controls
    stream = config.source_config(world.source, world.facts, world.grant, {}).stream
    assert stream is not None
    assert stream.partial is controls


@pytest.mark.parametrize(
    ("stated", "schedule"),
    [("1m", "rate(1 minute)"), ("90s", "rate(2 minutes)"), ("2h", "rate(120 minutes)")],
)
def test_sealing_is_scheduled_by_whole_minutes(stated: str, schedule: str) -> None:
    stream = Stream.model_validate({"kinesis": {"streamArn": CLICKS}, "sealEvery": stated})
    assert streams.seal_schedule(stream) == schedule


def test_rows_of_a_stream_are_appended_and_merged_where_it_has_keys(worlds: Any) -> None:
    def mode(**schema: Any) -> str:
        world = worlds(
            source_spec={
                **kinesis(),
                "schema": {"mapping": {"customerId": "id", "customerName": "n"}, **schema},
            }
        )
        sources = {world.source.name: world.source}
        made = config.pipeline_config(world.pipeline, world.facts, world.grant, sources, {})
        (load,) = [stage.load for stage in made.stages if stage.load]
        return load.mode

    assert mode() == "append"
    assert mode(keys=["customerId"]) == "merge"


@pytest.mark.parametrize(("policy", "deletion"), [("Retain", "retain"), ("Delete", "delete")])
def test_a_stream_that_was_created_holds_data(worlds: Any, policy: str, deletion: str) -> None:
    spec = {"source": {"stream": {"kinesis": {"create": {}}}}, "deletionPolicy": policy}
    found = {one.logical_id: one for one in worlds(source_spec=spec).source_resources()}
    assert found["stream"].deletion.value == deletion
    assert found["stream"].properties["KmsKeyArn"]


def test_the_sealer_reads_only_what_was_given_up_of_its_own_mappings(worlds: Any) -> None:
    world = worlds(source_spec=kafka())
    found = {one.logical_id: one for one in world.source_resources()}
    known = {(name, "uuid"): f"uuid-of-{name}" for name in found}
    policy = resolve(found["ingest-role"].properties, known)["Policies"]["weir"]["Statement"]
    (taken,) = [one for one in policy if one["Sid"] == "TakeGivenUp"]
    ids = [name for name in found if name.startswith("mapping-")]
    bucket = world.facts.bucket_arn("quarantine")
    assert sorted(taken["Resource"]) == sorted(f"{bucket}/aws/lambda/uuid-of-{n}/*" for n in ids)
    environment = resolve(found["ingest"].properties, known)["Environment"]["Variables"]
    assert sorted(environment["WEIR_MAPPINGS"].split(",")) == sorted(f"uuid-of-{n}" for n in ids)


@pytest.mark.parametrize(
    ("functions", "network", "inside"),
    [
        ("all", None, True),
        ("private", None, False),
        ("private", "vpc", True),
        ("none", "vpc", False),
    ],
)
def test_pollers_of_self_managed_brokers_run_where_the_functions_do(
    worlds: Any, functions: str, network: str | None, inside: bool
) -> None:
    vpc = {
        "vpcId": "vpc-0a1b2c3d",
        "subnetIds": ["subnet-0a1b2c3d"],
        "securityGroupIds": ["sg-0a1b2c3d"],
        "functions": functions,
    }
    spec = {**kafka(), **({"network": network} if network else {})}
    world = worlds(platform_spec={"network": vpc}, source_spec=spec)
    access = resolve(mappings(world.source_resources())[0]["SourceAccessConfigurations"], {})
    expected = [
        {"Type": "VPC_SUBNET", "URI": "subnet:subnet-0a1b2c3d"},
        {"Type": "VPC_SECURITY_GROUP", "URI": "security_group:sg-0a1b2c3d"},
    ]
    assert access == (expected if inside else [])


DESCRIPTORS = base64.b64encode(b"\n\x05Order").decode()
BROKEN_KEY = {"descriptors": "abcde", "message": "shop.Key"}
FAULTS = {
    "no stream": ({"kinesis": {"streamArn": MSK}}, "kinesis.streamArn"),
    "another region": (
        {"kinesis": {"streamArn": CLICKS.replace("eu-central-1", "us-east-1")}},
        "kinesis.streamArn",
    ),
    "no consumer": (
        {"kinesis": {"streamArn": CLICKS, "consumerArn": f"{CLICKS}/consumer/*"}},
        "kinesis.consumerArn",
    ),
    "no cluster": ({"kafka": {"clusterArn": CLICKS, "topics": ["tt"]}}, "kafka.clusterArn"),
    "a short seal": ({"kinesis": {"streamArn": CLICKS}, "sealEvery": "59s"}, "sealEvery"),
    "a long window": (
        {"kinesis": {"streamArn": CLICKS}, "batch": {"window": "301s"}},
        "batch.window",
    ),
    "a short age": ({"kinesis": {"streamArn": CLICKS}, "batch": {"maxAge": "59s"}}, "batch.maxAge"),
    "an age without pollers": ({"kafka": BROKERS, "batch": {"maxAge": "1h"}}, "batch.maxAge"),
    "a short lag": ({"kinesis": {"streamArn": CLICKS, "lagAlarm": "5s"}}, "kinesis.lagAlarm"),
    "no JSON": (
        {"kinesis": {"streamArn": CLICKS}, "format": "avro", "avroSchema": "{:"},
        "avroSchema",
    ),
    "no record": (
        {"kinesis": {"streamArn": CLICKS}, "format": "avro", "avroSchema": '{"type": "long"}'},
        "avroSchema",
    ),
    "no base64": (
        {
            "kinesis": {"streamArn": CLICKS},
            "format": "protobuf",
            "protobuf": {"descriptors": "abcde", "message": "Order"},
        },
        "protobuf.descriptors",
    ),
    "another message": (
        {
            "kinesis": {"streamArn": CLICKS},
            "format": "protobuf",
            "protobuf": {"descriptors": DESCRIPTORS, "message": "shop.Refund"},
        },
        "protobuf.message",
    ),
    "a key's schema is no JSON": (
        {"kafka": {**BROKERS, "key": {"format": "avro", "avroSchema": "{:"}}},
        "kafka.key.avroSchema",
    ),
    "a key's descriptors are no base64": (
        {"kafka": {**BROKERS, "key": {"format": "protobuf", "protobuf": BROKEN_KEY}}},
        "kafka.key.protobuf.descriptors",
    ),
    "a key's message is not in the values' descriptors": (
        {
            "kafka": {
                **BROKERS,
                "key": {"format": "protobuf", "protobuf": {"message": "shop.Key"}},
            },
            "format": "protobuf",
            "protobuf": {"descriptors": DESCRIPTORS, "message": "Order"},
        },
        "kafka.key.protobuf.message",
    ),
}


@pytest.mark.parametrize(("spec", "path"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_with_a_stream_is_told_with_its_place(
    spec: dict[str, Any], path: str
) -> None:
    stream = Stream.model_validate(spec)
    found = list(streamfaults.faults(stream, "stream", "eu-central-1"))
    assert [one.path for one in found] == [f"stream.{path}"]


def test_a_stream_as_the_examples_have_it_has_no_fault() -> None:
    spec = {
        "kinesis": {"streamArn": CLICKS},
        "format": "protobuf",
        "protobuf": {"descriptors": DESCRIPTORS, "message": "shop.v1.Order"},
    }
    assert list(streamfaults.faults(Stream.model_validate(spec), "stream", None)) == []
