"""Handing a role to a service needs iam:PassRole, and the service must be able to assume it.

IAM User Guide, "Grant a user permissions to pass a role to an AWS service": the caller is
checked for iam:PassRole on the role with iam:PassedToService and iam:AssociatedResourceArn.
The service checks the role's trust policy in the same call, each with its own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weir_local.aws.access import RoleRefused, check_trust, denial, refuse
from weir_local.aws.wire import Reply, Request, guard_service, json_error

SCHEDULE = re.compile(r"/schedules/([^/]+)")
FUNCTION = re.compile(r"/2015-03-31/functions(?:/([^/]+)/configuration)?/?")


@dataclass(frozen=True)
class Passed:
    """A role handed to a service.

    :param role: its ARN, or for Glue its name
    :param source: the resource that will use it (aws:SourceArn, iam:AssociatedResourceArn)
    """

    role: str
    source: str


@dataclass(frozen=True)
class PassRule:
    """How one service takes roles.

    :param principal: the service principal that must be trusted
    :param find: the roles that a request hands over
    :param code: the error of a role that the service cannot assume
    :param words: its message; ``{role}`` is the ARN
    """

    principal: str
    find: Callable[[Request], list[Passed]]
    code: str
    words: str


def arn(request: Request, service: str, resource: str) -> str:
    """An ARN in the request's account and region."""
    return f"arn:aws:{service}:{request.region}:{request.account}:{resource}"


def function_role(request: Request) -> list[Passed]:
    """Lambda: CreateFunction and UpdateFunctionConfiguration."""
    match = FUNCTION.fullmatch(request.path)
    role = request.json.get("Role")
    if not match or not role or request.method not in ("POST", "PUT"):
        return []
    name = match.group(1) or request.json.get("FunctionName", "")
    return [Passed(role, arn(request, "lambda", f"function:{name.rsplit(':', 1)[-1]}"))]


def machine_role(request: Request) -> list[Passed]:
    """Step Functions: CreateStateMachine and UpdateStateMachine."""
    role = request.json.get("roleArn")
    if not role or request.operation not in ("CreateStateMachine", "UpdateStateMachine"):
        return []
    named = arn(request, "states", f"stateMachine:{request.json.get('name', '')}")
    return [Passed(role, request.json.get("stateMachineArn") or named)]


def schedule_role(request: Request) -> list[Passed]:
    """Scheduler: CreateSchedule and UpdateSchedule; aws:SourceArn is the schedule group."""
    target = request.json.get("Target") or {}
    if request.method not in ("POST", "PUT") or not SCHEDULE.fullmatch(request.path):
        return []
    group = request.json.get("GroupName", "default")
    role = target.get("RoleArn")
    return [Passed(role, arn(request, "scheduler", f"schedule-group/{group}"))] if role else []


def job_role(request: Request) -> list[Passed]:
    """Glue: CreateJob, UpdateJob, CreateCrawler and UpdateCrawler, by ARN or name."""
    body: dict[str, Any] = request.json
    places = {
        "CreateJob": (body, "job", body.get("Name", "")),
        "UpdateJob": (body.get("JobUpdate") or {}, "job", body.get("JobName", "")),
        "CreateCrawler": (body, "crawler", body.get("Name", "")),
        "UpdateCrawler": (body, "crawler", body.get("Name", "")),
    }
    if request.operation not in places:
        return []
    holder, kind, name = places[request.operation]
    role = holder.get("Role")
    return [Passed(role, arn(request, "glue", f"{kind}/{name}"))] if role else []


def rule_roles(request: Request) -> list[Passed]:
    """EventBridge: PutTargets with a RoleArn, PutRule with one."""
    body = request.json
    holders = {"PutTargets": body.get("Targets") or [], "PutRule": [body]}
    bus = body.get("EventBusName") or "default"
    name = body.get("Rule") or body.get("Name", "")
    rule = f"rule/{name}" if bus == "default" else f"rule/{bus}/{name}"
    return [
        Passed(holder["RoleArn"], arn(request, "events", rule))
        for holder in holders.get(request.operation, [])
        if holder.get("RoleArn")
    ]


RULES: dict[str, PassRule] = {
    "lambda": PassRule(
        "lambda.amazonaws.com",
        function_role,
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    ),
    "states": PassRule(
        "states.amazonaws.com",
        machine_role,
        "AccessDeniedException",
        "Neither the global service principal states.amazonaws.com, nor the regional one is "
        "authorized to assume the provided role.",
    ),
    "scheduler": PassRule(
        "scheduler.amazonaws.com",
        schedule_role,
        "ValidationException",
        "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
    ),
    "glue": PassRule(
        "glue.amazonaws.com",
        job_role,
        "InvalidInputException",
        "Service is unable to assume provided role. Please verify role's TrustPolicy "
        "(role {role}).",
    ),
    "events": PassRule(
        "events.amazonaws.com",
        rule_roles,
        "ValidationException",
        "Provided role '{role}' cannot be assumed by principal 'events.amazonaws.com'.",
    ),
}


def role_arn(given: str, account: str) -> str:
    """The ARN of a role that a request names by ARN or, as Glue allows, by name."""
    from ministack.services import iam

    if given.startswith("arn:"):
        return given
    stored = iam._roles.get_scoped(account, None, given.rsplit("/", 1)[-1]) or {}
    return str(stored.get("Arn") or f"arn:aws:iam::{account}:role/{given}")


def guard(request: Request) -> Reply | None:
    """Refuse a call that hands over a role which the caller may not pass."""
    rule = RULES[request.service]
    for passed in rule.find(request):
        role = role_arn(passed.role, request.account)
        context = {
            "iam:passedtoservice": rule.principal,
            "iam:associatedresourcearn": passed.source,
        }
        message = denial(request.access_key, "iam:PassRole", role, request.region, context)
        if message:
            return refuse(request, message)
        try:
            check_trust(role, rule.principal, passed.source, request.region)
        except RoleRefused:
            return json_error(rule.code, rule.words.format(role=role))
    return None


def install() -> None:
    """Put the guard before each service of :data:`RULES`."""
    for service in RULES:
        guard_service(service, guard)
