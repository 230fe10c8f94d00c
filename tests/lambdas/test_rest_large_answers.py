"""Answers too large for memory: the same records, in bounded memory, from a file that is bounded."""

from __future__ import annotations

import gzip
import io
import json
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rest_rig import read
from weir_contract.rest import Format, Paginator, RequestLimits, ResponseAction, RestApi
from weir_contract.rows import RowContract
from weir_lambdas.api_ingestion import client as client_module
from weir_lambdas.api_ingestion import decode as decode_module
from weir_lambdas.api_ingestion.client import Answer
from weir_lambdas.api_ingestion.columnar import Shape
from weir_lambdas.api_ingestion.decode import decode
from weir_lambdas.api_ingestion.records import Records
from weir_lambdas.api_ingestion.spool import GZIP, ZSTD, Spool, Spooled, unpacking
from weir_lambdas.common.errors import SourceBadAnswer, SourceTooLarge
from weir_lambdas.landing import pieces as pieces_module
from weir_lambdas.landing.infer import Inference
from weir_lambdas.landing.pieces import Pieces, records_of
from weir_lambdas.landing.records import parse


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of more than a kilobyte are large, and read 100 bytes at a time."""
    monkeypatch.setattr(client_module, "MEMORY_BYTES", 1000)
    monkeypatch.setattr(decode_module, "MEMORY_BYTES", 1000)
    monkeypatch.setattr(pieces_module, "WINDOW_BYTES", 100)
    monkeypatch.setattr("weir_lambdas.api_ingestion.streamed.WINDOW_BYTES", 100)


def spooled(body: bytes) -> Spooled:
    return Spool(10**9).write(iter([body[i : i + 1000] for i in range(0, len(body), 1000)]), "here")


def told(found: Records, contract: RowContract = RowContract()) -> Any:  # noqa: B008
    """The records of an answer, their types, and what is beside them."""
    inference, rows = Inference(contract), list[Any]()
    for chunk in found.chunks():
        inference.see_all(chunk.seen)
        rows += [parse(line) for line in chunk.block.splitlines()]
        assert [parse(line) for line in chunk.lines] == chunk.rows
    assert len(rows) == found.count
    return rows, inference.types, inference.fingerprint, found.lookup("next"), found.lookup("a.b")


def either(body: bytes, fmt: Format, selector: str | None) -> tuple[Any, Any]:
    """What an answer is, held whole and read piece by piece."""
    found = []
    for sent in (body, spooled(body)):
        shape = Shape(Inference(RowContract()).look)
        found.append(told(decode(Answer("u", {}, sent), fmt, selector, 10**9, shape)))
    return found[0], found[1]


ROWS = [
    {"id": n, "name": f"Ä {n}", "lines": [{"id": n, "q": '}],[{"id":'}], "at": "2026-01-02"}
    for n in range(60)
]
LARGE: list[tuple[Format, str | None, bytes]] = [
    (Format(), None, json.dumps(ROWS).encode()),
    (Format(), None, json.dumps(ROWS, indent=1, ensure_ascii=False).encode()),
    (Format(), None, b"\xef\xbb\xbf" + json.dumps({"items": ROWS, "next": "x"}).encode()),
    (Format(), None, json.dumps({"next": 7, "value": ROWS, "data": ROWS[:9]}).encode()),
    (Format(), "a.rows", json.dumps({"z": ROWS, "a": {"rows": ROWS, "b": [1]}, "next": 1}).encode()),
    (Format(), "data[*]", json.dumps({"data": [*range(900)], "next": "x"}).encode()),
    (Format(), "data", json.dumps({"data": ROWS[0], "other": ROWS, "next": "x"}).encode()),
    (Format(), "data", json.dumps({"data": None, "other": ROWS}).encode()),
    (Format(), "data[?@.id > 50]", json.dumps({"data": ROWS, "next": "y"}).encode()),
    (Format(), "data[*].lines[*]", json.dumps({"data": ROWS}).encode()),
    (Format(), "data[*].rows", json.dumps({"pad": "x" * 2000, "data": [{"rows": ROWS}]}).encode()),
    (Format(), "data[0].rows", json.dumps({"data": [{"rows": ROWS}]}).encode()),
    (Format(), "$..q", json.dumps({"data": ROWS}).encode()),
    (Format(), "data[?@.id == $.next]", json.dumps({"data": ROWS, "next": 5}).encode()),
    (Format(), None, json.dumps({"one": {"record": ROWS}}).encode()),
    (Format(), None, json.dumps(ROWS).encode("utf-16")),
    (Format(), None, b'[{"id": 0.1234567890123456789, "s": "\\ud800"}%b]' % (b',{"id":1}' * 200)),
    (Format("jsonLines"), None, "\r\n".join(json.dumps(row) for row in ROWS).encode()),
    (Format("csv"), None, b"id,name\n" + b'1,"a\nb, c"\n2,\n' * 300),
    (Format("csv", "latin-1", ";", False), None, "1;Ä\n".encode("latin-1") * 400),
    (Format("xml"), "shop.orders.order", b"<shop><orders>%b</orders><next>7</next></shop>" % (
        b'<order id="1"><line>2</line>x<line/></order>' * 90)),
    (Format("xml"), None, b'<shop a="b"><o><order id="1">7</order>%b</o></shop>' % (
        b"<order>8</order>" * 90)),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(LARGE)))
def test_a_large_answer_gives_the_records_of_a_small_one(case: int, small_memory: None) -> None:
    whole, in_pieces = either(LARGE[case][2], LARGE[case][0], LARGE[case][1])
    assert whole == in_pieces
    assert whole[0] or LARGE[case][2].startswith(b'{"data": null')


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
@given(st.lists(VALUES, max_size=40), VALUES, st.sampled_from([None, 2]), st.integers(2, 60))
def test_any_list_is_read_in_pieces_of_any_size(
    values: list[Any], beside: Any, indent: int | None, window: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "WINDOW_BYTES", window)
        text = json.dumps({"before": beside, "rows": values, "after": beside}, indent=indent)
        pieces, found = Pieces(io.BytesIO(text.encode())), {}
        for key in pieces.members():
            if key == "rows":
                rows = [parse(bytes(raw)) for one in pieces.elements() for raw in records_of(one)]
            else:
                found[key] = parse(pieces.value()) if key == "before" else pieces.skip()
        pieces.end()
    assert rows == parse(json.dumps(values).encode())
    assert found["before"] == parse(json.dumps(beside).encode())
    assert found["after"] is None or parse(found["after"]) == found["before"]


BROKEN = [
    (Format(), "data", b'{"data": [%b' % (b'{"a": 1},' * 300), "no valid JSON"),
    (Format(), "data", b'{"data": [%b{"a": tru}]}' % (b'{"a": 1},' * 300), "no valid JSON"),
    (Format(), None, b'[%b{"a": "\xff"}]' % (b'{"a": 1},' * 300), "no valid JSON"),
    (Format(), None, b"[%b1] 2" % (b"1," * 900), "something follows"),
    (Format(), "b", b'{"data": [%b1]}' % (b"1," * 900), "no 'b' there, it has the keys data"),
    (Format(), None, b'"%b"' % (b"x" * 2000), "neither a list nor an object"),
    (Format(), "data", b'{"data": [%b1], "data": [2]}' % (b"1," * 900), "'data' twice"),
    (Format("jsonLines"), None, b'{"a": 1}\n' * 300 + b"1,2", "no valid JSON lines"),
    (Format("csv"), None, b"a,b\n" + b"1,2\n" * 400 + b"1\n", "record 401 has 1 fields"),
    (Format("xml"), "a.b", b"<a>" + b"<b/>" * 500, "no valid XML"),
    (
        Format("xml"), "a.b", b'<!DOCTYPE a [<!ENTITY b "c">]><a>%b&b;</a>' % (b"<b/>" * 500),
        "EntitiesForbidden",
    ),
    (Format(), None, b"<html>" + b"x" * 2000, "a page of HTML"),
]  # fmt: skip


@pytest.mark.parametrize(("fmt", "selector", "body", "words"), BROKEN)
def test_what_is_broken_in_a_large_answer_is_told_before_any_record(
    fmt: Format, selector: str | None, body: bytes, words: str, small_memory: None
) -> None:
    with pytest.raises(SourceBadAnswer, match=words):
        decode(Answer("u", {}, spooled(body)), fmt, selector, 10**9)


def test_large_pages_are_landed_from_a_file_whose_space_is_free_again(
    api: Any, clock: Any, small_memory: None
) -> None:
    rows = [[{**row, "page": n} for row in ROWS] for n in range(4)]
    pages = [json.dumps({"data": rows[n], "next": n + 1 if n < 3 else None}) for n in range(4)]
    bodies = [page.encode() for page in pages]
    bodies[1], bodies[2] = gzip.compress(bodies[1]), zstd.compress(bodies[2])
    api.answer = lambda call, http: (200, {}, bodies[int(call.query.get("cursor", 0))])
    source = RestApi(
        api.url,
        data_selector="data",
        paginator=Paginator("cursor", cursor_path="next"),
        response_actions=(ResponseAction("ignore", "200", "no such text"),),
    )
    assert read(source, clock).rows == [row for page in rows for row in page]
    spool = Spool(10**6)
    one = spool.write(iter([bodies[0], b"x" * 99]), "here")
    assert spool.taken > 0 and len(one) == len(bodies[0]) + 99
    assert one.contains(b"xxx") and one.contains(bodies[0][-9:] + b"x") and not one.contains(b"xy")
    del one
    assert spool.taken == 0


def test_an_answer_that_does_not_fit_is_told_and_gives_its_space_back() -> None:
    spool = Spool(5000)
    waiting = spool.write(iter([b"a"]), "here")
    with pytest.raises(SourceTooLarge, match=r"does not fit into the function.* 20000 bytes of"):
        spool.write(iter([random.Random(1).randbytes(20_000)]), "here")
    assert len(waiting) == 1 and 0 < spool.taken < 100


def test_what_can_only_be_told_from_the_whole_is_bounded(
    small_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_module, "MAX_WHOLE_BYTES", 1500)
    body = json.dumps({"data": ROWS}).encode()
    with pytest.raises(SourceTooLarge, match=r"'\$\.\.q' looks at the answer as a whole"):
        decode(Answer("u", {}, spooled(body)), Format(), "$..q", 10**9)
    monkeypatch.setattr(pieces_module, "MAX_VALUE_BYTES", 1500)
    huge = json.dumps([{"a": "x" * 9000}]).encode()
    with pytest.raises(SourceTooLarge, match="one value of more than 1500 bytes"):
        decode(Answer("u", {}, spooled(huge)), Format(), None, 10**9)


@pytest.mark.parametrize(("magic", "pack"), [(GZIP, gzip.compress), (ZSTD, zstd.compress)])
def test_every_member_of_a_packed_file_is_read(magic: bytes, pack: Any) -> None:
    text = b"".join(b"%d\n" % n for n in range(200_000))
    packed = pack(text) + pack(b"more\n")
    assert unpacking(io.BytesIO(packed), magic, None, "here").read() == text + b"more\n"
    with pytest.raises(SourceTooLarge, match="more than 1000 bytes unpacked"):
        unpacking(io.BytesIO(packed), magic, 1000, "here").read()
    for broken, words in (
        (packed[:5000], "ends too early"),
        (packed[:20] + packed[40:], "damaged"),
    ):
        with pytest.raises(SourceBadAnswer, match=words):
            unpacking(io.BytesIO(broken), magic, None, "here").read()


def rows_of(count: int) -> Iterator[bytes]:
    """A JSON document with so many records."""
    one = b'{"id":%d,"name":"customer","at":"2026-01-01T00:00:00Z","lines":[{"id":1,"q":2.5}]}'
    yield b'{"data":['
    for start in range(0, count, 5_000):
        numbers = range(start, min(start + 5_000, count))
        yield (b"," if start else b"") + b",".join([one % number for number in numbers])
    yield b'],"next":"x"}'


def test_memory_does_not_grow_with_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "WINDOW_BYTES", 200_000)
    peaks = []
    for count in (20_000, 80_000):
        body = Spool().write(rows_of(count), "here")
        shape = Shape(Inference(RowContract()).look)
        tracemalloc.start()
        found = decode(Answer("u", {}, body), Format(), "data", 10**9, shape)
        assert found.lookup("next") == "x" and found.count == count
        assert sum(len(chunk.raws) for chunk in found.chunks()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < len(body)


def test_the_limit_holds_for_what_is_spooled(api: Any, clock: Any, small_memory: None) -> None:
    api.answer = lambda call, http: (200, {}, json.dumps(ROWS).encode() * 9)
    with pytest.raises(SourceTooLarge, match="5000"):
        read(RestApi(api.url, limits=RequestLimits(max_response_bytes=5000)), clock)
