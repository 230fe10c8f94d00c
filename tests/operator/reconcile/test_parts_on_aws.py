"""Backfills and replays: their parts are started a few at a time, once each, and followed to the end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from rig import Rig

from weir.kube.keys import Key
from weir.reconcile.ledger import Ledger
from weir.reconcile.view import ready_name
from weir_contract.codec import dumps
from weir_contract.manifest import lane_source
from weir_contract.moments import iso
from weir_contract.runs import Failure, RunRecord, StageAccount
from weir_contract.state import (
    BODY,
    pending_sk,
    pipeline_pk,
    run_sk,
    source_pk,
    taken_sk,
)

pytestmark = [pytest.mark.cluster, pytest.mark.aws]

DAYS = {"from": "2026-01-01", "to": "2026-01-06", "timezone": "Europe/Berlin"}
API = {
    "endpoint": "https://api.example.com/x",
    "schedule": "rate(1 hour)",
    "incremental": {"cursorPath": "at", "startParam": "since", "endParam": "until"},
}
names = (f"part-{n}" for n in itertools.count())


@pytest.fixture(scope="module")
def pipeline(rig: Rig) -> Iterator[Key]:
    """Sources and a Pipeline that are ready. Nothing runs by itself."""
    sources = [
        rig.apply(
            "DataSource",
            name,
            {
                "platform": rig.platform_name,
                "suspend": True,
                "source": {
                    "restApi": {k: v for k, v in API.items() if name == "past" or k[0] != "i"}
                },
                "schema": {"fields": [{"name": "id", "type": "integer"}]},
            },
        )
        for name in ("past", "whole")
    ]
    key = rig.apply(
        "Pipeline",
        "past",
        {
            "platform": rig.platform_name,
            "sources": [{"name": "past", "primary": True}, {"name": "whole", "primary": True}],
            "destination": {"prefix": "past/"},
            "stages": [{"name": "tidy", "clean": {"trim": True}}],
        },
    )
    rig.settle(key, *sources)
    yield key
    rig.delete(key)
    for source in sources:
        rig.delete(source)


class Machines:
    """Step Functions as the operator sees it; what an execution comes to, the test says."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.started = rig, dict[str, dict[str, Any]]()
        self.states: dict[str, str] = {}
        self.asked: list[str] = []

    def start(self, _ledger: Any, machine_arn: str, name: str, payload: dict[str, Any]) -> str:
        self.asked.append(name)
        self.started.setdefault(name, payload)
        return machine_arn.replace(":stateMachine:", ":execution:") + f":{name}"

    def execution(self, _ledger: Any, arn: str) -> dict[str, Any] | None:
        return {"status": self.states.get(arn.rpartition(":")[2], "RUNNING")}

    @property
    def table(self) -> Any:
        table = ready_name(self.rig.services.store, self.rig.platform_name, "state")
        return self.rig.aws.admin_session().client("dynamodb"), table

    def put(self, pk: str, sk: str, **values: Any) -> None:
        client, table = self.table
        item = {"pk": {"S": pk}, "sk": {"S": sk}} | values
        client.put_item(TableName=table, Item=item)

    def record(self, record: RunRecord) -> None:
        pk = source_pk(record.object) if record.kind == "source" else pipeline_pk(record.object)
        self.put(pk, run_sk(record.run), **{BODY: {"S": dumps(record)}})

    def ends(self, name: str, state: str = "Succeeded", rows: int = 10) -> str:
        """An execution ends; returns the id of the manifest that it has landed."""
        now, lane = iso(self.rig.now()), self.started[name]["lane"]
        source = f"{self.rig.namespace}/past"
        failure = Failure("land", "SourceForbidden", "403.", "Ask.") if state == "Failed" else None
        landed = f"{lane_source(source, lane)}#1"
        self.record(
            RunRecord(
                name, "source", source, state, now, now,  # type: ignore[arg-type]
                manifests=() if failure else (landed,), rows=0 if failure else rows,
                failure=failure, lane=lane,
            )
        )  # fmt: skip
        self.states[name] = "FAILED" if failure else "SUCCEEDED"
        return landed

    def takes(self, *manifests: str, run: str = "pass-9") -> None:
        """A pass takes manifests."""
        pipeline, now = f"{self.rig.namespace}/past", iso(self.rig.now())
        for one in manifests:
            source, _, number = one.rpartition("#")
            self.put(pipeline_pk(pipeline), taken_sk(source, int(number)), run={"S": run})
        account = (StageAccount("land", "land", 20, 20),)
        self.record(
            RunRecord(
                run, "pipeline", pipeline, "Succeeded", now, now, manifests=manifests, rows=20,
                account=account,
            )
        )  # fmt: skip


@pytest.fixture
def machines(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Machines:
    found = Machines(rig)
    monkeypatch.setattr(Ledger, "start", lambda *given: found.start(*given))
    monkeypatch.setattr(Ledger, "execution", lambda *given: found.execution(*given))
    return found


def ask(rig: Rig, name: str = "", **spec: Any) -> Key:
    if "backfill" in spec:
        spec["backfill"] = {**DAYS, "sources": ["past"], **spec["backfill"]}
    return rig.apply("PipelineRun", name or next(names), {"pipeline": "past", **spec})


def progress(rig: Rig, key: Key) -> dict[str, Any]:
    return dict(rig.get(key)["status"]["progress"])


def test_parts_are_started_a_few_at_a_time_and_their_passes_waited_for(
    rig: Rig, pipeline: Key, machines: Machines
) -> None:
    key = ask(rig, backfill={"concurrency": 2})
    rig.look(key)
    assert rig.condition(key)["reason"] == "Extracting"
    first, second = machines.started
    assert machines.started[first]["window"] == {
        "from": "2025-12-31T23:00:00.000Z",
        "to": "2026-01-01T23:00:00.000Z",
    }
    assert machines.started[first]["requestedBy"] == f"{rig.namespace}/{key.name}"
    rig.look(key)
    assert len(machines.asked) == 2
    landed = [machines.ends(second)]
    rig.look(key)
    assert len(machines.started) == 3
    assert (progress(rig, key)["landed"], progress(rig, key)["rows"]) == (1, 10)
    while len(machines.states) < 5:
        landed += [machines.ends(n) for n in list(machines.started) if n not in machines.states]
        rig.look(key)
    assert rig.condition(key)["reason"] == "Processing"
    assert "5 of 5 parts" in rig.condition(key)["message"]
    machines.takes(*landed[:4])
    rig.look(key)
    assert rig.condition(key)["reason"] == "Processing"
    machines.takes(landed[4], run="pass-10")
    rig.look(key)
    said = rig.condition(key)
    assert (said["status"], said["reason"], said["message"]) == ("True", "Succeeded", "50 rows")
    assert rig.get(key)["status"]["lastRun"]["account"]
    rig.silence()
    rig.look(key)
    assert (rig.aws_writes(), rig.kube.writes, rig.told.said) == ([], [], [])
    spec = rig.get(key)["spec"]
    rig.kube.delete(rig.get(key))
    rig.apply("PipelineRun", key.name, spec)
    rig.look(key)
    assert rig.condition(key)["reason"] == "AlreadyRan"
    assert len(machines.asked) == 5


def test_a_part_that_fails_is_tried_again_and_then_told_while_others_go_on(
    rig: Rig, pipeline: Key, machines: Machines
) -> None:
    key = ask(rig, backfill={"to": "2026-01-03"})
    rig.look(key)
    (first,) = machines.started
    machines.ends(first, "Failed")
    rig.look(key)
    assert list(machines.started) == [first, f"{first}-2"]
    machines.ends(f"{first}-2", "Failed")
    rig.look(key)
    machines.ends(f"{first}-3", "Failed")
    rig.look(key)
    (failed,) = progress(rig, key)["failed"]
    assert failed["part"] == 0 and "SourceForbidden" in failed["message"]
    other = list(machines.started)[-1]
    machines.takes(machines.ends(other))
    rig.look(key)
    said = rig.condition(key)
    assert (said["status"], said["reason"]) == ("False", "Failed")
    assert "1 of 2 parts failed" in said["message"] and "2026-01-01T00:00" in said["message"]


def test_after_some_failed_parts_no_further_one_is_started(
    rig: Rig, pipeline: Key, machines: Machines
) -> None:
    key = ask(rig, backfill={"to": "2026-03-01", "concurrency": 20})
    for _ in range(6):
        rig.look(key)
        for name in list(machines.started):
            if name not in machines.states:
                machines.ends(name, "Failed")
    said = rig.condition(key)
    assert said["reason"] == "Failed"
    assert "39 parts were not started" in said["message"]


def test_an_operator_that_forgot_starts_nothing_twice(
    rig: Rig, pipeline: Key, machines: Machines
) -> None:
    key = ask(rig, backfill={"concurrency": 3})
    rig.look(key)
    landed = [machines.ends(name) for name in list(machines.started)]
    rig.look(key)
    began = dict(machines.started)
    # As if it had died before it wrote any of this down.
    obj = rig.get(key)
    rig.kube.put_status(obj, {})
    for _ in range(4):
        rig.look(key)
        landed += [machines.ends(n) for n in list(machines.started) if n not in machines.states]
    assert list(machines.started)[: len(began)] == list(began) and len(machines.started) == 5
    assert progress(rig, key)["rows"] == 50


def test_a_pass_that_failed_for_good_ends_it(rig: Rig, pipeline: Key, machines: Machines) -> None:
    key = ask(rig, backfill={"to": "2026-01-02"})
    rig.look(key)
    (name,) = machines.started
    source, _, number = machines.ends(name).rpartition("#")
    rig.look(key)
    pk, now = pipeline_pk(f"{rig.namespace}/past"), iso(rig.now())
    pending = pending_sk(source, int(number))
    for attempts, reason in ((2, "Processing"), (5, "Failed")):
        machines.put(pk, pending, run={"S": "pass-x"}, attempt={"N": str(attempts)})
        failure = Failure("process", "QualityFailed", "no.")
        machines.record(
            RunRecord(
                "pass-x", "pipeline", f"{rig.namespace}/past", "Failed", now, now, failure=failure
            )
        )
        rig.look(key)
        assert rig.condition(key)["reason"] == reason
    assert "QualityFailed" in rig.condition(key)["message"]


def test_a_replay_takes_each_source_of_each_run_and_names_its_lane_by_the_run(
    rig: Rig, pipeline: Key, machines: Machines
) -> None:
    past, now = f"{rig.namespace}/past", iso(rig.now())
    machines.record(
        RunRecord(
            "pass-1", "pipeline", past, "Succeeded", now, now,
            manifests=(f"{past}#4", f"{past}@past/x-0001#1", f"{rig.namespace}/whole#2"),
            quarantine_uri="s3://q/x/",
        )
    )  # fmt: skip
    key = ask(rig, replay={"runs": ["pass-1"]})
    rig.look(key)
    assert [(one["lane"], one["replay"]) for one in machines.started.values()] == [
        ("past/replay-pass-1", "pass-1")
    ] * 2
    assert progress(rig, key)["parts"] == 2


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"backfill": {"sources": ["whole"]}}, "incremental is missing"),
        ({"backfill": {"sources": ["other"]}}, "does not drive"),
        ({"backfill": {"to": "2025-01-01"}}, "empty"),
        ({"backfill": {"to": "2200-01-01", "step": "100d"}}, "future"),
        ({"backfill": {"timezone": "Nowhere/Land"}}, "Nowhere/Land"),
        ({"backfill": {"force": True}}, "files, mails and topics"),
        ({"replay": {"runs": ["pass-unknown"]}}, "no run pass-unknown"),
        ({"replay": {"runs": ["pass-clean"]}}, "nothing to replay"),
        ({"replay": {"runs": ["pass-failed"]}}, "is Failed"),
    ],
)
def test_what_can_not_be_done_says_why_and_starts_nothing(
    rig: Rig, pipeline: Key, machines: Machines, spec: dict[str, Any], what: str
) -> None:
    past, now = f"{rig.namespace}/past", iso(rig.now())
    machines.record(RunRecord("pass-clean", "pipeline", past, "Succeeded", now, now))
    machines.record(RunRecord("pass-failed", "pipeline", past, "Failed", now, now))
    key = ask(rig, **spec)
    rig.look(key)
    said = rig.condition(key)
    assert (said["reason"], what in said["message"]) == ("InvalidSpec", True), said
    assert machines.asked == []
