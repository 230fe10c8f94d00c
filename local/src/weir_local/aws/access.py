"""May this principal do that? Asked of MiniStack's own evaluator for checks that it never makes."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

from weir_local.aws.wire import Reply, Request, json_error

SESSION_SECONDS = 3600
"""How long a service's session of a role lives; AWS's default for AssumeRole."""


class RoleRefused(Exception):
    """A service may not act as a role: it does not exist, or its trust policy does not let it."""


@dataclass(frozen=True)
class RoleSession:
    """Temporary credentials of a role, held by an AWS service.

    :param role_arn: the role
    :param principal_arn: the assumed-role ARN that AccessDenied messages name
    """

    role_arn: str
    principal_arn: str
    access_key: str
    secret_key: str
    token: str

    def boto(self) -> dict[str, str]:
        """The credentials as boto3's keyword arguments."""
        return {
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "aws_session_token": self.token,
        }

    def environment(self) -> dict[str, str]:
        """The credentials as the SDKs' environment variables."""
        return {name.upper(): value for name, value in self.boto().items()}


def role_name(role_arn: str) -> str:
    """The name at the end of a role's ARN, without its path."""
    return role_arn.rsplit("/", 1)[-1]


def find_role(role_arn: str) -> dict[str, Any] | None:
    """The stored role of an ARN, or None when there is no such role under that path."""
    from ministack.services import iam

    account = role_arn.split(":")[4] if role_arn.count(":") >= 5 else ""
    role = iam._roles.get_scoped(account, None, role_name(role_arn))
    return role if role and role.get("Arn") == role_arn else None


def trusts(role: dict[str, Any], service: str, source_arn: str, account: str, region: str) -> bool:
    """Whether a role's trust policy lets a service assume it.

    IAM User Guide, "The confused deputy problem": the service sends aws:SourceArn and
    aws:SourceAccount, so a trust policy that names others refuses it.

    :param role: the stored role
    :param service: the service principal, such as ``states.amazonaws.com``
    :param source_arn: the resource on whose behalf the service acts
    """
    from ministack.core import iam_evaluator as iam

    document = role.get("AssumeRolePolicyDocument") or "{}"
    policy = json.loads(document) if isinstance(document, str) else document
    statements = policy.get("Statement", [])
    statements = [statements] if isinstance(statements, dict) else statements
    context = iam.EvalContext(
        principal_arn=f"service:{service}",
        principal_type="Service",
        principal_account="",
        action="sts:AssumeRole",
        resource_arn=str(role["Arn"]),
        region=region,
        service_context={"aws:sourcearn": source_arn, "aws:sourceaccount": account},
    )
    document_for_role = {"Statement": [{**s, "Resource": "*"} for s in statements]}
    result = iam.evaluate_resource_policy(document_for_role, context, service=service)
    return bool(result.decision == "Allow")


def check_trust(role_arn: str, service: str, source_arn: str, region: str) -> None:
    """Raise :class:`RoleRefused` when a service could not assume a role."""
    role = find_role(role_arn)
    if role is None:
        raise RoleRefused(f"The role {role_arn} does not exist")
    account = role_arn.split(":")[4]
    if not trusts(role, service, source_arn, account, region):
        raise RoleRefused(
            f"{service} is not authorized to perform: sts:AssumeRole on resource: {role_arn} "
            f"(aws:SourceArn {source_arn}, aws:SourceAccount {account}): "
            "its trust policy does not allow it"
        )


def assume_role(
    role_arn: str,
    service: str,
    source_arn: str,
    region: str,
    session_name: str,
    seconds: float = SESSION_SECONDS,
) -> RoleSession:
    """A session of a role for a service, as its trust policy allows.

    :param role_arn: the role
    :param service: the service principal that assumes it
    :param source_arn: the resource on whose behalf (aws:SourceArn)
    :param session_name: the name at the end of the assumed-role ARN
    :param seconds: how long the session lives
    :raises RoleRefused: the role does not exist or does not trust the service
    """
    from ministack.services import sts

    check_trust(role_arn, service, source_arn, region)
    account = role_arn.split(":")[4]
    name = role_name(role_arn)
    seed = uuid.uuid4().hex
    session = RoleSession(
        role_arn=role_arn,
        principal_arn=f"arn:aws:sts::{account}:assumed-role/{name}/{session_name[:64]}",
        access_key=f"ASIA{seed[:16].upper()}",
        secret_key=hashlib.sha256(f"secret:{seed}".encode()).hexdigest()[:40],
        token=hashlib.sha256(f"token:{seed}".encode()).hexdigest(),
    )
    role_id = (find_role(role_arn) or {}).get("RoleId", name)
    sts.register_session(
        session.access_key,
        {
            "Arn": session.principal_arn,
            "UserId": f"{role_id}:{session_name[:64]}",
            "SecretAccessKey": session.secret_key,
            "SessionToken": session.token,
            "Expiration": time.time() + seconds,
        },
    )
    return session


def denied_message(action: str, principal: str, resource: str, explicit: bool) -> str:
    """AWS's words for a refusal (IAM User Guide, "Troubleshoot access denied error messages")."""
    why = (
        "with an explicit deny in an identity-based policy"
        if explicit
        else f"because no identity-based policy allows the {action} action"
    )
    return f"User: {principal} is not authorized to perform: {action} on resource: {resource} {why}"


def denial(
    access_key: str,
    action: str,
    resource: str,
    region: str,
    context: dict[str, Any] | None = None,
) -> str | None:
    """Why a signed caller may not do something, or None when it may.

    :param access_key: the caller's access key id, its signature already verified
    :param action: such as ``iam:PassRole``
    :param resource: the ARN
    :param context: condition keys in lower case
    """
    from ministack.core import iam_evaluator as iam
    from ministack.core.responses import get_account_id

    principal = iam.resolve_principal(access_key, get_account_id())
    if isinstance(principal, iam.AuthError):
        return str(principal.message)
    if principal.policies is None:
        return None
    evaluation = iam.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=action,
        resource_arn=resource,
        region=region,
        service_context={"aws:tagkeys": None, **(context or {})},
        principal_keys=principal.keys,
    )
    result = iam.evaluate(evaluation, principal.policies, *principal.limits)
    service = action.split(":", 1)[0]
    found = iam._resource_policy(service, resource)
    if found is not None:
        result = iam.combine_resource_policy(
            result,
            evaluation,
            *found,
            required=service in iam._POLICY_REQUIRED,
            limits=principal.limits,
        )
    if result.decision == "Allow":
        return None
    return denied_message(action, principal.arn, resource, result.decision == "Deny")


def refuse(request: Request, message: str) -> Reply:
    """An AccessDenied reply in the protocol of the request's service."""
    from ministack.core import iam_actions

    if request.service == "logs":
        # MiniStack words the denials of Logs itself and would drop the message.
        return json_error("AccessDeniedException", message)
    return tuple(
        iam_actions.access_denied_response(
            request.service,
            "",
            "",
            str(uuid.uuid4()),
            message=message,
            error_code="",
            headers=request.headers,
        )
    )


def role_denial(
    role_arn: str, action: str, resource: str, region: str, context: dict[str, Any] | None = None
) -> str | None:
    """Why a role may not do something, or None when it may: for what a service does by itself.

    :param role_arn: the role, such as a function's execution role
    :param context: condition keys in lower case
    """
    from ministack.core import iam_evaluator as iam
    from ministack.services import iam as stored

    role = find_role(role_arn)
    if role is None:
        return f"The role {role_arn} does not exist"
    account, name = role_arn.split(":")[4], role_name(role_arn)
    principal = f"arn:aws:sts::{account}:assumed-role/{name}/service"
    evaluation = iam.EvalContext(
        principal_arn=principal,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=region,
        service_context=context or {},
    )
    limits = iam._permissions_boundary(stored._roles, name, account)
    result = iam.evaluate(evaluation, iam._gather_role_policies(name, account), *limits)
    service = action.split(":", 1)[0]
    found = iam._resource_policy(service, resource)
    if found is not None:
        required = service in iam._POLICY_REQUIRED
        result = iam.combine_resource_policy(
            result, evaluation, *found, required=required, limits=tuple(limits)
        )
    if result.decision == "Allow":
        return None
    return denied_message(action, principal, resource, result.decision == "Deny")


def service_denial(
    service: str,
    action: str,
    resource: str,
    region: str,
    account: str,
    source_arn: str,
    context: dict[str, Any] | None = None,
) -> str | None:
    """Why the policy of a resource keeps an AWS service out, or None when it lets it in.

    :param service: the service principal, such as ``events.amazonaws.com``
    :param source_arn: on whose behalf it calls (aws:SourceArn)
    :param context: further condition keys in lower case
    """
    from ministack.core import iam_evaluator as iam

    evaluation = iam.EvalContext(
        principal_arn=f"service:{service}",
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource,
        region=region,
        service_context={
            "aws:sourcearn": source_arn,
            "aws:sourceaccount": account,
            "aws:sourceowner": account,
            **(context or {}),
        },
    )
    found = iam._resource_policy(action.split(":", 1)[0], resource)
    policy = found[0] if found else None
    if policy and iam.evaluate_resource_policy(policy, evaluation, service=service).decision == (
        "Allow"
    ):
        return None
    return (
        f"{service} is not authorized to perform: {action} on resource: {resource} because no "
        f"resource-based policy allows the {action} action (aws:SourceArn {source_arn})"
    )
