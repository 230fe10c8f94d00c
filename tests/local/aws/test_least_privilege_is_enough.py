"""A policy that names resources as AWS does lets pass what it names, and nothing beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_makers import allow, archive, make_role, policy, refused, trust, unique

from weir_local.aws.server import EndpointSession, LocalAws

HERE = "us-east-1:000000000000"
PASS = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})


def case(admin: EndpointSession, name: str, service: str) -> tuple[str, str, str, str, Any]:
    """boto3's service, operation, action and ARN of one creation with tags, and its arguments."""
    tags = [{"Key": "weir", "Value": "x"}]
    table: dict[str, tuple[str, str, str, str, dict[str, Any]]] = {
        "iam": (
            "create_role",
            "iam:CreateRole",
            "iam:TagRole",
            f"arn:aws:iam::000000000000:role/weir/c/{name}",
            {
                "RoleName": name,
                "Path": "/weir/c/",
                "AssumeRolePolicyDocument": trust("lambda.amazonaws.com"),
                "Tags": tags,
            },
        ),
        "lambda": (
            "create_function",
            "lambda:CreateFunction",
            "lambda:TagResource",
            f"arn:aws:lambda:{HERE}:function:{name}",
            {
                "FunctionName": name,
                "Runtime": "python3.11",
                "Role": make_role(admin, "lambda"),
                "Handler": "main.handler",
                "Code": {"ZipFile": archive(main="def handler(e, c): return 1")},
                "Tags": {"weir": "x"},
            },
        ),
        "stepfunctions": (
            "create_state_machine",
            "states:CreateStateMachine",
            "states:TagResource",
            f"arn:aws:states:{HERE}:stateMachine:{name}",
            {
                "name": name,
                "definition": PASS,
                "roleArn": make_role(admin, "states"),
                "tags": [{"key": "weir", "value": "x"}],
            },
        ),
        "glue": (
            "create_job",
            "glue:CreateJob",
            "glue:TagResource",
            f"arn:aws:glue:{HERE}:job/{name}",
            {
                "Name": name,
                "Role": make_role(admin, "glue"),
                "Command": {"Name": "glueetl", "ScriptLocation": "s3://b/k"},
                "Tags": {"weir": "x"},
            },
        ),
        "events": (
            "put_rule",
            "events:PutRule",
            "events:TagResource",
            f"arn:aws:events:{HERE}:rule/{name}",
            {"Name": name, "EventPattern": '{"source": ["x"]}', "Tags": tags},
        ),
        "logs": (
            "create_log_group",
            "logs:CreateLogGroup",
            "logs:TagResource",
            f"arn:aws:logs:{HERE}:log-group:{name}",
            {"logGroupName": name, "tags": {"weir": "x"}},
        ),
        "cloudwatch": (
            "put_metric_alarm",
            "cloudwatch:PutMetricAlarm",
            "cloudwatch:TagResource",
            f"arn:aws:cloudwatch:{HERE}:alarm:{name}",
            {
                "AlarmName": name,
                "Namespace": "n",
                "MetricName": "m",
                "Statistic": "Sum",
                "Period": 60,
                "EvaluationPeriods": 1,
                "Threshold": 1,
                "ComparisonOperator": "GreaterThanThreshold",
                "Tags": tags,
            },
        ),
    }
    return table[service]


SERVICES = ("iam", "lambda", "stepfunctions", "glue", "events", "logs", "cloudwatch")


@pytest.mark.parametrize("service", SERVICES)
def test_creating_with_tags_needs_both_permissions_on_the_resource_itself(
    aws: LocalAws, admin: EndpointSession, service: str
) -> None:
    operation, create, tag, arn, arguments = case(admin, unique("named"), service)

    def call(*statements: dict[str, Any]) -> Any:
        document = policy(allow("iam:PassRole"), *statements)
        return getattr(aws.session(aws.principal(document)).client(service), operation)

    elsewhere = arn.replace("named", "other")
    assert create in refused(call(allow([create, tag], elsewhere)), **arguments)
    message = refused(call(allow(create, arn)), **arguments)
    assert f"is not authorized to perform: {tag} on resource: {arn}" in message
    call(allow([create, tag], arn))(**arguments)
