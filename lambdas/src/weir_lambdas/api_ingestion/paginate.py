"""How one page leads to the next. A position is plain JSON, so that a later call can go on there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from weir_contract.sources import Paginator
from weir_lambdas.api_ingestion.client import Answer
from weir_lambdas.common.egress import without_query
from weir_lambdas.common.errors import SourceBadAnswer
from weir_lambdas.landing.paths import lookup
from weir_lambdas.landing.records import as_text

Position = dict[str, Any]

SAME_PAGES = 3
"""So many equal pages in a row mean that the source ignores the page parameter."""


@dataclass(frozen=True)
class Page:
    """What a paginator may look at: the answer, and how many rows were in it."""

    answer: Answer
    rows: int


@dataclass(frozen=True)
class Style:
    """One kind of pagination.

    ``first`` is where it begins, ``params`` are the query parameters of a position, ``following``
    gives the next position or None at the end.
    """

    first: Callable[[Paginator], Position]
    params: Callable[[Paginator, Position], dict[str, str]]
    following: Callable[[Paginator, Position, Page], Position | None]


def _limit(paginator: Paginator) -> dict[str, str]:
    return {paginator.limit_param: str(paginator.page_size)} if paginator.limit_param else {}


def _total(paginator: Paginator, page: Page) -> int | None:
    if paginator.total_path is None:
        return None
    found = lookup(page.answer.data, paginator.total_path)
    if isinstance(found, str) and found.isdigit():
        return int(found)
    if isinstance(found, bool) or not isinstance(found, int):
        raise SourceBadAnswer(
            f"paginator.totalPath {paginator.total_path!r} leads to no whole number",
            without_query(page.answer.url),
        )
    return found


def _next_page(paginator: Paginator, at: Position, page: Page) -> Position | None:
    total = _total(paginator, page)
    done = at["page"] - paginator.base_page + 1
    if page.rows == 0 or (total is not None and done >= total):
        return None
    return {"page": at["page"] + 1}


def _next_offset(paginator: Paginator, at: Position, page: Page) -> Position | None:
    # By the rows that came, not by those asked for: a source may cap the page size below ours.
    offset, total = at["offset"] + page.rows, _total(paginator, page)
    if page.rows == 0 or (total is not None and offset >= total):
        return None
    full = paginator.limit_param is not None and page.rows >= paginator.page_size
    # A short page is the last one only where full ones came before; else it may be such a cap.
    if total is None and at.get("full") and not full:
        return None
    return {"offset": offset} | ({"full": True} if full else {})


def _next_cursor(paginator: Paginator, _at: Position, page: Page) -> Position | None:
    if paginator.cursor_header:
        token: Any = _header(page.answer.headers, paginator.cursor_header)
    else:
        token = lookup(page.answer.data, paginator.cursor_path or "next_cursor")
    if isinstance(token, bool):
        token = None
    text = as_text(token)
    return {"cursor": text} if text else None


def _next_link(paginator: Paginator, _at: Position, page: Page) -> Position | None:
    if paginator.next_path:
        found = lookup(page.answer.data, paginator.next_path)
        target = found if isinstance(found, str) else None
    else:
        target = next_link(_header(page.answer.headers, "Link") or "")
    return {"url": urljoin(page.answer.url, target)} if target else None


STYLES: Mapping[str, Style] = {
    "single": Style(lambda _: {}, lambda _p, _at: {}, lambda _p, _at, _page: None),
    "pageNumber": Style(
        lambda p: {"page": p.base_page},
        lambda p, at: {p.page_param: str(at["page"])} | _limit(p),
        _next_page,
    ),
    "offset": Style(
        lambda _: {"offset": 0},
        lambda p, at: {p.offset_param: str(at["offset"])} | _limit(p),
        _next_offset,
    ),
    "cursor": Style(
        lambda _: {},
        lambda p, at: ({p.cursor_param: at["cursor"]} if "cursor" in at else {}) | _limit(p),
        _next_cursor,
    ),
    "link": Style(lambda _: {}, lambda p, _at: _limit(p), _next_link),
}


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
        self._last, self._same = "", 1

    def enter(self, position: Position, url: str) -> None:
        """A position is about to be asked for.

        Raises
        ------
        SourceBadAnswer
            It was asked for before in this extraction.
        """
        name = repr(sorted(position.items()))
        if name in self._seen:
            raise SourceBadAnswer(
                "the source's pages lead in a circle: it names a next page that was already read",
                without_query(url),
                spoils=True,
            )
        self._seen.add(name)

    def see(self, digest: str, rows: int, url: str) -> None:
        """A page came, with this hash of its rows.

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
