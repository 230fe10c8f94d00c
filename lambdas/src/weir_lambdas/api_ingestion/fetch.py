"""The pages of one resource, in order, while those that do not depend on each other come together.

Where a position can be known before the page before it has come (page numbers, offsets), pages are
asked for ahead, as many at once as the budget allows. What was asked for ahead and turns out not to
be the next page is thrown away; so guessing wrong costs a request and never a record.
"""

from __future__ import annotations

import functools
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from weir_contract.rest import Paginator
from weir_lambdas.api_ingestion.budget import Budget
from weir_lambdas.api_ingestion.client import Answer, SourceClient
from weir_lambdas.api_ingestion.paginate import STYLES, LoopGuard, Page, detect, has_more
from weir_lambdas.api_ingestion.records import Records
from weir_lambdas.common.egress import Request, without_query
from weir_lambdas.common.errors import SourceBadAnswer, WeirError
from weir_lambdas.landing.batch import Position


class Calls:
    """Runs requests in threads; in the caller's own where there is one only.

    Use it in a ``with``: at its end nothing new is begun, and what runs is not waited for.
    """

    def __init__(self, client: SourceClient, threads: int) -> None:
        self._client = client
        self._pool = (
            ThreadPoolExecutor(threads, thread_name_prefix="calls") if threads > 1 else None
        )

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def submit(self, request: Request) -> Future[Answer]:
        """Begin a call."""
        if self._pool:
            return self._pool.submit(self._client.call, request)
        future: Future[Answer] = Future()
        try:
            future.set_result(self._client.call(request))
        except WeirError as error:
            future.set_exception(error)
        return future


@dataclass(frozen=True)
class Got:
    """A page that came.

    Parameters
    ----------
    position
        Its own.
    next
        Of the page after it; None where it was the last.
    stop
        Whether the time is up: nothing was asked for ahead.
    """

    position: Position
    records: Records
    next: Position | None
    stop: bool = False


def _name(position: Position) -> str:
    return json.dumps({k: v for k, v in position.items() if k != "full"}, sort_keys=True)


class Chain:
    """The pages of one resource for one set of placeholders' values.

    Parameters
    ----------
    paginator
        The resource's.
    place
        Where to begin, as :meth:`place` gave it; None for the first page.
    request
        Paginator and position -> the request.
    read
        An answer -> its records.
    check
        Refuses a next position that must not be followed.
    keep
        Whether pages behind one that failed are given. Not for parents, whose place is one page.
    """

    def __init__(
        self,
        paginator: Paginator,
        place: Mapping[str, Any] | None,
        calls: Calls,
        budget: Budget,
        request: Callable[[Paginator, Position], Request],
        read: Callable[[Answer], Records],
        check: Callable[[Position, Answer], None],
        keep: bool = True,
    ) -> None:
        place = place or {}
        self._keep = keep
        known = place.get("paginator")
        self._paginator = Paginator(**known) if known else paginator
        self._found = known is not None
        self._at: Position = place.get("at") or STYLES[self._paginator.type].first(self._paginator)
        self._skip: dict[str, Position | None] = {
            _name(position): following for position, following in place.get("skip", [])
        }
        self._calls, self._budget = calls, budget
        self._request, self._read_answer, self._check = request, read, check
        self._ahead: deque[tuple[str, Position, Future[Answer]]] = deque()
        self._guard, self._first_rows = LoopGuard(), 0

    def place(self, position: Position) -> dict[str, Any]:
        """A place of this chain, plain JSON: the position, what was read behind it, and the
        paginator where it was found by ``auto``."""
        found: dict[str, Any] = {"at": position}
        if self._skip:
            found["skip"] = [[json.loads(name), after] for name, after in self._skip.items()]
        if self._found:
            found["paginator"] = asdict(self._paginator)
        return found

    def first(self) -> dict[str, Any]:
        """The place at which this chain begins."""
        return self.place(self._at)

    def prefetch(self) -> None:
        """Ask for the first page, if there is room for it."""
        if not self._ahead and _name(self._at) not in self._skip:
            self._ask(self._at)

    def cancel(self) -> None:
        """Nothing that was asked for ahead is wanted."""
        while self._ahead:
            self._ahead.popleft()[2].cancel()

    def pages(self, stop: Callable[[], bool]) -> Iterator[Got]:
        """The pages, in order.

        Parameters
        ----------
        stop
            Whether the time is up; asked once a page.

        Raises
        ------
        WeirError
            A page can't be had. Those behind it that came already are given first; after them
            :meth:`place` of the one that failed leaves them out.
        """
        current: Position | None = self._at
        while current is not None:
            name = _name(current)
            if name in self._skip:
                current = self._skip.pop(name)
                continue
            try:
                got = self._get(name, current, stop)
            except WeirError as error:
                if self._keep and not error.spoils:
                    for kept in list(self._kept()):
                        self._skip[_name(kept.position)] = kept.next
                        yield replace(kept, next=current)
                raise
            yield got
            if got.stop:
                return
            current = got.next

    def _get(self, name: str, position: Position, stop: Callable[[], bool]) -> Got:
        if not self._ahead or self._ahead[0][0] != name:
            self.cancel()
            self._ask(position)
        _, _, future = self._ahead.popleft()
        answer = future.result()
        self._guard.enter(name, answer.url)
        got, page = self._read(position, answer)
        if self._guard.needed(got.next is not None):
            for chunk in got.records.chunks():
                self._guard.see(hash(chunk.block), got.records.count, answer.url)
                break
        got = replace(got, stop=stop())
        self._first_rows = self._first_rows or got.records.count
        self._look_ahead(got, page)
        return got

    def _read(self, position: Position, answer: Answer) -> tuple[Got, Page]:
        records = self._read_answer(answer)
        # Each page that is asked for ahead looks at the same few values, such as the number of pages.
        page = Page(answer.url, answer.headers, functools.cache(records.lookup), records.count)
        if self._paginator.type == "auto":
            self._paginator, self._found = detect(self._paginator, page), True
            first = STYLES[self._paginator.type].first(self._paginator)
            position = {**first, **position}
        following = STYLES[self._paginator.type].following(self._paginator, position, page)
        if answer.ignored or not has_more(self._paginator, page):
            following = None
        if following is not None:
            self._check(following, answer)
        return Got(position, records, following), page

    def _look_ahead(self, got: Got, page: Page) -> None:
        """Ask for what comes next, as far as it is known, and forget what does not."""
        wanted: list[Position] = []
        position, style = got.next, STYLES[self._paginator.type]
        # A page that is shorter than the first is likely the last but one: nothing is guessed then.
        short = self._paginator.total_path is None and got.records.count < self._first_rows
        width = 0 if got.stop else 1 if short else self._budget.width
        if self._budget.most > 1:
            while position is not None and len(wanted) < width:
                wanted.append(position)
                position = style.ahead(self._paginator, position, page)
        same = 0
        for item, (name, asked, _) in zip(wanted, self._ahead, strict=False):
            if item != asked and _name(item) != name:
                break
            same += 1
        while len(self._ahead) > same:
            self._ahead.pop()[2].cancel()
        for item in wanted[same:]:
            if _name(item) not in self._skip:
                self._ask(item)
            else:
                break

    def _ask(self, position: Position) -> None:
        future = self._calls.submit(self._request(self._paginator, position))
        self._ahead.append((_name(position), position, future))

    def _kept(self) -> Iterator[Got]:
        """The pages behind a failed one that came all the same."""
        waiting, self._ahead = list(self._ahead), deque()
        for _, _, future in waiting:
            future.cancel()
        for _, position, future in waiting:
            if future.cancelled() or future.exception() is not None:
                continue
            try:
                got, _ = self._read(position, future.result())
            except WeirError:
                continue  # It is asked for again, and told then.
            yield got


def refuse_reference(following: Position, answer: Answer) -> None:
    """A source must not make us send a secret of its choice to a host of its choice.

    Raises
    ------
    SourceBadAnswer
        The next position has a ``${...}`` in it.
    """
    if "${" in json.dumps(following):
        raise SourceBadAnswer(
            "the next page's address or token has a ${...} in it", without_query(answer.url)
        )
