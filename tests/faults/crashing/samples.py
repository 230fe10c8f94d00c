"""One resource of every kind: as it is created, as it is changed, and as it is replaced."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crashing.world import WorldAws

from weir.resource import Resource
from weir_local.aws.server import ACCOUNT, EndpointSession, LocalAws

Ground = dict[str, str]
"""What must be there before, as names and ARNs."""
Properties = dict[str, Any]

OPEN = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
SERVICES = ("lambda", "states", "scheduler", "glue", "logs", "redshift")
REGION = "eu-central-1"
WAREHOUSE = "faults"
DATABASE = "dev"


def trust(*services: str) -> Properties:
    """A trust policy for services."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": [f"{name}.amazonaws.com" for name in services]},
                "Action": "sts:AssumeRole",
            }
        ],
    }


def allow(*actions: str) -> Properties:
    """A policy that allows actions."""
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}],
    }


def key_policy(region: str, *more: str) -> Properties:
    """A key policy for the account and for services."""
    users = [f"logs.{region}.amazonaws.com", "sns.amazonaws.com", *more]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "root",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                "Action": "kms:*",
                "Resource": "*",
            },
            {
                "Sid": "services",
                "Effect": "Allow",
                "Principal": {"Service": users},
                "Action": "kms:*",
                "Resource": "*",
            },
        ],
    }


def zipped(text: str) -> bytes:
    """A zip of one Python file, the same each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("handler.py"), text)
    return buffer.getvalue()


CODE = {
    "one": zipped("def handler(event, context):\n    return 1\n"),
    "two": zipped("def handler(event, context):\n    return 2\n"),
}


def code_hash(name: str) -> str:
    """``CodeSha256`` of a zip."""
    return base64.b64encode(hashlib.sha256(CODE[name]).digest()).decode()


def lay(aws: WorldAws) -> Ground:
    """Make what all samples lean on."""
    admin = aws.admin_session()
    ground: Ground = {"region": aws.region}
    iam, s3, sqs = (admin.client(name) for name in ("iam", "s3", "sqs"))
    for name in ("boundary", "managed", "managed-two"):
        policy = iam.create_policy(PolicyName=f"ground-{name}", PolicyDocument=json.dumps(OPEN))
        ground[name] = policy["Policy"]["Arn"]
    for name in ("role", "role-two"):
        document = json.dumps(trust(*SERVICES))
        made = iam.create_role(RoleName=f"ground-{name}", AssumeRolePolicyDocument=document)
        ground[name] = made["Role"]["Arn"]
        iam.put_role_policy(
            RoleName=f"ground-{name}", PolicyName="all", PolicyDocument=json.dumps(OPEN)
        )
    s3.create_bucket(
        Bucket="ground-bucket", CreateBucketConfiguration={"LocationConstraint": aws.region}
    )
    for name, body in CODE.items():
        s3.put_object(Bucket="ground-bucket", Key=f"{name}.zip", Body=body)
    streams = admin.client("kinesis")
    streams.create_stream(StreamName="ground-stream", ShardCount=1)
    streams.get_waiter("stream_exists").wait(StreamName="ground-stream")
    for name in ("queue", "queue-two"):
        url = sqs.create_queue(QueueName=f"ground-{name}")["QueueUrl"]
        ground[name] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]
    admin.client("glue").create_database(DatabaseInput={"Name": "ground_db"})
    admin.client("dynamodb").create_table(
        TableName="ground-table",
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    for name in ("key", "key-two"):
        made = admin.client("kms").create_key(Policy=json.dumps(key_policy(aws.region)))
        ground[name] = made["KeyMetadata"]["Arn"]
    for name in ("function", "function-two"):
        made = admin.client("lambda").create_function(
            FunctionName=f"ground-{name}",
            Runtime="python3.11",
            Handler="handler.handler",
            Role=ground["role"],
            Code={"S3Bucket": "ground-bucket", "S3Key": "one.zip"},
        )
        ground[name] = made["FunctionArn"]
    ground |= _network(admin, aws.region)
    ground |= _warehouse(admin)
    _mails(admin)
    # What AWS has from the start, and the local AWS makes at its first use.
    admin.client("events").list_rules()
    admin.client("scheduler").list_schedules()
    while f"{WAREHOUSE}.{DATABASE}.schemas" not in aws.world():
        time.sleep(0.02)
    return ground


def _mails(admin: EndpointSession) -> None:
    """A rule set of others, active, and a bucket that SES may write to."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "ses.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::ground-bucket/mails/*",
    }
    admin.client("s3").put_bucket_policy(
        Bucket="ground-bucket",
        Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    ses = admin.client("ses")
    ses.verify_domain_dkim(Domain="ground.example")
    ses.create_receipt_rule_set(RuleSetName="ground-mails")
    ses.set_active_receipt_rule_set(RuleSetName="ground-mails")
    action = {"S3Action": {"BucketName": "ground-bucket", "ObjectKeyPrefix": "mails/"}}
    rule = {"Name": "ground-rule", "Recipients": ["a@ground.example"], "Actions": [action]}
    ses.create_receipt_rule(RuleSetName="ground-mails", Rule=rule)


def _network(admin: EndpointSession, region: str) -> Ground:
    ec2 = admin.client("ec2")
    found: Ground = {"vpc": ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]}
    for name, zone in (("subnet", "a"), ("subnet-two", "b")):
        found[name] = ec2.create_subnet(
            VpcId=found["vpc"],
            CidrBlock=f"10.0.{ord(zone)}.0/24",
            AvailabilityZone=f"{region}{zone}",
        )["Subnet"]["SubnetId"]
    group = ec2.create_security_group(
        GroupName="ground-group", Description="the ground's", VpcId=found["vpc"]
    )
    return {**found, "group": group["GroupId"]}


def _rules(*ports: int) -> list[Properties]:
    return [
        {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "Source": "10.0.0.0/8"}
        for port in ports
    ]


def _group(g: Ground, vpc: str, *ports: int) -> Properties:
    return {
        "VpcId": g[vpc],
        "Description": "a sample",
        "IpPermissions": _rules(*ports),
        "IpPermissionsEgress": _rules(443),
    }


def _endpoint(g: Ground, *subnets: str, service: str = "kms") -> Properties:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
    return {
        "VpcId": g["vpc"],
        "ServiceName": f"com.amazonaws.{g['region']}.{service}",
        "VpcEndpointType": "Interface",
        "SubnetIds": [g[name] for name in subnets],
        "SecurityGroupIds": [g["group"]],
        "PrivateDnsEnabled": False,
        "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]},
    }


def _connection(g: Ground, note: str) -> Properties:
    return {
        "ConnectionType": "NETWORK",
        "Description": note,
        "ConnectionProperties": {},
        "PhysicalConnectionRequirements": {
            "SubnetId": g["subnet"],
            "SecurityGroupIdList": [g["group"]],
            "AvailabilityZone": f"{g['region']}a",
        },
    }


def _warehouse(admin: EndpointSession) -> Ground:
    login = {"username": "admin", "password": "Weir-tests-1"}
    secrets = admin.client("secretsmanager")
    secret = secrets.create_secret(Name="ground-admin", SecretString=json.dumps(login))["ARN"]
    serverless = admin.client("redshift-serverless")
    serverless.create_namespace(
        namespaceName=WAREHOUSE,
        adminUsername=login["username"],
        adminUserPassword=login["password"],
        dbName=DATABASE,
    )
    serverless.create_workgroup(workgroupName=WAREHOUSE, namespaceName=WAREHOUSE)
    place = f"serverless:{WAREHOUSE}|{DATABASE}|{secret}|"
    data = admin.client("redshift-data")
    for sql in ('CREATE SCHEMA "ground"',):
        data.execute_statement(
            WorkgroupName=WAREHOUSE, Database=DATABASE, SecretArn=secret, Sql=sql
        )
    return {"secret": secret, "warehouse": place}


@dataclass(frozen=True)
class Sample:
    """A kind's resource.

    :param kind: the adapter's
    :param name: its physical name, with ``{s}`` for what is this run's own
    :param create: its properties at first
    :param change: its properties after an edit; None for what is never changed
    :param replace: properties that AWS can't change to, so that it is replaced; None where it is not
    :param tagged: whether AWS keeps tags for it
    :param external: looked at, never made
    """

    kind: str
    name: str
    create: Callable[[Ground, str], Properties]
    change: Callable[[Ground, str], Properties] | None = None
    replace: Callable[[Ground, str], Properties] | None = None
    tagged: bool = True
    external: bool = False

    def stages(self) -> list[str]:
        """Which edits there are."""
        found = {"change": self.change, "replace": self.replace}
        return [name for name, properties in found.items() if properties is not None]

    def resource(self, ground: Ground, suffix: str, stage: str) -> Resource:
        """The resource that is wanted in a stage: ``create``, ``change`` or ``replace``."""
        properties = {"create": self.create, "change": self.change, "replace": self.replace}[stage]
        assert properties is not None
        name = self.name.format(s=suffix, **{k.replace("-", "_"): v for k, v in ground.items()})
        return Resource(
            self.kind,
            "sample",
            name,
            properties(ground, suffix),
            tagged=self.tagged,
            external=self.external,
        )


def _bucket(g: Ground, s: str, key: str, days: int, versioning: bool, note: str) -> Properties:
    return {
        "Encryption": {"KmsKeyArn": g[key]},
        "Versioning": versioning,
        "PublicAccessBlock": True,
        "EventBridge": versioning,
        "Policy": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": f"weir-{note}",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:PutObject",
                    "Resource": f"arn:aws:s3:::weir-{s}/{note}/*",
                }
            ],
        },
        "LifecycleRules": [
            {
                "ID": "weir-uploads",
                "Status": "Enabled",
                "Filter": {},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
            }
        ],
    }


def _object(g: Ground, body: str) -> Properties:
    return {
        "Body": body,
        "ContentType": "application/json",
        "Sha256": hashlib.sha256(body.encode()).hexdigest(),
        "KmsKeyArn": g["key"],
    }


def _table(g: Ground, key: str, changed: bool) -> Properties:
    return {
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "SSEKmsKeyArn": g[key],
        "TtlAttribute": "expires",
        "PointInTimeRecovery": not changed,
        "DeletionProtection": not changed,
    }


def _role(g: Ground, s: str, changed: bool) -> Properties:
    policies = {"logs": allow("logs:PutLogEvents"), "data": allow("s3:GetObject")}
    if changed:
        policies = {"logs": allow("logs:CreateLogStream"), "more": allow("sqs:SendMessage")}
    return {
        "Path": "/weir/faults/",
        "Description": "changed" if changed else "runs the case",
        "AssumeRolePolicyDocument": trust("states" if changed else "lambda"),
        "Policies": policies,
        "PermissionsBoundary": g["managed" if changed else "boundary"],
        "ManagedPolicyArns": [g["managed-two" if changed else "managed"]],
        "Tags": {"RedshiftDbRoles": f"weir_{s}"},
    }


def _function(g: Ground, s: str, code: str, changed: bool) -> Properties:
    return {
        "Runtime": "python3.11",
        "Handler": "handler.handler",
        "Role": g["role-two" if changed else "role"],
        "Code": {"S3Bucket": "ground-bucket", "S3Key": f"{code}.zip"},
        "CodeSha256": code_hash(code),
        "Timeout": 90 if changed else 60,
        "MemorySize": 512 if changed else 256,
        "Architectures": ["x86_64"],
        "Environment": {"Variables": {"WEIR_CONFIG": f"s3://a/{code}"}},
        "KMSKeyArn": g["key"],
        "LoggingConfig": {"LogGroup": f"/aws/lambda/weir-{s}"},
        "ReservedConcurrentExecutions": 3 if changed else 2,
    }


def _permission(organization: str) -> Properties:
    return {
        "Action": "lambda:InvokeFunction",
        "Principal": "workmail.eu-west-1.amazonaws.com",
        "SourceArn": f"arn:aws:workmail:eu-west-1:{ACCOUNT}:organization/{organization}",
    }


def _kinesis_mapping(g: Ground, s: str, changed: bool, replaced: bool = False) -> Properties:
    return {
        "FunctionName": "ground-function",
        "EventSourceArn": f"arn:aws:kinesis:{g['region']}:{ACCOUNT}:stream/ground-mapped-{s}",
        "BatchSize": 500 if changed else 100,
        "BisectBatchOnFunctionError": True,
        "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::ground-bucket"}},
        "Enabled": not changed,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "MaximumBatchingWindowInSeconds": 5,
        "MaximumRecordAgeInSeconds": 3600 if changed else -1,
        "MaximumRetryAttempts": 3,
        "ParallelizationFactor": 1,
        "StartingPosition": "LATEST" if replaced else "TRIM_HORIZON",
    }


def _stream(g: Ground, key: str, changed: bool) -> Properties:
    return {
        "StreamModeDetails": {"StreamMode": "PROVISIONED"},
        "ShardCount": 4 if changed else 2,
        "RetentionPeriodHours": 48 if changed else 24,
        "KmsKeyArn": g[key],
    }


def _queue(g: Ground, s: str, dead: str, changed: bool) -> Properties:
    return {
        "VisibilityTimeout": 240 if changed else 120,
        "MessageRetentionPeriod": 1_209_600,
        "KmsMasterKeyId": g["key-two" if changed else "key"],
        "RedrivePolicy": {"deadLetterTargetArn": g[dead], "maxReceiveCount": 5},
        "Policy": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "changed" if changed else "events",
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": ["sqs:SendMessage"],
                    "Resource": f"arn:aws:sqs:{g['region']}:{ACCOUNT}:weir-{s}",
                }
            ],
        },
    }


def _rule(g: Ground, bucket: str, targets: list[tuple[str, str]]) -> Properties:
    return {
        "EventPattern": {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {"bucket": {"name": [bucket]}},
        },
        "State": "ENABLED" if len(targets) == 1 else "DISABLED",
        "Targets": [{"Id": name, "Arn": g[arn]} for name, arn in targets],
    }


def _schedule(g: Ground, rate: str, role: str) -> Properties:
    return {
        "ScheduleExpression": rate,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": g["function"],
            "RoleArn": g[role],
            "Input": {"sweep": rate},
            "RetryPolicy": {"MaximumRetryAttempts": 0},
        },
        "State": "DISABLED",
    }


def _machine(g: Ground, note: str, role: str, kind: str = "STANDARD") -> Properties:
    return {
        "definition": {
            "Comment": note,
            "StartAt": "Only",
            "States": {"Only": {"Type": "Pass", "End": True}},
        },
        "roleArn": g[role],
        "type": kind,
        "loggingConfiguration": {"level": "OFF"},
    }


def _glue_table(*columns: str, day: str = "string") -> Properties:
    parquet = "org.apache.hadoop.hive.ql.io.parquet"
    return {
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"classification": "parquet"},
        "PartitionKeys": [{"Name": "day", "Type": day}],
        "StorageDescriptor": {
            "Columns": [{"Name": name, "Type": "string"} for name in columns],
            "Location": "s3://ground-bucket/orders/",
            "InputFormat": f"{parquet}.MapredParquetInputFormat",
            "OutputFormat": f"{parquet}.MapredParquetOutputFormat",
            "SerdeInfo": {"SerializationLibrary": f"{parquet}.serde.ParquetHiveSerDe"},
        },
    }


def _crawler(g: Ground, role: str, folder: str) -> Properties:
    return {
        "Role": g[role],
        "DatabaseName": "ground_db",
        "Targets": {"S3Targets": [{"Path": f"s3://ground-bucket/{folder}"}]},
        "TablePrefix": "crawled__",
        "SchemaChangePolicy": {"UpdateBehavior": "UPDATE_IN_DATABASE", "DeleteBehavior": "LOG"},
        "Configuration": {"Version": 1.0, "Grouping": {"TableLevelConfiguration": 2}},
    }


def _job(g: Ground, role: str, workers: int) -> Properties:
    return {
        "Role": g[role],
        "Command": {
            "Name": "glueetl",
            "ScriptLocation": "s3://ground-bucket/process.py",
            "PythonVersion": "3",
        },
        "GlueVersion": "5.0",
        "DefaultArguments": {"--job-language": "python", "--workers": str(workers)},
        "WorkerType": "G.1X",
        "NumberOfWorkers": workers,
        "Timeout": 60,
        "MaxRetries": 0,
        "ExecutionProperty": {"MaxConcurrentRuns": 3},
        "ExecutionClass": "FLEX",
    }


def _alarm(g: Ground, threshold: int) -> Properties:
    return {
        "AlarmDescription": "ingestion fails",
        "Namespace": "AWS/States",
        "MetricName": "ExecutionsFailed",
        "Dimensions": [{"Name": "StateMachineArn", "Value": "arn:x"}],
        "Statistic": "Sum",
        "Period": 300,
        "EvaluationPeriods": 1,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": [f"arn:aws:sns:{g['region']}:{ACCOUNT}:weir"],
    }


def _dashboard(text: str) -> Properties:
    widget = {"type": "text", "width": 6, "height": 3, "properties": {"markdown": text}}
    return {"DashboardBody": {"widgets": [widget]}}


def _schema(s: str, *privileges: str, users: bool) -> Properties:
    more = {"Users": {f"weir_{s}_loader": [f"weir_{s}"]}} if users else {}
    return {"Roles": {f"weir_{s}": list(privileges)}, **more}


def _orders(s: str, note: str, *more: tuple[str, str]) -> Properties:
    columns = [
        {"name": "id", "type": "BIGINT", "nullable": False},
        {"name": "customerName", "type": note, "nullable": True},
        *({"name": name, "type": kind, "nullable": True} for name, kind in more),
    ]
    lines = [
        f'"{one["name"].lower()}" {one["type"]}{"" if one["nullable"] else " NOT NULL"}'
        for one in columns
    ]
    ddl = (
        f'CREATE TABLE IF NOT EXISTS "ground"."orders_{s}" ({", ".join(lines)}, '
        '"_weir_run" VARCHAR(128), "_weir_sequence" BIGINT) DISTSTYLE KEY DISTKEY ("id") '
        'SORTKEY ("id")'
    )
    return {"Columns": columns, "DistKey": "id", "SortKey": ["id"], "Ddl": ddl}


def _receipt_rule(s: str, tls: str) -> Properties:
    return {
        "Recipients": [f"{s}@ground.example"],
        "Enabled": True,
        "ScanEnabled": True,
        "TlsPolicy": tls,
        "Actions": [{"S3Action": {"BucketName": "ground-bucket", "ObjectKeyPrefix": "mails/"}}],
    }


SAMPLES = (
    Sample(
        "kms.Key",
        "alias/weir-{s}",
        lambda g, s: {
            "Description": "the platform's",
            "KeyPolicy": key_policy(g["region"]),
            "EnableKeyRotation": True,
        },
        lambda g, s: {
            "Description": "changed",
            "KeyPolicy": key_policy(g["region"], "events.amazonaws.com"),
            "EnableKeyRotation": False,
        },
    ),
    Sample(
        "s3.Bucket",
        "weir-{s}",
        lambda g, s: _bucket(g, s, "key", 7, True, "one"),
        lambda g, s: _bucket(g, s, "key-two", 3, False, "two"),
    ),
    Sample(
        "s3.Object",
        "s3://ground-bucket/config/{s}.json",
        lambda g, s: _object(g, '{"name": "orders"}'),
        lambda g, s: _object(g, '{"name": "changed"}'),
        tagged=False,
    ),
    Sample("s3.Claim", "s3://ground-bucket/config/claim-{s}.json", lambda g, s: {}),
    Sample(
        "dynamodb.Table",
        "weir-{s}",
        lambda g, s: _table(g, "key", False),
        lambda g, s: _table(g, "key-two", True),
    ),
    Sample(
        "dynamodb.Item",
        "ground-table|SOURCE#team/{s}|SUBSCRIBER#team/{s}",
        lambda g, s: {"Item": {"stateMachineArn": "arn:x", "minIntervalSeconds": 300, "on": True}},
        lambda g, s: {"Item": {"stateMachineArn": "arn:y", "minIntervalSeconds": 60, "on": False}},
        tagged=False,
    ),
    Sample(
        "iam.Role",
        "weir-{s}",
        lambda g, s: _role(g, s, False),
        lambda g, s: _role(g, s, True),
        lambda g, s: {**_role(g, s, False), "Path": "/weir/moved/"},
    ),
    Sample(
        "lambda.Function",
        "weir-{s}",
        lambda g, s: _function(g, s, "one", False),
        lambda g, s: _function(g, s, "two", True),
    ),
    Sample(
        "lambda.EventSourceMapping",
        "ground-function|arn:aws:kinesis:{region}:" + ACCOUNT + ":stream/ground-mapped-{s}",
        lambda g, s: _kinesis_mapping(g, s, False),
        lambda g, s: _kinesis_mapping(g, s, True),
        lambda g, s: _kinesis_mapping(g, s, True, True),
    ),
    Sample(
        "lambda.Permission",
        "ground-function|Allow{s}",
        lambda g, s: _permission("m-" + "0a" * 16),
        lambda g, s: _permission("m-" + "0b" * 16),
        tagged=False,
    ),
    Sample(
        "kinesis.Stream",
        "weir-{s}",
        lambda g, s: _stream(g, "key", False),
        lambda g, s: _stream(g, "key-two", True),
    ),
    Sample(
        "kinesis.Consumer",
        "arn:aws:kinesis:{region}:" + ACCOUNT + ":stream/ground-stream|weir-{s}",
        lambda g, s: {},
    ),
    Sample(
        "logs.LogGroup",
        "/aws/lambda/weir-{s}",
        lambda g, s: {"RetentionInDays": 30, "KmsKeyId": g["key"]},
        lambda g, s: {"RetentionInDays": 14, "KmsKeyId": g["key-two"]},
    ),
    Sample(
        "sns.Topic",
        "weir-{s}",
        lambda g, s: {
            "KmsMasterKeyId": g["key"],
            "Subscriptions": [
                {"Protocol": "sqs", "Endpoint": g["queue"]},
                {"Protocol": "email", "Endpoint": "one@example.com"},
            ],
        },
        lambda g, s: {
            "KmsMasterKeyId": g["key-two"],
            "Subscriptions": [
                {"Protocol": "sqs", "Endpoint": g["queue-two"]},
                {"Protocol": "sqs", "Endpoint": g["queue"]},
            ],
        },
    ),
    Sample(
        "sqs.Queue",
        "weir-{s}",
        lambda g, s: _queue(g, s, "queue", False),
        lambda g, s: _queue(g, s, "queue-two", True),
    ),
    Sample(
        "events.Rule",
        "weir-{s}",
        lambda g, s: _rule(g, "raw", [("queue", "queue")]),
        lambda g, s: _rule(g, "more", [("two", "queue-two"), ("three", "queue")]),
    ),
    Sample(
        "scheduler.Schedule",
        "weir-{s}",
        lambda g, s: _schedule(g, "rate(5 minutes)", "role"),
        lambda g, s: _schedule(g, "rate(1 hour)", "role-two"),
        tagged=False,
    ),
    Sample(
        "states.StateMachine",
        "weir-{s}",
        lambda g, s: _machine(g, "one", "role"),
        lambda g, s: _machine(g, "two", "role-two"),
        lambda g, s: _machine(g, "one", "role", "EXPRESS"),
    ),
    Sample(
        "glue.Database",
        "weir_{s}",
        lambda g, s: {"Description": "the team's", "LocationUri": "s3://ground-bucket/db/"},
        lambda g, s: {"Description": "changed", "LocationUri": "s3://ground-bucket/moved/"},
    ),
    Sample(
        "glue.Table",
        "ground_db.{s}",
        lambda g, s: _glue_table("id", "name"),
        lambda g, s: _glue_table("id", "name", "more"),
    ),
    Sample(
        "glue.Job",
        "weir-{s}",
        lambda g, s: _job(g, "role", 2),
        lambda g, s: _job(g, "role-two", 4),
    ),
    Sample(
        "glue.Crawler",
        "weir-{s}",
        lambda g, s: _crawler(g, "role", "one/"),
        lambda g, s: _crawler(g, "role-two", "two/"),
    ),
    Sample(
        "cloudwatch.Alarm",
        "weir-{s}",
        lambda g, s: _alarm(g, 1),
        lambda g, s: _alarm(g, 5),
    ),
    Sample(
        "cloudwatch.Dashboard",
        "weir-{s}",
        lambda g, s: _dashboard("hello"),
        lambda g, s: _dashboard("changed"),
        tagged=False,
    ),
    Sample("ec2.Vpc", "{vpc}", lambda g, s: {}, external=True),
    Sample("ec2.Subnets", "{subnet},{subnet_two}", lambda g, s: {}, external=True),
    Sample(
        "ec2.SecurityGroup",
        "weir-{s}",
        lambda g, s: _group(g, "vpc", 443),
        lambda g, s: _group(g, "vpc", 80, 8080),
        lambda g, s: {**_group(g, "vpc", 443), "Description": "another"},
    ),
    Sample(
        "ec2.VpcEndpoint",
        "weir-{s}",
        lambda g, s: _endpoint(g, "subnet"),
        lambda g, s: _endpoint(g, "subnet", "subnet-two"),
        lambda g, s: _endpoint(g, "subnet", service="logs"),
    ),
    Sample(
        "glue.Connection",
        "weir-{s}",
        lambda g, s: _connection(g, "one"),
        lambda g, s: _connection(g, "two"),
    ),
    Sample("redshift.Claim", "{warehouse}weir_owner_{s}.claim", lambda g, s: {}),
    Sample(
        "redshift.Schema",
        "{warehouse}weir_{s}",
        lambda g, s: _schema(s, "USAGE", "CREATE", "SELECT", "INSERT", users=True),
        lambda g, s: _schema(s, "USAGE", "SELECT", users=True),
        tagged=False,
    ),
    Sample(
        "redshift.Table",
        "{warehouse}ground.orders_{s}",
        lambda g, s: _orders(s, "VARCHAR(32)"),
        lambda g, s: _orders(s, "VARCHAR(64)", ("note", "VARCHAR(8)"), ("more", "BIGINT")),
        tagged=False,
    ),
    Sample(
        "ses.ReceiptRule",
        "weir-{s}",
        lambda g, s: _receipt_rule(s, "Optional"),
        lambda g, s: _receipt_rule(s, "Require"),
        tagged=False,
    ),
    Sample("ses.RuleSet", "weir-{s}", lambda g, s: {"Active": True}, tagged=False),
    Sample("ses.Identity", "ground.example", lambda g, s: {}, external=True),
    Sample("redshift.Warehouse", "serverless:" + WAREHOUSE, lambda g, s: {}, external=True),
    Sample("secretsmanager.Secret", "ground-admin", lambda g, s: {}, external=True),
)
BY_KIND = {sample.kind: sample for sample in SAMPLES}


def before(sample: Sample, aws: LocalAws, suffix: str) -> None:
    """Make what one run of a sample needs of its own."""
    if sample.kind == "lambda.EventSourceMapping":
        kinesis = aws.admin_session().client("kinesis")
        kinesis.create_stream(StreamName=f"ground-mapped-{suffix}", ShardCount=1)
        # The waiter's own delay is ten seconds.
        kinesis.get_waiter("stream_exists").wait(
            StreamName=f"ground-mapped-{suffix}", WaiterConfig={"Delay": 0.02, "MaxAttempts": 1500}
        )
    if sample.kind == "ses.RuleSet":
        aws.admin_session().client("ses").set_active_receipt_rule_set()


def after(sample: Sample, aws: LocalAws, suffix: str) -> None:
    """Take away what :func:`before` made."""
    if sample.kind == "lambda.EventSourceMapping":
        aws.admin_session().client("kinesis").delete_stream(StreamName=f"ground-mapped-{suffix}")
    if sample.kind == "ses.RuleSet":
        aws.admin_session().client("ses").set_active_receipt_rule_set(RuleSetName="ground-mails")
