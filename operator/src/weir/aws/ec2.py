"""EC2's networks: security groups and VPC endpoints that Weir makes, VPCs and subnets that it finds.

Groups are found by their name, endpoints by the tag ``Name``: AWS gives both ids of its own. Both are
described whole, tags included, so that a listing tells all.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, changed, chunks
from weir.aws.documents import encode, policy
from weir.aws.errors import AwsError, Conflict, Invalid, NotYet
from weir.aws.external import ReadOnly
from weir.resource import Change, Observed, Resource, Traits

VALUES = 200
"""Values of one filter at most (EC2 User Guide, *List and filter your resources*)."""
NAME = "Name"
"""The tag that consoles show; endpoints are found by it."""
SELF = "self"
"""In a rule: the group that has the rule."""
LEAVING_SECONDS = 20.0
DNS = ("EnableDnsSupport", "EnableDnsHostnames")


class Finder(ServiceAdapter):
    """What all kinds of EC2 share: descriptions by filter, in pages."""

    service = "ec2"

    def survey(self, names: Sequence[str]) -> Iterator[Observed]:
        """As :meth:`observe`: a description by filter tells everything of 200 names."""
        yield from self.observe(names).values()

    def described(
        self, operation: str, key: str, filter_name: str, values: Iterable[str]
    ) -> Iterable[dict[str, Any]]:
        """All items whose filter has one of these values."""
        for some in chunks(sorted(set(values)), VALUES):
            chosen = [{"Name": filter_name, "Values": list(some)}]
            yield from self.calls.pages(operation, key, some[0], Filters=chosen)

    def tag(self, observed: Observed, tags: Mapping[str, str]) -> None:
        """Write the tags that are not there."""
        new = tagging.missing(observed.tags, tags)
        if new:
            ids = [observed.attributes["id"]]
            self.calls("CreateTags", observed.name, Resources=ids, Tags=tagging.pairs(new))

    def given_tags(self, kind: str, tags: Mapping[str, str]) -> list[dict[str, Any]]:
        """Tags that are there from the first moment on."""
        return [{"ResourceType": kind, "Tags": tagging.pairs(tags)}]


class Vpc(ReadOnly, Finder):
    """A VPC, observed only, and the endpoints in it, whoever made them.

    Properties: ``EnableDnsSupport``, ``EnableDnsHostnames``, ``Endpoints`` (each with ``Id``,
    ``ServiceName``, ``Type``, ``RouteTableIds``, ``PrivateDnsEnabled``, ``Tags``).
    Attributes: ``arn``, ``id``.
    """

    kind = "ec2.Vpc"

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        wanted = list(dict.fromkeys(names))
        vpcs = list(self.described("DescribeVpcs", "Vpcs", "vpc-id", wanted))
        there: dict[str, list[dict[str, Any]]] = {vpc["VpcId"]: [] for vpc in vpcs}
        if there:
            for item in self.described("DescribeVpcEndpoints", "VpcEndpoints", "vpc-id", there):
                if _lives(item):
                    there[item["VpcId"]].append(_brief(item))
        return {name: self._observed(name, there[name]) for name in wanted if name in there}

    def _observed(self, name: str, endpoints: list[dict[str, Any]]) -> Observed:
        dns = {}
        for attribute in DNS:
            key = attribute[0].lower() + attribute[1:]
            told = self.calls("DescribeVpcAttribute", name, VpcId=name, Attribute=key)
            dns[attribute] = bool(told.get(attribute, {}).get("Value"))
        found = sorted(endpoints, key=lambda one: str(one["Id"]))
        return Observed(
            name,
            {**dns, "Endpoints": found},
            attributes={"arn": self.session.arn("ec2", f"vpc/{name}"), "id": name},
        )


class Subnets(ReadOnly, Finder):
    """Subnets that are used together, observed only; the name is their ids with commas. They are
    there when every one of them is.

    Properties: ``Subnets`` (each with ``Id``, ``VpcId``, ``Zone``, ``RouteTableId``, ``Outward``:
    whether its route table has a default route). Attributes: ``arn``; with commas, ``routeTableIds``
    and ``zonedIds``, the first subnet of each zone; ``zone``, that of the first subnet.
    """

    kind = "ec2.Subnets"

    def look(self, name: str) -> Observed | None:
        ids = name.split(",")
        described = self.described("DescribeSubnets", "Subnets", "subnet-id", ids)
        found = {item["SubnetId"]: item for item in described}
        if set(ids) - set(found):
            return None
        there = [found[one] for one in ids]
        tables = self._tables({item["VpcId"] for item in there})
        subnets = [_subnet(item, tables) for item in there]
        zoned: dict[str, str] = {}
        for subnet in subnets:
            zoned.setdefault(subnet["Zone"], subnet["Id"])
        routed = sorted({one["RouteTableId"] for one in subnets if one["RouteTableId"]})
        return Observed(
            name,
            {"Subnets": subnets},
            attributes={
                "arn": self.session.arn("ec2", f"subnet/{subnets[0]['Id']}"),
                "routeTableIds": ",".join(routed),
                "zonedIds": ",".join(sorted(zoned.values())),
                "zone": subnets[0]["Zone"],
            },
        )

    def _tables(self, vpcs: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Subnet, or VPC for its main table, -> the route table."""
        found: dict[str, dict[str, Any]] = {}
        for table in self.described("DescribeRouteTables", "RouteTables", "vpc-id", vpcs):
            for one in table.get("Associations") or ():
                found[table["VpcId"] if one.get("Main") else one.get("SubnetId", "")] = table
        return found


def _subnet(item: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    table = tables.get(item["SubnetId"]) or tables.get(item["VpcId"]) or {}
    return {
        "Id": item["SubnetId"],
        "VpcId": item["VpcId"],
        "Zone": item.get("AvailabilityZone", ""),
        "RouteTableId": table.get("RouteTableId", ""),
        "Outward": any(_default_route(route) for route in table.get("Routes") or ()),
    }


def _default_route(route: Mapping[str, Any]) -> bool:
    """Whether a route leads everything out that nothing else matches, and still works."""
    to = route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock")
    return to in ("0.0.0.0/0", "::/0") and route.get("State", "active") == "active"


class SecurityGroup(Finder):
    """A security group: by name where Weir makes it, by id (``sg-...``) where it is somebody's.

    Properties: ``VpcId``, ``Description``, ``IpPermissions`` and ``IpPermissionsEgress``: a list of
    rules with ``IpProtocol``, ``FromPort``, ``ToPort`` (-1 for all) and one ``Source``, which is a
    CIDR, a group's or prefix list's id, or ``self``. Attributes: ``arn``, ``id``.
    """

    kind = "ec2.SecurityGroup"
    traits = Traits(
        immutable=frozenset({"VpcId", "Description"}),
        unordered=frozenset({"IpPermissions", "IpPermissionsEgress"}),
    )

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = dict(properties)
        for field in RULES:
            if field in form:
                form[field] = [_rule(rule) for rule in form[field]]
        return form

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        ids = [name for name in names if name.startswith("sg-")]
        own = [name for name in names if not name.startswith("sg-")]
        found: dict[str, Observed] = {}
        for filter_name, wanted, key in (
            ("group-id", ids, "GroupId"),
            ("group-name", own, "GroupName"),
        ):
            for group in self.described(
                "DescribeSecurityGroups", "SecurityGroups", filter_name, wanted
            ):
                found[group[key]] = self._observed(group[key], group)
        return found

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        wanted, name = resource.properties, resource.name
        try:
            made = self.calls(
                "CreateSecurityGroup",
                name,
                GroupName=name,
                Description=wanted["Description"],
                VpcId=wanted["VpcId"],
                TagSpecifications=self.given_tags("security-group", tags),
            )
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        born = self.must_see(name)
        if not born.properties:
            return born
        if born.attributes["id"] != made["GroupId"]:
            raise NotYet(
                f"security group {name} was made, and EC2 still shows one that went before",
                service=self.service,
                operation="DescribeSecurityGroups",
                resource=name,
                retry_after=1.0,
            )
        self._settle(made["GroupId"], born, wanted)
        return self.must_see(name)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        fields = changed(changes) & set(RULES)
        if fields:
            wanted = {field: resource.properties[field] for field in fields}
            self._settle(observed.attributes["id"], observed, wanted)
        self.tag(observed, tags)
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        group = observed.attributes["id"]
        try:
            self.calls.find("DeleteSecurityGroup", observed.name, GroupId=group)
        except NotYet as held:
            raise NotYet(
                f"{held}: what has it (endpoints, network interfaces of functions and jobs) is "
                "still going; Lambda gives its interfaces back within 20 minutes",
                service=self.service,
                operation="DeleteSecurityGroup",
                resource=observed.name,
                retry_after=LEAVING_SECONDS,
            ) from held

    def _settle(self, group: str, seen: Observed, wanted: Mapping[str, Any]) -> None:
        """Bring the rules there: first what is missing, so that nothing is cut off in between."""
        for field, side in RULES.items():
            if field not in wanted:
                continue
            want = [_rule(rule) for rule in wanted[field]]
            have = seen.properties.get(field) or []
            for verb, rules in (
                ("Authorize", [rule for rule in want if rule not in have]),
                ("Revoke", [rule for rule in have if rule not in want]),
            ):
                if rules:
                    permissions = [_permission(rule, group) for rule in rules]
                    self.calls(
                        f"{verb}SecurityGroup{side}",
                        seen.name,
                        GroupId=group,
                        IpPermissions=permissions,
                    )

    def _observed(self, name: str, group: Mapping[str, Any]) -> Observed:
        group_id = group["GroupId"]
        return Observed(
            name,
            {
                "VpcId": group.get("VpcId", ""),
                "Description": group.get("Description", ""),
                **{
                    field: [
                        rule
                        for permission in group.get(field) or ()
                        for rule in _flat(permission, group_id)
                    ]
                    for field in RULES
                },
            },
            attributes={
                "arn": self.session.arn("ec2", f"security-group/{group_id}"),
                "id": group_id,
            },
            tags=tagging.mapping(group.get("Tags")),
        )


RULES = {"IpPermissions": "Ingress", "IpPermissionsEgress": "Egress"}
"""Property -> how the calls that change it are named."""
SOURCES = (
    ("IpRanges", "CidrIp"),
    ("Ipv6Ranges", "CidrIpv6"),
    ("PrefixListIds", "PrefixListId"),
    ("UserIdGroupPairs", "GroupId"),
)


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "IpProtocol": str(rule["IpProtocol"]),
        "FromPort": rule.get("FromPort", -1),
        "ToPort": rule.get("ToPort", -1),
        "Source": rule["Source"],
    }


def _flat(permission: Mapping[str, Any], group: str) -> Iterable[dict[str, Any]]:
    """AWS joins rules of the same ports: one for each source."""
    for field, key in SOURCES:
        for item in permission.get(field) or ():
            source = SELF if item[key] == group else item[key]
            yield _rule({**permission, "Source": source})


def _permission(rule: Mapping[str, Any], group: str) -> dict[str, Any]:
    source = group if rule["Source"] == SELF else str(rule["Source"])
    if source.startswith("sg-"):
        field, key = "UserIdGroupPairs", "GroupId"
    elif source.startswith("pl-"):
        field, key = "PrefixListIds", "PrefixListId"
    else:
        field, key = ("Ipv6Ranges", "CidrIpv6") if ":" in source else ("IpRanges", "CidrIp")
    ports = {name: rule[name] for name in ("FromPort", "ToPort")}
    every = rule["IpProtocol"] == "-1"
    return {"IpProtocol": rule["IpProtocol"], **({} if every else ports), field: [{key: source}]}


LISTS = {
    "RouteTableIds": "RouteTableIds",
    "SubnetIds": "SubnetIds",
    "SecurityGroupIds": "SecurityGroupIds",
}
"""Lists of an endpoint -> their suffix in ``Add...`` and ``Remove...`` of ModifyVpcEndpoint."""
GONE = frozenset({"deleting", "deleted"})
PENDING = frozenset({"pending", "pendingacceptance"})
AVAILABLE = "available"
TAKEN = ("private-dns-enabled cannot be set", "RouteAlreadyExists", "already has a route")
"""How AWS says that another endpoint or zone answers for the service already."""


class VpcEndpoint(Finder):
    """An endpoint of an AWS service in a VPC, found by its tag ``Name``.

    Properties: ``VpcId``, ``ServiceName``, ``VpcEndpointType`` (``Gateway``, ``Interface``),
    ``RouteTableIds``, ``SubnetIds`` and ``SecurityGroupIds`` (lists, or ids with commas),
    ``PrivateDnsEnabled``, ``PolicyDocument``. Attributes: ``arn``, ``id``, ``state``.
    """

    kind = "ec2.VpcEndpoint"
    traits = Traits(
        immutable=frozenset({"VpcId", "ServiceName", "VpcEndpointType", "State"}),
        unordered=frozenset(LISTS),
    )

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = {**properties, "State": AVAILABLE}
        for field in LISTS:
            if field in form:
                form[field] = _ids(form[field])
        if "PolicyDocument" in form:
            form["PolicyDocument"] = policy(form["PolicyDocument"])
        return form

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        return {
            seen.name: seen
            for item in self.described("DescribeVpcEndpoints", "VpcEndpoints", "tag:Name", names)
            if _lives(item) and (seen := self._observed(item))
        }

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        wanted = self.canonical(resource.properties)
        given = {
            key: value
            for key, value in wanted.items()
            if key != "State" and value not in (None, [])
        }
        if "PolicyDocument" in given:
            given["PolicyDocument"] = encode(wanted["PolicyDocument"])
        try:
            made = self.calls(
                "CreateVpcEndpoint",
                resource.name,
                # Each try of the call is the same to AWS; another call is another endpoint.
                ClientToken=uuid.uuid4().hex,
                TagSpecifications=self.given_tags("vpc-endpoint", {**tags, NAME: resource.name}),
                **given,
            )["VpcEndpoint"]
        except AwsError as refused:
            if not any(words in str(refused) for words in TAKEN):
                raise
            return self._taken(resource, tags, refused)
        return self._observed({**made, "Tags": tagging.pairs({**tags, NAME: resource.name})})

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        wanted = self.canonical(resource.properties)
        fields = changed(changes) & set(wanted) - self.traits.immutable
        given: dict[str, Any] = {}
        for field in sorted(fields & set(LISTS)):
            want, have = wanted[field], observed.properties.get(field) or []
            given[f"Add{field}"] = [one for one in want if one not in have]
            given[f"Remove{field}"] = [one for one in have if one not in want]
        if "PrivateDnsEnabled" in fields:
            given["PrivateDnsEnabled"] = wanted["PrivateDnsEnabled"]
        if "PolicyDocument" in fields:
            given["PolicyDocument"] = encode(wanted["PolicyDocument"])
        given = {key: value for key, value in given.items() if value != []}
        if given:
            self.calls(
                "ModifyVpcEndpoint",
                resource.name,
                VpcEndpointId=observed.attributes["id"],
                **given,
            )
        self.tag(observed, {**tags, NAME: resource.name})
        return (
            self.must_see(resource.name)
            if given
            else self.rewritten(resource, observed, changes, tags)
        )

    def delete(self, observed: Observed) -> None:
        answer = self.calls(
            "DeleteVpcEndpoints", observed.name, VpcEndpointIds=[observed.attributes["id"]]
        )
        for item in answer.get("Unsuccessful") or ():
            error = item.get("Error", {})
            if str(error.get("Code", "")).endswith(".NotFound"):
                continue
            raise NotYet(
                f"ec2 DeleteVpcEndpoints {observed.name}: {error.get('Code')}: "
                f"{error.get('Message')}",
                service=self.service,
                operation="DeleteVpcEndpoints",
                resource=observed.name,
                retry_after=LEAVING_SECONDS,
            )

    def _taken(self, resource: Resource, tags: Mapping[str, str], refused: AwsError) -> Observed:
        """Ours after all, one of ours that is still going, or somebody else's."""
        wanted, name = resource.properties, resource.name
        if name in self.observe([name]):
            raised = Conflict(str(refused), service=self.service, resource=name)
            return self.taken_back(resource, tags, raised)
        others = [
            item
            for item in self.described(
                "DescribeVpcEndpoints", "VpcEndpoints", "vpc-id", [wanted["VpcId"]]
            )
            if item["ServiceName"] == wanted["ServiceName"]
        ]
        if any(item["State"].lower() == "deleting" for item in others):
            raise NotYet(
                f"{refused}: an endpoint that was there before is still being deleted",
                service=self.service,
                resource=name,
                retry_after=LEAVING_SECONDS,
            ) from refused
        ids = ", ".join(sorted(item["VpcEndpointId"] for item in others if _lives(item)))
        held = (
            f"endpoint {ids} answers for it already"
            if ids
            else "a private hosted zone of Route 53 that is associated with the VPC answers for it"
        )
        raise Invalid(
            f"{wanted['VpcId']} can't have another endpoint for {wanted['ServiceName']}: {held}. "
            "Delete that, or take the service out of spec.network.endpoints and use what is there. "
            f"AWS says: {refused}",
            service=self.service,
            resource=name,
        ) from refused

    def _observed(self, item: Mapping[str, Any]) -> Observed:
        tags, state = tagging.mapping(item.get("Tags")), str(item.get("State", "")).lower()
        pending = state in PENDING
        error = item.get("LastError") or {}
        why = f": {error['Message']}" if error.get("Message") else ""
        groups = [one["GroupId"] for one in item.get("Groups") or ()]
        arn = self.session.arn("ec2", f"vpc-endpoint/{item['VpcEndpointId']}")
        return Observed(
            tags.get(NAME, ""),
            {
                "VpcId": item["VpcId"],
                "ServiceName": item["ServiceName"],
                "VpcEndpointType": item["VpcEndpointType"],
                "RouteTableIds": sorted(item.get("RouteTableIds") or ()),
                "SubnetIds": sorted(item.get("SubnetIds") or ()),
                "SecurityGroupIds": sorted(groups),
                "PrivateDnsEnabled": bool(item.get("PrivateDnsEnabled")),
                "PolicyDocument": policy(item.get("PolicyDocument") or {}),
                "State": AVAILABLE if pending else state,
            },
            attributes={"arn": arn, "id": item["VpcEndpointId"], "state": state},
            tags=tags,
            settled=not pending,
            detail="" if state == AVAILABLE else f"State: {state}{why}",
        )


def _lives(item: Mapping[str, Any]) -> bool:
    return str(item.get("State", "")).lower() not in GONE


def _ids(value: Any) -> Any:
    if isinstance(value, str):
        return sorted(filter(None, value.split(",")))
    return sorted(set(value), key=repr)


def _brief(item: Mapping[str, Any]) -> dict[str, Any]:
    """What of an endpoint tells whether it serves others too."""
    return {
        "Id": item["VpcEndpointId"],
        "ServiceName": item["ServiceName"],
        "Type": item["VpcEndpointType"],
        "RouteTableIds": sorted(item.get("RouteTableIds") or ()),
        "PrivateDnsEnabled": bool(item.get("PrivateDnsEnabled")),
        "Tags": tagging.mapping(item.get("Tags")),
    }


ADAPTERS = (Vpc, Subnets, SecurityGroup, VpcEndpoint)
