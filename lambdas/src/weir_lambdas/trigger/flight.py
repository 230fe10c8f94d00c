"""Single flight, then drain: one execution per pipeline, and no arrival without a pass after it.

The order of writes is what keeps a wake-up from being lost:

1. an arrival writes its PENDING item and adds one to the flight's ``pending``, in one transaction;
2. *then* it looks whether an execution flies, and starts one if none does;
3. a pass sets ``pending`` to 0 *before* it reads the PENDING items;
4. an execution lands (its name leaves the FLIGHT item) only while ``pending`` is 0.

An arrival whose step 1 comes before the landing makes the landing fail; one whose step 1 comes
after it sees in step 2 that nothing flies. There is no moment in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from weir_contract.moments import iso
from weir_contract.state import FLIGHT, pending_sk, pipeline_pk, taken_sk
from weir_lambdas.common.clock import Clock, parse_iso
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table, Update, absent, putting, updating

START_GRACE_SECONDS = 60
"""So long a claimed execution may be unknown to Step Functions before it counts as never started."""

MAX_ATTEMPTS = 5
"""After so many failed attempts of a run only an arrival or a person starts it again."""


@dataclass(frozen=True)
class Pace:
    """How long what has landed may wait for more.

    Parameters
    ----------
    min_interval
        Seconds from one start to the next, at least.
    max_wait
        Seconds that data waits for it at most; None: as long as it takes.
    max_bytes
        Landed bytes that do not wait; None: all do.
    """

    min_interval: int = 0
    max_wait: int | None = None
    max_bytes: int | None = None

    @classmethod
    def of(cls, subscription: Mapping[str, Any]) -> Pace:
        """Read it from a subscription's item."""

        def number(name: str) -> int | None:
            return int(subscription[name]) if name in subscription else None

        wait, size = number("maxWaitSeconds"), number("maxBytes")
        return cls(number("minIntervalSeconds") or 0, wait, size)


class FlightBusy(Exception):
    """Another trigger is starting the execution at this moment: ask again soon."""


class Executions(Protocol):
    """What must be known of Step Functions."""

    def running(self, arn: str) -> bool | None:
        """Whether an execution runs; None where Step Functions does not know it."""

    def start(self, machine_arn: str, name: str, payload: Mapping[str, Any]) -> None:
        """Start an execution under a name that was never used."""


def execution_arn(machine_arn: str, name: str) -> str:
    """The ARN that an execution of that name gets."""
    return f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"


class Flights:
    """Arrivals at pipelines.

    Parameters
    ----------
    new_name
        Gives an execution name that is unique for 90 days (Step Functions API Reference,
        *StartExecution*).
    """

    def __init__(
        self, table: Table, executions: Executions, clock: Clock, new_name: Callable[[], str]
    ) -> None:
        self._table, self._executions = table, executions
        self._clock, self._new_name = clock, new_name

    def arrive(self, pipeline: str, source: str, sequence: int, uri: str, size: int = 0) -> bool:
        """Make a manifest wait for a pass of the pipeline.

        Parameters
        ----------
        size
            Its bytes, where somebody counts them.

        Returns
        -------
        bool
            False where a pass has taken it already: the event came twice, nothing is to be done.
        """
        pk = pipeline_pk(pipeline)
        values = {
            "source": source,
            "sequence": sequence,
            "uri": uri,
            "arrived": iso(self._clock.now()),
        }
        written = self._table.transact(
            [
                absent(pk, taken_sk(source, sequence)),
                putting(pk, pending_sk(source, sequence), values, new=True),
                updating(
                    pk, FLIGHT, Update("ADD pending :one, landed :size", {"one": 1, "size": size})
                ),
            ]
        )
        return written or self._table.get(pk, taken_sk(source, sequence)) is None

    def request(self, pipeline: str, requested_by: str | None) -> None:
        """Ask for a pass whether or not manifests wait, as a schedule or a person does."""
        update = Update("ADD pending :one", {"one": 1})
        if requested_by:
            update = Update("ADD pending :one, requests :by", {"one": 1, "by": {requested_by}})
        self._table.update(pipeline_pk(pipeline), FLIGHT, update)

    def ensure(
        self,
        pipeline: str,
        machine_arn: str,
        pace: Pace = Pace(),
        payload: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Start an execution unless one flies; take over where the named one flies no more.

        Parameters
        ----------
        machine_arn
            The pipeline's state machine.
        pace
            How long the execution waits before it begins; one that waits is taken over once enough
            has landed.
        payload
            Further input of the execution.

        Returns
        -------
        str or None
            The ARN of the execution that was started, or None where one flies.

        Raises
        ------
        FlightBusy
            Another caller has claimed the flight, and has not started its execution yet.
        """
        pk = pipeline_pk(pipeline)
        item = self._table.get(pk, FLIGHT) or {}
        named, now, running = item.get("execution"), self._clock.now(), None
        if named:
            running = self._executions.running(named)
            if running and not _is_due(item, pace, now):
                return None
            claimed = parse_iso(item["claimed"]) if "claimed" in item else None
            fresh = claimed and now - claimed < timedelta(seconds=START_GRACE_SECONDS)
            if running is None and fresh:
                raise FlightBusy(f"{pipeline}: {named} is being started")
            why = "enough has landed" if running else "it runs no more"
            level = "INFO" if running else "WARNING"
            log(level, "execution taken over", pipeline=pipeline, execution=named, why=why)
        arn = execution_arn(machine_arn, name := self._new_name())
        begins = _begins(item, pace, now)
        values: dict[str, Any] = {"arn": arn, "now": iso(now), "zero": 0}
        change = "SET execution = :arn, claimed = :now, passes = :zero"
        condition = "execution = :named" if named else "attribute_not_exists(execution)"
        if named:
            values["named"] = named
        if running:
            # It may begin at this moment: then it is no longer one that waits.
            values["waited"] = item["not_before"]
            condition += " AND not_before = :waited"
        if begins is None:
            change += " REMOVE not_before"
        else:
            change += ", not_before = :begins"
            values["begins"] = begins
        claim = Update(change, values, condition)
        if self._table.update(pk, FLIGHT, claim) is None:
            raise FlightBusy(f"{pipeline}: another trigger was faster")
        body = dict(payload or {})
        if begins is not None:
            body["notBefore"] = begins
        try:
            self._executions.start(machine_arn, name, body)
        except Exception:
            give_back = Update("REMOVE execution", {"arn": arn}, "execution = :arn")
            self._table.update(pk, FLIGHT, give_back)
            raise
        return arn

    def waiting(self, pipeline: str) -> bool:
        """Whether the pipeline has something to do that nobody is doing, as far as items tell.

        Manifests whose run has failed :data:`MAX_ATTEMPTS` times wait for the next arrival or request.
        """
        pk = pipeline_pk(pipeline)
        item = self._table.get(pk, FLIGHT) or {}
        if int(item.get("pending", 0)) > 0 or item.get("execution"):
            return True
        return any(
            int(found.get("attempt", 0)) < MAX_ATTEMPTS
            for found in self._table.query(pk, "PENDING#")
        )


def _begins(item: Mapping[str, Any], pace: Pace, now: datetime) -> str | None:
    """When a new execution begins its first pass, ISO 8601; None for at once."""
    if "last_start" not in item or not pace.min_interval or _is_much(item, pace):
        return None
    due = parse_iso(item["last_start"]) + timedelta(seconds=pace.min_interval)
    if pace.max_wait is not None:
        due = min(due, now + timedelta(seconds=pace.max_wait))
    return iso(due) if due > now else None


def _is_due(item: Mapping[str, Any], pace: Pace, now: datetime) -> bool:
    """Whether the execution that flies waits still, and need not any more."""
    waits = "not_before" in item and parse_iso(item["not_before"]) > now
    return waits and _is_much(item, pace)


def _is_much(item: Mapping[str, Any], pace: Pace) -> bool:
    return pace.max_bytes is not None and int(item.get("landed", 0)) >= pace.max_bytes
