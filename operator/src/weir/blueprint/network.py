"""What of a Platform is in a VPC, and how is it reached there?"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.platform import Network, Platform
from weir.blueprint import naming, policies, rest
from weir.blueprint.facts import Arn, NetworkFacts, PlatformFacts
from weir.resource import Ref, Resource

VPC, SUBNETS = "network-vpc", "network-subnets"
WORKLOADS = "network-group"
"""Logical id of the security group that functions and jobs get where the Platform names none."""
ENDPOINTS = "network-endpoints"
"""Logical id of the security group of the endpoints."""
CONNECTION = "network-connection"
GATEWAYS = frozenset({"s3", "dynamodb"})
"""Services that have gateway endpoints, which are routes and cost nothing (VPC User Guide,
*Gateway endpoints*); all others have interface endpoints."""
HTTPS = 443

FUNCTION_ACTIONS = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
"""What Lambda does with a function's role to put it into a VPC (AWS Managed Policy Reference,
*AWSLambdaVPCAccessExecutionRole*)."""
JOB_ACTIONS = (
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcAttribute",
    "ec2:DescribeVpcEndpoints",
)
"""What Glue does with a job's role to put it into a VPC (AWS Managed Policy Reference,
*AWSGlueServiceRole*)."""
GLUE_TAG = "aws-glue-service-resource"
"""The tag that Glue puts on network interfaces that it makes."""


def network_facts(platform: Platform, cluster: str, group: Arn) -> NetworkFacts | None:
    """What the blueprint of a Platform's users must know of its VPC; None where it has none.

    Parameters
    ----------
    group
        ARN of the group that Weir makes, or a reference to it where only AWS can tell.
    """
    spec = platform.spec.network
    if spec is None:
        return None
    made = () if spec.security_group_ids else (WORKLOADS,)
    own: Arn = Ref(WORKLOADS, "id") if isinstance(group, Ref) else group.rpartition("/")[2]
    return NetworkFacts(
        vpc=spec.vpc_id,
        subnets=tuple(spec.subnet_ids),
        security_groups=tuple(spec.security_group_ids) or (own,),
        functions=spec.functions,
        jobs=spec.jobs,
        connection=naming.physical("connection", cluster, platform.name, role="network"),
        made=(*made, CONNECTION),
    )


def needs_vpc(source: DataSource) -> bool:
    """Whether a source's function is to run in the VPC where the Platform leaves it to the source:
    it says so, or says nothing and has a private address in a URL or among its brokers."""
    if source.spec.network is not None:
        return source.spec.network == "vpc"
    found = source.spec.source
    if found.stream and found.stream.kafka:
        brokers = found.stream.kafka.bootstrap_servers or ()
        return any(_is_private(f"kafka://{broker}") for broker in brokers)
    api = found.rest_api
    return api is not None and any(_is_private(url) for _, url in rest.urls(api))


def _is_private(url: str) -> bool:
    try:
        address = ipaddress.ip_address(urlsplit(url).hostname or "")
    except ValueError:
        return False
    return address.is_private and not (address.is_loopback or address.is_link_local)


def is_inside(network: NetworkFacts | None, asked: bool) -> bool:
    """Whether an object's functions run in the VPC; ``asked``: it asks for that."""
    return network is not None and (
        network.functions == "all" or (asked and network.functions == "private")
    )


def placed(
    facts: PlatformFacts,
    resources: Iterable[Resource],
    *,
    functions: bool = False,
    jobs: bool | None = None,
) -> tuple[Resource, ...]:
    """Resources of one object, its functions and jobs put where they run, with what their roles need
    for that.

    Parameters
    ----------
    functions
        Whether its functions ask for the VPC.
    jobs
        Whether its jobs run in the VPC; None leaves it to the Platform.
    """
    network = facts.network
    inside = is_inside(network, functions)
    joined = network is not None and (network.jobs if jobs is None else jobs)
    settings: Mapping[str, tuple[bool, str, Any, Any]] = {
        "lambda.Function": (inside, "VpcConfig", function_config(network), {}),
        "glue.Job": (joined, "Connections", job_connections(network), {}),
    }
    found = list(resources)
    extra: dict[str, list[policies.Statement]] = {}
    for index, one in enumerate(found):
        if one.kind not in settings:
            continue
        holds, field, value, nothing = settings[one.kind]
        found[index] = replace(
            one, properties={**one.properties, field: value if holds else nothing}
        )
        if holds:
            role = str(one.properties["Role"]).rpartition("/")[2]
            extra.setdefault(role, []).extend(role_statements(facts, one))
    return tuple(_with_statements(one, extra.get(one.name, ())) for one in found)


def _with_statements(resource: Resource, statements: Sequence[policies.Statement]) -> Resource:
    if resource.kind != "iam.Role" or not statements:
        return resource
    policy = resource.properties["Policies"]["weir"]
    whole = policies.document(*policy["Statement"], *statements)
    return replace(resource, properties={**resource.properties, "Policies": {"weir": whole}})


def function_config(network: NetworkFacts | None) -> dict[str, Any]:
    """``VpcConfig`` of a function; empty without a VPC."""
    if network is None:
        return {}
    return {
        "SubnetIds": list(network.subnets),
        "SecurityGroupIds": list(network.security_groups),
    }


def job_connections(network: NetworkFacts | None) -> dict[str, Any]:
    """``Connections`` of a job; empty without a VPC."""
    return {"Connections": [network.connection]} if network else {}


def role_statements(facts: PlatformFacts, one: Resource) -> tuple[policies.Statement, ...]:
    """What the role of a function or job in the VPC may do beside what its code does.

    Lambda makes the interfaces with the function's role. The function's own code may not (Lambda
    Developer Guide, *Giving Lambda functions access to resources in an Amazon VPC*).
    """
    if one.kind == "lambda.Function":
        deny = policies.allow(
            "NotTheCodeItself",
            FUNCTION_ACTIONS,
            ["*"],
            {"ArnEquals": {"lambda:SourceFunctionArn": [facts.function_arn(one.name)]}},
        )
        return (
            policies.allow("JoinNetwork", FUNCTION_ACTIONS, ["*"]),
            {**deny, "Effect": "Deny"},
        )
    assert facts.network is not None
    connection = facts.arn("glue", f"connection/{facts.network.connection}")
    return (
        policies.allow("JoinNetwork", JOB_ACTIONS, ["*"]),
        policies.allow(
            "TagInterfaces",
            ["ec2:CreateTags", "ec2:DeleteTags"],
            [facts.arn("ec2", "network-interface/*")],
            {"ForAllValues:StringEquals": {"aws:TagKeys": [GLUE_TAG]}},
        ),
        policies.allow(
            "UseConnection", ["glue:GetConnection"], [facts.arn("glue", "catalog"), connection]
        ),
    )


def platform_network(
    platform: Platform, facts: PlatformFacts, served: Collection[str] = ()
) -> tuple[Resource, ...]:
    """The VPC and subnets that must be there, and what Weir makes in them.

    Parameters
    ----------
    served
        Services for which somebody else's endpoint is there.
    """
    spec, network = platform.spec.network, facts.network
    if spec is None or network is None:
        return ()
    wanted = [service for service in spec.endpoints if service not in served]
    return (
        Resource("ec2.Vpc", VPC, spec.vpc_id, tagged=False, external=True),
        Resource("ec2.Subnets", SUBNETS, subnets_name(spec), tagged=False, external=True),
        *_groups(spec, facts, interfaces=any(one not in GATEWAYS for one in wanted)),
        *(_endpoint(platform, spec, facts, service) for service in wanted),
        _connection(facts, network),
    )


def subnets_name(spec: Network) -> str:
    """The name by which a Platform's subnets are looked at together."""
    return ",".join(spec.subnet_ids)


def group_id(group: str) -> str:
    """The logical id of a security group of somebody's."""
    return f"network-{group}"


def _groups(spec: Network, facts: PlatformFacts, interfaces: bool) -> Iterable[Resource]:
    given = [*spec.security_group_ids, *spec.endpoint_security_group_ids]
    for group in dict.fromkeys(given):
        yield Resource("ec2.SecurityGroup", group_id(group), group, external=True)
    if not spec.security_group_ids:
        yield _group(
            facts,
            WORKLOADS,
            "workloads",
            spec.vpc_id,
            "functions and jobs",
            # Glue: all TCP ports among the members of the group (Glue Developer Guide, *Setting up
            # Amazon VPC for JDBC connections to Amazon RDS data stores from AWS Glue*).
            [_rule("tcp", 0, 65535, "self")],
            [_rule("-1", -1, -1, "0.0.0.0/0")],
        )
    if interfaces and not spec.endpoint_security_group_ids:
        assert facts.network is not None
        yield _group(
            facts,
            ENDPOINTS,
            "endpoints",
            spec.vpc_id,
            "endpoints",
            [_rule("tcp", HTTPS, HTTPS, group) for group in facts.network.security_groups],
            [],
        )


def _group(
    facts: PlatformFacts,
    logical_id: str,
    role: str,
    vpc: str,
    what: str,
    inward: list[dict[str, Any]],
    outward: list[dict[str, Any]],
) -> Resource:
    return Resource(
        "ec2.SecurityGroup",
        logical_id,
        naming.physical("group", facts.cluster, facts.platform, role=role, salt=vpc),
        {
            "VpcId": vpc,
            "Description": f"Weir: {what} of Platform {facts.platform}",
            "IpPermissions": inward,
            "IpPermissionsEgress": outward,
        },
        (VPC,),
    )


def _rule(protocol: str, first: int, last: int, source: Arn) -> dict[str, Any]:
    return {"IpProtocol": protocol, "FromPort": first, "ToPort": last, "Source": source}


def service_name(facts: PlatformFacts, service: str) -> str:
    """What AWS calls the endpoint service of a service.

    China's interface endpoints begin with ``cn.`` (Amazon Web Services in China, *AWS PrivateLink*).
    """
    name = f"com.amazonaws.{facts.region}.{service}"
    return f"cn.{name}" if facts.partition == "aws-cn" and service not in GATEWAYS else name


def endpoint_id(service: str) -> str:
    """The logical id of a service's endpoint."""
    return f"endpoint-{service}"


def _endpoint(platform: Platform, spec: Network, facts: PlatformFacts, service: str) -> Resource:
    properties: dict[str, Any] = {
        "VpcId": spec.vpc_id,
        "ServiceName": service_name(facts, service),
        "PolicyDocument": endpoint_policy(platform, facts, service),
    }
    needs = [VPC]
    if service in GATEWAYS:
        properties["VpcEndpointType"] = "Gateway"
        properties["RouteTableIds"] = Ref(SUBNETS, "routeTableIds")
    else:
        groups: list[Arn] = [*spec.endpoint_security_group_ids] or [Ref(ENDPOINTS, "id")]
        properties["VpcEndpointType"] = "Interface"
        properties["SubnetIds"] = Ref(SUBNETS, "zonedIds")
        properties["SecurityGroupIds"] = groups
        properties["PrivateDnsEnabled"] = True
    role = f"vpc-{service}"
    name = naming.physical("endpoint", facts.cluster, facts.platform, role=role, salt=spec.vpc_id)
    return Resource("ec2.VpcEndpoint", endpoint_id(service), name, properties, tuple(needs))


def endpoint_policy(platform: Platform, facts: PlatformFacts, service: str) -> policies.Document:
    """What may be reached through an endpoint."""
    spec = platform.spec.network
    mode = spec.endpoint_policy if spec else "open"
    resources = ["*"]
    if mode == "platform":
        resources = _of_platform(platform, facts, service)
    statement: policies.Statement = {
        "Sid": "Weir",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "*",
        "Resource": resources,
    }
    if mode != "open":
        statement["Condition"] = {"StringEquals": {"aws:PrincipalAccount": facts.account_id}}
    return policies.document(statement)


def _of_platform(platform: Platform, facts: PlatformFacts, service: str) -> list[str]:
    """What of a service the Platform uses: its buckets and table, and the buckets that it grants."""
    if service == "dynamodb":
        return [facts.state_table_arn]
    if service != "s3":
        return ["*"]
    own = [
        arn
        for zone in facts.buckets
        for arn in (facts.bucket_arn(zone), facts.bucket_arn(zone, "*"))
    ]
    start = f"arn:{facts.partition}:s3:::"
    granted = {
        arn.removeprefix(start).partition("/")[0]
        for grant in platform.spec.grants
        for arn in grant.external_arns or ()
        if arn.startswith(start)
    }
    return sorted({*own, *(f"{start}{name}{tail}" for name in granted for tail in ("", "/*"))})


def _connection(facts: PlatformFacts, network: NetworkFacts) -> Resource:
    return Resource(
        "glue.Connection",
        CONNECTION,
        network.connection,
        {
            "ConnectionType": "NETWORK",
            "Description": f"Weir: jobs of Platform {facts.platform} in {network.vpc}",
            "ConnectionProperties": {},
            "PhysicalConnectionRequirements": {
                "SubnetId": network.subnets[0],
                "SecurityGroupIdList": list(network.security_groups),
                "AvailabilityZone": Ref(SUBNETS, "zone"),
            },
        },
    )
