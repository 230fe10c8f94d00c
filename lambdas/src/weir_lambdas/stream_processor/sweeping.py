"""Removes received objects that are sealed, and those that a dead call left behind.

An object is entered into the queue by the call that wrote it, within the minutes that a function may
live. One that is older than a day and does not wait never will.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from botocore.exceptions import ClientError

from weir_contract.sources import SourceConfig
from weir_lambdas.common.log import log
from weir_lambdas.common.storage import Storage
from weir_lambdas.stream_processor.intake import FOLDER
from weir_lambdas.stream_processor.positions import Positions

AGE = timedelta(days=1)


def remove(config: SourceConfig, storage: Storage, keys: Sequence[str]) -> None:
    """Remove received objects. They may stay as well: no manifest names them."""
    try:
        storage.delete(config.raw_bucket, keys)
    except (ClientError, PermissionError) as error:
        log("WARNING", "received objects not removed", source=config.id, reason=str(error))


def sweep(config: SourceConfig, storage: Storage, positions: Positions, now: datetime) -> int:
    """Remove what dead calls left behind; returns how many objects."""
    prefix = f"{config.id}/{FOLDER}/"
    old = [key for key, at in storage.aged(config.raw_bucket, prefix) if at < now - AGE]
    if not old:
        return 0
    # The queue is read after the list: what was entered until then is seen.
    waiting = positions.objects()
    orphans = [key for key in old if key not in waiting]
    remove(config, storage, orphans)
    return len(orphans)
