"""The small things that the tests of the local AWS make on it."""

from __future__ import annotations

import io
import json
import secrets
import zipfile
from collections.abc import Callable
from typing import Any

import botocore.exceptions
import pytest

from patience import PATIENCE_SECONDS, until
from weir_local.aws.server import EndpointSession


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{secrets.token_hex(4)}"


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    """A policy document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action: str | list[str], resource: str | list[str] = "*", **rest: Any) -> dict[str, Any]:
    """A statement that allows."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **rest}


def trust(service: str, **condition: Any) -> str:
    """A trust policy for a service."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if condition:
        statement["Condition"] = condition
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def make_role(admin: EndpointSession, service: str, *statements: dict[str, Any]) -> str:
    """A role for a service; its ARN."""
    iam = admin.client("iam")
    name = unique("role")
    role = iam.create_role(
        RoleName=name,
        Path="/weir/test/",
        AssumeRolePolicyDocument=trust(f"{service}.amazonaws.com"),
    )["Role"]
    if statements:
        give(admin, role["Arn"], *statements)
    return str(role["Arn"])


def give(admin: EndpointSession, role_arn: str, *statements: dict[str, Any]) -> None:
    """Replace what a role may do."""
    admin.client("iam").put_role_policy(
        RoleName=role_arn.rsplit("/", 1)[-1],
        PolicyName="policy",
        PolicyDocument=json.dumps(policy(*statements)),
    )


def archive(**files: str) -> bytes:
    """A zip file; ``main`` becomes ``main.py``."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as zipped:
        for name, text in files.items():
            zipped.writestr(f"{name}.py", text)
    return content.getvalue()


def make_function(admin: EndpointSession, role: str, code: str, **more: Any) -> str:
    """A Lambda function with one module; its name."""
    name = unique("fn")
    admin.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=role,
        Handler="main.handler",
        Code={"ZipFile": archive(main=code)},
        Timeout=20,
        **more,
    )
    return name


def refused(call: Callable[..., Any], **arguments: Any) -> str:
    """The message of a call that must fail."""
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        call(**arguments)
    return str(failure.value)


def eventually(look: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """What *look* returns as soon as it is true."""
    return until(look, seconds, pause=0.05)


def execute(admin: EndpointSession, role: str, state: dict[str, Any], given: Any = None) -> Any:
    """Run a machine of one task to its end; what DescribeExecution says."""
    sfn = admin.client("stepfunctions")
    definition = {"StartAt": "Only", "States": {"Only": {"Type": "Task", "End": True, **state}}}
    machine = sfn.create_state_machine(
        name=unique("machine"), definition=json.dumps(definition), roleArn=role
    )["stateMachineArn"]
    run = sfn.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))
    arn = run["executionArn"]

    def ended() -> Any:
        described = sfn.describe_execution(executionArn=arn)
        return described if described["status"] != "RUNNING" else None

    return eventually(ended, 90)
