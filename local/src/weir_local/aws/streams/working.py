"""A batch is taken to its end: invoked, retried, split, checkpointed, given up."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic

from weir_local.aws.functions import function_role
from weir_local.aws.streams import batching, destinations
from weir_local.aws.streams.batching import Attempt, Record, Step
from weir_local.aws.streams.invoking import Answer, invoke, record_metric

logger = logging.getLogger("weir.local.aws.lambda")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds between tries; AWS backs off further and publishes no figures."""

CALL_FAILED = "PROBLEM: Function call failed"
PROCESSED = "OK"
NOTHING_YET = "No records processed"


class Worker(ABC, Generic[Record]):
    """What takes batches of one shard or poller to their end."""

    def __init__(self, mapping: dict[str, Any], region: str) -> None:
        """:param mapping: as stored
        :param region: the mapping's
        """
        self.mapping = mapping
        self.region = region
        self.stopping = threading.Event()

    @abstractmethod
    def event(self, records: Sequence[Record]) -> dict[str, Any]:
        """The event that the function gets."""

    @abstractmethod
    def rest(self, records: tuple[Record, ...], reported: list[Any]) -> tuple[Record, ...]:
        """The records that are tried again when the function reports some as failed.

        :param reported: the identifiers that it gives; one of no record here fails them all
        """

    @abstractmethod
    def arrived(self, record: Record) -> float:
        """When a record came, seconds since the epoch."""

    @abstractmethod
    def finish(self, records: Sequence[Record]) -> None:
        """Keep that these records never come back."""

    @abstractmethod
    def describe(self, records: Sequence[Record]) -> tuple[str, dict[str, Any]]:
        """A batch's description in an invocation record: its name and value."""

    @abstractmethod
    def source(self, records: Sequence[Record]) -> str:
        """Where a batch is from, for the key of its invocation record."""

    @abstractmethod
    def measure(self, records: Sequence[Record]) -> None:
        """Store the metrics of a batch that goes to the function."""

    def rules(self) -> batching.Rules:
        """How the mapping treats batches."""
        return batching.rules(self.mapping)

    def judge(self, attempt: Attempt[Record], answer: Answer) -> Step[Record]:
        """What follows an answer."""
        rules = self.rules()
        if answer.failed:
            return batching.after_error(attempt, rules)
        if not rules.partial:
            return Step(done=attempt.records)
        reported = batching.identifiers(answer.body)
        rest = attempt.records if reported is None else self.rest(attempt.records, reported)
        return batching.after_success(attempt, rest, rules)

    def idle(self, seconds: float) -> None:
        """Wait between two tries."""
        self.stopping.wait(seconds)

    def halted(self) -> bool:
        """Whether the batch at hand is to be left as it is."""
        return self.stopping.is_set()

    def give_up(self, attempt: Attempt[Record], condition: str) -> None:
        """Write a batch to the mapping's destination and go past it."""
        records = attempt.records
        batch = destinations.Discarded(
            condition,
            attempt.invocations,
            self.describe(records),
            self.source(records),
            self.event(records),
        )
        role = function_role(str(self.mapping["FunctionArn"]))
        failure = destinations.deliver(self.mapping, role, self.region, batch)
        if failure:
            record_metric(self.mapping, "DestinationDeliveryFailures", 1, "Count")
            self.mapping["LastProcessingResult"] = f"PROBLEM: {failure}"
        self.finish(records)

    def process(self, records: Sequence[Record]) -> bool:
        """Take a batch to its end.

        :param records: at least one, in order
        :returns: whether it came there; else the worker was told to stop
        """
        queue = deque([Attempt(tuple(records))])
        pause = FIRST_PAUSE
        while queue:
            if self.halted():
                return False
            attempt = queue.popleft()
            old, young = batching.outdated(attempt, self.arrived, time.time(), self.rules().age)
            if old is not None:
                self.give_up(old, batching.TOO_OLD)
            if young is None:
                continue
            self.measure(young.records)
            answer = invoke(self.mapping, self.event(young.records))
            if answer.throttled:
                queue.appendleft(young)
                self.idle(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            step = self.judge(young, answer)
            if step.done:
                self.finish(step.done)
            self.mapping["LastProcessingResult"] = CALL_FAILED if answer.failed else PROCESSED
            if step.discarded is not None:
                self.give_up(step.discarded, batching.EXHAUSTED)
            queue.extendleft(reversed(step.again))
            if step.again:
                self.idle(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE
        return True
