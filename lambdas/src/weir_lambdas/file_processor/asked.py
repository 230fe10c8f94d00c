"""What a call asks of a source of files or mails: what is new, a window of the past, or a replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weir_contract.sources import Files, SourceConfig
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.file_processor.arrivals import enter_again, sweep
from weir_lambdas.file_processor.ledger import Ledger
from weir_lambdas.landing.batch import Source
from weir_lambdas.landing.calls import Asked
from weir_lambdas.landing.land import Lander
from weir_lambdas.landing.replay import quarantined


@dataclass(frozen=True)
class Arrivals:
    """Where a source's files come from, and what is known of them.

    Parameters
    ----------
    files
        The prefix and pattern that are watched.
    s3
        An S3 client.
    """

    config: SourceConfig
    files: Files
    ledger: Ledger
    s3: Any
    storage: Storage

    def find(self, call: Asked) -> None:
        """Enter what has to be landed and does not wait yet."""
        if call.window is not None:
            request = call.lane or call.run
            found = enter_again(self.s3, self.ledger, self.files, call.window, request, call.force)
            log("INFO", "a window is landed", source=self.config.id, found=found)
        elif not call.arrival:
            found = sweep(self.s3, self.ledger, self.files)
            log("INFO", "looked through the prefix", source=self.config.id, found=found)


def land_arrived(
    arrivals: Arrivals,
    source: Callable[[], Source],
    call: Asked,
    table: Table,
    clock: Clock,
    remaining: Callable[[], float],
) -> dict[str, Any]:
    """Land what waits, or a replay.

    A window's files go through the source's own queue: of what is landed twice at once, one is.

    Parameters
    ----------
    source
        Makes the source of what waits.
    remaining
        Seconds that the function still may run.

    Returns
    -------
    dict
        The function's answer; ``complete`` is false while files wait.
    """
    config, storage = arrivals.config, arrivals.storage
    replay = quarantined(config, call, arrivals.s3, storage)
    if replay is not None:
        lander = Lander(config, replay, table, storage, clock, remaining, lane=call.lane)
        landing = lander.land(call.run, call.scheduled_time, call.execution, call.requested_by)
        return landing.as_output()
    arrivals.find(call)
    lander = Lander(config, source(), table, storage, clock, remaining)
    landing = lander.land(call.run, call.scheduled_time, call.execution, call.requested_by)
    left = next(arrivals.ledger.waiting(limit=1), None) is not None
    return landing.as_output() | {"complete": landing.complete and not left}
