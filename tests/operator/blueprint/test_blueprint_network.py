"""What of a Platform is in its VPC, and what Weir makes there."""

from __future__ import annotations

from typing import Any

import pytest

from weir.blueprint import check, network, policies
from weir.resource import Ref, Resource

VPC = "vpc-0a1b2c3d"
SUBNETS = ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]
OWN = {"vpcId": VPC, "subnetIds": SUBNETS, "securityGroupIds": ["sg-0a1b2c3d"]}


def named(resources: tuple[Resource, ...], logical_id: str) -> Resource:
    return next(item for item in resources if item.logical_id == logical_id)


def of_kind(resources: tuple[Resource, ...], kind: str) -> list[Resource]:
    return [item for item in resources if item.kind == kind]


def with_network(worlds: Any, more: dict[str, Any] | None = None, **spec: Any) -> Any:
    return worlds(platform_spec={"network": {**OWN, **spec}}, **(more or {}))


def test_without_a_vpc_every_function_and_job_is_taken_out_of_one(world: Any) -> None:
    functions = of_kind(world.resources(), "lambda.Function")
    assert len(functions) == 5
    assert {str(item.properties["VpcConfig"]) for item in functions} == {"{}"}
    (job,) = of_kind(world.resources(), "glue.Job")
    assert job.properties["Connections"] == {}


def test_a_source_is_in_the_vpc_where_it_says_so_and_nothing_else_is(worlds: Any) -> None:
    world = with_network(worlds, {"source_spec": {"network": "vpc"}})
    inside = {
        item.logical_id: bool(item.properties["VpcConfig"])
        for item in of_kind(world.resources(), "lambda.Function")
    }
    assert inside == {
        "trigger": False,
        "metadata": False,
        "ingest": True,
        "control": False,
        "loader": False,
    }
    config = named(world.source_resources(), "ingest").properties["VpcConfig"]
    assert config == {"SubnetIds": SUBNETS, "SecurityGroupIds": ["sg-0a1b2c3d"]}


@pytest.mark.parametrize(
    ("endpoint", "inside"),
    [
        ("https://10.1.2.3/rows", True),
        ("https://[fd12::1]/rows", True),
        ("https://127.0.0.1/rows", False),
        ("https://169.254.1.1/rows", False),
        ("https://93.184.216.34/rows", False),
        ("https://api.example.com/rows", False),
    ],
)
def test_a_private_address_takes_a_source_into_the_vpc(
    worlds: Any, endpoint: str, inside: bool
) -> None:
    api = {"endpoint": endpoint, "schedule": "rate(1 hour)"}
    world = with_network(worlds, {"source_spec": {"source": {"restApi": api}}})
    function = named(world.source_resources(), "ingest")
    assert bool(function.properties["VpcConfig"]) is inside


def test_all_takes_every_function_in_and_none_leaves_every_one_out(worlds: Any) -> None:
    for setting, inside in (("all", True), ("none", False)):
        world = with_network(worlds, {"source_spec": {"network": "vpc"}}, functions=setting)
        functions = of_kind(world.resources(), "lambda.Function")
        assert {bool(item.properties["VpcConfig"]) for item in functions} == {inside}


def test_a_functions_role_may_make_interfaces_and_its_code_may_not(worlds: Any) -> None:
    world = with_network(worlds, {"source_spec": {"network": "vpc"}})
    resources = world.source_resources()
    statements = {
        item["Sid"]: item
        for item in named(resources, "ingest-role").properties["Policies"]["weir"]["Statement"]
    }
    assert statements["JoinNetwork"]["Action"] == sorted(network.FUNCTION_ACTIONS)
    denied = statements["NotTheCodeItself"]
    assert denied["Effect"] == "Deny"
    assert denied["Action"] == statements["JoinNetwork"]["Action"]
    function = named(resources, "ingest").name
    assert denied["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"] == [
        f"arn:aws:lambda:eu-central-1:111122223333:function:{function}"
    ]
    machine = named(resources, "machine-role").properties["Policies"]["weir"]["Statement"]
    assert not any("ec2" in str(item["Action"]) for item in machine)
    assert set(network.FUNCTION_ACTIONS) | set(network.JOB_ACTIONS) <= set(policies.UNSCOPED)


@pytest.mark.parametrize(
    ("platform", "pipeline", "inside"),
    [
        (True, None, True),
        (True, "public", False),
        (False, None, False),
        (False, "vpc", True),
    ],
)
def test_a_job_is_where_its_pipeline_says_or_else_its_platform(
    worlds: Any, platform: bool, pipeline: str | None, inside: bool
) -> None:
    resources = {"resources": {"network": pipeline}} if pipeline else {}
    world = with_network(worlds, {"pipeline_spec": resources}, jobs=platform)
    job = named(world.pipeline_resources(), "process")
    connection = named(world.platform_resources(), "network-connection")
    assert bool(job.properties["Connections"]) is inside
    if inside:
        assert job.properties["Connections"] == {"Connections": [connection.name]}
    role = named(world.pipeline_resources(), "process-role")
    sids = [item["Sid"] for item in role.properties["Policies"]["weir"]["Statement"]]
    assert ("UseConnection" in sids) is inside


def test_gateways_go_on_the_subnets_route_tables_and_interfaces_into_one_subnet_a_zone(
    worlds: Any,
) -> None:
    world = with_network(worlds, endpoints=["s3", "kms"])
    found = world.platform_resources()
    gateway, interface = (named(found, f"endpoint-{name}").properties for name in ("s3", "kms"))
    assert gateway["VpcEndpointType"] == "Gateway"
    assert gateway["RouteTableIds"] == Ref("network-subnets", "routeTableIds")
    assert "SubnetIds" not in gateway
    assert interface["VpcEndpointType"] == "Interface"
    assert interface["SubnetIds"] == Ref("network-subnets", "zonedIds")
    assert interface["PrivateDnsEnabled"] is True
    assert interface["SecurityGroupIds"] == [Ref("network-endpoints", "id")]
    group = named(found, "network-endpoints").properties
    assert group["IpPermissions"] == [
        {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "Source": "sg-0a1b2c3d"}
    ]
    assert group["IpPermissionsEgress"] == []


def test_gateways_alone_need_no_group_and_given_groups_are_not_made(worlds: Any) -> None:
    gateways = with_network(worlds, endpoints=["s3", "dynamodb"]).platform_resources()
    assert [item.name for item in of_kind(gateways, "ec2.SecurityGroup")] == ["sg-0a1b2c3d"]
    given = with_network(
        worlds, endpoints=["kms"], endpointSecurityGroupIds=["sg-1a1b2c3d"]
    ).platform_resources()
    groups = of_kind(given, "ec2.SecurityGroup")
    assert [item.name for item in groups] == ["sg-0a1b2c3d", "sg-1a1b2c3d"]
    assert all(item.external for item in groups)


def test_what_somebody_else_serves_is_not_made_again(worlds: Any) -> None:
    world = with_network(worlds, endpoints=["s3", "kms"])
    found = network.platform_network(world.platform, world.facts, {"kms"})
    assert [item.logical_id for item in of_kind(found, "ec2.VpcEndpoint")] == ["endpoint-s3"]
    assert "network-endpoints" not in {item.logical_id for item in found}


def test_a_group_of_weirs_own_lets_its_members_talk_and_is_known_by_its_arn(worlds: Any) -> None:
    world = worlds(platform_spec={"network": {"vpcId": VPC, "subnetIds": SUBNETS}})
    group = named(world.platform_resources(), "network-group").properties
    assert group["IpPermissions"] == [
        {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "Source": "self"}
    ]
    arn = "arn:aws:ec2:eu-central-1:111122223333:security-group/sg-9a1b2c3d"
    facts = network.network_facts(world.platform, "prod", arn)
    assert facts is not None
    assert facts.security_groups == ("sg-9a1b2c3d",)
    assert facts.made == ("network-group", "network-connection")


def test_names_of_groups_and_endpoints_change_with_the_vpc(worlds: Any) -> None:
    both = [
        worlds(
            platform_spec={
                "network": {"vpcId": vpc, "subnetIds": SUBNETS, "endpoints": ["kms"]},
            }
        ).platform_resources()
        for vpc in (VPC, "vpc-1a1b2c3d")
    ]
    for logical_id in ("network-group", "network-endpoints", "endpoint-kms"):
        assert len({named(found, logical_id).name for found in both}) == 2


def test_an_endpoint_lets_pass_what_its_policy_says(worlds: Any) -> None:
    account = {"StringEquals": {"aws:PrincipalAccount": "111122223333"}}

    def statement(service: str, mode: str, **spec: Any) -> dict[str, Any]:
        world = worlds(
            platform_spec={
                "network": {**OWN, "endpoints": [service], "endpointPolicy": mode},
                **spec,
            }
        )
        (found,) = network.endpoint_policy(world.platform, world.facts, service)["Statement"]
        return dict(found)

    assert statement("s3", "open") == {
        "Sid": "Weir",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "*",
        "Resource": ["*"],
    }
    assert statement("s3", "account")["Condition"] == account
    assert statement("s3", "account")["Resource"] == ["*"]
    assert statement("kms", "platform")["Resource"] == ["*"]
    grants = [
        {
            "namespaces": {"names": ["default"]},
            "externalArns": ["arn:aws:s3:::uploads/in/*", "arn:aws:sns:eu-central-1:1:topic"],
        }
    ]
    tight = statement("s3", "platform", grants=grants)
    assert tight["Condition"] == account
    assert "arn:aws:s3:::uploads" in tight["Resource"]
    assert "arn:aws:s3:::uploads/*" in tight["Resource"]
    assert len(tight["Resource"]) == 2 * 6
    (table,) = statement("dynamodb", "platform")["Resource"]
    assert table.startswith("arn:aws:dynamodb:eu-central-1:111122223333:table/weir-prod-")


def test_chinas_interface_endpoints_have_another_name(worlds: Any) -> None:
    world = worlds(platform_spec={"region": "cn-north-1", "network": OWN})
    assert network.service_name(world.facts, "kms") == "cn.com.amazonaws.cn-north-1.kms"
    assert network.service_name(world.facts, "s3") == "com.amazonaws.cn-north-1.s3"


SCRIPT = [
    {
        "name": "own",
        "transform": [{"script": {"inline": "def transform(df, spark):\n    return df\n"}}],
    },
    {"name": "publish", "write": {"prefix": "customers/"}},
]


@pytest.mark.parametrize(
    ("spec", "source", "reason"),
    [
        (None, "vpc", "NoNetwork"),
        ({"functions": "none"}, "vpc", "NetworkNotAllowed"),
        ({"functions": "all"}, "public", "NetworkNotAllowed"),
        ({"functions": "private"}, "vpc", None),
        ({"functions": "private"}, "public", None),
        ({"functions": "all"}, None, None),
        (None, None, None),
    ],
)
def test_where_a_source_runs_is_the_platforms_to_allow(
    worlds: Any, spec: dict[str, Any] | None, source: str | None, reason: str | None
) -> None:
    wish = {"source_spec": {"network": source}} if source else {}
    world = worlds(**wish) if spec is None else with_network(worlds, wish, **spec)
    known = check.Known("default", {}, {}, world.facts, world.grant)
    problems = check.datasource_problems(world.source, known)
    assert [problem.reason for problem in problems] == ([reason] if reason else [])


@pytest.mark.parametrize(
    ("jobs", "wish", "private", "reasons"),
    [
        (True, None, False, ["EgressNotGranted"]),
        (False, "vpc", False, ["EgressNotGranted"]),
        (True, None, True, []),
        (True, "public", False, []),
        (False, None, False, []),
    ],
)
def test_a_script_in_the_vpc_needs_the_grant_of_private_addresses(
    worlds: Any, jobs: bool, wish: str | None, private: bool, reasons: list[str]
) -> None:
    grant = {
        "namespaces": {"names": ["default"]},
        "allow": ["scripts"],
        "egress": {"allowPrivate": private},
    }
    world = worlds(
        platform_spec={"network": {**OWN, "jobs": jobs}, "grants": [grant]},
        pipeline_spec={"stages": SCRIPT, **({"resources": {"network": wish}} if wish else {})},
    )
    sources = {world.source.name: world.source}
    known = check.Known("default", {}, sources, world.facts, world.grant)
    problems = check.pipeline_problems(world.pipeline, known)
    assert [problem.reason for problem in problems] == reasons


def test_a_pipeline_asks_for_a_vpc_that_is_there(worlds: Any) -> None:
    world = worlds(pipeline_spec={"resources": {"network": "vpc"}})
    sources = {world.source.name: world.source}
    known = check.Known("default", {}, sources, world.facts, world.grant)
    (problem,) = check.pipeline_problems(world.pipeline, known)
    assert problem.reason == "NoNetwork"
    assert "spec.resources.network" in str(problem)
