"""Kafka mappings of the local AWS read a real broker as Lambda does."""

from __future__ import annotations

import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from aws_makers import allow, eventually, policy, refused, unique
from botocore.config import Config
from botocore.credentials import Credentials
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from stream_makers import Recorder, recorder, settled, still

from weir_local.aws.server import EndpointSession, LocalAws
from weir_local.aws.streams import iamlogins
from weir_local.kafka import Broker

NETWORK = [
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeVpcs",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeSubnets",
    "ec2:DescribeSecurityGroups",
]
CLUSTER = ["kafka:DescribeCluster", "kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers"]
PROVISIONED = {"MinimumPollers": 1, "MaximumPollers": 1}


@dataclass
class Rig:
    """A recorder, and a broker whose secrets it may read."""

    admin: EndpointSession
    broker: Broker
    fn: Recorder
    login: str
    authority: str
    certificate: str

    def topic(self, partitions: int = 1) -> str:
        """A new topic."""
        return self.broker.create_topic(unique("topic"), partitions)

    def source(self, topic: str, **more: Any) -> dict[str, Any]:
        """The request of a mapping of the broker as a self-managed cluster."""
        return {
            "FunctionName": self.fn.name,
            "SelfManagedEventSource": {
                "Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [self.broker.bootstrap]}
            },
            "SourceAccessConfigurations": [
                {"Type": "SASL_SCRAM_512_AUTH", "URI": self.login},
                {"Type": "SERVER_ROOT_CA_CERTIFICATE", "URI": self.authority},
            ],
            "Topics": [topic],
            "StartingPosition": "TRIM_HORIZON",
            **more,
        }

    def map(self, topic: str, **more: Any) -> str:
        """An enabled mapping; its UUID."""
        made = self.admin.client("lambda").create_event_source_mapping(**self.source(topic, **more))
        return settled(self.admin, made["UUID"])

    def end(self, uuid: str) -> None:
        """Delete a mapping and wait until it is gone."""
        client = self.admin.client("lambda")
        client.delete_event_source_mapping(UUID=uuid)

        def gone() -> bool:
            listed = client.list_event_source_mappings(FunctionName=self.fn.name)
            return uuid not in [each["UUID"] for each in listed["EventSourceMappings"]]

        eventually(gone)

    def committed(self, group: str, topic: str, partition: int = 0) -> int:
        """A group's committed offset."""
        admin = self.broker.admin()
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition)])
        found = admin.list_consumer_group_offsets([asked])[group].result(10)
        return int(found.topic_partitions[0].offset)


@pytest.fixture(scope="module")
def rig(admin: EndpointSession, kafka: Broker) -> Rig:
    """One recorder for the module."""
    login, authority = kafka.secrets(admin, "AmazonMSK_" + unique("kafka"))
    made = admin.client("secretsmanager").create_secret(
        Name=unique("certificate"), SecretString="{}"
    )
    certificate = made["ARN"]
    fn = recorder(
        admin,
        allow("secretsmanager:GetSecretValue", [login, authority, certificate]),
        allow([*CLUSTER, *NETWORK, "s3:PutObject", "s3:ListBucket"]),
    )
    return Rig(admin, kafka, fn, login, authority, certificate)


def test_records_of_a_topic_come_in_the_form_of_aws(rig: Rig) -> None:
    topic = rig.topic()
    rig.broker.produce(topic, [("k", "one", [("kind", b"\x01\xff")]), (None, "two", []), "three"])
    uuid = rig.map(topic, BatchSize=2)
    seen = rig.fn.of(topic)
    assert seen.wait(3) == ["one", "two", "three"]
    event = seen.events()[0]
    assert event["eventSource"] == "SelfManagedKafka"
    assert event["bootstrapServers"] == rig.broker.bootstrap
    first, second = event["records"][f"{topic}-0"]
    assert (first["topic"], first["partition"], first["offset"]) == (topic, 0, 0)
    assert first["timestampType"] == "CREATE_TIME"
    assert (first["key"], first["value"]) == ("aw==", "b25l")
    assert first["headers"] == [{"kind": [1, -1]}]
    assert "key" not in second
    told = rig.admin.client("lambda").get_event_source_mapping(UUID=uuid)
    assert told["LastProcessingResult"] == "OK"
    assert told["SelfManagedKafkaEventSourceConfig"] == {"ConsumerGroupId": uuid}
    assert told["Topics"] == [topic]
    assert "EventSourceArn" not in told
    eventually(lambda: rig.committed(uuid, topic) == 3)
    rig.end(uuid)


def test_a_cluster_of_msk_is_read_by_its_arn(rig: Rig, aws: LocalAws) -> None:
    name = unique("cluster")
    arn = rig.broker.declare_msk(rig.admin, name)
    narrow = {"Statement": [allow("kafka:DescribeClusterV2", arn)]}
    looker = aws.session(aws.principal(narrow)).client("kafka")
    assert looker.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["ClusterArn"] == arn
    message = refused(looker.get_bootstrap_brokers, ClusterArn=arn)
    assert f"kafka:GetBootstrapBrokers on resource: {arn}" in message
    kafka = rig.admin.client("kafka")
    told = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]
    assert (told["ClusterName"], told["State"], told["ClusterType"]) == (
        name,
        "ACTIVE",
        "PROVISIONED",
    )
    brokers = kafka.get_bootstrap_brokers(ClusterArn=arn)
    assert brokers["BootstrapBrokerStringSaslScram"] == rig.broker.bootstrap
    assert arn in [each["ClusterArn"] for each in kafka.list_clusters_v2()["ClusterInfoList"]]
    topic = rig.topic()
    rig.broker.produce(topic, ["one"])
    client = rig.admin.client("lambda")
    group = unique("group")
    made = client.create_event_source_mapping(
        EventSourceArn=arn,
        FunctionName=rig.fn.name,
        Topics=[topic],
        StartingPosition="TRIM_HORIZON",
        SourceAccessConfigurations=[{"Type": "SASL_SCRAM_512_AUTH", "URI": rig.login}],
        AmazonManagedKafkaEventSourceConfig={"ConsumerGroupId": group},
    )
    seen = rig.fn.of(topic)
    assert seen.wait(1) == ["one"]
    event = seen.events()[0]
    assert (event["eventSource"], event["eventSourceArn"]) == ("aws:kafka", arn)
    eventually(lambda: rig.committed(group, topic) == 1)
    settled(rig.admin, made["UUID"])
    rig.end(made["UUID"])


def test_brokers_that_want_a_certificate_are_shown_the_secrets(rig: Rig) -> None:
    manager = rig.admin.client("secretsmanager")
    key = load_pem_private_key(rig.broker.client_certificate["privateKey"].encode(), None)
    encrypted = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"of the key")
    ).decode()
    shown = rig.broker.client_certificate | {
        "privateKey": encrypted,
        "privateKeyPassword": "of the key",
    }
    manager.put_secret_value(SecretId=rig.certificate, SecretString=json.dumps(shown))
    topic, client = rig.topic(), rig.admin.client("lambda")
    rig.broker.produce(topic, ["one"])
    access = [{"Type": "CLIENT_CERTIFICATE_TLS_AUTH", "URI": rig.certificate}]
    authority = {"Type": "SERVER_ROOT_CA_CERTIFICATE", "URI": rig.authority}
    servers = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [rig.broker.mutual]}}
    own = rig.map(
        topic, SelfManagedEventSource=servers, SourceAccessConfigurations=[*access, authority]
    )
    seen = rig.fn.of(topic)
    assert seen.wait(1) == ["one"]
    rig.end(own)
    made = client.create_event_source_mapping(
        EventSourceArn=rig.broker.declare_msk(rig.admin, unique("cluster")),
        FunctionName=rig.fn.name,
        Topics=[topic],
        StartingPosition="TRIM_HORIZON",
        SourceAccessConfigurations=access,
        AmazonManagedKafkaEventSourceConfig={"ConsumerGroupId": unique("group")},
    )
    assert seen.wait(2) == ["one", "one"]
    settled(rig.admin, made["UUID"])
    # A broker that is shown nothing takes nobody: the certificate above was looked at.
    bare = rig.map(topic, SelfManagedEventSource=servers, SourceAccessConfigurations=[authority])

    def told() -> str:
        return str(client.get_event_source_mapping(UUID=bare)["LastProcessingResult"])

    eventually(lambda: told().startswith("PROBLEM"))
    assert seen.wait(2) == ["one", "one"]
    rig.end(made["UUID"])
    rig.end(bare)


def test_brokers_of_msk_let_a_role_in_as_far_as_its_policies_do(rig: Rig) -> None:
    arn = rig.broker.declare_msk(rig.admin, unique("cluster"))
    topic, group, client = rig.topic(), unique("group"), rig.admin.client("lambda")
    rig.broker.produce(topic, ["one"])
    head, _, cluster = arn.partition(":cluster/")
    fn = recorder(rig.admin, allow([*CLUSTER, *NETWORK]))
    made = client.create_event_source_mapping(
        FunctionName=fn.name,
        EventSourceArn=arn,
        Topics=[topic],
        StartingPosition="TRIM_HORIZON",
        AmazonManagedKafkaEventSourceConfig={"ConsumerGroupId": group},
    )
    settled(rig.admin, made["UUID"])

    def told(words: str) -> None:
        def result() -> str:
            return str(client.get_event_source_mapping(UUID=made["UUID"])["LastProcessingResult"])

        eventually(lambda: result() == words)

    def may(*statements: dict[str, Any]) -> None:
        rig.admin.client("iam").put_role_policy(
            RoleName=fn.role.rsplit("/", 1)[-1],
            PolicyName="kafka",
            PolicyDocument=json.dumps(policy(*statements)),
        )

    told("PROBLEM: SASL authentication failed.")
    enter = allow("kafka-cluster:Connect", arn)
    topics = ["kafka-cluster:DescribeTopic", "kafka-cluster:ReadData"]
    read = allow(topics, f"{head}:topic/{cluster}/{topic}")
    groups = ["kafka-cluster:AlterGroup", "kafka-cluster:DescribeGroup"]
    join = allow(groups, f"{head}:group/{cluster}/{group}")
    may(enter, join)
    told("PROBLEM: Cluster failed to authorize Lambda.")
    may(enter, read)
    still()
    assert fn.of(topic).data() == []
    may(enter, join, read)
    assert fn.of(topic).wait(1) == ["one"]
    told("OK")
    client.delete_event_source_mapping(UUID=made["UUID"])


def login(who: Credentials, region: str, **more: Any) -> str:
    """A login as aws-msk-iam-sasl-signer makes it, or one that differs from it."""
    begin = (datetime.now(UTC) - more.get("age", timedelta())).strftime(iamlogins.MOMENT)
    query = {
        "Action": more.get("action", iamlogins.ACTION),
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{who.access_key}/{begin[:8]}/{region}/kafka-cluster/aws4_request",
        "X-Amz-Date": begin,
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
    }
    host = f"kafka.{region}.amazonaws.com"
    query["X-Amz-Signature"] = iamlogins.signature(who.secret_key, host, query, region)
    url = f"https://{host}/?{urlencode(query | more.get('changed', {}))}"
    return base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def entered(broker: Broker, token: str, topic: str) -> bool:
    """Whether a token opens the brokers to a consumer; a topic that it may describe is seen."""
    said: list[int] = []
    consumer = Consumer(
        {
            "bootstrap.servers": broker.iam,
            "group.id": "none",
            "security.protocol": "SASL_SSL",
            "ssl.ca.pem": broker.ca_pem,
            "sasl.mechanism": "OAUTHBEARER",
            "oauth_cb": lambda _: (token, time.time() + 600),
            "error_cb": lambda error: said.append(error.code()),
            "log_level": 0,
        }
    )
    try:
        consumer.poll(0.1)
        eventually(lambda: consumer.poll(0.1) or said or seen(consumer, topic))
        assert set(said) <= {KafkaError._AUTHENTICATION, KafkaError._ALL_BROKERS_DOWN}
        return not said
    finally:
        consumer.close()


def seen(consumer: Consumer, topic: str) -> bool:
    with suppress(KafkaException):
        return topic in consumer.list_topics(timeout=0.2).topics
    return False


CHANGES: dict[str, dict[str, Any]] = {
    "over": {"age": timedelta(minutes=16)},
    "not yet": {"age": timedelta(minutes=-10)},
    "another action": {"action": "kafka-cluster:ReadData"},
    "changed after it was signed": {"changed": {"X-Amz-Expires": "899"}},
    "another region": {"region": "eu-west-3"},
    "another's secret": {"secret": "another"},
    "an unknown key": {"key": "AKIAUNKNOWNUNKNOWN00"},
}


def test_a_login_by_iam_is_good_as_it_was_signed_for_its_region_its_time_and_its_action(
    rig: Rig, aws: LocalAws
) -> None:
    arn = rig.broker.declare_msk(rig.admin, unique("cluster"))
    topic, region = rig.topic(), arn.split(":")[3]
    made = aws.principal(policy(allow("kafka-cluster:*", "*")))
    key, secret = made["aws_access_key_id"], made["aws_secret_access_key"]
    tokens = {"as it was signed": login(Credentials(key, secret), region), "none": "bm8"}
    for name, change in CHANGES.items():
        credentials = Credentials(change.get("key", key), change.get("secret", secret))
        tokens[name] = login(credentials, **{"region": region, **change})
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda token: entered(rig.broker, token, topic), tokens.values())
    assert [name for name, good in zip(tokens, found, strict=True) if good] == ["as it was signed"]
    log = (aws.state / "aws.log").read_text()
    assert "signature is wrong" in log and secret not in log


def test_a_poller_that_is_told_to_stop_goes_on_where_it_was(rig: Rig) -> None:
    topic = rig.topic()
    uuid = rig.map(
        topic,
        SourceAccessConfigurations=[
            {"Type": "BASIC_AUTH", "URI": rig.login},
            {"Type": "SERVER_ROOT_CA_CERTIFICATE", "URI": rig.authority},
        ],
    )
    rig.broker.produce(topic, ["one"])
    seen = rig.fn.of(topic)
    seen.wait(1)
    client = rig.admin.client("lambda")
    client.update_event_source_mapping(UUID=uuid, Enabled=False)
    settled(rig.admin, uuid, "Disabled")
    rig.broker.produce(topic, ["two"])
    still()
    assert seen.data() == ["one"]
    client.update_event_source_mapping(UUID=uuid, Enabled=True)
    assert seen.wait(2) == ["one", "two"]
    settled(rig.admin, uuid)
    rig.end(uuid)


def test_two_pollers_share_partitions_and_hand_them_over_without_a_repeat(rig: Rig) -> None:
    topic = rig.topic(4)
    uuid = rig.map(topic, ProvisionedPollerConfig=PROVISIONED, BatchSize=5)
    seen = rig.fn.of(topic)
    expected = []
    client = rig.admin.client("lambda")
    for pollers in (1, 3, 2):
        client.update_event_source_mapping(
            UUID=uuid, ProvisionedPollerConfig={"MinimumPollers": pollers, "MaximumPollers": 3}
        )
        for partition in range(4):
            values = [f"slow {pollers}-{partition}-{n}" for n in range(5)]
            rig.broker.produce(topic, values, partition)
            expected += values
        settled(rig.admin, uuid)
        if pollers == 3:

            def joined() -> bool:
                admin = rig.broker.admin()
                found = admin.describe_consumer_groups([uuid])[uuid].result(10)
                with_work = [m for m in found.members if m.assignment.topic_partitions]
                return len(with_work) == 3

            eventually(joined)
    assert sorted(seen.wait(60, 30)) == sorted(expected)
    rig.end(uuid)


def test_a_poison_record_leaves_the_others_alone(rig: Rig) -> None:
    topic = rig.topic(2)
    bucket = unique("bucket")
    rig.admin.client("s3").create_bucket(Bucket=bucket)
    rig.broker.produce(topic, ["a", "b", "poison", "c"], 0)
    rig.broker.produce(topic, ["d", "report", "e"], 1)
    uuid = rig.map(
        topic,
        ProvisionedPollerConfig=PROVISIONED,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=1,
        MaximumBatchingWindowInSeconds=1,
        DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}},
    )
    s3 = rig.admin.client("s3")

    def written() -> Any:
        found = s3.list_objects_v2(Bucket=bucket).get("Contents") or []
        return found if len(found) == 2 else None

    bodies = []
    for each in eventually(written, 30):
        assert re.match(rf"aws/lambda/{uuid}/{topic}-[01]/\d{{4}}/\d\d/\d\d/", each["Key"])
        bodies.append(json.loads(s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()))
    offsets = {
        (where, told["firstRecordOffset"], told["lastRecordOffset"])
        for body in bodies
        for where, told in body["KafkaBatchInfo"]["recordsInfo"].items()
    }
    assert offsets == {(f"{topic}-0", "2", "2"), (f"{topic}-1", "1", "1")}
    records = [json.loads(body["payload"])["records"] for body in bodies]
    assert sorted(next(iter(each)) for each in records) == [f"{topic}-0", f"{topic}-1"]
    seen = rig.fn.of(topic)
    eventually(lambda: rig.committed(uuid, topic, 0) == 4 and rig.committed(uuid, topic, 1) == 3)
    assert {"a", "b", "c", "d", "e"} <= set(seen.data())
    rig.end(uuid)


def test_a_batch_is_tried_until_it_succeeds_and_only_then_committed(rig: Rig) -> None:
    topic = rig.topic()
    rig.broker.produce(topic, ["poison"])
    uuid = rig.map(topic)
    seen = rig.fn.of(topic)
    assert seen.wait(3)[:3] == ["poison"] * 3
    told = rig.admin.client("lambda").get_event_source_mapping(UUID=uuid)
    assert told["LastProcessingResult"] == "PROBLEM: Function call failed"
    assert rig.committed(uuid, topic) == 0
    rig.end(uuid)


def test_a_topic_that_grows_while_a_batch_is_tried_again_is_read_whole(rig: Rig) -> None:
    topic = rig.topic(2)
    rig.broker.produce(topic, ["poison"], partition=0)
    retries = {"MaximumRetryAttempts": 5, "ProvisionedPollerConfig": PROVISIONED}
    uuid = rig.map(topic, **retries)
    seen = rig.fn.of(topic)
    seen.wait(1)
    rig.broker.grow_topic(topic, 3)
    for partition, name in enumerate(["one", "two", "three"]):
        rig.broker.produce(topic, [name], partition=partition)
    eventually(lambda: {"one", "two", "three"} <= {data for call in seen.calls() for data in call})
    rig.end(uuid)


def cluster_arn(rig: Rig) -> str:
    """A cluster of MSK."""
    return rig.broker.declare_msk(rig.admin, unique("cluster"))


def test_what_lambda_refuses_of_kafka_mappings_is_refused(rig: Rig) -> None:
    topic = rig.topic()
    other = recorder(rig.admin)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"MaximumRetryAttempts": 3}, "provisioned mode"),
        ({"ParallelizationFactor": 2}, "ParallelizationFactor"),
        ({"Topics": [topic, topic]}, "Topics"),
        ({"SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": "a b"}}, "ConsumerGroupId"),
        (
            {"SourceAccessConfigurations": [{"Type": "VIRTUAL_HOST", "URI": "/"}]},
            "VIRTUAL_HOST",
        ),
        ({"FunctionName": other.name}, "secretsmanager:GetSecretValue"),
    ]
    no_cluster = {
        "SelfManagedEventSource": None,
        "EventSourceArn": cluster_arn(rig),
        "SourceAccessConfigurations": [{"Type": "SASL_SCRAM_512_AUTH", "URI": rig.login}],
    }
    cases.append(({"FunctionName": other.name, **no_cluster}, "kafka:DescribeCluster"))
    for change, words in cases:
        create = rig.admin.client(
            "lambda", config=Config(parameter_validation=False)
        ).create_event_source_mapping
        given = rig.source(topic, **change)
        message = refused(create, **{name: value for name, value in given.items() if value})
        assert "InvalidParameterValueException" in message
        assert words in message


def test_a_wrong_password_and_a_broker_that_restarts_are_told_and_outlived(rig: Rig) -> None:
    topic = rig.topic()
    manager = rig.admin.client("secretsmanager")
    good = manager.get_secret_value(SecretId=rig.login)["SecretString"]
    manager.put_secret_value(
        SecretId=rig.login, SecretString=json.dumps({"username": "weir", "password": "wrong"})
    )
    uuid = rig.map(topic)
    client = rig.admin.client("lambda")

    def result() -> str:
        return str(client.get_event_source_mapping(UUID=uuid)["LastProcessingResult"])

    eventually(lambda: result() == "PROBLEM: SASL authentication failed.")
    manager.put_secret_value(SecretId=rig.login, SecretString=good)
    client.update_event_source_mapping(UUID=uuid, BatchSize=10)
    rig.broker.produce(topic, ["before"])
    seen = rig.fn.of(topic)
    assert seen.wait(1) == ["before"]
    eventually(lambda: rig.committed(uuid, topic) == 1)
    rig.broker.stop()
    rig.broker.start()
    rig.broker.produce(topic, ["after"])
    assert seen.wait(2, 30) == ["before", "after"]
    settled(rig.admin, uuid)
    rig.end(uuid)
