"""What AWS and the way to it do on a bad day, as tables, and the rules that do it to a call."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle

from crashing.workers import Numbering
from crashing.world import RANDOM

from weir.aws.session import is_write
from weir_local.proxy import DROPPED, Exchange, Forward, Reply, Rule


@dataclass(frozen=True)
class Refusal:
    """An error answer: status, error code, message."""

    status: int
    code: str
    message: str


def protocol_of(exchange: Exchange) -> str:
    """In which protocol a call is spoken: what its request shows."""
    if "smithy-protocol" in exchange.headers:
        return "cbor"
    if "x-amz-target" in exchange.headers:
        return "json"
    if "x-www-form-urlencoded" in exchange.headers.get("content-type", ""):
        return "query"
    return "rest-xml" if exchange.service == "s3" else "rest-json"


def answer(exchange: Exchange, refusal: Refusal) -> Reply:
    """A refusal in the protocol of the call."""
    protocol = protocol_of(exchange)
    status, code, message = refusal.status, refusal.code, refusal.message
    if exchange.method == "HEAD":
        return Reply(status, {"content-length": "0"}, b"")
    if protocol == "query":
        body = (
            "<ErrorResponse><Error><Type>Sender</Type>"
            f"<Code>{code}</Code><Message>{message}</Message></Error>"
            "<RequestId>0</RequestId></ErrorResponse>"
        )
        return Reply(status, {"content-type": "text/xml"}, body.encode())
    if protocol == "rest-xml":
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Reply(status, {"content-type": "application/xml"}, body.encode())
    if protocol == "rest-json":
        headers = {"content-type": "application/json", "x-amzn-errortype": code}
        return Reply(status, headers, json.dumps({"message": message}).encode())
    if protocol == "cbor":
        headers = {
            "content-type": "application/cbor",
            "smithy-protocol": "rpc-v2-cbor",
            "x-amzn-query-error": f"{code};Sender",
        }
        pairs = {"__type": f"com.amazonaws.cloudwatch#{code}", "message": message}
        return Reply(status, headers, _cbor(pairs))
    headers = {"content-type": "application/x-amz-json-1.1"}
    return Reply(status, headers, json.dumps({"__type": code, "message": message}).encode())


def _cbor(pairs: Mapping[str, str]) -> bytes:
    """A map of texts (RFC 8949: major types 5 and 3)."""

    def text(value: str) -> bytes:
        raw = value.encode()
        return b"\x79" + len(raw).to_bytes(2, "big") + raw

    return bytes([0xA0 + len(pairs)]) + b"".join(text(k) + text(v) for k, v in pairs.items())


RATE = "Rate exceeded"
THROTTLES: dict[str, tuple[Refusal, ...]] = {
    "iam": (Refusal(400, "Throttling", RATE), Refusal(429, "TooManyRequestsException", RATE)),
    "sns": (Refusal(400, "Throttling", RATE), Refusal(429, "ThrottledException", RATE)),
    "sqs": (Refusal(400, "RequestThrottled", RATE), Refusal(403, "ThrottlingException", RATE)),
    "s3": (
        Refusal(503, "SlowDown", "Please reduce your request rate."),
        Refusal(503, "RequestLimitExceeded", RATE),
    ),
    "lambda": (
        Refusal(429, "TooManyRequestsException", RATE),
        Refusal(400, "ThrottlingException", RATE),
    ),
    "dynamodb": (
        Refusal(400, "ProvisionedThroughputExceededException", "The level of configured..."),
        Refusal(400, "ThrottlingException", "Throughput exceeds the current capacity"),
        Refusal(400, "RequestLimitExceeded", "Throughput exceeds the current limit"),
    ),
    "kms": (
        Refusal(
            400, "ThrottlingException", "You have exceeded the rate at which you may call KMS."
        ),
        Refusal(400, "LimitExceededException", RATE),
    ),
    "logs": (Refusal(400, "ThrottlingException", RATE),),
    "scheduler": (Refusal(429, "ThrottlingException", RATE),),
    "cloudwatch": (Refusal(400, "Throttling", RATE), Refusal(400, "ThrottlingException", RATE)),
    "redshift-data": (
        Refusal(400, "ThrottlingException", RATE),
        Refusal(400, "ActiveStatementsExceededException", "Active statements exceeded"),
    ),
    "resourcegroupstaggingapi": (Refusal(400, "ThrottledException", RATE),),
}
"""How each service says that there are too many calls (its API reference, "Common errors")."""
THROTTLED = (Refusal(400, "ThrottlingException", RATE),)

SPREADING: dict[str, Refusal] = {
    "lambda:CreateFunction": Refusal(
        400,
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    ),
    "lambda:UpdateFunctionConfiguration": Refusal(
        400,
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    ),
    "lambda:CreateEventSourceMapping": Refusal(
        400,
        "InvalidParameterValueException",
        "The provided execution role does not have permissions to call ReceiveMessage on SQS",
    ),
    "stepfunctions:CreateStateMachine": Refusal(
        400,
        "AccessDeniedException",
        "Neither the global service principal states.amazonaws.com, nor the regional one is "
        "authorized to assume the provided role.",
    ),
    "stepfunctions:UpdateStateMachine": Refusal(
        400,
        "AccessDeniedException",
        "'arn:aws:iam::000000000000:role/x' is not authorized to create managed-rule: the role "
        "does not have required permissions",
    ),
    "scheduler:CreateSchedule": Refusal(
        400,
        "ValidationException",
        "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
    ),
    "scheduler:UpdateSchedule": Refusal(
        400,
        "ValidationException",
        "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.",
    ),
    "glue:CreateJob": Refusal(
        400, "InvalidInputException", "Role arn:aws:iam::000000000000:role/x cannot be assumed"
    ),
    "sqs:SetQueueAttributes": Refusal(400, "InvalidParameterValue", "Invalid principal in policy"),
    "s3:PutBucketPolicy": Refusal(400, "MalformedPolicy", "Invalid principal in policy"),
    "kms:CreateKey": Refusal(
        400,
        "MalformedPolicyDocumentException",
        "Policy contains a statement with one or more invalid principals.",
    ),
}
"""What is said while IAM has not spread a new role or policy."""

TAKEN: dict[str, Refusal] = {
    "s3:CreateBucket": Refusal(
        409,
        "OperationAborted",
        "A conflicting conditional operation is currently in progress against this resource.",
    ),
    "sqs:CreateQueue": Refusal(
        400,
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the "
        "same name.",
    ),
    "lambda:CreateEventSourceMapping": Refusal(
        409,
        "ResourceConflictException",
        "The event source mapping is currently being deleted: the operation cannot be performed "
        "at this time.",
    ),
    "lambda:DeleteEventSourceMapping": Refusal(
        400,
        "ResourceInUseException",
        "Cannot delete the event source mapping because it is in use.",
    ),
    "lambda:UpdateFunctionConfiguration": Refusal(
        409,
        "ResourceConflictException",
        "The operation cannot be performed at this time. An update is in progress for resource",
    ),
    "lambda:PutFunctionConcurrency": Refusal(
        409,
        "ResourceConflictException",
        "The operation cannot be performed at this time. The function is currently in the "
        "following state: Pending",
    ),
    "stepfunctions:CreateStateMachine": Refusal(
        400, "StateMachineDeleting", "State Machine is being deleted"
    ),
    "dynamodb:CreateTable": Refusal(
        400, "ResourceInUseException", "Table is being deleted: it cannot be created now"
    ),
    "dynamodb:UpdateTable": Refusal(
        400,
        "ResourceInUseException",
        "Attempt to change a resource which is still in use: Table is being updated",
    ),
    "dynamodb:UpdateTimeToLive": Refusal(
        400,
        "ValidationException",
        "Time to live has been modified multiple times within a fixed interval",
    ),
    "dynamodb:DeleteTable": Refusal(
        400, "ResourceInUseException", "Table is being created: cannot be deleted"
    ),
    "iam:CreateRole": Refusal(409, "ConcurrentModification", "another request changes the role"),
    "iam:DeleteRole": Refusal(409, "ConcurrentModification", "another request changes the role"),
    "events:PutRule": Refusal(400, "ConcurrentModificationException", "Rule is being modified"),
    "glue:UpdateTable": Refusal(400, "ConcurrentModificationException", "Update table failed"),
    "logs:CreateLogGroup": Refusal(
        400, "OperationAbortedException", "another operation is running"
    ),
    "kms:CreateAlias": Refusal(400, "DependencyTimeoutException", "timed out"),
    "kms:ScheduleKeyDeletion": Refusal(400, "DependencyTimeoutException", "timed out"),
}
"""Names that stay taken after a deletion, and resources that AWS is still busy with."""

Chosen = Callable[[Exchange], bool]


def writes(exchange: Exchange) -> bool:
    """Calls that may change something."""
    return is_write(exchange.operation)


def every(_: Exchange) -> bool:
    """All calls."""
    return True


@dataclass(frozen=True)
class Fault:
    """One row: what happens to the first tries of each call that is meant.

    :param name: for people
    :param chosen: which calls are meant
    :param tries: how many tries of each such call; botocore gives up after four
    :param makes: the rule that does it, made anew for each worker
    """

    name: str
    chosen: Chosen
    tries: int
    makes: Callable[[], Rule]

    def rule(self) -> Rule:
        """Does it to the first tries of every call that is meant."""
        does, tried = self.makes(), Counter[str]()

        async def rule(exchange: Exchange, forward: Forward) -> Reply:
            mark = _mark(exchange)
            tried[mark] += 1
            if not self.chosen(exchange) or tried[mark] > self.tries:
                return await forward()
            return await does(exchange, forward)

        return rule

    def at(self, number: int) -> Rule:
        """Does it to the first tries of one call alone, by its number."""
        does, numbering, meant = self.makes(), Numbering(), Counter[str]()

        async def rule(exchange: Exchange, forward: Forward) -> Reply:
            mark = _mark(exchange)
            if numbering(exchange.name) == number and not meant:
                meant[mark] = self.tries
            if meant[mark] <= 0 or not self.chosen(exchange):
                return await forward()
            meant[mark] -= 1
            return await does(exchange, forward)

        return rule


def _mark(exchange: Exchange) -> str:
    """The same for each try of one call, also where each pass has a token of its own."""
    text = f"{exchange.name} {exchange.target} {exchange.body.decode('utf-8', 'replace')}"
    for pattern, stands in RANDOM:
        text = pattern.sub(stands, text)
    return text


def lost() -> Rule:
    """It takes effect, and nobody hears of it."""

    async def rule(_: Exchange, forward: Forward) -> Reply:
        await forward()
        return DROPPED

    return rule


def unsent() -> Rule:
    """The connection breaks before AWS sees anything."""

    async def rule(_exchange: Exchange, _forward: Forward) -> Reply:
        return DROPPED

    return rule


def failing(status: int, code: str, *, after: bool) -> Callable[[], Rule]:
    """AWS fails, before or after it took effect."""

    def make() -> Rule:
        async def rule(exchange: Exchange, forward: Forward) -> Reply:
            if after:
                await forward()
            return answer(exchange, Refusal(status, code, "We encountered an internal error."))

        return rule

    return make


def throttled() -> Rule:
    """Too many calls, in each spelling of the service in turn."""
    spellings: dict[str, cycle[Refusal]] = {}

    async def rule(exchange: Exchange, _forward: Forward) -> Reply:
        of = THROTTLES.get(exchange.service, THROTTLED)
        turn = spellings.setdefault(exchange.service, cycle(of))
        return answer(exchange, next(turn))

    return rule


def refused(table: Mapping[str, Refusal]) -> Callable[[], Rule]:
    """As a table says, operation by operation."""

    def make() -> Rule:
        async def rule(exchange: Exchange, _forward: Forward) -> Reply:
            return answer(exchange, table[exchange.name])

        return rule

    return make


def stale(tries: int) -> Rule:
    """Reads after a write still show what they showed before, for some tries each."""
    before: dict[str, Reply] = {}
    shown: Counter[str] = Counter()
    wrote = False

    async def rule(exchange: Exchange, forward: Forward) -> Reply:
        nonlocal wrote
        if is_write(exchange.operation):
            wrote = True
            return await forward()
        mark = _mark(exchange)
        if wrote and mark in before and shown[mark] < tries:
            shown[mark] += 1
            return before[mark]
        reply = await forward()
        if not wrote:
            before.setdefault(mark, reply)
        return reply

    return rule


REFUSALS = {**TAKEN, **SPREADING}


def _refusable(exchange: Exchange) -> bool:
    return exchange.name in REFUSALS


DAYS = (
    Fault("each write's reply is lost once", writes, 1, lost),
    Fault("each write fails after it took effect until botocore gives up", writes, 4,
          failing(500, "InternalFailure", after=True)),
    Fault("each call is throttled until botocore gives up", every, 5, throttled),
    Fault("roles are not spread and names still taken", _refusable, 2, refused(REFUSALS)),
)  # fmt: skip
"""What one life of each kind is lived through."""
MORE_DAYS = (
    Fault("each write's reply is lost until botocore gives up", writes, 4, lost),
    Fault("each call's connection breaks once", every, 1, unsent),
    Fault("each write fails until botocore gives up", writes, 4,
          failing(503, "ServiceUnavailable", after=False)),
    Fault("each write fails after it took effect", writes, 1,
          failing(500, "InternalFailure", after=True)),
    Fault("each call is throttled once", every, 1, throttled),
    Fault("IAM has not spread the role", lambda one: one.name in SPREADING, 2, refused(SPREADING)),
    Fault("names are still taken", lambda one: one.name in TAKEN, 2, refused(TAKEN)),
)  # fmt: skip
"""What the bench adds to them."""
STALE_READS = 3

RULES: dict[str, Callable[[], Rule]] = {
    **{fault.name: fault.rule for fault in DAYS},
    "reads after writes are stale": lambda: stale(STALE_READS),
}
MORE_RULES: dict[str, Callable[[], Rule]] = {fault.name: fault.rule for fault in MORE_DAYS}

OBJECT_RULES: dict[str, Callable[[], Rule]] = {
    name: rule
    for name, rule in {**RULES, **MORE_RULES}.items()
    if name
    in (
        "each write's reply is lost once",
        "each call is throttled once",
        "roles are not spread and names still taken",
        "reads after writes are stale",
    )
}
"""What a whole installation is lived through: it makes hundreds of calls, so that one after the other
till botocore gives up would take hundreds of reconciles."""

PASSING = ("Transient", "NotYet", "NotFound", "Throttled")
"""Outcomes that say: the same again later. No bad day of AWS is the user's to mend."""


def blamed(met: list[str]) -> list[str]:
    """Failures that the engine would tell a user to mend."""
    return [text for text in met if text.partition(":")[0] not in PASSING]
