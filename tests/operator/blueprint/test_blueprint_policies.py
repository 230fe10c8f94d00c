"""Every role may do what it must, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from weir.blueprint import config, operator_policy, policies
from weir.resource import Ref, Resource, resolve

INLINE_LIMIT = 10_240
KEY_ARN = "arn:aws:kms:eu-central-1:111122223333:key/0f0e0d0c-0b0a-4908-8706-050403020100"


def roles(resources: tuple[Resource, ...]) -> Iterator[Resource]:
    return (item for item in resources if item.kind == "iam.Role")


def statements(role: Resource) -> Iterator[dict[str, Any]]:
    for policy in role.properties["Policies"].values():
        yield from policy["Statement"]


@pytest.fixture(params=["serverless", "provisioned"])
def resources(request: pytest.FixtureRequest, worlds: Any) -> tuple[Resource, ...]:
    redshift = {
        "database": "dev",
        "copyRoleArn": "arn:aws:iam::111122223333:role/redshift-copy",
        "workgroup" if request.param == "serverless" else "clusterIdentifier": "analytics",
    }
    found: tuple[Resource, ...] = worlds({"redshift": redshift}).resources()
    return found


def test_no_statement_allows_every_action_of_a_service(resources: tuple[Resource, ...]) -> None:
    for role in roles(resources):
        for statement in statements(role):
            assert all(":" in a and not a.endswith("*") for a in statement["Action"]), role.name


def test_only_listed_actions_stand_without_a_resource(resources: tuple[Resource, ...]) -> None:
    for role in roles(resources):
        for statement in statements(role):
            if "*" in statement["Resource"]:
                assert set(statement["Action"]) <= set(policies.UNSCOPED), (role.name, statement)


def test_every_resource_names_the_account_or_a_bucket_of_the_platform(
    resources: tuple[Resource, ...],
) -> None:
    for role in roles(resources):
        for statement in statements(role):
            for arn in statement["Resource"]:
                if arn == "*" or isinstance(arn, Ref):
                    continue
                assert ":111122223333:" in arn or arn.startswith("arn:aws:s3:::weir-prod-"), arn


def test_inline_policies_are_below_the_limit(resources: tuple[Resource, ...]) -> None:
    for role in roles(resources):
        policy = resolve(role.properties["Policies"], {("kms-key", "arn"): KEY_ARN})
        text = "".join(json.dumps(item, separators=(",", ":")) for item in policy.values())
        assert len(text) < INLINE_LIMIT, role.name


def test_every_use_of_the_key_is_through_a_service(resources: tuple[Resource, ...]) -> None:
    for role in roles(resources):
        for statement in statements(role):
            if any(action.startswith("kms:") for action in statement["Action"]):
                through = statement["Condition"]["StringEquals"]["kms:ViaService"]
                assert through and all(name.endswith(".amazonaws.com") for name in through)


def test_every_role_has_the_clusters_path_the_boundary_and_sane_trust(
    resources: tuple[Resource, ...],
) -> None:
    for role in roles(resources):
        assert role.properties["Path"] == "/weir/prod/"
        assert role.properties["PermissionsBoundary"].endswith("policy/weir-boundary")
        (trust,) = role.properties["AssumeRolePolicyDocument"]["Statement"]
        service = trust["Principal"]["Service"]
        if service != "lambda.amazonaws.com":
            assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": "111122223333"}
            assert "aws:SourceArn" in trust["Condition"]["ArnLike"]


def test_loaders_hold_the_database_role_of_their_namespace_on_serverless(world: Any) -> None:
    tagged = {
        role.logical_id: role.properties["Tags"]
        for role in roles(world.pipeline_resources())
        if "Tags" in role.properties
    }
    assert tagged == {
        "loader-role": {"RedshiftDbRoles": "weir_default"},
        "machine-role": {"RedshiftDbRoles": "weir_default"},
    }


def test_a_provisioned_cluster_is_entered_as_the_namespaces_loader(worlds: Any) -> None:
    redshift = {
        "clusterIdentifier": "analytics",
        "copyRoleArn": "arn:aws:iam::111122223333:role/redshift-copy",
    }
    world = worlds({"redshift": redshift})
    role = next(r for r in roles(world.pipeline_resources()) if r.logical_id == "loader-role")
    entered = next(s for s in statements(role) if s["Sid"] == "BecomeLoader")
    assert entered["Action"] == ["redshift:GetClusterCredentials"]
    assert entered["Resource"] == [
        "arn:aws:redshift:eu-central-1:111122223333:dbname:analytics/dev",
        "arn:aws:redshift:eu-central-1:111122223333:dbuser:analytics/weir_default_loader",
    ]


def test_a_source_reads_exactly_the_secrets_that_it_names(world: Any) -> None:
    role = next(r for r in roles(world.source_resources()) if r.logical_id == "ingest-role")
    found = next(s for s in statements(role) if s["Sid"] == "ReadSecrets")
    assert found["Resource"] == [
        "arn:aws:secretsmanager:eu-central-1:111122223333:secret:weir/default/customer_api_key-??????"
    ]


def test_the_key_policy_lets_only_this_account_and_named_services_in(world: Any) -> None:
    policy = policies.key_policy(world.facts)
    principals = [statement["Principal"] for statement in policy["Statement"]]
    assert principals[0] == {"AWS": ["arn:aws:iam::111122223333:root"]}
    assert all("Condition" in statement for statement in policy["Statement"][1:])


@pytest.mark.parametrize("script", [False, True])
def test_a_tenants_own_python_lists_its_own_prefixes_alone(worlds: Any, script: bool) -> None:
    step = (
        {"script": {"inline": "def transform(df, spark): return df"}} if script else {"filter": "1"}
    )
    stages = [{"name": "own", "transform": [step]}]
    grants = [{"namespaces": {"names": ["default"]}, "allow": ["scripts"]}]
    world = worlds({"grants": grants}, pipeline_spec={"stages": stages})
    role = next(r for r in roles(world.pipeline_resources()) if r.logical_id == "process-role")
    listing = [s for s in statements(role) if s["Action"] == ["s3:ListBucket"]]
    assert len(listing) == 4
    assert all(("Condition" in statement) is script for statement in listing)


@pytest.mark.parametrize("granted", [False, True])
def test_scripts_run_where_they_are_granted_and_read_their_own_file_alone(
    worlds: Any, granted: bool
) -> None:
    stages = [{"name": "own", "transform": [{"script": {"uri": "s3://team-code/a/own.py"}}]}]
    grants = [{"namespaces": {"names": ["default"]}, "allow": ["scripts"] if granted else []}]
    world = worlds({"grants": grants}, pipeline_spec={"stages": stages})
    sources = {world.source.name: world.source}
    plan = config.pipeline_config(world.pipeline, world.facts, world.grant, sources, {})
    assert plan.allow_scripts is granted
    role = next(r for r in roles(world.pipeline_resources()) if r.logical_id == "process-role")
    read = [s["Resource"] for s in statements(role) if s["Sid"] == "ReadScripts"]
    assert read == ([["arn:aws:s3:::team-code/a/own.py"]] if granted else [])


def test_a_refresh_token_can_be_written_back_within_the_boundary(world: Any) -> None:
    books = "weir/default/books"
    found = policies.ingestion(
        world.facts,
        source="default/a",
        function="f",
        config_key="k",
        secrets=[books],
        rotated=books,
    )
    (bounds,) = operator_policy.boundary()["Statement"]
    actions = {action for statement in found["Statement"] for action in statement["Action"]}
    assert {"secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"} <= actions
    for action in actions:
        assert any(fnmatchcase(action, one) for one in bounds["Action"]), action
