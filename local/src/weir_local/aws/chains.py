"""Role chains: what a session hands on to the next one, and what the next role must let pass.

IAM User Guide, "Pass session tags in AWS STS" (transitive tags stay through a chain, can't be given
again, and need ``sts:TagSession`` in each role's trust policy), "Monitor and control actions taken
with assumed roles" (a source identity stays, can't be changed, and needs ``sts:SetSourceIdentity``),
and "Roles terms and concepts: Role chaining" (one hour at most).
"""

from __future__ import annotations

import dataclasses
import re
from contextvars import ContextVar
from typing import Any

from weir_local.aws.access import find_role
from weir_local.aws.wire import Reply, Request, guard_service, observe_service, xml_error

HOUR = 3600
_KEY = re.compile(rb"<AccessKeyId>([^<]+)</AccessKeyId>")
_identity: ContextVar[str] = ContextVar("weir_source_identity", default="")


def member_values(form: dict[str, str], pattern: str) -> list[str]:
    """Values of a Query list: ``Tags.member.N.Key``."""
    found = ((re.fullmatch(pattern, name), text) for name, text in form.items())
    return [text for match, text in found if match]


def session_of(request: Request) -> dict[str, Any]:
    """The assumed role's session that a request is signed with, or nothing."""
    from ministack.services import sts

    session = sts._sessions.get(request.access_key) or {}
    return session if session.get("PrincipalType") == "AssumedRole" else {}


def inherited(session: dict[str, Any]) -> list[dict[str, str]]:
    """The tags that a session hands on."""
    keys = {key.lower() for key in session.get("TransitiveTagKeys", ())}
    return [tag for tag in session.get("SessionTags") or () if tag["Key"].lower() in keys]


def refused(action: str, caller: str, role: str) -> Reply:
    """What STS says when a trust policy does not let it pass."""
    return xml_error(
        "AccessDenied",
        f"User: {caller} is not authorized to perform: {action} on resource: {role}",
        403,
    )


def guard(request: Request) -> Reply | None:
    """Refuse what a chain does not allow."""
    if request.operation != "AssumeRole":
        return None
    session, form = session_of(request), request.form
    held, asked = session.get("SourceIdentity", ""), form.get("SourceIdentity", "")
    _identity.set(held or asked)
    if session and int(form.get("DurationSeconds") or HOUR) > HOUR:
        return xml_error(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by "
            "role chaining",
        )
    handed = inherited(session)
    again = {key.lower() for key in member_values(form, r"Tags\.member\.\d+\.Key")}
    for tag in handed:
        if tag["Key"].lower() in again:
            return xml_error(
                "InvalidParameterValue",
                f"One of the specified transitive tag keys can't be set because it conflicts with a "
                f"transitive tag key from the calling session: {tag['Key']}",
            )
    role = form.get("RoleArn", "")
    caller = session.get("Arn", "")
    if held and asked and held != asked:
        return refused("sts:SetSourceIdentity", caller, role)
    needed = [
        action
        for action, needs in (
            ("sts:TagSession", bool(handed)),
            ("sts:SetSourceIdentity", bool(held or asked)),
        )
        if needs
    ]
    for action in needed:
        if not lets_pass(request, role, action):
            return refused(action, caller or request.access_key, role)
    return None


def lets_pass(request: Request, role_arn: str, action: str) -> bool:
    """Whether the role's trust policy allows an action to who asks."""
    from ministack.core import iam_evaluator
    from ministack.services import sts

    role = find_role(role_arn)
    caller = sts._caller_identity(request.headers, request.query)
    if role is None or not isinstance(caller, dict):
        return True
    keys = member_values(request.form, r"Tags\.member\.\d+\.Key")
    values = member_values(request.form, r"Tags\.member\.\d+\.Value")
    tags = dict(zip(keys, values, strict=True))
    context = iam_evaluator.EvalContext(
        principal_arn=caller["userArn"],
        principal_type=caller["principalType"],
        principal_account=caller["accountId"],
        action=action,
        resource_arn=role_arn,
        region=request.region,
        service_context={"sts:externalid": request.form.get("ExternalId")},
        principal_keys=caller["principalKeys"],
        request_tags=tags,
        tag_keys=list(tags),
    )
    document = role.get("AssumeRolePolicyDocument", "{}")
    return bool(iam_evaluator.evaluate_trust_policy(document, caller["userArn"], context))


def hand_on(request: Request, reply: Reply) -> None:
    """Give a new session what the calling one hands on."""
    from ministack.services import sts

    status, _, body = reply
    if request.operation != "AssumeRole" or status != 200:
        return
    found = _KEY.search(body if isinstance(body, bytes) else str(body).encode())
    session = sts._sessions.get(found.group(1).decode()) if found else None
    if session is None:
        return
    calling = session_of(request)
    handed = inherited(calling)
    session["SessionTags"] = [*handed, *(session.get("SessionTags") or [])]
    session["TransitiveTagKeys"] = [
        *(tag["Key"] for tag in handed),
        *member_values(request.form, r"TransitiveTagKeys\.member\.\d+"),
    ]
    session["SourceIdentity"] = calling.get("SourceIdentity") or request.form.get(
        "SourceIdentity", ""
    )


def install() -> None:
    """Guard AssumeRole, hand on what stays, and let trust policies see the source identity."""
    from ministack.core import iam_evaluator

    guard_service("sts", guard)
    observe_service("sts", hand_on)
    inner = iam_evaluator.evaluate_trust_policy

    def evaluate(document: Any, caller_arn: str, context: Any = None) -> bool:
        if context is not None and _identity.get():
            known = {**context.service_context, "sts:sourceidentity": _identity.get()}
            context = dataclasses.replace(context, service_context=known)
        return bool(inner(document, caller_arn, context))

    iam_evaluator.evaluate_trust_policy = evaluate
