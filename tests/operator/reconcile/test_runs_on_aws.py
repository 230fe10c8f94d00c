"""PipelineRuns: asked once, followed to their end, gone in time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from rig import Rig

from weir.kube.keys import Key
from weir_contract.moments import iso
from weir_contract.runs import Failure, RunRecord

pytestmark = [pytest.mark.cluster, pytest.mark.aws]


@pytest.fixture(scope="module")
def pipeline(rig: Rig) -> Iterator[Key]:
    """A source and a Pipeline that are ready. Nothing runs by itself."""
    source = rig.apply(
        "DataSource",
        "asked",
        {
            "platform": rig.platform_name,
            "suspend": True,
            "source": {
                "restApi": {"endpoint": "https://api.example.com/x", "schedule": "rate(1 hour)"}
            },
            "schema": {"fields": [{"name": "id", "type": "integer"}]},
        },
    )
    key = rig.apply(
        "Pipeline",
        "asked",
        {
            "platform": rig.platform_name,
            "sources": [{"name": "asked"}],
            "destination": {"prefix": "asked/"},
            "stages": [{"name": "tidy", "clean": {"trim": True}}],
        },
    )
    rig.settle(key, source)
    yield key
    rig.delete(key)
    rig.delete(source)


def ask(rig: Rig, name: str, **changes: Any) -> Key:
    spec = {"pipeline": "asked", "now": {"extract": False}, **changes.pop("spec", {})}
    return rig.apply(
        "PipelineRun", name, {k: v for k, v in spec.items() if v is not None}, **changes
    )


def record(rig: Rig, run: Key, state: str = "Succeeded", rows: int = 3) -> None:
    """What the pipeline's functions write into the feed at the end of a pass."""
    now = iso(rig.now())
    failure = Failure("Load", "BadRow", "a row broke the load.") if state == "Failed" else None
    found = RunRecord(
        run=f"pass-{run.name}",
        kind="pipeline",
        object=f"{rig.namespace}/asked",
        state=state,
        started=now,
        finished=now,
        rows=rows,
        requested_by=(run.id,),
        failure=failure,
    )
    rig.services.books.of(rig.platform_name).enter(f"{now}#{found.run}", found)


def test_a_run_is_asked_once_and_followed_to_its_end(rig: Rig, pipeline: Key) -> None:
    key = ask(rig, "plain")
    rig.silence()
    rig.look(key)
    assert rig.condition(key)["reason"] == "Processing"
    assert rig.aws_writes().count("lambda:Invoke") == 1
    rig.look(key)
    assert rig.aws_writes().count("lambda:Invoke") == 1
    record(rig, key)
    rig.look(key)
    said = rig.condition(key)
    assert (said["status"], said["reason"]) == ("True", "Succeeded")
    assert "3 rows" in said["message"]
    rig.silence()
    rig.look(key)
    assert (rig.aws_writes(), rig.kube.writes, rig.told.said) == ([], [], [])


def test_a_run_that_comes_back_has_already_run(rig: Rig, pipeline: Key) -> None:
    key = ask(rig, "again")
    rig.look(key)
    record(rig, key)
    rig.look(key)
    rig.kube.delete(rig.get(key))
    ask(rig, "again")
    rig.silence()
    rig.look(key)
    assert rig.condition(key)["reason"] == "AlreadyRan"
    assert rig.condition(key)["status"] == "True"
    assert "lambda:Invoke" not in rig.aws_writes()


def test_a_run_that_failed_says_why_and_is_not_repeated(rig: Rig, pipeline: Key) -> None:
    key = ask(rig, "broken")
    rig.look(key)
    record(rig, key, state="Failed")
    rig.look(key)
    said = rig.condition(key)
    assert (said["status"], said["reason"]) == ("False", "Failed")
    assert "a row broke the load" in said["message"]
    rig.kube.delete(rig.get(key))
    ask(rig, "broken")
    rig.look(key)
    assert rig.condition(key)["reason"] == "AlreadyRan"
    assert "a row broke the load" in rig.condition(key)["message"]


@pytest.mark.parametrize(("tracked", "stays"), [(False, False), (True, True)])
def test_a_finished_run_goes_after_its_time_unless_a_tool_would_bring_it_back(
    rig: Rig, pipeline: Key, tracked: bool, stays: bool
) -> None:
    marks = {"labels": {"argocd.argoproj.io/instance": "app"}} if tracked else {}
    key = ask(rig, f"short-{str(tracked).lower()}", spec={"ttl": "1h"}, **marks)
    rig.look(key)
    record(rig, key)
    assert (rig.look(key).requeue_after is None) is stays
    rig.look(key)
    assert rig.kube.get(key) is not None
    rig.clock[0] = timedelta(hours=2)
    try:
        rig.look(key)
    finally:
        rig.clock[0] = timedelta()
    assert (rig.kube.get(key) is not None) is stays


def test_a_run_of_a_pipeline_that_is_not_there_waits_and_says_so(rig: Rig, pipeline: Key) -> None:
    key = ask(rig, "lost", spec={"pipeline": "nowhere"})
    rig.look(key)
    said = rig.condition(key)
    assert (said["status"], said["reason"]) == ("False", "PipelineNotFound")
    assert "nowhere" in said["message"]
