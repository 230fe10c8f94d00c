"""The source's checkpoint and lease: a cache of the last manifest, and a fence against two writers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from weir_contract.codec import loads
from weir_contract.manifest import Manifest, manifest_key, manifest_prefix, parse_manifest_key
from weir_contract.state import CHECKPOINT, checkpoint_sk, source_pk
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.errors import LeaseHeld
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table, Update
from weir_lambdas.common.storage import Storage

ITEM_BYTES = 300_000
"""A position and a state of more than this stand in the manifest alone: an item of DynamoDB has 400 KB."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a source stands.

    Parameters
    ----------
    sequence
        Of the last manifest; 0 before the first.
    epoch
        The fencing number of the last lease.
    cursor
        The highest value of ``cursorField`` that is landed, where one is configured.
    cursor, state
        What the last complete extraction left for the next: its cursor, and JSON of the source's.
    run
        The run that wrote the last manifest.
    position
        Where its extraction goes on (:class:`Cut` as JSON); None where that is complete.
    """

    sequence: int = 0
    epoch: int = 0
    cursor: str | None = None
    run: str = ""
    position: str | None = None
    state: str | None = None


@dataclass(frozen=True)
class Cut:
    """An extraction that was cut: all that is needed to go on.

    Parameters
    ----------
    position
        The source's own; empty where it knows by itself what is left.
    fingerprint
        The source's, as it was.
    extraction
        Id of the extraction, which all its manifests share.
    cursor, state
        Those that the extraction began with.
    at
        When it was cut, seconds since 1970.
    """

    position: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    extraction: str = ""
    at: int = 0
    cursor: str | None = None
    state: str | None = None


def from_manifest(manifest: Manifest) -> Checkpoint:
    """The checkpoint that a manifest leaves behind it."""
    number, epoch, run = manifest.sequence, manifest.epoch, manifest.run
    if manifest.complete or manifest.cursor_after is None:
        return Checkpoint(number, epoch, manifest.cursor_after, run, None, manifest.state)
    cut = loads(Cut, manifest.cursor_after)
    return Checkpoint(number, epoch, cut.cursor, run, manifest.cursor_after, cut.state)


class Checkpoints:
    """Takes, moves and gives back the lease of one source.

    Parameters
    ----------
    source, bucket
        ``namespace/name`` and its raw bucket.
    lane
        ``pipeline/name`` of a backfill's part or a replay, which stands beside the source's own.
    """

    def __init__(
        self,
        table: Table,
        storage: Storage,
        clock: Clock,
        source: str,
        bucket: str,
        lane: str | None = None,
    ) -> None:
        self._table, self._storage, self._clock = table, storage, clock
        self._source, self._bucket, self._lane = source, bucket, lane
        self._pk, self._sk = source_pk(source), checkpoint_sk(lane)

    def acquire(self, run: str, seconds: float) -> Checkpoint:
        """Take the lease for ``run``; the checkpoint comes back with this lease's epoch.

        A checkpoint that is missing, or older than the newest manifest, is rebuilt from it first.

        Parameters
        ----------
        seconds
            How long the lease holds: a little longer than the function can live.

        Raises
        ------
        LeaseHeld
            Another run holds it.
        """
        item = self._table.get(self._pk, self._sk) or {}
        known = _from_item(item)
        newest = self._newest_manifest(known.sequence)
        if newest is None and item.get("elsewhere"):
            newest = self._kept(known.sequence)
        if newest is not None:
            rebuilt = from_manifest(newest)
            known = replace(rebuilt, epoch=max(known.epoch, rebuilt.epoch))
        now = self._clock.now().timestamp()
        mine = replace(known, epoch=known.epoch + 1)
        # The epoch that was read must still be there: of two takers one wins.
        seen = "epoch = :seen" if item else "attribute_not_exists(pk)"
        free = "(attribute_not_exists(holder) OR holder = :run OR lease_until < :now)"
        update = Update(
            "SET epoch = :epoch, holder = :run, lease_until = :until, #sequence = :sequence, "
            "#cursor = :cursor, last_run = :last, #position = :position, #state = :state, "
            "elsewhere = :elsewhere",
            {
                "epoch": mine.epoch,
                "run": run,
                "until": int(now + seconds) + 1,
                "now": int(now),
                "sequence": mine.sequence,
                "cursor": mine.cursor,
                "last": mine.run,
            }
            | _held(mine)
            | ({"seen": int(item["epoch"])} if item else {}),
            f"{seen} AND {free}",
        )
        if self._table.update(self._pk, self._sk, update) is None:
            holder = item.get("holder", "another run")
            what = "the source's lease" if self._lane is None else f"the lease of {self._lane}"
            raise LeaseHeld(f"run {holder} holds {what}", self._source)
        return mine

    def live_sequence(self) -> int:
        """The source's own last landing, as far as is known here: never more than there are."""
        item = self._table.get(self._pk, CHECKPOINT) or {}
        return int(item.get("sequence", 0))

    def advance(self, manifest: Manifest, run: str) -> bool:
        """Move the checkpoint to a manifest that was committed under this run's lease.

        Returns False where the lease was taken over meanwhile: the next holder rebuilds the
        checkpoint from the manifest, so nothing is lost. The lease ends with a complete manifest.
        """
        after = from_manifest(manifest)
        free = ", lease_until = :zero" if manifest.complete else ""
        values: dict[str, Any] = {
            "sequence": after.sequence,
            "cursor": after.cursor,
            "last": after.run,
            "epoch": manifest.epoch,
            "run": run,
        } | _held(after)
        if manifest.complete:
            values["zero"] = 0
        update = Update(
            "SET #sequence = :sequence, #cursor = :cursor, last_run = :last, "
            f"#position = :position, #state = :state, elsewhere = :elsewhere{free}",
            values,
            "epoch = :epoch AND holder = :run",
        )
        return self._table.update(self._pk, self._sk, update) is not None

    def release(self, checkpoint: Checkpoint, run: str) -> None:
        """Give the lease back without a landing, unless somebody else has it already."""
        update = Update(
            "SET lease_until = :zero",
            {"zero": 0, "epoch": checkpoint.epoch, "run": run},
            "epoch = :epoch AND holder = :run",
        )
        self._table.update(self._pk, self._sk, update)

    def _newest_manifest(self, after: int) -> Manifest | None:
        start = manifest_key(self._source, after, self._lane) if after else ""
        newest = 0
        prefix = manifest_prefix(self._source, self._lane)
        for key in self._storage.keys(self._bucket, prefix, start):
            parsed = parse_manifest_key(key)
            newest = max(newest, parsed.sequence if parsed else 0)
        if newest <= after:
            return None
        return self.read(newest)

    def _kept(self, sequence: int) -> Manifest | None:
        try:
            return self.read(sequence)
        except FileNotFoundError:
            log("WARNING", "the last manifest is gone, and what it knew", source=self._source)
            return None

    def read(self, sequence: int) -> Manifest:
        """A manifest by its number."""
        body = self._storage.get(self._bucket, manifest_key(self._source, sequence, self._lane))
        return loads(Manifest, body)


def _held(checkpoint: Checkpoint) -> dict[str, Any]:
    """What an item has room for; the rest is read from the manifest that it is a cache of."""
    held = {"position": checkpoint.position, "state": checkpoint.state}
    # A position has the state that its extraction began with in it, so both are in the manifest.
    large = sum(len((text or "").encode()) for text in held.values()) > ITEM_BYTES
    if not large:
        return {**held, "elsewhere": False}
    # Whether there is a position is seen all the same.
    return {"position": held["position"] and "", "state": None, "elsewhere": True}


def _from_item(item: dict[str, Any]) -> Checkpoint:
    if not item:
        return Checkpoint()
    return Checkpoint(
        int(item.get("sequence", 0)),
        int(item.get("epoch", 0)),
        item.get("cursor"),
        item.get("last_run", ""),
        item.get("position") or None,
        item.get("state"),
    )
