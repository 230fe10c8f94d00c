"""One extraction: windows, parents' records, jobs and pages, as batches in a durable order."""

from __future__ import annotations

import functools
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import msgspec

from weir_contract.rest import Incremental, Paginator, RestApi
from weir_lambdas.api_ingestion.auth import Static
from weir_lambdas.api_ingestion.budget import Budget
from weir_lambdas.api_ingestion.client import Answer
from weir_lambdas.api_ingestion.columnar import Shape, blank
from weir_lambdas.api_ingestion.decode import decode
from weir_lambdas.api_ingestion.fetch import Calls, Chain, refuse_reference
from weir_lambdas.api_ingestion.incremental import Boundary, Window, cut_to, windowed, windows
from weir_lambdas.api_ingestion.jobs import JobRun, result_resource, status_resource
from weir_lambdas.api_ingestion.placeholders import Values
from weir_lambdas.api_ingestion.records import Records
from weir_lambdas.api_ingestion.requests import Resource, build, check, resource_of
from weir_lambdas.api_ingestion.select import shape as shape_of
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.egress import EgressClient, Request, without_query
from weir_lambdas.common.errors import SourceBadAnswer, WeirError
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.landing.batch import Batch, PlaceForgotten, Position, Start
from weir_lambdas.landing.infer import Columns, Look
from weir_lambdas.landing.paths import has, lookup
from weir_lambdas.landing.records import as_text, dump_line

Trail = list[dict[str, Any]]
"""Which record of each parent, from the outermost: its page, its number there, and what tells it from
others."""


@dataclass(frozen=True)
class Context:
    """What the pages of one chain are asked for with.

    Parameters
    ----------
    window
        The stretch of time.
    trail
        Which parents' records.
    values
        For the placeholders.
    include
        Fields that each record gets from its parents.
    """

    window: Window
    trail: Trail
    values: Values
    include: Mapping[str, Any]

    def saved(self) -> dict[str, Any]:
        """The context's own part of a position."""
        found: dict[str, Any] = {}
        if self.window.start is not None or self.window.end is not None:
            found["window"] = [self.window.start, self.window.end]
        if self.trail:
            found["trail"] = self.trail
        return found


class Extraction:
    """One extraction of a source.

    Parameters
    ----------
    api
        The source.
    calls, budget
        How requests are sent.
    auth
        Whose tokens are kept out of positions.
    look
        How much of a key's values is to be told.
    """

    def __init__(
        self,
        api: RestApi,
        calls: Calls,
        budget: Budget,
        egress: EgressClient,
        secrets: Secrets,
        auth: Static,
        clock: Clock,
        start: Start,
        look: Callable[[str], Look] = blank,
    ) -> None:
        check(api)
        self._logical, self._part = start.scheduled, start.window
        if start.window is not None:
            spec, self._logical = windowed(api.incremental, start.window)
            api = replace(api, incremental=spec)
        self._shape = Shape(look)
        self._api, self._calls, self._budget = api, calls, budget
        self._egress, self._secrets, self._auth = egress, secrets, auth
        self._clock, self._start = clock, start
        saved: Mapping[str, Any] = start.position or {}
        self._saved = json.loads(self._revealed(json.dumps(saved)))
        cursor = start.cursor if api.incremental else None
        self._cursor = cursor
        new, before = api.incremental, saved.get("boundary")
        asked = new is not None and (new.start_param or "{incremental.startValue}" in repr(api))
        self._boundary = Boundary(new, cursor, start.state, before, bool(asked))
        self._done = int(saved.get("done", 0))
        self._resource = resource_of(api)

    # -- what comes out ----------------------------------------------------------------------

    def batches(self) -> Iterator[Batch]:
        """The records, from the start's position to the end or until it is enough.

        Raises
        ------
        WeirError
            As :meth:`SourceClient.call`, and SourceBadAnswer where records can't be found, pages
            go in circles, or there are more than ``max_pages``.
        """
        queue: deque[tuple[Context, Chain | None]] = deque()
        source, failure, given = self._contexts(), list[WeirError](), False

        def fill() -> None:
            """Know what comes next, and ask for the first pages of it ahead."""
            while not failure and len(queue) < max(2, self._budget.width):
                try:
                    context = next(source, None)
                except WeirError as error:
                    failure.append(error)
                    return
                if context is None:
                    return
                chain = None if self._api.async_job else self._chain_of(context)
                if chain and queue and self._budget.most > 1:
                    chain.prefetch()
                queue.append((context, chain))

        # What is remembered of the boundary is of this window; a record may come again in the next.
        window = Window(*self._saved["last"]) if "last" in self._saved else None
        fill()
        while queue:
            context, chain = queue.popleft()
            self._boundary.enter(context.window, window)
            window = context.window
            job: JobRun | None = None
            if chain is None:
                job = self._job_run()
                done = next(self._wait(context, job))
                if not done:
                    waiting = {**context.saved(), "job": job.save()}
                    yield self._batch([], [], waiting, context.window)
                    return
                chain = self._result_chain(context, job)
            for got in chain.pages(self._start.enough):
                self._count()
                if got.next is None:
                    fill()
                if got.next is not None:
                    ahead: Position | None = {**context.saved(), **chain.place(got.next)}
                    if job:
                        ahead["job"] = job.save()  # type: ignore[index]
                elif queue:
                    ahead = queue[0][0].saved()
                else:
                    ahead = {**context.saved(), "ended": True} if failure else None
                given = True
                yield from self._page(got.records, context, ahead)
                if got.stop and ahead is not None:
                    return
        if failure:
            raise failure[0]
        if not given:
            yield self._batch([], [], None, window or Window(None, None))

    def _page(self, records: Records, context: Context, ahead: Position | None) -> Iterator[Batch]:
        """A page as batches: one at least, so that its place is known."""
        empty, spec = True, self._api.incremental
        try:
            for chunk in records.chunks():
                empty = False
                lines: Sequence[bytes] | None = None
                rows: Sequence[Mapping[str, Any]] = ()
                if context.include:
                    lines, rows = _with_fields(chunk.lines, chunk.rows, context.include)
                if spec is not None:
                    path = spec.cursor_path
                    values = [lookup(row, path) for row in rows] if lines else chunk.values(path)
                    if not self._boundary.met:
                        self._find_cursor(path, values, chunk.rows)
                    kept = self._kept(spec, values, lines or chunk.lines)
                    if len(kept) < len(values):
                        lines, rows = lines or chunk.lines, rows or chunk.rows
                        lines = [lines[number] for number in kept]
                        rows = [rows[number] for number in kept]
                if lines is None:
                    count = len(chunk.raws)
                    yield self._batch([chunk.block], chunk.seen, ahead, context.window, count)
                else:
                    yield self._batch(lines, rows, ahead, context.window)
        except WeirError as error:
            error.spoils = True  # Half a page was given: there is no place in the middle of it.
            raise
        if empty:
            yield self._batch([], [], ahead, context.window)

    def _find_cursor(
        self, path: str, values: Sequence[Any], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Refuse a cursorPath that leads nowhere: everything would be read anew at each run."""
        if all(value is None for value in values) and not any(has(row, path) for row in rows):
            raise SourceBadAnswer(
                f"incremental.cursorPath {path!r} leads to nothing in any of {len(rows)} records; "
                f"the first has {shape_of(rows[0])}",
                without_query(self._api.endpoint),
                spoils=True,
            )

    def _kept(
        self, spec: Incremental, values: Sequence[Any], lines: Sequence[bytes]
    ) -> Sequence[int]:
        """Which records are of the part that is asked for, and did not come before."""
        kept: Sequence[int] = range(len(values))
        if self._part is not None:
            kept = cut_to(self._part, spec, values)
        dropped = self._boundary.dropped([values[n] for n in kept], lambda n: lines[kept[n]])
        return [kept[n] for n in range(len(kept)) if n not in dropped] if dropped else kept

    def _batch(
        self,
        lines: Sequence[bytes],
        rows: Sequence[Mapping[str, Any]] | Columns,
        ahead: Position | None,
        window: Window,
        count: int | None = None,
    ) -> Batch:
        spec = self._api.incremental
        if ahead is not None:
            saved = {**ahead, "done": self._done}
            if spec:
                saved["last"] = [window.start, window.end]
            place = json.loads(self._concealed(json.dumps(saved)))
            if spec:
                place["boundary"] = self._boundary.save()
            return Batch(lines, rows, place, count=count)
        cursor = self._boundary.high
        if spec and spec.step_seconds is not None and window.end is not None:
            cursor = window.end
        return Batch(lines, rows, None, cursor, self._boundary.state(), count=count)

    def _count(self) -> None:
        if self._done >= self._api.limits.max_pages:
            raise SourceBadAnswer(
                f"more than limits.maxPages = {self._done} pages",
                without_query(self._api.endpoint),
                spoils=True,
            )
        self._done += 1

    # -- what is asked for -------------------------------------------------------------------

    def _contexts(self) -> Iterator[Context]:
        """Windows, and in each the parents' records, from where the position says."""
        spec, saved = self._api.incremental, self._saved
        resumed: Window | None = Window(*saved["window"]) if "window" in saved else None
        found = windows(spec, self._cursor, self._logical)
        if resumed is not None:
            # The window as it was asked for, then those that follow it.
            later = spec is not None and spec.step_seconds is not None and resumed.end is not None
            found = iter([resumed, *(self._windows_after(resumed) if later else ())])
        trail: Trail = saved.get("trail", [])
        ended = bool(saved.get("ended"))
        for window in found:
            named = {"startValue": window.start, "endValue": window.end}
            values = {"incremental": {k: v for k, v in named.items() if v is not None}}
            for context in self._parents(0, Context(window, [], values, {}), trail):
                if ended and context.trail == saved.get("trail", []):
                    ended = False
                    continue
                yield context
            trail, ended = [], False

    def _windows_after(self, window: Window) -> Iterator[Window]:
        spec = self._api.incremental
        if spec is None or window.end is None:
            return
        plain = replace(spec, lag=0, lag_seconds=0)
        for following in windows(plain, window.end, self._logical):
            if following.start != following.end:
                yield following

    def _parents(self, level: int, context: Context, trail: Trail) -> Iterator[Context]:
        parents = self._api.parents
        if level == len(parents):
            yield context
            return
        parent = parents[level]
        resumed = trail[level] if level < len(trail) else None
        place = resumed["page"] if resumed else None
        chain = self._chain(resource_of(parent), context, place)
        for got in chain.pages(lambda: False):
            page = chain.place(got.position)
            begin = self._found_again(parent.name, resumed, got.records) if resumed else 0
            for number, row in enumerate(_rows(got.records)):
                if number < begin:
                    continue
                again = resumed is not None and number == begin
                one = {"page": page, "row": number, "of": self._identity(parent.name, row)}
                known = dict(context.values.get("resources", {}))
                fields = {name: lookup(row, path) for name, path in parent.include.items()}
                below = Context(
                    context.window,
                    [*context.trail, resumed if resumed is not None and again else one],
                    {**context.values, "resources": {**known, parent.name: row}},
                    {**context.include, **fields},
                )
                yield from self._parents(level + 1, below, trail if again else [])
            resumed = None

    def _identity(self, parent: str, row: Mapping[str, Any]) -> str:
        """What tells a parent's record from the others: the values that its children are asked with."""
        paths = _paths_of(parent, repr(self._api))
        values = [as_text(lookup(row, path)) for path in paths]
        return blake2b(json.dumps(values).encode(), digest_size=8).hexdigest()

    def _found_again(self, parent: str, saved: Mapping[str, Any], records: Records) -> int:
        """Where on its page the record is at which the last call ended: others may have come before
        it, or gone.

        Raises
        ------
        PlaceForgotten
            It is not there any more.
        """
        number: int = saved["row"]
        if "of" not in saved:
            return number
        known = [self._identity(parent, row) for row in _rows(records)]
        if number < len(known) and known[number] == saved["of"]:
            return number
        if saved["of"] not in known:
            raise PlaceForgotten(f"the record of {parent} at which the last call ended is gone")
        return known.index(saved["of"])

    def _chain_of(self, context: Context) -> Chain:
        """The chain of a context: from its first page, or from where the position says."""
        same = context.saved() == {
            k: self._saved[k] for k in ("window", "trail") if k in self._saved
        }
        place = self._saved if same and "at" in self._saved else None
        if same:
            self._saved = {
                k: v for k, v in self._saved.items() if k in ("window", "trail", "ended")
            }
        return self._chain(self._resource, context, place)

    def _chain(
        self, resource: Resource, context: Context, place: Mapping[str, Any] | None
    ) -> Chain:
        api = self._api
        own = resource is self._resource
        extra = context.window.params(api.incremental) if own else {}
        kind = api.format.type if own or api.async_job else "json"

        def request(paginator: Paginator, position: Position) -> Request:
            return build(
                resource,
                paginator,
                position,
                context.values,
                extra,
                self._secrets.fill,
                self._egress,
                kind,
                float(api.limits.timeout_seconds),
            )

        def read(answer: Answer) -> Records:
            fmt = api.format if kind == api.format.type else type(api.format)()
            limit, shape = api.limits.max_response_bytes, self._shape if own else None
            return decode(answer, fmt, resource.data_selector, limit, shape)

        keep = own or self._api.async_job is not None
        return Chain(
            resource.paginator,
            place,
            self._calls,
            self._budget,
            request,
            read,
            refuse_reference,
            keep,
        )

    # -- jobs --------------------------------------------------------------------------------

    def _job_run(self) -> JobRun:
        assert self._api.async_job is not None
        saved = self._saved.get("job")
        return JobRun(self._api.async_job, self._clock, self._start.run, saved)

    def _wait(self, context: Context, run: JobRun) -> Iterator[bool]:
        api, job = self._api, self._api.async_job
        assert job is not None

        def ask(resource: Resource, values: Values) -> Answer:
            extra = context.window.params(api.incremental) if resource is self._resource else {}
            single = Paginator()
            request = build(
                resource, single, {}, values, extra, self._secrets.fill, self._egress, "json",
                float(api.limits.timeout_seconds),
            )  # fmt: skip
            return self._calls.submit(request).result()

        return run.wait(
            lambda: ask(self._resource, context.values),
            lambda answer: ask(status_resource(api, job), {**context.values, "job": answer}),
            self._start.enough,
        )

    def _result_chain(self, context: Context, run: JobRun) -> Chain:
        assert self._api.async_job is not None
        values = {**context.values, "job": run.answer}
        below = Context(context.window, context.trail, values, context.include)
        place = self._saved if "at" in self._saved else None
        self._saved = {}
        return self._chain(result_resource(self._api, self._api.async_job), below, place)

    # -- secrets in positions ----------------------------------------------------------------

    def _concealed(self, text: str) -> str:
        return self._auth.conceal(self._secrets.conceal(text))

    def _revealed(self, text: str) -> str:
        return self._auth.reveal(text)


@functools.lru_cache(maxsize=16)
def _paths_of(parent: str, configuration: str) -> tuple[str, ...]:
    found = re.findall(rf"\{{resources\.{parent}\.([^{{}}]+)\}}", configuration)
    return tuple(dict.fromkeys(found))


def _rows(records: Records) -> Iterator[Mapping[str, Any]]:
    for chunk in records.chunks():
        yield from chunk.rows


def _with_fields(
    lines: Sequence[bytes], rows: Sequence[Mapping[str, Any]], fields: Mapping[str, Any]
) -> tuple[list[bytes], list[dict[str, Any]]]:
    """Records with fields added; one of the same name is replaced."""
    try:
        tail = b"," + msgspec.json.encode(fields)[1:] + b"\n"
    except (TypeError, msgspec.MsgspecError, UnicodeEncodeError):  # a number kept as its text
        tail = b"," + dump_line(dict(fields))[1:]
    names = fields.keys()
    wide = [{**row, **fields} for row in rows]
    made = [
        line[:-2].rstrip() + tail if row and names.isdisjoint(row) else dump_line(new)
        for line, row, new in zip(lines, rows, wide, strict=True)
    ]
    return made, wide
