"""What is encrypted with a customer's key needs the key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_makers import allow, eventually, make_role, policy, refused, unique

from weir_local.aws.server import EndpointSession, LocalAws


@pytest.fixture(scope="module")
def key(admin: EndpointSession) -> str:
    """The ARN of a customer's key whose policy leaves it to IAM."""
    return str(admin.client("kms").create_key()["KeyMetadata"]["Arn"])


@pytest.fixture(scope="module")
def bucket(admin: EndpointSession, key: str) -> str:
    """A bucket that encrypts with the key."""
    name = unique("bucket")
    s3 = admin.client("s3")
    s3.create_bucket(Bucket=name)
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        Bucket=name,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]
        },
    )
    s3.put_object(Bucket=name, Key="object", Body=b"content")
    return name


def made(admin: EndpointSession, key: str) -> dict[str, Any]:
    """One encrypted thing of each service."""
    name = unique("kept")
    secret = admin.client("secretsmanager").create_secret(
        Name=name, SecretString="value", KmsKeyId=key
    )
    queue = admin.client("sqs").create_queue(QueueName=name, Attributes={"KmsMasterKeyId": key})
    topic = admin.client("sns").create_topic(Name=name, Attributes={"KmsMasterKeyId": key})
    admin.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key},
    )
    item = {"pk": {"S": "1"}}
    return {
        "secretsmanager": ("get_secret_value", {"SecretId": secret["ARN"]}),
        "sqs": ("send_message", {"QueueUrl": queue["QueueUrl"], "MessageBody": "text"}),
        "sns": ("publish", {"TopicArn": topic["TopicArn"], "Message": "text"}),
        "dynamodb": ("put_item", {"TableName": name, "Item": item}),
    }


@pytest.mark.parametrize(
    ("service", "needed"),
    [
        ("secretsmanager", ["kms:Decrypt"]),
        ("sqs", ["kms:GenerateDataKey", "kms:Decrypt"]),
        ("sns", ["kms:GenerateDataKey", "kms:Decrypt"]),
        ("dynamodb", ["kms:Decrypt"]),
    ],
)
def test_an_encrypted_resource_needs_each_use_of_its_key(
    aws: LocalAws, admin: EndpointSession, key: str, service: str, needed: list[str]
) -> None:
    operation, arguments = made(admin, key)[service]

    def call(*actions: str) -> Any:
        document = policy(allow(f"{service}:*"), *(allow(action, key) for action in actions))
        return getattr(aws.session(aws.principal(document)).client(service), operation)

    for missing in needed:
        rest = [action for action in needed if action != missing]
        message = refused(call(*rest), **arguments)
        assert f"is not authorized to perform: {missing} on resource: {key}" in message
    call(*needed)(**arguments)


def test_writing_and_reading_an_object_need_the_buckets_key(
    aws: LocalAws, bucket: str, key: str
) -> None:
    def s3(*actions: str) -> Any:
        document = policy(allow("s3:*"), *(allow(action, key) for action in actions))
        return aws.session(aws.principal(document)).client("s3")

    put = {"Bucket": bucket, "Key": "other", "Body": b"x"}
    get = {"Bucket": bucket, "Key": "object"}
    assert f"kms:GenerateDataKey on resource: {key}" in refused(s3().put_object, **put)
    assert f"kms:Decrypt on resource: {key}" in refused(s3().get_object, **get)
    copy = {"Bucket": bucket, "Key": "copy", "CopySource": f"{bucket}/object"}
    assert "kms:Decrypt" in refused(s3("kms:GenerateDataKey").copy_object, **copy)
    both = s3("kms:GenerateDataKey", "kms:Decrypt")
    both.put_object(**put)
    assert both.get_object(**get)["Body"].read() == b"content"
    both.copy_object(**copy)


def test_with_bucket_keys_the_encryption_context_is_the_buckets_arn(
    aws: LocalAws, bucket: str, key: str
) -> None:
    def read(arn: str) -> Any:
        context = {"StringEquals": {"kms:EncryptionContext:aws:s3:arn": arn}}
        document = policy(allow("s3:*"), allow("kms:Decrypt", key, Condition=context))
        return aws.session(aws.principal(document)).client("s3").get_object

    given = {"Bucket": bucket, "Key": "object"}
    assert "kms:Decrypt" in refused(read(f"arn:aws:s3:::{bucket}/object"), **given)
    read(f"arn:aws:s3:::{bucket}")(**given)


def test_a_key_policy_that_does_not_delegate_keeps_everybody_out(
    aws: LocalAws, admin: EndpointSession
) -> None:
    nobody = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::000000000000:user/nobody"},
        "Action": "kms:*",
        "Resource": "*",
    }
    closed = admin.client("kms").create_key(
        Policy=json.dumps(policy(nobody)), BypassPolicyLockoutSafetyCheck=True
    )["KeyMetadata"]["Arn"]
    operation, arguments = made(admin, closed)["secretsmanager"]
    document = policy(allow(["secretsmanager:*", "kms:*"]))
    client = aws.session(aws.principal(document)).client("secretsmanager")
    assert f"kms:Decrypt on resource: {closed}" in refused(getattr(client, operation), **arguments)


def test_a_log_group_needs_a_key_that_lets_cloudwatch_logs_in(
    admin: EndpointSession, key: str
) -> None:
    group = f"/weir/{unique('group')}"
    logs, kms = admin.client("logs"), admin.client("kms")
    message = refused(logs.create_log_group, logGroupName=group, kmsKeyId=key)
    assert "logs.us-east-1.amazonaws.com" in message
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "logs.us-east-1.amazonaws.com"},
        "Action": ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*"],
        "Resource": "*",
        "Condition": {
            "ArnLike": {"kms:EncryptionContext:aws:logs:arn": "arn:aws:logs:*:*:log-group:/weir/*"}
        },
    }
    open_key = kms.create_key(
        Policy=json.dumps(policy(statement)), BypassPolicyLockoutSafetyCheck=True
    )["KeyMetadata"]["Arn"]
    logs.create_log_group(logGroupName=group, kmsKeyId=open_key)


def test_a_rule_reaches_a_queue_only_by_its_policy_and_key(
    admin: EndpointSession, key: str
) -> None:
    sqs, events, s3, kms = (admin.client(name) for name in ("sqs", "events", "s3", "kms"))
    name = unique("arrivals")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    own = kms.create_key()["KeyMetadata"]["Arn"]
    url = sqs.create_queue(QueueName=name, Attributes={"KmsMasterKeyId": own})["QueueUrl"]
    queue = f"arn:aws:sqs:us-east-1:000000000000:{name}"
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {
            "bucket": {"name": [name]},
            "object": {"key": [{"wildcard": "*/_manifests/_manifest-*.json"}]},
        },
    }
    rule = events.put_rule(Name=name, EventPattern=json.dumps(pattern))["RuleArn"]
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": queue}])

    def arrive(number: int) -> list[Any]:
        s3.put_object(Bucket=name, Key=f"ns/src/_manifests/_manifest-{number}.json", Body=b"{}")
        s3.put_object(Bucket=name, Key=f"ns/src/part-{number}.gz", Body=b"{}")
        found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=10)
        return list(found.get("Messages", []))

    service = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}}
    source = {"Condition": {"ArnEquals": {"aws:SourceArn": rule}}}
    entrance = {**service, "Action": "sqs:SendMessage", "Resource": queue, **source}
    account = {"AWS": "arn:aws:iam::000000000000:root"}
    owner = {"Effect": "Allow", "Principal": account, "Action": "kms:*", "Resource": "*"}
    use = {**service, "Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": "*"}
    assert arrive(1) == []
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy(entrance))})
    assert arrive(2) == []
    kms.put_key_policy(KeyId=own, PolicyName="default", Policy=json.dumps(policy(owner, use)))
    messages = arrive(3)
    assert [json.loads(message["Body"])["detail"]["object"]["key"] for message in messages] == [
        "ns/src/_manifests/_manifest-3.json"
    ]


def test_a_rule_starts_a_machine_only_under_its_role(admin: EndpointSession) -> None:
    sfn, events = admin.client("stepfunctions"), admin.client("events")
    name = unique("started")
    definition = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    machine = sfn.create_state_machine(
        name=name, definition=json.dumps(definition), roleArn=make_role(admin, "states")
    )["stateMachineArn"]
    role = make_role(admin, "events")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    events.put_targets(Rule=name, Targets=[{"Id": "m", "Arn": machine, "RoleArn": role}])
    entry = {"Source": name, "DetailType": "Test", "Detail": "{}"}

    def executions() -> list[Any]:
        return list(sfn.list_executions(stateMachineArn=machine)["executions"])

    events.put_events(Entries=[entry])
    assert executions() == []
    admin.client("iam").put_role_policy(
        RoleName=role.rsplit("/", 1)[-1],
        PolicyName="start",
        PolicyDocument=json.dumps(policy(allow("states:StartExecution", machine))),
    )
    events.put_events(Entries=[entry])
    assert eventually(executions)
