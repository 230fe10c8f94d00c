"""Formats that know their columns' types: Parquet, ORC and Avro."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import IO

import pyarrow as pa

from weir_contract.sources import Parsing
from weir_lambdas.file_processor.formats.base import Sink
from weir_lambdas.file_processor.memory import share_arrow_pool
from weir_lambdas.file_processor.unpack import Unreadable, as_file
from weir_lambdas.landing.values import json_value

share_arrow_pool()

IN_MEMORY_BYTES = 32 * 1024 * 1024
BATCH_ROWS = 65_536


def spooled(chunks: Iterable[bytes]) -> IO[bytes]:
    """A stream as a file that can be jumped about in: in memory while it is small, else on disk."""
    file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - the reader's
    for chunk in chunks:
        file.write(chunk)
    file.seek(0)
    return file


def read_parquet(chunks: Iterable[bytes], _parsing: Parsing, sink: Sink) -> None:
    """Parquet that can't be taken over as it is: within an archive, or with types of its own.

    Raises
    ------
    Unreadable
        It is no Parquet, or it is encrypted.
    """
    import pyarrow.parquet as pq

    with spooled(chunks) as file:
        try:
            for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS):
                sink.table(_sound(plain(pa.Table.from_batches([batch]))))
        except (pa.ArrowException, OSError) as error:
            raise Unreadable("it is no Parquet file, or it is damaged or encrypted") from error


def read_orc(chunks: Iterable[bytes], _parsing: Parsing, sink: Sink) -> None:
    """ORC, stripe by stripe.

    Raises
    ------
    Unreadable
        It is no ORC file.
    """
    from pyarrow import orc

    with spooled(chunks) as file:
        try:
            reader = orc.ORCFile(file)
            for number in range(reader.nstripes):
                sink.table(_sound(plain(pa.Table.from_batches([reader.read_stripe(number)]))))
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


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type by which Spark reads a column's values."""
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
    return WIDER.get(kind, kind)


def plain(table: pa.Table) -> pa.Table:
    """A table with the types that Spark reads; nanoseconds are cut to microseconds."""
    schema = pa.schema([pa.field(one.name, plain_type(one.type)) for one in table.schema])
    return table if schema.equals(table.schema) else table.cast(schema, safe=False)


def _sound(table: pa.Table) -> pa.Table:
    """A table whose texts are text: neither format's reader looks.

    Raises
    ------
    Unreadable
        Some are in another encoding than UTF-8.
    """
    try:
        table.validate(full=True)
    except pa.ArrowInvalid as error:
        raise Unreadable("it holds text that is not in UTF-8, or is damaged") from error
    return table


def is_plain(schema: pa.Schema) -> bool:
    """Whether Spark reads a Parquet file of that schema as it is.

    Names that differ in case only are refused by Spark (``spark.sql.caseSensitive`` is false).
    """
    names = [one.name.lower() for one in schema]
    typed = all(
        one.type == plain_type(one.type)
        or (pa.types.is_timestamp(one.type) and one.type.unit in ("ms", "us"))
        or pa.types.is_dictionary(one.type)
        or pa.types.is_large_string(one.type)
        or pa.types.is_large_binary(one.type)
        for one in schema
    )
    return typed and len(set(names)) == len(names)


def read_avro(chunks: Iterable[bytes], _parsing: Parsing, sink: Sink) -> None:
    """Avro object container files, with the schema that is in them.

    Bytes come as base64, decimals with all their digits, times as ISO 8601.

    Raises
    ------
    Unreadable
        It is no Avro file, or its codec is not known.
    """
    import fastavro

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
