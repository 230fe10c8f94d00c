"""What others change on AWS is put right, with an event that names what had changed."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest

from e2e.running import Object, Running, condition, is_ready, named, until

pytestmark = pytest.mark.e2e

DRIFT_SECONDS = 20
SLACK_SECONDS = 30
ECHO_SECONDS = 10
"""For so long after its own write the operator takes a difference for AWS's delay, and tells nothing."""
NAME = "orders"


@pytest.fixture(scope="module")
def watched(running: Running, orders: Object) -> Object:
    """A source that was made long enough ago."""
    source = running.wait("dsrc", NAME, is_ready)
    made = datetime.fromisoformat(condition(source, "Ready")["lastTransitionTime"])
    age = (datetime.now(UTC) - made).total_seconds()
    time.sleep(max(0.0, ECHO_SECONDS + 2 - age))
    return source


def corrected(running: Running) -> list[str]:
    return named(running.events("DataSource", NAME), "DriftCorrected")


def test_a_deleted_function_is_created_again(running: Running, watched: Object) -> None:
    name = running.resource("dsrc", NAME, "ingest")["name"]
    functions = running.aws("lambda")
    functions.delete_function(FunctionName=name)
    running.look_again("dsrc", NAME)
    assert functions.get_function(FunctionName=name)["Configuration"]["FunctionName"] == name
    assert any(name in note and "created again" in note for note in corrected(running))
    assert is_ready(running.get("dsrc", NAME))


def test_a_role_that_was_given_more_loses_it(running: Running, watched: Object) -> None:
    role = running.resource("dsrc", NAME, "ingest-role")["name"]
    iam = running.aws("iam")
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    before = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    everything = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
    }
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(everything))
    iam.put_role_policy(
        RoleName=role, PolicyName="added-by-hand", PolicyDocument=json.dumps(everything)
    )
    running.look_again("dsrc", NAME)
    assert iam.list_role_policies(RoleName=role)["PolicyNames"] == [policy]
    assert iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"] == before
    (note,) = [note for note in corrected(running) if note.startswith(f"iam.Role {role} ")]
    assert "Policies.added-by-hand" in note and "Policies.weir" in note


def test_an_edited_state_machine_is_put_right_within_the_drift_interval(
    running: Running, watched: Object
) -> None:
    arn = running.resource("dsrc", NAME, "machine")["arn"]
    steps = running.aws("stepfunctions")
    before = json.loads(steps.describe_state_machine(stateMachineArn=arn)["definition"])
    edited = {"StartAt": "Nothing", "States": {"Nothing": {"Type": "Succeed"}}}
    steps.update_state_machine(stateMachineArn=arn, definition=json.dumps(edited))
    began = time.monotonic()

    def is_right() -> bool:
        found = steps.describe_state_machine(stateMachineArn=arn)["definition"]
        return bool(json.loads(found) == before)

    until(is_right, "the definition is still the edited one", DRIFT_SECONDS + SLACK_SECONDS)
    assert time.monotonic() - began < DRIFT_SECONDS + SLACK_SECONDS
    until(
        lambda: any(arn.rpartition(":")[2] in note and "definition" in note
                    for note in corrected(running)),
        "no event names the definition",
    )  # fmt: skip


def test_nothing_is_called_drift_that_nobody_changed(running: Running, watched: Object) -> None:
    for kind in ("plat", "pipe", "dsrc"):
        for obj in running.all(kind):
            name = obj["metadata"]["name"]
            if (kind, name) != ("dsrc", NAME):
                notes = named(running.events(obj["kind"], name), "DriftCorrected")
                assert notes == [], f"{kind} {name}"
