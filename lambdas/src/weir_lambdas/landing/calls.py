"""What the state machine of a source asks of its function: to land, or to record that it failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir_contract.moments import iso
from weir_contract.sources import SourceConfig
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.emf import emit
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.failures import failure_of, notice
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table
from weir_lambdas.landing.land import record_failure


@dataclass(frozen=True)
class Asked:
    """One call.

    Parameters
    ----------
    run
        The run's id: the execution's name.
    scheduled_time
        ISO 8601, where a schedule asked.
    requested_by
        Who asked, where somebody did.
    arrival
        Whether an arrival started the execution: nothing else has to be looked for.
    error
        What failed, where the call is to record that; else None.
    """

    run: str
    execution: str | None = None
    scheduled_time: str | None = None
    requested_by: tuple[str, ...] = ()
    arrival: bool = False
    error: Mapping[str, Any] | None = None


def asked(event: Mapping[str, Any], function: str) -> Asked:
    """Read the event of an ingestion function.

    Parameters
    ----------
    event
        ``{"run"?, "execution"?, "scheduledTime"?, "input"?: {"requestedBy"?, "arrival"?}}`` lands;
        ``{"action": "fail", "run" or "execution", "error"}`` writes the failure to the ledger.
    function
        For messages.

    Raises
    ------
    ConfigInvalid
        It names no run, or asks for what there is not.
    """
    action = event.get("action", "land")
    execution = event.get("execution")
    run = str(event.get("run") or str(execution or "").rpartition(":")[2])
    if not run:
        raise ConfigInvalid("the event has neither run nor execution", function)
    if action == "fail":
        return Asked(run, execution, error=event.get("error") or {})
    if action != "land":
        raise ConfigInvalid(f"there is no action {action!r}; use land or fail", function)
    given = event.get("input") or {}
    who = given.get("requestedBy")
    return Asked(
        run,
        execution,
        event.get("scheduledTime"),
        (str(who),) if who else (),
        bool(given.get("arrival")),
    )


def fail(config: SourceConfig, table: Table, call: Asked, clock: Clock) -> dict[str, Any]:
    """Record a failed landing; returns ``{"subject", "message"}`` for whoever is to hear of it."""
    now = clock.now()
    failure = failure_of("land", call.error or {})
    record_failure(table, config.id, call.run, call.execution, failure, iso(now))
    emit(
        config.metrics_namespace,
        {"Namespace": config.namespace, "Source": config.name},
        {"LandingsFailed": 1},
        now,
    )
    log("ERROR", "landing failed", source=config.id, run=call.run, error=failure.error)
    return dict(notice("DataSource", config.id, call.run, failure))
