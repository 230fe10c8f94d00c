"""What the state machine of a source asks of its function: to land, or to record that it failed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir_contract.moments import iso
from weir_contract.sources import SourceConfig
from weir_lambdas.common.clock import Clock, parse_iso
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.failures import failure_of, notice
from weir_lambdas.common.log import log
from weir_lambdas.common.metrics import emit
from weir_lambdas.common.state import Table
from weir_lambdas.landing.batch import Window
from weir_lambdas.landing.land import record_failure

LANE = re.compile(r"(?P<pipeline>[a-z0-9][a-z0-9.-]*)/[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


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
    lane
        ``pipeline/name`` where a part of a backfill, or a replay, is landed beside the source's own
        landings.
    window
        The part of a backfill that is asked for.
    replay
        The run of the lane's pipeline whose quarantined records are landed.
    force
        Of a backfill of files or mails: whether those that were landed before are taken again. Of
        Kafka: whether what is left is taken where the window's beginning was dropped.
    """

    run: str
    execution: str | None = None
    scheduled_time: str | None = None
    requested_by: tuple[str, ...] = ()
    arrival: bool = False
    error: Mapping[str, Any] | None = None
    lane: str | None = None
    window: Window | None = None
    replay: str | None = None
    force: bool = False

    @property
    def pipeline(self) -> str:
        """The name of the lane's pipeline; empty without a lane."""
        return (self.lane or "").partition("/")[0]


def asked(event: Mapping[str, Any], function: str) -> Asked:
    """Read the event of an ingestion function.

    Parameters
    ----------
    event
        ``{"run"?, "execution"?, "scheduledTime"?, "input"?: {"requestedBy"?, "arrival"?, "lane"?,
        "window"?: {"from", "to"}, "replay"?, "force"?}}`` lands; ``{"action": "fail", "run" or
        "execution", "error", "input"?}`` writes the failure to the ledger.
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
    given = event.get("input") or {}
    lane, replay = given.get("lane"), given.get("replay")
    if lane is not None and not LANE.fullmatch(str(lane)):
        raise ConfigInvalid("lane must be pipeline/name", function)
    if action == "fail":
        return Asked(run, execution, error=event.get("error") or {}, lane=lane)
    if action != "land":
        raise ConfigInvalid(f"there is no action {action!r}; use land or fail", function)
    if replay is not None and (lane is None or not RUN.fullmatch(str(replay))):
        raise ConfigInvalid("replay must be a run's id, and have a lane", function)
    who = given.get("requestedBy")
    return Asked(
        run,
        execution,
        event.get("scheduledTime"),
        (str(who),) if who else (),
        bool(given.get("arrival")),
        lane=lane,
        window=_window(given["window"], function) if given.get("window") else None,
        replay=replay,
        force=given.get("force") is True,
    )


def _window(given: Mapping[str, Any], function: str) -> Window:
    try:
        window = Window(parse_iso(str(given["from"])), parse_iso(str(given["to"])))
    except (KeyError, ValueError) as error:
        raise ConfigInvalid(
            "window needs from and to, ISO 8601 with an offset", function
        ) from error
    if window.start >= window.end:
        raise ConfigInvalid("the window is empty: from must be before to", function)
    return window


def fail(config: SourceConfig, table: Table, call: Asked, clock: Clock) -> dict[str, Any]:
    """Record a failed landing; returns ``{"subject", "message"}`` for whoever is to hear of it."""
    now = clock.now()
    failure = failure_of("land", call.error or {})
    record_failure(table, config.id, call.run, call.execution, failure, iso(now), call.lane)
    emit(
        config.metrics_namespace,
        {"Namespace": config.namespace, "Source": config.name},
        {"LandingsFailed": 1},
    )
    log("ERROR", "landing failed", source=config.id, run=call.run, error=failure.error)
    return dict(notice("DataSource", config.id, call.run, failure))
