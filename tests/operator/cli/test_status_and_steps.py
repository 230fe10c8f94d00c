"""What ``weir status`` and ``weir run`` show, of real objects and real executions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from weir.cli import app
from weir.cli.steps import Executions
from weir_local.aws.server import LocalAws


def executed(aws: LocalAws, states: dict[str, object], start: str) -> str:
    """The ARN of an execution that has ended."""
    session = aws.admin_session()
    machines, iam = session.client("stepfunctions"), session.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}}
    document = {"Version": "2012-10-17", "Statement": [{**trust, "Action": "sts:AssumeRole"}]}
    name = f"steps-{time.monotonic_ns()}"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))["Role"]
    machine = machines.create_state_machine(
        name=name,
        definition=json.dumps({"StartAt": start, "States": states}),
        roleArn=role["Arn"],
    )["stateMachineArn"]
    arn = str(machines.start_execution(stateMachineArn=machine)["executionArn"])
    deadline = time.monotonic() + 120
    while machines.describe_execution(executionArn=arn)["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return arn


@pytest.mark.aws
def test_steps_are_those_of_the_execution(plan_aws: LocalAws) -> None:
    arn = executed(
        plan_aws,
        {
            "Begin": {"Type": "Pass", "Next": "Process"},
            "Process": {"Type": "Pass", "Next": "Broken"},
            "Broken": {"Type": "Fail", "Error": "E", "Cause": "c"},
        },
        "Begin",
    )
    spec = {"region": plan_aws.region, "endpointUrl": plan_aws.endpoint}
    steps = Executions({"spec": spec}).steps([arn])
    assert [(step.name, step.state) for step in steps] == [
        ("Begin", "Done"),
        ("Process", "Done"),
        ("Broken", "Failed"),
    ]


@pytest.mark.cluster
@pytest.mark.aws
def test_status_of_one_object_shows_conditions_and_arns(desk, platform) -> None:
    desk.apply(platform)
    result = desk.weir("status", "planned")
    assert result.exit_code == 0, result.output
    assert "Platform planned" in result.stdout
    assert "Account" in result.stdout and "000000000000" in result.stdout
    assert "everything is as the spec says" in result.stdout
    assert "arn:aws:iam::000000000000:role/weir/desk/" in result.stdout
    assert ":secret:" in result.stdout
    found = json.loads(desk.weir("status", "planned", "-o", "json").stdout)
    assert found[0]["status"]["accountId"] == "000000000000"
    missing = desk.weir("status", "nobody")
    assert missing.exit_code == 1 and "nothing is named nobody" in missing.stderr


def test_kubectl_finds_the_command_as_a_plugin() -> None:
    program = shutil.which("kubectl-weir", path=str(Path(sys.executable).parent))
    assert program is not None
    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    for command in ("validate", "plan", "convert", "query", "status", "run", "local"):
        assert command in shown.stdout


def test_a_cluster_that_is_not_there_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "gone",
        "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "me"}}],
        "clusters": [{"name": "gone", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "me", "user": {}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(gone))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    for command in (["status"], ["run", "x"], ["query", "select 1"]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 1
        assert "error: the cluster at http://127.0.0.1:9 does not answer" in result.stderr
