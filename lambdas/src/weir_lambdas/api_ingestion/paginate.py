"""How one page leads to the next. A position is plain JSON, so that a later call can go on there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from weir_contract.rest import Paginator
from weir_lambdas.api_ingestion.select import kind_of
from weir_lambdas.common.egress import joined, without_query
from weir_lambdas.common.errors import SourceBadAnswer
from weir_lambdas.landing.batch import Position
from weir_lambdas.landing.records import as_text, dump_line

SAME_PAGES = 3
"""So many equal pages in a row mean that the source ignores the page parameter."""


@dataclass(frozen=True)
class Page:
    """What a paginator may look at: where the answer came from, its headers, what the body has at a
    path, and how many records were in it."""

    url: str
    headers: Mapping[str, str]
    lookup: Callable[[str], Any]
    rows: int


@dataclass(frozen=True)
class Place:
    """What a position puts into a request: query parameters, and values at places of the body."""

    params: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Style:
    """One kind of pagination.

    ``first`` is where it begins, ``place`` what a position adds to the request, ``following`` gives
    the next position or None at the end. ``ahead`` guesses the position after one whose page has
    not come yet, from one that has; None where nobody can know it.
    """

    first: Callable[[Paginator], Position]
    place: Callable[[Paginator, Position], Place]
    following: Callable[[Paginator, Position, Page], Position | None]
    ahead: Callable[[Paginator, Position, Page], Position | None] = lambda _p, _at, _page: None


def _put(param: str, body_path: str | None, value: Any) -> Place:
    return Place({}, {body_path: value}) if body_path else Place({param: str(value)}, {})


def _both(one: Place, other: Place) -> Place:
    return Place({**one.params, **other.params}, {**one.body, **other.body})


def _limit(paginator: Paginator) -> Place:
    if paginator.limit_body_path:
        return Place({}, {paginator.limit_body_path: paginator.page_size})
    return Place(
        {paginator.limit_param: str(paginator.page_size)} if paginator.limit_param else {}, {}
    )


def _counted(param: str, body_path: str, key: str) -> Callable[..., Place]:
    def place(paginator: Paginator, at: Position) -> Place:
        names = getattr(paginator, param), getattr(paginator, body_path)
        return _both(_put(*names, at[key]), _limit(paginator))

    return place


def _total(paginator: Paginator, page: Page) -> int | None:
    if paginator.total_path is None:
        return None
    found = page.lookup(paginator.total_path)
    if isinstance(found, str) and found.isdigit():
        return int(found)
    if isinstance(found, bool) or not isinstance(found, int):
        raise SourceBadAnswer(
            f"paginator.totalPath {paginator.total_path!r} leads to no whole number",
            without_query(page.url),
        )
    return found


def has_more(paginator: Paginator, page: Page) -> bool:
    """Whether the source does not say that this was the last page."""
    if paginator.has_more_path is None:
        return True
    found = page.lookup(paginator.has_more_path)
    if found is None and page.rows and paginator.type in ("pageNumber", "offset"):
        raise SourceBadAnswer(
            f"paginator.hasMorePath {paginator.has_more_path!r} leads to nothing, so that nobody "
            "knows whether this was the last page",
            without_query(page.url),
        )
    if isinstance(found, str):
        return found.strip().lower() in ("true", "1", "yes", "y")
    return bool(found)


def _next_page(paginator: Paginator, at: Position, page: Page) -> Position | None:
    if page.rows == 0 and paginator.stop_after_empty_page:
        return None
    return _page_after(paginator, at, page)


def _page_after(paginator: Paginator, at: Position, page: Page) -> Position | None:
    number, total = at["page"] + 1, _total(paginator, page)
    if total is not None and number - paginator.base_page >= total:
        return None
    if paginator.maximum_page is not None and number > paginator.maximum_page:
        return None
    return {"page": number}


def _next_offset(paginator: Paginator, at: Position, page: Page) -> Position | None:
    # By the rows that came, not by those asked for: a source may cap the page size below ours.
    if page.rows == 0:
        return None
    offset, total = at["offset"] + page.rows, _total(paginator, page)
    if total is not None and offset >= total:
        return None
    if paginator.maximum_offset is not None and offset > paginator.maximum_offset:
        return None
    asked = paginator.limit_param is not None or paginator.limit_body_path is not None
    full = asked and page.rows >= paginator.page_size
    # A short page is the last one only where full ones came before; else it may be such a cap.
    if total is None and at.get("full") and not full:
        return None
    return {"offset": offset} | ({"full": True} if full else {})


def _next_cursor(paginator: Paginator, _at: Position, page: Page) -> Position | None:
    if paginator.cursor_header:
        token: Any = _header(page.headers, paginator.cursor_header)
    else:
        token = page.lookup(paginator.cursor_path or "next_cursor")
    if not token or isinstance(token, bool):
        return None
    if not paginator.cursor_body_path:
        if isinstance(token, (dict, list)):
            raise SourceBadAnswer(
                f"paginator.cursorPath {paginator.cursor_path!r} leads to {kind_of(token)}, which no "
                "query parameter takes; name the value in it, or use cursorBodyPath",
                without_query(page.url),
            )
        return {"cursor": as_text(token)}
    # A body takes it as it is: a number stays one, and some cursors are lists or objects.
    return {"cursor": json.loads(dump_line(token))}


def _cursor_place(paginator: Paginator, at: Position) -> Place:
    if "cursor" not in at:
        return _limit(paginator)
    return _both(
        _put(paginator.cursor_param, paginator.cursor_body_path, at["cursor"]), _limit(paginator)
    )


def _next_link(paginator: Paginator, _at: Position, page: Page) -> Position | None:
    if paginator.next_path:
        found = page.lookup(paginator.next_path)
        if found and not isinstance(found, str):
            raise SourceBadAnswer(
                f"paginator.nextPath {paginator.next_path!r} leads to {kind_of(found)}, not to a URL",
                without_query(page.url),
            )
        target = found or None
    else:
        target = next_link(_header(page.headers, "Link") or "")
    return {"url": joined(page.url, target)} if target else None


LINK_PATHS = (
    "next", "links.next", "_links.next.href", "links.next.href", "paging.next", "pagination.next",
    "meta.next", "info.next", "next_url", "nextUrl", "nextLink", "['@odata.nextLink']",
    "next_page_url", "meta.next_page_url", "pagination.next_url", "next_page",
)  # fmt: skip
"""Where APIs put the next page's URL, in order of preference."""

CURSOR_PATHS = {
    "next_cursor": "cursor",
    "nextCursor": "cursor",
    "cursors.next": "cursor",
    "cursor.next": "cursor",
    "meta.next_cursor": "cursor",
    "meta.nextCursor": "cursor",
    "pagination.next_cursor": "cursor",
    "pagination.nextCursor": "cursor",
    "paging.cursors.after": "after",
    "paging.next.after": "after",
    "response_metadata.next_cursor": "cursor",
    "meta.after_cursor": "page[after]",
    "nextPageToken": "pageToken",
    "next_page_token": "page_token",
    "NextToken": "NextToken",
    "nextToken": "nextToken",
    "next_token": "next_token",
    "continuation_token": "continuation_token",
    "continuationToken": "continuationToken",
}
"""Where APIs put the next page's token -> the parameter that they take it in."""

PAGE_PATHS = (
    ("page", "total_pages"), ("page", "totalPages"), ("page", "pages"), ("page", "page_count"),
    ("current_page", "last_page"), ("currentPage", "totalPages"),
)  # fmt: skip
"""Names of this page's number and of the number of pages."""

PAGE_OBJECTS = ("", "meta.", "pagination.", "paging.", "info.", "page_info.")


def detect(paginator: Paginator, page: Page) -> Paginator:
    """The paginator that an answer shows, for type ``auto``; ``single`` where it shows none."""
    if next_link(_header(page.headers, "Link") or ""):
        return replace(paginator, type="link")
    for path in LINK_PATHS:
        found = page.lookup(path)
        if isinstance(found, str) and (found.startswith(("http://", "https://", "/", "?"))):
            return replace(paginator, type="link", next_path=path)
    for path, param in CURSOR_PATHS.items():
        found = page.lookup(path)
        if isinstance(found, (str, int)) and not isinstance(found, bool) and found != "":
            given = paginator.cursor_param
            chosen = given if given != Paginator.cursor_param else param
            return replace(paginator, type="cursor", cursor_path=path, cursor_param=chosen)
    for prefix in PAGE_OBJECTS:
        for number, total in PAGE_PATHS:
            first, pages = page.lookup(prefix + number), page.lookup(prefix + total)
            if first in (0, 1) and isinstance(pages, int) and not isinstance(first, bool):
                return replace(
                    paginator, type="pageNumber", base_page=int(first), total_path=prefix + total
                )
    return replace(paginator, type="single")


STYLES: Mapping[str, Style] = {
    "single": Style(lambda _: {}, lambda _p, _at: Place({}, {}), lambda _p, _at, _page: None),
    "pageNumber": Style(
        lambda p: {"page": p.base_page},
        _counted("page_param", "page_body_path", "page"),
        _next_page,
        _page_after,
    ),
    "offset": Style(
        lambda _: {"offset": 0},
        _counted("offset_param", "offset_body_path", "offset"),
        _next_offset,
        _next_offset,
    ),
    "cursor": Style(lambda _: {}, _cursor_place, _next_cursor),
    "link": Style(lambda _: {}, lambda p, _at: _limit(p), _next_link),
    "auto": Style(lambda _: {}, lambda p, _at: _limit(p), lambda _p, _at, _page: None),
}
"""``paginator.type`` -> how it pages. ``auto`` becomes another one with the first answer."""


def _header(headers: Mapping[str, str], name: str) -> str | None:
    return next((value for key, value in headers.items() if key.lower() == name.lower()), None)


_LINK = re.compile(
    r'\s*<(?P<url>[^>]*)>(?P<params>(?:\s*;\s*[^,;="\s]+(?:\s*=\s*(?:"(?:\\.|[^"\\])*"|[^,;"]*))?)*)\s*(?:,|$)'
)
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^,;"\s]*))', re.IGNORECASE)


def next_link(header: str) -> str | None:
    """The target with relation ``next`` of a ``Link`` header (RFC 8288, section 3), or None."""
    for match in _LINK.finditer(header):
        relation = _REL.search(match.group("params"))
        if relation and "next" in (relation.group(1) or relation.group(2) or "").lower().split():
            return match.group("url").strip()
    return None


class LoopGuard:
    """Sees a source that leads in circles, or that gives the same page for every position."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._last, self._same = 0, 1

    def enter(self, name: str, url: str) -> None:
        """A position was asked for.

        Raises
        ------
        SourceBadAnswer
            It was asked for before in this extraction.
        """
        if name in self._seen:
            raise SourceBadAnswer(
                "the source's pages lead in a circle: it names a next page that was already read",
                without_query(url),
                spoils=True,
            )
        self._seen.add(name)

    def needed(self, more: bool) -> bool:
        """Whether pages are to be compared: not where there is one only."""
        return more or len(self._seen) > 1

    def see(self, digest: int, rows: int, url: str) -> None:
        """A page came, with this hash of its first rows.

        Raises
        ------
        SourceBadAnswer
            The same rows came :data:`SAME_PAGES` times in a row.
        """
        self._same = self._same + 1 if rows and digest == self._last else 1
        self._last = digest
        if self._same >= SAME_PAGES:
            raise SourceBadAnswer(
                f"the same {rows} rows came {SAME_PAGES} times in a row: the source seems to "
                "ignore the paginator's parameters; check their names",
                without_query(url),
                spoils=True,
            )
