"""What has arrived in S3 as something that can be landed: files, and mails with files in them."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

from weir_contract.codec import digest, dumps, loads
from weir_contract.manifest import LandedFile, Manifest, Part
from weir_contract.sources import Parsing, SourceConfig
from weir_lambdas.common.log import log
from weir_lambdas.common.storage import Storage
from weir_lambdas.file_processor.ledger import Arrived, Fallen, Ledger, unsettled
from weir_lambdas.file_processor.output import (
    NOTHING,
    FileOutput,
    Numbers,
    Progress,
    Reject,
    rejected_rows,
)
from weir_lambdas.file_processor.reading import Located, S3File
from weir_lambdas.landing.batch import Batch, Position, Source, Start
from weir_lambdas.landing.infer import Inference, types_known
from weir_lambdas.landing.quarantine import quarantine_body

FILES_AT_ONCE = 500
"""Files of one manifest: bounds its size and the ledger's work."""

READERS = 4
"""Threads that read ranges."""

TAKERS = 16
"""Files that are taken at once: of small ones most of the time is waiting for S3 and the ledger."""

SMALL_BYTES = 8 * 1024 * 1024
"""Bytes that files taken at once have together; a larger one is taken alone."""


KILLED = (
    "the function has died each time it read this file: it takes more memory or time than there is, "
    "or ends the process that reads it"
)


@dataclass(frozen=True)
class Begun:
    """A file of which a part was landed by an earlier call. Plain JSON as a position.

    Parameters
    ----------
    waiting
        Its place among the files that wait.
    sha256
        Of its content, in hex. Empty: nothing is landed yet, and its content has to be known
        before anything is, so that it can still be found to have been landed before.
    parsing
        How it is read to its end, whatever the configuration says by then.
    progress
        How far.
    rows, rejected
        What was landed of it, and put into quarantine.
    """

    waiting: str
    sha256: str = ""
    parsing: Parsing | None = None
    progress: Progress = NOTHING
    rows: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Taken:
    """What came of one object that had arrived.

    Parameters
    ----------
    inference
        Of the records in ``parts``.
    begun
        It is not at its end: where another call goes on with it.
    """

    file: LandedFile
    parts: tuple[Part, ...] = ()
    rejects: tuple[Reject, ...] = ()
    inference: Inference | None = None
    begun: Begun | None = None


class Turn:
    """A file's place among those that are taken at once.

    Parameters
    ----------
    before
        Of the file before it; None for the first.
    """

    def __init__(self, before: Turn | None = None) -> None:
        self._before, self._over = before, Event()

    def come(self) -> None:
        """Wait until every file before this one has had its turn."""
        if self._before is not None:
            self._before._over.wait()
            self._before = None

    def over(self) -> None:
        """Let the next one on."""
        self.come()
        self._over.set()


@dataclass
class Taking:
    """One call's landing: what its files share.

    Parameters
    ----------
    look
        Whether types have to be told from what is read.
    contents
        SHA-256 of what this landing has taken -> where it was.
    latest
        The ``s3://`` URI of what this landing has taken -> the SHA-256 of its newest state.
    turn
        The one file's own.
    """

    start: Start
    pool: ThreadPoolExecutor
    look: bool
    numbers: Numbers = field(default_factory=Numbers)
    contents: dict[str, str] = field(default_factory=dict)
    latest: dict[str, str] = field(default_factory=dict)
    turn: Turn = field(default_factory=Turn)


class ArrivedSource(Source):
    """Objects that wait in the ledger, one a batch, the oldest first.

    Parameters
    ----------
    config
        The source's configuration.
    watched
        What is watched and how it is read: positions depend on it.
    s3
        An S3 client.
    storage
        Writes parts and quarantine, with the Platform's key.
    """

    def __init__(
        self, config: SourceConfig, watched: Any, s3: Any, storage: Storage, ledger: Ledger
    ) -> None:
        self.config, self.storage, self.ledger = config, storage, ledger
        self._watched, self._s3 = watched, s3

    @abstractmethod
    def take(self, file: LandedFile, source: S3File, taking: Taking, begun: Begun | None) -> Taken:
        """Take one object.

        Parameters
        ----------
        file
            What the manifest will say of it, but for what came of it.
        begun
            What an earlier call left of it.
        """

    @property
    def fingerprint(self) -> str:
        """Always the same: a position tells itself how the file is read that it is in."""
        return "arrived"

    @property
    def resume_seconds(self) -> float:
        """Any age: what waits is in the ledger, not in a position."""
        return float("inf")

    @property
    def queued(self) -> bool:
        """The ledger is the queue."""
        return True

    def prepare(self, newest: int, read: Callable[[int], Manifest]) -> None:
        """Settle the ledger by the manifests whose writer died before it could."""
        for sequence in unsettled(self.ledger, newest):
            self.ledger.settle(read(sequence))

    def committed(self, manifest: Manifest) -> None:
        """Enter what was taken into the ledger."""
        self.ledger.settle(manifest)

    def batches(self, start: Start) -> Generator[Batch]:
        """What waits."""
        begun = loads(Begun, json.dumps(start.position)) if start.position else None
        waiting = self._waiting(begun)
        if not waiting:
            return
        fallen = self.ledger.begin()
        try:
            yield from self._batches(start, waiting, begun, fallen)
        finally:
            self.ledger.end()

    def _batches(
        self, start: Start, waiting: Sequence[Arrived], begun: Begun | None, fallen: Fallen | None
    ) -> Generator[Batch]:
        with ThreadPoolExecutor(READERS, thread_name_prefix="ranges") as pool:
            taking = Taking(start, pool, not self._typed())
            found = self._taken(waiting[:FILES_AT_ONCE], begun, taking, pool, fallen)
            for place, (arrived, before, taken) in enumerate(found, 1):
                located = arrived.located
                self._quarantine(taken, start, before)
                self._tell(taken, located)
                position: Position | None = {} if place < len(waiting) else None
                if taken.begun is not None:
                    position = json.loads(dumps(taken.begun))
                yield Batch(
                    position=position,
                    quarantined=len(taken.rejects),
                    files=() if taken.begun else (taken.file,),
                    parts=taken.parts,
                    inference=taken.inference,
                )
                if taken.begun is not None or start.enough():
                    return

    def _taken(
        self,
        waiting: Sequence[Arrived],
        begun: Begun | None,
        taking: Taking,
        pool: ThreadPoolExecutor,
        fallen: Fallen | None,
    ) -> Iterator[tuple[Arrived, Begun | None, Taken]]:
        """What came of each, in their order; small ones are taken side by side, but after a call
        that died one by one, so that the file of which it died can be told."""
        flying: deque[tuple[Arrived, Begun | None, Future[Taken]]] = deque()
        takers = ThreadPoolExecutor(TAKERS, thread_name_prefix="files")
        held = 0
        turn: Turn | None = None

        def landed() -> tuple[Arrived, Begun | None, Taken]:
            arrived, before, future = flying.popleft()
            return arrived, before, future.result()

        try:
            for arrived in waiting:
                located = arrived.located
                while flying and (
                    fallen or len(flying) >= TAKERS or held + located.size > SMALL_BYTES
                ):
                    held -= flying[0][0].located.size
                    yield landed()
                before = begun if begun is not None and begun.waiting == arrived.sk else None
                source, file = S3File(self._s3, located, pool), _file(located, arrived.sk)
                if fallen is not None:
                    if fallen.killed_by(arrived.sk):
                        yield arrived, before, rejected(file, KILLED)
                        continue
                    self.ledger.alone(arrived.sk, fallen)
                turn = Turn(turn)
                mine = replace(taking, turn=turn)
                future = takers.submit(self._in_turn, file, source, mine, before)
                flying.append((arrived, before, future))
                held += located.size
            while flying:
                yield landed()
        finally:
            takers.shutdown(wait=True, cancel_futures=True)

    def _in_turn(
        self, file: LandedFile, source: S3File, taking: Taking, begun: Begun | None
    ) -> Taken:
        try:
            return self.take(file, source, taking, begun)
        finally:
            taking.turn.over()

    def _waiting(self, begun: Begun | None) -> list[Arrived]:
        """What waits: first what was begun."""
        waiting = list(self.ledger.waiting(FILES_AT_ONCE + 1))
        first = self.ledger.waits(begun.waiting) if begun is not None else None
        if first is None:
            return waiting
        return [first, *(one for one in waiting if one.sk != first.sk)]

    def output(self, taking: Taking, begun: Begun | None = None, whole: bool = True) -> FileOutput:
        """A sink for the records of one file. Nothing of it counts until it is finished.

        Parameters
        ----------
        whole
            Whether the file is taken by one call, however long that takes.
        """
        return FileOutput(
            taking.start.part_key,
            self.put,
            taking.numbers,
            Inference(self.config.contract),
            taking.look,
            (lambda: False) if whole else taking.start.enough,
            begun.progress if begun is not None else NOTHING,
        )

    def put(self, key: str, body: bytes, content_type: str) -> str | None:
        """Write a new object into the raw zone; returns its version id."""
        return self.storage.put_new(self.config.raw_bucket, key, body, content_type)

    def twin(self, content: str, located: Located, taking: Taking) -> str | None:
        """Where the same content was landed before, or None: then it counts as landed now.

        Parameters
        ----------
        content
            SHA-256 in hex.
        """
        landed = self.ledger.landed_as(content, located)
        before = self.ledger.latest(located) if landed == located.uri else None
        # In the files' order: what is called a duplicate must not be the first to be committed.
        taking.turn.come()
        known = landed or taking.contents.get(content)
        now = taking.latest.get(located.uri) or before or content
        if known == located.uri and now != content:
            known = None  # It was overwritten in between: what it was before is news again.
        if known is None:
            taking.contents[content] = located.uri
        taking.latest[located.uri] = content
        taking.turn.over()
        return known

    def _typed(self) -> bool:
        """Whether every column's type is known, stated or frozen."""
        return types_known(self.config.contract, self.ledger.contract())

    def _quarantine(self, taken: Taken, start: Start, begun: Begun | None) -> None:
        """Broken records go to quarantine, each with its file, line and reason."""
        if taken.rejects:
            config, file = self.config, taken.file
            piece = [begun.rows, begun.rejected] if begun is not None else []
            short = digest([file.bucket, file.key, file.etag, *piece])[:32]
            key = f"{config.id}/run={start.run}/stage=land/{short}.json.gz"
            body = quarantine_body(rejected_rows(taken.rejects, file.key), start.run, config.id)
            self.storage.put(config.quarantine_bucket, key, body, "application/gzip")

    def _tell(self, taken: Taken, located: Located) -> None:
        file, begun = taken.file, taken.begun
        if begun is not None:
            log(
                "INFO",
                "another call goes on with the file",
                source=self.config.id,
                file=located.uri,
                rows=begun.rows,
                rejected=begun.rejected,
            )
            return
        log(
            "INFO" if file.state == "landed" else "WARNING",
            "file taken",
            source=self.config.id,
            file=located.uri,
            state=file.state,
            rows=file.rows,
            rejected=file.rejected,
        )


def _file(located: Located, waiting: str) -> LandedFile:
    return LandedFile(
        located.bucket,
        located.key,
        located.etag,
        located.version_id,
        located.size,
        waiting=waiting,
    )


def rejected(file: LandedFile, reason: str) -> Taken:
    """A whole object that goes to quarantine: it stays where it is, and the reason is told."""
    told = Reject(0, reason, f"s3://{file.bucket}/{file.key}")
    return Taken(replace(file, state="rejected", reason=reason[:500], rejected=1), (), (told,))


def superseded(file: LandedFile) -> Taken:
    """An object that was overwritten or deleted before it was read."""
    reason = "it was overwritten or deleted before it was read"
    return Taken(replace(file, state="superseded", reason=reason))


def duplicate(file: LandedFile, twin: str) -> Taken:
    """An object whose content was landed before."""
    return Taken(replace(file, state="duplicate", reason=f"{twin} had the same content"[:500]))
