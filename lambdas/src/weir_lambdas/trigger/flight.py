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
from datetime import timedelta
from typing import Any, Protocol

from weir_contract.moments import iso
from weir_contract.state import FLIGHT, pending_sk, pipeline_pk, taken_sk
from weir_lambdas.common.clock import Clock, parse_iso
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table, Update, absent, putting, updating

START_GRACE_SECONDS = 60
"""So long a claimed execution may be unknown to Step Functions before it counts as never started."""


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

    def arrive(self, pipeline: str, source: str, sequence: int, uri: str) -> bool:
        """Make a manifest wait for a pass of the pipeline.

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
                updating(pk, FLIGHT, Update("ADD pending :one", {"one": 1})),
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
        min_interval_seconds: int = 0,
        payload: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Start an execution unless one flies; take over where the named one flies no more.

        Parameters
        ----------
        machine_arn
            The pipeline's state machine.
        min_interval_seconds
            At least so long after the last start the new one waits before it begins.
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
        named, now = item.get("execution"), self._clock.now()
        if named:
            running = self._executions.running(named)
            if running:
                return None
            claimed = parse_iso(item["claimed"]) if "claimed" in item else None
            fresh = claimed and now - claimed < timedelta(seconds=START_GRACE_SECONDS)
            if running is None and fresh:
                raise FlightBusy(f"{pipeline}: {named} is being started")
            log("WARNING", "execution taken over", pipeline=pipeline, execution=named)
        arn = execution_arn(machine_arn, name := self._new_name())
        claim = Update(
            "SET execution = :arn, claimed = :now, passes = :zero",
            {"arn": arn, "now": iso(now), "zero": 0} | ({"named": named} if named else {}),
            "execution = :named" if named else "attribute_not_exists(execution)",
        )
        if self._table.update(pk, FLIGHT, claim) is None:
            raise FlightBusy(f"{pipeline}: another trigger was faster")
        body = dict(payload or {})
        if "last_start" in item and min_interval_seconds:
            due = parse_iso(item["last_start"]) + timedelta(seconds=min_interval_seconds)
            if due > now:
                body["notBefore"] = iso(due)
        try:
            self._executions.start(machine_arn, name, body)
        except Exception:
            give_back = Update("REMOVE execution", {"arn": arn}, "execution = :arn")
            self._table.update(pk, FLIGHT, give_back)
            raise
        return arn

    def waiting(self, pipeline: str, max_attempts: int) -> bool:
        """Whether the pipeline has something to do that nobody is doing, as far as items tell.

        Manifests whose run has failed ``max_attempts`` times wait for the next arrival or request.
        """
        pk = pipeline_pk(pipeline)
        item = self._table.get(pk, FLIGHT) or {}
        if int(item.get("pending", 0)) > 0 or item.get("execution"):
            return True
        return any(
            int(found.get("attempt", 0)) < max_attempts
            for found in self._table.query(pk, "PENDING#")
        )
