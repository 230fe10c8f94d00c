"""The function ``ingest`` of a stream: seals what was received, or records that it failed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from weir_contract.sources import SourceConfig
from weir_lambdas.common.aws import BRIEF, client
from weir_lambdas.common.clock import Clock, SystemClock
from weir_lambdas.common.config import load_config
from weir_lambdas.common.entry import entry
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.log import log
from weir_lambdas.common.metrics import emit
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.batch import Source
from weir_lambdas.landing.calls import Asked, asked, fail
from weir_lambdas.landing.land import Lander
from weir_lambdas.landing.replay import quarantined
from weir_lambdas.stream_processor.backlog import Backlog
from weir_lambdas.stream_processor.givenup import GivenUp, Taken
from weir_lambdas.stream_processor.intake import Counts, Intake
from weir_lambdas.stream_processor.past import PastSource
from weir_lambdas.stream_processor.pollers import unread
from weir_lambdas.stream_processor.positions import Positions
from weir_lambdas.stream_processor.receive import loads_of
from weir_lambdas.stream_processor.sealing import SealSource
from weir_lambdas.stream_processor.sweeping import sweep
from weir_lambdas.stream_processor.topics import PastTopics
from weir_lambdas.stream_processor.waits import Waits

if TYPE_CHECKING:
    from weir_lambdas.stream_processor.brokers import Brokers

MAPPINGS = "WEIR_MAPPINGS"
"""Environment: ids of the source's event source mappings, with commas."""


@entry
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Entry point.

    Parameters
    ----------
    event
        As of ``api_ingestion``.
    context
        Lambda's context: its remaining time bounds the landing.

    Returns
    -------
    dict
        ``{"run", "sequence", "rows", "bytes", "complete"}``; ``complete`` is false while objects
        wait that were there when the run began.

    Raises
    ------
    Exception
        The class name is what the state machine retries and catches by. What kept a batch that Lambda
        gave up on from being taken, Lambda's pollers from reading, or records from being received, is
        raised last: what was received is landed by then.
    """
    config = load_config(SourceConfig)
    if config.stream is None:
        raise ConfigInvalid("the source is no stream", config.id)
    table, clock = Table(client("dynamodb"), config.state_table), SystemClock()
    call = asked(event, "stream_processor")
    if call.error is not None:
        return fail(config, table, call, clock)
    s3 = client("s3")
    storage = Storage(s3, config.kms_key_arn)
    positions, backlog = Positions(table, config.id), Backlog(table, config.id, clock)

    def remaining() -> float:
        return float(context.get_remaining_time_in_millis()) / 1000

    taken, mappings = Taken(), list[str]()
    aside: Source | None = quarantined(config, call, s3, storage)
    if aside is None and call.window is not None:
        aside = past(config, call, storage, clock, remaining)
    if not call.arrival and aside is None:
        loads = loads_of(config, storage, clock, remaining)
        intake = Intake(config, positions, storage, clock, loads)
        mappings = [one for one in os.environ.get(MAPPINGS, "").split(",") if one]
        given_up = GivenUp(config, table, storage, clock, intake, mappings)
        taken = look(config, given_up, positions, storage, clock, remaining)
    source = aside or SealSource(config, table, storage, positions, backlog, clock)
    # What waits is sealed among the source's own landings, whoever asks: they clear the queue.
    lane = call.lane if aside is not None else None
    lander = Lander(config, source, table, storage, clock, remaining, lane=lane, window=call.window)
    landing = lander.land(call.run, call.scheduled_time, call.execution, call.requested_by)
    failed = taken.error or (unread(client("lambda", BRIEF), mappings) if mappings else None)
    if failed is None and aside is None:
        failed = Waits(table, config.id, clock).standing(positions)
    if failed is not None and landing.complete:
        raise failed
    return landing.as_output()


def past(
    config: SourceConfig,
    call: Asked,
    storage: Storage,
    clock: Clock,
    remaining: Callable[[], float],
) -> Source:
    """The window of the past that a call asks for.

    Raises
    ------
    ConfigInvalid
        It has no lane of its own, or the source can't be asked.
    """
    if call.lane is None or config.stream is None:
        raise ConfigInvalid("a window must have a lane", config.id)
    loads = loads_of(config, storage, clock, remaining)
    where = config.stream.kafka
    if where is None:
        return PastSource(config, client("kinesis"), storage, clock, loads)

    def connect() -> Brokers:
        from weir_lambdas.stream_processor import brokers

        secrets = Secrets(client("secretsmanager"), config.secrets, clock)
        return brokers.connect(where, secrets, config.egress, lambda: client("kafka"))

    return PastTopics(config, connect, storage, clock, loads, call.force)


def look(
    config: SourceConfig,
    given_up: GivenUp,
    positions: Positions,
    storage: Storage,
    clock: Clock,
    remaining: Callable[[], float],
) -> Taken:
    """Take what Lambda gave up on, and remove what dead calls left, in half of the time."""
    counts, budget = Counts(), remaining()
    taken = given_up.take(counts, lambda: remaining() < budget / 2)
    if counts.records or taken.left:
        metrics = {
            "RecordsTakenOver": counts.records,
            "RecordsRepeated": counts.repeated,
            "BatchesLeft": taken.left,
        }
        dimensions = {"Namespace": config.namespace, "Source": config.name}
        emit(config.metrics_namespace, dimensions, metrics)
    removed = sweep(config, storage, positions, clock.now())
    if removed:
        log("INFO", "objects of dead calls removed", source=config.id, objects=removed)
    return taken
