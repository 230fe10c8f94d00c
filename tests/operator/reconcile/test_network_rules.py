"""Is a VPC as it must be, and whose endpoints are used?"""

from __future__ import annotations

from typing import Any

import pytest

from weir.api.v1alpha1.platform import Network
from weir.blueprint.facts import PlatformFacts
from weir.reconcile.look import Halt
from weir.reconcile.network import judged, need
from weir.resource import Observed, Owner

VPC = "vpc-0a1b2c3d"
OWNER = Owner("prod", "Platform", "", "default", "u")
FACTS = PlatformFacts("prod", "default", "eu-central-1", "111122223333", {}, "key", {})


def spec(**more: Any) -> Network:
    base = {"vpcId": VPC, "subnetIds": ["subnet-0a1b2c3d"], "endpoints": ["s3", "kms"]}
    return Network.model_validate({**base, **more})


def endpoint(service: str, **more: Any) -> dict[str, Any]:
    return {
        "Id": f"vpce-{service}",
        "ServiceName": f"com.amazonaws.eu-central-1.{service}",
        "Type": "Gateway" if service == "s3" else "Interface",
        "RouteTableIds": ["rtb-1", "rtb-2"] if service == "s3" else [],
        "PrivateDnsEnabled": service != "s3",
        "Tags": {},
        **more,
    }


def vpc(*endpoints: dict[str, Any], **more: bool) -> Observed:
    dns = {"EnableDnsSupport": True, "EnableDnsHostnames": True, **more}
    return Observed(VPC, {**dns, "Endpoints": list(endpoints)})


def subnets(**more: Any) -> Observed:
    one = {"Id": "subnet-0a1b2c3d", "VpcId": VPC, "Zone": "a", "Outward": True, **more}
    return Observed(
        "subnet-0a1b2c3d", {"Subnets": [one]}, attributes={"routeTableIds": "rtb-1,rtb-2"}
    )


def group(name: str, of: str = VPC, **rule: Any) -> Observed:
    base = {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "Source": "self"}
    return Observed(name, {"VpcId": of, "IpPermissions": [{**base, **rule}]})


def test_endpoints_of_others_are_used_and_ones_own_are_not_taken_for_theirs() -> None:
    theirs = judged(spec(), FACTS, OWNER, vpc(endpoint("s3"), endpoint("kms")), subnets(), [])
    assert theirs.served == {"s3": "vpce-s3", "kms": "vpce-kms"}
    assert theirs.faults == ()
    mine = endpoint("s3", Tags=OWNER.tags), endpoint("kms", Tags=OWNER.tags)
    assert judged(spec(), FACTS, OWNER, vpc(*mine), subnets(), []).served == {}
    other = Owner("prod", "Platform", "", "second", "u").tags
    shared = judged(spec(), FACTS, OWNER, vpc(endpoint("kms", Tags=other)), subnets(), [])
    assert shared.served == {"kms": "vpce-kms"}


def test_an_interface_without_private_dns_serves_nobody() -> None:
    found = vpc(endpoint("kms", PrivateDnsEnabled=False))
    assert judged(spec(), FACTS, OWNER, found, subnets(), []).served == {}


def test_a_gateway_on_other_route_tables_does_not_count_and_on_some_of_ours_is_a_fault() -> None:
    elsewhere = judged(
        spec(), FACTS, OWNER, vpc(endpoint("s3", RouteTableIds=["rtb-9"])), subnets(), []
    )
    assert (elsewhere.served, elsewhere.faults) == ({}, ())
    some = judged(spec(), FACTS, OWNER, vpc(endpoint("s3", RouteTableIds=["rtb-1"])), subnets(), [])
    (fault,) = some.faults
    assert "vpce-s3" in fault
    assert "rtb-2" in fault
    with pytest.raises(Halt) as halted:
        need(some)
    assert (halted.value.reason, halted.value.stalled) == ("NetworkNotUsable", True)


@pytest.mark.parametrize(
    ("more", "seen", "found", "groups", "said"),
    [
        ({}, None, subnets(), [], f"there is no VPC {VPC}"),
        ({}, vpc(), None, [], "not every subnet"),
        ({}, vpc(), subnets(VpcId="vpc-ffffffff"), [], "is in vpc-ffffffff, not in"),
        ({}, vpc(EnableDnsHostnames=False), subnets(), [], "EnableDnsHostnames off"),
        ({"securityGroupIds": ["sg-0a1b2c3d"]}, vpc(), subnets(), [], "no security group sg-0a"),
        (
            {"endpointSecurityGroupIds": ["sg-0a1b2c3d"]},
            vpc(),
            subnets(),
            [group("sg-0a1b2c3d", "vpc-ffffffff")],
            "(spec.network.endpointSecurityGroupIds) is of vpc-ffffffff",
        ),
        (
            {"securityGroupIds": ["sg-0a1b2c3d"], "jobs": True},
            vpc(),
            subnets(),
            [group("sg-0a1b2c3d", ToPort=443)],
            "all TCP ports from itself",
        ),
    ],
)
def test_a_fault_names_what_is_wrong(
    more: dict[str, Any],
    seen: Observed | None,
    found: Observed | None,
    groups: list[Observed],
    said: str,
) -> None:
    sight = judged(spec(**more), FACTS, OWNER, seen, found, groups)
    (fault,) = sight.faults
    assert said in fault


def test_gateways_need_no_dns_and_one_group_of_several_may_let_members_in() -> None:
    dark = vpc(EnableDnsSupport=False, EnableDnsHostnames=False)
    assert judged(spec(endpoints=["s3"]), FACTS, OWNER, dark, subnets(), []).faults == ()
    names = ["sg-0a1b2c3d", "sg-1a1b2c3d"]
    both = [group(names[0], Source="10.0.0.0/8"), group(names[1], IpProtocol="-1", ToPort=-1)]
    found = judged(spec(securityGroupIds=names, jobs=True), FACTS, OWNER, vpc(), subnets(), both)
    assert found.faults == ()


def test_without_a_way_out_what_is_called_and_has_no_endpoint_is_named() -> None:
    def stranded(**more: Any) -> tuple[str, ...]:
        wish = spec(endpoints=["s3", "dynamodb"], **more)
        return judged(wish, FACTS, OWNER, vpc(), subnets(Outward=False), []).stranded

    assert stranded() == ()
    assert stranded(functions="all") == ("secretsmanager", "states")
    assert stranded(jobs=True) == ("glue", "logs")
    found = judged(spec(functions="all"), FACTS, OWNER, vpc(), subnets(), [])
    assert found.stranded == ()
