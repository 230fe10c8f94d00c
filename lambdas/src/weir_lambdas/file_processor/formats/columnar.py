"""Formats that know their columns' types: Parquet, ORC and Avro."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from weir_contract.sources import Parsing
from weir_lambdas.file_processor.formats.base import Sink
from weir_lambdas.file_processor.formats.moments import check_moments
from weir_lambdas.file_processor.formats.names import distinct
from weir_lambdas.file_processor.memory import share_arrow_pool
from weir_lambdas.file_processor.unpack import Unpacked, Unreadable, as_file
from weir_lambdas.landing.values import json_value

share_arrow_pool()

IN_MEMORY_BYTES = 32 * 1024 * 1024
ON_DISK_BYTES = 400 * 1024 * 1024
"""Of a file that has to be unpacked before it can be jumped about in: a function has 512 MB of disk
(Lambda Developer Guide, *Ephemeral storage*)."""

BATCH_ROWS = 65_536


def jumpable(chunks: Iterable[bytes]) -> IO[bytes]:
    """A stream as a file that can be jumped about in: in memory while it is small, else where it is,
    or on disk where it has to be unpacked.

    Raises
    ------
    Unreadable
        Unpacked, it is larger than :data:`ON_DISK_BYTES`.
    """
    file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - the reader's
    for chunk in chunks:
        file.write(chunk)
        if file.tell() > IN_MEMORY_BYTES and isinstance(chunks, Unpacked):
            file.close()
            return chunks.seekable()
        if file.tell() > ON_DISK_BYTES:
            raise Unreadable(
                f"it unfolds to more than {ON_DISK_BYTES} bytes: this format is packed in itself and "
                "may be of any size where nothing else is packed around it"
            )
    file.seek(0)
    return file


def opened(file: IO[bytes]) -> pq.ParquetFile:
    """A Parquet file.

    INT96 moments are microseconds, which hold every year; nanoseconds end in 2262.

    Raises
    ------
    Unreadable
        It is no Parquet, cut off, or encrypted.
    """
    try:
        found = pq.ParquetFile(file, coerce_int96_timestamp_unit="us")
        file.seek(-8, io.SEEK_END)
        footer = int.from_bytes(file.read(4), "little")
    except (pa.ArrowException, OSError) as error:
        raise Unreadable("it is no Parquet file, or its upload was cut off") from error
    # A footer that anybody can read and that is followed by a signature: columns are encrypted
    # (Parquet format, *Plaintext footer mode*). Arrow ends the process where it is asked for those.
    if footer > found.metadata.serialized_size:
        raise Unreadable("it is an encrypted Parquet file")
    return found


def read_parquet(chunks: Iterable[bytes], _parsing: Parsing, sink: Sink) -> None:
    """Parquet that can't be taken over as it is: within an archive, or with types of its own.

    Raises
    ------
    Unreadable
        It is no Parquet, or it is encrypted.
    """
    with jumpable(chunks) as file:
        found = opened(file)
        try:
            for batch in found.iter_batches(BATCH_ROWS):
                sink.table(plain(pa.Table.from_batches([batch])))
        except (pa.ArrowException, OSError) as error:
            raise Unreadable("it is no Parquet file, or it is damaged") from error


def read_orc(chunks: Iterable[bytes], _parsing: Parsing, sink: Sink) -> None:
    """ORC, stripe by stripe.

    Raises
    ------
    Unreadable
        It is no ORC file, or holds moments that Arrow's reader would bend.
    """
    from pyarrow import orc

    with jumpable(chunks) as file:
        try:
            reader = orc.ORCFile(file)
            if "timestamp" in str(reader.schema):
                check_moments(file, reader.compression)
            for number in range(reader.nstripes):
                sink.table(plain(pa.Table.from_batches([reader.read_stripe(number)])))
        except (pa.ArrowException, OSError) as error:
            raise Unreadable("it is no ORC file, or it is damaged") from error


WIDER = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.time32("s"): pa.string(),
    pa.time32("ms"): pa.string(),
    pa.time64("us"): pa.string(),
    pa.time64("ns"): pa.string(),
    pa.null(): pa.string(),
}
"""Types that Spark's Parquet reader lacks -> types that hold the same values."""


MAX_DIGITS = 38
"""Of a decimal, in Spark and in Redshift."""


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type by which Spark reads a column's values.

    Raises
    ------
    Unreadable
        Parquet has no such type.
    """
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC")
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_date64(kind):
        return pa.date32()
    if pa.types.is_duration(kind):
        return pa.int64()
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_decimal256(kind):
        fits = kind.precision <= MAX_DIGITS
        return pa.decimal128(kind.precision, kind.scale) if fits else pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([one.with_type(plain_type(one.type)) for one in kind])
    if pa.types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = plain_type(kind.value_type)
        return kind if inner == kind.value_type else pa.list_(inner)
    if pa.types.is_nested(kind) or pa.types.is_interval(kind):
        raise Unreadable(f"it holds values of the type {kind}, which Parquet does not have")
    return WIDER.get(kind, kind)


def plain(table: pa.Table) -> pa.Table:
    """A table with the types that Spark reads; nanoseconds are cut to microseconds. Of names that
    differ in case alone the second gets a number.

    Raises
    ------
    Unreadable
        Texts are in another encoding than UTF-8 (no format's reader looks), or a type has none that
        Spark reads.
    """
    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        raise Unreadable("it holds text that is not in UTF-8, or is damaged") from error
    names = distinct(table.column_names)
    for one in table.schema:
        _check_names(one.type)
    schema = pa.schema(
        [
            pa.field(name, plain_type(one.type))
            for name, one in zip(names, table.schema, strict=True)
        ]
    )
    if schema.equals(table.schema):
        return table
    return table.rename_columns(names).cast(schema, safe=False)


def _check_names(kind: pa.DataType) -> None:
    children = [kind.field(number) for number in range(kind.num_fields)]
    if pa.types.is_struct(kind) and len({one.name.lower() for one in children}) < len(children):
        raise Unreadable("within a column names differ in case alone: Spark can't tell them apart")
    for one in children:
        _check_names(one.type)


CODECS = frozenset({"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD", "LZ4"})
"""That Spark 3.5 reads without libraries of others; ``LZ4`` is LZ4_RAW."""

ENCODINGS = frozenset(
    {
        "PLAIN",
        "RLE",
        "BIT_PACKED",
        "PLAIN_DICTIONARY",
        "RLE_DICTIONARY",
        "DELTA_BINARY_PACKED",
        "DELTA_LENGTH_BYTE_ARRAY",
        "DELTA_BYTE_ARRAY",
    }
)
"""That Spark's vectorized reader knows."""


def is_plain(file: pq.ParquetFile) -> bool:
    """Whether Spark reads a Parquet file as it is.

    Names that differ in case only are refused by Spark (``spark.sql.caseSensitive`` is false), and
    decimals in byte arrays by its vectorized reader.
    """
    schema, metadata = file.schema_arrow, file.metadata
    names = [one.name.lower() for one in schema]
    if not names or len(set(names)) < len(names):
        return False
    for one in schema:
        _check_names(one.type)
    leaves = [file.schema.column(place) for place in range(metadata.num_columns)]
    if any(
        one.physical_type == "BYTE_ARRAY" and one.logical_type.type == "DECIMAL" for one in leaves
    ):
        return False
    chunks = (
        metadata.row_group(group).column(place)
        for group in range(metadata.num_row_groups)
        for place in range(metadata.num_columns)
    )
    return all(_spark_reads(one.type) for one in schema) and all(
        one.compression in CODECS and ENCODINGS.issuperset(one.encodings) for one in chunks
    )


def _spark_reads(kind: pa.DataType) -> bool:
    if pa.types.is_timestamp(kind):
        return kind.unit in ("ms", "us")
    if pa.types.is_dictionary(kind):
        return _spark_reads(kind.value_type)
    if kind.num_fields:
        return all(_spark_reads(kind.field(place).type) for place in range(kind.num_fields))
    texts = (pa.types.is_large_string, pa.types.is_large_binary)
    return any(one(kind) for one in texts) or kind == plain_type(kind)


def read_avro(chunks: Iterable[bytes], _parsing: Parsing, sink: Sink) -> None:
    """Avro object container files, with the schema that is in them.

    Bytes come as base64, decimals with all their digits, times as ISO 8601.

    Raises
    ------
    Unreadable
        It is no Avro file, or its codec is not known.
    """
    import fastavro

    from weir_lambdas.landing.avrodecimals import read_exactly

    read_exactly()
    try:
        for item in fastavro.reader(as_file(chunks)):
            if isinstance(item, dict):
                sink.record(json_value(item))
            else:
                raise Unreadable("its records are no records but single values")
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable("it is no Avro file, or it is damaged") from error
