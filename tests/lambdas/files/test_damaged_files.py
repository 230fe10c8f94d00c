"""A file that can't be read is told as such, whatever its parser trips over; S3's faults are not its."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import fastavro
import py7zr
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pyzipper
from pyarrow import orc

from lambdas.files.conftest import Collected, Memory
from weir_contract.rows import RowContract
from weir_contract.sources import CsvDialect, Parsing
from weir_lambdas.file_processor import output as output_module
from weir_lambdas.file_processor.output import Numbers, TooManyRejects
from weir_lambdas.file_processor.source import read_file
from weir_lambdas.file_processor.unpack import Unreadable
from weir_lambdas.landing.infer import Inference

ROWS = [{"id": number, "name": f"é {number}", "at": None} for number in range(50)]
TABLE = pa.table({"id": [row["id"] for row in ROWS], "name": [row["name"] for row in ROWS]})
CSV = b"id,name\n" + b"".join(f"{row['id']},{row['name']}\n".encode() for row in ROWS)


def avro(codec: str) -> bytes:
    schema = {
        "type": "record",
        "name": "row",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "name", "type": ["null", "string"]},
            {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
        ],
    }
    body = io.BytesIO()
    fastavro.writer(body, schema, ROWS, codec=codec)
    return body.getvalue()


def parquet() -> bytes:
    body = io.BytesIO()
    pq.write_table(TABLE, body)
    return body.getvalue()


def stripes() -> bytes:
    body = io.BytesIO()
    orc.write_table(TABLE, body)
    return body.getvalue()


def zipped(kind: int) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", kind) as archive:
        archive.writestr("a.csv", CSV)
    return body.getvalue()


def sealed() -> bytes:
    body = io.BytesIO()
    with pyzipper.AESZipFile(
        body, "w", compression=zipfile.ZIP_DEFLATED, encryption=pyzipper.WZ_AES
    ) as archive:
        archive.setpassword(b"pw")
        archive.writestr("a.csv", CSV)
    return body.getvalue()


def seven() -> bytes:
    body = io.BytesIO()
    with py7zr.SevenZipFile(body, "w", password="pw") as archive:
        archive.writestr(CSV, "a.csv")
    return body.getvalue()


FILES: dict[str, tuple[Parsing, Callable[[], bytes]]] = {
    "avro": (Parsing("avro"), lambda: avro("null")),
    "avro-deflate": (Parsing("avro"), lambda: avro("deflate")),
    "avro-snappy": (Parsing("avro"), lambda: avro("snappy")),
    "parquet": (Parsing("parquet"), parquet),
    "orc": (Parsing("orc"), stripes),
    "zip": (Parsing("csv"), lambda: zipped(zipfile.ZIP_DEFLATED)),
    "zip-bzip2": (Parsing("csv"), lambda: zipped(zipfile.ZIP_BZIP2)),
    "zip-lzma": (Parsing("csv"), lambda: zipped(zipfile.ZIP_LZMA)),
    "zip-aes": (Parsing("csv"), sealed),
    "7z": (Parsing("csv"), seven),
    "json": (Parsing("json"), lambda: json.dumps(ROWS).encode()),
    "csv": (Parsing("csv"), lambda: CSV),
}


def damaged(body: bytes, seed: int) -> bytes:
    """A body with some bytes changed, left out or put in between."""
    dice, found = random.Random(seed), bytearray(body)
    for _ in range(dice.choice((1, 2, 8))):
        at = dice.randrange(len(found))
        found[at : at + dice.choice((0, 1, 4, 30))] = dice.choice(
            (b"", b"\xff\xff\xff\xff", dice.randbytes(1), dice.randbytes(4))
        )
    return bytes(found)


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file_is_unreadable_or_read_and_nothing_else(kind: str) -> None:
    parsing, make = FILES[kind]
    body = make()
    for seed in range(150):
        try:
            read_file(Memory(damaged(body, seed)), parsing, "file", Collected(), "pw")
        except Unreadable as error:
            assert "\xff" not in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b'[{"id": ' + b"9" * 5_000 + b"}]",
        b'[{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
        b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=["digits", "deep list", "deep object"],
)
def test_json_that_would_break_a_parser_breaks_nothing(body: bytes) -> None:
    try:
        read_file(Memory(body), Parsing("json"), "file", Collected())
    except Unreadable as error:
        assert "JSON" in str(error)


def test_xml_without_a_bottom_is_unreadable() -> None:
    body = b"<r>" + b"<a>" * 5_000 + b"</a>" * 5_000 + b"</r>"
    with pytest.raises(Unreadable, match="nested more than 200 deep"):
        read_file(Memory(body), Parsing("xml"), "file", Collected())


class Refused(OSError, ValueError):
    """As what the landing raises where another writer was there first."""


class Refusing(Collected):
    """A sink whose parts can't be written."""

    def table(self, table: Any) -> None:
        raise Refused("the part is there already")

    def record(self, record: Any) -> None:
        raise Refused("the part is there already")

    def lines(self, lines: Any) -> None:
        raise Refused("the part is there already")


@pytest.mark.parametrize("kind", FILES)
def test_what_keeps_records_from_being_written_is_not_the_files_fault(kind: str) -> None:
    parsing, make = FILES[kind]
    with pytest.raises(Refused):
        read_file(Memory(make()), parsing, "file", Refusing(), "pw")


class Failing(Memory):
    """A file of which S3 gives nothing after its first bytes."""

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        yield self.body[start : start + 20]
        self.failed = Refused("the connection was reset")
        raise self.failed


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind[0] not in "z7"])
def test_what_keeps_bytes_from_being_read_is_not_the_files_fault(kind: str) -> None:
    parsing, make = FILES[kind]
    with pytest.raises(Refused):
        read_file(Failing(make()), parsing, "file", Collected(), "pw")


def thrown_away() -> output_module.FileOutput:
    """A landing's output that stores nothing."""
    return output_module.FileOutput(
        lambda number, suffix: f"{number}.{suffix}",
        lambda key, body, kind: None,
        Numbers(),
        Inference(RowContract()),
        False,
    )


def test_broken_records_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "MAX_REJECTED_CHARACTERS", 1_000)
    sink = thrown_away()
    body = b"a,b\n" + b"x" * 300 + b"\n"
    read_file(Memory(body), Parsing("csv"), "file", sink)
    with pytest.raises(TooManyRejects, match="or more than 1000 characters of them"):
        read_file(Memory(body * 4), Parsing("csv", csv=CsvDialect(header=True)), "file", sink)


def test_a_broken_record_in_an_archive_is_told_with_its_member() -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("a.csv", b"a,b\n1,2\n")
        archive.writestr("d/b.csv", b"a,b\n1,2\n3\n")
    sink = thrown_away()
    with sink:
        read_file(Memory(body.getvalue()), Parsing("csv"), "in/x.zip", sink)
        (row,) = output_module.rejected_rows(sink.rejects, "in/x.zip")
    assert row.reason == "in/x.zip, d/b.csv, line 3: 1 fields instead of 2"
