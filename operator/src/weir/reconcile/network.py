"""Is a Platform's VPC as it must be, and which endpoints has somebody else made there?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from weir.api.v1alpha1.platform import Network, Platform
from weir.blueprint import network as blueprint
from weir.blueprint.facts import PlatformFacts
from weir.reconcile.look import Halt
from weir.reconcile.world import World
from weir.resource import Observed, Owner

FUNCTIONS_CALL = ("dynamodb", "s3", "secretsmanager", "states")
"""What functions call by themselves; their logs, traces and queues Lambda serves from outside."""
JOBS_CALL = ("dynamodb", "glue", "logs", "s3")
WAREHOUSE_CALL = "redshift-data"


@dataclass(frozen=True)
class Sight:
    """A Platform's VPC as it was found.

    Parameters
    ----------
    served
        Service -> id of the endpoint that somebody else made for it, which is used.
    faults
        What keeps it from being used, for people; empty where nothing does.
    stranded
        Services that nothing in the VPC can reach though functions or jobs there call them.
    """

    served: Mapping[str, str]
    faults: tuple[str, ...] = ()
    stranded: tuple[str, ...] = ()


NOTHING = Sight({})


def sight_of(world: World, platform: Platform, facts: PlatformFacts, owner: Owner) -> Sight:
    """Look at a Platform's VPC.

    Raises
    ------
    AwsError
        It can't be described.
    """
    spec = platform.spec.network
    if spec is None:
        return NOTHING
    vpc, subnets = ("ec2.Vpc", spec.vpc_id), ("ec2.Subnets", blueprint.subnets_name(spec))
    given = [*spec.security_group_ids, *spec.endpoint_security_group_ids]
    groups = [("ec2.SecurityGroup", group) for group in dict.fromkeys(given)]
    seen = world.inventory.get([vpc, subnets, *groups])
    found = judged(
        spec,
        facts,
        owner,
        seen.get(vpc),
        seen.get(subnets),
        [seen[key] for key in groups if key in seen],
    )
    if found.faults:
        for key in (vpc, subnets, *groups):
            world.inventory.drop(*key)  # The next look shall see what was mended.
    return found


def need(sight: Sight) -> None:
    """Stop where the VPC can't be used.

    Raises
    ------
    Halt
        It can't; nothing is built for it.
    """
    if sight.faults:
        raise Halt("NetworkNotUsable", "; ".join(sight.faults), stalled=True)


def judged(
    spec: Network,
    facts: PlatformFacts,
    owner: Owner,
    vpc: Observed | None,
    subnets: Observed | None,
    groups: Sequence[Observed],
) -> Sight:
    """What a look at a VPC says.

    Parameters
    ----------
    owner
        The Platform: endpoints with its tags are its own.
    vpc, subnets, groups
        As they were found; None or missing where they are not there.
    """
    faults = [
        *_vpc_faults(spec, vpc),
        *_subnet_faults(spec, subnets),
        *_group_faults(spec, groups),
    ]
    if vpc is None or subnets is None or faults:
        return Sight({}, tuple(faults))
    tables = set(filter(None, subnets.attributes["routeTableIds"].split(",")))
    served: dict[str, str] = {}
    for service in spec.endpoints:
        name = blueprint.service_name(facts, service)
        for one in vpc.properties["Endpoints"]:
            if one["ServiceName"] != name or owner.owns(one["Tags"]):
                continue
            if service not in blueprint.GATEWAYS:
                if one["PrivateDnsEnabled"]:
                    served[service] = one["Id"]
                continue
            lacking = sorted(tables - set(one["RouteTableIds"]))
            if not lacking:
                served[service] = one["Id"]
            elif len(lacking) < len(tables):
                faults.append(
                    f"endpoint {one['Id']} leads some of the subnets to {service}, but not those of "
                    f"{', '.join(lacking)}: add these route tables to it, or take {service} out of "
                    "spec.network.endpoints"
                )
    stranded = () if faults else _stranded(spec, facts, subnets)
    return Sight(served, tuple(faults), stranded)


def _vpc_faults(spec: Network, vpc: Observed | None) -> Iterator[str]:
    if vpc is None:
        yield f"there is no VPC {spec.vpc_id} (spec.network.vpcId)"
        return
    if all(service in blueprint.GATEWAYS for service in spec.endpoints):
        return
    off = [name for name in ("EnableDnsSupport", "EnableDnsHostnames") if not vpc.properties[name]]
    if off:
        yield (
            f"{spec.vpc_id} has {' and '.join(off)} off, without which nobody in it finds its "
            "endpoints: switch it on (aws ec2 modify-vpc-attribute)"
        )


def _subnet_faults(spec: Network, subnets: Observed | None) -> Iterator[str]:
    if subnets is None:
        ids = ", ".join(spec.subnet_ids)
        yield f"not every subnet of spec.network.subnetIds is there ({ids}): correct the list"
        return
    for one in subnets.properties["Subnets"]:
        if one["VpcId"] != spec.vpc_id:
            yield f"{one['Id']} is in {one['VpcId']}, not in {spec.vpc_id} (spec.network.vpcId)"


def _group_faults(spec: Network, groups: Sequence[Observed]) -> Iterator[str]:
    there = {one.name: one for one in groups}
    for field, names in (
        ("securityGroupIds", spec.security_group_ids),
        ("endpointSecurityGroupIds", spec.endpoint_security_group_ids),
    ):
        missing = [name for name in names if name not in there]
        if missing:
            yield f"there is no security group {', '.join(missing)} (spec.network.{field})"
        for name in names:
            found = there[name].properties["VpcId"] if name in there else spec.vpc_id
            if found != spec.vpc_id:
                yield f"{name} (spec.network.{field}) is of {found}, not of {spec.vpc_id}"
    own = [there[name] for name in spec.security_group_ids if name in there]
    if spec.jobs and own and not any(map(_lets_members_in, own)):
        yield (
            f"none of {', '.join(spec.security_group_ids)} lets in all TCP ports from itself, without "
            "which Glue refuses to start a job: add such a rule, or leave securityGroupIds out"
        )


def _lets_members_in(group: Observed) -> bool:
    return any(
        rule["Source"] == "self"
        and (
            rule["IpProtocol"] == "-1"
            or (rule["IpProtocol"] == "tcp" and rule["FromPort"] <= 0 and rule["ToPort"] >= 65535)
        )
        for rule in group.properties["IpPermissions"]
    )


def _stranded(spec: Network, facts: PlatformFacts, subnets: Observed) -> tuple[str, ...]:
    if all(one["Outward"] for one in subnets.properties["Subnets"]):
        return ()
    called: set[str] = set()
    if spec.functions == "all":
        called |= {*FUNCTIONS_CALL, *([WAREHOUSE_CALL] if facts.warehouse else [])}
    if spec.jobs:
        called |= set(JOBS_CALL)
    return tuple(sorted(called - set(spec.endpoints)))
