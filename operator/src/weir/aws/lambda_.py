"""Lambda: functions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, blind, changed, picked
from weir.aws.calls import Calls, wait_for
from weir.aws.documents import without_defaults
from weir.aws.errors import AccessDenied, Conflict, NotYet
from weir.aws.session import AwsSession
from weir.resource import Change, Observed, Resource, Traits

CODE = frozenset({"Code", "CodeSha256", "Architectures"})
CONFIGURATION = (
    "Runtime",
    "Handler",
    "Role",
    "Timeout",
    "MemorySize",
    "Environment",
    "KMSKeyArn",
    "LoggingConfig",
    "VpcConfig",
    "Description",
    "EphemeralStorage",
    "TracingConfig",
)
SETTLE_SECONDS = 8.0
"""How long an update waits for a function to settle; most do within two seconds, VPC ones in minutes."""
SETTLE_LOOK_SECONDS = 0.25
"""After an update, until the first look whether it has settled, and from that to the second."""


FUNCTIONS_PAGE = 50
"""Functions that one ListFunctions gives at most, whatever is asked for (Lambda API reference)."""


TAG_LEAVING = "weir.dev/leaving-vpc"
"""On a function that is taken out of its VPC to be deleted."""
LEAVING_SECONDS = 20 * 60.0
"""How long Lambda takes at most to delete a function's network interfaces (Lambda Developer Guide,
*Giving Lambda functions access to resources in an Amazon VPC*)."""
LEAVING_LOOK_SECONDS = 15.0


class Function(ServiceAdapter):
    """A function from a zip in S3.

    Properties: as ``CreateFunction``, with ``Code{S3Bucket, S3Key}`` (write-only), ``CodeSha256``
    (base64, what is compared) and ``ReservedConcurrentExecutions``. Attributes: ``arn``, ``name``.
    """

    kind = "lambda.Function"
    service = "lambda"
    tagged_as = ("lambda:function",)
    traits = Traits(write_only=frozenset({"Code"}))

    def __init__(self, session: AwsSession) -> None:
        super().__init__(session)
        self._ec2 = Calls(session, "ec2")

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = dict(properties)
        shapes = {
            "Environment": _environment,
            "LoggingConfig": _logging,
            "VpcConfig": _network,
            "KMSKeyArn": _or_none,
        }
        for field, shape in shapes.items():
            if field in form:
                form[field] = shape(form[field])
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        unknown = () if self._nothing_reserved() else ("ReservedConcurrentExecutions",)
        return self.tagged(
            names,
            (
                blind(_observed(function, {}, None), *unknown)
                for function in self.calls.pages(
                    "ListFunctions", "Functions", MaxItems=FUNCTIONS_PAGE
                )
            ),
        )

    def look(self, name: str) -> Observed | None:
        found = self.calls.find("GetFunction", name, FunctionName=name)
        if found is None:
            return None
        reserved = found.get("Concurrency", {}).get("ReservedConcurrentExecutions")
        return _observed(found["Configuration"], found.get("Tags", {}), reserved)

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        wanted, name = resource.properties, resource.name
        try:
            made = self.calls(
                "CreateFunction",
                name,
                FunctionName=name,
                Tags=dict(tags),
                **picked(wanted, (*CONFIGURATION, "Code", "Architectures")),
            )
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        reserved = wanted.get("ReservedConcurrentExecutions")
        if reserved is not None:
            self._reserve(name, reserved)
        # It is pending for some seconds: nothing that is made of it waits, and the engine looks
        # again.
        return _observed(made, tags, reserved)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        wanted, fields, name = resource.properties, changed(changes), resource.name
        new = tagging.missing(observed.tags, tags)
        if "ReservedConcurrentExecutions" in fields:
            self._reserve(name, wanted["ReservedConcurrentExecutions"])
        if fields & CODE:
            self.calls(
                "UpdateFunctionCode",
                name,
                FunctionName=name,
                **wanted["Code"],
                **picked(wanted, ("Architectures",)),
            )
            # The configuration can't change while the code does: ResourceConflictException.
            seen = self._settled(name)
            if not seen.settled:
                return seen
        configuration = fields & set(CONFIGURATION)
        if configuration:
            emptied = {"KMSKeyArn": "", "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}}
            self.calls(
                "UpdateFunctionConfiguration",
                name,
                FunctionName=name,
                **{
                    field: wanted[field] or emptied.get(field, wanted[field])
                    for field in configuration
                },
            )
        # Last: the hash of the write-only properties is among the tags, and must not say that
        # they are written before they are.
        if new:
            self.calls("TagResource", name, Resource=observed.attributes["arn"], Tags=new)
        if fields & CODE or configuration:
            return self._settled(name)
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        name = observed.name
        if observed.properties.get("VpcConfig"):
            self._leave_vpc(observed)
        elif observed.tags.get(TAG_LEAVING) and self._interfaces_held(name):
            raise NotYet(
                f"function {name} left its VPC; waits until Lambda has given its network interfaces "
                f"back, {LEAVING_SECONDS // 60:.0f} minutes at most",
                service=self.service,
                operation="DeleteFunction",
                resource=name,
                retry_after=LEAVING_LOOK_SECONDS,
            )
        self.calls.find("DeleteFunction", name, FunctionName=name)

    def _leave_vpc(self, observed: Observed) -> None:
        """Take a function out of its VPC while its role is still there: Lambda gives the interfaces
        back under that role, and what it can't give back holds subnets and groups for ever.

        Raises
        ------
        NotYet
            It is on its way out.
        """
        name = observed.name
        arn = observed.attributes["arn"]
        left = self.calls.find("TagResource", name, Resource=arn, Tags={TAG_LEAVING: "true"})
        if left is None:
            return
        nothing: dict[str, Any] = {"SubnetIds": [], "SecurityGroupIds": []}
        self.calls.find("UpdateFunctionConfiguration", name, FunctionName=name, VpcConfig=nothing)
        raise NotYet(
            f"function {name} leaves its VPC before it is deleted",
            service=self.service,
            operation="DeleteFunction",
            resource=name,
            retry_after=LEAVING_LOOK_SECONDS,
        )

    def _interfaces_held(self, name: str) -> bool:
        """Whether Lambda still holds interfaces that it made for this function and nobody else uses.

        Functions with the same subnets and groups share interfaces: those stay while one is left.
        """
        found = self.calls.find("GetFunction", name, FunctionName=name)
        if found is None:
            return False
        configuration = found["Configuration"]
        since = datetime.fromisoformat(configuration["LastModified"].replace("Z", "+00:00"))
        if (datetime.now(UTC) - since).total_seconds() > LEAVING_SECONDS:
            return False
        if configuration.get("LastUpdateStatus") == "InProgress":
            return True
        held = list(
            self._ec2.pages(
                "DescribeNetworkInterfaces",
                "NetworkInterfaces",
                name,
                Filters=[{"Name": "description", "Values": [f"AWS Lambda VPC ENI-{name}-*"]}],
            )
        )
        if not held:
            return False
        places = {_place(one) for one in held}
        others = self.calls.pages("ListFunctions", "Functions", MaxItems=FUNCTIONS_PAGE)
        shared = {
            (subnet, tuple(sorted(other["VpcConfig"].get("SecurityGroupIds") or ())))
            for other in others
            for subnet in (other.get("VpcConfig") or {}).get("SubnetIds") or ()
        }
        return bool(places - shared)

    def _settled(self, name: str) -> Observed:
        """A function after an update, once it has settled, or as it is when that takes long.

        The answer to an update says that it is in progress, always: the first look comes later.
        """
        time.sleep(SETTLE_LOOK_SECONDS)
        return wait_for(
            lambda: self.must_see(name),
            lambda seen: seen.settled,
            seconds=SETTLE_SECONDS,
            first=SETTLE_LOOK_SECONDS,
        )

    def _nothing_reserved(self) -> bool:
        """Whether no function of the account has concurrency reserved: then each one's is known."""
        try:
            limit = self.calls("GetAccountSettings")["AccountLimit"]
        except AccessDenied:
            return False
        free, all_ = (limit.get(f"{kind}ConcurrentExecutions") for kind in ("Unreserved", ""))
        return free is not None and free == all_

    def _reserve(self, name: str, executions: int | None) -> None:
        if executions is None:
            self.calls.find("DeleteFunctionConcurrency", name, FunctionName=name)
        else:
            self.calls(
                "PutFunctionConcurrency",
                name,
                FunctionName=name,
                ReservedConcurrentExecutions=executions,
            )


def _observed(
    function: Mapping[str, Any], tags: Mapping[str, str], reserved: int | None
) -> Observed:
    name = function["FunctionName"]
    # ListFunctions leaves the states out: then the function counts as settled, and an update that
    # comes too early is a NotYet.
    state = function.get("State", "Active")
    last = function.get("LastUpdateStatus", "Successful")
    reasons = [
        f"{field}: {value}: {function.get(f'{field}Reason', '')}".rstrip(": ")
        for field, value in (("State", state), ("LastUpdateStatus", last))
        if value not in ("Active", "Successful", "Inactive")
    ]
    return Observed(
        name=name,
        properties={
            **{field: function.get(field) for field in ("Runtime", "Handler", "Role")},
            **{field: function.get(field) for field in ("Timeout", "MemorySize", "CodeSha256")},
            "Description": function.get("Description", ""),
            "Architectures": function.get("Architectures") or ["x86_64"],
            "Environment": _environment(function.get("Environment")),
            "KMSKeyArn": _or_none(function.get("KMSKeyArn")),
            "LoggingConfig": _logging(function.get("LoggingConfig")),
            "VpcConfig": _network(function.get("VpcConfig")),
            "EphemeralStorage": function.get("EphemeralStorage") or {"Size": 512},
            "TracingConfig": function.get("TracingConfig") or {"Mode": "PassThrough"},
            "ReservedConcurrentExecutions": reserved,
        },
        attributes={"arn": function["FunctionArn"], "name": name},
        tags=dict(tags),
        settled=state != "Pending" and last != "InProgress",
        detail="; ".join(reasons),
    )


def _or_none(value: Any) -> Any:
    return value or None


def _environment(value: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"Variables": dict((value or {}).get("Variables") or {})}


def _logging(value: Mapping[str, Any] | None) -> dict[str, Any]:
    return without_defaults(value or {}, {"LogFormat": "Text"})


def _place(interface: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Subnet and groups of a network interface: functions with the same ones share it."""
    groups = sorted(group["GroupId"] for group in interface.get("Groups") or ())
    return interface["SubnetId"], tuple(groups)


def _network(value: Mapping[str, Any] | None) -> dict[str, Any]:
    given = value or {}
    return {
        field: sorted(given[field], key=str)
        for field in ("SubnetIds", "SecurityGroupIds")
        if given.get(field)
    }


ADAPTERS = (Function,)
