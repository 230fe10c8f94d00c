"""The ARN on which AWS authorizes a call, where MiniStack takes another or none.

Service Authorization Reference, "Actions, resources, and condition keys" of each service. A
least-privilege policy names these ARNs, so a wrong one refuses what AWS allows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from weir_local.aws.wire import Request

SCHEDULE = re.compile(r"/schedules/([^/]+)")
TAGGING = frozenset({"TagResource", "UntagResource", "ListTagsForResource", "ListTagsOfResource"})
TAG_FIELDS = ("resourceArn", "ResourceArn", "ResourceARN")


@dataclass(frozen=True)
class Call:
    """A call, and where it is made."""

    request: Request
    given: dict[str, Any]
    operation: str
    region: str
    account: str

    def arn(self, service: str, resource: str) -> str:
        """An ARN in the call's account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def tagged(call: Call) -> str | None:
    """The resource of a call that reads or writes tags."""
    if call.operation not in TAGGING and call.operation != "GetTags":
        return None
    return next((str(call.given[name]) for name in TAG_FIELDS if call.given.get(name)), None)


def function(call: Call) -> str | None:
    """Lambda: CreateFunction has its name in the body."""
    created = call.request.path.rstrip("/").endswith("/functions") and call.request.method == "POST"
    return call.arn("lambda", f"function:{call.given.get('FunctionName')}") if created else None


def schedule(call: Call) -> str | None:
    """Scheduler: a schedule's group is in the body or the query string."""
    match = SCHEDULE.fullmatch(call.request.path)
    if not match:
        return None
    in_query = (call.request.query.get("groupName") or ["default"])[0]
    group = call.given.get("GroupName") or in_query
    return call.arn("scheduler", f"schedule/{group}/{unquote(match.group(1))}")


def catalog(call: Call) -> str | None:
    """Glue's catalog: the most specific of catalog, database and table that a call names.

    AWS asks for all that lie above it too.
    """
    given = call.given
    database = given.get("DatabaseName")
    if "Table" in call.operation or "Partition" in call.operation:
        table = given.get("TableName") or given.get("Name") or "*"
        table = (given.get("TableInput") or {}).get("Name") or table
        return call.arn("glue", f"table/{database}/{table}")
    if call.operation == "GetDatabases":
        return "*"
    if "Database" in call.operation:
        name = (given.get("DatabaseInput") or {}).get("Name") or given.get("Name")
        return call.arn("glue", f"database/{name}")
    return None


def glue(call: Call) -> str | None:
    """Glue: the catalog, jobs, crawlers and connections."""
    if call.operation in ("GetJobs", "ListJobs", "GetCrawlers", "ListCrawlers"):
        return "*"
    if found := catalog(call):
        return found
    if call.operation == "GetConnections":
        return call.arn("glue", "connection/*")
    if call.operation == "CreateConnection":
        return call.arn(
            "glue", f"connection/{(call.given.get('ConnectionInput') or {}).get('Name')}"
        )
    for kind, names in (
        ("job", ("JobName", "Name")),
        ("crawler", ("CrawlerName", "Name")),
        ("connection", ("ConnectionName", "Name")),
    ):
        if kind.capitalize() in call.operation:
            named = next((call.given[name] for name in names if call.given.get(name)), None)
            return call.arn("glue", f"{kind}/{named}") if named else None
    return None


def rule(call: Call) -> str | None:
    """EventBridge: a rule of the default bus has no bus in its ARN."""
    name = call.given.get("Rule") or (
        call.given.get("Name") if call.operation.endswith("Rule") else None
    )
    if not name:
        return None
    bus = str(call.given.get("EventBusName") or "default").rsplit("/", 1)[-1]
    return call.arn("events", f"rule/{name}" if bus == "default" else f"rule/{bus}/{name}")


def alarm_or_dashboard(call: Call) -> str | None:
    """CloudWatch: alarms by name, dashboards without a region."""
    if call.operation == "DescribeAlarms":
        return call.arn("cloudwatch", "alarm:*")
    names = call.given.get("AlarmNames") or []
    name = call.given.get("AlarmName") or (names[0] if isinstance(names, list) and names else None)
    name = name or call.given.get("AlarmNames.member.1")
    if name:
        return call.arn("cloudwatch", f"alarm:{name}")
    boards = call.given.get("DashboardNames") or []
    board = call.given.get("DashboardName") or (boards[0] if boards else None)
    return f"arn:aws:cloudwatch::{call.account}:dashboard/{board}" if board else None


def key(call: Call) -> str | None:
    """KMS: aliases by their own ARN, everything else on the key, also when named by an alias."""
    from ministack.services import kms

    if call.operation in ("CreateAlias", "DeleteAlias", "UpdateAlias"):
        return call.arn("kms", str(call.given.get("AliasName")))
    record = kms._resolve_key(str(call.given.get("KeyId") or ""))
    return str(record["Arn"]) if record else None


def role_or_user(call: Call) -> str | None:
    """IAM: the path is part of a role's and a user's ARN."""
    from ministack.services import iam

    for kind, store in (("Role", iam._roles), ("User", iam._users)):
        name = call.given.get(f"{kind}Name")
        if not name:
            continue
        stored = store.get(name)
        if stored and call.operation != f"Create{kind}":
            return str(stored["Arn"])
        path = call.given.get("Path") or "/"
        return f"arn:aws:iam::{call.account}:{kind.lower()}{path}{name}"
    return None


def consumer(call: Call) -> str | None:
    """Kinesis: a consumer with enhanced fan-out by its own ARN."""
    return call.given.get("ConsumerARN")


CLUSTER = re.compile(
    r"/(?:v1|api/v2)/clusters/(arn:[^/]+/[^/]+/[^/]+?)(?:/bootstrap-brokers|/nodes|/scram-secrets)?"
)


def cluster(call: Call) -> str | None:
    """MSK: a cluster by the ARN in the path; a new one has an id that nobody knows yet."""
    match = CLUSTER.fullmatch(unquote(call.request.path))
    if match:
        return match.group(1)
    if call.request.method == "POST" and call.request.path.endswith("/clusters"):
        return call.arn("kafka", f"cluster/{call.given.get('clusterName')}/*")
    return None


def network(call: Call) -> str | None:
    """EC2: groups and endpoints by type and id."""
    from weir_local.aws import networks

    return networks.resource(call.operation, call.given, call.region, call.account)


def message(call: Call) -> str | None:
    """WorkMail's message flow: a mail in transit."""
    from weir_local.aws import workmail

    number = call.request.path.rpartition("/")[2]
    return workmail.arn_of(number, call.region, call.account)


RESOURCES: dict[str, Callable[[Call], str | None]] = {
    "lambda": function,
    "scheduler": schedule,
    "glue": glue,
    "events": rule,
    "monitoring": alarm_or_dashboard,
    "kafka": cluster,
    "kinesis": consumer,
    "kms": key,
    "iam": role_or_user,
    "ec2": network,
    "workmailmessageflow": message,
}
"""Service -> its ARNs; None leaves the call to MiniStack."""

TAG_SERVICES = frozenset({"states", "glue", "dynamodb", "sns", "events", "monitoring", "sqs"})


def parameters(request: Request) -> dict[str, Any]:
    """A call's parameters, whatever protocol carries them."""
    return request.json or dict(request.form)


def resource(request: Request, region: str, account: str) -> str | None:
    """The ARN of a call, or None where MiniStack's is right.

    :param request: the call
    :param region: of its credential scope
    :param account: the caller's
    """
    operation = request.operation or request.path.rstrip("/").rsplit("/", 1)[-1]
    call = Call(request, parameters(request), operation, region, account)
    found = tagged(call) if request.service in TAG_SERVICES else None
    finder = RESOURCES.get(request.service)
    return found or (finder(call) if finder else None)


MAPPING_PATH = re.compile(r"/event-source-mappings/[^/]+/?$")
MAPPING = {
    "DELETE": "DeleteEventSourceMapping",
    "GET": "GetEventSourceMapping",
    "PUT": "UpdateEventSourceMapping",
}
"""Method of a call on one mapping -> its action (Service Authorization Reference, *AWS Lambda*)."""


def install() -> None:
    """Put the table before MiniStack's."""
    from ministack.core import iam_actions

    inner = iam_actions.extract_resource_arn

    def extract_resource_arn(
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, Any],
        region: str,
        account: str,
    ) -> str:
        lists = {name: v if isinstance(v, list) else [v] for name, v in query.items()}
        request = Request(service, method, path, headers, body, lists)
        found = resource(request, region, account)
        if found:
            return found
        arn: str = inner(service, method, path, headers, body, query, region, account)
        return arn

    iam_actions.extract_resource_arn = extract_resource_arn

    lambda_action = iam_actions._lambda_action

    def action_of(method: str, path: str) -> str | None:
        return MAPPING.get(method) if MAPPING_PATH.search(path) else lambda_action(method, path)

    iam_actions._lambda_action = action_of
