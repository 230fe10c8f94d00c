"""The function ``api_ingestion``: lands a REST source, or records that a landing failed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from weir_contract.sources import SourceConfig
from weir_lambdas.api_ingestion.pace import Pace
from weir_lambdas.api_ingestion.source import RestSource
from weir_lambdas.common.aws import client
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.config import load_config
from weir_lambdas.common.entry import entry
from weir_lambdas.common.errors import SourceRateLimited, SourceUnavailable, WeirError
from weir_lambdas.common.failures import failure_of
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.calls import asked, fail
from weir_lambdas.landing.land import Lander, record_trouble
from weir_lambdas.landing.replay import quarantined


@entry
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Entry point.

    Parameters
    ----------
    event
        See :func:`weir_lambdas.landing.calls.asked`.
    context
        Lambda's context: its remaining time bounds the landing.

    Returns
    -------
    dict
        ``{"run", "sequence", "rows", "bytes", "complete"}``; call again with the same run while
        ``complete`` is false. For ``fail``: ``{"subject", "message"}``.

    Raises
    ------
    WeirError
        The class name is what the state machine retries and catches by.
    """
    config = load_config(SourceConfig)
    table, clock = Table(client("dynamodb"), config.state_table), SystemClock()
    call = asked(event, "api_ingestion")
    if call.error is not None:
        return fail(config, table, call, clock)
    s3 = client("s3")
    storage = Storage(s3, config.kms_key_arn)

    def troubled(error: WeirError) -> None:
        told = {"Error": type(error).__name__, "Cause": json.dumps({"errorMessage": str(error)})}
        record_trouble(table, config, call, failure_of("land", told), clock.now())

    source = quarantined(config, call, s3, storage) or RestSource(
        config,
        Secrets(client("secretsmanager"), config.secrets, clock),
        clock,
        pace=Pace(table, config.id, call.lane),
        troubled=troubled,
    )
    lander = Lander(
        config,
        source,
        table,
        storage,
        clock,
        lambda: context.get_remaining_time_in_millis() / 1000,
        lane=call.lane,
        window=call.window,
    )
    try:
        landing = lander.land(call.run, call.scheduled_time, call.execution, call.requested_by)
    except (SourceUnavailable, SourceRateLimited) as error:
        troubled(error)  # The state machine tries again, for some minutes.
        raise
    return landing.as_output()
