"""The proxy between boto3 and AWS: it changes nothing by itself, and knows every call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from weir_local.aws.server import LocalAws
from weir_local.proxy import DROPPED, Exchange, Forward, Proxy, ProxyProcess, Reply

pytestmark = pytest.mark.aws

Client = Callable[[str], Any]


@pytest.fixture
def proxy(faults_aws: LocalAws) -> Iterator[Proxy]:
    with Proxy(faults_aws.endpoint) as found:
        yield found


@pytest.fixture
def through(proxy: Proxy, faults_aws: LocalAws) -> Client:
    keywords = {**faults_aws.admin(), "endpoint_url": proxy.endpoint}
    config = Config(
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"},
        parameter_validation=True,
    )
    return lambda service: boto3.client(service, config=config, **keywords)


HERE = {"LocationConstraint": "eu-central-1"}
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("s3", "CreateBucket", {"Bucket": "passing", "CreateBucketConfiguration": HERE}),
    ("s3", "ListBuckets", {}),
    ("s3", "HeadBucket", {"Bucket": "passing"}),
    ("s3", "GetBucketLocation", {"Bucket": "passing"}),
    ("s3", "GetBucketVersioning", {"Bucket": "passing"}),
    ("s3", "ListObjectsV2", {"Bucket": "passing", "Prefix": "a/"}),
    ("s3", "PutObject", {"Bucket": "passing", "Key": "a/b c+d", "Body": b"x" * 100_000}),
    ("s3", "HeadObject", {"Bucket": "passing", "Key": "a/b c+d"}),
    ("s3", "GetObject", {"Bucket": "passing", "Key": "a/b c+d"}),
    ("s3", "CopyObject", {"Bucket": "passing", "Key": "c", "CopySource": "passing/a/b c+d"}),
    ("s3", "GetObjectTagging", {"Bucket": "passing", "Key": "c"}),
    ("s3", "DeleteObject", {"Bucket": "passing", "Key": "c"}),
    ("iam", "ListRoles", {}),
    ("sns", "ListTopics", {}),
    ("sqs", "CreateQueue", {"QueueName": "passing"}),
    ("sqs", "ListQueues", {}),
    ("sts", "GetCallerIdentity", {}),
    ("lambda", "ListFunctions", {}),
    ("lambda", "ListEventSourceMappings", {}),
    ("scheduler", "ListSchedules", {}),
    ("stepfunctions", "ListStateMachines", {}),
    ("cloudwatch", "DescribeAlarms", {}),
    ("logs", "DescribeLogGroups", {}),
    ("dynamodb", "ListTables", {}),
    ("glue", "GetDatabases", {}),
    ("kms", "ListKeys", {}),
    ("events", "ListRules", {}),
    ("secretsmanager", "ListSecrets", {}),
    ("redshift-data", "ListStatements", {}),
    ("resourcegroupstaggingapi", "GetResources", {}),
]


def test_every_protocol_passes_and_is_known_by_service_and_operation(
    proxy: Proxy, through: Client
) -> None:
    for service, operation, parameters in CALLS:
        client = through(service)
        proxy.reset()
        getattr(client, xform_name(operation))(**parameters)
        assert set(proxy.counts()) == {(service, operation)}
        assert proxy.total == 1


def test_a_body_comes_back_as_it_was_sent(through: Client) -> None:
    s3 = through("s3")
    s3.create_bucket(Bucket="whole", CreateBucketConfiguration=HERE)
    body = bytes(range(256)) * 2000
    s3.put_object(Bucket="whole", Key="k", Body=body)
    assert s3.get_object(Bucket="whole", Key="k")["Body"].read() == body
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="whole", Key="other")


def test_a_rule_answers_instead_of_aws_or_not_at_all(proxy: Proxy, through: Client) -> None:
    seen: list[Exchange] = []

    async def rule(exchange: Exchange, forward: Forward) -> Reply:
        seen.append(exchange)
        if exchange.operation != "CreateTopic":
            return await forward()
        if exchange.nth == 1:
            return DROPPED
        await forward()
        return Reply(503, {"content-type": "text/xml"}, b"<ErrorResponse><Error>"
                     b"<Code>ServiceUnavailable</Code></Error></ErrorResponse>")  # fmt: skip

    proxy.rule = rule
    sns = through("sns")
    with pytest.raises(ConnectionClosedError):
        sns.create_topic(Name="bent")
    with pytest.raises(ClientError, match="ServiceUnavailable"):
        sns.create_topic(Name="bent")
    names = [(one.name, one.nth, one.number) for one in seen if one.operation == "CreateTopic"]
    assert names == [
        ("sns:CreateTopic", 1, 1),
        ("sns:CreateTopic", 2, 2),
    ]
    arns = [topic["TopicArn"] for topic in sns.list_topics()["Topics"]]
    assert [arn for arn in arns if arn.endswith(":bent")]


def test_a_process_of_its_own_counts_too(faults_aws: LocalAws, tmp_path: Path) -> None:
    with ProxyProcess(faults_aws.endpoint, tmp_path / "proxy.log") as proxy:
        client = boto3.client("iam", **{**faults_aws.admin(), "endpoint_url": proxy.endpoint})
        client.list_roles()
        client.list_roles()
        assert proxy.counts() == {("iam", "ListRoles"): 2}
        proxy.reset()
        assert proxy.total == 0
