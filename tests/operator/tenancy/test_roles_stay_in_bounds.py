"""Every role of every golden blueprint: its path, boundary, trust and reach; what the operator may
pass on; one loader for each namespace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.blueprint import naming, operator_policy

GOLDEN = Path(__file__).parents[1] / "blueprint" / "golden"
ACCOUNT, REGION, CLUSTER = "111122223333", "eu-central-1", "prod"
SOURCE_STATED = {"states", "scheduler", "glue"}
"""Services that state for whom they assume a role (Step Functions, Scheduler and Glue guides,
*Cross-service confused deputy prevention*); Lambda states nothing."""
SERVICES = {*SOURCE_STATED, "lambda"}


def blueprints() -> list[Path]:
    found = sorted(GOLDEN.glob("*.json"))
    assert len(found) >= 4
    return found


def resources(path: Path) -> Iterator[dict[str, Any]]:
    """Every resource of a golden file, whatever its shape."""
    found = json.loads(path.read_text())
    yield from found if isinstance(found, list) else found["resources"]


def roles() -> list[Any]:
    return [
        pytest.param(
            one, id=f"{path.stem}-{one.get('logicalId') or one.get('logical_id') or one['name']}"
        )
        for path in blueprints()
        for one in resources(path)
        if one["kind"] == "iam.Role"
    ]


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def test_there_are_roles_to_look_at() -> None:
    assert len(roles()) >= 8


@pytest.mark.parametrize("role", roles())
def test_it_is_below_the_clusters_path_with_the_boundary(role: dict[str, Any]) -> None:
    wanted = role["properties"]
    assert wanted["Path"] == naming.iam_path(CLUSTER)
    assert wanted["PermissionsBoundary"] == f"arn:aws:iam::{ACCOUNT}:policy/weir-boundary"


@pytest.mark.parametrize("role", roles())
def test_the_boundary_lets_it_do_what_it_is_for(role: dict[str, Any]) -> None:
    (bounds,) = operator_policy.boundary()["Statement"]
    for policy in role["properties"].get("Policies", {}).values():
        for statement in policy["Statement"]:
            for action in listed(statement["Action"]):
                assert any(fnmatchcase(action, one) for one in bounds["Action"]), action


@pytest.mark.parametrize("role", roles())
def test_it_trusts_one_service_for_this_account_and_resource(role: dict[str, Any]) -> None:
    (statement,) = role["properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert set(statement["Principal"]) == {"Service"}
    service = statement["Principal"]["Service"].removesuffix(".amazonaws.com")
    assert service in SERVICES
    assert statement["Action"] == "sts:AssumeRole"
    if service in SOURCE_STATED:
        condition = statement["Condition"]
        assert condition["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
        source = condition["ArnLike"]["aws:SourceArn"]
        assert source.startswith(f"arn:aws:{service}:{REGION}:{ACCOUNT}:")


@pytest.mark.parametrize("role", roles())
def test_it_may_touch_no_role_user_policy_or_key_of_anybody(role: dict[str, Any]) -> None:
    for document in role["properties"]["Policies"].values():
        for statement in document["Statement"]:
            if statement["Effect"] == "Deny":
                continue  # It takes away and gives nothing.
            assert statement["Effect"] == "Allow"
            assert not {"NotAction", "NotResource"} & set(statement)
            for action in listed(statement["Action"]):
                service, _, verb = action.partition(":")
                assert service not in {"iam", "sts", "organizations"}, action
                assert not verb.startswith("*"), action
                if service == "kms":
                    assert verb in {"Decrypt", "GenerateDataKey"}
                    assert statement["Condition"]["StringEquals"]["kms:ViaService"]


def statements() -> Iterator[dict[str, Any]]:
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/weir-boundary"
    documents = operator_policy.documents(CLUSTER, REGION, ACCOUNT, boundary=boundary)
    for document in documents.values():
        yield from document["Statement"]


def test_the_operator_writes_roles_with_the_boundary_alone_and_below_its_path_alone() -> None:
    writes = {"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"}
    for statement in statements():
        actions = set(listed(statement["Action"]))
        if actions & writes:
            bound = statement["Condition"]["StringEquals"]["iam:PermissionsBoundary"]
            assert bound == f"arn:aws:iam::{ACCOUNT}:policy/weir-boundary"
            assert listed(statement["Resource"]) == [
                f"arn:aws:iam::{ACCOUNT}:role{naming.iam_path(CLUSTER)}*"
            ]
        assert not actions & {
            "iam:DeleteRolePermissionsBoundary",
            "iam:CreatePolicyVersion",
            "iam:SetDefaultPolicyVersion",
            "iam:CreateUser",
            "iam:CreateAccessKey",
            "iam:*",
            "*",
        }


def test_the_operator_passes_roles_of_its_path_to_its_services_alone() -> None:
    passing = [one for one in statements() if "iam:PassRole" in listed(one["Action"])]
    assert passing
    for statement in passing:
        to = statement["Condition"]["StringEquals"]["iam:PassedToService"]
        assert {one.removesuffix(".amazonaws.com") for one in listed(to)} <= SERVICES
        assert listed(statement["Resource"]) == [
            f"arn:aws:iam::{ACCOUNT}:role{naming.iam_path(CLUSTER)}*"
        ]


namespaces = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


@given(one=namespaces, other=namespaces)
def test_each_namespace_has_a_loader_of_its_own(one: str, other: str) -> None:
    assert (naming.loader_user(one) == naming.loader_user(other)) is (one == other)
    assert (naming.database_role(one) == naming.database_role(other)) is (one == other)
    assert len(naming.loader_user(one)) <= 127
