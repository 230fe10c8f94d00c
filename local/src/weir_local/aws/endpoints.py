"""VPC endpoints with AWS's rules: states, filters, pages, tokens, and one answer to a service's name.

Amazon VPC API in the EC2 API reference, "CreateVpcEndpoint", "ModifyVpcEndpoint", "Error codes"; AWS
PrivateLink Guide, "Gateway endpoints" (one a service and route table), "Interface endpoints" (one
subnet a zone; private DNS needs both DNS attributes and a name that nobody in the VPC answers for).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from weir_local.aws.wire import Reply

GATEWAYS = frozenset({"s3", "dynamodb"})
MOMENT = 0.2
"""Seconds that an endpoint is pending, or deleting; on AWS a minute or two."""
DEFAULT_POLICY = json.dumps(
    {"Statement": [{"Action": "*", "Effect": "Allow", "Principal": "*", "Resource": "*"}]}
)
PAGE = 1000
CHANGED: dict[str, float] = {}
"""Endpoint's id -> when its state changed, seconds of a clock that only grows."""
TOKENS: dict[str, tuple[str, str]] = {}
"""Client token -> endpoint's id and what was asked for."""


class Refused(Exception):
    """A call that AWS refuses, with its code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Given:
    """The parameters of one call."""

    params: Any

    def one(self, name: str) -> str:
        """One parameter, empty where it is not given."""
        from ministack.services import ec2

        return str(ec2._p(self.params, name))

    def many(self, name: str) -> list[str]:
        """``Name.1``, ``Name.2``, ..."""
        from ministack.services import ec2

        return list(dict.fromkeys(ec2._parse_member_list(self.params, name)))


def state_of(record: dict[str, Any]) -> str:
    """The state by now; empty once a deletion is over."""
    old = time.monotonic() - CHANGED.get(record["VpcEndpointId"], 0.0) >= MOMENT
    if record["State"] == "deleting":
        return "" if old else "deleting"
    return "available" if old or record["State"] == "available" else str(record["State"])


def living() -> Iterator[dict[str, Any]]:
    """Endpoints of this account and region that are not gone; those that are leave the table."""
    from ministack.services import ec2

    for endpoint_id, record in list(ec2._vpc_endpoints.items()):
        if state_of(record):
            yield record
        else:
            ec2._vpc_endpoints.pop(endpoint_id, None)
            CHANGED.pop(endpoint_id, None)
            ec2._tags.pop(endpoint_id, None)


def short_service(name: str, region: str) -> str:
    """``s3`` of ``com.amazonaws.<region>.s3``.

    :raises Refused: it is no service of AWS's in this region
    """
    start = f"com.amazonaws.{region}."
    if not name.startswith(start) or not name.removeprefix(start):
        raise Refused("InvalidServiceName", f"The Vpc Endpoint Service '{name}' does not exist")
    return name.removeprefix(start)


def check_tables(vpc: str, service: str, tables: list[str], own: str = "") -> None:
    """Refuse route tables that are not there, of another VPC, or that lead to the service already."""
    from ministack.services import ec2

    for table in tables:
        found = ec2._route_tables.get(table)
        if found is None or found["VpcId"] != vpc:
            raise Refused(
                "InvalidRouteTableId.NotFound", f"The routeTable ID '{table}' does not exist"
            )
        for other in living():
            same = other["ServiceName"] == service and other["VpcEndpointId"] != own
            if same and table in other["RouteTableIds"] and state_of(other) != "deleting":
                raise Refused(
                    "RouteAlreadyExists",
                    f"route table {table} already has a route with destination-prefix-list-id "
                    f"pl-{abs(hash(service)) % 0xFFFFFFFF:08x}",
                )


def check_subnets(vpc: str, subnets: list[str]) -> None:
    """Refuse subnets that are not there, of another VPC, or two of one zone."""
    from ministack.services import ec2

    zones: dict[str, str] = {}
    for subnet in subnets:
        found = ec2._subnets.get(subnet)
        if found is None or found["VpcId"] != vpc:
            raise Refused("InvalidSubnetId.NotFound", f"The subnet ID '{subnet}' does not exist")
        if found["AvailabilityZone"] in zones:
            raise Refused(
                "DuplicateSubnetsInSameZone",
                f"Found another VPC endpoint subnet in the availability zone of {subnet}",
            )
        zones[found["AvailabilityZone"]] = subnet


def check_groups(vpc: str, groups: list[str]) -> None:
    """Refuse security groups that are not there, or of another VPC."""
    from ministack.services import ec2

    for group in groups:
        found = ec2._security_groups.get(group)
        if found is None or found["VpcId"] != vpc:
            raise Refused(
                "InvalidSecurityGroupId.NotFound", f"The security group ID '{group}' does not exist"
            )


def check_dns(vpc: str, service: str, own: str = "") -> None:
    """Refuse private DNS where the VPC has no DNS, or another endpoint has the name."""
    from ministack.services import ec2

    stored = ec2._vpcs[vpc]
    # The default VPC is born with both.
    names = stored.get("EnableDnsHostnames", bool(stored.get("IsDefault")))
    if not (stored.get("EnableDnsSupport", True) and names):
        raise Refused(
            "InvalidParameter",
            "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC "
            f"attributes set to true for {vpc}",
        )
    for other in living():
        if (
            other["VpcId"] == vpc
            and other["ServiceName"] == service
            and other["PrivateDnsEnabled"]
            and other["VpcEndpointId"] != own
        ):
            host = ".".join(reversed(service.split(".")[2:])) + ".amazonaws.com"
            raise Refused(
                "InvalidParameter",
                "private-dns-enabled cannot be set because there is already a conflicting DNS "
                f"domain for {host} in the VPC {vpc}",
            )


def create(params: Any) -> str:
    """CreateVpcEndpoint.

    :returns: the XML of the endpoint
    :raises Refused: AWS would refuse it
    """
    from ministack.core.responses import get_account_id, get_region
    from ministack.services import ec2

    given = Given(params)
    vpc, service = given.one("VpcId"), given.one("ServiceName")
    kind = given.one("VpcEndpointType") or "Gateway"
    asked = json.dumps(
        {
            name: values
            for name, values in sorted(params.items())
            if name not in ("ClientToken", "Action", "Version")
        },
        sort_keys=True,
        default=str,
    )
    token = given.one("ClientToken")
    if token in TOKENS:
        known, before = TOKENS[token]
        if before != asked:
            raise Refused(
                "IdempotentParameterMismatch",
                f"Client token {token} was used before with other parameters",
            )
        if known in ec2._vpc_endpoints:
            return xml(ec2._vpc_endpoints[known], "vpcEndpoint")
    if vpc not in ec2._vpcs:
        raise Refused("InvalidVpcId.NotFound", f"The Vpc Id {vpc} does not exist")
    short = short_service(service, str(get_region()))
    if kind == "Gateway" and short not in GATEWAYS:
        raise Refused(
            "InvalidParameter",
            f"Vpc Endpoint Service '{service}' does not support type Gateway",
        )
    tables, subnets = given.many("RouteTableId"), given.many("SubnetId")
    groups = given.many("SecurityGroupId")
    private = given.one("PrivateDnsEnabled").lower() == "true"
    if kind == "Gateway":
        check_tables(vpc, service, tables)
    else:
        check_subnets(vpc, subnets)
        groups = groups or [str(ec2._vpcs[vpc]["DefaultSecurityGroupId"])]
        check_groups(vpc, groups)
        if private:
            check_dns(vpc, service)
    endpoint_id = "vpce-" + ec2._new_vpc_id().removeprefix("vpc-").lower()
    ec2._vpc_endpoints[endpoint_id] = {
        "VpcEndpointId": endpoint_id,
        "VpcEndpointType": kind,
        "VpcId": vpc,
        "ServiceName": service,
        "State": "available" if kind == "Gateway" else "pending",
        "RouteTableIds": tables,
        "SubnetIds": subnets,
        "Groups": groups if kind != "Gateway" else [],
        "PrivateDnsEnabled": private and kind != "Gateway",
        "PolicyDocument": given.one("PolicyDocument") or DEFAULT_POLICY,
        "OwnerId": get_account_id(),
    }
    CHANGED[endpoint_id] = time.monotonic()
    ec2._parse_tag_specs(params, "vpc-endpoint", endpoint_id)
    if token:
        TOKENS[token] = (endpoint_id, asked)
    return xml(ec2._vpc_endpoints[endpoint_id], "vpcEndpoint")


def find(endpoint_id: str) -> dict[str, Any]:
    """An endpoint that is neither gone nor going.

    :raises Refused: there is none
    """
    for record in living():
        if record["VpcEndpointId"] == endpoint_id and state_of(record) != "deleting":
            return record
    raise Refused(
        "InvalidVpcEndpointId.NotFound", f"The Vpc Endpoint Id '{endpoint_id}' does not exist"
    )


def modify(params: Any) -> str:
    """ModifyVpcEndpoint.

    :raises Refused: AWS would refuse it
    """
    given = Given(params)
    record = find(given.one("VpcEndpointId"))
    if state_of(record) == "pending":
        raise Refused(
            "IncorrectState", f"The VPC endpoint {record['VpcEndpointId']} is not available"
        )
    wanted = {
        field: [
            *(one for one in record[field] if one not in given.many(f"Remove{name}")),
            *(one for one in given.many(f"Add{name}") if one not in record[field]),
        ]
        for field, name in (
            ("RouteTableIds", "RouteTableId"),
            ("SubnetIds", "SubnetId"),
            ("Groups", "SecurityGroupId"),
        )
    }
    own, vpc, service = record["VpcEndpointId"], record["VpcId"], record["ServiceName"]
    check_tables(vpc, service, given.many("AddRouteTableId"), own)
    check_subnets(vpc, wanted["SubnetIds"])
    check_groups(vpc, wanted["Groups"])
    private = given.one("PrivateDnsEnabled")
    if private.lower() == "true":
        check_dns(vpc, service, own)
    record.update(wanted)
    if private:
        record["PrivateDnsEnabled"] = private.lower() == "true"
    if given.one("ResetPolicy").lower() == "true":
        record["PolicyDocument"] = DEFAULT_POLICY
    record["PolicyDocument"] = given.one("PolicyDocument") or record["PolicyDocument"]
    return "<return>true</return>"


def delete(params: Any) -> str:
    """DeleteVpcEndpoints: what is not there is told, the rest goes."""
    failed = ""
    for endpoint_id in Given(params).many("VpcEndpointId"):
        try:
            find(endpoint_id).update(State="deleting")
            CHANGED[endpoint_id] = time.monotonic()
        except Refused as refused:
            failed += (
                f"<item><resourceId>{endpoint_id}</resourceId><error><code>{refused.code}</code>"
                f"<message>{escape(str(refused))}</message></error></item>"
            )
    list(living())
    return f"<unsuccessful>{failed}</unsuccessful>"


FILTERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "vpc-id": lambda record: str(record["VpcId"]),
    "service-name": lambda record: str(record["ServiceName"]),
    "vpc-endpoint-id": lambda record: str(record["VpcEndpointId"]),
    "vpc-endpoint-type": lambda record: str(record["VpcEndpointType"]),
    "vpc-endpoint-state": state_of,
}


def describe(params: Any) -> str:
    """DescribeVpcEndpoints, in pages.

    :raises Refused: an id or a filter is unknown
    """
    from ministack.services import ec2

    given, filters = Given(params), ec2._parse_filters(params)
    ids = given.many("VpcEndpointId")
    there = {record["VpcEndpointId"]: record for record in living()}
    for endpoint_id in ids:
        if endpoint_id not in there:
            raise Refused(
                "InvalidVpcEndpointId.NotFound",
                f"The Vpc Endpoint Id '{endpoint_id}' does not exist",
            )
    for name in filters:
        if name not in FILTERS and not name.startswith("tag"):
            raise Refused("InvalidParameter", f"The filter '{name}' is invalid")
    chosen = [
        record
        for endpoint_id, record in sorted(there.items())
        if (not ids or endpoint_id in ids)
        and ec2._resource_matches_tag_filters(endpoint_id, filters)
        and all(
            FILTERS[name](record) in values for name, values in filters.items() if name in FILTERS
        )
    ]
    start = int(given.one("NextToken") or 0)
    end = start + min(int(given.one("MaxResults") or PAGE), PAGE)
    items = "".join(xml(record) for record in chosen[start:end])
    more = f"<nextToken>{end}</nextToken>" if end < len(chosen) else ""
    return f"<vpcEndpointSet>{items}</vpcEndpointSet>{more}"


def xml(record: dict[str, Any], tag: str = "item") -> str:
    """An endpoint in the answer's form."""
    from ministack.services import ec2

    def listed(name: str, ids: list[str]) -> str:
        return f"<{name}>{''.join(f'<item>{one}</item>' for one in ids)}</{name}>"

    groups = "".join(
        f"<item><groupId>{one}</groupId>"
        f"<groupName>{escape(str((ec2._security_groups.get(one) or {}).get('GroupName', one)))}"
        "</groupName></item>"
        for one in record["Groups"]
    )
    fields = {
        "vpcEndpointId": record["VpcEndpointId"],
        "vpcEndpointType": record["VpcEndpointType"],
        "vpcId": record["VpcId"],
        "serviceName": record["ServiceName"],
        "state": state_of(record) or "deleted",
        "ownerId": record["OwnerId"],
        "policyDocument": record["PolicyDocument"],
        "privateDnsEnabled": str(record["PrivateDnsEnabled"]).lower(),
    }
    told = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in fields.items())
    return (
        f"<{tag}>{told}"
        f"{listed('routeTableIdSet', record['RouteTableIds'])}"
        f"{listed('subnetIdSet', record['SubnetIds'])}<groupSet>{groups}</groupSet>"
        f"{ec2._tag_set_xml(record['VpcEndpointId'])}</{tag}>"
    )


CALLS: dict[str, Callable[[Any], str]] = {
    "CreateVpcEndpoint": create,
    "ModifyVpcEndpoint": modify,
    "DeleteVpcEndpoints": delete,
    "DescribeVpcEndpoints": describe,
}


def answered(operation: str, call: Callable[[Any], str]) -> Callable[[Any], Reply]:
    """A call as the service's table has it."""

    def handle(params: Any) -> Reply:
        from ministack.services import ec2

        try:
            inner = call(params)
        except Refused as refused:
            return tuple(ec2._error(refused.code, escape(str(refused)), 400))
        return tuple(ec2._xml(200, f"{operation}Response", inner))

    return handle


def install() -> None:
    """Put the calls into EC2's table."""
    from ministack.services import ec2

    for operation, call in CALLS.items():
        ec2._ACTION_MAP[operation] = answered(operation, call)
