"""EC2's networks hold together: what is used can't go, who may do what is judged on each resource,
and functions in a VPC have network interfaces there.

EC2 API reference, "DeleteSecurityGroup", "DeleteSubnet" (DependencyViolation), "AuthorizeSecurityGroup-
Ingress" (InvalidPermission.Duplicate); Service Authorization Reference, "Amazon EC2"; Lambda Developer
Guide, "Giving Lambda functions access to resources in an Amazon VPC".
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from weir_local.aws import endpoints
from weir_local.aws.access import denial, refuse, role_denial
from weir_local.aws.wire import Reply, Request, guard_service, json_error, observe_service

FUNCTION = re.compile(r"/2015-03-31/functions(?:/([^/]+)(/configuration)?)?/?")
SOURCES = ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
KINDS = {
    "sg": "security-group",
    "vpce": "vpc-endpoint",
    "vpc": "vpc",
    "subnet": "subnet",
    "rtb": "route-table",
    "eni": "network-interface",
}
"""Beginning of an id -> the resource type in its ARN."""
USED = {
    "CreateSecurityGroup": ("VpcId",),
    "CreateVpcEndpoint": ("VpcId", "RouteTableId", "SubnetId", "SecurityGroupId"),
    "ModifyVpcEndpoint": (
        "AddRouteTableId",
        "AddSubnetId",
        "AddSecurityGroupId",
        "RemoveRouteTableId",
        "RemoveSubnetId",
        "RemoveSecurityGroupId",
    ),
}
"""Operation -> the parameters whose resources it must be allowed on, beside its own."""
MADE = {"CreateSecurityGroup": "security-group", "CreateVpcEndpoint": "vpc-endpoint"}
OWN = ("VpcEndpointId", "VpcEndpointId.1", "GroupId", "ResourceId.1")
INTERFACE = "AWS Lambda VPC ENI-"
LINGER = 0.5
"""Seconds that an interface outlives its last function; on AWS up to 20 minutes."""
FUNCTION_NEEDS = ("ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces")


def arn_of(resource: str, region: str, account: str) -> str:
    """The ARN of an id."""
    kind = KINDS.get(resource.rpartition("-")[0], "unknown")
    return f"arn:aws:ec2:{region}:{account}:{kind}/{resource}"


def vpc_of(resource: str) -> str:
    """The VPC that a resource is in; empty where it has none."""
    from ministack.services import ec2

    stores = (ec2._security_groups, ec2._subnets, ec2._route_tables, ec2._vpc_endpoints)
    return next((str(store[resource]["VpcId"]) for store in stores if resource in store), "")


def condition_keys(resource: str, region: str, account: str) -> dict[str, str]:
    """``aws:ResourceTag`` and ``ec2:Vpc`` of a resource that is there, in lower case."""
    from ministack.services import ec2

    keys = {
        f"aws:resourcetag/{tag['Key'].lower()}": tag.get("Value", "")
        for tag in ec2._tags.get(resource, [])
    }
    vpc = vpc_of(resource)
    return {**keys, "ec2:vpc": arn_of(vpc, region, account)} if vpc else keys


def own_id(form: dict[str, str]) -> str:
    """The resource that a call changes."""
    return next((form[name] for name in OWN if form.get(name)), "")


def resource(operation: str, form: dict[str, Any], region: str, account: str) -> str | None:
    """The ARN on which EC2 judges a call first; None leaves it to MiniStack."""
    if operation in MADE:
        return f"arn:aws:ec2:{region}:{account}:{MADE[operation]}/*"
    if operation.startswith("Describe"):
        return "*"
    changed = own_id({name: str(value) for name, value in form.items()})
    return arn_of(changed, region, account) if changed else None


def request_tags(form: dict[str, str]) -> dict[str, str]:
    """``aws:RequestTag`` of a call's tags, given at creation or to CreateTags."""
    found = {}
    for name, key in form.items():
        if re.fullmatch(r"(TagSpecification\.\d+\.)?Tag\.\d+\.Key", name):
            found[f"aws:requesttag/{key.lower()}"] = form.get(f"{name[:-3]}Value", "")
    return found


def context(form: dict[str, str]) -> dict[str, Any]:
    """The condition keys of a call on the resource that it changes."""
    from ministack.core.responses import get_account_id, get_region

    changed = own_id(form)
    there = condition_keys(changed, str(get_region()), str(get_account_id())) if changed else {}
    return {**there, **request_tags(form)}


def guard(request: Request) -> Reply | None:
    """Judge a call on every resource that it uses, and tags at creation; refuse what is wrong."""
    form, operation = request.form, request.operation
    region, account = request.region, request.account

    def asked(action: str, arn: str, keys: dict[str, Any]) -> Reply | None:
        message = denial(request.access_key, action, arn, region, keys)
        return refuse(request, message) if message else None

    for name in USED.get(operation, ()):
        for parameter, used in form.items():
            if parameter != name and not re.fullmatch(rf"{name}\.\d+", parameter):
                continue
            keys = condition_keys(used, region, account)
            found = asked(f"ec2:{operation}", arn_of(used, region, account), keys)
            if found:
                return found
    if operation in MADE and "TagSpecification.1.ResourceType" in form:
        keys = {**request_tags(form), "ec2:createaction": operation}
        arn = f"arn:aws:ec2:{region}:{account}:{MADE[operation]}/*"
        return asked("ec2:CreateTags", arn, keys)
    return None


Call = Callable[[Any], Reply]


def users_of_group(group: str) -> Iterator[str]:
    """Who keeps a security group from going."""
    from ministack.services import ec2

    for record in endpoints.living():
        if group in record["Groups"]:
            yield str(record["VpcEndpointId"])
    for interface_id, interface in interfaces():
        if any(one["GroupId"] == group for one in interface["Groups"]):
            yield interface_id
    for other, stored in ec2._security_groups.items():
        rules = [*stored["IpPermissions"], *stored["IpPermissionsEgress"]]
        if other != group and any(
            pair.get("GroupId") == group for rule in rules for pair in rule["UserIdGroupPairs"]
        ):
            yield other


def users_of_subnet(subnet: str) -> Iterator[str]:
    """Who keeps a subnet from going."""
    for record in endpoints.living():
        if subnet in record["SubnetIds"]:
            yield str(record["VpcEndpointId"])
    for interface_id, interface in interfaces():
        if interface["SubnetId"] == subnet:
            yield interface_id


def users_of_vpc(vpc: str) -> Iterator[str]:
    """Which endpoints keep a VPC from going; MiniStack knows of the rest."""
    yield from (str(one["VpcEndpointId"]) for one in endpoints.living() if one["VpcId"] == vpc)


HOLDERS: dict[str, tuple[str, Callable[[str], Iterator[str]]]] = {
    "DeleteSecurityGroup": ("GroupId", users_of_group),
    "DeleteSubnet": ("SubnetId", users_of_subnet),
    "DeleteVpc": ("VpcId", users_of_vpc),
}


def held(operation: str, inner: Call) -> Call:
    """A deletion that what is used refuses."""
    name, holders = HOLDERS[operation]

    def handle(params: Any) -> Reply:
        from ministack.services import ec2

        gone = ec2._p(params, name)
        if any(True for _ in holders(gone)):
            return tuple(
                ec2._error("DependencyViolation", f"resource {gone} has a dependent object", 400)
            )
        return inner(params)

    return handle


def single(rules: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules with one source each, as AWS keeps them."""
    return [
        {**rule, **{key: [] for key in SOURCES}, field: [item]}
        for rule in rules
        for field in SOURCES
        for item in rule.get(field) or ()
    ]


def authorized(side: str, inner: Call) -> Call:
    """A rule is added once, and names groups that are there."""
    field = "IpPermissions" if side == "Ingress" else "IpPermissionsEgress"

    def handle(params: Any) -> Reply:
        from ministack.services import ec2

        group = ec2._security_groups.get(ec2._p(params, "GroupId")) or {}
        for rule in single(ec2._parse_ip_permissions(params, "IpPermissions")):
            for pair in rule["UserIdGroupPairs"]:
                if pair.get("GroupId") and pair["GroupId"] not in ec2._security_groups:
                    words = f"The security group '{pair['GroupId']}' does not exist"
                    return tuple(ec2._error("InvalidGroup.NotFound", words, 400))
            if any(ec2._rules_match(rule, there) for there in group.get(field, ())):
                words = "the specified rule already exists"
                return tuple(ec2._error("InvalidPermission.Duplicate", words, 400))
        reply = inner(params)
        if group:
            group[field] = single(
                {key: value for key, value in rule.items() if key != "SecurityGroupRuleId"}
                for rule in group[field]
            )
        return reply

    return handle


def chosen_groups(inner: Call) -> Call:
    """DescribeSecurityGroups knows the filter ``group-id``."""

    def handle(params: Any) -> Reply:
        from ministack.services import ec2

        wanted = ec2._parse_filters(params).get("group-id")
        if wanted is None:
            return inner(params)
        there = [one for one in wanted if one in ec2._security_groups]
        if not there:
            return tuple(ec2._xml(200, "DescribeSecurityGroupsResponse", "<securityGroupInfo/>"))
        ids = {f"GroupId.{number}": [one] for number, one in enumerate(there, 1)}
        return inner({**params, **ids})

    return handle


def interfaces() -> Iterator[tuple[str, dict[str, Any]]]:
    """Network interfaces; those of functions that are gone for a while leave the table."""
    from ministack.services import ec2

    wanted = set(places())
    for interface_id, record in list(ec2._network_interfaces.items()):
        if record["Description"].startswith(INTERFACE):
            groups = tuple(sorted(one["GroupId"] for one in record["Groups"]))
            if (record["SubnetId"], groups) in wanted:
                record.pop("Left", None)
            elif time.monotonic() - record.setdefault("Left", time.monotonic()) > LINGER:
                ec2._network_interfaces.pop(interface_id, None)
                continue
        yield interface_id, record


def places() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Subnet and groups of every function in a VPC: those with the same ones share an interface."""
    from ministack.services import lambda_svc

    for function in lambda_svc._functions.values():
        config = (function.get("config") or {}).get("VpcConfig") or {}
        for subnet in config.get("SubnetIds") or ():
            yield subnet, tuple(sorted(config.get("SecurityGroupIds") or ()))


def described_interfaces(params: Any) -> Reply:
    """DescribeNetworkInterfaces with filters."""
    from ministack.services import ec2

    filters, ids = ec2._parse_filters(params), ec2._parse_member_list(params, "NetworkInterfaceId")
    told: dict[str, Callable[[dict[str, Any]], list[str]]] = {
        "description": lambda one: [one["Description"]],
        "subnet-id": lambda one: [one["SubnetId"]],
        "vpc-id": lambda one: [one["VpcId"]],
        "status": lambda one: [one["Status"]],
        "group-id": lambda one: [group["GroupId"] for group in one["Groups"]],
    }
    found = [
        record
        for interface_id, record in interfaces()
        if (not ids or interface_id in ids)
        and ec2._resource_matches_tag_filters(interface_id, filters)
        and all(
            any(
                fnmatch.fnmatchcase(value, pattern)
                for value in told[name](record)
                for pattern in patterns
            )
            for name, patterns in filters.items()
            if name in told
        )
    ]
    items = "".join(ec2._eni_fields_xml(one) for one in found)
    inner = f"<networkInterfaceSet>{items}</networkInterfaceSet>"
    return tuple(ec2._xml(200, "DescribeNetworkInterfacesResponse", inner))


def function_guard(request: Request) -> Reply | None:
    """Refuse a function whose subnets or groups are not there, or whose role may not join them."""
    config = request.json.get("VpcConfig") or {}
    match = FUNCTION.fullmatch(request.path)
    if not match or request.method not in ("POST", "PUT") or not config.get("SubnetIds"):
        return None
    from ministack.services import ec2

    ec2._ensure_defaults_initialized()
    vpcs = set()
    for kind, field, store in (
        ("subnet", "SubnetIds", ec2._subnets),
        ("security group", "SecurityGroupIds", ec2._security_groups),
    ):
        verb, code = (
            ("DescribeSubnets", "InvalidSubnetID.NotFound")
            if kind == "subnet"
            else ("DescribeSecurityGroups", "InvalidGroup.NotFound")
        )
        for one in config.get(field) or ():
            if one not in store:
                return json_error(
                    "InvalidParameterValueException",
                    f"Error occurred while {verb}. EC2 Error Code: {code}. EC2 Error Message: The "
                    f"{kind} ID '{one}' does not exist",
                )
            vpcs.add(store[one]["VpcId"])
    if len(vpcs) > 1 or not config.get("SecurityGroupIds"):
        return json_error(
            "InvalidParameterValueException",
            "The subnets and security groups of a function must be of one VPC, at least one of each",
        )
    role = request.json.get("Role") or _role_of(unquote(match.group(1) or ""))
    for action in FUNCTION_NEEDS:
        if role and role_denial(role, action, "*", request.region):
            return json_error(
                "InvalidParameterValueException",
                "The provided execution role does not have permissions to call "
                f"{action.partition(':')[2]} on EC2",
            )
    return None


def _role_of(function: str) -> str:
    from ministack.services import lambda_svc

    stored = lambda_svc._functions.get(function.rpartition(":")[2]) or {}
    return str((stored.get("config") or {}).get("Role", ""))


def join(request: Request, reply: Reply) -> None:
    """Give a function that entered a VPC an interface in each of its subnets."""
    match = FUNCTION.fullmatch(request.path)
    config = request.json.get("VpcConfig") or {}
    if not match or reply[0] >= 300 or not config.get("SubnetIds"):
        return
    from ministack.services import ec2

    name = unquote(match.group(1) or request.json.get("FunctionName", "")).rpartition(":")[2]
    groups = sorted(config.get("SecurityGroupIds") or ())
    there = {
        (one["SubnetId"], tuple(sorted(group["GroupId"] for group in one["Groups"])))
        for _, one in interfaces()
        if one["Description"].startswith(INTERFACE)
    }
    for number, subnet in enumerate(config["SubnetIds"]):
        if (subnet, tuple(groups)) in there:
            continue
        interface_id = "eni-" + ec2._new_vpc_id().removeprefix("vpc-").lower()
        ec2._network_interfaces[interface_id] = {
            "NetworkInterfaceId": interface_id,
            "SubnetId": subnet,
            "VpcId": ec2._subnets[subnet]["VpcId"],
            "AvailabilityZone": ec2._subnets[subnet]["AvailabilityZone"],
            "Description": f"{INTERFACE}{escape(name)}-{interface_id[4:]}",
            "OwnerId": request.account,
            "Status": "in-use",
            "PrivateIpAddress": f"10.0.{number}.{len(there) % 250 + 4}",
            "InterfaceType": "lambda",
            "SourceDestCheck": True,
            "MacAddress": "02:00:00:00:00:01",
            "Groups": [{"GroupId": one, "GroupName": one} for one in groups],
            "Attachment": None,
        }


def install() -> None:
    """Wrap EC2's calls and Lambda's."""
    from ministack.services import ec2

    endpoints.install()
    table = ec2._ACTION_MAP
    for operation in HOLDERS:
        table[operation] = held(operation, table[operation])
    for side in ("Ingress", "Egress"):
        operation = f"AuthorizeSecurityGroup{side}"
        table[operation] = authorized(side, table[operation])
    table["DescribeSecurityGroups"] = chosen_groups(table["DescribeSecurityGroups"])
    table["DescribeNetworkInterfaces"] = described_interfaces
    guard_service("ec2", guard)
    guard_service("lambda", function_guard)
    observe_service("lambda", join)
