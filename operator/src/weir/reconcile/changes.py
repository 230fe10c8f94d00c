"""What others have changed on AWS, heard of in seconds instead of at the next drift round.

Where a Platform says ``changeEvents``, CloudTrail's events of writes come by a rule of EventBridge
into a queue of the Platform's. An event only says where to look: what is known of the resource is
forgotten and its owners are woken, so that an event twice, late or never does no harm. The rounds
stay as the backstop.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from weir.aws.calls import Calls
from weir.aws.errors import AwsError
from weir.kube.keys import Key
from weir.kube.store import Store
from weir.reconcile.asking import PlatformAsker
from weir.reconcile.queue import Lane
from weir.reconcile.view import ready_name
from weir.reconcile.world import World, Worlds

log = structlog.get_logger("weir.changes")

QUEUE = "changes"
"""Logical id of a Platform's queue of change events."""
LISTENED_TO = 16
"""Platforms that are listened to side by side."""
WAIT_SECONDS = 20
"""How long one question waits for a message: the most that SQS allows (SQS API, ReceiveMessage)."""
TICK = 1.0
"""Seconds between two looks at which Platforms have a queue."""


@dataclass(frozen=True)
class Naming:
    """Where an event names what it is about.

    Parameters
    ----------
    kind
        The adapter's kind.
    parameters
        Keys of ``requestParameters``, any of which may hold a name, an ARN, a URL or a list of them.
    """

    kind: str
    parameters: tuple[str, ...]


SERVICES: dict[str, tuple[Naming, ...]] = {
    "dynamodb.amazonaws.com": (Naming("dynamodb.Table", ("tableName", "resourceArn")),),
    "events.amazonaws.com": (Naming("events.Rule", ("name", "rule", "resourceARN")),),
    "glue.amazonaws.com": (
        Naming("glue.Job", ("jobName", "name")),
        Naming("glue.Crawler", ("name",)),
        Naming("glue.Database", ("name",)),
    ),
    "iam.amazonaws.com": (Naming("iam.Role", ("roleName",)),),
    "lambda.amazonaws.com": (Naming("lambda.Function", ("functionName", "resource")),),
    "logs.amazonaws.com": (Naming("logs.LogGroup", ("logGroupName", "resourceArn")),),
    "monitoring.amazonaws.com": (
        Naming("cloudwatch.Alarm", ("alarmName", "alarmNames", "resourceARN")),
        Naming("cloudwatch.Dashboard", ("dashboardName", "dashboardNames")),
    ),
    "s3.amazonaws.com": (Naming("s3.Bucket", ("bucketName",)),),
    "scheduler.amazonaws.com": (Naming("scheduler.Schedule", ("name",)),),
    "sns.amazonaws.com": (Naming("sns.Topic", ("topicArn", "resourceArn", "name")),),
    "sqs.amazonaws.com": (Naming("sqs.Queue", ("queueUrl", "queueName")),),
    "states.amazonaws.com": (
        Naming("states.StateMachine", ("stateMachineArn", "name", "resourceArn")),
    ),
}
"""Event source -> what its events are about (CloudTrail User Guide, *CloudTrail record contents*).

Lambda puts a date behind its operations' names, others spell one parameter in several ways: what an
event is called does not count, only what it names.
"""


def record_in(body: str) -> Mapping[str, Any] | None:
    """The CloudTrail record of an event in EventBridge's form; None for any other text."""
    try:
        event = json.loads(body)
    except ValueError:
        return None
    detail = event.get("detail") if isinstance(event, Mapping) else None
    return detail if isinstance(detail, Mapping) else None


def named(detail: Mapping[str, Any]) -> set[tuple[str, str]]:
    """``(kind, name)`` of everything that an event of CloudTrail may be about.

    Parameters
    ----------
    detail
        The CloudTrail record.
    """
    found: set[tuple[str, str]] = set()
    given = detail.get("requestParameters")
    if not isinstance(given, Mapping):
        return found
    for one in SERVICES.get(str(detail.get("eventSource")), ()):
        for parameter in one.parameters:
            found |= {(one.kind, name) for name in _names(given.get(parameter))}
    return found


def _names(value: Any) -> Iterable[str]:
    """A name as it stands in a text, an ARN or a queue's URL, or in a list of these."""
    if isinstance(value, list):
        for item in value:
            yield from _names(item)
    elif isinstance(value, str) and value:
        if value.startswith("arn:"):
            # A name may hold slashes (a log group's), never a colon but for what stands behind one.
            parts = value.split(":")
            yield parts[6] if len(parts) > 6 else parts[-1].rpartition("/")[2]
        elif value.startswith(("http://", "https://")):
            yield value.rpartition("/")[2]
        else:
            yield value


class ChangeWatcher(PlatformAsker):
    """Listens to the queues of the Platforms that have one.

    Parameters
    ----------
    wake
        Puts an object into the queue of work.
    serves
        Whether a Platform is this process's to work for.
    """

    def __init__(
        self,
        store: Store,
        worlds: Worlds,
        wake: Callable[[Key, Lane], None],
        serves: Callable[[str], bool] = lambda _platform: True,
    ) -> None:
        super().__init__("changes", worlds, TICK, LISTENED_TO, serves)
        self._store, self._wake = store, wake

    def ask(self, platform: str, world: World) -> None:
        """One question to one queue."""
        queue = ready_name(self._store, platform, QUEUE)
        if queue is None:
            return
        try:
            woken = self.hear(world, queue, WAIT_SECONDS)
        except AwsError as error:
            log.warning("not heard", platform=platform, queue=queue, error=str(error))
            self.stopping.wait(WAIT_SECONDS)
        except Exception:
            # A fault of this program must not end the listening: say it, and ask again.
            log.exception("fault", platform=platform)
            self.stopping.wait(WAIT_SECONDS)
        else:
            if woken:
                log.info("changed by others", platform=platform, woken=len(woken))

    def hear(self, world: World, queue: str, seconds: int) -> set[Key]:
        """Take the messages that a queue has, and wake the owners of what they name.

        A message is deleted once its owners are woken: a death in between brings it again.

        Parameters
        ----------
        seconds
            To wait for a first message.

        Returns
        -------
        set of Key
            The objects that were woken.
        """
        calls = Calls(world.session, "sqs")
        url = calls("GetQueueUrl", queue, QueueName=queue)["QueueUrl"]
        answer = calls(
            "ReceiveMessage", queue, QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=seconds
        )
        messages = answer.get("Messages") or []
        woken: set[Key] = set()
        for message in messages:
            woken |= self._take(world, str(message.get("Body", "")))
            calls("DeleteMessage", queue, QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return woken

    def _take(self, world: World, body: str) -> set[Key]:
        detail = record_in(body)
        if detail is None:
            log.warning("no event", size=len(body))
            return set()
        who = detail.get("userIdentity")
        if isinstance(who, Mapping) and who.get("arn") == world.session.caller_arn:
            return set()  # Our own changes are known already.
        woken: set[Key] = set()
        for kind, name in named(detail):
            owners = world.inventory.owners((kind, name))
            if owners:
                world.inventory.drop(kind, name)
            woken.update(owners)
        for owner in woken:
            self._wake(owner, Lane.DEPENDENT)
        return woken
