"""APIs that are odd, and legal: nothing is lost, nothing comes twice, and what is wrong is told."""

from __future__ import annotations

import gzip
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rest_rig import LOGICAL, Read, SecretStore, read
from weir_contract.rest import (
    AsyncJob,
    Auth,
    BearerAuth,
    Format,
    Incremental,
    Paginator,
    Parent,
    RequestLimits,
    RestApi,
)
from weir_lambdas.api_ingestion import incremental
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.errors import ConfigInvalid, SourceBadAnswer, SourceUnavailable
from weir_lambdas.landing.batch import PlaceForgotten

ROWS = [{"id": number} for number in range(5)]


def as_json(value: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(value).encode()


def ids(found: Read) -> list[Any]:
    return [row.get("id", row) for row in found.rows]


# -- pages -----------------------------------------------------------------------------------


def test_each_of_several_link_headers_is_read(api: Any, clock: Any) -> None:
    def answer(call: Any, http: Any) -> Any:
        if call.query:
            return as_json(ROWS[2:])
        http.send_response(200)
        http.send_header("Link", '</?page=2>; rel="next"')
        http.send_header("Link", '</?page=9>; rel="last"')
        body = json.dumps(ROWS[:2]).encode()
        http.send_header("Content-Length", str(len(body)))
        http.end_headers()
        http.wfile.write(body)
        return None

    api.answer = answer
    assert read(RestApi(api.url, paginator=Paginator("link")), clock).rows == ROWS


@pytest.mark.parametrize(
    ("selector", "path", "wrap"),
    [("data", "data[-1].id", True), (None, "$[-1].id", False), (None, "data[-1].id", True)],
)
@pytest.mark.parametrize("large", [False, True])
def test_a_cursor_may_be_a_value_of_the_last_record(
    api: Any, clock: Any, monkeypatch: Any, selector: Any, path: str, wrap: bool, large: bool
) -> None:
    if large:
        monkeypatch.setattr("weir_lambdas.api_ingestion.decode.MEMORY_BYTES", 1000)

    def answer(call: Any, http: Any) -> Any:
        found = [row for row in ROWS if row["id"] > int(call.query.get("after", -1))][:2]
        body = json.dumps({"data": found} if wrap else found).encode()
        return 200, {}, gzip.compress(body + b" " * 2000) if large else body

    api.answer = answer
    paginator = Paginator("cursor", cursor_path=path, cursor_param="after")
    source = RestApi(api.url, data_selector=selector, paginator=paginator)
    assert read(source, clock).rows == ROWS


@pytest.mark.parametrize("key", [7, {"pk": "a", "n": 1.5}, ["2026-01-01", 4], "text"])
def test_a_body_takes_a_cursor_as_it_came(api: Any, clock: Any, key: Any) -> None:
    def answer(call: Any, http: Any) -> Any:
        sent = json.loads(call.body).get("key")
        assert sent in (None, key)
        return as_json(
            {"items": ROWS[:1] if sent is None else ROWS[1:], "last": None if sent else key}
        )

    api.answer = answer
    paginator = Paginator("cursor", cursor_path="last", cursor_body_path="key")
    assert read(RestApi(api.url, method="POST", paginator=paginator), clock).rows == ROWS


def test_a_cursor_of_nought_is_the_end(api: Any, clock: Any) -> None:
    api.answer = lambda call, http: as_json(
        {"items": ROWS[2:], "next": 0} if call.query else {"items": ROWS[:2], "next": 7}
    )
    paginator = Paginator("cursor", cursor_path="next")
    assert read(RestApi(api.url, paginator=paginator), clock).rows == ROWS


SILENT = [
    (Paginator("cursor", cursor_path="next"), {"next": {"id": 1}}, "leads to an object, which no"),
    (Paginator("link", next_path="next"), {"next": {"href": "/2"}}, "leads to an object, not to a URL"),
    (Paginator("offset", has_more_path="hasMore"), {"has_more": True}, "leads to nothing, so that"),
    (Paginator("pageNumber", has_more_path="more"), {}, "leads to nothing, so that nobody knows"),
]  # fmt: skip


@pytest.mark.parametrize(("paginator", "beside", "words"), SILENT)
def test_a_paginator_that_points_beside_the_mark_does_not_end_in_silence(
    api: Any, clock: Any, paginator: Paginator, beside: dict[str, Any], words: str
) -> None:
    api.answer = lambda call, http: as_json({"items": ROWS, **beside})
    with pytest.raises(SourceBadAnswer, match=words):
        read(RestApi(api.url, paginator=paginator), clock)


@pytest.mark.parametrize("kind", ["csv", "jsonLines"])
def test_rows_without_a_document_have_no_cursor_in_it(api: Any, clock: Any, kind: Any) -> None:
    paginator = Paginator("cursor", cursor_path="next")
    with pytest.raises(ConfigInvalid, match="has rows and nothing around them"):
        read(RestApi(api.url, format=Format(kind), paginator=paginator), clock)


@pytest.mark.parametrize(
    "paginator",
    [
        Paginator("offset", total_path="total"),
        Paginator("pageNumber", base_page=0, page_param="offset", has_more_path="more"),
    ],
)
@pytest.mark.parametrize("last", [(204, {}, b""), (200, {}, b"null"), as_json({"items": None})])
def test_an_empty_last_page_may_say_so_in_any_way(
    api: Any, clock: Any, paginator: Paginator, last: Any
) -> None:
    def answer(call: Any, http: Any) -> Any:
        number = int(call.query["offset"])
        page = {"items": ROWS[number : number + 1], "total": 99, "more": True}
        return as_json(page) if number < 5 else last

    api.answer = answer
    assert read(RestApi(api.url, paginator=paginator), clock).rows == ROWS


# -- what is new -----------------------------------------------------------------------------

FIRST = datetime(2026, 2, 1, tzinfo=UTC)


def moments(days: int, per_day: int = 4) -> list[dict[str, Any]]:
    return [
        {"id": n, "at": f"{FIRST + timedelta(days=n / per_day):%Y-%m-%dT%H:%M:%SZ}"}
        for n in range(days * per_day)
    ]


@pytest.mark.parametrize("hours", [7 * 24, 24, 36, 6, 1])
def test_days_asked_for_from_and_to_give_each_record_once(api: Any, clock: Any, hours: int) -> None:
    rows = moments(28)
    api.answer = lambda call, http: as_json(
        [row for row in rows if call.query["from"] <= row["at"][:10] <= call.query["to"]]
    )
    spec = Incremental("at", "from", "to", "2026-02-01", step_seconds=hours * 3600, format="date")
    source = RestApi(api.url, incremental=spec)
    first = read(source, clock)
    assert ids(first) == ids(Read(rows, None, None, {}))
    assert read(source, clock, after=first, logical=LOGICAL + timedelta(days=1)).rows == []


SINCE = [
    ("date", "2026-02-01", "2026-02-07"),
    ("epochSeconds", "1769904000", str(int((FIRST + timedelta(days=6.75)).timestamp()))),
    ("epochMillis", "2026-02-01", f"{int((FIRST + timedelta(days=6.75)).timestamp())}000"),
    ("%d/%m/%Y", "01/02/2026", "07/02/2026"),
]


@pytest.mark.parametrize(("written", "initial", "then"), SINCE)
def test_a_source_is_asked_as_it_wants_moments_however_its_records_write_them(
    api: Any, clock: Any, written: str, initial: str, then: str
) -> None:
    asked: list[str] = []

    def answer(call: Any, http: Any) -> Any:
        asked.append(call.query["since"])
        return as_json(moments(7) if len(asked) == 1 else moments(7)[-1:])

    api.answer = answer
    source = RestApi(
        api.url, incremental=Incremental("at", "since", initial_value=initial, format=written)
    )
    first = read(source, clock)
    again = read(source, clock, after=first)
    assert (len(first.rows), again.rows, asked[1]) == (28, [], then)
    assert re.fullmatch(r"\d+|01/02/2026|2026-02-01", asked[0])


WRITTEN = [
    ["2026-02-01T10:00:00Z", "2026-02-01T10:00:00.500Z", "2026-02-01T10:00:00.52Z"],
    ["2026-02-01T10:00:00+02:00", "2026-02-01T08:30:00Z", "2026-02-01T04:00:00-05:00"],
    ["2026-02-01", "2026-02-01T00:00:00.1Z", "2026-02-01 03:00:00+02:00"],
    ["2026-02-01T10:00:00.123456788Z", "2026-02-01T10:00:00.123456789Z"],
    ["9", "10", "100"],
    [9, "10", 11.5],
    ["31.01.2026", "01.02.2026", "01.03.2026"],
]


@pytest.mark.parametrize("values", WRITTEN)
@pytest.mark.parametrize("turned", [1, -1])
def test_the_cursor_is_the_latest_however_moments_are_written(
    api: Any, clock: Any, values: list[Any], turned: int
) -> None:
    rows = [{"id": number, "at": value} for number, value in enumerate(values)][::turned]
    api.answer = lambda call, http: as_json(rows)
    written = "%d.%m.%Y" if str(values[0]).startswith("31.") else "iso"
    source = RestApi(api.url, incremental=Incremental("at", format=written))
    first = read(source, clock)
    assert (len(first.rows), first.cursor) == (len(rows), str(values[-1]))
    assert read(source, clock, after=first).rows == []


def test_a_word_among_moments_is_no_cursor(api: Any, clock: Any) -> None:
    rows = [{"at": "pending"}, {"at": "2026-02-01"}, {"at": ""}, {"at": True}, {"at": 7}]
    api.answer = lambda call, http: as_json(rows)
    source = RestApi(api.url, incremental=Incremental("at", "since"))
    first = read(source, clock)
    assert (len(first.rows), first.cursor) == (5, "2026-02-01")
    assert read(source, clock, after=first).rows == []


def test_records_below_the_start_of_a_source_that_is_not_told_of_it_come_once(
    api: Any, clock: Any
) -> None:
    rows = moments(3)
    api.answer = lambda call, http: as_json(rows)
    source = RestApi(api.url, incremental=Incremental("at", lag_seconds=86_400))
    first = read(source, clock)
    late = {"id": "late", "at": "2026-02-03T01:00:00Z"}
    rows.append(late)
    second = read(source, clock, after=first)
    assert (len(first.rows), second.rows) == (12, [late])
    assert read(source, clock, after=second).rows == []


def test_what_a_source_gives_that_is_told_where_to_begin_lands_whatever_its_cursor_says(
    api: Any, clock: Any
) -> None:
    rows = [{"id": 1, "at": "2026-02-01"}, {"id": 2, "at": "2026-02-05"}]
    api.answer = lambda call, http: as_json(rows)
    source = RestApi(api.url, incremental=Incremental("at", "changed_since"))
    first = read(source, clock)
    rows[0] = {"id": 1, "at": "2026-02-01", "state": "changed"}
    assert read(source, clock, after=first).rows == rows[:1]


def test_thousands_of_records_at_one_moment_land_once(api: Any, clock: Any) -> None:
    rows = [{"id": number, "at": "2026-02-01T10:00:00Z"} for number in range(12_000)]
    api.answer = lambda call, http: as_json(rows)
    source = RestApi(api.url, incremental=Incremental("at", "since"))
    first = read(source, clock)
    assert (len(first.rows), read(source, clock, after=first).rows) == (12_000, [])


def test_more_records_than_are_remembered_are_told(
    api: Any, clock: Any, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr(incremental, "MAX_SEEN", 10)
    api.answer = lambda call, http: as_json([{"id": n, "at": "2026-02-01"} for n in range(30)])
    read(RestApi(api.url, incremental=Incremental("at", "since")), clock)
    assert "some may land again" in capsys.readouterr().out


def test_a_cursor_path_that_leads_nowhere_is_told(api: Any, clock: Any) -> None:
    api.answer = lambda call, http: as_json([{"id": 1, "updated_at": "2026-02-01"}, {"id": 2}])
    source = RestApi(api.url, incremental=Incremental("updatedAt", "since"))
    with pytest.raises(
        SourceBadAnswer, match="'updatedAt' leads to nothing in any of 2 records; the"
    ):
        read(source, clock)
    source = RestApi(api.url, incremental=Incremental("updated_at", "since"))
    assert ids(read(source, clock)) == [1, 2]


# -- parents and jobs ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [lambda found: found.insert(0, {"id": 0}), lambda found: found.pop(0)]
)
def test_a_child_that_failed_is_asked_for_again_where_its_parent_stands_now(
    api: Any, clock: Any, change: Any
) -> None:
    parents, broken = [{"id": 1}, {"id": 2}, {"id": 3}], [True]

    def answer(call: Any, http: Any) -> Any:
        if call.path == "/parents":
            return as_json(parents)
        number = call.path.split("/")[-1]
        return (500, {}, b"") if number == "2" and broken[0] else as_json([{"id": number}])

    api.answer = answer
    source = RestApi(
        api.url + "/children/{resources.parent.id}",
        parents=(Parent("parent", api.url + "/parents"),),
        limits=RequestLimits(max_attempts=1, concurrency=1),
    )
    rows: list[dict[str, Any]] = []
    left: list[Read] = []
    with pytest.raises(SourceUnavailable):
        read(source, clock, into=rows, left=left)
    broken[0] = False
    change(parents)
    assert [row["id"] for row in rows] + ids(read(source, clock, after=left[0])) == ["1", "2", "3"]
    parents[:] = [{"id": 3}, {"id": 4}]
    with pytest.raises(PlaceForgotten):
        read(source, clock, after=left[0])


def job(api: Any, **more: Any) -> RestApi:
    found = {"status_url": "{job.location}", "download_url": "{job.result}"} | more
    waiting = AsyncJob(status_path="state", completed=("done",), failed=("failed",), **found)
    return RestApi(api.url + "/v1/jobs", method="POST", body={"a": 1}, async_job=waiting)


def test_a_job_may_say_where_it_is_relative_to_its_own_address(api: Any, clock: Any) -> None:
    def answer(call: Any, http: Any) -> Any:
        if call.method == "POST":
            return 202, {"Location": "jobs/1"}, b""
        if call.path == "/v1/jobs/1":
            return as_json({"state": "done", "result": "/results/1"})
        assert call.path == "/results/1"
        return as_json(ROWS)

    api.answer = answer
    assert read(job(api), clock).rows == ROWS


@pytest.mark.parametrize("state", ["failed", "running for ever"])
def test_a_job_of_an_earlier_run_that_came_to_nothing_is_left_behind(
    api: Any, clock: Any, state: str
) -> None:
    said = ["running"]

    def answer(call: Any, http: Any) -> Any:
        return (
            (202, {"Location": "/1"}, b"") if call.method == "POST" else as_json({"state": said[0]})
        )

    api.answer = answer
    cut = read(job(api), clock, enough=lambda: True)
    said[0] = state
    clock.pass_time(7200)
    with pytest.raises(SourceBadAnswer, match="the job"):
        read(job(api), clock, after=cut)
    with pytest.raises(PlaceForgotten, match="the job"):
        read(job(api), clock, after=cut, run="run-2")


def test_a_results_address_that_has_expired_is_left_behind(api: Any, clock: Any) -> None:
    pages = [True]

    def answer(call: Any, http: Any) -> Any:
        if call.method == "POST":
            return 202, {"Location": "/1"}, b""
        if call.path == "/1":
            return as_json({"state": "done", "result": "/signed"})
        return as_json({"items": ROWS, "next": "/signed?2"}) if pages[0] else (403, {}, b"")

    api.answer = answer
    source = RestApi(**{**vars(job(api)), "paginator": Paginator("link", next_path="next")})
    cut = read(source, clock, enough=lambda: True)
    assert cut.rows == ROWS
    pages[0] = False
    with pytest.raises(PlaceForgotten, match="403"):
        read(source, clock, after=cut)


# -- bytes and headers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("iso-8859-1", "latin-1"),
        ("Windows-1252", "cp1252"),
        ("iso-8859-1", "utf-8"),
        ("x", "utf-8"),
    ],
)
def test_a_charset_counts_where_the_text_is_no_utf_8(
    api: Any, clock: Any, said: str, written: str
) -> None:
    text = '[{"id": "Ärger"}]'
    headers = {"Content-Type": f"application/json; charset={said}"}
    api.answer = lambda call, http: (200, headers, text.encode(written))
    assert ids(read(RestApi(api.url), clock)) == ["Ärger"]


def test_a_csv_column_that_is_there_twice_is_not_dropped(api: Any, clock: Any) -> None:
    api.answer = lambda call, http: (200, {}, b"id,name,name\n1,a,b\n")
    with pytest.raises(SourceBadAnswer, match="it has the column 'name' twice"):
        read(RestApi(api.url, format=Format("csv")), clock)
    named = Format("csv", columns=("id", "first", "last"))
    assert read(RestApi(api.url, format=named), clock).rows == [
        {"id": "1", "first": "a", "last": "b"}
    ]


def test_answers_are_asked_for_packed_and_stated_headers_go_first(api: Any, clock: Any) -> None:
    stated = {"accept": "text/x", "content-type": "application/vnd.x+json", "USER-AGENT": "me"}
    read(RestApi(api.url, method="POST", headers=stated, body={"a": 1}), clock)
    sent = api.calls[0].headers
    assert sent["Accept-Encoding"] == "gzip"
    names = [name.lower() for name in sent]
    assert len(names) == len(set(names))
    assert stated.items() <= sent.items()


@pytest.mark.parametrize("secret", ["token-abcdef\n", "token\u201cabcdef"])
def test_a_secret_that_no_header_can_carry_is_told_without_it(
    api: Any, clock: Any, secret: str
) -> None:
    source = RestApi(api.url, auth=Auth(bearer=BearerAuth("${SECRET:key}")))
    with pytest.raises(
        ConfigInvalid, match="header Authorization: its value has a line feed"
    ) as told:
        read(source, clock, SecretStore({"key": secret}))
    assert "abcdef" not in str(told.value)
    assert api.calls == []


@pytest.mark.parametrize("next_page", [False, True])
def test_an_address_that_is_none_is_told(api: Any, clock: Any, next_page: bool) -> None:
    bad = "http://[::1"
    api.answer = lambda call, http: (
        as_json({"items": ROWS, "next": bad}) if next_page else (302, {"Location": bad}, b"")
    )
    source = RestApi(api.url, paginator=Paginator("link", next_path="next"))
    with pytest.raises(SourceBadAnswer, match="leads on to what is no URL"):
        read(source, clock)


def dripping(head: bytes) -> Any:
    def answer(call: Any, http: Any) -> None:
        http.wfile.write(head)
        until = time.monotonic() + 30
        try:
            while time.monotonic() < until:
                http.wfile.write(b"1\r\n \r\n" if b"chunked" in head else b"x: y\r\n"[:8])
                http.wfile.flush()
                time.sleep(0.2)
        except OSError:
            """The client has hung up, as it should."""

    return answer


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"HTTP/1.1 200 OK\r\n", "the head of the answer did not end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "still sending after 10 s"),
    ],
)
def test_an_answer_that_drips_is_cut_off(api: Any, head: bytes, words: str) -> None:
    api.answer = dripping(head)
    limits = RequestLimits(timeout_seconds=1, max_attempts=1)
    began = time.monotonic()
    with pytest.raises(SourceUnavailable, match=words):
        read(RestApi(api.url, limits=limits), SystemClock())
    assert time.monotonic() - began < 20
