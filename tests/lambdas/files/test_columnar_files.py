"""Parquet and ORC as others write them: what Spark reads is copied, the rest is made readable or told."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc

from lambdas.files.conftest import Collected, Memory
from weir_contract.sources import Parsing
from weir_lambdas.file_processor.formats import columnar
from weir_lambdas.file_processor.formats.columnar import is_plain, opened
from weir_lambdas.file_processor.source import read_file
from weir_lambdas.file_processor.unpack import Unreadable

FAR = datetime(9999, 12, 31, 23, 59, 59, 123456)


def written(table: pa.Table, **options: Any) -> bytes:
    body = io.BytesIO()
    pq.write_table(table, body, **options)
    return body.getvalue()


def column(values: list[Any], kind: pa.DataType) -> pa.Table:
    return pa.table({"x": pa.array(values, kind)})


@pytest.mark.parametrize(
    ("table", "options", "expected"),
    [
        (column([1, None], pa.int32()), {}, True),
        (column([], pa.int32()), {}, True),
        (column(["a"] * 9, pa.dictionary(pa.int8(), pa.string())), {}, True),
        (column([FAR], pa.timestamp("us")), {"use_deprecated_int96_timestamps": True}, True),
        (column([[{"a": 1}]], pa.list_(pa.struct([("a", pa.int8())]))), {}, True),
        (column([Decimal("1.5")], pa.decimal128(38, 1)), {}, True),
        (column(["x"], pa.string()), {"compression": "lz4"}, True),
        (column(["x"], pa.string()), {"compression": "brotli"}, False),
        (
            column([1.0], pa.float64()),
            {"use_byte_stream_split": True, "use_dictionary": False},
            False,
        ),
        (column([1], pa.timestamp("ns")), {}, False),
        (column([{"t": 1}], pa.struct([("t", pa.timestamp("ns"))])), {}, False),
        (column([[1]], pa.list_(pa.time64("us"))), {}, False),
        (column([Decimal(1)], pa.decimal256(60, 0)), {}, False),
        (pa.table({"id": [1], "ID": [2]}), {}, False),
        (pa.table({}), {}, False),
    ],
    ids=str,
)
def test_what_spark_reads_is_copied_as_it_is(
    table: pa.Table, options: dict[str, Any], expected: bool
) -> None:
    assert is_plain(opened(io.BytesIO(written(table, **options)))) is expected


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (column([Decimal("1" * 50)], pa.decimal256(60, 0)), ["1" * 50]),
        (column([Decimal("1.50")], pa.decimal256(20, 2)), [Decimal("1.50")]),
        (column([[1]], pa.list_(pa.time64("us"))), [["00:00:00.000001"]]),
        (column([[2**64 - 1]], pa.list_(pa.uint64())), [[Decimal(2**64 - 1)]]),
        (
            column([{"t": 1_000}], pa.struct([("t", pa.timestamp("ns"))])),
            [{"t": datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)}],
        ),
        (column([[("k", 1)]], pa.map_(pa.string(), pa.uint8())), [[("k", 1)]]),
        (column([[None]], pa.list_(pa.null())), [[None]]),
    ],
    ids=str,
)
def test_values_keep_what_they_are_where_their_type_has_to_change(
    reading: Any, table: pa.Table, expected: list[Any]
) -> None:
    assert [row["x"] for row in reading(written(table), Parsing("parquet")).rows] == expected


def test_moments_of_spark_far_away_are_not_bent(reading: Any) -> None:
    table = pa.table({"id": [1], "ID": [2], "t": pa.array([FAR], pa.timestamp("us"))})
    (row,) = reading(written(table, use_deprecated_int96_timestamps=True), Parsing("parquet")).rows
    assert row == {"id": 1, "ID_2": 2, "t": FAR.replace(tzinfo=UTC)}


@pytest.mark.parametrize("codec", ["uncompressed", "zlib", "snappy", "zstd", "lz4"])
@pytest.mark.parametrize("far", [FAR, datetime(1, 1, 1)])
def test_moments_that_orcs_reader_would_bend_are_told(
    reading: Any, codec: str, far: datetime
) -> None:
    def file(moment: datetime) -> bytes:
        body = io.BytesIO()
        orc.write_table(
            column([{"t": moment}], pa.struct([("t", pa.timestamp("us"))])), body, compression=codec
        )
        return body.getvalue()

    near = datetime(2026, 1, 2, 3, 4, 5, 678901)
    assert reading(file(near), Parsing("orc")).rows == [{"x": {"t": near.replace(tzinfo=UTC)}}]
    with pytest.raises(Unreadable, match="before 1677 or after 2262"):
        reading(file(far), Parsing("orc"))


def test_text_in_another_encoding_and_types_that_parquet_lacks_are_told(reading: Any) -> None:
    latin = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xe9t")]
    )
    body = io.BytesIO()
    orc.write_table(pa.table({"x": latin}), body)
    with pytest.raises(Unreadable, match="not in UTF-8"):
        reading(body.getvalue(), Parsing("orc"))
    clash = column([{"a": 1, "A": 2}], pa.struct([("a", pa.int8()), ("A", pa.int8())]))
    with pytest.raises(Unreadable, match="differ in case alone"):
        reading(written(clash), Parsing("parquet"))
    with pytest.raises(Unreadable, match="which Parquet does not have"):
        columnar.plain(
            pa.table({"x": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])})
        )


def test_columns_that_are_encrypted_below_a_readable_footer_are_told(reading: Any) -> None:
    body = written(column([1], pa.int32()))
    footer = int.from_bytes(body[-8:-4], "little")
    signed = body[:-8] + b"\0" * 28 + (footer + 28).to_bytes(4, "little") + b"PAR1"
    with pytest.raises(Unreadable, match="encrypted"):
        reading(signed, Parsing("parquet"))


def test_a_large_file_is_read_where_it_is_and_not_copied_to_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(columnar, "IN_MEMORY_BYTES", 1_000)
    monkeypatch.setattr(columnar, "ON_DISK_BYTES", 2_000)
    body = io.BytesIO()
    orc.write_table(pa.table({"x": [str(one * one) for one in range(100_000)]}), body)
    file, sink = Memory(body.getvalue(), 100), Collected()
    assert len(file.body) > 2_000
    read_file(file, Parsing("orc"), "file", sink)
    assert len(sink.rows) == 100_000
    with pytest.raises(Unreadable, match="unfolds to more than 2000 bytes"):
        read_file(Memory(gzip.compress(file.body)), Parsing("orc"), "file", Collected())
