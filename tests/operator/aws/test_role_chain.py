"""A Platform behind a chain of roles: what each role's trust policy asks for gets there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from weir.api.v1alpha1 import Platform
from weir.aws.calls import Calls
from weir.aws.errors import AccessDenied
from weir.aws.session import AwsSession, Target
from weir.reconcile.world import target_of
from weir_local.aws.server import LocalAws

pytestmark = pytest.mark.aws

ACCOUNT = "000000000000"
REGION = "eu-central-1"
PASSING = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]


def make_role(
    admin: AwsSession,
    name: str,
    principal: str,
    permits: dict[str, Any],
    actions: list[str],
    **conditions: str,
) -> str:
    """A role that trusts one principal on conditions; its ARN."""
    iam = Calls(admin, "iam")
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"AWS": principal},
        "Action": actions,
    }
    if conditions:
        statement["Condition"] = {"StringEquals": conditions}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    arn = str(
        iam("CreateRole", RoleName=name, AssumeRolePolicyDocument=json.dumps(document))["Role"][
            "Arn"
        ]
    )
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Resource": "*", **permits}],
    }
    iam("PutRolePolicy", RoleName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
    return arn


def make_chain(admin: AwsSession, name: str, actions: list[str] = PASSING) -> tuple[str, str]:
    """A hub that asks for an external id and the Platform's tag, and a spoke that asks for another
    id and for who is behind it; the spoke lists queues for the team ``data`` alone."""
    hub = make_role(
        admin,
        f"{name}-hub",
        f"arn:aws:iam::{ACCOUNT}:root",
        {"Action": PASSING},
        PASSING,
        **{"sts:ExternalId": "hub-id", "aws:RequestTag/weir.dev/platform": "default"},
    )
    spoke = make_role(
        admin,
        f"{name}-spoke",
        hub,
        {
            "Action": "sqs:ListQueues",
            "Condition": {"StringEquals": {"aws:PrincipalTag/team": "data"}},
        },
        actions,
        **{"sts:ExternalId": "spoke-id", "sts:SourceIdentity": "weir-prod"},
    )
    return hub, spoke


def through(endpoint: str, hub: str, spoke: str, **changed: Any) -> AwsSession:
    """The session of a Platform that goes that way."""
    assume = {
        "roleArn": spoke,
        "externalId": "spoke-id",
        "via": [{"roleArn": hub, "externalId": "hub-id"}],
        "sessionTags": {"team": "data"},
        "platformTag": True,
        "sourceIdentity": "weir-prod",
    }
    platform = Platform.model_validate(
        {
            "metadata": {"name": "default"},
            "spec": {
                "region": REGION,
                "accountId": ACCOUNT,
                "endpointUrl": endpoint,
                "assumeRole": {**assume, **changed},
            },
        }
    )
    return AwsSession(target_of(platform))


def test_what_is_passed_to_the_first_role_stays_for_the_last(
    adapters_aws: LocalAws, session: AwsSession
) -> None:
    hub, spoke = make_chain(session, "whole")
    assumed = through(adapters_aws.endpoint, hub, spoke)
    Calls(assumed, "sqs")("ListQueues")
    assert Calls(assumed, "sts")("GetCallerIdentity")["Arn"].endswith("whole-spoke/weir-default")
    assert assumed.verify_account() == ACCOUNT


@pytest.mark.parametrize(
    "changed",
    [
        {"externalId": "not-the-id"},
        {"via": []},
        {"platformTag": False},
        {"sourceIdentity": None},
        {"sourceIdentity": "somebody-else"},
        {"sessionTags": {"team": "others"}},
    ],
    ids=lambda changed: ",".join(changed),
)
def test_a_role_that_misses_what_it_asks_for_is_not_assumed(
    adapters_aws: LocalAws, session: AwsSession, changed: dict[str, Any]
) -> None:
    name = f"miss-{abs(hash(json.dumps(changed))) % 10**8}"
    hub, spoke = make_chain(session, name)
    with pytest.raises(AccessDenied):
        Calls(through(adapters_aws.endpoint, hub, spoke, **changed), "sqs")("ListQueues")


@pytest.mark.parametrize("left_out", ["sts:TagSession", "sts:SetSourceIdentity"])
def test_each_role_of_the_chain_must_let_pass_what_stays(
    adapters_aws: LocalAws, session: AwsSession, left_out: str
) -> None:
    passing = [action for action in PASSING if action != left_out]
    hub, spoke = make_chain(session, f"without-{left_out.partition(':')[2]}", passing)
    with pytest.raises(AccessDenied) as denied:
        Calls(through(adapters_aws.endpoint, hub, spoke), "sqs")("ListQueues")
    assert (denied.value.action, denied.value.target) == (left_out, spoke)


@pytest.mark.parametrize(("lifetime", "renewed"), [(3600, False), (900, True)])
def test_credentials_of_a_chain_are_renewed_in_the_last_quarter_of_an_hour(
    adapters_aws: LocalAws,
    session: AwsSession,
    monkeypatch: pytest.MonkeyPatch,
    lifetime: int,
    renewed: bool,
) -> None:
    monkeypatch.setattr("weir.aws.session.SESSION_SECONDS", lifetime)
    hub, spoke = make_chain(session, f"lives-{lifetime}")
    client = through(adapters_aws.endpoint, hub, spoke).client("sqs")
    used: list[str] = []
    client.meta.events.register(
        "before-send.sqs",
        lambda request, **_: used.append(str(request.headers["Authorization"]).split("/")[0]),
    )
    client.list_queues()
    client.list_queues()
    assert (used[0] != used[1]) is renewed


def test_the_roles_of_a_chain_are_where_they_lead() -> None:
    """Without AWS: the target alone says so."""
    target = through(
        "http://127.0.0.1:9", f"arn:aws:iam::{ACCOUNT}:role/a", f"arn:aws:iam::{ACCOUNT}:role/b"
    ).target
    assert isinstance(target, Target)
    hub, spoke = target.roles
    assert (hub.tags, spoke.tags) == ((("team", "data"), ("weir.dev/platform", "default")), ())
    assert (hub.source_identity, spoke.source_identity) == ("weir-prod", "")
    assert hub.session_name == spoke.session_name == "weir-default"
