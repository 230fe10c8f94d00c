"""Files that are parts as they are: copied within S3, not written anew.

The copy carries ``x-amz-copy-source-if-match``: an object that was overwritten meanwhile is not
taken for the one that was looked at (S3 API Reference, *CopyObject* and *UploadPartCopy*).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from weir_contract.manifest import Part
from weir_contract.sources import Parsing
from weir_lambdas.common.storage import Storage
from weir_lambdas.file_processor.faults import judged
from weir_lambdas.file_processor.formats.base import MAX_RECORD_BYTES
from weir_lambdas.file_processor.output import FileOutput, Numbers, shape_of
from weir_lambdas.file_processor.reading import S3File, Superseded
from weir_lambdas.file_processor.unpack import STREAMS, Guard, Unreadable, sniff

WHOLE_GZIP_BYTES = 64 * 1024 * 1024
"""A larger gzip file is written anew as several parts: Spark can't split one."""

WHOLE_PLAIN_BYTES = 4 * 1024**3
"""A larger file of JSON lines is written anew, which several calls can do: counting it is one's."""

Key = Callable[[int, str], str]


def take_over(
    storage: Storage,
    source: S3File,
    parsing: Parsing,
    key: Key,
    numbers: Numbers,
    bucket: str,
    output: FileOutput,
) -> tuple[Part, ...] | None:
    """Copy a file that the pipeline can read as it is into the raw zone's bucket.

    Returns
    -------
    tuple of Part or None
        None where it has to be written anew: another format, compressed in a way that Spark does
        not read, or with types or lines that it reads otherwise.

    Raises
    ------
    Superseded
        The object is another one by now.
    Unreadable
        It is not what it is said to be.
    """
    look = LOOKS.get(parsing.format)
    with judged(source):
        seen = look(source, parsing, output) if look is not None else None
    if seen is None:
        return None
    number = key(numbers.next(seen.suffix), seen.suffix)
    located = source.located
    try:
        copied = storage.copy(
            (located.bucket, located.key, located.version_id),
            located.etag,
            located.size,
            bucket,
            number,
        )
    except FileNotFoundError as error:
        raise Superseded(located.uri) from error
    if copied.sha256 is not None and not source.hashed:
        source.told(base64.b64decode(copied.sha256).hex())
    part = replace(seen.part, key=number, sha256=source.sha256, version_id=copied.version_id)
    return (part,)


@dataclass(frozen=True)
class Seen:
    """A file that can be copied: its part but for the key, and the key's suffix."""

    part: Part
    suffix: str


def _parquet(source: S3File, parsing: Parsing, output: FileOutput) -> Seen | None:
    """Parquet by its footer alone."""
    from weir_lambdas.file_processor.columns import typed_columns
    from weir_lambdas.file_processor.formats.columnar import is_plain, opened

    if source.read(0, 4) != b"PAR1":
        if source.read(0, 4) == b"PARE":
            raise Unreadable("it is an encrypted Parquet file")
        if parsing.compression == "none":
            raise Unreadable("it is no Parquet file")
        return None
    file = opened(source.seekable())
    if not is_plain(file):
        return None
    schema, rows = file.schema_arrow, int(file.metadata.num_rows)
    output.inference.see_columns(typed_columns(schema))
    size = source.located.size
    return Seen(Part("", rows, size, "", format="parquet", shape=shape_of(schema)), "copy.parquet")


def _json_lines(source: S3File, parsing: Parsing, output: FileOutput) -> Seen | None:
    """JSON lines by counting them: what has an empty line, a byte order mark or another encoding is
    written anew, since Spark would count otherwise; what has a line that is no record, without it."""
    head = source.read(0, min(4, source.located.size))
    kind = sniff(head) if parsing.compression == "auto" else parsing.compression
    suffix = {"none": "copy.jsonl", "gzip": "copy.jsonl.gz"}.get(kind)
    if suffix is None or not parsing.csv.encoding.lower().startswith(("utf-8", "utf8")):
        return None
    most = WHOLE_GZIP_BYTES if kind == "gzip" else WHOLE_PLAIN_BYTES
    if source.located.size > most:
        return None
    guard = Guard(parsing.max_bytes)
    plain = guard.bounded(STREAMS[kind](guard.counting(source.chunks())))
    rows = _count(plain, output)
    if rows is None:
        return None
    return Seen(Part("", rows, source.located.size, ""), suffix)


def _count(chunks: Iterator[bytes], output: FileOutput) -> int | None:
    """Lines of a text, or None where one is no JSON object, or too long to be one."""
    from weir_lambdas.file_processor.formats.lines import are_objects

    rows, tail = 0, b""
    for chunk in chunks:
        whole, end, tail = (tail + chunk).rpartition(b"\n")
        if len(tail) > MAX_RECORD_BYTES:
            return None
        if end:
            lines = whole.split(b"\n")
            if not are_objects(lines):
                return None
            output.look(lines)
            rows += len(lines)
    if not tail:
        return rows
    if not are_objects([tail]):
        return None
    output.look([tail])
    return rows + 1


LOOKS: dict[str, Callable[[S3File, Parsing, FileOutput], Seen | None]] = {
    "parquet": _parquet,
    "jsonLines": _json_lines,
}
"""Format -> whether, and how, a file of it can be taken over."""
