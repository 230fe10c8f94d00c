"""IAM: roles. They are wholly ours: what is added by hand to one is drift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, blind, changed, picked
from weir.aws.documents import encode, policy
from weir.aws.errors import Conflict
from weir.resource import Change, Observed, Resource, Traits

PATH_PREFIX = "/weir/"
DEFAULT_SESSION = 3600
"""``MaxSessionDuration`` in seconds when none is given (IAM API, "CreateRole")."""

PAGE = 1000
"""``MaxItems`` at most (IAM API, "ListRoles" and "GetAccountAuthorizationDetails")."""

UNDETAILED = ("Description", "MaxSessionDuration")
"""What ListRoles has of a role, and GetAccountAuthorizationDetails has not."""

TAG = "Tag:"
"""A tag of the ``Tags`` property is compared on its own: other tags are the engine's or others'."""


class Role(ServiceAdapter):
    """A role with its inline policies.

    Properties: ``Path``, ``AssumeRolePolicyDocument``, ``Policies{name: document}``,
    ``ManagedPolicyArns`` (none unless given), ``PermissionsBoundary``, ``Description``,
    ``MaxSessionDuration``, ``Tags`` (beside the owner's). Attributes: ``arn``, ``roleId``.
    """

    kind = "iam.Role"
    service = "iam"
    traits = Traits(immutable=frozenset({"Path"}), eventually_consistent=True)

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = {key: value for key, value in properties.items() if key != "Tags"}
        if "AssumeRolePolicyDocument" in form:
            form["AssumeRolePolicyDocument"] = policy(form["AssumeRolePolicyDocument"])
        form["Policies"] = {
            name: policy(document) for name, document in (form.get("Policies") or {}).items()
        }
        form["ManagedPolicyArns"] = sorted(form.get("ManagedPolicyArns") or [])
        form["PermissionsBoundary"] = form.get("PermissionsBoundary") or None
        form.setdefault("MaxSessionDuration", DEFAULT_SESSION)
        for key, text in (properties.get("Tags") or {}).items():
            form[TAG + key] = text
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        # The two listings together say all: the first lacks tags and policies, the second lacks
        # description and session length.
        chosen = set(names)
        listed = {
            role["RoleName"]: picked(role, UNDETAILED)
            for role in self.calls.pages(
                "ListRoles", "Roles", PathPrefix=PATH_PREFIX, MaxItems=PAGE
            )
            if role["RoleName"] in chosen
        }
        for role in self.calls.pages(
            "GetAccountAuthorizationDetails", "RoleDetailList", Filter=["Role"], MaxItems=PAGE
        ):
            name = role["RoleName"]
            if name in listed:
                yield self._from_details({**listed.pop(name), **role})
            elif name in chosen:
                # Made between the two: mostly by ourselves a moment ago, so that nobody needs a
                # look of its own at it.
                yield blind(self._from_details(role), *UNDETAILED)
        # What only the first has went between the two, or the second is not up to date.
        yield from self.observe(list(listed)).values()

    def look(self, name: str) -> Observed | None:
        found = self.calls.find("GetRole", name, RoleName=name)
        if found is None:
            return None
        inline = [
            self.calls("GetRolePolicy", name, RoleName=name, PolicyName=policy_name)
            for policy_name in self.calls.pages(
                "ListRolePolicies", "PolicyNames", name, RoleName=name
            )
        ]
        return self._from_details(
            {
                **found["Role"],
                "RolePolicyList": inline,
                "AttachedManagedPolicies": list(self._attached(name)),
            }
        )

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        wanted, name = resource.properties, resource.name
        parameters = picked(
            wanted, ("Path", "Description", "MaxSessionDuration", "PermissionsBoundary")
        )
        labels = {**tags, **(wanted.get("Tags") or {})}
        try:
            made = self.calls(
                "CreateRole",
                name,
                RoleName=name,
                AssumeRolePolicyDocument=encode(wanted["AssumeRolePolicyDocument"]),
                Tags=tagging.pairs(labels),
                **{key: value for key, value in parameters.items() if value != ""},
            )["Role"]
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        for policy_name, document in (wanted.get("Policies") or {}).items():
            self._put_policy(name, policy_name, document)
        for arn in wanted.get("ManagedPolicyArns") or ():
            self.calls("AttachRolePolicy", name, RoleName=name, PolicyArn=arn)
        seen = self._from_details({"RoleName": name, "Arn": made["Arn"], "RoleId": made["RoleId"]})
        given = {key: value for key, value in self.canonical(wanted).items() if value is not None}
        own = {TAG + key: text for key, text in labels.items()}
        return replace(seen, properties={**seen.properties, **given, **own}, tags=labels)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        wanted, fields, name = self.canonical(resource.properties), changed(changes), resource.name
        if "PermissionsBoundary" in fields:
            boundary = wanted["PermissionsBoundary"]
            if boundary:
                self.calls(
                    "PutRolePermissionsBoundary",
                    name,
                    RoleName=name,
                    PermissionsBoundary=boundary,
                )
            else:
                self.calls.find("DeleteRolePermissionsBoundary", name, RoleName=name)
        if "AssumeRolePolicyDocument" in fields:
            self.calls(
                "UpdateAssumeRolePolicy",
                name,
                RoleName=name,
                PolicyDocument=encode(resource.properties["AssumeRolePolicyDocument"]),
            )
        if fields & {"Description", "MaxSessionDuration"}:
            self.calls(
                "UpdateRole",
                name,
                RoleName=name,
                Description=wanted.get("Description", observed.properties["Description"]) or "",
                MaxSessionDuration=wanted["MaxSessionDuration"],
            )
        if "Policies" in fields:
            self._put_policies(resource, wanted["Policies"], observed.properties["Policies"])
        if "ManagedPolicyArns" in fields:
            self._attach(name, wanted["ManagedPolicyArns"], observed)
        new = tagging.missing(observed.tags, {**tags, **(resource.properties.get("Tags") or {})})
        if new:
            self.calls("TagRole", name, RoleName=name, Tags=tagging.pairs(new))
        seen = self.rewritten(resource, observed, changes, {**tags, **new})
        own = {TAG + key: text for key, text in new.items()}
        return replace(seen, properties={**seen.properties, **own})

    def delete(self, observed: Observed) -> None:
        name = observed.name
        if self.calls.find("GetRole", name, RoleName=name) is None:
            return
        for attached in list(self._attached(name)):
            self.calls.find(
                "DetachRolePolicy", name, RoleName=name, PolicyArn=attached["PolicyArn"]
            )
        for policy_name in list(
            self.calls.pages("ListRolePolicies", "PolicyNames", name, RoleName=name)
        ):
            self.calls.find("DeleteRolePolicy", name, RoleName=name, PolicyName=policy_name)
        self.calls.find("DeleteRole", name, RoleName=name)

    def _from_details(self, role: Mapping[str, Any]) -> Observed:
        tags = tagging.mapping(role.get("Tags"))
        boundary = role.get("PermissionsBoundary") or {}
        return Observed(
            name=role["RoleName"],
            properties={
                "Path": role.get("Path", "/"),
                "Description": role.get("Description", ""),
                "MaxSessionDuration": role.get("MaxSessionDuration", DEFAULT_SESSION),
                "AssumeRolePolicyDocument": policy(role.get("AssumeRolePolicyDocument")),
                "Policies": {
                    item["PolicyName"]: policy(item["PolicyDocument"])
                    for item in role.get("RolePolicyList", [])
                },
                "ManagedPolicyArns": sorted(
                    item["PolicyArn"] for item in role.get("AttachedManagedPolicies", [])
                ),
                "PermissionsBoundary": boundary.get("PermissionsBoundaryArn"),
                **{TAG + key: text for key, text in tags.items()},
            },
            attributes={
                "arn": role["Arn"],
                "roleId": role.get("RoleId", ""),
                "name": role["RoleName"],
            },
            tags=tags,
        )

    def _attached(self, name: str) -> Iterator[Any]:
        return self.calls.pages("ListAttachedRolePolicies", "AttachedPolicies", name, RoleName=name)

    def _put_policy(self, name: str, policy_name: str, document: Any) -> None:
        self.calls(
            "PutRolePolicy",
            name,
            RoleName=name,
            PolicyName=policy_name,
            PolicyDocument=encode(document),
        )

    def _put_policies(
        self, resource: Resource, wanted: Mapping[str, Any], seen: Mapping[str, Any]
    ) -> None:
        documents = resource.properties.get("Policies") or {}
        for policy_name in sorted(wanted):
            if wanted[policy_name] != seen.get(policy_name):
                self._put_policy(resource.name, policy_name, documents[policy_name])
        for policy_name in sorted(set(seen) - set(wanted)):
            self.calls.find(
                "DeleteRolePolicy",
                resource.name,
                RoleName=resource.name,
                PolicyName=policy_name,
            )

    def _attach(self, name: str, wanted: Sequence[str], observed: Observed) -> None:
        seen = set(observed.properties["ManagedPolicyArns"])
        for arn in sorted(set(wanted) - seen):
            self.calls("AttachRolePolicy", name, RoleName=name, PolicyArn=arn)
        for arn in sorted(seen - set(wanted)):
            self.calls.find("DetachRolePolicy", name, RoleName=name, PolicyArn=arn)


ADAPTERS = (Role,)
