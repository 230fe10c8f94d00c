"""JSON, JSON lines, XML, fixed width, spreadsheets, Parquet, ORC and Avro."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc

from biff import workbook_of
from weir_contract.sources import FixedColumn, Parsing
from weir_lambdas.file_processor.unpack import Unreadable


def test_a_json_list_is_read_record_by_record_and_keeps_every_digit(reading: Any) -> None:
    body = b'[{"id": 12345678901234567890, "x": 0.1234567890123456789}, {"id": 1, "x": 1.10}, 5]'
    seen = reading(body, Parsing("json"), 5)
    assert str(seen.records[0]["id"]) == "12345678901234567890"
    assert str(seen.records[0]["x"]) == "0.1234567890123456789"
    assert str(seen.records[1]["x"]) == "1.10"
    assert [(one.line, one.reason) for one in seen.rejects] == [(3, "item 3 is no object")]


def test_an_objects_list_is_found_by_its_usual_name_or_at_the_stated_path(reading: Any) -> None:
    body = b'{"meta": 1, "data": [{"id": 1}, {"id": 2}]}'
    assert reading(body, Parsing("json")).records == [{"id": 1}, {"id": 2}]
    nested = b'{"a": {"b": [{"id": 3}]}}'
    assert reading(nested, Parsing("json", record_path="a.b")).records == [{"id": 3}]
    with pytest.raises(Unreadable, match=r"no list of records at a\.c"):
        reading(nested, Parsing("json", record_path="a.c"))


def test_an_object_without_a_list_is_one_record(reading: Any) -> None:
    assert reading(b'{"id": 1}', Parsing("json")).records == [{"id": 1}]


@pytest.mark.parametrize("body", [b'[{"id": 1}', b"{", b"no json", b'[{"id": 1},]'])
def test_broken_json_is_unreadable(reading: Any, body: bytes) -> None:
    with pytest.raises(Unreadable, match="no JSON"):
        reading(body, Parsing("json"))


def test_json_lines_pass_through_as_they_are(reading: Any) -> None:
    body = b'{"a": 1.10}\r\n\n{"b": 2}\nno json\n{"c": 3}'
    seen = reading(body, Parsing("jsonLines"), 3)
    assert seen.rows == [b'{"a": 1.10}', b'{"b": 2}', b'{"c": 3}']
    assert [(one.line, one.reason) for one in seen.rejects] == [(4, "it is no JSON object")]


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": 1',
        b'{"a": NaN}',
        b"[1]",
        b'{"a": "\xff"}',
        b'{"a": 1} {"a": 2}',
        b'{"a":' + b"[" * 9_999,
    ],
)
def test_a_line_that_is_no_record_is_rejected_alone(reading: Any, line: bytes) -> None:
    seen = reading(b'{"a": 1}\n\n' + line + b'\r\n{"a": 2}', Parsing("jsonLines"), 7)
    assert seen.records == [{"a": 1}, {"a": 2}]
    assert [(one.line, one.reason) for one in seen.rejects] == [(3, "it is no JSON object")]


def test_xml_children_become_records_with_attributes_lists_and_text(reading: Any) -> None:
    body = b"""<?xml version="1.0"?>
    <orders xmlns="urn:x"><order id="1"><item>a</item><item>b</item><note>n</note></order>
    <order id="2"><item>c</item><empty/></order></orders>"""
    assert reading(body, Parsing("xml"), 11).rows == [
        {"@id": "1", "item": ["a", "b"], "note": "n"},
        {"@id": "2", "item": "c", "empty": None},
    ]


def test_xml_records_are_found_at_a_path(reading: Any) -> None:
    body = b"<r><head>x</head><list><row><id>1</id></row><row><id>2</id></row></list></r>"
    assert reading(body, Parsing("xml", record_path="list/row")).rows == [{"id": "1"}, {"id": "2"}]


def test_xml_with_a_dtd_is_refused(reading: Any) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><r><x>&b;</x></r>'
    with pytest.raises(Unreadable, match="DTD"):
        reading(bomb, Parsing("xml"))


def test_fixed_width_columns_are_cut_and_short_lines_rejected(reading: Any) -> None:
    columns = (FixedColumn("id", 1, 4), FixedColumn("name", 5, 6), FixedColumn("qty", 11, 3))
    body = "0001Jürgen  7\n0002Bo    120\nshort\n\n".encode()
    seen = reading(body, Parsing("fixedWidth", columns=columns), 4)
    assert seen.rows == [
        {"id": "0001", "name": "Jürgen", "qty": "7"},
        {"id": "0002", "name": "Bo", "qty": "120"},
    ]
    assert [one.line for one in seen.rejects] == [3]


def test_a_sheet_is_read_by_its_row_of_names(reading: Any, workbook: bytes) -> None:
    seen = reading(workbook, Parsing("xlsx", sheet="Data", header_row=2))
    assert seen.records == [
        {"id": 1, "name": "Ann", "since": "2026-01-02", "share": 0.5},
        {"id": 2, "name": None, "since": "2026-01-02T03:04:00", "share": None},
    ]
    with pytest.raises(Unreadable, match="no sheet 'Other'; there are Cover, Data"):
        reading(workbook, Parsing("xlsx", sheet="Other"))
    with pytest.raises(Unreadable, match="no workbook"):
        reading(b"PK\x03\x04 nonsense", Parsing("xlsx"))


@pytest.mark.parametrize(("format_", "name"), [("xlsx", "x"), ("auto", "sent/Old.XLS")])
def test_a_workbook_from_before_2007_is_read_too(reading: Any, format_: Any, name: str) -> None:
    body = workbook_of("Data", [["id", "name"], [1.0, "J\xfcrgen"], [2.5, "Bo"]])
    seen = reading(body, Parsing(format_), name=name)
    assert seen.records == [{"id": 1, "name": "J\xfcrgen"}, {"id": 2.5, "name": "Bo"}]
    with pytest.raises(Unreadable, match="no workbook"):
        reading(body[:700], Parsing(format_), name=name)


def saved(book: Any) -> bytes:
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_the_first_sheet_that_is_shown_and_holds_cells_is_read(reading: Any) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Lists"
    book.active.append(["x"])
    book.active.sheet_state = "hidden"
    sheet = book.create_sheet("Data")
    for row in (["id", "sum"], [1, 2], [3, None]):
        sheet.append(row)
    book.create_chartsheet("Chart", 0)
    assert reading(saved(book), Parsing("xlsx")).records == [
        {"id": 1, "sum": 2},
        {"id": 3, "sum": None},
    ]
    assert reading(saved(book), Parsing("xlsx", sheet="Lists")).records == []


def test_a_workbook_that_ends_its_reader_ends_nothing_else(reading: Any) -> None:
    book = openpyxl.Workbook()
    book.active.append(["id"])
    book.active["XFD1048576"] = "far away"
    with pytest.raises(Unreadable, match="takes more than 1228 MB of memory"):
        reading(saved(book), Parsing("xlsx"))
    old = bytearray(workbook_of("Data", [["id"], [1.0]]))
    for place in range(512, len(old), 61):
        old[place : place + 2] = b"\xff\xff"
        try:
            reading(bytes(old), Parsing("xlsx"))
        except Unreadable as error:
            assert "tripped" not in str(error)


@pytest.fixture(scope="module")
def workbook() -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "Cover"
    sheet = book.create_sheet("Data")
    sheet.append(["made by", "somebody"])
    sheet.append(["id", "name", "since", "share"])
    sheet.append([1, "Ann", datetime(2026, 1, 2), 0.5])
    sheet.append([2, None, datetime(2026, 1, 2, 3, 4), None])
    sheet.append([None, None, None, None])
    return saved(book)


TYPED = pa.table(
    {
        "id": pa.array([1, 2**60], pa.int64()),
        "price": pa.array([Decimal("1.10"), None], pa.decimal128(20, 2)),
        "at": pa.array([datetime(2026, 1, 2, tzinfo=UTC), None], pa.timestamp("ns", "UTC")),
        "small": pa.array([1, 255], pa.uint8()),
        "tags": pa.array([["a"], []], pa.list_(pa.string())),
    }
)
TYPES = {
    "id": "integer",
    "price": "decimal(38,2)",
    "at": "timestamptz",
    "small": "integer",
    "tags": "json",
}


def test_parquet_with_types_of_its_own_is_made_readable(reading: Any) -> None:
    file = io.BytesIO()
    pq.write_table(TYPED, file, version="2.6")
    seen = reading(file.getvalue(), Parsing("parquet"))
    assert [row["id"] for row in seen.rows] == [1, 2**60]
    assert seen.inference.types == TYPES


def test_orc_is_read_stripe_by_stripe(reading: Any) -> None:
    file = io.BytesIO()
    orc.write_table(TYPED.drop_columns(["small"]), file)
    seen = reading(file.getvalue(), Parsing("orc"))
    assert [row["price"] for row in seen.rows] == [Decimal("1.10"), None]


def test_avro_keeps_decimals_bytes_and_times(reading: Any) -> None:
    schema = {
        "type": "record",
        "name": "r",
        "fields": [
            {
                "name": "price",
                "type": {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2},
            },
            {"name": "raw", "type": "bytes"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ],
    }
    file = io.BytesIO()
    fastavro.writer(
        file,
        schema,
        [
            {
                "price": Decimal("12345678901234567890.10"),
                "raw": b"\x00\xff",
                "at": datetime(2026, 1, 2, tzinfo=UTC),
            }
        ],
        codec="deflate",
    )
    seen = reading(file.getvalue(), Parsing("avro"), 17)
    row = seen.rows[0]
    assert str(row["price"]) == "12345678901234567890.10"
    assert row["raw"] == "AP8=" and row["at"] == "2026-01-02T00:00:00+00:00"


@pytest.mark.parametrize("name", ["parquet", "orc", "avro"])
def test_another_file_is_told_apart(reading: Any, name: Any) -> None:
    with pytest.raises(Unreadable, match="it is no"):
        reading(b"something else entirely" * 20, Parsing(name))


def test_the_reader_of_each_format_exists() -> None:
    from weir_lambdas.file_processor.formats.table import READERS, reader

    assert [reader(name) for name in READERS]
    assert json.dumps(sorted(READERS))
