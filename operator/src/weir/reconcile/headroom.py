"""How near is a Platform's account to AWS's quotas?

Asked once a day: two calls say it of the quotas that an account reaches first, since each object has
roles of its own, and each function its code. Of the others AWS's defaults are held against what the
operator itself has there, which is a lower bound.

Sources: IAM API reference, GetAccountSummary; Lambda API reference, GetAccountSettings; "Quotas" in
the guides of CloudWatch (alarms), Step Functions (state machines) and Glue (jobs).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from weir.aws.calls import Calls
from weir.aws.errors import AwsError
from weir.aws.session import AwsSession
from weir.reconcile.look import Look
from weir.reconcile.runs import instant, to_the_second
from weir.reconcile.world import World

log = structlog.get_logger("weir.headroom")

EVERY = timedelta(days=1)
NEAR = 0.8
"""Part of a quota from which on it is told."""

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """A quota that AWS tells together with what the whole account uses.

    Parameters
    ----------
    name
        As the status has it.
    service, operation
        The call, which takes no parameters.
    read
        The call's answer -> used and limit.
    """

    name: str
    service: str
    operation: str
    read: Callable[[Answer], tuple[int, int]]


@dataclass(frozen=True)
class Documented:
    """A quota of which only AWS's default is known; ``kind`` is what counts against it."""

    name: str
    kind: str
    limit: int


@dataclass(frozen=True)
class Headroom:
    """One quota as it is used."""

    name: str
    used: int
    limit: int
    whole: bool
    """Whether ``used`` is of the whole account; else of what the operator has there."""

    @property
    def near(self) -> bool:
        """Whether it is time to ask for more."""
        return self.used >= NEAR * self.limit

    def to_status(self) -> dict[str, Any]:
        """As it stands on the Platform."""
        counts = "account" if self.whole else "weir"
        return {"name": self.name, "used": self.used, "limit": self.limit, "counts": counts}

    @classmethod
    def from_status(cls, line: Mapping[str, Any]) -> Headroom:
        """What :meth:`to_status` wrote."""
        return cls(line["name"], line["used"], line["limit"], line["counts"] == "account")


def _roles(answer: Answer) -> tuple[int, int]:
    summary = answer["SummaryMap"]
    return summary["Roles"], summary["RolesQuota"]


def _code(answer: Answer) -> tuple[int, int]:
    return answer["AccountUsage"]["TotalCodeSize"], answer["AccountLimit"]["TotalCodeSize"]


ASKED = (
    Asked("iam-roles", "iam", "GetAccountSummary", _roles),
    Asked("lambda-code-bytes", "lambda", "GetAccountSettings", _code),
)
DOCUMENTED = (
    Documented("cloudwatch-alarms", "cloudwatch.Alarm", 5_000),
    Documented("states-machines", "states.StateMachine", 10_000),
    Documented("glue-jobs", "glue.Job", 1_000),
    Documented("glue-crawlers", "glue.Crawler", 1_000),
)


def measure(session: AwsSession, owned: Mapping[str, int]) -> tuple[list[Headroom], list[str]]:
    """Every quota that can be told, and why others can't.

    Parameters
    ----------
    owned
        How many resources of each kind the operator has in the account.
    """
    found, faults = [], []
    for quota in ASKED:
        try:
            used, limit = quota.read(Calls(session, quota.service)(quota.operation))
        except AwsError as error:
            faults.append(str(error))
        else:
            found.append(Headroom(quota.name, used, limit, whole=True))
    found += [
        Headroom(one.name, owned.get(one.kind, 0), one.limit, whole=False) for one in DOCUMENTED
    ]
    return found, faults


def near_note(near: Sequence[Headroom]) -> str:
    """What to do where quotas come to their end."""
    told = ", ".join(f"{one.name} ({one.used} of {one.limit})" for one in near)
    return (
        f"quotas of the account come to their end: {told}. Ask AWS for more (Service Quotas), or "
        "use another account for new objects"
    )


def follow_quotas(look: Look, world: World) -> None:
    """``status.quotas`` and the gauges; measured anew once a day, with an event where one is near."""
    status, services = look.status, look.services
    checked = instant(status.get("quotasChecked"))
    if checked is None or services.now() - checked >= EVERY:
        found, faults = measure(world.session, world.inventory.counts())
        for fault in faults:
            log.warning("quota", platform=look.key.name, error=fault)
        status["quotas"] = [one.to_status() for one in found]
        status["quotasChecked"] = to_the_second(services.now())
    known = [Headroom.from_status(line) for line in status.get("quotas") or []]
    for one in known:
        services.metrics.quota(look.key.name, one.name, one.used, one.limit)
    near = [one for one in known if one.near]
    if near:
        services.events.warn(look.obj, "QuotaNear", near_note(near))
