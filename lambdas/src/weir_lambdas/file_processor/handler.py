"""The function ``file_processor``: lands files that have arrived, or records that it failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir_contract.sources import SourceConfig
from weir_lambdas.common.aws import client
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.config import load_config
from weir_lambdas.common.entry import entry
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.file_processor.asked import Arrivals, land_arrived
from weir_lambdas.file_processor.ledger import Ledger
from weir_lambdas.file_processor.source import FileSource
from weir_lambdas.landing.calls import Asked, asked, fail


@entry
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Entry point.

    Parameters
    ----------
    event
        As of ``api_ingestion``; an execution that the schedule has started, or a person, looks
        through the prefix first.
    context
        Lambda's context: its remaining time bounds the landing.

    Returns
    -------
    dict
        ``{"run", "sequence", "rows", "bytes", "complete"}``; ``complete`` is false while files wait.

    Raises
    ------
    WeirError
        The class name is what the state machine retries and catches by.
    """
    config = load_config(SourceConfig)
    if config.files is None:
        raise ConfigInvalid("the source is no source of files", config.id)
    table, clock = Table(client("dynamodb"), config.state_table), SystemClock()
    call: Asked = asked(event, "file_processor")
    if call.error is not None:
        return fail(config, table, call, clock)
    s3, ledger = client("s3"), Ledger(table, config.id)
    storage = Storage(s3, config.kms_key_arn)
    return land_arrived(
        Arrivals(config, config.files, ledger, s3, storage),
        lambda: FileSource(config, s3, storage, ledger),
        call,
        table,
        clock,
        lambda: context.get_remaining_time_in_millis() / 1000,
    )
