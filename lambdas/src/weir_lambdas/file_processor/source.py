"""Files in S3 as something that can be landed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from weir_contract.manifest import LandedFile
from weir_contract.sources import Parsing, SourceConfig
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
                    read_file(source, parsing, output)
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


def read_file(source: Bytes, parsing: Parsing, output: Sink) -> None:
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
