"""Pages that come together, in circles, or not at all: every record once, every page asked once."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rest_rig import read
from weir_contract.rest import Paginator, Parent, RequestLimits, ResponseAction, RestApi
from weir_lambdas.api_ingestion.budget import exhausted
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.errors import (
    SourceBadAnswer,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
    WeirError,
)

Rows = list[dict[str, Any]]
JSON = {"Content-Type": "application/json"}


def served(rows: Rows, style: Paginator, cap: int = 10_000) -> Callable[..., Any]:
    """An API over rows in a paginator's style, in the query or the body, ``cap`` rows a page."""

    def answer(call: Any, http: Any) -> Any:
        asked: dict[str, Any] = dict(call.query)
        if call.body:
            asked |= json.loads(call.body).get("paging", {})
        size = min(int(asked.get("limit", style.page_size)), cap)
        if style.type == "pageNumber":
            start = (int(asked["page"]) - style.base_page) * size
        elif style.type == "offset":
            start = int(asked["offset"])
        else:
            start = int(asked.get("cursor") or 0)
        page, rest = rows[start : start + size], rows[start + size :]
        following = str(start + size) if rest else None
        body: dict[str, Any] = {
            "meta": {"total": len(rows), "pages": -(-len(rows) // size), "more": bool(rest)},
            "data": page,
        }
        headers = dict(JSON)
        if style.cursor_header and following:
            headers[style.cursor_header] = following
        elif style.type in ("cursor", "auto"):
            body["next_cursor"] = following
        if style.next_path:
            body["links"] = {"next": f"?cursor={following}" if following else None}
        elif style.type == "link" and following:
            headers["Link"] = f"<?cursor={following}>; rel=next"
        return 200, headers, json.dumps(body).encode()

    return answer


BODY = {"limit_body_path": "paging.limit"}
STYLES = [
    Paginator("pageNumber", limit_param="limit"),
    Paginator("pageNumber", total_path="meta.pages", base_page=0),
    Paginator("pageNumber", page_body_path="paging.page", **BODY),
    Paginator("pageNumber", has_more_path="meta.more"),
    Paginator("offset", limit_param="limit"),
    Paginator("offset", limit_param="limit", total_path="meta.total"),
    Paginator("offset", offset_body_path="paging.offset", has_more_path="meta.more", **BODY),
    Paginator("cursor", cursor_path="next_cursor"),
    Paginator("cursor", cursor_path="next_cursor", cursor_body_path="paging.cursor", **BODY),
    Paginator("cursor", cursor_header="X-Next"),
    Paginator("link"),
    Paginator("link", next_path="links.next"),
    Paginator("auto"),
]


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    style=st.sampled_from(STYLES),
    count=st.integers(0, 40),
    size=st.integers(1, 9),
    cap=st.integers(1, 12),
    threads=st.sampled_from([1, 2, 8]),
    cuts=st.lists(st.integers(1, 4), max_size=4),
)
def test_every_record_comes_once_however_many_are_asked_for_at_once_and_wherever_it_is_cut(
    api: Any,
    style: Paginator,
    count: int,
    size: int,
    cap: int,
    threads: int,
    cuts: list[int],
) -> None:
    style = replace(style, page_size=size)
    rows = [{"id": number} for number in range(count)]
    api.answer = served(rows, style, cap)
    source = RestApi(
        f"{api.url}/rows",
        method="POST" if style.limit_body_path else "GET",
        paginator=style,
        limits=RequestLimits(concurrency=threads),
    )
    found: Rows = []
    last = None
    for cut in [*cuts, None]:
        pages = iter(range(cut)) if cut else None
        last = read(
            source,
            SystemClock(),
            after=last,
            enough=(lambda p=pages: next(p, None) is None) if pages else (lambda: False),
        )
        found += last.rows
        if last.position is None:
            break
    assert found == rows


def test_pages_that_can_be_known_ahead_come_together(api: Any) -> None:
    style = Paginator("pageNumber", total_path="meta.pages", page_size=10)
    rows = [{"id": number} for number in range(400)]
    give, under_way, most = served(rows, style), Counter[str](), [0]
    lock = threading.Lock()

    def answer(call: Any, http: Any) -> Any:
        with lock:
            under_way["now"] += 1
            most[0] = max(most[0], under_way["now"])
        time.sleep(0.05)
        with lock:
            under_way["now"] -= 1
        return give(call, http)

    api.answer = answer
    source = RestApi(api.url, paginator=style, limits=RequestLimits(concurrency=8))
    assert read(source, SystemClock()).rows == rows
    assert 3 <= most[0] <= 8
    assert len(api.calls) == 40


def test_a_refused_page_costs_one_request_more_and_no_page_twice(api: Any) -> None:
    style = Paginator("pageNumber", total_path="meta.pages", page_size=5)
    rows = [{"id": number} for number in range(500)]
    give, mended = served(rows, style), threading.Event()

    def answer(call: Any, http: Any) -> Any:
        if call.query["page"] == "60" and not mended.is_set():
            return 403, {}, b""
        return give(call, http)

    api.answer = answer
    source = RestApi(api.url, paginator=style)
    first = _until_it_fails(source, SourceForbidden)
    assert [row for row in first.rows if row["id"] < 295] == rows[:295]
    mended.set()
    second = read(source, SystemClock(), after=first)
    assert sorted(row["id"] for row in first.rows + second.rows) == list(range(500))
    asked = Counter(call.query["page"] for call in api.calls)
    assert {page: times for page, times in asked.items() if times > 1} == {"60": 2}
    assert len(api.calls) == 101


def _until_it_fails(source: RestApi, error: type[WeirError]) -> Any:
    """What a source gave before it failed, as the landing would keep it."""
    from rest_rig import LOGICAL, Read, source_of
    from weir_lambdas.landing.batch import Start

    found = Read([], None, None, {})
    start = Start(
        "r", LOGICAL, None, {}, None, lambda: 900.0, lambda: False, lambda number, suffix: suffix
    )
    with pytest.raises(error):
        for batch in source_of(source, SystemClock()).batches(start):
            found.rows += [json.loads(line) for line in b"".join(batch.lines).splitlines()]
            found.position = json.loads(json.dumps(batch.position))
    return found


def test_an_error_that_is_guessed_behind_the_end_is_no_error(api: Any, clock: Any) -> None:
    style = Paginator("pageNumber", page_size=5)
    rows = [{"id": number} for number in range(22)]
    give = served(rows, style)
    api.answer = lambda call, http: (
        (404, {}, b"") if int(call.query["page"]) > 6 else give(call, http)
    )
    assert read(RestApi(api.url, paginator=style), clock).rows == rows


def test_an_overloaded_source_is_asked_for_less_at_once(api: Any, clock: Any) -> None:
    style = Paginator("pageNumber", total_path="meta.pages", page_size=2)
    rows = [{"id": number} for number in range(60)]
    give, seen = served(rows, style), Counter[str]()

    def answer(call: Any, http: Any) -> Any:
        seen[call.query["page"]] += 1
        if seen[call.query["page"]] == 1 and int(call.query["page"]) % 5 == 0:
            return 429, {"Retry-After": "1"}, b""
        return give(call, http)

    api.answer = answer
    assert read(RestApi(api.url, paginator=style), clock).rows == rows
    assert clock.slept


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, 30),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "7"}, 7),
        ({"RateLimit": "limit=100, remaining=0, reset=9"}, 9),
        ({"RateLimit": '"default";r=0;t=12'}, 12),
        ({"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "1772366430"}, 30),
        ({"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "30"}, None),
        ({"X-RateLimit-Remaining": "0"}, None),
        ({}, None),
    ],
)
def test_a_source_that_has_no_calls_left_says_when_it_has(
    headers: dict[str, str], seconds: float | None, clock: Any
) -> None:
    assert exhausted(headers, clock.now()) == seconds


def test_the_rate_limit_headers_hold_every_thread_back(api: Any, clock: Any) -> None:
    style = Paginator("pageNumber", total_path="meta.pages", page_size=1)
    give = served([{"id": 1}, {"id": 2}], style)

    def answer(call: Any, http: Any) -> Any:
        status, headers, body = give(call, http)
        if len(api.calls) == 1:
            headers |= {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "20"}
        return status, headers, body

    api.answer = answer
    assert len(read(RestApi(api.url, paginator=style), clock).rows) == 2
    assert clock.slept == [20.0]


ACTIONS = (
    ResponseAction("ignore", "404"),
    ResponseAction("ignore", "4xx", "no rows here"),
    ResponseAction("retry", "200", "try again"),
    ResponseAction("fail", None, "quota used up", "the day's quota is used up"),
)


def test_response_actions_go_before_the_status(api: Any, clock: Any) -> None:
    source = RestApi(api.url, response_actions=ACTIONS)
    api.answer = lambda call, http: (404, {}, b"")
    assert read(source, clock).rows == []
    api.answer = lambda call, http: (422, {}, b'{"m": "no rows here"}')
    assert read(source, clock).rows == []
    answers = iter([b'{"m": "try again"}', b'[{"id":1}]'])
    api.answer = lambda call, http: (200, {}, next(answers))
    assert read(source, clock).rows == [{"id": 1}]
    api.answer = lambda call, http: (403, {}, b"quota used up")
    with pytest.raises(SourceForbidden, match="the day's quota is used up"):
        read(source, clock)
    api.answer = lambda call, http: (200, {}, b'{"m": "try again"}')
    with pytest.raises(SourceUnavailable, match="a response action says retry"):
        read(source, clock)


def parents_server(shops: int, orders: int) -> Callable[..., Any]:
    """Shops, each with orders, two a page; a shop's orders are below its path."""

    def answer(call: Any, http: Any) -> Any:
        parts = call.path.strip("/").split("/")
        start = int(call.query.get("cursor", 0))
        if parts == ["shops"]:
            rows: Rows = [{"id": f"s/{n}", "name": f"shop {n}"} for n in range(shops)]
        else:
            assert parts[0] == "shops" and parts[2] == "orders", call.path
            rows = [{"id": n, "of": parts[1]} for n in range(orders)]
        page = rows[start : start + 2]
        following = start + 2 if start + 2 < len(rows) else None
        return 200, JSON, json.dumps({"data": page, "next_cursor": following}).encode()

    return answer


def children(api: Any, **more: Any) -> RestApi:
    cursor = Paginator("cursor", cursor_path="next_cursor")
    return RestApi(
        f"{api.url}/shops/{{resources.shops.id}}/orders",
        params={"shop": "{resources.shops.name}"},
        paginator=cursor,
        parents=(Parent("shops", f"{api.url}/shops", paginator=cursor, include={"shopId": "id"}),),
        **more,
    )


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    shops=st.integers(0, 5),
    orders=st.integers(0, 5),
    threads=st.sampled_from([1, 8]),
    cut=st.integers(1, 5),
)
def test_each_parents_children_come_once_wherever_it_is_cut(
    api: Any, shops: int, orders: int, threads: int, cut: int
) -> None:
    api.answer = parents_server(shops, orders)
    source = children(api, limits=RequestLimits(concurrency=threads))
    found: Rows = []
    last = None
    for _ in range(100):
        pages = iter(range(cut))
        last = read(source, SystemClock(), after=last, enough=lambda p=pages: next(p, None) is None)
        found += last.rows
        if last.position is None:
            break
    assert found == [
        {"id": n, "of": f"s%2F{shop}", "shopId": f"s/{shop}"}
        for shop in range(shops)
        for n in range(orders)
    ]


def test_a_parents_record_can_ask_for_no_secret_and_climb_no_path(api: Any, clock: Any) -> None:
    give = parents_server(1, 1)
    names = iter(["${SECRET:key}", "..", "a\nb"])

    def answer(call: Any, http: Any) -> Any:
        if call.path == "/shops":
            name = next(names)
            return 200, JSON, json.dumps([{"id": name, "name": name}]).encode()
        return give(call, http)

    api.answer = answer
    source = children(api)
    read(source, clock)
    assert api.calls[-1].query["shop"] == "${SECRET:key}"
    with pytest.raises(SourceBadAnswer, match="lead elsewhere"):
        read(source, clock)
    with pytest.raises(SourceBadAnswer, match="control characters"):
        read(source, clock)


def test_grandparents_are_asked_first(api: Any, clock: Any) -> None:
    def answer(call: Any, http: Any) -> Any:
        depth = call.path.count("/")
        rows = [{"id": f"{depth}{n}"} for n in range(2)]
        return 200, JSON, json.dumps([*rows] if depth < 6 else [{"path": call.path}]).encode()

    api.answer = answer
    source = RestApi(
        f"{api.url}/a/{{resources.a.id}}/b/{{resources.b.id}}/c/x",
        parents=(
            Parent("a", f"{api.url}/a"),
            Parent("b", f"{api.url}/a/{{resources.a.id}}/b", include={"b": "id"}),
        ),
    )
    assert [row["path"] for row in read(source, clock).rows] == [
        f"/a/{a}/b/{b}/c/x" for a in ("10", "11") for b in ("30", "31")
    ]


def test_a_child_that_fails_keeps_those_before_it(api: Any) -> None:
    give, mended = parents_server(4, 1), threading.Event()
    api.answer = lambda call, http: (
        (404, {}, b"") if "F2" in call.path and not mended.is_set() else give(call, http)
    )
    first = _until_it_fails(children(api), SourceNotFound)
    assert [row["shopId"] for row in first.rows] == ["s/0", "s/1"]
    mended.set()
    second = read(children(api), SystemClock(), after=first)
    assert [row["shopId"] for row in second.rows] == ["s/2", "s/3"]
