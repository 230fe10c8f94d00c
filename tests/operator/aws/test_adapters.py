"""Every adapter against MiniStack: one life of one resource, kind by kind, from one table."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from adapters_world import (
    ACCOUNT,
    OWNER,
    World,
    key_policy,
    settled,
    steady,
    trust,
    zipped,
)
from installation import as_listed, by_name

from weir.reconcile.diff import changes
from weir.resource import Adapter, Change, Observed, Resource

pytestmark = pytest.mark.aws


@dataclass(frozen=True)
class Case:
    """One row: ``properties`` are wanted, ``meddle`` changes property ``drift`` behind our back."""

    kind: str
    name: str
    properties: Callable[[World], dict[str, Any]]
    meddle: Callable[[World, Observed], Any]
    drift: str
    tagged: bool = True

    def resource(self, world: World) -> Resource:
        """The resource that is wanted."""
        name = self.name.replace("QUEUE", world.queue)
        return Resource(self.kind, "case", name, self.properties(world), tagged=self.tagged)

    def other_name(self, index: int) -> str:
        """The name of one that does not exist."""
        return f"{self.name}{index}".replace("QUEUE", f"arn:aws:sqs:eu-central-1:{ACCOUNT}:none")


def queue_policy() -> dict[str, Any]:
    """A queue policy that lets EventBridge send."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "events",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": ["sqs:SendMessage"],
                "Resource": f"arn:aws:sqs:eu-central-1:{ACCOUNT}:weir-case-queue",
            }
        ],
    }


def bucket_policy() -> dict[str, Any]:
    """A bucket policy of ours."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "weir-tls-only",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": ["arn:aws:s3:::weir-case-bucket/*", "arn:aws:s3:::weir-case-bucket"],
                "Condition": {"Bool": {"aws:SecureTransport": False}},
            }
        ],
    }


def let_everybody_call(world: World, seen: Observed) -> None:
    """Put a statement without a condition in the place of ours."""
    function, statement = seen.name.split("|")
    where = {"FunctionName": function, "StatementId": statement}
    world.calls("lambda")("RemovePermission", **where)
    given = {key: text for key, text in seen.properties.items() if key != "SourceArn"}
    world.calls("lambda")("AddPermission", **where, **given)


MACHINE = {
    "Comment": "one step",
    "StartAt": "Only",
    "States": {"Only": {"Type": "Pass", "End": True}},
}
BODY = '{"name": "orders"}'
OPEN_ENDPOINT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}],
}
STORAGE = {
    "Columns": [{"Name": "id", "Type": "bigint"}, {"Name": "name", "Type": "string"}],
    "Location": "s3://world-bucket/orders/",
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {
        "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
    },
}

CASES = (
    Case(
        "kms.Key",
        "alias/weir-case",
        lambda world: {
            "Description": "the platform's",
            "KeyPolicy": key_policy(),
            "EnableKeyRotation": True,
        },
        lambda world, seen: world.calls("kms")(
            "DisableKeyRotation", KeyId=seen.attributes["keyId"]
        ),
        "EnableKeyRotation",
    ),
    Case(
        "s3.Bucket",
        "weir-case-bucket",
        lambda world: {
            "Encryption": {"KmsKeyArn": world.key},
            "Versioning": True,
            "PublicAccessBlock": True,
            "EventBridge": True,
            "Policy": bucket_policy(),
            "LifecycleRules": [
                {
                    "ID": "weir-uploads",
                    "Status": "Enabled",
                    "Filter": {},
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                }
            ],
        },
        lambda world, seen: world.calls("s3")(
            "PutBucketVersioning",
            Bucket=seen.name,
            VersioningConfiguration={"Status": "Suspended"},
        ),
        "Versioning",
    ),
    Case(
        "s3.Object",
        "s3://world-bucket/config/orders.json",
        lambda world: {
            "Body": BODY,
            "ContentType": "application/json",
            "Sha256": hashlib.sha256(BODY.encode()).hexdigest(),
            "KmsKeyArn": world.key,
        },
        lambda world, seen: world.calls("s3")(
            "PutObject",
            Bucket=world.bucket,
            Key="config/orders.json",
            Body=b"{}",
            ContentType="application/json",
            ServerSideEncryption="aws:kms",
            SSEKMSKeyId=world.key,
        ),
        "Sha256",
        tagged=False,
    ),
    Case(
        "dynamodb.Table",
        "weir-case-table",
        lambda world: {
            "KeySchema": [
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            "AttributeDefinitions": [
                {"AttributeName": "sk", "AttributeType": "S"},
                {"AttributeName": "pk", "AttributeType": "S"},
            ],
            "BillingMode": "PAY_PER_REQUEST",
            "SSEKmsKeyArn": world.key,
            "TtlAttribute": "expires",
            "PointInTimeRecovery": True,
            "DeletionProtection": True,
        },
        lambda world, seen: world.calls("dynamodb")(
            "UpdateContinuousBackups",
            TableName=seen.name,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False},
        ),
        "PointInTimeRecovery",
    ),
    Case(
        "dynamodb.Item",
        "world-table|SOURCE#team/orders|SUBSCRIBER#team/orders",
        lambda world: {"Item": {"stateMachineArn": "arn:x", "minIntervalSeconds": 300, "on": True}},
        lambda world, seen: world.calls("dynamodb")(
            "UpdateItem",
            TableName="world-table",
            Key={"pk": {"S": "SOURCE#team/orders"}, "sk": {"S": "SUBSCRIBER#team/orders"}},
            UpdateExpression="SET minIntervalSeconds = :none",
            ExpressionAttributeValues={":none": {"N": "0"}},
        ),
        "Item",
        tagged=False,
    ),
    Case(
        "iam.Role",
        "weir-case-role",
        lambda world: {
            "Path": "/weir/tests/",
            "Description": "runs the case",
            "AssumeRolePolicyDocument": trust("lambda.amazonaws.com"),
            "Policies": {
                "logs": {
                    "Version": "2012-10-17",
                    "Statement": {
                        "Effect": "Allow",
                        "Action": ["logs:PutLogEvents", "logs:CreateLogStream"],
                        "Resource": "*",
                    },
                }
            },
            "PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/world-boundary",
            "ManagedPolicyArns": [f"arn:aws:iam::{ACCOUNT}:policy/world-managed"],
            "Tags": {"RedshiftDbRoles": "weir_team"},
        },
        lambda world, seen: world.calls("iam")(
            "PutRolePolicy",
            RoleName=seen.name,
            PolicyName="by-hand",
            PolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
                }
            ),
        ),
        "Policies",
    ),
    Case(
        "lambda.Function",
        "weir-case-function",
        lambda world: {
            "Runtime": "python3.11",
            "Handler": "handler.handler",
            "Role": world.role,
            "Code": {"S3Bucket": world.bucket, "S3Key": "code.zip"},
            "CodeSha256": base64.b64encode(hashlib.sha256(world.code).digest()).decode(),
            "Timeout": 60,
            "MemorySize": 256,
            "Architectures": ["x86_64"],
            "Environment": {"Variables": {"WEIR_CONFIG": "s3://a/b"}},
            "KMSKeyArn": world.key,
            "LoggingConfig": {"LogGroup": "/aws/lambda/weir-case-function"},
            "ReservedConcurrentExecutions": 2,
        },
        lambda world, seen: world.calls("lambda")(
            "UpdateFunctionCode", FunctionName=seen.name, ZipFile=zipped("handler = None\n")
        ),
        "CodeSha256",
    ),
    Case(
        "lambda.EventSourceMapping",
        "world-function|QUEUE",
        lambda world: {
            "FunctionName": "world-function",
            "EventSourceArn": world.queue,
            "BatchSize": 10,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "MaximumBatchingWindowInSeconds": 5,
            "Enabled": True,
        },
        lambda world, seen: world.calls("lambda")(
            "UpdateEventSourceMapping", UUID=seen.attributes["uuid"], BatchSize=1
        ),
        "BatchSize",
    ),
    Case(
        "lambda.Permission",
        "world-function|AllowCase",
        lambda world: {
            "Action": "lambda:InvokeFunction",
            "Principal": "workmail.eu-central-1.amazonaws.com",
            "SourceArn": f"arn:aws:workmail:eu-central-1:{ACCOUNT}:organization/m-{'0a' * 16}",
        },
        let_everybody_call,
        "SourceArn",
        tagged=False,
    ),
    Case(
        "logs.LogGroup",
        "/aws/lambda/weir-case",
        lambda world: {"RetentionInDays": 30, "KmsKeyId": world.key},
        lambda world, seen: world.calls("logs")(
            "PutRetentionPolicy", logGroupName=seen.name, retentionInDays=1
        ),
        "RetentionInDays",
    ),
    Case(
        "sns.Topic",
        "weir-case-topic",
        lambda world: {
            "KmsMasterKeyId": world.key,
            "Subscriptions": [{"Protocol": "sqs", "Endpoint": world.queue}],
        },
        lambda world, seen: world.calls("sns")(
            "Subscribe",
            TopicArn=seen.attributes["arn"],
            Protocol="sqs",
            Endpoint=world.dead,
        ),
        "Subscriptions",
    ),
    Case(
        "sqs.Queue",
        "weir-case-queue",
        lambda world: {
            "VisibilityTimeout": 120,
            "MessageRetentionPeriod": 1_209_600,
            "KmsMasterKeyId": world.key,
            "RedrivePolicy": {"deadLetterTargetArn": world.dead, "maxReceiveCount": 5},
            "Policy": queue_policy(),
        },
        lambda world, seen: world.calls("sqs")(
            "SetQueueAttributes",
            QueueUrl=seen.attributes["url"],
            Attributes={"VisibilityTimeout": "30"},
        ),
        "VisibilityTimeout",
    ),
    Case(
        "events.Rule",
        "weir-case-rule",
        lambda world: {
            "EventPattern": {
                "source": ["aws.s3"],
                "detail-type": ["Object Created"],
                "detail": {"bucket": {"name": ["raw"]}},
            },
            "State": "ENABLED",
            "Targets": [{"Id": "queue", "Arn": world.queue}],
        },
        lambda world, seen: world.calls("events")(
            "PutTargets", Rule=seen.name, Targets=[{"Id": "mine", "Arn": world.dead}]
        ),
        "Targets",
    ),
    Case(
        "scheduler.Schedule",
        "weir-case-schedule",
        lambda world: {
            "ScheduleExpression": "rate(5 minutes)",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:world-function",
                "RoleArn": world.role,
                "Input": {"sweep": True},
                "RetryPolicy": {"MaximumRetryAttempts": 0},
            },
            "State": "DISABLED",
        },
        lambda world, seen: world.calls("scheduler")(
            "UpdateSchedule",
            Name=seen.name,
            ScheduleExpression="rate(1 hour)",
            State="DISABLED",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target=seen.properties["Target"],
        ),
        "ScheduleExpression",
        tagged=False,
    ),
    Case(
        "states.StateMachine",
        "weir-case-machine",
        lambda world: {
            "definition": MACHINE,
            "roleArn": world.role,
            "type": "STANDARD",
            "loggingConfiguration": {"level": "OFF"},
        },
        lambda world, seen: world.calls("stepfunctions")(
            "UpdateStateMachine",
            stateMachineArn=seen.attributes["arn"],
            definition=json.dumps({**MACHINE, "Comment": "by hand"}),
        ),
        "definition",
    ),
    Case(
        "glue.Database",
        "weir_case_db",
        lambda world: {"Description": "the team's", "LocationUri": "s3://world-bucket/db/"},
        lambda world, seen: world.calls("glue")(
            "UpdateDatabase",
            Name=seen.name,
            DatabaseInput={
                "Name": seen.name,
                "Description": "mine",
                "LocationUri": "s3://world-bucket/db/",
            },
        ),
        "Description",
    ),
    Case(
        "glue.Table",
        "world_db.orders",
        lambda world: {
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {"classification": "parquet"},
            "PartitionKeys": [{"Name": "day", "Type": "string"}],
            "StorageDescriptor": STORAGE,
        },
        lambda world, seen: world.calls("glue")(
            "UpdateTable",
            DatabaseName="world_db",
            TableInput={
                "Name": "orders",
                "TableType": "EXTERNAL_TABLE",
                "PartitionKeys": [{"Name": "day", "Type": "string"}],
                "StorageDescriptor": STORAGE | {"Columns": STORAGE["Columns"][:1]},
                "Parameters": {
                    "classification": "parquet",
                    **{f"tag:{key}": text for key, text in seen.tags.items()},
                },
            },
        ),
        "StorageDescriptor",
    ),
    Case(
        "glue.Job",
        "weir-case-job",
        lambda world: {
            "Role": world.role,
            "Command": {
                "Name": "glueetl",
                "ScriptLocation": "s3://world-bucket/process.py",
                "PythonVersion": "3",
            },
            "GlueVersion": "5.0",
            "DefaultArguments": {"--job-language": "python"},
            "WorkerType": "G.1X",
            "NumberOfWorkers": 2,
            "Timeout": 60,
            "MaxRetries": 0,
            "ExecutionProperty": {"MaxConcurrentRuns": 3},
            "ExecutionClass": "FLEX",
        },
        lambda world, seen: world.calls("glue")(
            "UpdateJob",
            JobName=seen.name,
            JobUpdate={**{k: v for k, v in seen.properties.items() if v}, "Timeout": 5},
        ),
        "Timeout",
    ),
    Case(
        "glue.Connection",
        "weir-case-connection",
        lambda world: {
            "ConnectionType": "NETWORK",
            "Description": "into the VPC",
            "ConnectionProperties": {},
            "PhysicalConnectionRequirements": {
                "SubnetId": world.subnets[0],
                "SecurityGroupIdList": [world.group],
                "AvailabilityZone": "eu-central-1a",
            },
        },
        lambda world, seen: world.calls("glue")(
            "UpdateConnection",
            Name=seen.name,
            ConnectionInput={"Name": seen.name, **seen.properties, "Description": "mine"},
        ),
        "Description",
    ),
    Case(
        "ec2.SecurityGroup",
        "weir-case-group",
        lambda world: {
            "VpcId": world.vpc,
            "Description": "the case's",
            "IpPermissions": [
                {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "Source": world.group},
                {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "Source": "self"},
                {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "Source": "10.0.0.0/8"},
                {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "Source": "fd00::/8"},
            ],
            "IpPermissionsEgress": [],
        },
        lambda world, seen: world.calls("ec2")(
            "AuthorizeSecurityGroupIngress",
            GroupId=seen.attributes["id"],
            IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
        ),
        "IpPermissions",
    ),
    Case(
        "ec2.VpcEndpoint",
        "weir-case-endpoint",
        lambda world: {
            "VpcId": world.vpc,
            "ServiceName": "com.amazonaws.eu-central-1.kms",
            "VpcEndpointType": "Interface",
            "SubnetIds": f"{world.subnets[2]},{world.subnets[0]}",
            "SecurityGroupIds": [world.group],
            "PrivateDnsEnabled": True,
            "PolicyDocument": OPEN_ENDPOINT,
        },
        lambda world, seen: world.calls("ec2")(
            "ModifyVpcEndpoint",
            VpcEndpointId=seen.attributes["id"],
            RemoveSubnetIds=[world.subnets[2]],
        ),
        "SubnetIds",
    ),
    Case(
        "glue.Crawler",
        "weir-case-crawler",
        lambda world: {
            "Role": world.role,
            "DatabaseName": "world_db",
            "Description": "the team's",
            "Targets": {"S3Targets": [{"Path": "s3://world-bucket/raw/", "Exclusions": ["_x/**"]}]},
            "TablePrefix": "crawled__",
            "SchemaChangePolicy": {"UpdateBehavior": "UPDATE_IN_DATABASE", "DeleteBehavior": "LOG"},
            "RecrawlPolicy": {"RecrawlBehavior": "CRAWL_EVERYTHING"},
            "Configuration": {"Version": 1.0, "Grouping": {"TableLevelConfiguration": 2}},
        },
        lambda world, seen: world.calls("glue")(
            "UpdateCrawler", Name=seen.name, TablePrefix="other__"
        ),
        "TablePrefix",
    ),
    Case(
        "cloudwatch.Alarm",
        "weir-case-alarm",
        lambda world: {
            "AlarmDescription": "ingestion fails",
            "Namespace": "AWS/States",
            "MetricName": "ExecutionsFailed",
            "Dimensions": [{"Name": "StateMachineArn", "Value": "arn:x"}],
            "Statistic": "Sum",
            "Period": 300,
            "EvaluationPeriods": 1,
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": [f"arn:aws:sns:eu-central-1:{ACCOUNT}:weir"],
        },
        lambda world, seen: world.calls("cloudwatch")(
            "PutMetricAlarm",
            AlarmName=seen.name,
            **{k: v for k, v in seen.properties.items() if v not in (None, [])}
            | {"Threshold": 99.0},
        ),
        "Threshold",
    ),
    Case(
        "cloudwatch.Dashboard",
        "weir-case-dashboard",
        lambda world: {
            "DashboardBody": {
                "widgets": [
                    {"type": "text", "width": 6, "height": 3, "properties": {"markdown": "hello"}}
                ]
            }
        },
        lambda world, seen: world.calls("cloudwatch")(
            "PutDashboard", DashboardName=seen.name, DashboardBody='{"widgets": []}'
        ),
        "DashboardBody",
        tagged=False,
    ),
)


def difference(adapter: Adapter, resource: Resource, seen: Observed) -> tuple[Change, ...]:
    """What the engine would say differs."""
    wanted = replace(resource, properties=adapter.traits.canonical(resource.properties))
    return changes(wanted, seen, replace(adapter.traits, write_only=frozenset()))


def without_write_only(adapter: Adapter, resource: Resource) -> Resource:
    """The resource less what AWS does not give back."""
    properties = {
        key: value
        for key, value in resource.properties.items()
        if key not in adapter.traits.write_only
    }
    return replace(resource, properties=properties)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_a_resource_lives_from_create_to_delete(
    case: Case, world: World, every: dict[str, Adapter]
) -> None:
    adapter = every[case.kind]
    resource = case.resource(world)
    comparable = without_write_only(adapter, resource)
    tags = OWNER.tags if resource.tagged else {}

    assert adapter.observe([resource.name]) == {}

    made = adapter.create(resource, tags)
    assert difference(adapter, comparable, made) == ()

    seen = settled(adapter, resource.name)
    assert steady(as_listed(seen, made)) == steady(made)
    assert difference(adapter, comparable, seen) == ()
    assert {key: seen.tags.get(key) for key in tags} == tags
    if resource.tagged:
        assert OWNER.owns(seen.tags)

    case.meddle(world, seen)
    drifted = adapter.observe([resource.name])[resource.name]
    drift = difference(adapter, comparable, drifted)
    assert {change.path.partition(".")[0] for change in drift} == {case.drift}

    mended = adapter.update(resource, drifted, drift, tags)
    assert difference(adapter, comparable, mended) == ()
    there = settled(adapter, resource.name)
    assert steady(as_listed(there, mended)) == steady(mended)

    retagged = {**tags, "team": "blue"} if tags else {}
    more = adapter.update(resource, mended, (), retagged)
    assert {key: more.tags.get(key) for key in retagged} == retagged

    # Many names at once, by pages: what they tell is what asking for one tells.
    many = [resource.name, *(case.other_name(index) for index in range(5))]
    whole = adapter.observe(many)
    assert set(whole) == {resource.name}
    listed = by_name(adapter.survey(many))
    assert listed == {resource.name: as_listed(whole[resource.name], listed[resource.name])}

    adapter.delete(more)
    assert adapter.observe([resource.name]) == {}
    adapter.delete(more)


def test_a_mapping_that_goes_before_its_tags_are_read_is_gone_and_not_somebody_elses(
    world: World, every: dict[str, Adapter]
) -> None:
    case = next(one for one in CASES if one.kind == "lambda.EventSourceMapping")
    adapter, resource = every[case.kind], case.resource(world)
    adapter.create(resource, OWNER.tags)
    there = settled(adapter, resource.name)
    events = world.session.client("lambda").meta.events
    went: list[str] = []

    def goes(**_: Any) -> None:
        if not went:
            went.append(there.name)
            adapter.delete(there)

    events.register("before-call.*.ListTags", goes)
    try:
        assert adapter.observe([resource.name]) == {}
    finally:
        events.unregister("before-call.*.ListTags", goes)
    assert went == [resource.name]
