"""The function ``ingest`` of a stream: seals what was received, or records that it failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir_contract.sources import SourceConfig
from weir_lambdas.common.aws import client
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.config import load_config
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.calls import asked, fail
from weir_lambdas.landing.land import Lander
from weir_lambdas.stream_processor.backlog import Backlog
from weir_lambdas.stream_processor.positions import Positions
from weir_lambdas.stream_processor.sealing import SealSource


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
    WeirError
        The class name is what the state machine retries and catches by.
    """
    config = load_config(SourceConfig)
    if config.stream is None:
        raise ConfigInvalid("the source is no stream", config.id)
    table, clock = Table(client("dynamodb"), config.state_table), SystemClock()
    call = asked(event, "stream_processor")
    if call.error is not None:
        return fail(config, table, call, clock)
    storage = Storage(client("s3"), config.kms_key_arn)
    positions = Positions(table, config.id)
    source = SealSource(config, table, storage, positions, Backlog(table, config.id, clock), clock)
    lander = Lander(
        config,
        source,
        table,
        storage,
        clock,
        lambda: context.get_remaining_time_in_millis() / 1000,
    )
    landing = lander.land(call.run, call.scheduled_time, call.execution, call.requested_by)
    return landing.as_output()
