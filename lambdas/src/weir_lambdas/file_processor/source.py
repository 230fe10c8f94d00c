"""Files in S3 as something that can be landed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from weir_contract.manifest import LandedFile, Part
from weir_contract.sources import Compression, FileFormat, Parsing, SourceConfig
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.storage import Storage
from weir_lambdas.file_processor.arrived import (
    ArrivedSource,
    Begun,
    Taken,
    Taking,
    duplicate,
    rejected,
    superseded,
)
from weir_lambdas.file_processor.faults import WatchedSink, judged
from weir_lambdas.file_processor.formats.base import BEGINNING, Sink
from weir_lambdas.file_processor.formats.table import reader, reader_on
from weir_lambdas.file_processor.ledger import Ledger
from weir_lambdas.file_processor.output import NOTHING, FileOutput, Paused, Progress, TooManyRejects
from weir_lambdas.file_processor.reading import S3File, Superseded
from weir_lambdas.file_processor.takeover import take_over
from weir_lambdas.file_processor.unpack import Bytes, Unreadable, unpack, unpack_member

HASH_FIRST_BYTES = 1024**3
"""A file of this size is read once for its content's hash, before it is parsed: it may take more
than one call."""


class FileSource(ArrivedSource):
    """Files that others put into S3."""

    def __init__(self, config: SourceConfig, s3: Any, storage: Storage, ledger: Ledger) -> None:
        if config.files is None:
            raise ConfigInvalid("the source is no source of files", config.id)
        super().__init__(config, config.files, s3, storage, ledger)
        self._files = config.files

    def take(self, file: LandedFile, source: S3File, taking: Taking, begun: Begun | None) -> Taken:
        """Copy the file where the pipeline reads it as it is, else parse it.

        What can't be parsed within the call's time is gone on with by another. Then the content's
        hash has to be known before anything is landed: whether it was landed before can't be
        found out in its middle.
        """
        parsing = begun.parsing if begun and begun.parsing else self._files.parsing
        early = begun is not None or file.bytes >= HASH_FIRST_BYTES
        content, twin = begun.sha256 if begun else "", None
        with self.output(taking, begun, whole=False) as output:
            try:
                if content:
                    source.told(content)
                elif early:
                    twin = self._twin(source, taking)
                    if twin is not None:
                        return duplicate(replace(file, sha256=source.sha256), twin)
                parts = self._parts(source, parsing, taking, output, begun)
                content = source.sha256
            except Paused:
                return self._paused(file, source, parsing, output, begun)
            except Superseded:
                return _after(superseded(file), begun)
            except (Unreadable, TooManyRejects) as error:
                return _after(rejected(file, str(error)), begun)
        if not early:
            twin = self._twin(source, taking)
            if twin is not None:
                return duplicate(replace(file, sha256=content), twin)
        before = begun or Begun(file.waiting)
        rows = before.rows + sum(part.rows for part in parts)
        bad = before.rejected + len(output.rejects)
        landed = replace(file, sha256=content, rows=rows, rejected=bad)
        return Taken(landed, parts, tuple(output.rejects), output.inference)

    def _twin(self, source: S3File, taking: Taking) -> str | None:
        """Where the same content was landed before, if it is to be skipped then."""
        twin = self.twin(source.sha256, source.located, taking)
        return twin if self._files.duplicates == "skip" else None

    def _parts(
        self,
        source: S3File,
        parsing: Parsing,
        taking: Taking,
        output: FileOutput,
        begun: Begun | None,
    ) -> tuple[Part, ...]:
        key, numbers, bucket = taking.start.part_key, taking.numbers, self.config.raw_bucket
        if begun is None or not begun.sha256:
            parts = take_over(self.storage, source, parsing, key, numbers, bucket, output)
            if parts is not None:
                return parts
        progress = begun.progress if begun is not None else NOTHING
        read_file(source, parsing, source.located.key, output, progress=progress)
        return output.finish()

    def _paused(
        self,
        file: LandedFile,
        source: S3File,
        parsing: Parsing,
        output: FileOutput,
        begun: Begun | None,
    ) -> Taken:
        before = begun or Begun(file.waiting)
        if not source.hashed:
            return Taken(file, begun=before)  # The next call begins with the hash.
        parts = output.finish()
        after = replace(
            before,
            sha256=source.sha256,
            parsing=parsing,
            progress=output.progress,
            rows=before.rows + sum(part.rows for part in parts),
            rejected=before.rejected + len(output.rejects),
        )
        return Taken(file, parts, tuple(output.rejects), output.inference, after)


def _after(taken: Taken, begun: Begun | None) -> Taken:
    """What ended a file of which rows were landed before."""
    if begun is None or not begun.rows:
        return taken
    reason = f"{taken.file.reason}, after {begun.rows} rows of it were landed"
    file = replace(taken.file, rows=begun.rows, reason=reason[:500])
    return replace(taken, file=replace(file, rejected=begun.rejected + file.rejected))


def read_file(
    source: Bytes,
    parsing: Parsing,
    name: str,
    output: Sink,
    password: str | None = None,
    progress: Progress = NOTHING,
) -> None:
    """All records of a file, of every member where it is an archive.

    Parameters
    ----------
    name
        The file's name, or its key: where the format is ``auto`` its ending tells it.
    password
        Of encrypted archives.
    progress
        Where to begin.

    Raises
    ------
    Unreadable
        It is not what it is said to be; of an archive the message names the member.
    """
    sink = WatchedSink(output)
    with judged(source, sink):
        _read_members(source, parsing, name, sink, password, progress)


def _read_members(
    source: Bytes,
    parsing: Parsing,
    name: str,
    sink: Sink,
    password: str | None,
    progress: Progress,
) -> None:
    compression = compression_of(parsing, name)
    members = unpack(source, compression, parsing.max_bytes, password)
    for number, plain in enumerate(members):
        if number < progress.member:
            continue
        sink.member(number, plain.member)
        place = progress.place if number == progress.member else BEGINNING
        try:
            kind = format_of(parsing.format, plain.member or name)
            chunks = plain.chunks
            if plain.member and kind != "xlsx" and parsing.compression == "auto":
                chunks = unpack_member(chunks, parsing.max_bytes)
            if (read_on := reader_on(kind)) is not None:
                read_on(chunks, parsing, sink, place, plain.jump)
            else:
                reader(kind)(chunks, parsing, sink)
        except Unreadable as error:
            where = f"{plain.member!r} in the archive: " if plain.member else ""
            raise Unreadable(f"{where}{error}") from error


WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")

ENDINGS: dict[str, FileFormat] = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonLines",
    ".ndjson": "jsonLines",
    ".xml": "xml",
    **dict.fromkeys(WORKBOOKS, "xlsx"),
    ".parquet": "parquet",
    ".avro": "avro",
    ".orc": "orc",
}
"""Ending of a name -> format."""

PACKED = (".gz", ".bz2", ".zst", ".zip", ".7z")


def format_of(stated: FileFormat, name: str) -> FileFormat:
    """The format of a file: as stated, or by its name's ending.

    Raises
    ------
    Unreadable
        The ending is not known.
    """
    if stated != "auto":
        return stated
    ending = ending_of(name)
    if ending not in ENDINGS:
        raise Unreadable(
            f"the format of a file {ending or 'without an ending'} is not known: state it"
        )
    return ENDINGS[ending]


def ending_of(name: str) -> str:
    """``.csv`` of ``a/b.CSV.gz``; empty where there is none."""
    lower = name.lower()
    for packed in PACKED:
        lower = lower.removesuffix(packed)
    head, dot, ending = lower.rpartition("/")[2].rpartition(".")
    return f".{ending}" if dot and head else ""


def compression_of(parsing: Parsing, name: str) -> Compression:
    """The stated compression; a workbook is a zip archive itself and is not unpacked."""
    sheet = parsing.format == "xlsx" or (parsing.format == "auto" and ending_of(name) in WORKBOOKS)
    packed = name.lower().endswith(PACKED)
    return "none" if sheet and parsing.compression == "auto" and not packed else parsing.compression
