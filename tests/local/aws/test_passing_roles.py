"""iam:PassRole, trust policies, the boundary's condition key and IAM's quotas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_makers import allow, archive, make_role, policy, refused, trust, unique

from weir_local.aws.server import EndpointSession, LocalAws

DEFINITION = json.dumps({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})


def calls(session: EndpointSession, service: str, role: str) -> tuple[Any, dict[str, Any]]:
    """The call of a service that takes a role."""
    name = unique("passed")
    rule = unique("rule")
    machine = "arn:aws:states:us-east-1:000000000000:stateMachine:m"
    table: dict[str, tuple[str, str, dict[str, Any]]] = {
        "lambda": (
            "lambda",
            "create_function",
            {
                "FunctionName": name,
                "Runtime": "python3.11",
                "Role": role,
                "Handler": "main.handler",
                "Code": {"ZipFile": archive(main="def handler(e, c): return 1")},
            },
        ),
        "states": (
            "stepfunctions",
            "create_state_machine",
            {"name": name, "definition": DEFINITION, "roleArn": role},
        ),
        "scheduler": (
            "scheduler",
            "create_schedule",
            {
                "Name": name,
                "ScheduleExpression": "rate(1 day)",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "Target": {"Arn": machine, "RoleArn": role},
            },
        ),
        "glue": (
            "glue",
            "create_job",
            {
                "Name": name,
                "Role": role,
                "Command": {"Name": "glueetl", "ScriptLocation": "s3://b/k"},
            },
        ),
        "events": (
            "events",
            "put_targets",
            {"Rule": rule, "Targets": [{"Id": "t", "Arn": machine, "RoleArn": role}]},
        ),
    }
    boto, operation, arguments = table[service]
    client = session.client(boto)
    if service == "events":
        client.put_rule(Name=rule, EventPattern='{"source": ["weir"]}')
    return getattr(client, operation), arguments


SERVICES = ("lambda", "states", "scheduler", "glue", "events")


@pytest.mark.parametrize("service", SERVICES)
def test_a_role_is_not_handed_over_without_pass_role(
    aws: LocalAws, admin: EndpointSession, service: str
) -> None:
    role = make_role(admin, service)
    session = aws.session(aws.principal(policy(allow(f"{service}:*"))))
    call, arguments = calls(session, service, role)
    message = refused(call, **arguments)
    assert f"is not authorized to perform: iam:PassRole on resource: {role}" in message


@pytest.mark.parametrize("service", SERVICES)
def test_pass_role_counts_for_the_service_that_it_names(
    aws: LocalAws, admin: EndpointSession, service: str
) -> None:
    role = make_role(admin, service)

    def session(passed_to: str) -> EndpointSession:
        condition = {"StringEquals": {"iam:PassedToService": passed_to}}
        document = policy(allow(f"{service}:*"), allow("iam:PassRole", role, Condition=condition))
        return aws.session(aws.principal(document))

    call, arguments = calls(session("ec2.amazonaws.com"), service, role)
    assert "iam:PassRole" in refused(call, **arguments)
    call, arguments = calls(session(f"{service}.amazonaws.com"), service, role)
    call(**arguments)


@pytest.mark.parametrize("service", SERVICES)
def test_a_role_that_trusts_another_service_is_refused(
    admin: EndpointSession, service: str
) -> None:
    role = make_role(admin, "ec2")
    call, arguments = calls(admin, service, role)
    assert "assume" in refused(call, **arguments)


def test_a_trust_policy_for_another_account_is_refused(admin: EndpointSession) -> None:
    foreign = {"StringEquals": {"aws:SourceAccount": "111111111111"}}
    role = admin.client("iam").create_role(
        RoleName=unique("role"),
        AssumeRolePolicyDocument=trust("states.amazonaws.com", **foreign),
    )["Role"]["Arn"]
    call, arguments = calls(admin, "states", role)
    assert "authorized to assume the provided role" in refused(call, **arguments)


def test_a_role_is_made_only_with_the_boundary_that_the_policy_asks_for(
    aws: LocalAws, admin: EndpointSession
) -> None:
    boundary = admin.client("iam").create_policy(
        PolicyName=unique("boundary"), PolicyDocument=json.dumps(policy(allow("s3:*")))
    )["Policy"]["Arn"]
    condition = {"StringEquals": {"iam:PermissionsBoundary": boundary}}
    document = policy(allow(["iam:CreateRole", "iam:PutRolePolicy"], Condition=condition))
    iam = aws.session(aws.principal(document)).client("iam")
    given = {"AssumeRolePolicyDocument": trust("lambda.amazonaws.com")}
    bare = unique("role")
    message = refused(iam.create_role, RoleName=bare, **given)
    assert "is not authorized to perform: iam:CreateRole" in message
    assert bare in message
    bounded = unique("role")
    iam.create_role(RoleName=bounded, PermissionsBoundary=boundary, **given)
    inline = {"PolicyName": "p", "PolicyDocument": json.dumps(policy(allow("s3:*")))}
    iam.put_role_policy(RoleName=bounded, **inline)
    admin.client("iam").create_role(RoleName=bare, **given)
    assert "iam:PutRolePolicy" in refused(iam.put_role_policy, RoleName=bare, **inline)


def test_the_inline_policies_of_a_role_have_a_limit(admin: EndpointSession) -> None:
    role = make_role(admin, "lambda").rsplit("/", 1)[-1]
    large = policy(
        *(allow(f"s3:Action{number:04}", "arn:aws:s3:::bucket/*") for number in range(170))
    )
    message = refused(
        admin.client("iam").put_role_policy,
        RoleName=role,
        PolicyName="large",
        PolicyDocument=json.dumps(large),
    )
    assert "10240" in message


def test_a_denial_names_principal_action_and_resource(aws: LocalAws) -> None:
    session = aws.session(aws.principal(policy(allow("s3:*"))))
    message = refused(session.client("glue").get_database, Name="sales")
    assert "arn:aws:iam::000000000000:user/" in message
    assert "glue:GetDatabase on resource: arn:aws:glue:us-east-1:000000000000:" in message
