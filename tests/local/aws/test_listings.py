"""Listings of the local AWS: pages of AWS's sizes, and the tags of every service."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aws_makers import allow, archive, make_role, trust, unique

from weir_local.aws.server import EndpointSession

pytestmark = pytest.mark.aws

TAG = {"weir.dev/cluster": "listed"}
PAIRS = [{"Key": key, "Value": text} for key, text in TAG.items()]


def pages(client: Any, operation: str, key: str, **asked: Any) -> list[int]:
    """How many items each page has."""
    return [len(page[key]) for page in client.get_paginator(operation).paginate(**asked)]


def many(make: Callable[[int], Any], count: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(count)))


def test_schedules_come_a_hundred_at_once_and_none_is_lost(admin: EndpointSession) -> None:
    client, prefix = admin.client("scheduler"), unique("listed")
    role = make_role(admin, "scheduler", allow("sqs:SendMessage"))
    target = {"Arn": "arn:aws:sqs:us-east-1:000000000000:none", "RoleArn": role}
    many(
        lambda number: client.create_schedule(
            Name=f"{prefix}-{number:03}",
            ScheduleExpression="rate(1 hour)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target=target,
        ),
        103,
    )
    assert pages(client, "list_schedules", "Schedules", NamePrefix=prefix, MaxResults=100) == [
        100,
        3,
    ]


def test_roles_come_in_the_pages_that_are_asked_for_with_all_they_have(
    admin: EndpointSession,
) -> None:
    client, path = admin.client("iam"), f"/{unique('listed')}/"
    many(
        lambda number: client.create_role(
            RoleName=f"{path.strip('/')}-{number}",
            Path=path,
            AssumeRolePolicyDocument=trust("lambda.amazonaws.com"),
            Tags=PAIRS,
        ),
        7,
    )
    assert pages(client, "list_roles", "Roles", PathPrefix=path, MaxItems=5) == [5, 2]
    sizes = pages(
        client,
        "get_account_authorization_details",
        "RoleDetailList",
        Filter=["Role"],
        MaxItems=5,
    )
    assert set(sizes[:-1]) == {5}
    detailed = [
        role
        for page in client.get_paginator("get_account_authorization_details").paginate(
            Filter=["Role"], MaxItems=5
        )
        for role in page["RoleDetailList"]
        if role["Path"] == path
    ]
    assert len(detailed) == 7
    assert all(role["Tags"] == PAIRS for role in detailed)
    assert detailed[0]["AssumeRolePolicyDocument"] == json.loads(trust("lambda.amazonaws.com"))


def test_the_accounts_details_tell_the_groups_of_a_user(admin: EndpointSession) -> None:
    client, user, group = admin.client("iam"), unique("listed"), unique("listed")
    client.create_user(UserName=user)
    client.create_group(GroupName=group)
    client.add_user_to_group(UserName=user, GroupName=group)
    found = client.get_paginator("get_account_authorization_details").paginate(MaxItems=3)
    pages = list(found)
    users = [one for page in pages for one in page["UserDetailList"] if one["UserName"] == user]
    groups = [one for page in pages for one in page["GroupDetailList"] if one["GroupName"] == group]
    assert [one["GroupList"] for one in users] == [[group]]
    assert len(groups) == 1


def test_functions_come_fifty_at_once_and_without_their_states(admin: EndpointSession) -> None:
    client, role = admin.client("lambda"), make_role(admin, "lambda")
    code = archive(handler="def handler(event, context):\n    return event\n")
    many(
        lambda number: client.create_function(
            FunctionName=unique(f"listed-{number}"),
            Runtime="python3.11",
            Handler="handler.handler",
            Role=role,
            Code={"ZipFile": code},
        ),
        52,
    )
    answer = client.list_functions(MaxItems=500)
    assert len(answer["Functions"]) == 50
    assert answer["NextMarker"]
    assert not {"State", "LastUpdateStatus"} & set(answer["Functions"][0])


def a_log_group(admin: EndpointSession) -> tuple[str, str]:
    name = f"/aws/lambda/{unique('listed')}"
    admin.client("logs").create_log_group(logGroupName=name, tags=TAG)
    return "logs:log-group", f"log-group:{name}"


def a_machine(admin: EndpointSession) -> tuple[str, str]:
    name = unique("listed")
    admin.client("stepfunctions").create_state_machine(
        name=name,
        definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}),
        roleArn=make_role(admin, "states"),
        tags=[{"key": key, "value": text} for key, text in TAG.items()],
    )
    return "states:stateMachine", f"stateMachine:{name}"


def an_alarm(admin: EndpointSession) -> tuple[str, str]:
    name = unique("listed")
    admin.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/States",
        MetricName="ExecutionsFailed",
        Statistic="Sum",
        Period=300,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
        Tags=PAIRS,
    )
    return "cloudwatch:alarm", f"alarm:{name}"


def a_secret(admin: EndpointSession) -> tuple[str, str]:
    name = unique("listed")
    admin.client("secretsmanager").create_secret(Name=name, SecretString="x", Tags=PAIRS)
    return "secretsmanager:secret", f"secret:{name}"


def a_queue(admin: EndpointSession) -> tuple[str, str]:
    name = unique("listed")
    admin.client("sqs").create_queue(QueueName=name, tags=TAG)
    return "sqs", name


@pytest.mark.parametrize("make", [a_log_group, a_machine, an_alarm, a_secret, a_queue])
def test_the_tagging_api_knows_it_by_its_type(
    admin: EndpointSession, make: Callable[[EndpointSession], tuple[str, str]]
) -> None:
    client = admin.client("resourcegroupstaggingapi")
    resource_type, path = make(admin)
    found = client.get_resources(
        ResourceTypeFilters=[resource_type], TagFilters=[{"Key": "weir.dev/cluster"}]
    )["ResourceTagMappingList"]
    mine = [item for item in found if f":{path}" in item["ResourceARN"]]
    assert [item["Tags"] for item in mine] == [PAIRS]
    others = client.get_resources(ResourceTypeFilters=["dynamodb:table"])
    assert not [item for item in others["ResourceTagMappingList"] if path in item["ResourceARN"]]


def test_tags_come_in_pages(admin: EndpointSession) -> None:
    for _ in range(3):
        a_queue(admin)
    client = admin.client("resourcegroupstaggingapi")
    first = client.get_resources(ResourceTypeFilters=["sqs"], ResourcesPerPage=2)
    assert len(first["ResourceTagMappingList"]) == 2
    second = client.get_resources(
        ResourceTypeFilters=["sqs"], ResourcesPerPage=2, PaginationToken=first["PaginationToken"]
    )
    arns = [
        item["ResourceARN"]
        for answer in (first, second)
        for item in answer["ResourceTagMappingList"]
    ]
    assert len(set(arns)) == len(arns) >= 3
