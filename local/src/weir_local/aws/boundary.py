"""Condition keys of IAM's own writes: iam:PermissionsBoundary and iam:PolicyARN.

Service Authorization Reference, "Actions, resources, and condition keys for AWS Identity and
Access Management": a call that sets a boundary carries it, a call that changes a role or user
carries the boundary that this one has.
"""

from __future__ import annotations

from typing import Any

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


def install() -> None:
    """Feed the keys into the evaluation of every IAM call."""
    from ministack.core import iam_actions

    inner = iam_actions.request_tag_context

    def request_tag_context(
        service: str, iam_action: str, body: bytes, params: dict[str, Any]
    ) -> dict[str, Any]:
        context: dict[str, Any] = inner(service, iam_action, body, params)
        if service == "iam":
            context = {**context, **condition_keys(iam_action.partition(":")[2], params)}
        return context

    iam_actions.request_tag_context = request_tag_context
