"""Files in S3 as something that can be landed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from weir_contract.manifest import LandedFile
from weir_contract.sources import Compression, FileFormat, Parsing, SourceConfig
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.storage import Storage
from weir_lambdas.file_processor.arrived import (
    ArrivedSource,
    Taken,
    Taking,
    duplicate,
    rejected,
    superseded,
)
from weir_lambdas.file_processor.formats.base import Sink
from weir_lambdas.file_processor.formats.table import reader
from weir_lambdas.file_processor.ledger import Arrived, Ledger
from weir_lambdas.file_processor.output import TooManyRejects
from weir_lambdas.file_processor.reading import S3File, Superseded
from weir_lambdas.file_processor.takeover import take_over
from weir_lambdas.file_processor.unpack import Bytes, Unreadable, unpack


class FileSource(ArrivedSource):
    """Files that others put into S3."""

    def __init__(self, config: SourceConfig, s3: Any, storage: Storage, ledger: Ledger) -> None:
        if config.files is None:
            raise ConfigInvalid("the source is no source of files", config.id)
        super().__init__(config, config.files, s3, storage, ledger)
        self._files = config.files

    def take(self, arrived: Arrived, file: LandedFile, source: S3File, taking: Taking) -> Taken:
        """Copy the file where the pipeline reads it as it is, else parse it."""
        parsing = self._files.parsing
        with self.output(taking) as output:
            try:
                parts = take_over(
                    self.storage,
                    source,
                    parsing,
                    taking.start.part_key,
                    taking.numbers,
                    self.config.raw_bucket,
                    output,
                )
                if parts is None:
                    read_file(source, parsing, arrived.located.key, output)
                    parts = output.finish()
                content = source.sha256
            except Superseded:
                return superseded(file)
            except (Unreadable, TooManyRejects) as error:
                return rejected(file, str(error))
        twin = self.twin(content, arrived.located, taking)
        if twin is not None and self._files.duplicates == "skip":
            return duplicate(replace(file, sha256=content), twin)
        rows = sum(part.rows for part in parts)
        landed = replace(file, sha256=content, rows=rows, rejected=len(output.rejects))
        return Taken(landed, parts, tuple(output.rejects), output.inference)


def read_file(
    source: Bytes, parsing: Parsing, name: str, output: Sink, password: str | None = None
) -> None:
    """All records of a file, of every member where it is an archive.

    Parameters
    ----------
    name
        The file's name, or its key: where the format is ``auto`` its ending tells it.
    password
        Of encrypted archives.

    Raises
    ------
    Unreadable
        It is not what it is said to be; of an archive the message names the member.
    """
    compression = compression_of(parsing, name)
    for plain in unpack(source, compression, parsing.max_bytes, password):
        try:
            read = reader(format_of(parsing.format, plain.member or name))
            read(plain.chunks, parsing, output)
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
