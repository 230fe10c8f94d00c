"""Who asks, what IAM says to it, and which database user it becomes.

https://docs.aws.amazon.com/redshift/latest/mgmt/data-api-access.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from weir_local.redshift.warehouses import registry

ROLES_TAG = "RedshiftDbRoles"


class ApiError(Exception):
    """An API call that AWS would refuse.

    Parameters
    ----------
    code
        The exception's name.
    message
        What is wrong.
    status
        HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True)
class Caller:
    """Who signed a request.

    Parameters
    ----------
    access_key, account, region
        What the request was signed with and for.
    identity
        The IAM identity; sessions of one role share it.
    db_user
        The database user that stands for it.
    db_roles
        The database roles that its ``RedshiftDbRoles`` tag names.
    """

    access_key: str
    account: str
    region: str
    identity: str
    db_user: str
    db_roles: tuple[str, ...]


def caller(headers: Mapping[str, str], query: Mapping[str, Any]) -> Caller:
    """Who signed a request, in the request's account and region."""
    from ministack.core.iam_evaluator import resolve_caller_identity
    from ministack.core.responses import get_account_id, get_region
    from ministack.core.router import extract_access_key_id

    access_key = extract_access_key_id(dict(headers), dict(query))
    account, region = get_account_id(), get_region()
    found = resolve_caller_identity(access_key)
    arn = found["userArn"] if found else f"arn:aws:iam::{account}:root"
    session = (found or {}).get("session") or {}
    if ":assumed-role/" in arn:
        name = arn.split(":assumed-role/", 1)[1].split("/")[0]
        identity, user, kind = f"role/{name}", f"IAMR:{name}", "role"
    else:
        name = arn.rsplit("/", 1)[-1] if "/" in arn else "root"
        identity, user, kind = f"user/{name}", f"IAM:{name}", "user"
    tags = {**_tags(kind, name), **_pairs(session.get("SessionTags"))}
    roles = tuple(filter(None, tags.get(ROLES_TAG, "").lower().split(":")))
    return Caller(access_key, account, region, identity, user.lower(), roles)


def _tags(kind: str, name: str) -> dict[str, str]:
    from ministack.services import iam

    known = iam._roles if kind == "role" else iam._users
    record = known.get(name) or {}
    return _pairs(record.get("Tags"))


def _pairs(tags: Any) -> dict[str, str]:
    if isinstance(tags, dict):
        return {str(key): str(value) for key, value in tags.items()}
    return {tag["Key"]: tag["Value"] for tag in tags or []}


def require(who: Caller, action: str, arn: str) -> None:
    """The caller needs an action beside the one that it called.

    Raises
    ------
    ApiError
        IAM does not allow it.
    """
    from ministack import app
    from ministack.core.iam_evaluator import AuthError, enforce

    if not app.AUTH:
        return
    denied = enforce(who.access_key, action, action.split(":")[0], who.region, resource_arn=arn)
    if denied is None:
        return
    principal = "" if isinstance(denied, AuthError) else denied.principal_arn
    raise ApiError(
        "AccessDeniedException",
        f"User: {principal} is not authorized to perform: {action} on resource: {arn}",
    )


def workgroup_arn(account: str, region: str, name: str) -> str:
    """A workgroup's ARN; one that does not exist has none that a policy could name."""
    found = registry().get("workgroups", account, region, name)
    identity = found["id"] if found else "00000000-0000-0000-0000-000000000000"
    return f"arn:aws:redshift-serverless:{region}:{account}:workgroup/{identity}"


def namespace_arn(account: str, region: str, name: str) -> str:
    """A namespace's ARN."""
    found = registry().get("namespaces", account, region, name)
    identity = found["id"] if found else "00000000-0000-0000-0000-000000000000"
    return f"arn:aws:redshift-serverless:{region}:{account}:namespace/{identity}"


def cluster_arn(account: str, region: str, name: str) -> str:
    """The ARN that policies name a provisioned cluster by."""
    return f"arn:aws:redshift:{region}:{account}:cluster:{name}"


def resource_arn(
    service: str,
    headers: Mapping[str, str],
    body: bytes,
    query: Mapping[str, Any],
    region: str,
    account_id: str,
) -> str:
    """The ARN that a request is authorized on; ``*`` where the action takes no resource."""
    if service == "redshift":
        return _cluster_request(body, query, region, account_id)
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return "*"
    if not isinstance(request, dict):
        return "*"
    if service == "redshift-data":
        action = headers.get("x-amz-target", "").rsplit(".", 1)[-1]
        if action in STATEMENT_ACTIONS:
            return "*"
        if name := request.get("WorkgroupName"):
            return workgroup_arn(account_id, region, str(name))
        if name := request.get("ClusterIdentifier"):
            return cluster_arn(account_id, region, str(name))
        return "*"
    if arn := request.get("resourceArn"):
        return str(arn)
    if name := request.get("workgroupName"):
        return workgroup_arn(account_id, region, str(name))
    if name := request.get("namespaceName"):
        return namespace_arn(account_id, region, str(name))
    return "*"


STATEMENT_ACTIONS = frozenset(
    {"DescribeStatement", "GetStatementResult", "CancelStatement", "ListStatements"}
)
"""Actions on statements, which have no ARN: IAM can only limit them by their owner."""


def _cluster_request(body: bytes, query: Mapping[str, Any], region: str, account: str) -> str:
    given = parse_qs(body.decode("utf-8", "replace"))
    flat = {key: values[0] for key, values in given.items()}
    flat |= {key: x[0] if isinstance(x, list) else x for key, x in query.items()}
    name = flat.get("ClusterIdentifier", "*")
    if flat.get("Action") == "GetClusterCredentials":
        return f"arn:aws:redshift:{region}:{account}:dbuser:{name}/{flat.get('DbUser', '*')}"
    if flat.get("Action") == "GetClusterCredentialsWithIAM":
        return f"arn:aws:redshift:{region}:{account}:dbname:{name}/{flat.get('DbName', '*')}"
    return cluster_arn(account, region, name) if name != "*" else "*"
