"""The function ``email_processor``: lands mails that have arrived, or records that it failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir_contract.sources import Files, SourceConfig
from weir_lambdas.common.aws import client
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.config import load_config
from weir_lambdas.common.entry import entry
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.email_processor.source import MailSource
from weir_lambdas.file_processor.asked import Arrivals, land_arrived
from weir_lambdas.file_processor.ledger import Ledger
from weir_lambdas.landing.calls import asked, fail


@entry
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Entry point.

    Parameters
    ----------
    event
        As of ``file_processor``.
    context
        Lambda's context: its remaining time bounds the landing.

    Returns
    -------
    dict
        As of ``file_processor``.

    Raises
    ------
    WeirError
        The class name is what the state machine retries and catches by.
    """
    config = load_config(SourceConfig)
    if config.email is None:
        raise ConfigInvalid("the source is no source of mails", config.id)
    s3 = client("s3")
    storage = Storage(s3, config.kms_key_arn)
    table, clock = Table(client("dynamodb"), config.state_table), SystemClock()
    call = asked(event, "email_processor")
    if call.error is not None:
        return fail(config, table, call, clock)
    ledger = Ledger(table, config.id)
    secrets = Secrets(client("secretsmanager"), config.secrets, clock)
    files = Files(config.email.bucket, config.email.prefix)
    return land_arrived(
        Arrivals(config, files, ledger, s3, storage),
        lambda: MailSource(config, s3, storage, ledger, secrets),
        call,
        table,
        clock,
        lambda: context.get_remaining_time_in_millis() / 1000,
    )
