"""Files in S3 as something that can be landed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from weir_contract.codec import digest
from weir_contract.manifest import LandedFile, Manifest, Part
from weir_contract.sources import Parsing, SourceConfig
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.log import log
from weir_lambdas.common.storage import Storage
from weir_lambdas.file_processor.formats.table import reader
from weir_lambdas.file_processor.ledger import Arrived, Ledger, unsettled
from weir_lambdas.file_processor.output import (
    FileOutput,
    Numbers,
    Reject,
    TooManyRejects,
    quarantine_body,
)
from weir_lambdas.file_processor.reading import S3File, Superseded
from weir_lambdas.file_processor.takeover import take_over
from weir_lambdas.file_processor.unpack import Bytes, Unreadable, unpack
from weir_lambdas.landing.batch import Batch, Source, Start
from weir_lambdas.landing.infer import Inference

FILES_AT_ONCE = 500
"""Files of one manifest: bounds its size and the ledger's work."""

READERS = 4
"""Threads that read ranges."""


@dataclass
class Taken:
    """What came of one file."""

    file: LandedFile
    parts: tuple[Part, ...] = ()
    rejects: tuple[Reject, ...] = ()


class FileSource(Source):
    """Files that wait in the ledger.

    Parameters
    ----------
    config
        The source's configuration.
    s3
        An S3 client.
    storage
        Writes parts and quarantine, with the Platform's key.
    """

    def __init__(self, config: SourceConfig, s3: Any, storage: Storage, ledger: Ledger) -> None:
        if config.files is None:
            raise ConfigInvalid("the source is no source of files", config.id)
        self._config, self._files = config, config.files
        self._s3, self._storage, self._ledger = s3, storage, ledger

    @property
    def fingerprint(self) -> str:
        """Hash of what is watched and how it is read."""
        return digest(self._files)[:16]

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
        for sequence in unsettled(self._ledger, newest):
            self._ledger.settle(read(sequence))

    def committed(self, manifest: Manifest) -> None:
        """Enter what was taken into the ledger."""
        self._ledger.settle(manifest)

    def batches(self, start: Start) -> Iterator[Batch]:
        """The files that wait, one a batch, the oldest first."""
        waiting = list(self._ledger.waiting(FILES_AT_ONCE + 1))
        numbers, contents = Numbers(), dict[str, str]()
        contract, look = self._config.contract, not self._typed()
        with ThreadPoolExecutor(READERS, thread_name_prefix="ranges") as pool:
            for place, arrived in enumerate(waiting[:FILES_AT_ONCE], 1):
                inference = Inference(contract)
                with FileOutput(start.part_key, self._put, numbers, inference, look) as output:
                    taken = self._take(arrived, output, pool, start, numbers, contents)
                self._reject(taken, start)
                landed = taken.file.state == "landed"
                log(
                    "INFO" if landed else "WARNING",
                    "file taken",
                    source=self._config.id,
                    file=arrived.located.uri,
                    state=taken.file.state,
                    rows=taken.file.rows,
                    rejected=taken.file.rejected,
                )
                yield Batch(
                    position={} if place < len(waiting) else None,
                    quarantined=taken.file.rejected,
                    files=(taken.file,),
                    parts=taken.parts,
                    inference=inference if landed else None,
                )
                if start.enough():
                    return

    def _typed(self) -> bool:
        """Whether every column's type is known, stated or frozen."""
        if self._config.contract.resolved:
            return True
        frozen = self._ledger.contract()
        if frozen is None:
            return False
        return {one.name for one in self._config.contract.fields} <= set(frozen.types)

    def _take(
        self,
        arrived: Arrived,
        output: FileOutput,
        pool: ThreadPoolExecutor,
        start: Start,
        numbers: Numbers,
        contents: dict[str, str],
    ) -> Taken:
        located = arrived.located
        file = LandedFile(
            located.bucket,
            located.key,
            located.etag,
            located.version_id,
            located.size,
            waiting=arrived.sk,
        )
        source = S3File(self._s3, located, pool)
        try:
            parsing = self._files.parsing
            copied = take_over(
                self._storage, source, parsing, start.part_key, numbers, self._config, output
            )
            if copied is None:
                read_file(source, parsing, output)
            parts = output.finish() if copied is None else copied
            content = source.sha256
        except Superseded:
            reason = "it was overwritten or deleted before it was read"
            return Taken(replace(file, state="superseded", reason=reason))
        except (Unreadable, TooManyRejects) as error:
            reason = str(error) or "too many of its records are broken"
            told = Reject(0, reason, located.uri)
            return Taken(
                replace(file, state="rejected", reason=reason[:500], rejected=1), (), (told,)
            )
        file = replace(file, sha256=content)
        twin = contents.get(content) or self._ledger.landed_as(content, located)
        if twin is not None and self._files.duplicates == "skip":
            reason = f"{twin} had the same content"
            return Taken(replace(file, state="duplicate", reason=reason[:500]))
        contents[content] = located.uri
        file = replace(file, rows=sum(part.rows for part in parts), rejected=len(output.rejects))
        return Taken(file, parts, tuple(output.rejects))

    def _put(self, key: str, body: bytes, content_type: str) -> str | None:
        return self._storage.put_new(self._config.raw_bucket, key, body, content_type)

    def _reject(self, taken: Taken, start: Start) -> None:
        """Broken records go to quarantine, each with its file, line and reason."""
        if not taken.rejects:
            return
        config = self._config
        name = f"{config.id}/run={start.run}/stage=land/{_short(taken.file)}.json.gz"
        body = quarantine_body(list(taken.rejects), start.run, config.id, 0, taken.file.key)
        self._storage.put(config.quarantine_bucket, name, body, "application/gzip")


def _short(file: LandedFile) -> str:
    return digest([file.bucket, file.key, file.etag])[:32]


def read_file(source: Bytes, parsing: Parsing, output: FileOutput) -> None:
    """All records of a file, of every member where it is an archive.

    Raises
    ------
    Unreadable
        It is not what it is said to be; of an archive the message names the member.
    """
    read = reader(parsing.format)
    for plain in unpack(source, compression_of(parsing), parsing.max_bytes):
        try:
            read(plain.chunks, parsing, output)
        except Unreadable as error:
            where = f"{plain.member!r} in the archive: " if plain.member else ""
            raise Unreadable(f"{where}{error}") from error


def compression_of(parsing: Parsing) -> Any:
    """The stated compression; workbooks are zip archives themselves and are not unpacked."""
    if parsing.format == "xlsx" and parsing.compression == "auto":
        return "none"
    return parsing.compression
