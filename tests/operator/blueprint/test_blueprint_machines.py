"""The state machines, run by the local AWS's own interpreter with AWS's services played by a table.

What is under test is the definition: which services it calls, with what, and where it goes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from ministack.services import stepfunctions

import weir_glue.jobs.run  # noqa: F401 - the job's errors are to be known
from weir_contract.codec import ContractError
from weir_contract.runs import JOB_FAULTS
from weir_glue.common.errors import JobError

Answer = Callable[[Mapping[str, Any]], Any]


class Play:
    """AWS's services, played: answers by what is called, and a record of the calls."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = {key: list(value) for key, value in answers.items()}
        self.calls: list[tuple[str, Any]] = []

    def __call__(self, resource: str, event: Mapping[str, Any]) -> Any:
        key, payload = self.name(resource, event)
        self.calls.append((key, payload))
        queue = self.answers.get(key)
        if not queue:
            raise AssertionError(f"nobody expected {key} with {json.dumps(payload)}")
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, Exception):
            raise answer
        return {"Payload": answer} if "lambda:invoke" in resource else answer

    @staticmethod
    def name(resource: str, event: Mapping[str, Any]) -> tuple[str, Any]:
        if "lambda:invoke" not in resource:
            return resource.rpartition(":::")[2], event
        role = event["FunctionName"].rsplit("-", 2)[1]
        return f"{role} {event['Payload'].get('action', '')}".strip(), event["Payload"]

    def of(self, key: str) -> list[Any]:
        return [payload for name, payload in self.calls if name == key]

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.calls]


def failing(error: str, cause: str = "it broke") -> Exception:
    return stepfunctions._ExecutionError(error, cause)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(stepfunctions, "_SFN_WAIT_SCALE", 0)
    yield
    stepfunctions._state_machines.clear()
    stepfunctions._executions.clear()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[dict[str, Any], Play]]:
    def start(
        definition: Mapping[str, Any], answers: Mapping[str, Any], given: Any = None
    ) -> tuple[dict[str, Any], Play]:
        play = Play(answers)
        monkeypatch.setattr(stepfunctions, "_invoke_resource", play)
        call = {
            "name": f"m{time.monotonic_ns()}",
            "definition": json.dumps(definition),
            "roleArn": "arn:aws:iam::000000000000:role/x",
        }
        arn = json.loads(stepfunctions._create_state_machine(call)[2])["stateMachineArn"]
        request = {"stateMachineArn": arn, "input": json.dumps(given or {})}
        execution = json.loads(stepfunctions._start_execution(request)[2])["executionArn"]
        end = time.monotonic() + 60
        while time.monotonic() < end:
            answer = stepfunctions._describe_execution({"executionArn": execution})
            found: dict[str, Any] = json.loads(answer[2])
            if found["status"] != "RUNNING":
                return found, play
            time.sleep(0.02)
        raise AssertionError("the execution did not end")

    return start


def definition(resources: Any) -> Any:
    return next(r for r in resources if r.kind == "states.StateMachine").properties["definition"]


PASS = {
    "run": "r1",
    "empty": False,
    "rows": 3,
    "bytes": 10,
    "planUri": "s3://a/runs/plan.json",
    "resultUri": "s3://a/runs/result.json",
    "workerType": "G.1X",
    "workers": 2,
    "startedAt": "2026-01-01T00:00:00Z",
    "manifests": 1,
}
PREPARED = {
    "skip": False,
    "sqls": ["select 1", "select 2", "select 3"],
    "clientToken": "t",
    "statementName": "r1",
}
COUNTS = {"inserted": 3, "updated": 0, "stale": 0, "deleted": 0, "deduplicated": 0, "rowsIn": 3}
ACCOUNTED = {"rows": 3, "quarantined": 0, "qualityFailed": False, "message": "fine"}
NOTICE = {"subject": "Weir: it failed", "message": "do this"}
SUBMIT = "aws-sdk:redshiftdata:batchExecuteStatement"
DESCRIBE = "aws-sdk:redshiftdata:describeStatement"
FETCH = "aws-sdk:redshiftdata:getStatementResult"
GOOD: dict[str, list[Any]] = {
    "control begin": [PASS],
    "glue:startJobRun.sync": [{"JobRunState": "SUCCEEDED"}],
    "loader prepare": [PREPARED],
    SUBMIT: [{"Id": "q-1", "Database": "dev"}],
    DESCRIBE: [{"Id": "q-1", "Status": "STARTED"}, {"Id": "q-1", "Status": "FINISHED"}],
    FETCH: [{"Records": [[{"longValue": 3}]], "TotalNumRows": 1}],
    "loader result": [COUNTS],
    "control account": [ACCOUNTED],
    "control release": [{"more": False, "handOver": False}],
    "control fail": [NOTICE],
    "sns:publish": [{"MessageId": "m"}],
    "states:startExecution": [{"ExecutionArn": "e"}],
}


def test_a_pass_runs_from_begin_to_release(world: Any, run: Any) -> None:
    found, play = run(definition(world.pipeline_resources()), GOOD, {"requestedBy": "me"})
    assert found["status"] == "SUCCEEDED", found
    assert play.order == [
        "control begin",
        "glue:startJobRun.sync",
        "loader prepare",
        SUBMIT,
        DESCRIBE,
        DESCRIBE,
        FETCH,
        "loader result",
        "control account",
        "control release",
    ]
    assert play.of("control begin")[0]["input"] == {"requestedBy": "me"}
    (job,) = play.of("glue:startJobRun.sync")
    assert job["Arguments"] == {"--WEIR_PLAN": "s3://a/runs/plan.json"}
    assert (job["NumberOfWorkers"], job["WorkerType"]) == (2, "G.1X")
    (submitted,) = play.of(SUBMIT)
    assert submitted["Sqls"] == PREPARED["sqls"]
    assert (submitted["WorkgroupName"], submitted["Database"]) == ("analytics", "dev")
    assert len(submitted["ClientToken"]) == 64
    assert play.of(FETCH) == [{"Id": "q-1:3"}]
    (asked,) = play.of("loader result")
    assert asked["records"] == [[{"longValue": 3}]]
    assert asked["stage"] == "warehouse"
    (account,) = play.of("control account")
    assert account["loads"] == {"warehouse": COUNTS}
    assert account["run"] == "r1"


def test_nothing_to_do_lands_the_flight(world: Any, run: Any) -> None:
    answers = {**GOOD, "control begin": [{**PASS, "run": "", "empty": True, "rows": 0}]}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "SUCCEEDED"
    assert play.order == ["control begin", "control release"]


def test_no_rows_start_no_job_and_load_nothing(world: Any, run: Any) -> None:
    answers = {**GOOD, "control begin": [{**PASS, "rows": 0}]}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "SUCCEEDED"
    assert play.order == ["control begin", "control account", "control release"]
    assert play.of("control account")[0]["loads"] == {"warehouse": {}}


def test_what_arrived_meanwhile_is_taken_by_the_next_pass(world: Any, run: Any) -> None:
    releases = [{"more": True, "handOver": False}, {"more": False, "handOver": False}]
    answers = {**GOOD, "control release": releases}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "SUCCEEDED"
    assert play.order.count("control begin") == 2


def test_after_some_passes_a_new_execution_takes_over(world: Any, run: Any) -> None:
    answers = {**GOOD, "control release": [{"more": False, "handOver": True}]}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "SUCCEEDED"
    (started,) = play.of("states:startExecution")
    assert started["StateMachineArn"].endswith("-pipeline-" + started["StateMachineArn"][-8:])


def test_a_load_that_is_done_already_is_skipped(world: Any, run: Any) -> None:
    answers = {**GOOD, "loader prepare": [{"skip": True, "sqls": []}]}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "SUCCEEDED"
    assert SUBMIT not in play.order


def test_a_transaction_that_was_not_serializable_is_tried_again(world: Any, run: Any) -> None:
    clash = {"Id": "q-1", "Status": "FAILED", "Error": "ERROR: 1023 DETAIL: Serializable isolation"}
    answers = {**GOOD, DESCRIBE: [clash, clash, {"Id": "q-1", "Status": "FINISHED"}]}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "SUCCEEDED"
    tokens = [call["ClientToken"] for call in play.of(SUBMIT)]
    assert len(tokens) == len(set(tokens)) == 3
    assert [call["attempt"] for call in play.of("loader prepare")] == [0, 1, 2]


def test_a_transaction_that_never_serializes_fails_after_some_tries(world: Any, run: Any) -> None:
    clash = {"Id": "q-1", "Status": "FAILED", "Error": "ERROR: 1023 DETAIL: Serializable isolation"}
    found, play = run(definition(world.pipeline_resources()), {**GOOD, DESCRIBE: [clash]})
    assert found["status"] == "FAILED"
    assert len(play.of(SUBMIT)) == 5


@pytest.mark.parametrize(
    ("described", "cause"),
    [
        ({"Id": "q-1", "Status": "FAILED", "Error": "no such column"}, "no such column"),
        ({"Id": "q-1", "Status": "ABORTED"}, "statement q-1 ended as ABORTED"),
    ],
)
def test_a_failed_load_is_recorded_told_and_released(
    world: Any, run: Any, described: dict[str, Any], cause: str
) -> None:
    answers = {**GOOD, DESCRIBE: [described]}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "FAILED"
    assert (found["error"], found["cause"]) == ("LoadFailed", cause)
    (failed,) = play.of("control fail")
    assert failed["stage"] == "warehouse"
    assert failed["error"] == {"Error": "LoadFailed", "Cause": cause}
    assert failed["run"] == "r1"
    (told,) = play.of("sns:publish")
    assert told["Subject"] == NOTICE["subject"]
    assert play.order[-1] == "control release"
    assert play.of("control release")[0]["failed"] is True


ALONE = "aws-sdk:redshiftdata:executeStatement"
ALTER = {**PREPARED, "alters": True, "alone": False, "sqls": ["alter table t add column c int"]}


def test_a_target_is_altered_step_by_step_before_it_is_loaded(world: Any, run: Any) -> None:
    answers = {
        **GOOD,
        "loader prepare": [ALTER, {**ALTER, "alone": True, "sqls": ["longer"]}, PREPARED],
        ALONE: [{"Id": "q-2"}],
        DESCRIBE: [{"Id": "q", "Status": "FINISHED"}],
    }
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "SUCCEEDED", found
    assert [call["Sqls"] for call in play.of(SUBMIT)] == [ALTER["sqls"], PREPARED["sqls"]]
    assert [call["Sql"] for call in play.of(ALONE)] == ["longer"]
    assert len(play.of("loader prepare")) == 3
    assert len(play.of(FETCH)) == 1


def test_a_target_that_the_operator_has_to_alter_is_waited_for(world: Any, run: Any) -> None:
    refused = {"Id": "q", "Status": "FAILED", "Error": "must be owner of relation t"}
    answers = {
        **GOOD,
        "loader prepare": [ALTER, ALTER, PREPARED],
        DESCRIBE: [refused, refused, {"Id": "q", "Status": "FINISHED"}],
    }
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "SUCCEEDED", found
    assert len({call["ClientToken"] for call in play.of(SUBMIT)}) == 3


def test_a_load_that_waited_for_its_target_keeps_its_tries_of_transactions_that_clash(
    world: Any, run: Any
) -> None:
    refused = {"Id": "q", "Status": "FAILED", "Error": "must be owner of relation t"}
    clash = {"Id": "q", "Status": "FAILED", "Error": "ERROR: 1023 DETAIL: Serializable isolation"}
    answers = {
        **GOOD,
        "loader prepare": [ALTER] * 6 + [PREPARED],
        DESCRIBE: [refused] * 6 + [clash] * 4 + [{"Id": "q", "Status": "FINISHED"}],
    }
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "SUCCEEDED", found
    assert len({call["ClientToken"] for call in play.of(SUBMIT)}) == 11
    assert [call["attempt"] for call in play.of("loader prepare")] == list(range(11))
    answers[DESCRIBE] = [refused] * 6 + [clash]
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "FAILED"
    assert len(play.of(SUBMIT)) == 6 + 5


def test_a_target_that_cannot_be_altered_fails_the_run_with_redshifts_words(
    world: Any, run: Any
) -> None:
    why = "cannot drop column because other objects depend on it"
    described = {"Id": "q", "Status": "FAILED", "Error": why}
    answers = {**GOOD, "loader prepare": [ALTER], DESCRIBE: [described]}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert (found["status"], found["error"]) == ("FAILED", "LoadFailed")
    assert found["cause"].endswith(f"could not be changed: {why}")
    assert len(play.of("loader prepare")) == 1


@pytest.mark.parametrize(
    ("call", "stage"),
    [
        ("control begin", "begin"),
        ("glue:startJobRun.sync", "process"),
        ("loader prepare", "warehouse"),
        ("control account", "account"),
    ],
)
def test_a_failure_anywhere_names_its_stage(world: Any, run: Any, call: str, stage: str) -> None:
    answers = {**GOOD, call: [failing("ConfigInvalid")]}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert (found["status"], found["error"]) == ("FAILED", "ConfigInvalid")
    assert play.of("control fail")[0]["stage"] == stage
    assert play.order[-1] == "control release"


def test_a_job_is_tried_as_often_as_the_pipeline_says(worlds: Any, run: Any) -> None:
    world = worlds(pipeline_spec={"retry": {"maxAttempts": 2, "interval": "1s"}})
    answers = {**GOOD, "glue:startJobRun.sync": [failing("States.TaskFailed"), {"ok": True}]}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "SUCCEEDED"
    answers = {**GOOD, "glue:startJobRun.sync": [failing("States.TaskFailed")]}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "FAILED"
    assert len(play.of("glue:startJobRun.sync")) == 2


def test_a_job_is_not_tried_again_where_the_same_rows_bring_the_same_end(
    world: Any, run: Any
) -> None:
    cause = json.dumps({"ErrorMessage": "SystemExit: QualityFailed: stage check: 1 of 1 rules"})
    answers = {**GOOD, "glue:startJobRun.sync": [failing("States.TaskFailed", cause)]}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert (found["status"], found["cause"]) == ("FAILED", cause)
    assert len(play.of("glue:startJobRun.sync")) == 1
    (told,) = play.of("control fail")
    assert told["stage"] == "process"


def test_every_error_of_the_job_is_known_as_lasting_or_worth_another_try() -> None:
    classes = {found.__name__ for found in (*JobError.__subclasses__(), ContractError)}
    assert classes - set(JOB_FAULTS) == {"PlanInvalid", "AccountDoesNotAddUp", "OutputRefused"}
    assert set(JOB_FAULTS) <= classes


def test_a_failure_whose_recording_fails_still_notifies_and_releases(world: Any, run: Any) -> None:
    answers = {
        **GOOD,
        "control begin": [failing("ConfigInvalid", "first")],
        "control fail": [failing("ConfigInvalid", "second")],
    }
    found, play = run(definition(world.pipeline_resources()), answers)
    assert (found["status"], found["cause"]) == ("FAILED", "first")
    (told,) = play.of("sns:publish")
    assert "first" in told["Message"] and "second" in told["Message"]
    assert play.order[-1] == "control release"


def test_a_topic_that_is_gone_does_not_keep_the_flight(world: Any, run: Any) -> None:
    answers = {
        **GOOD,
        "control begin": [failing("ConfigInvalid")],
        "sns:publish": [failing("SNS.NotFoundException")],
    }
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["error"] == "ConfigInvalid"
    assert play.order[-1] == "control release"


@pytest.mark.parametrize("account", [{"qualityFailed": True}, {"quarantined": 1}])
def test_a_rule_that_does_not_hold_or_a_row_in_quarantine_is_told(
    world: Any, run: Any, account: dict[str, Any]
) -> None:
    answers = {**GOOD, "control account": [{**ACCOUNTED, **account}]}
    found, play = run(definition(world.pipeline_resources()), answers)
    assert found["status"] == "SUCCEEDED"
    (told,) = play.of("sns:publish")
    assert told["TopicArn"] == world.facts.topics["quality"][0]
    assert told["Message"] == "fine"


def test_a_run_waits_until_it_may_start(world: Any, run: Any) -> None:
    given = {"notBefore": "2026-01-01T00:00:00Z"}
    found, play = run(definition(world.pipeline_resources()), GOOD, given)
    assert found["status"] == "SUCCEEDED"
    assert play.of("control begin")[0]["input"] == given


LANDED = {"complete": True, "rows": 3, "sequence": 1, "run": "r"}


def test_a_landing_asks_until_it_is_complete(world: Any, run: Any) -> None:
    answers = {"ingest": [{**LANDED, "complete": False}, LANDED]}
    given = {"scheduledTime": "2026-01-01T06:00:00Z"}
    found, play = run(definition(world.source_resources()), answers, given)
    assert found["status"] == "SUCCEEDED", found
    assert json.loads(found["output"]) == LANDED
    first, second = play.of("ingest")
    assert first["scheduledTime"] == second["scheduledTime"] == "2026-01-01T06:00:00Z"
    assert first["run"] == second["run"]
    assert first["continue"] is None
    assert second["continue"] == {**LANDED, "complete": False}


def test_a_landing_by_hand_has_its_start_as_its_time(world: Any, run: Any) -> None:
    found, play = run(definition(world.source_resources()), {"ingest": [LANDED]})
    assert found["status"] == "SUCCEEDED"
    assert play.of("ingest")[0]["scheduledTime"]


def test_a_busy_source_is_asked_again_and_a_refusing_one_is_not(world: Any, run: Any) -> None:
    machine = definition(world.source_resources())
    found, play = run(machine, {"ingest": [failing("SourceRateLimited"), LANDED]})
    assert found["status"] == "SUCCEEDED"
    answers = {
        "ingest": [failing("SourceUnauthorized", "401")],
        "ingest fail": [NOTICE],
        "sns:publish": [{}],
    }
    found, play = run(machine, answers)
    assert (found["error"], found["cause"]) == ("SourceUnauthorized", "401")
    assert play.order == ["ingest", "ingest fail", "sns:publish"]
    assert play.of("ingest fail")[0]["error"] == {"Error": "SourceUnauthorized", "Cause": "401"}


STAGES = [
    {"name": "a" * 63, "load": {"redshift": {"schema": "s", "table": "a"}}},
    {"name": "export", "unload": {"query": "select 1", "to": "${BUCKET:curated}/x/"}},
    {"name": "b", "load": {"redshift": {"schema": "s", "table": "b"}}},
]


def test_loads_and_unloads_run_one_after_the_other(worlds: Any, run: Any) -> None:
    world = worlds(pipeline_spec={"stages": STAGES})
    done = {"Id": "q-1", "Status": "FINISHED"}
    found, play = run(definition(world.pipeline_resources()), {**GOOD, DESCRIBE: [done]})
    assert found["status"] == "SUCCEEDED", found
    stages = [call["stage"] for call in play.of("loader prepare")]
    assert stages == ["a" * 63, "export", "b"]
    assert [call["stage"] for call in play.of("loader result")] == ["a" * 63, "b"]
    assert play.of("control account")[0]["loads"] == {"a" * 63: COUNTS, "b": COUNTS}


@pytest.mark.parametrize("partition", ["eu-central-1", "cn-north-1"])
def test_a_definition_hangs_together(worlds: Any, partition: str) -> None:
    world = worlds({"region": partition}, pipeline_spec={"stages": STAGES})
    for resources in (world.source_resources(), world.pipeline_resources()):
        machine = definition(resources)
        states = machine["States"]
        reached, waiting = set(), [machine["StartAt"]]
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            state = states[name]
            nexts = [state.get("Next"), state.get("Default")]
            nexts += [rule["Next"] for rule in [*state.get("Choices", []), *state.get("Catch", [])]]
            waiting += [item for item in nexts if item]
        assert reached == set(states)
        assert all(len(name) <= 80 for name in states)
        tasks = [state for state in states.values() if state["Type"] == "Task"]
        assert all("TimeoutSeconds" in state and "Retry" in state for state in tasks)
        assert machine["TimeoutSeconds"]
        prefix = "arn:aws-cn:" if partition.startswith("cn") else "arn:aws:"
        assert all(state["Resource"].startswith(prefix) for state in tasks)
        assert len(json.dumps(machine)) < 1_048_576
