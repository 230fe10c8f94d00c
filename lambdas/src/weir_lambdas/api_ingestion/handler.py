"""The function ``api_ingestion``: lands a REST source, or records that a landing failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir_contract.sources import SourceConfig
from weir_lambdas.api_ingestion.source import RestSource
from weir_lambdas.common.aws import client
from weir_lambdas.common.clock import SystemClock, iso
from weir_lambdas.common.config import load_config
from weir_lambdas.common.emf import emit
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.failures import failure_of, notice
from weir_lambdas.common.log import log
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.land import Lander, record_failure


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Entry point.

    Parameters
    ----------
    event
        ``{"run", "scheduledTime"?, "execution"?, "input"?: {"requestedBy"?}}`` lands; ``{"action": "fail", "run", "error"}``
        writes the failure to the ledger.
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
    action = event.get("action", "land")
    run = str(event.get("run") or str(event.get("execution", "")).rpartition(":")[2])
    if not run:
        raise ConfigInvalid("the event has neither run nor execution", "api_ingestion")
    table = Table(client("dynamodb"), config.state_table)
    execution = event.get("execution")
    if action == "fail":
        return _fail(config, table, run, execution, event.get("error") or {})
    if action != "land":
        raise ConfigInvalid(f"there is no action {action!r}; use land or fail", "api_ingestion")
    clock = SystemClock()
    lander = Lander(
        config,
        RestSource(config, Secrets(client("secretsmanager"), config.secrets, clock), clock),
        table,
        Storage(client("s3"), config.kms_key_arn),
        clock,
        lambda: context.get_remaining_time_in_millis() / 1000,
    )
    asked = (event.get("input") or {}).get("requestedBy")
    landing = lander.land(
        run, event.get("scheduledTime"), execution, (str(asked),) if asked else ()
    )
    return landing.as_output()


def _fail(
    config: SourceConfig, table: Table, run: str, execution: str | None, error: Mapping[str, Any]
) -> dict[str, Any]:
    now = SystemClock().now()
    failure = failure_of("land", error)
    record_failure(table, config.id, run, execution, failure, iso(now))
    emit(
        config.metrics_namespace,
        {"Namespace": config.namespace, "Source": config.name},
        {"LandingsFailed": 1},
        now,
    )
    log("ERROR", "landing failed", source=config.id, run=run, error=failure.error)
    return dict(notice("DataSource", config.id, run, failure))
