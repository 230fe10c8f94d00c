"""Asynchronous jobs: the endpoint creates one, its state is asked for, its result is then read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from weir_contract.rest import AsyncJob, RestApi
from weir_lambdas.api_ingestion.client import Answer
from weir_lambdas.api_ingestion.requests import Resource
from weir_lambdas.api_ingestion.spool import Spooled
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.egress import joined, without_query
from weir_lambdas.common.errors import SourceBadAnswer
from weir_lambdas.landing.batch import PlaceForgotten
from weir_lambdas.landing.paths import lookup
from weir_lambdas.landing.records import as_text, parse

MAX_ANSWER_BYTES = 64 * 1024
"""A job's description: it stands in the checkpoint while it is waited for."""


def status_resource(api: RestApi, job: AsyncJob) -> Resource:
    """Where a job's state is asked for."""
    return Resource(job.status_url, "GET", api.headers, {}, {}, {}, None, type(api.paginator)())


def result_resource(api: RestApi, job: AsyncJob) -> Resource:
    """Where a job's result is read: it is what has pages."""
    return Resource(
        job.download_url, "GET", api.headers, {}, {}, {}, api.data_selector, api.paginator
    )


def described(answer: Answer) -> dict[str, Any]:
    """A job as an answer describes it.

    Raises
    ------
    SourceBadAnswer
        It is no JSON object, or larger than :data:`MAX_ANSWER_BYTES`.
    """
    where = without_query(answer.url)
    body = answer.body
    if isinstance(body, Spooled) or len(body) > MAX_ANSWER_BYTES:
        raise SourceBadAnswer(f"a job's description has {len(body)} bytes", where)
    try:
        value = parse(body) if body.strip() else {}
    except ValueError as error:
        raise SourceBadAnswer(f"a job's description is no valid JSON: {error}", where) from error
    if not isinstance(value, dict):
        raise SourceBadAnswer("a job's description is no JSON object", where)
    headers = {name.lower(): text for name, text in answer.headers.items()}
    # Many APIs answer 202 with nothing but the place to look at.
    # It may be relative (RFC 9110, 10.2.2).
    place = joined(answer.url, headers.get("location", ""))
    return {"location": place, **value} if "location" in headers else value


class JobRun:
    """One job, from its creation to its end.

    Parameters
    ----------
    run
        Who asks. A job of an earlier run that came to nothing is no reason for this one to fail.
    saved
        What :meth:`save` gave for a job that is under way already.
    """

    def __init__(
        self, job: AsyncJob, clock: Clock, run: str, saved: Mapping[str, Any] | None
    ) -> None:
        self._job, self._clock = job, clock
        self._run = saved.get("run", run) if saved else run
        self._earlier = self._run != run
        self.answer: dict[str, Any] | None = dict(saved["answer"]) if saved else None
        self._since = saved["since"] if saved else clock.now().timestamp()

    def save(self) -> dict[str, Any]:
        """What is needed to go on waiting, plain JSON."""
        answer = json.loads(json.dumps(self.answer, default=str))
        return {"answer": answer, "since": self._since, "run": self._run}

    def wait(
        self,
        create: Callable[[], Answer],
        status: Callable[[Mapping[str, Any]], Answer],
        stop: Callable[[], bool],
    ) -> Iterator[bool]:
        """Ask until the job is done; yields True then, or False where the time is up before.

        Raises
        ------
        SourceBadAnswer
            The job failed, or takes longer than its timeout.
        PlaceForgotten
            So did one of an earlier run.
        """
        job = self._job
        if self.answer is None:
            self.answer = described(create())
        while True:
            answer = status(self.answer)
            found = described(answer)
            state, where = as_text(lookup(found, job.status_path)), without_query(answer.url)
            if state in job.completed:
                self.answer = {**self.answer, **found}
                yield True
                return
            if state in job.failed:
                raise self._came_to_nothing(f"the job ended as {state!r}", where)
            if state is None:
                raise SourceBadAnswer(f"the job has no state at {job.status_path!r}", where)
            if self._clock.now().timestamp() - self._since > job.timeout_seconds:
                what = f"the job is {state!r} still after {job.timeout_seconds} s"
                raise self._came_to_nothing(what, where)
            if stop():
                yield False
                return
            self._clock.sleep(job.interval_seconds)

    def _came_to_nothing(self, what: str, where: str) -> Exception:
        return PlaceForgotten(f"{where}: {what}") if self._earlier else SourceBadAnswer(what, where)
