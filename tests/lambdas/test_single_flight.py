"""Single flight, then drain: no interleaving loses a wake-up, flies twice, or takes twice."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from weir_contract.codec import dumps, loads
from weir_contract.manifest import Manifest, Part
from weir_contract.pipelines import Destination, Input, Load, PipelineConfig, Stage
from weir_contract.rows import RowContract
from weir_contract.runs import RunPlan, RunRecord, RunResult, StageAccount
from weir_contract.state import BODY, FLIGHT, pipeline_pk, run_sk, source_pk, subscriber_sk
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.errors import AccountDoesNotAddUp
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.run_control.control import (
    MAX_MANIFESTS,
    Control,
    Pending,
    choose,
    extraction_starts,
    whole_extractions,
)
from weir_lambdas.trigger.flight import FlightBusy, Flights, Pace
from weir_lambdas.trigger.handler import Trigger

PIPELINE, SOURCE = "shop/orders", "shop/orders"
MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:weir-x"


def manifest(sequence: int, bucket: str, rows: int = 1, **more: Any) -> Manifest:
    part = Part("k", rows, 10, "0" * 64)
    return Manifest(
        SOURCE,
        sequence,
        1,
        more.pop("run", f"r{sequence}"),
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z",
        bucket,
        (part,) if rows else (),
        **more,
    )


def config(bucket: str, table: str, *stages: Stage, max_passes: int = 20) -> PipelineConfig:
    return PipelineConfig(
        platform="default",
        namespace="shop",
        name="orders",
        inputs=(Input("orders", SOURCE, RowContract()),),
        stages=stages,
        processed=Destination(bucket, "p/"),
        raw_bucket=bucket,
        quarantine_bucket=bucket,
        artifacts_bucket=bucket,
        state_table=table,
        glue_database="db",
        region="us-east-1",
        max_passes=max_passes,
    )


class Machines:
    """Step Functions whose executions are threads that run the passes of the state machine."""

    def __init__(self, control: Control, storage: Storage, seed: int) -> None:
        self.control, self.storage = control, storage
        self.random = random.Random(seed)
        self.lock, self.live, self.most = threading.Lock(), set[str](), 0
        self.known: set[str] = set()
        self.threads: list[threading.Thread] = []
        self.taken: list[str] = []
        self.errors: list[BaseException] = []
        self.fail_next = 0

    def running(self, arn: str) -> bool | None:
        with self.lock:
            return arn in self.live if arn in self.known else None

    def start(self, machine_arn: str, name: str, payload: Mapping[str, Any]) -> None:
        arn = f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
        time.sleep(self.random.random() * 0.01)
        with self.lock:
            assert arn not in self.known
            self.known.add(arn)
            self.live.add(arn)
        thread = threading.Thread(target=self.run, args=(machine_arn, arn))
        self.threads.append(thread)
        thread.start()

    def run(self, machine_arn: str, arn: str) -> None:
        try:
            self.passes(machine_arn, arn)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.errors.append(error)
        finally:
            with self.lock:
                self.live.discard(arn)

    def passes(self, machine_arn: str, arn: str) -> None:
        while True:
            begun = self.control.begin(arn, {})
            if not begun["empty"]:
                with self.lock:
                    if self.fail_next:
                        self.fail_next -= 1
                        return  # the execution dies without a word
                plan = loads(RunPlan, self.storage.get_uri(begun["planUri"]))
                rows = begun["rows"]
                result = RunResult(
                    plan.run, plan.attempt, (StageAccount("land", "land", rows, rows),)
                )
                bucket, key = plan.result_uri.removeprefix("s3://").split("/", 1)
                self.storage.put(bucket, key, dumps(result).encode(), "application/json")
                time.sleep(self.random.random() * 0.02)
                self.control.account({**begun, "loads": {}})
                with self.lock:
                    self.taken += plan.manifests
            released = self.control.release(arn, False)
            if released["handOver"]:
                self.start(machine_arn, uuid4().hex, {})
                return
            if not released["more"]:
                return

    def join(self) -> None:
        while any(thread.is_alive() for thread in self.threads):
            for thread in list(self.threads):
                thread.join(30)


@pytest.mark.parametrize("seed", range(6))
def test_concurrent_arrivals_are_each_taken_exactly_once_without_a_sweep(
    table: Table, storage: Storage, bucket: str, seed: int
) -> None:
    chance = random.Random(seed)
    control = Control(
        config(bucket, table.name, max_passes=chance.choice([1, 2, 20])),
        f"s3://{bucket}/c",
        table,
        storage,
        SystemClock(),
    )
    machines = Machines(control, storage, seed)
    clock = SystemClock()
    flights = Flights(table, machines, clock, lambda: uuid4().hex)
    uris = []
    for sequence in range(1, 13):
        item = manifest(sequence, bucket)
        storage.put(bucket, item.key, dumps(item).encode(), "application/json")
        uris.append(f"s3://{bucket}/{item.key}")
    failures: list[BaseException] = []

    def trigger(numbers: list[int]) -> None:
        try:
            for number in numbers:
                time.sleep(chance.random() * 0.03)
                while flights.arrive(PIPELINE, SOURCE, number, uris[number - 1]):
                    try:
                        flights.ensure(PIPELINE, MACHINE)
                        break
                    except FlightBusy:  # SQS redelivers
                        time.sleep(0.005)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    numbers = list(range(1, 13)) + chance.sample(range(1, 13), 6)  # some events come twice
    chance.shuffle(numbers)
    threads = [threading.Thread(target=trigger, args=(numbers[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    machines.join()
    assert not failures and not machines.errors
    assert sorted(machines.taken) == uris
    flight = table.get(pipeline_pk(PIPELINE), FLIGHT) or {}
    assert "execution" not in flight
    assert flight["pending"] == 0


def test_an_execution_that_died_is_taken_over_and_its_run_repeated(
    table: Table, storage: Storage, bucket: str
) -> None:
    control = Control(config(bucket, table.name), f"s3://{bucket}/c", table, storage, SystemClock())
    machines = Machines(control, storage, 1)
    flights = Flights(table, machines, SystemClock(), lambda: uuid4().hex)
    for sequence in (1, 2):
        item = manifest(sequence, bucket)
        storage.put(bucket, item.key, dumps(item).encode(), "application/json")
        machines.fail_next = 1 if sequence == 1 else 0
        flights.arrive(PIPELINE, SOURCE, sequence, f"s3://{bucket}/{item.key}")
        assert flights.ensure(PIPELINE, MACHINE)
        machines.join()
    assert [uri[-6:-5] for uri in machines.taken] == ["1", "2"]
    records = [loads(RunRecord, item[BODY]) for item in table.query(pipeline_pk(PIPELINE), "RUN#")]
    assert {(r.state, r.manifests) for r in records} == {
        ("Succeeded", ("shop/orders#1",)),
        ("Succeeded", ("shop/orders#2",)),
    }


def test_an_execution_that_is_being_started_is_not_started_again(table: Table, clock: Any) -> None:
    class Slow:
        def running(self, arn: str) -> bool | None:
            return None

        def start(self, *args: Any) -> None:
            """Step Functions does not know it yet."""

    flights = Flights(table, Slow(), clock, lambda: uuid4().hex)
    assert flights.ensure(PIPELINE, MACHINE)
    with pytest.raises(FlightBusy):
        flights.ensure(PIPELINE, MACHINE)
    clock.pass_time(61)
    assert flights.ensure(PIPELINE, MACHINE)


def test_a_start_that_fails_gives_the_flight_back(table: Table, clock: Any) -> None:
    class Broken:
        def running(self, arn: str) -> bool | None:
            return None

        def start(self, *args: Any) -> None:
            raise RuntimeError("throttled")

    flights = Flights(table, Broken(), clock, lambda: uuid4().hex)
    with pytest.raises(RuntimeError):
        flights.ensure(PIPELINE, MACHINE)
    assert "execution" not in (table.get(pipeline_pk(PIPELINE), FLIGHT) or {})


def test_the_minimum_interval_delays_the_next_start(table: Table, clock: Any) -> None:
    seen: list[Any] = []

    class Recorder:
        def running(self, arn: str) -> bool | None:
            return False

        def start(self, machine: str, name: str, payload: Any) -> None:
            seen.append(payload)

    table.put(pipeline_pk(PIPELINE), FLIGHT, {"last_start": "2026-03-01T11:59:00.000Z"})
    Flights(table, Recorder(), clock, lambda: "n").ensure(PIPELINE, MACHINE, Pace(300))
    assert seen == [{"notBefore": "2026-03-01T12:04:00.000Z"}]


@pytest.mark.parametrize(
    ("pace", "begins"),
    [
        (Pace(3600, 600), "2026-03-01T12:10:00.000Z"),
        (Pace(300, 600), "2026-03-01T12:04:00.000Z"),
        (Pace(60, 600), None),
        (Pace(3600, None, 500), None),
        (Pace(3600, None, 501), "2026-03-01T12:59:00.000Z"),
    ],
)
def test_data_waits_no_longer_than_it_may_and_much_of_it_not_at_all(
    table: Table, clock: Any, pace: Pace, begins: str | None
) -> None:
    seen: list[Any] = []

    class Recorder:
        def running(self, arn: str) -> bool | None:
            return None

        def start(self, machine: str, name: str, payload: Any) -> None:
            seen.append(payload)

    table.put(pipeline_pk(PIPELINE), FLIGHT, {"last_start": "2026-03-01T11:59:00.000Z"})
    flights = Flights(table, Recorder(), clock, lambda: "n")
    for sequence in (1, 2):
        assert flights.arrive(PIPELINE, SOURCE, sequence, "s3://b/k", 250)
    flights.ensure(PIPELINE, MACHINE, pace)
    assert seen == [{"notBefore": begins} if begins else {}]


def test_an_execution_that_waits_is_taken_over_once_enough_has_landed(
    table: Table, storage: Storage, bucket: str, clock: Any
) -> None:
    started: list[tuple[str, Any]] = []
    names = (f"n{n}" for n in range(9))

    class Recorder:
        def running(self, arn: str) -> bool | None:
            return True

        def start(self, machine: str, name: str, payload: Any) -> None:
            started.append((name, payload))

    table.put(pipeline_pk(PIPELINE), FLIGHT, {"last_start": "2026-03-01T11:59:00.000Z"})
    flights, pace = Flights(table, Recorder(), clock, lambda: next(names)), Pace(3600, None, 500)

    def arrive(sequence: int) -> None:
        item = manifest(sequence, bucket)
        storage.put(bucket, item.key, dumps(item).encode(), "application/json")
        assert flights.arrive(PIPELINE, SOURCE, sequence, f"s3://{bucket}/{item.key}", 250)
        flights.ensure(PIPELINE, MACHINE, pace)

    arrive(1)
    arrive(2)
    arrive(3)
    assert started == [("n0", {"notBefore": "2026-03-01T12:59:00.000Z"}), ("n1", {})]
    control = _control(table, storage, bucket)
    arns = [f"{MACHINE.replace(':stateMachine:', ':execution:')}:n{n}" for n in range(2)]
    assert control.begin(arns[0], {})["empty"], "the one that waited takes nothing"
    begun = control.begin(arns[1], {})
    assert (begun["empty"], begun["manifests"]) == (False, 3)
    # Under way, it is left alone, and what lands from now on is counted anew.
    clock.pass_time(60)
    arrive(4)
    arrive(5)
    assert len(started) == 2
    assert table.get(pipeline_pk(PIPELINE), FLIGHT)["landed"] == 500


def _control(table: Table, storage: Storage, bucket: str, *stages: Stage, **more: Any) -> Control:
    return Control(
        config(bucket, table.name, *stages, **more),
        f"s3://{bucket}/c",
        table,
        storage,
        SystemClock(),
    )


def _arrive(table: Table, storage: Storage, item: Manifest) -> None:
    storage.put(item.bucket, item.key, dumps(item).encode(), "application/json")
    flights = Flights(table, None, SystemClock(), lambda: "x")  # type: ignore[arg-type]
    assert flights.arrive(PIPELINE, SOURCE, item.sequence, f"s3://{item.bucket}/{item.key}")


ME = "arn:aws:states:us-east-1:000000000000:execution:weir-x:me"


def test_a_failed_pass_lands_without_a_restart_and_is_repeated_under_its_own_id(
    table: Table, storage: Storage, bucket: str
) -> None:
    control = _control(table, storage, bucket)
    _arrive(table, storage, manifest(1, bucket))
    first = control.begin(ME, {})
    said = control.fail(
        {
            "execution": ME,
            "run": first["run"],
            "stage": "process",
            "error": {"Error": "LoadFailed", "Cause": "boom"},
        }
    )
    assert "boom" in said["message"] and "What to do" in said["message"]
    _arrive(table, storage, manifest(2, bucket))
    assert control.release(ME, True) == {"more": False, "handOver": False}
    again = control.begin(ME.replace(":me", ":other"), {})
    assert (again["run"], again["manifests"]) == (first["run"], 1)
    assert "attempt-2" in again["planUri"]
    flight = table.get(pipeline_pk(PIPELINE), FLIGHT)
    assert flight is not None and flight["pending"] == 1  # the second manifest has its own pass


def test_another_execution_does_not_disturb_the_one_that_flies(
    table: Table, storage: Storage, bucket: str
) -> None:
    control = _control(table, storage, bucket)
    _arrive(table, storage, manifest(1, bucket))
    control.begin(ME, {})
    other = ME.replace(":me", ":other")
    assert control.begin(other, {})["empty"]
    assert control.release(other, False) == {"more": False, "handOver": False}
    assert (table.get(pipeline_pk(PIPELINE), FLIGHT) or {})["execution"] == ME


def test_rows_that_are_not_accounted_for_fail_the_run(
    table: Table, storage: Storage, bucket: str
) -> None:
    control = _control(table, storage, bucket)
    _arrive(table, storage, manifest(1, bucket, rows=5))
    begun = control.begin(ME, {})
    result = RunResult(begun["run"], 1, (StageAccount("land", "land", 4, 4),))
    key = begun["resultUri"].split("/", 3)[3]
    storage.put(bucket, key, dumps(result).encode(), "application/json")
    loads_ = {
        "warehouse": {"rowsIn": 4, "inserted": 3, "updated": 0, "stale": 0, "deduplicated": 0}
    }
    with pytest.raises(AccountDoesNotAddUp, match="5 rows were landed") as caught:
        control.account({**begun, "loads": loads_})
    assert "4 rows staged, but 3 inserted" in str(caught.value)
    assert control.begin(ME, {})["run"] == begun["run"]


def test_the_account_says_how_many_rows_went_to_quarantine_why_and_where(
    table: Table, storage: Storage, bucket: str
) -> None:
    control = _control(table, storage, bucket)
    _arrive(table, storage, manifest(1, bucket, rows=5))
    begun = control.begin(ME, {})
    accounts = (
        StageAccount("land", "land", 5, 5),
        StageAccount("cast", "cast", 5, 2, quarantined=3),
    )
    result = RunResult(
        begun["run"],
        1,
        accounts,
        quarantine_uri="s3://q/ns/p/run=r/",
        quarantine_reasons={"amount: does not fit integer": 2, "id: is missing": 1},
    )
    key = begun["resultUri"].split("/", 3)[3]
    storage.put(bucket, key, dumps(result).encode(), "application/json")
    out = control.account({**begun, "loads": {}})
    assert (out["quarantined"], out["qualityFailed"]) == (3, False)
    for said in ("3 quarantined", "2 amount: does not fit integer", "1 id: is missing", "s3://q/"):
        assert said in out["message"]
    assert control.account({**begun, "loads": {}}) == out


def test_a_pass_without_rows_needs_no_result(table: Table, storage: Storage, bucket: str) -> None:
    control = _control(table, storage, bucket)
    _arrive(table, storage, manifest(1, bucket, rows=0))
    begun = control.begin(ME, {})
    out = control.account({**begun, "loads": {"warehouse": {}}})
    assert (begun["rows"], out["rows"], out["qualityFailed"]) == (0, 0, False)
    assert control.release(ME, False) == {"more": False, "handOver": False}


def test_a_request_without_anything_to_do_still_gets_its_run(
    table: Table, storage: Storage, bucket: str
) -> None:
    control = _control(table, storage, bucket)
    flights = Flights(table, None, SystemClock(), lambda: "x")  # type: ignore[arg-type]
    flights.request(PIPELINE, "shop/run-1")
    assert control.begin(ME, {})["empty"]
    records = [loads(RunRecord, i[BODY]) for i in table.query(pipeline_pk(PIPELINE), "RUN#")]
    assert [(r.state, r.requested_by) for r in records] == [("Succeeded", ("shop/run-1",))]
    assert control.release(ME, False) == {"more": False, "handOver": False}


def test_a_request_is_named_in_the_record_of_its_pass(
    table: Table, storage: Storage, bucket: str
) -> None:
    control = _control(table, storage, bucket)
    Flights(table, None, SystemClock(), lambda: "x").request(PIPELINE, "shop/run-1")  # type: ignore[arg-type]
    _arrive(table, storage, manifest(1, bucket))
    begun = control.begin(ME, {"scheduledTime": "2026-01-01T00:00:00Z"})
    item = table.get(pipeline_pk(PIPELINE), run_sk(begun["run"]))
    assert item is not None
    assert loads(RunRecord, item[BODY]).requested_by == ("shop/run-1",)


def test_half_an_extraction_does_not_replace_a_table(
    table: Table, storage: Storage, bucket: str
) -> None:
    load = Stage("warehouse", "load", load=Load("s", "t", "replace"))
    control = _control(table, storage, bucket, load)
    _arrive(table, storage, manifest(1, bucket, run="a", complete=False, cursor_after="{}"))
    assert control.begin(ME, {})["empty"]
    assert control.release(ME, False) == {"more": False, "handOver": False}
    _arrive(table, storage, manifest(2, bucket, run="a"))
    begun = control.begin(ME, {})
    assert begun["manifests"] == 2
    plan = loads(RunPlan, storage.get_uri(begun["planUri"]))
    assert plan.extraction_starts == {SOURCE: 1}


def test_the_last_extraction_begins_with_its_runs_first_landing() -> None:
    chain = [
        manifest(1, "b", run="a"),
        manifest(2, "b", run="b", complete=False, cursor_after="{}"),
        manifest(3, "b", run="c", complete=False, cursor_after="{}"),
        manifest(4, "b", run="c"),
        manifest(5, "b", run="d", complete=False, cursor_after="{}"),
    ]
    assert extraction_starts(whole_extractions(chain)) == {SOURCE: 3}


def test_a_pass_takes_the_unfinished_run_first_and_no_more_than_fits() -> None:
    fresh = [Pending(SOURCE, n, "u", None, 0) for n in range(1, 200)]
    assert len(choose(fresh)) == MAX_MANIFESTS
    unfinished = Pending(SOURCE, 150, "u", "old", 2)
    assert choose([*fresh, unfinished]) == [unfinished]


def _trigger(aws: Any, table: Table, storage: Storage, bucket: str, machine: str) -> Trigger:
    from weir_lambdas.trigger.executions import StepFunctions

    table.put(
        source_pk(SOURCE),
        subscriber_sk(PIPELINE),
        {"stateMachineArn": machine, "minIntervalSeconds": 0},
    )
    return Trigger(table, storage, StepFunctions(aws("stepfunctions")), bucket)


@pytest.fixture
def machine(aws: Any) -> str:
    """A real state machine that waits."""
    definition = '{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":300,"End":true}}}'
    return str(
        aws("stepfunctions").create_state_machine(
            name=f"m{uuid4().hex}",
            definition=definition,
            roleArn="arn:aws:iam::000000000000:role/x",
        )["stateMachineArn"]
    )


def event(bucket: str, key: str, number: str = "1") -> dict[str, Any]:
    import json

    detail = {"bucket": {"name": bucket}, "object": {"key": key}}
    return {"messageId": number, "body": json.dumps({"detail": detail})}


def test_events_start_one_execution_and_bad_ones_are_named(
    aws: Any, table: Table, storage: Storage, bucket: str, machine: str
) -> None:
    trigger = _trigger(aws, table, storage, bucket, machine)
    keys = [manifest(n, bucket).key for n in (1, 2)]
    records = [
        event(bucket, keys[0], "a"),
        event(bucket, keys[1], "b"),
        event(bucket, keys[0], "c"),
    ]
    records += [{"messageId": "d", "body": "{"}, event(bucket, "shop/orders/part-1.gz", "e")]
    assert trigger.batch(records) == {"batchItemFailures": [{"itemIdentifier": "d"}]}
    sfn = aws("stepfunctions")
    assert len(sfn.list_executions(stateMachineArn=machine)["executions"]) == 1
    assert len(list(table.query(pipeline_pk(PIPELINE), "PENDING#"))) == 2


def test_the_sweep_finds_manifests_whose_event_was_lost(
    aws: Any, table: Table, storage: Storage, bucket: str, machine: str
) -> None:
    trigger = _trigger(aws, table, storage, bucket, machine)
    for sequence in (1, 2, 3):
        storage.put(bucket, manifest(sequence, bucket).key, b"{}", "application/json")
    trigger.object_created(__import__("json").loads(event(bucket, manifest(2, bucket).key)["body"]))
    assert trigger.sweep() == {"found": 2}
    assert trigger.sweep() == {"found": 0}
    assert len(list(table.query(pipeline_pk(PIPELINE), "PENDING#"))) == 3
    sfn = aws("stepfunctions")
    assert len(sfn.list_executions(stateMachineArn=machine)["executions"]) == 1


def test_a_stopped_execution_is_taken_over_by_the_sweep(
    aws: Any, table: Table, storage: Storage, bucket: str, machine: str
) -> None:
    trigger = _trigger(aws, table, storage, bucket, machine)
    storage.put(bucket, manifest(1, bucket).key, b"{}", "application/json")
    trigger.sweep()
    sfn = aws("stepfunctions")
    first = sfn.list_executions(stateMachineArn=machine)["executions"][0]["executionArn"]
    sfn.stop_execution(executionArn=first)
    trigger.sweep()
    running = sfn.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]
    assert [item["executionArn"] != first for item in running] == [True]


def test_a_request_finds_the_pipelines_machine(
    aws: Any, table: Table, storage: Storage, bucket: str, machine: str
) -> None:
    trigger = _trigger(aws, table, storage, bucket, machine)
    storage.put(bucket, manifest(1, bucket).key, b"{}", "application/json")
    answer = trigger.request({"pipeline": PIPELINE, "requestedBy": "shop/run-1"})
    assert answer["execution"].startswith(machine.replace(":stateMachine:", ":execution:"))
