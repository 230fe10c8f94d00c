"""What has arrived in S3 as something that can be landed: files, and mails with files in them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from weir_contract.codec import digest
from weir_contract.manifest import LandedFile, Manifest, Part
from weir_contract.sources import SourceConfig
from weir_lambdas.common.log import log
from weir_lambdas.common.storage import Storage
from weir_lambdas.file_processor.ledger import Arrived, Ledger, unsettled
from weir_lambdas.file_processor.output import FileOutput, Numbers, Reject, rejected_rows
from weir_lambdas.file_processor.reading import Located, S3File
from weir_lambdas.landing.batch import Batch, Source, Start
from weir_lambdas.landing.infer import Inference, types_known
from weir_lambdas.landing.quarantine import quarantine_body

FILES_AT_ONCE = 500
"""Files of one manifest: bounds its size and the ledger's work."""

READERS = 4
"""Threads that read ranges."""


@dataclass(frozen=True)
class Taken:
    """What came of one object that had arrived; ``inference`` is of the records in ``parts``."""

    file: LandedFile
    parts: tuple[Part, ...] = ()
    rejects: tuple[Reject, ...] = ()
    inference: Inference | None = None


@dataclass
class Taking:
    """One call's landing: what its files share.

    Parameters
    ----------
    look
        Whether types have to be told from what is read.
    contents
        SHA-256 of what this landing has taken -> where it was.
    """

    start: Start
    pool: ThreadPoolExecutor
    look: bool
    numbers: Numbers = field(default_factory=Numbers)
    contents: dict[str, str] = field(default_factory=dict)


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
    def take(self, arrived: Arrived, file: LandedFile, source: S3File, taking: Taking) -> Taken:
        """Take one object.

        Parameters
        ----------
        file
            What the manifest will say of it, but for what came of it.
        """

    @property
    def fingerprint(self) -> str:
        """Hash of what is watched and how it is read."""
        return digest(self._watched)[:16]

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

    def batches(self, start: Start) -> Iterator[Batch]:
        """What waits."""
        waiting = list(self.ledger.waiting(FILES_AT_ONCE + 1))
        with ThreadPoolExecutor(READERS, thread_name_prefix="ranges") as pool:
            taking = Taking(start, pool, not self._typed())
            for place, arrived in enumerate(waiting[:FILES_AT_ONCE], 1):
                located = arrived.located
                source = S3File(self._s3, located, pool)
                taken = self.take(arrived, _file(located, arrived.sk), source, taking)
                self._quarantine(taken, start)
                self._tell(taken.file, located)
                yield Batch(
                    position={} if place < len(waiting) else None,
                    quarantined=taken.file.rejected,
                    files=(taken.file,),
                    parts=taken.parts,
                    inference=taken.inference,
                )
                if start.enough():
                    return

    def output(self, taking: Taking) -> FileOutput:
        """A sink for the records of one file. Nothing of it counts until it is finished."""
        inference = Inference(self.config.contract)
        return FileOutput(taking.start.part_key, self.put, taking.numbers, inference, taking.look)

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
        known = taking.contents.get(content) or self.ledger.landed_as(content, located)
        if known is None:
            taking.contents[content] = located.uri
        return known

    def _typed(self) -> bool:
        """Whether every column's type is known, stated or frozen."""
        return types_known(self.config.contract, self.ledger.contract())

    def _quarantine(self, taken: Taken, start: Start) -> None:
        """Broken records go to quarantine, each with its file, line and reason."""
        if taken.rejects:
            config, file = self.config, taken.file
            short = digest([file.bucket, file.key, file.etag])[:32]
            key = f"{config.id}/run={start.run}/stage=land/{short}.json.gz"
            body = quarantine_body(rejected_rows(taken.rejects, file.key), start.run, config.id)
            self.storage.put(config.quarantine_bucket, key, body, "application/gzip")

    def _tell(self, file: LandedFile, located: Located) -> None:
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
