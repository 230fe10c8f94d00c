"""What was received, as something that can be landed: small objects become parts of a manifest.

The queue's entries are taken out when the manifest that has them is committed, or by whoever lands
next where the writer died before: nothing is landed twice, nothing stays behind. An object of
received records is a member of the part it becomes (RFC 1952, 2.2: a gzip file may have several), so
that nothing is packed anew. Entries are taken in the queue's order, in which each lane is in order.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice
from typing import Any

import msgspec

from weir_contract.codec import digest
from weir_contract.manifest import LandedFile, Manifest, Part
from weir_contract.moments import iso
from weir_contract.sources import SourceConfig
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table, read_contract
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.batch import Batch, Source, Start
from weir_lambdas.landing.infer import Inference, types_known
from weir_lambdas.landing.parts import CONTENT_TYPE, PART_BYTES
from weir_lambdas.landing.quarantine import Reject, quarantine_body
from weir_lambdas.landing.records import parse
from weir_lambdas.stream_processor.backlog import Backlog
from weir_lambdas.stream_processor.positions import Positions, Queued, Received
from weir_lambdas.stream_processor.sweeping import remove

OBJECTS_AT_ONCE = 2_000
"""Objects of one manifest: bounds its size and the queue's work."""

READERS = 8
"""Objects that are read, or entries that are taken out, at the same time."""

SAMPLE_ROWS = 1_000
"""Records of a part that are looked at for their shape where no type has to be told."""

LOOK_ROWS = 5_000
"""Records that are parsed at once."""

UNTIL = "until"

_VALUES = msgspec.json.Decoder(list[dict[str, Any]])
_DIGITS = bytes.maketrans(b"123456789.", b"0000000000")
_LONG_NUMBER = b"0" * 17
"""So many digits, a point among them, are more than a double keeps for certain."""


@dataclass
class _Group:
    """Objects that become one part."""

    queued: list[Queued] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    size: int = 0


class SealSource(Source):
    """Received records of one stream.

    What waits when a run begins is what it seals: later objects are for the next one, or a busy
    stream would keep a run going for ever.

    Parameters
    ----------
    part_bytes
        Bytes, as stored, at which a part is closed.
    """

    def __init__(
        self,
        config: SourceConfig,
        table: Table,
        storage: Storage,
        positions: Positions,
        backlog: Backlog,
        clock: Clock,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._config, self._table, self._storage = config, table, storage
        self._positions, self._backlog, self._clock = positions, backlog, clock
        self._part_bytes = part_bytes

    @property
    def fingerprint(self) -> str:
        """Hash of what is sealed."""
        return digest([self._config.id, "stream"])[:16]

    @property
    def resume_seconds(self) -> float:
        """Any age: what waits is in the queue, not in a position."""
        return float("inf")

    @property
    def queued(self) -> bool:
        """Received records wait in a queue."""
        return True

    def prepare(self, newest: int, read: Callable[[int], Manifest]) -> None:
        """Clear the queue by the manifests whose writer died before it could."""
        for sequence in range(self._positions.settled() + 1, newest + 1):
            self._clear(read(sequence))

    def committed(self, manifest: Manifest) -> None:
        """Take out of the queue what the manifest has."""
        self._clear(manifest)

    def _clear(self, manifest: Manifest) -> None:
        with ThreadPoolExecutor(READERS, thread_name_prefix="queue") as pool:
            places = [file.waiting for file in manifest.files if file.waiting]
            for done in [pool.submit(self._positions.take_out, [sk]) for sk in places]:
                done.result()
        self._positions.settle(manifest)
        remove(self._config, self._storage, [one.key for one in manifest.files if one.waiting])

    def batches(self, start: Start) -> Generator[Batch]:
        """What waits, a part each."""
        until = str((start.position or {}).get(UNTIL) or "")
        waiting = self._waiting(until) if until else []
        if not waiting:
            now = self._clock.now()
            until = iso(now)
            self._backlog.seal(now)
            waiting = self._waiting(until)
        more, entries = len(waiting) > OBJECTS_AT_ONCE, waiting[:OBJECTS_AT_ONCE]
        sample = SAMPLE_ROWS if self._typed() else None
        left = len(entries)
        for number, group in enumerate(self._groups(entries)):
            left -= len(group.queued)
            yield self._batch(
                start, group, number, sample, {UNTIL: until} if left or more else None
            )
            if start.enough():
                return

    def _waiting(self, until: str) -> list[Queued]:
        return list(islice(self._positions.waiting(until), OBJECTS_AT_ONCE + 1))

    def _groups(self, entries: Sequence[Queued]) -> Iterator[_Group]:
        """Entries with their objects, grouped by size; a few objects are read ahead."""
        group = _Group()
        with ThreadPoolExecutor(READERS, thread_name_prefix="received") as pool:
            for at in range(0, len(entries), READERS):
                some = entries[at : at + READERS]
                for queued, body in zip(some, pool.map(self._body, some), strict=True):
                    if body is None:
                        queued, body = self._lost(queued), b""
                    group.queued.append(queued)
                    group.bodies.append(body)
                    group.size += len(body)
                    if group.size >= self._part_bytes:
                        yield group
                        group = _Group()
        if group.queued:
            yield group

    def _body(self, queued: Queued) -> bytes | None:
        """The object's bytes; None where somebody has deleted it."""
        key = queued.received.key
        try:
            return self._storage.get(self._config.raw_bucket, key) if key else b""
        except FileNotFoundError:
            return None

    def _lost(self, queued: Queued) -> Queued:
        """An entry without its object: it counts as rejected, and does not hold up the others."""
        one = queued.received
        self._tell_lost(one, one.key, one.rows)
        return replace(queued, received=replace(one, rows=0, rejected=one.rejected + one.rows))

    def _tell_lost(self, one: Received, key: str, rows: int) -> None:
        log(
            "ERROR",
            "received records were deleted before they were sealed",
            source=self._config.id,
            object=f"s3://{self._config.raw_bucket}/{key}",
            lane=one.lane,
            first=str(one.first),
            last=str(one.last),
            rows=rows,
        )

    def _batch(
        self,
        start: Start,
        group: _Group,
        number: int,
        sample: int | None,
        position: dict[str, Any] | None,
    ) -> Batch:
        rows = sum(one.received.rows for one in group.queued)
        parts: tuple[Part, ...] = ()
        inference = Inference(self._config.contract)
        if rows:
            body = b"".join(group.bodies)
            look(group.bodies, inference, sample)
            suffix = "sealed.jsonl.gz"
            key = start.part_key(number, suffix)
            bucket = self._config.raw_bucket
            version = self._storage.put_new(bucket, key, body, CONTENT_TYPE)
            parts = (Part(key, rows, len(body), sha256(body).hexdigest(), version),)
        for queued in group.queued:
            self._quarantine(queued, start.run)
        return Batch(
            position=position,
            quarantined=sum(one.received.rejected for one in group.queued),
            files=tuple(self._file(one) for one in group.queued),
            parts=parts,
            inference=inference,
        )

    def _file(self, queued: Queued) -> LandedFile:
        one = queued.received
        return LandedFile(
            self._config.raw_bucket,
            one.key or one.rejects,
            "",
            bytes=one.bytes,
            sha256=one.sha256,
            rows=one.rows,
            rejected=one.rejected,
            waiting=queued.sk,
        )

    def _quarantine(self, queued: Queued, run: str) -> None:
        """Broken records go to quarantine, each with its place in the stream and the reason."""
        one, config = queued.received, self._config
        if not one.rejects:
            return
        try:
            packed = self._storage.get(config.raw_bucket, one.rejects)
        except FileNotFoundError:
            self._tell_lost(one, one.rejects, one.rejected)
            return
        text = gzip.decompress(packed)
        found = [json.loads(line) for line in text.splitlines()]
        rejects = [Reject(str(each["reason"]), str(each["record"])) for each in found]
        key = f"{config.id}/run={run}/stage=land/{digest([one.lane, str(one.last)])[:32]}.json.gz"
        body = quarantine_body(rejects, run, config.id)
        self._storage.put(config.quarantine_bucket, key, body, "application/gzip")
        log("WARNING", "records rejected", source=config.id, lane=one.lane, rejected=one.rejected)

    def _typed(self) -> bool:
        """Whether every column's type is known, stated or frozen."""
        return types_known(self._config.contract, read_contract(self._table, self._config.id))


def look(bodies: Sequence[bytes], inference: Inference, sample: int | None) -> None:
    """Take packed records into account.

    Parameters
    ----------
    bodies
        Gzip JSON lines each.
    sample
        How many records at most, from the first on; None: all.
    """
    left = sample
    for body in bodies:
        if left is not None and left <= 0:
            return
        lines = gzip.decompress(body).split(b"\n")[:-1] if body else []
        for at in range(0, len(lines), LOOK_ROWS):
            some = lines[at : at + LOOK_ROWS if left is None else min(at + LOOK_ROWS, left)]
            inference.see_all(rows_of(some))
        left = left - len(lines) if left is not None else None


def rows_of(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """JSON objects as rows, with the numbers that a double would bend as they were written."""
    block = b"[" + b",".join(lines) + b"]"
    if block.translate(_DIGITS).find(_LONG_NUMBER) < 0:
        try:
            return _VALUES.decode(block)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            log("INFO", "records are parsed one by one", rows=len(lines))
    return [parse(line) for line in lines]
