"""What else does an action do: which runs does it disturb, and does it cost?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from weir.cli.permissions import lost_actions
from weir.reconcile.plan import Action, Verb
from weir.resource import UNKNOWN, Change

DELETE, REPLACE, UPDATE, CREATE = Verb.DELETE, Verb.REPLACE, Verb.UPDATE, Verb.CREATE
MACHINE = "states.StateMachine"


@dataclass(frozen=True)
class Disturbance:
    """What an action does to runs.

    Parameters
    ----------
    what
        For people, without a full stop.
    stops
        Whether runs under way end or fail by it; else data only waits, or runs start later.
    """

    what: str
    stops: bool = True


ENDPOINT = "ec2.VpcEndpoint"
GONE: Mapping[tuple[str, Verb], Disturbance] = {
    (MACHINE, DELETE): Disturbance("executions under way end"),
    (MACHINE, REPLACE): Disturbance("executions under way end"),
    ("lambda.Function", DELETE): Disturbance("calls of the function fail"),
    ("lambda.Function", REPLACE): Disturbance("calls of the function fail until it is there again"),
    ("lambda.EventSourceMapping", DELETE): Disturbance("what arrives is not taken", stops=False),
    ("lambda.EventSourceMapping", REPLACE): Disturbance(
        "what arrives waits until the mapping is there again", stops=False
    ),
    ("lambda.Permission", DELETE): Disturbance(
        "mails that WorkMail passes on are not taken", stops=False
    ),
    ("glue.Crawler", DELETE): Disturbance("types are discovered no more, and its tables go"),
    ("glue.Job", DELETE): Disturbance("job runs under way fail"),
    ("glue.Job", REPLACE): Disturbance("job runs under way fail"),
    ("iam.Role", DELETE): Disturbance("what runs as this role loses its permissions"),
    ("iam.Role", REPLACE): Disturbance("what runs as this role loses its permissions meanwhile"),
    ("scheduler.Schedule", DELETE): Disturbance("no run starts by this schedule", stops=False),
    ("scheduler.Schedule", REPLACE): Disturbance("a start may be missed", stops=False),
    ("events.Rule", DELETE): Disturbance("what arrives starts nothing", stops=False),
    ("events.Rule", REPLACE): Disturbance("an arrival may be missed", stops=False),
    ("dynamodb.Item", DELETE): Disturbance("what arrives starts nothing", stops=False),
    (ENDPOINT, DELETE): Disturbance(
        "calls of the service from the VPC fail, or take the way out that its subnets have"
    ),
    (ENDPOINT, REPLACE): Disturbance(
        "calls of the service from the VPC fail meanwhile, or take the way out that its subnets have"
    ),
    ("sqs.Queue", DELETE): Disturbance("messages that wait in it are gone"),
    ("sqs.Queue", REPLACE): Disturbance("messages that wait in it are gone"),
}
"""``(kind, verb)`` -> what becomes of runs."""


def _job(action: Action) -> Disturbance | None:
    """Glue reads a job's definition when a job run starts: a retry of a step takes the new one."""
    paths = {one.path.split(".")[0] for one in action.changes}
    if paths <= {"Description", "Timeout"}:
        return None
    return Disturbance(
        "job runs under way keep the former definition; an execution that retries its step takes "
        "the new one"
    )


def _switched_off(name: str, off: object, what: str) -> Callable[[Action], Disturbance | None]:
    def judged(action: Action) -> Disturbance | None:
        found = any(one.path == name and one.after == off for one in action.changes)
        return Disturbance(what, stops=False) if found else None

    return judged


def _role(action: Action) -> Disturbance | None:
    """A role that reads another configuration from now on loses nothing; one without an action does."""
    names = sorted(lost_actions(action))
    if not names:
        return None
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return Disturbance(f"what runs as this role may no longer {', '.join(names[:3])}{more}")


CHANGED: Mapping[str, Callable[[Action], Disturbance | None]] = {
    "glue.Job": _job,
    "iam.Role": _role,
    "scheduler.Schedule": _switched_off(
        "State", "DISABLED", "no run starts by this schedule any more"
    ),
    "events.Rule": _switched_off("State", "DISABLED", "what arrives starts nothing any more"),
    "lambda.EventSourceMapping": _switched_off("Enabled", False, "what arrives is not taken"),
}
"""Kind -> what an update in place does to runs."""


def disturbance(action: Action) -> Disturbance | None:
    """What an action does to runs, or None."""
    if action.verb is UPDATE:
        judge = CHANGED.get(action.kind)
        return judge(action) if judge else None
    return GONE.get((action.kind, action.verb))


STANDING: Mapping[str, str] = {
    "kinesis.Consumer": "a consumer with fan-out, billed by shard and hour",
    "kinesis.Stream": "a stream, billed by the hour",
    "kms.Key": "a key, billed by the month",
    "secretsmanager.Secret": "a secret, billed by the month",
    "cloudwatch.Alarm": "an alarm, billed by the month",
    "cloudwatch.Dashboard": "a dashboard, billed by the month",
    ENDPOINT: "an interface endpoint, billed by the byte, and by the hour whether it is used or not,",
}
"""Kinds that cost by being there; what else Weir makes costs by use."""

PRICED: Mapping[str, frozenset[str]] = {
    "kinesis.Stream": frozenset({"StreamModeDetails", "ShardCount", "RetentionPeriodHours"}),
    "lambda.EventSourceMapping": frozenset({"ProvisionedPollerConfig"}),
    ENDPOINT: frozenset({"SubnetIds"}),
    "glue.Crawler": frozenset({"Targets", "Schedule", "RecrawlPolicy"}),
    "glue.Job": frozenset(
        {"WorkerType", "NumberOfWorkers", "MaxCapacity", "ExecutionClass", "Timeout"}
    ),
    "lambda.Function": frozenset(
        {"MemorySize", "Timeout", "EphemeralStorage", "Architectures", "ReservedConcurrency"}
    ),
    "logs.LogGroup": frozenset({"RetentionInDays"}),
    "dynamodb.Table": frozenset({"BillingMode", "ProvisionedThroughput"}),
    "s3.Bucket": frozenset({"LifecycleRules", "Versioning"}),
    "scheduler.Schedule": frozenset({"ScheduleExpression"}),
}
"""Kind -> top-level properties that change what it costs."""


def cost(action: Action) -> tuple[str, ...]:
    """What bears on the bill, for people; amounts are AWS's to tell."""
    if stands(action):
        what = _endpoint(action) if action.kind == ENDPOINT else STANDING[action.kind]
        return (f"{'adds' if action.verb is CREATE else 'ends'} {what}",)
    if action.verb not in (UPDATE, REPLACE):
        return ()
    priced = PRICED.get(action.kind, frozenset())
    return tuple(
        f"{one.path}: {_value(one, one.before)} -> {_value(one, one.after)}"
        for one in action.changes
        if one.path.split(".")[0] in priced
    )


def stands(action: Action) -> bool:
    """Whether an action begins or ends what is billed for being there. Of endpoints, interfaces are;
    the gateways of S3 and DynamoDB cost nothing."""
    if action.verb not in (CREATE, DELETE) or action.kind not in STANDING:
        return False
    return action.kind != ENDPOINT or _wanted(action).get("VpcEndpointType") == "Interface"


def _wanted(action: Action) -> Mapping[str, Any]:
    seen = action.observed.properties if action.observed else {}
    return {**seen, **(action.resource.properties if action.resource else {})}


def _endpoint(action: Action) -> str:
    subnets = _wanted(action).get("SubnetIds")
    ids = subnets.split(",") if isinstance(subnets, str) else subnets
    zones = len(ids) if isinstance(ids, (list, tuple)) else 0
    count = f"{zones} availability zones" if zones > 1 else "one availability zone"
    where = count if zones else "each availability zone of the subnets"
    return f"{STANDING[ENDPOINT]} in {where}"


def _value(change: Change, value: object) -> str:
    if value is UNKNOWN:
        return repr(UNKNOWN)
    if isinstance(value, (str, int, float)):
        return str(value)
    return "none" if value is None else f"another {change.path.split('.')[0]}"
