"""Formats, selectors, what is new, and jobs: against a real server."""

from __future__ import annotations

import gzip
import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from backports import zstd
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rest_rig import LOGICAL, SecretStore, read
from weir_contract.jsonpath import JsonPathError, compile_path
from weir_contract.rest import AsyncJob, Format, Incremental, Paginator, RequestLimits, RestApi
from weir_contract.rows import Field, RowContract
from weir_lambdas.api_ingestion.client import Answer
from weir_lambdas.api_ingestion.columnar import Shape
from weir_lambdas.api_ingestion.decode import decode
from weir_lambdas.common.errors import ConfigInvalid, SourceBadAnswer, SourceTooLarge
from weir_lambdas.landing.infer import Inference
from weir_lambdas.landing.records import parse

ROWS = [{"id": 1, "name": "Ä"}, {"id": 2, "name": None}]
XML = b"""<?xml version="1.0"?><shop at="x"><orders>
<order id="1"><line sku="a">2</line><line sku="b">3</line></order><order id="2"/></orders></shop>"""
FORMATS = [
    (Format(), None, json.dumps(ROWS).encode(), ROWS),
    (Format(), None, json.dumps(ROWS, indent=2).encode(), ROWS),
    (Format(), None, b"\xef\xbb\xbf" + json.dumps({"items": ROWS}).encode(), ROWS),
    (Format(), "a.b", json.dumps({"a": {"b": ROWS, "c": 1}}).encode("utf-16"), ROWS),
    (Format(), "a[*].b[*]", json.dumps({"a": [{"b": ROWS[:1]}, {"b": ROWS[1:]}]}).encode(), ROWS),
    (Format(), "data[?@.id > 1]", json.dumps({"data": ROWS}).encode(), ROWS[1:]),
    (Format(), "$..id", json.dumps(ROWS).encode(), [{"value": 1}, {"value": 2}]),
    (Format(), "data", b'{"data": null}', []),
    (Format(), None, b'{"id": 5}', [{"id": 5}]),
    (Format(), "data", b'{"data": {"id": 5}}', [{"id": 5}]),
    (Format("jsonLines"), None, b'{"id": 1}\r\n\n {"id": 2} ', [{"id": 1}, {"id": 2}]),
    (Format("jsonLines"), None, b"", []),
    (Format("csv"), None, b'id,name\r\n1,"a\nb"\r\n2,\r\n', [
        {"id": "1", "name": "a\nb"}, {"id": "2", "name": None},
    ]),
    (
        Format("csv", "latin-1", ";", False, ("x", "y")), None,
        "1;Ä\n".encode("latin-1"), [{"x": "1", "y": "Ä"}],
    ),
    (Format("csv", header=False), None, b"1,2\n", [{"column1": "1", "column2": "2"}]),
    (Format("xml"), "shop.orders.order", XML, [
        {"@id": "1", "line": [{"@sku": "a", "#text": "2"}, {"@sku": "b", "#text": "3"}]},
        {"@id": "2"},
    ]),
    (Format("xml"), None, XML, [
        {"@id": "1", "line": [{"@sku": "a", "#text": "2"}, {"@sku": "b", "#text": "3"}]},
        {"@id": "2"},
    ]),
]  # fmt: skip
PACKERS = [
    (None, bytes),
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("zstd", zstd.compress),
    ("file", gzip.compress),
    ("file", zstd.compress),
]


@pytest.mark.parametrize("packed", range(len(PACKERS)))
def test_every_format_is_read_however_it_is_packed(api: Any, clock: Any, packed: int) -> None:
    encoding, pack = PACKERS[packed]
    for fmt, selector, body, rows in FORMATS:
        if not body and encoding:
            continue
        headers = {"Content-Encoding": encoding} if encoding not in (None, "file") else {}
        sent = pack(body)
        api.answer = lambda call, http, answer=(200, headers, sent): answer
        source = RestApi(api.url, format=fmt, data_selector=selector)
        assert read(source, clock).rows == rows, (fmt, selector)


BROKEN = [
    (Format(), None, b"{", "no valid JSON"),
    (Format(), None, b"[1,2", "no valid JSON"),
    (Format(), None, b'{"a": "\xff"}', "no valid JSON"),
    (Format(), None, b'[{"a": {"b": NaN}}]', "no valid JSON"),
    (Format(), None, b"[" * 100_000, "no valid JSON"),
    (Format(), None, b'"text"', "neither a list nor an object"),
    (Format(), "a[*].b", b'{"c": 1}', "no 'a' there, it has the keys c"),
    (Format(), "a.b", b'{"a": {"c": 1}}', "no 'b' there"),
    (Format("jsonLines"), None, b'{"a": 1}\n1,2', "no valid JSON lines"),
    (Format("jsonLines"), None, b"[1\n2]", "no valid JSON lines"),
    (Format("csv"), None, b"a,b\n1\n", "record 1 has 1 fields, 2 were expected"),
    (Format("csv", "klingon"), None, b"a\n1\n", "unknown encoding"),
    (Format("xml"), None, b"<a><b></a>", "no valid XML"),
    (
        Format("xml"), None,
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "no valid XML: EntitiesForbidden",
    ),
    (Format(), None, gzip.compress(b"[]", mtime=0)[:10] + b"\xff" * 20, "damaged gzip"),
    (Format(), None, gzip.compress(b"[]" * 999, mtime=0)[:20], "ends too early"),
]  # fmt: skip


@pytest.mark.parametrize(("fmt", "selector", "body", "words"), BROKEN)
def test_what_is_broken_is_told_in_words(
    api: Any, clock: Any, fmt: Format, selector: str | None, body: bytes, words: str
) -> None:
    api.answer = lambda call, http: (200, {}, body)
    with pytest.raises(SourceBadAnswer, match=words):
        read(RestApi(api.url, format=fmt, data_selector=selector), clock)


def test_a_packed_answer_is_not_unpacked_beyond_the_limit(api: Any, clock: Any) -> None:
    text = b"[" + b" " * 5_000_000 + b"]"
    for body in (gzip.compress(text, mtime=0), zstd.compress(text)):
        api.answer = lambda call, http, sent=body: (200, {}, sent)
        with pytest.raises(SourceTooLarge, match="unpacked"):
            read(RestApi(api.url, limits=RequestLimits(max_response_bytes=1_000_000)), clock)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.fixed_dictionaries({"a": VALUES, "b": VALUES, "c": st.integers()}), max_size=12),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_records_are_cut_out_as_they_stand_and_typed_alike_either_way(
    rows: list[dict[str, Any]], indent: int | None, wrapped: bool
) -> None:
    body = json.dumps({"data": rows, "next": "x"} if wrapped else rows, indent=indent).encode()
    one_by_one = Inference(RowContract())
    for row in parse(json.dumps(rows).encode()):
        one_by_one.see(row)
    shape = Shape(Inference(RowContract()).look)
    # Nothing is known of the records at first, then their shape is.
    for known in (None, shape, shape):
        found = decode(Answer("u", {}, body), Format(), None, 10**9, known)
        inference, text = Inference(RowContract()), b""
        for chunk in found.chunks():
            inference.see_all(chunk.seen)
            text += chunk.block
            assert chunk.values("c") == [row["c"] for row in chunk.rows]
            assert [parse(line) for line in chunk.lines] == chunk.rows
        assert [parse(line) for line in text.splitlines()] == rows
        assert found.count == len(rows)
        assert found.lookup("next") == ("x" if wrapped else None)
        assert (inference.types, inference.fingerprint) == (
            one_by_one.types, one_by_one.fingerprint,
        )  # fmt: skip


MIXED = st.one_of(
    st.fixed_dictionaries({"a": st.integers(-9, 9), "t": st.text(max_size=4)}),
    st.fixed_dictionaries({"a": VALUES, "x y": VALUES}, optional={"n": VALUES, "": VALUES}),
    st.fixed_dictionaries(
        {"t": st.dates().map(str), "o": st.fixed_dictionaries({"p": VALUES, "q": st.integers()})}
    ),
)
CONTRACTS = [
    RowContract(),
    RowContract((Field("p", "o.p"), Field("t", "t"), Field("a", "a", "integer"))),
    RowContract((Field("x", "['x y']"), Field("n", "n[0]"))),
]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(MIXED, min_size=1, max_size=4), max_size=6), st.sampled_from(CONTRACTS))
def test_pages_of_changing_records_are_typed_as_if_each_were_looked_at(
    pages: list[list[dict[str, Any]]], contract: RowContract
) -> None:
    one_by_one, inference = Inference(contract), Inference(contract)
    shape = Shape(inference.look)
    for page in pages:
        for row in parse(json.dumps(page).encode()):
            one_by_one.see(row)
        found = decode(Answer("u", {}, json.dumps(page).encode()), Format(), None, 10**9, shape)
        for chunk in found.chunks():
            inference.see_all(chunk.seen)
            assert [parse(line) for line in chunk.lines] == page
    assert inference.types == one_by_one.types
    assert inference.fingerprint == one_by_one.fingerprint


WHOLE = st.sampled_from([0, 1, -9, 10, -99, 100, 2**53, -(2**53) - 1, 2**53 + 9, 2**63 - 1, 2**63])
MORE = {"t": st.sampled_from(["", "2026-02-01", "2026-02-30"]), "f": st.sampled_from([0.5, 10.25])}
ALIKE = WHOLE.flatmap(
    lambda n: st.lists(st.fixed_dictionaries({"n": st.just(n), **MORE}), min_size=1, max_size=9)
)
UNLIKE = st.lists(
    st.fixed_dictionaries({"n": WHOLE | st.sampled_from([None, 1.0, "1", True, [1], {}])}),
    max_size=9,
)
DATA = st.one_of(ALIKE, ALIKE, ALIKE, UNLIKE, st.sampled_from([None, {}, {"n": 1}, 7, [7]]))
ANSWERS = st.one_of(
    st.fixed_dictionaries({"data": ALIKE}),
    st.fixed_dictionaries({"data": ALIKE, "next": st.none() | st.integers()}),
    st.fixed_dictionaries({"next": st.just("x")}, optional={"data": DATA, "more": DATA}),
    DATA,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ANSWERS, max_size=8), st.sampled_from([None, 1]))
@example([{"data": [{"n": 9}]}, {"data": [{"n": 10}]}], None)
@example([{"data": [{"n": 2**53}]}, {"data": [{"n": 2**53 + 1}]}, {"data": [{"n": 1.0}]}], None)
@example([{"data": [{"n": 1}]}, {"data": [{"n": None}]}, {"data": [{"n": 2**63}]}], None)
@example([{"data": [{"n": 1}]}, {"data": [{"n": 2}], "more": [{"n": 3}]}], None)
def test_what_was_learned_of_a_source_changes_nothing_of_what_its_next_answers_give(
    answers: list[Any], indent: int | None
) -> None:
    careful, learned = Inference(RowContract()), Inference(RowContract())
    shape = Shape(Inference(RowContract()).look)

    def read(body: bytes, known: Shape | None, inference: Inference) -> Any:
        try:
            found = decode(Answer("u", {}, body), Format(), "data", 10**9, known)
            chunks = list(found.chunks())
            for chunk in chunks:
                inference.see_all(chunk.seen)
            values = [chunk.values("n") for chunk in chunks]
            beside = [
                found.lookup(path) for path in ("next", "more[0].n", "data", "data.n", "none")
            ]
            return found.count, [chunk.block for chunk in chunks], values, beside
        except SourceBadAnswer as error:
            return error.what

    for answer in answers:
        body = json.dumps(answer, indent=indent).encode()
        assert read(body, shape, learned) == read(body, None, careful)
    assert (learned.types, learned.fingerprint) == (careful.types, careful.fingerprint)
    seen = {key: column for key, column in careful.unstated.items() if column.type != "string"}
    assert {key: learned.unstated[key] for key in seen} == seen


DOCUMENT = {"a": [{"id": 1, "t": "x"}, {"id": 2, "t": "y", "n": None}, {"id": 3}], "k.l": [7]}
PATHS = [
    ("$.a[*].id", [1, 2, 3]), ("a[0].id", [1]), ("a[-1].id", [3]), ("a[1:].id", [2, 3]),
    ("a[::2].id", [1, 3]), ("a[0,2].id", [1, 3]), ("$['k.l'][0]", [7]), ("$..id", [1, 2, 3]),
    ("a[?@.t].id", [1, 2]), ("a[?!@.t].id", [3]), ("a[?@.t == 'y' || @.id >= 3].id", [2, 3]),
    ("a[?(@.id > 1 && @.id < 3)].t", ["y"]), ("a[?@.n == null].id", [2]),
    ("a[?match(@.t, '[xy]')].id", [1, 2]), ("a[?length(@.t) == 1].id", [1, 2]),
    ("a[?count(@.*) == 1].id", [3]), ("a[?@.id == $.a[1].id].t", ["y"]), ("missing", []),
]  # fmt: skip


@pytest.mark.parametrize(("path", "found"), PATHS)
def test_a_json_path_finds_what_rfc_9535_says(path: str, found: list[Any]) -> None:
    assert compile_path(path).find(DOCUMENT) == found


@pytest.mark.parametrize(
    "path", ["a[", "a..", "a[?]", "a b", "a[1.5]", "a['x]", "a[?@.x ==]", "a[?f(@)]"]
)
def test_a_json_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(JsonPathError):
        compile_path(path)


def changes_server(changes: list[dict[str, Any]]) -> Any:
    """Gives what changed at or after ``since`` and before ``until``, both included."""

    def answer(call: Any, http: Any) -> Any:
        since, until = call.query.get("since", ""), call.query.get("until", "9")
        rows = [row for row in changes if since <= row["at"] <= until]
        return 200, {}, json.dumps(rows).encode()

    return answer


def test_a_record_at_the_boundary_lands_once_and_a_changed_one_again(api: Any, clock: Any) -> None:
    changes = [{"id": n, "at": f"2026-01-0{n}T00:00:00Z"} for n in (1, 2, 3)]
    changes.append({"id": 4, "at": "2026-01-03T00:00:00Z"})
    api.answer = changes_server(changes)
    source = RestApi(api.url, incremental=Incremental("at", "since", initial_value="2026"))
    first = read(source, clock)
    assert [row["id"] for row in first.rows] == [1, 2, 3, 4]
    changes.append({"id": 5, "at": "2026-01-03T00:00:00Z"})
    changes[2]["note"] = "changed"
    second = read(source, clock, after=first)
    assert [row["id"] for row in second.rows] == [3, 5]
    assert api.calls[-1].query["since"] == "2026-01-03T00:00:00Z"
    assert read(source, clock, after=second).rows == []


def test_a_lag_finds_what_appeared_late_and_drops_what_came(api: Any, clock: Any) -> None:
    changes = [{"id": 1, "at": "2026-01-01T10:00:00Z"}, {"id": 2, "at": "2026-01-01T12:00:00Z"}]
    api.answer = changes_server(changes)
    source = RestApi(api.url, incremental=Incremental("at", "since", lag_seconds=3 * 3600))
    first = read(source, clock)
    changes.append({"id": 3, "at": "2026-01-01T11:00:00Z"})
    second = read(source, clock, after=first)
    assert api.calls[-1].query["since"] == "2026-01-01T09:00:00Z"
    assert [row["id"] for row in second.rows] == [3]
    assert second.cursor == "2026-01-01T12:00:00Z"


def test_a_number_is_lagged_as_a_number(api: Any, clock: Any) -> None:
    api.answer = lambda call, http: (200, {}, b'[{"n": 9}, {"n": 100}]')
    source = RestApi(api.url, incremental=Incremental("n", "after", lag=20))
    read(source, clock, after=read(source, clock))
    assert api.calls[-1].query["after"] == "80"
    moments = RestApi(api.url, incremental=Incremental("n", "after", lag=20))
    api.answer = lambda call, http: (200, {}, b'[{"n": "soon"}]')
    with pytest.raises(ConfigInvalid, match="no number"):
        read(moments, clock)


@pytest.mark.parametrize("cut", [None, 1, 3])
def test_windows_reach_the_runs_logical_time_and_the_next_run_goes_on_there(
    api: Any, clock: Any, cut: int | None
) -> None:
    changes = [{"id": n, "at": f"2026-02-{n:02}"} for n in range(1, 29)]
    api.answer = changes_server(changes)
    spec = Incremental("at", "since", "until", "2026-02-01", step_seconds=7 * 86_400, format="date")
    source = RestApi(api.url, incremental=spec, limits=RequestLimits(concurrency=1))
    until = datetime(2026, 2, 25, tzinfo=UTC)
    found: list[dict[str, Any]] = []
    last = None
    while last is None or last.position is not None:
        pages = iter(range(cut)) if cut else None
        stop = (lambda p=pages: next(p, None) is None) if pages else (lambda: False)
        last = read(source, clock, after=last, logical=until, enough=stop)
        found += last.rows
    assert [row["id"] for row in found] == list(range(1, 26))
    asked = [(call.query["since"], call.query["until"]) for call in api.calls]
    assert asked == [
        ("2026-02-01", "2026-02-08"),
        ("2026-02-08", "2026-02-15"),
        ("2026-02-15", "2026-02-22"),
        ("2026-02-22", "2026-02-25"),
    ]
    again = read(source, clock, after=last, logical=until + timedelta(days=2))
    assert api.calls[-1].query == {"since": "2026-02-25", "until": "2026-02-27"}
    assert [row["id"] for row in again.rows] == [26, 27]


@pytest.mark.parametrize(
    ("written", "value", "since"),
    [
        ("iso", "2026-03-01T10:00:00+02:00", "2026-03-01T08:00:00+01:00"),
        ("date", "2026-03-01", "2026-02-28"),
        ("epochSeconds", "1772355600", "1772352000"),
        ("epochMillis", "1772355600000", "1772352000000"),
        ("%Y-%m-%d %H:%M", "2026-03-01 10:00", "2026-03-01 09:00"),
    ],
)
def test_moments_are_written_as_the_source_wants_them_in_its_zone(
    api: Any, clock: Any, written: str, value: str, since: str
) -> None:
    api.answer = lambda call, http: (200, {}, json.dumps([{"at": value}]).encode())
    spec = Incremental("at", "since", lag_seconds=3600, format=written, timezone="Europe/Berlin")
    source = RestApi(api.url, incremental=spec)
    read(source, clock, after=read(source, clock))
    assert api.calls[-1].query["since"] == since


def test_placeholders_put_the_start_into_a_body(api: Any, clock: Any) -> None:
    api.answer = lambda call, http: (200, {}, b"[]")
    source = RestApi(
        api.url,
        method="POST",
        body={"range": {"from": "{incremental.startValue}"}, "key": "${SECRET:key}"},
        incremental=Incremental("at", initial_value="2026-01-01"),
    )
    read(source, clock, SecretStore({"key": "s3cr3t"}))
    assert json.loads(api.calls[0].body) == {"range": {"from": "2026-01-01"}, "key": "s3cr3t"}


def jobs_server(api: Any, states: list[str]) -> None:
    def answer(call: Any, http: Any) -> Any:
        if call.method == "POST":
            return 202, {"Location": f"{api.url}/jobs/7"}, b'{"id": 7}'
        if call.path == "/jobs/7":
            state = states.pop(0)
            body = {"state": state, "url": f"{api.url}/results/7?signature=abc"}
            return 200, {}, json.dumps(body).encode()
        return 200, {}, b'{"id":1}\n{"id":2}\n'

    api.answer = answer


def job(api: Any, **more: Any) -> RestApi:
    spec = AsyncJob(
        f"{api.url}/jobs/{{job.id}}", "state", ("done",), "{job.url}", ("failed",), **more
    )
    return RestApi(
        f"{api.url}/jobs",
        method="POST",
        body={"kind": "orders"},
        async_job=spec,
        format=Format("jsonLines"),
    )


def test_a_job_is_created_waited_for_and_read(api: Any, clock: Any) -> None:
    jobs_server(api, ["queued", "running", "done"])
    assert read(job(api), clock).rows == [{"id": 1}, {"id": 2}]
    assert clock.slept == [10, 10]
    assert api.calls[-1].query == {"signature": "abc"}


def test_a_job_that_takes_longer_than_the_function_is_not_created_again(
    api: Any, clock: Any
) -> None:
    jobs_server(api, ["running", "done"])
    first = read(job(api), clock, enough=lambda: True)
    assert first.rows == []
    assert read(job(api), clock, after=first).rows == [{"id": 1}, {"id": 2}]
    assert [call.method for call in api.calls].count("POST") == 1


@pytest.mark.parametrize(
    ("states", "more", "words"),
    [
        (["running", "failed"], {}, "ended as 'failed'"),
        (["running"] * 9, {"timeout_seconds": 30}, "'running' still after 30 s"),
    ],
)
def test_a_job_that_fails_is_told(
    api: Any, clock: Any, states: list[str], more: dict[str, Any], words: str
) -> None:
    jobs_server(api, list(states))
    with pytest.raises(SourceBadAnswer, match=words):
        read(job(api, **more), clock)


AUTO = [
    ({"next_cursor": "2"}, {}, "cursor", "2"),
    ({"nextPageToken": "t2"}, {}, "pageToken", "t2"),
    ({"meta": {"page": 1, "total_pages": 2}}, {}, "page", "2"),
    ({"links": {"next": "/rows?after=2"}}, {}, "after", "2"),
    ({}, {"Link": "</rows?p=2>; rel=next"}, "p", "2"),
]


@pytest.mark.parametrize(("body", "headers", "param", "value"), AUTO)
def test_the_paginator_is_told_from_the_first_answer(
    api: Any, clock: Any, body: dict[str, Any], headers: dict[str, str], param: str, value: str
) -> None:
    def answer(call: Any, http: Any) -> Any:
        if len(api.calls) == 1:
            return 200, headers, json.dumps({"data": [{"n": 1}]} | body).encode()
        return 200, {}, b'{"data": [{"n": 2}], "meta": {"page": 2, "total_pages": 2}}'

    api.answer = answer
    source = RestApi(f"{api.url}/rows", paginator=Paginator("auto"))
    cut = read(source, clock, enough=lambda: True)
    assert len(cut.rows + read(source, clock, after=cut).rows) == 2
    assert [call.query.get(param) for call in api.calls] == [None, value]


def test_the_logical_time_is_the_end_where_one_is_asked_for(api: Any, clock: Any) -> None:
    api.answer = lambda call, http: (200, {}, b"[]")
    read(RestApi(api.url, incremental=Incremental("at", "since", "until")), clock)
    assert api.calls[0].query == {"until": LOGICAL.isoformat().replace("+00:00", "Z")}
