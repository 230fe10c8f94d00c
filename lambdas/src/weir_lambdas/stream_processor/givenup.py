"""Batches that Lambda gave up on: it has put each whole into the quarantine bucket, and gone on.

Their records are committed like any others, but for those that were committed before: a batch may
have been processed in part, or its answer lost. See :mod:`weir_lambdas.stream_processor.positions`
for how that is known. What is left of a batch that cannot be taken is the object itself, where it is.

Source: AWS Lambda Developer Guide, *Retain discarded batch records for a Kinesis Data Streams event
source* and *Capturing discarded batches for Amazon MSK and self-managed Apache Kafka event sources*
(Amazon S3: ``aws/lambda/<mapping>/...``, the invocation record with the whole event as ``payload``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from weir_contract.sources import SourceConfig
from weir_contract.state import GIVEN_UP, MAPPINGS, files_pk, given_up_sk, source_pk
from weir_lambdas.common.aws import error_code
from weir_lambdas.common.clock import Clock, parse_iso
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table, Update
from weir_lambdas.common.storage import Storage
from weir_lambdas.stream_processor.events import Lane, lanes
from weir_lambdas.stream_processor.intake import Counts, Intake, OtherTopic

FOLDER = "aws/lambda"
"""Where Lambda puts them."""

MAX_AGE = timedelta(days=60)
"""An older batch is left where it is. Ranges are kept for 90 days from their commit, and Lambda may
have tried a batch for some weeks before it gave up."""

MAX_DEATHS = 3
"""How often a look may die over a batch, before that is left: it must not hold up all others."""

TRYING = "trying"
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, ConfigInvalid)


class TooOld(ValueError):
    """Nobody can tell any more which of the records were committed."""


class DeadlyBatch(ValueError):
    """Reading the batch ends the function itself."""


@dataclass
class Taken:
    """What one look has taken.

    Parameters
    ----------
    batches
        Taken, or found to have been committed.
    left
        That can't be taken.
    error
        Why the look ended early: another one may do better.
    """

    batches: int = 0
    left: int = 0
    error: Exception | None = None


class GivenUp:
    """Takes the batches of one source.

    Parameters
    ----------
    mappings
        Ids of the source's event source mappings. Those of earlier ones are remembered.
    """

    def __init__(
        self,
        config: SourceConfig,
        table: Table,
        storage: Storage,
        clock: Clock,
        intake: Intake,
        mappings: Sequence[str],
    ) -> None:
        self._config, self._table, self._storage = config, table, storage
        self._clock, self._intake, self._mappings = clock, intake, mappings

    def take(self, counts: Counts, enough: Callable[[], bool]) -> Taken:
        """Take what was given up on.

        Parameters
        ----------
        enough
            Whether the rest is for another time.
        """
        taken = Taken()
        for mapping, key in self._new():
            if enough():
                break
            try:
                self._begin(mapping, key)
                found = self._lanes(key)
            except UNREADABLE as error:
                self._note(mapping, key, "left", str(error))
                taken.left += 1
                continue
            gone: OtherTopic | None = None
            for lane in found:
                try:
                    failed = self._intake.take_over(lane, counts)
                except OtherTopic as error:
                    gone = error
                    continue
                if failed is not None:
                    self._begin_anew(mapping, key)
                    taken.error = failed[1]
                    return taken
            if gone is not None:
                self._note(mapping, key, "left", str(gone))
                taken.left += 1
                continue
            self._note(mapping, key, "taken")
            taken.batches += 1
        return taken

    def _new(self) -> Iterator[tuple[str, str]]:
        """Mapping and key of the objects that no look has settled."""
        for mapping in self._known():
            settled = self._table.query(files_pk(self._config.id), f"{GIVEN_UP}{mapping}#")
            known = {str(item["sk"]) for item in settled if item.get("state") != TRYING}
            prefix = f"{FOLDER}/{mapping}/"
            try:
                for key in self._storage.keys(self._config.quarantine_bucket, prefix):
                    if given_up_sk(mapping, key) not in known:
                        yield mapping, key
            except ClientError as error:
                # The role may read of the present mappings alone.
                if error_code(error) != "AccessDenied":
                    raise
                log("WARNING", "a mapping's failures can't be read", mapping=mapping)

    def _known(self) -> list[str]:
        """The present mappings and those before them, which are noted."""
        pk = source_pk(self._config.id)
        before = str((self._table.get(pk, MAPPINGS) or {}).get("ids", ""))
        known = list(dict.fromkeys([*filter(None, before.split(",")), *self._mappings]))
        if ",".join(known) != before:
            self._table.put(pk, MAPPINGS, {"ids": ",".join(known)})
        return known

    def _lanes(self, key: str) -> list[Lane]:
        document = json.loads(self._storage.get(self._config.quarantine_bucket, key))
        at = document.get("timestamp")
        if at and parse_iso(str(at)) < self._clock.now() - MAX_AGE:
            raise TooOld(f"Lambda gave up on it more than {MAX_AGE.days} days ago")
        payload: Any = document["payload"]
        return lanes(json.loads(payload) if isinstance(payload, str) else payload)

    def _begin(self, mapping: str, key: str) -> None:
        """Note that a look begins with a batch.

        Raises
        ------
        DeadlyBatch
            Looks have died over it, time and again.
        """
        item = self._table.update(
            files_pk(self._config.id),
            given_up_sk(mapping, key),
            Update("SET #state = :trying ADD tries :one", {"trying": TRYING, "one": 1}),
        )
        if item is not None and int(item["tries"]) > MAX_DEATHS:
            raise DeadlyBatch(f"the function has died over it {MAX_DEATHS} times")

    def _begin_anew(self, mapping: str, key: str) -> None:
        """A look has ended in good order, though the batch is not taken."""
        item = {"state": TRYING, "tries": 0}
        self._table.put(files_pk(self._config.id), given_up_sk(mapping, key), item)

    def _note(self, mapping: str, key: str, state: str, why: str = "") -> None:
        item = {"state": state, "reason": why[:500]}
        self._table.put(files_pk(self._config.id), given_up_sk(mapping, key), item)
        log(
            "WARNING" if state == "taken" else "ERROR",
            "a batch that Lambda gave up on",
            source=self._config.id,
            object=f"s3://{self._config.quarantine_bucket}/{key}",
            state=state,
            reason=why,
        )
