"""Permissions boundaries: condition keys of IAM's own writes, and the account's listing has them.

Service Authorization Reference, "Actions, resources, and condition keys for AWS Identity and
Access Management": a call that sets a boundary carries it, a call that changes a role or user
carries the boundary that this one has. IAM API Reference, "RoleDetail" and "UserDetail":
GetAccountAuthorizationDetails gives ``PermissionsBoundary`` with each role and user.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

LISTING = "GetAccountAuthorizationDetails"

SETS_BOUNDARY = frozenset(
    {"CreateRole", "CreateUser", "PutRolePermissionsBoundary", "PutUserPermissionsBoundary"}
)
CHANGES_POLICIES = frozenset(
    {
        "AttachRolePolicy",
        "DetachRolePolicy",
        "PutRolePolicy",
        "DeleteRolePolicy",
        "DeleteRolePermissionsBoundary",
        "AttachUserPolicy",
        "DetachUserPolicy",
        "PutUserPolicy",
        "DeleteUserPolicy",
        "DeleteUserPermissionsBoundary",
    }
)
NAMES_POLICY = frozenset(
    {"AttachRolePolicy", "DetachRolePolicy", "AttachUserPolicy", "DetachUserPolicy"}
)


def value(params: dict[str, Any], name: str) -> str:
    """A Query parameter, which MiniStack keeps as a list or a string."""
    found = params.get(name, "")
    return str(found[0] if isinstance(found, list) and found else found or "")


def existing_boundary(params: dict[str, Any]) -> str:
    """The boundary of the role or user that a call names."""
    from ministack.services import iam

    holder: dict[str, Any] = (
        iam._roles.get(value(params, "RoleName"))
        if value(params, "RoleName")
        else iam._users.get(value(params, "UserName"))
    ) or {}
    return str(holder.get("PermissionsBoundary") or "")


def condition_keys(action: str, params: dict[str, Any]) -> dict[str, str]:
    """The condition keys of an IAM call.

    :param action: the operation, such as ``CreateRole``
    :param params: its Query parameters
    """
    keys: dict[str, str] = {}
    if action in SETS_BOUNDARY:
        keys["iam:PermissionsBoundary"] = value(params, "PermissionsBoundary")
    elif action in CHANGES_POLICIES:
        keys["iam:PermissionsBoundary"] = existing_boundary(params)
    if action in NAMES_POLICY:
        keys["iam:PolicyARN"] = value(params, "PolicyArn")
    return {name: text for name, text in keys.items() if text}


def with_boundaries(xml: str, member: str, holders: Mapping[str, Mapping[str, Any]]) -> str:
    """The listing's answer with the boundary of each role or user that has one.

    :param member: the element that names a holder: ``RoleName`` or ``UserName``
    :param holders: MiniStack's roles or users by name
    """

    def found(match: re.Match[str]) -> str:
        arn = (holders.get(match.group(1)) or {}).get("PermissionsBoundary")
        if not arn:
            return match.group(0)
        return (
            f"{match.group(0)}<PermissionsBoundary>"
            "<PermissionsBoundaryType>Policy</PermissionsBoundaryType>"
            f"<PermissionsBoundaryArn>{arn}</PermissionsBoundaryArn></PermissionsBoundary>"
        )

    return re.sub(f"<member><{member}>([^<]*)</{member}>", found, xml)


def install() -> None:
    """Feed the keys into the evaluation of every IAM call, and the boundaries into the listing."""
    from ministack.core import iam_actions
    from ministack.services import iam

    listing: Callable[[Any], tuple[int, dict[str, str], bytes]] = iam._IAM_HANDLERS[LISTING]

    def details(params: Any) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = listing(params)
        xml = with_boundaries(body.decode(), "RoleName", iam._roles)
        return status, headers, with_boundaries(xml, "UserName", iam._users).encode()

    iam._IAM_HANDLERS[LISTING] = details

    inner = iam_actions.request_tag_context

    def request_tag_context(
        service: str, iam_action: str, body: bytes, params: dict[str, Any]
    ) -> dict[str, Any]:
        context: dict[str, Any] = inner(service, iam_action, body, params)
        if service == "iam":
            context = {**context, **condition_keys(iam_action.partition(":")[2], params)}
        return context

    iam_actions.request_tag_context = request_tag_context
