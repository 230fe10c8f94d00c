"""CSV and TSV: every dialect, and what is broken apart from what is good."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_contract.sources import CsvDialect, Parsing
from weir_lambdas.file_processor.formats import cuts, delimited
from weir_lambdas.file_processor.unpack import Unreadable

CSV = Parsing("csv", "none")


def dialect(**fields: Any) -> Parsing:
    return Parsing("csv", "none", CsvDialect(**fields))


def test_quotes_line_ends_in_fields_and_nulls_are_read_as_rfc_4180_says(reading: Any) -> None:
    body = b'id,note\r\n1,"two\nlines, ""quoted"""\r\n2,\r\n3,""\r\n\r\n'
    seen = reading(body, CSV)
    assert seen.rows == [
        {"id": "1", "note": 'two\nlines, "quoted"'},
        {"id": "2", "note": None},
        {"id": "3", "note": ""},
    ]
    assert seen.rejects == []


def test_a_row_with_other_fields_is_rejected_alone_with_its_line(reading: Any) -> None:
    seen = reading(b"a,b\n1,2\n3\n4,5\n6,7,8\n9,10\n", CSV)
    assert [row["a"] for row in seen.rows] == ["1", "4", "9"]
    assert [(one.line, one.record) for one in seen.rejects] == [(3, "3"), (5, "6,7,8")]
    assert "1 fields instead of 2" in seen.rejects[0].reason


def test_a_row_that_is_no_text_is_rejected_alone_with_its_line(reading: Any) -> None:
    seen = reading(b"a,b\n1,2\nx\n\xff\xfe,4\n5,6\n", CSV)
    assert [row["a"] for row in seen.rows] == ["1", "5"]
    assert [one.line for one in seen.rejects] == [3, 4]
    assert "not in utf-8" in seen.rejects[1].reason


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1"])
def test_an_encoding_or_a_byte_order_mark_is_obeyed(reading: Any, encoding: str) -> None:
    body = "name,ort\nJürgen,Köln\n".encode(encoding)
    stated = encoding if encoding in ("cp1252", "latin-1") else "utf-8"
    assert reading(body, dialect(encoding=stated), 7).rows == [{"name": "Jürgen", "ort": "Köln"}]


def test_lines_to_skip_and_comments_are_not_read(reading: Any) -> None:
    body = b"exported by x\n\n# the names\na;b\n1;2\n# between\n3;4\n"
    seen = reading(body, dialect(delimiter=";", skip_lines=2, comment="#"))
    assert seen.rows == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_a_file_without_a_header_takes_stated_or_numbered_names(reading: Any) -> None:
    assert reading(b"1,2\n", dialect(header=False)).rows == [{"column1": "1", "column2": "2"}]
    named = reading(b"1,2\n3,4\n", dialect(header=False, columns=("x", "y")))
    assert named.rows == [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]


def test_names_that_differ_in_case_alone_are_made_different(reading: Any) -> None:
    seen = reading(b"id,ID,Id_2\n1,2,3\n", CSV)
    assert seen.rows == [{"id": "1", "ID_2": "2", "Id_2_2": "3"}]


def test_names_are_trimmed_filled_and_made_different(reading: Any) -> None:
    seen = reading(b" id ,,id\n1,2,3\n", CSV)
    assert seen.rows == [{"id": "1", "column2": "2", "id_2": "3"}]


def test_an_escape_character_is_obeyed(reading: Any) -> None:
    seen = reading(b'a,b\n"x \\" y",2\n', dialect(escape="\\"))
    assert seen.rows == [{"a": 'x " y', "b": "2"}]


@pytest.mark.parametrize("body", [b"", b"\n\n", b"a,b\n", b"a,b"])
def test_a_file_without_rows_gives_none(reading: Any, body: bytes) -> None:
    assert reading(body, CSV).rows == []


def test_a_quote_that_is_never_closed_makes_the_file_unreadable_without_showing_it(
    reading: Any,
) -> None:
    body = b'a,b\n1,2\n"secret-thing,' + b"x" * (9 << 20)
    with pytest.raises(Unreadable, match="quote not closed") as caught:
        reading(body, CSV)
    assert "secret-thing" not in str(caught.value)


cells = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=12
) | st.sampled_from(["", '"', ",", "\n", '""', "a,b", " x "])


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.lists(cells, min_size=3, max_size=3), max_size=12),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    piece=st.integers(1, 40),
)
def test_what_python_writes_is_read_back(
    rows: list[list[str]], delimiter: str, piece: int, reading: Any
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["a", "b", "c"])
    writer.writerows(rows)
    seen = reading(text.getvalue().encode(), dialect(delimiter=delimiter), piece)
    assert [list(row.values()) for row in seen.rows] == rows
    assert seen.rejects == []


@settings(max_examples=200, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(['"', ",", "\n", "\r\n", "\\", "a", "b,", '","', '"\n"', ',"x"', "é"]),
        max_size=60,
    ).map("".join),
    quote=st.sampled_from(['"', ""]),
    escape=st.sampled_from(["", "\\"]),
    block=st.integers(1, 40),
)
def test_where_a_text_is_cut_changes_nothing(
    text: str, quote: str, escape: str, block: int, reading: Any
) -> None:
    parsing = dialect(quote=quote, escape=escape, header=False, columns=("a", "b"))
    whole = reading(text.encode(), parsing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuts, "BLOCK_BYTES", block)
        patch.setattr(delimited, "BLOCK_BYTES", 4 << 20)
        pieces = reading(text.encode(), parsing, 7)
    assert pieces.rows == whole.rows
    assert pieces.rejects == whole.rejects


@pytest.mark.parametrize("piece", [1, 3, 1_000])
@pytest.mark.parametrize("empty", ["\n", "\r\n\n\r\n"])
def test_a_text_begins_after_its_empty_lines(empty: str, piece: int, reading: Any) -> None:
    seen = reading(f"{empty}a,b\n1,2\n3\n".encode(), CSV, piece)
    assert seen.rows == [{"a": "1", "b": "2"}]
    assert [(one.line, one.record) for one in seen.rejects] == [(3 + empty.count("\n"), "3")]


def test_a_broken_row_is_told_by_the_line_in_which_it_begins(reading: Any) -> None:
    body = b'by hand\n# note\na,b\n\n1,"two\nlines"\n3\n# note\r\n5,"x\n# y"\r\n\xff,2\n7,8,9\n'
    seen = reading(body, dialect(skip_lines=1, comment="#"), 5)
    assert seen.rows == [{"a": "1", "b": "two\nlines"}, {"a": "5", "b": "x\n# y"}]
    assert sorted((one.line, one.reason) for one in seen.rejects) == [
        (7, "1 fields instead of 2"),
        (11, "text that is not in utf-8"),
        (12, "3 fields instead of 2"),
    ]


def test_a_row_that_is_no_text_and_has_other_fields_is_rejected_alone(reading: Any) -> None:
    seen = reading("n,é\n1,2\n".encode() + b"\xff,2,3\n4,\xc3\xa9\n", CSV)
    assert seen.rows == [{"n": "1", "é": "2"}, {"n": "4", "é": "é"}]
    (reject,) = seen.rejects
    assert (reject.line, reject.record) == (3, "\\xff,2,3")


def test_a_text_of_another_encoding_than_stated_is_told(reading: Any) -> None:
    with pytest.raises(Unreadable, match=r"state csv\.encoding"):
        reading("id,name\n1,ä\n".encode("utf-16-le"), CSV)


def test_a_header_may_hold_long_names(reading: Any) -> None:
    name = "x" * 200_000
    assert reading(f"a,{name}\n1,2\n".encode(), CSV).rows == [{"a": "1", name: "2"}]


def test_a_quote_within_an_unquoted_field_does_not_mislead_the_cuts(reading: Any) -> None:
    rows = [[str(number), '5" pipe' if number % 3 else 'a "b'] for number in range(400_000)]
    body = "n,what\n" + "".join(f"{number},{what}\n" for number, what in rows)
    seen = reading(body.encode(), CSV)
    assert len(body) > cuts.BLOCK_BYTES and len(seen.rows) == len(rows) and not seen.rejects
    assert seen.rows[-1] == {"n": "399999", "what": 'a "b'}


def test_a_file_that_ends_within_quotes_keeps_its_good_rows(reading: Any) -> None:
    seen = reading(b'a,b\n1,2\n3,"cut o', CSV)
    assert seen.rows == [{"a": "1", "b": "2"}]
    assert [(one.line, one.reason, one.record) for one in seen.rejects] == [
        (3, "a quote that is not closed", '3,"cut o')
    ]


@pytest.mark.parametrize("odd", ["0x10", "1e5x", "inf", "nan", "-01", "1,5"])
def test_what_only_arrow_takes_for_a_number_is_text(odd: str, reading: Any) -> None:
    seen = reading(f"n|m\n1|1.5\n{odd}|{odd}\n".encode(), dialect(delimiter="|"))
    assert seen.inference.types == {"n": "string", "m": "string"}


def test_types_are_told_from_text_and_what_only_looks_like_a_number_stays_text(
    reading: Any,
) -> None:
    body = (
        b"id,zip,amount,exact,day,at,zoned,yes,word,big\n"
        b"1,01234,1.5,12345678901234567.89,2026-01-02,2026-01-02 03:04:05,2026-01-02T03:04:05Z,true,x,1\n"
        b"2,99999,2e3,1.10,2026-02-28,2026-01-02T03:04,2026-01-02T03:04:05+02:00,FALSE,7,9007199254740993\n"
        b",,,,,,,,,\n"
    )
    assert reading(body, CSV).inference.types == {
        "id": "integer",
        "zip": "string",
        "amount": "number",
        "exact": "decimal(38,2)",
        "day": "date",
        "at": "timestamp",
        "zoned": "timestamptz",
        "yes": "boolean",
        "word": "string",
        "big": "integer",
    }


def test_a_day_that_does_not_exist_is_text(reading: Any) -> None:
    assert reading(b"d\n2026-02-30\n", CSV).inference.types == {"d": "string"}


def test_tabs_separate_a_tsv(reading: Any) -> None:
    assert reading(b"a\tb\n1\t2,3\n", Parsing("tsv")).rows == [{"a": "1", "b": "2,3"}]
