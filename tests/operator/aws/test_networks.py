"""Networks on the local AWS: whose a service's name is, what is in use, and how a function leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from adapters_world import OWNER, World, settled

from weir.aws.calls import wait_for
from weir.aws.errors import Invalid, NotYet
from weir.resource import Adapter, Observed, Resource

pytestmark = pytest.mark.aws
OPEN = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}],
}


def interface(world: World, name: str, service: str = "sqs") -> Resource:
    properties = {
        "VpcId": world.vpc,
        "ServiceName": f"com.amazonaws.eu-central-1.{service}",
        "VpcEndpointType": "Interface",
        "SubnetIds": [world.subnets[0]],
        "SecurityGroupIds": [world.group],
        "PrivateDnsEnabled": True,
        "PolicyDocument": OPEN,
    }
    return Resource("ec2.VpcEndpoint", "endpoint", name, properties)


def gone(adapter: Adapter, seen: Observed) -> None:
    """Delete it, however often AWS says not yet."""

    def tried() -> bool:
        try:
            adapter.delete(seen)
        except NotYet:
            return False
        return True

    assert wait_for(tried, bool, seconds=20.0)


@contextmanager
def made(adapter: Adapter, resource: Resource) -> Iterator[Observed]:
    """It, until the end of the block."""
    adapter.create(resource, OWNER.tags)
    seen = settled(adapter, resource.name)
    try:
        yield seen
    finally:
        left = adapter.observe([resource.name])
        if left:
            gone(adapter, left[resource.name])


def test_a_vpc_shows_its_endpoints_and_subnets_their_zones_and_routes(
    world: World, every: dict[str, Adapter]
) -> None:
    endpoint = interface(world, "weir-seen")
    with made(every["ec2.VpcEndpoint"], endpoint) as seen:
        vpc = every["ec2.Vpc"].observe([world.vpc])[world.vpc]
        assert vpc.properties["EnableDnsHostnames"] is True
        (found,) = [
            one for one in vpc.properties["Endpoints"] if one["Id"] == seen.attributes["id"]
        ]
        assert OWNER.owns(found["Tags"])
        assert found["PrivateDnsEnabled"] is True
    name = ",".join(world.subnets)
    subnets = every["ec2.Subnets"].observe([name, f"{name},subnet-ffffffff"])
    assert set(subnets) == {name}
    attributes = subnets[name].attributes
    assert attributes["routeTableIds"] == world.table
    assert set(attributes["zonedIds"].split(",")) == {world.subnets[0], world.subnets[2]}
    assert attributes["zone"] == "eu-central-1a"
    assert not any(one["Outward"] for one in subnets[name].properties["Subnets"])


def test_a_name_that_somebody_answers_for_is_told_with_who_it_is(
    world: World, every: dict[str, Adapter]
) -> None:
    adapter = every["ec2.VpcEndpoint"]
    with made(adapter, interface(world, "weir-first", "sns")) as first:
        with pytest.raises(Invalid) as refused:
            adapter.create(interface(world, "weir-second", "sns"), OWNER.tags)
        assert first.attributes["id"] in str(refused.value)
        assert "spec.network.endpoints" in str(refused.value)
        again = adapter.create(interface(world, "weir-first", "sns"), OWNER.tags)
        assert (again.settled, again.attributes["id"]) == (False, first.attributes["id"])
        adapter.delete(first)
        with pytest.raises(NotYet):
            adapter.create(interface(world, "weir-second", "sns"), OWNER.tags)


def test_a_gateway_follows_its_route_tables(world: World, every: dict[str, Adapter]) -> None:
    adapter = every["ec2.VpcEndpoint"]
    gateway = Resource(
        "ec2.VpcEndpoint",
        "endpoint",
        "weir-gateway",
        {
            "VpcId": world.vpc,
            "ServiceName": "com.amazonaws.eu-central-1.s3",
            "VpcEndpointType": "Gateway",
            "RouteTableIds": world.table,
            "PolicyDocument": OPEN,
        },
    )
    with made(adapter, gateway) as seen:
        assert seen.properties["RouteTableIds"] == [world.table]
        with pytest.raises(Invalid) as refused:
            adapter.create(Resource(**{**vars(gateway), "name": "weir-other"}), OWNER.tags)
        assert seen.attributes["id"] in str(refused.value)


def test_a_group_in_use_stays_until_nothing_has_it(world: World, every: dict[str, Adapter]) -> None:
    groups, endpoints = every["ec2.SecurityGroup"], every["ec2.VpcEndpoint"]
    group = Resource(
        "ec2.SecurityGroup",
        "group",
        "weir-used",
        {"VpcId": world.vpc, "Description": "x", "IpPermissions": [], "IpPermissionsEgress": []},
    )
    with made(groups, group) as seen:
        user = interface(world, "weir-user", "logs")
        properties = {**user.properties, "SecurityGroupIds": [seen.attributes["id"]]}
        with made(endpoints, Resource(user.kind, "endpoint", user.name, properties)) as endpoint:
            with pytest.raises(NotYet) as held:
                groups.delete(seen)
            assert "network interfaces" in str(held.value)
            endpoints.delete(endpoint)
            gone(groups, seen)


def test_a_function_leaves_its_vpc_before_it_goes(world: World, every: dict[str, Adapter]) -> None:
    adapter = every["lambda.Function"]

    def function(name: str, **network: Any) -> Resource:
        return Resource(
            "lambda.Function",
            "function",
            name,
            {
                "Runtime": "python3.11",
                "Handler": "handler.handler",
                "Role": world.role,
                "Code": {"S3Bucket": world.bucket, "S3Key": "code.zip"},
                "VpcConfig": network,
            },
        )

    inside = {"SubnetIds": [world.subnets[0]], "SecurityGroupIds": [world.group]}
    with pytest.raises(Invalid):
        adapter.create(
            function("weir-lost", SubnetIds=["subnet-ffffffff"], SecurityGroupIds=[world.group]),
            OWNER.tags,
        )
    with made(adapter, function("weir-inside", **inside)) as seen:
        assert seen.properties["VpcConfig"] == inside
        with pytest.raises(NotYet) as leaving:
            adapter.delete(seen)
        assert "leaves its VPC" in str(leaving.value)
        out = settled(adapter, "weir-inside")
        assert out.properties["VpcConfig"] == {}
        with pytest.raises(NotYet) as held:
            adapter.delete(out)
        assert "network interfaces" in str(held.value)
        gone(adapter, out)
        assert adapter.observe(["weir-inside"]) == {}
