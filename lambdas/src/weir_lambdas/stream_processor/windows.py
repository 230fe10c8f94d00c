"""What reading a window of a stream's past has in common, whoever keeps the stream."""

from __future__ import annotations

from typing import Any

from weir_contract.codec import digest
from weir_contract.moments import iso
from weir_contract.sources import SourceConfig
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.batch import Batch, Start, Window
from weir_lambdas.landing.quarantine import Reject, quarantine_body
from weir_lambdas.stream_processor.events import Lane
from weir_lambdas.stream_processor.loads import Load, shown
from weir_lambdas.stream_processor.sealing import rows_of


def window_of(start: Start, config: SourceConfig, clock: Clock) -> Window:
    """The window that is asked for.

    Raises
    ------
    ConfigInvalid
        Nobody has said which, or it lies in the future.
    """
    if start.window is None:
        raise ConfigInvalid("a window is missing", config.id)
    if start.window.end > clock.now():
        raise ConfigInvalid(f"it ends in the future, at {iso(start.window.end)}", "window")
    return start.window


def batch_of(
    config: SourceConfig, storage: Storage, run: str, lane: Lane, load: Load, position: Any
) -> Batch:
    """A load as a batch; what of it can't be read is put into quarantine.

    Parameters
    ----------
    position
        The place after the load: plain JSON.
    """
    _keep_rejects(config, storage, run, lane, load)
    return Batch(
        [line + b"\n" for line in load.lines],
        rows_of(load.lines),
        position=position,
        quarantined=len(load.rejects),
    )


def _keep_rejects(config: SourceConfig, storage: Storage, run: str, lane: Lane, load: Load) -> None:
    """Put what can't be read into quarantine.

    The object is named by the load's first record: a call that repeats another writes the same one.
    """
    if not load.rejects:
        return
    rejects = [Reject(reason, shown(data)) for reason, data in load.rejects]
    name = digest([lane.id, str(load.first)])[:32]
    key = f"{config.id}/run={run}/stage=land/{name}.json.gz"
    body = quarantine_body(rejects, run, config.id)
    storage.put(config.quarantine_bucket, key, body, "application/gzip")
