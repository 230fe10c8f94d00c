"""The two state machines, in Amazon States Language with JSONPath.

The query language is JSONPath throughout, with the intrinsics Format, Hash, ArrayLength,
ArrayGetItem and MathAdd alone. A path that does not exist ends an execution with ``States.Runtime``, which no Catch sees: so
each machine starts by laying out every field that a later state reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir.blueprint import naming
from weir.blueprint.facts import PlatformFacts
from weir.blueprint.naming import loader_user
from weir_contract.pipelines import Stage
from weir_contract.runs import JOB_FAULTS

State = dict[str, Any]
Definition = dict[str, Any]

INGEST_TIMEOUT_SECONDS = 6 * 3600
FUNCTION_TIMEOUT_SECONDS = 900
"""Lambda's longest run (AWS Lambda quotas: 15 minutes)."""
STATEMENT_POLL_SECONDS = 5
LOAD_ATTEMPTS = 5
"""Tries of one load whose transaction could not be serialized (Redshift error 1023)."""
ALTER_ATTEMPTS = 20
ALTER_WAIT_SECONDS = 15
"""The operator changes the tables that it has made within seconds; five minutes are for a bad day."""
NO_TRIES = {"all": 0, "altering": 0, "loading": 0}
"""Of one load: all that were begun anew, since the table was not yet altered, and since a transaction
could not be serialized."""
NOT_NOW = ("*must be owner*", "*permission denied*", "*already exists*", "*1023*")
"""What Redshift says of a change that the operator makes, or has just made."""

LAMBDA_SERVICE_ERRORS = (
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
)
"""What AWS says to retry in *Handle transient Lambda service exceptions* (Step Functions guide)."""


@dataclass(frozen=True)
class RetryRule:
    """One class of errors and how it is tried again. Times are seconds."""

    errors: tuple[str, ...]
    interval: int
    attempts: int
    backoff: float = 2.0
    longest: int = 300

    def asl(self) -> State:
        """The entry of a state's ``Retry``; full jitter keeps retries from marching in step."""
        return {
            "ErrorEquals": list(self.errors),
            "IntervalSeconds": self.interval,
            "MaxAttempts": self.attempts,
            "BackoffRate": self.backoff,
            "MaxDelaySeconds": self.longest,
            "JitterStrategy": "FULL",
        }


SERVICE = RetryRule(LAMBDA_SERVICE_ERRORS, 2, 6)
SOURCE_BUSY = RetryRule(("SourceRateLimited", "SourceUnavailable"), 30, 4, longest=900)
LEASE_HELD = RetryRule(("LeaseHeld",), 60, 5, 1.5)
OUT_OF_TIME = RetryRule(("OutOfTime", "LoadLost"), 5, 2)
GLUE_BUSY = RetryRule(
    (
        "Glue.ConcurrentRunsExceededException",
        "Glue.InternalServiceException",
        "Glue.OperationTimeoutException",
        "Glue.ResourceNumberLimitExceededException",
        "Glue.ThrottlingException",
    ),
    30,
    5,
)
WAREHOUSE_BUSY = RetryRule(
    (
        "RedshiftData.ActiveSessionsExceededException",
        "RedshiftData.ActiveStatementsExceededException",
        "RedshiftData.DatabaseConnectionException",
        "RedshiftData.InternalServerException",
        "RedshiftData.ThrottlingException",
    ),
    10,
    6,
)
NOTIFY_BUSY = RetryRule(("SNS.InternalErrorException", "SNS.ThrottledException"), 2, 4)


def state_label(name: str) -> str:
    """A stage's name as part of a state's, which has 80 characters at most."""
    return name if len(name) <= 40 else f"{name[:31]}-{naming.short_hash(name)}"


def _retry(*rules: RetryRule) -> list[State]:
    return [rule.asl() for rule in rules]


def _catch(target: str) -> list[State]:
    return [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": target}]


def _call(
    function: str, payload: Mapping[str, Any], into: str, *retries: RetryRule, timeout: int = 900
) -> State:
    """A Lambda call whose answer (and nothing of the invocation's envelope) goes to ``into``."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload": dict(payload)},
        "ResultSelector": {"answer.$": "$.Payload"},
        "ResultPath": into,
        "TimeoutSeconds": timeout,
        "Retry": _retry(SERVICE, *retries),
    }


def _publish(
    states: dict[str, State], prefix: str, topics: Sequence[str], paths: tuple[str, str], then: str
) -> str:
    """States that publish to each topic in turn; a topic that fails does not stop the others.

    Returns the name of the first state, or ``then`` where there is no topic.
    """
    subject, message = paths
    key = "Subject.$" if subject.startswith("$.") else "Subject"
    names = [prefix if i == 0 else f"{prefix}{i + 1}" for i in range(len(topics))]
    for name, topic, following in zip(names, topics, [*names[1:], then], strict=False):
        states[name] = {
            "Type": "Task",
            "Resource": "arn:aws:states:::sns:publish",
            "Parameters": {"TopicArn": topic, key: subject, "Message.$": message},
            "ResultPath": None,
            "TimeoutSeconds": 60,
            "Retry": _retry(NOTIFY_BUSY),
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": following}],
            "Next": following,
        }
    return names[0] if names else then


def _failure_tail(
    states: dict[str, State],
    function: str,
    payload: Mapping[str, Any],
    subject: str,
    topics: Sequence[str],
    then: str,
) -> None:
    """RecordFailure -> Notify -> ``then``. An explanation that itself fails still notifies."""
    states["RecordFailure"] = _call(function, payload, "$.failure", timeout=300) | {
        "Catch": [
            {"ErrorEquals": ["States.ALL"], "ResultPath": "$.unrecorded", "Next": "Unexplained"}
        ],
    }
    states["Unexplained"] = {
        "Type": "Pass",
        "Parameters": {
            "answer": {
                "subject": subject[:100],
                "message.$": "States.Format('{}: {}. Recording the failure failed too: {}. Look at the "
                "execution {}', $.error.Error, $.error.Cause, $.unrecorded.Cause, $$.Execution.Id)",
            }
        },
        "ResultPath": "$.failure",
    }
    paths = ("$.failure.answer.subject", "$.failure.answer.message")
    first = _publish(states, "Notify", topics, paths, then)
    states["RecordFailure"]["Next"] = first
    states["Unexplained"]["Next"] = first


def _in_partition(definition: Definition, facts: PlatformFacts) -> Definition:
    """The definition with its integrations' ARNs in the Platform's partition."""
    for state in definition["States"].values():
        if "Resource" in state:
            state["Resource"] = state["Resource"].replace("arn:aws:", f"arn:{facts.partition}:", 1)
    return definition


def _fail() -> State:
    return {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"}


def ingest_machine(
    facts: PlatformFacts, *, source: str, function: str, topics: Sequence[str]
) -> Definition:
    """The machine of one landing: ask until the extraction is complete.

    Parameters
    ----------
    source
        ``namespace/name``, for messages.
    function
        ARN of ``api_ingestion``.
    topics
        ARNs that hear of a failure.

    Returns
    -------
    dict
        Input: ``{"scheduledTime": iso?, "requestedBy": str?}``, and what of a backfill or a replay
        the function is to land (:func:`weir_lambdas.landing.calls.asked`). A scheduled time that
        is missing is the execution's start.
    """
    states: dict[str, State] = {
        "Start": {
            "Type": "Pass",
            "Parameters": {
                "input.$": "$$.Execution.Input",
                "scheduledTime.$": "$$.Execution.StartTime",
                "continue": None,
            },
            "Next": "Scheduled?",
        },
        "Scheduled?": {
            "Type": "Choice",
            "Choices": [
                {
                    "Variable": "$.input.scheduledTime",
                    "IsPresent": True,
                    "Next": "TakeScheduledTime",
                }
            ],
            "Default": "Ingest",
        },
        "TakeScheduledTime": {
            "Type": "Pass",
            "InputPath": "$.input.scheduledTime",
            "ResultPath": "$.scheduledTime",
            "Next": "Ingest",
        },
        "Ingest": _call(
            function,
            {
                "scheduledTime.$": "$.scheduledTime",
                "execution.$": "$$.Execution.Id",
                "run.$": "$$.Execution.Name",
                "input.$": "$.input",
                "continue.$": "$.continue",
            },
            "$.landed",
            SOURCE_BUSY,
            LEASE_HELD,
            OUT_OF_TIME,
            timeout=FUNCTION_TIMEOUT_SECONDS + 30,
        )
        | {"Catch": _catch("RecordFailure"), "Next": "Complete?"},
        "Complete?": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.landed.answer.complete", "BooleanEquals": True, "Next": "Done"}
            ],
            "Default": "Continue",
        },
        "Continue": {
            "Type": "Pass",
            "InputPath": "$.landed.answer",
            "ResultPath": "$.continue",
            "Next": "Ingest",
        },
        "Done": {"Type": "Succeed", "OutputPath": "$.landed.answer"},
        "Fail": _fail(),
    }
    payload = {
        "action": "fail",
        "execution.$": "$$.Execution.Id",
        "run.$": "$$.Execution.Name",
        "scheduledTime.$": "$.scheduledTime",
        "input.$": "$.input",
        "error.$": "$.error",
    }
    _failure_tail(states, function, payload, f"Weir: {source} failed", topics, "Fail")
    definition = {
        "Comment": f"Weir: lands {source}",
        "StartAt": "Start",
        "TimeoutSeconds": INGEST_TIMEOUT_SECONDS,
        "States": states,
    }
    return _in_partition(definition, facts)


@dataclass(frozen=True)
class PipelineParts:
    """What a pipeline's machine calls.

    ``control`` and ``loader`` are function ARNs, ``machine`` its own ARN, ``job`` the Glue job's
    name (None: no Spark). ``topics`` are by event class. ``job_seconds`` bounds one job,
    ``retry_interval`` (seconds) and ``retry_attempts`` are the pipeline's own retry of the job.
    """

    pipeline: str
    control: str
    loader: str
    machine: str
    job: str
    topics: Mapping[str, Sequence[str]]
    flex: bool = False
    job_seconds: int = 7200
    retry_interval: int = 30
    retry_attempts: int = 3


def pipeline_machine(
    facts: PlatformFacts, parts: PipelineParts, stages: Sequence[Stage]
) -> Definition:
    """The machine of a pipeline's passes.

    ``Start`` lays out ``$.stage`` (where a failure happened), ``$.pass`` (run control's answer to
    begin) and ``$.loads`` (counts and tries by load). Each stage that runs in the warehouse is
    a group of states Prepare -> Submit -> Wait -> Describe -> Result (and, as often as the target
    has to be altered before, Prepare -> Submit -> Wait -> Describe); the machine waits, no
    function does.

    Returns
    -------
    dict
        Input: ``{"notBefore": iso?, "scheduledTime": iso?, "requestedBy": str?}``.
    """
    warehouse = [stage for stage in stages if stage.kind in ("load", "unload")]
    names = {stage.name: f"w{i}" for i, stage in enumerate(warehouse)}
    states: dict[str, State] = {}

    def failing(state: State, stage: str) -> State:
        """The state, with a Catch that remembers the stage."""
        mark = f"Failed in {state_label(stage)}"
        states.setdefault(
            mark,
            {"Type": "Pass", "Result": stage, "ResultPath": "$.stage", "Next": "RecordFailure"},
        )
        return state | {"Catch": _catch(mark)}

    def control(action: str, into: str, extra: Mapping[str, Any] | None = None) -> State:
        payload = {"action": action, "execution.$": "$$.Execution.Id", **(extra or {})}
        return _call(parts.control, payload, into, OUT_OF_TIME)

    states["NotBefore?"] = {
        "Type": "Choice",
        "Choices": [{"Variable": "$.notBefore", "IsPresent": True, "Next": "WaitUntil"}],
        "Default": "Start",
    }
    states["WaitUntil"] = {"Type": "Wait", "TimestampPath": "$.notBefore", "Next": "Start"}
    states["Start"] = {
        "Type": "Pass",
        "Parameters": {
            "input.$": "$$.Execution.Input",
            "stage": "begin",
            "pass": {"answer": {"run": "", "planUri": "", "resultUri": "", "startedAt": ""}},
            "loads": {alias: {"answer": {}, "tries": NO_TRIES} for alias in names.values()},
            "job": {"failures": 0, "waits": _waits(parts)},
        },
        "Next": "Begin",
    }
    states["Begin"] = failing(
        control("begin", "$.pass", {"input.$": "$.input"}) | {"Next": "Nothing?"}, "begin"
    )
    states["Nothing?"] = {
        "Type": "Choice",
        "Choices": [
            {"Variable": "$.pass.answer.empty", "BooleanEquals": True, "Next": "Release"},
            {"Variable": "$.pass.answer.rows", "NumericEquals": 0, "Next": "Account"},
        ],
        "Default": "Process",
    }
    entries = [f"{stage.kind.capitalize()} {state_label(stage.name)}" for stage in warehouse]
    states["Process"] = failing(
        _process(parts) | {"Next": entries[0] if entries else "Account"}, "process"
    )
    states.update(_job_again(parts))
    states["Process"]["Catch"] = [
        {"ErrorEquals": ["States.TaskFailed"], "ResultPath": "$.error", "Next": "Job failed?"},
        *states["Process"]["Catch"],
    ]
    for entry, stage, following in zip(entries, warehouse, [*entries[1:], "Account"], strict=False):
        group = _warehouse_group(facts, parts, stage, names[stage.name], entry, following)
        states.update(
            {n: failing(s, stage.name) if s["Type"] == "Task" else s for n, s in group.items()}
        )

    loads = {
        f"{stage.name}.$": f"$.loads.{names[stage.name]}.answer"
        for stage in warehouse
        if stage.kind == "load"
    }
    known = {
        "run.$": "$.pass.answer.run",
        "resultUri.$": "$.pass.answer.resultUri",
        "planUri.$": "$.pass.answer.planUri",
        "startedAt.$": "$.pass.answer.startedAt",
    }
    states["Account"] = failing(
        control("account", "$.account", {**known, "loads": loads}) | {"Next": "Quality?"}, "account"
    )
    message = "$.account.answer.message"
    quality = (f"Weir: {parts.pipeline}: data quality"[:100], message)
    success = (f"Weir: {parts.pipeline} succeeded"[:100], message)
    on_success = _publish(
        states, "NotifySuccess", parts.topics.get("success", ()), success, "Release"
    )
    on_quality = _publish(
        states, "NotifyQuality", parts.topics.get("quality", ()), quality, on_success
    )
    states["Quality?"] = {
        "Type": "Choice",
        "Choices": [
            {
                "Or": [
                    {"Variable": "$.account.answer.qualityFailed", "BooleanEquals": True},
                    {"Variable": "$.account.answer.quarantined", "NumericGreaterThan": 0},
                ],
                "Next": on_quality,
            }
        ],
        "Default": on_success,
    }
    states["Release"] = failing(
        control("release", "$.released", {"run.$": "$.pass.answer.run"}) | {"Next": "More?"},
        "release",
    )
    states["More?"] = {
        "Type": "Choice",
        "Choices": [
            {"Variable": "$.released.answer.handOver", "BooleanEquals": True, "Next": "HandOver"},
            {"Variable": "$.released.answer.more", "BooleanEquals": True, "Next": "Start"},
        ],
        "Default": "Done",
    }
    states["HandOver"] = failing(
        {
            "Type": "Task",
            "Resource": "arn:aws:states:::states:startExecution",
            "Parameters": {
                "StateMachineArn": parts.machine,
                "Input": {
                    "requestedBy.$": "$$.Execution.Id",
                    "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID.$": "$$.Execution.Id",
                },
            },
            "ResultPath": None,
            "TimeoutSeconds": 60,
            "Retry": _retry(RetryRule(("StepFunctions.ExecutionLimitExceededException",), 10, 5)),
            "Next": "Done",
        },
        "hand-over",
    )
    states["Done"] = {"Type": "Succeed"}
    payload = {
        "action": "fail",
        "execution.$": "$$.Execution.Id",
        "stage.$": "$.stage",
        "error.$": "$.error",
        **known,
    }
    subject = f"Weir: {parts.pipeline} failed"
    topics = parts.topics.get("failure", ())
    _failure_tail(states, parts.control, payload, subject, topics, "ReleaseFailed")
    states["ReleaseFailed"] = control(
        "release", "$.released", {"run.$": "$.pass.answer.run", "failed": True}
    ) | {
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.unreleased", "Next": "Fail"}],
        "Next": "Fail",
    }
    states["Fail"] = _fail()
    definition = {
        "Comment": f"Weir: processes {parts.pipeline}",
        "StartAt": "NotBefore?",
        "TimeoutSeconds": 24 * 3600 + parts.job_seconds,
        "States": states,
    }
    return _in_partition(definition, facts)


def _process(parts: PipelineParts) -> State:
    job: State = {
        "JobName": parts.job,
        "Arguments": {"--WEIR_PLAN.$": "$.pass.answer.planUri"},
        "WorkerType.$": "$.pass.answer.workerType",
        "NumberOfWorkers.$": "$.pass.answer.workers",
    }
    if parts.flex:
        job["ExecutionClass"] = "FLEX"
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::glue:startJobRun.sync",
        "Parameters": job,
        "ResultPath": None,
        "TimeoutSeconds": parts.job_seconds + 600,
        "Retry": _retry(GLUE_BUSY),
    }


def _waits(parts: PipelineParts) -> list[int]:
    """Seconds before each further try of the job: doubling, up to the longest wait of a retry."""
    longest = max(parts.retry_interval, GLUE_BUSY.longest)
    tries = range(parts.retry_attempts - 1)
    return [min(longest, parts.retry_interval * 2**number) for number in tries]


def _job_again(parts: PipelineParts) -> dict[str, State]:
    """The pipeline's own retry of the job, except for what another try can't mend.

    A Retry can't tell: every job that fails is States.TaskFailed, whose cause has the job's words.
    """
    told = [{"Variable": "$.error.Cause", "StringMatches": f"*{name}: *"} for name in JOB_FAULTS]
    failed = "Failed in process"
    choices: list[State] = [
        {
            "And": [{"Variable": "$.error.Cause", "IsPresent": True}, {"Or": told}],
            "Next": failed,
        },
        {
            "Variable": "$.job.failures",
            "NumericLessThan": parts.retry_attempts - 1,
            "Next": "Count the failure",
        },
    ]
    return {
        "Job failed?": {"Type": "Choice", "Choices": choices, "Default": failed},
        "Count the failure": {
            "Type": "Pass",
            "Parameters": {
                "failures.$": "States.MathAdd($.job.failures, 1)",
                "waits.$": "$.job.waits",
                "wait.$": "States.ArrayGetItem($.job.waits, $.job.failures)",
            },
            "ResultPath": "$.job",
            "Next": "Wait for another job",
        },
        "Wait for another job": {"Type": "Wait", "SecondsPath": "$.job.wait", "Next": "Process"},
    }


def _warehouse_group(
    facts: PlatformFacts, parts: PipelineParts, stage: Stage, alias: str, entry: str, following: str
) -> dict[str, State]:
    """The states of one load or unload; ``entry`` is its first.

    The statement's result is fetched by the machine itself: the Data API shows a statement to the
    identity that submitted it only, which is the machine's role and not the loader's.
    """
    name = state_label(stage.name)
    submit, wait, describe = f"Submit {name}", f"Wait for {name}", f"Describe {name}"
    finished, again, fetch = f"Finished {name}?", f"Try {name} again", f"Fetch {name}"
    skip, result, broken = f"Skip {name}?", f"Result of {name}", f"Statement of {name} failed"
    alone, later, unaltered = f"Alter for {name}", f"Later for {name}", f"Not altered for {name}"
    event = {
        "run.$": "$.pass.answer.run",
        "planUri.$": "$.pass.answer.planUri",
        "resultUri.$": "$.pass.answer.resultUri",
        "stage": stage.name,
    }
    done = fetch if stage.kind == "load" else following
    prepared, tries = f"$.loads.{alias}.prepared", f"$.loads.{alias}.tries"
    attempt = f"{tries}.all"
    altering = _flag(f"{prepared}.answer.alters")

    def submitted(operation: str, statements: Mapping[str, str]) -> State:
        return {
            "Type": "Task",
            "Resource": f"arn:aws:states:::aws-sdk:redshiftdata:{operation}",
            "Parameters": {
                **_connection(facts, parts.pipeline),
                **statements,
                "StatementName.$": f"{prepared}.answer.statementName",
                "ClientToken.$": f"States.Hash(States.Format('{{}}/{{}}', {prepared}.answer.clientToken, "
                f"{attempt}), 'SHA-256')",
            },
            "ResultSelector": {"Id.$": "$.Id"},
            "ResultPath": f"$.loads.{alias}.statement",
            "TimeoutSeconds": 120,
            "Retry": _retry(WAREHOUSE_BUSY),
            "Next": wait,
        }

    def counted(kind: str) -> State:
        """Prepares anew, with one more of this kind of try: each kind has a limit of its own."""
        more = ("all", kind)
        return {
            "Type": "Pass",
            "Parameters": {
                f"{one}.$": f"States.MathAdd({tries}.{one}, 1)" if one in more else f"{tries}.{one}"
                for one in NO_TRIES
            },
            "ResultPath": tries,
            "Next": entry,
        }

    states: dict[str, State] = {
        entry: _call(
            parts.loader,
            {"action": "prepare", **event, "attempt.$": attempt},
            prepared,
            OUT_OF_TIME,
        )
        | {"Next": skip},
        skip: {
            "Type": "Choice",
            "Choices": [
                {"Variable": f"{prepared}.answer.skip", "BooleanEquals": True, "Next": following},
                {**_flag(f"{prepared}.answer.alone"), "Next": alone},
            ],
            "Default": submit,
        },
        alone: submitted("executeStatement", {"Sql.$": f"{prepared}.answer.sqls[0]"}),
        submit: submitted("batchExecuteStatement", {"Sqls.$": f"{prepared}.answer.sqls"}),
        wait: {"Type": "Wait", "Seconds": STATEMENT_POLL_SECONDS, "Next": describe},
        describe: {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:redshiftdata:describeStatement",
            "Parameters": {"Id.$": f"$.loads.{alias}.statement.Id"},
            "ResultPath": "$.described",
            "TimeoutSeconds": 120,
            "Retry": _retry(WAREHOUSE_BUSY),
            "Next": finished,
        },
        finished: {
            "Type": "Choice",
            "Choices": [
                {
                    "And": [
                        {"Variable": "$.described.Status", "StringEquals": "FINISHED"},
                        altering,
                    ],
                    "Next": entry,
                },
                {"Variable": "$.described.Status", "StringEquals": "FINISHED", "Next": done},
                {
                    "And": [
                        altering,
                        {"Variable": "$.described.Error", "IsPresent": True},
                        {
                            "Or": [
                                {"Variable": "$.described.Error", "StringMatches": pattern}
                                for pattern in NOT_NOW
                            ]
                        },
                        {"Variable": f"{tries}.altering", "NumericLessThan": ALTER_ATTEMPTS},
                    ],
                    "Next": later,
                },
                {
                    "And": [altering, {"Variable": "$.described.Error", "IsPresent": True}],
                    "Next": unaltered,
                },
                {
                    "And": [
                        {"Variable": "$.described.Error", "IsPresent": True},
                        {"Variable": "$.described.Error", "StringMatches": "*1023*"},
                        {"Variable": f"{tries}.loading", "NumericLessThan": LOAD_ATTEMPTS - 1},
                    ],
                    "Next": again,
                },
                {
                    "And": [
                        {"Variable": "$.described.Error", "IsPresent": True},
                        {
                            "Or": [
                                {"Variable": "$.described.Status", "StringEquals": "FAILED"},
                                {"Variable": "$.described.Status", "StringEquals": "ABORTED"},
                            ]
                        },
                    ],
                    "Next": broken,
                },
                {
                    "Or": [
                        {"Variable": "$.described.Status", "StringEquals": "FAILED"},
                        {"Variable": "$.described.Status", "StringEquals": "ABORTED"},
                    ],
                    "Next": f"{broken} without a word",
                },
            ],
            "Default": wait,
        },
        later: {"Type": "Wait", "Seconds": ALTER_WAIT_SECONDS, "Next": f"{later} again"},
        f"{later} again": counted("altering"),
        unaltered: {
            "Type": "Pass",
            "Parameters": {
                "Error": "LoadFailed",
                "Cause.$": "States.Format('the table lacks what the rows have by now, and could not be "
                "changed: {}', $.described.Error)",
            },
            "ResultPath": "$.error",
            "Next": f"Failed in {name}",
        },
        again: counted("loading"),
        broken: {
            "Type": "Pass",
            "Parameters": {"Error": "LoadFailed", "Cause.$": "$.described.Error"},
            "ResultPath": "$.error",
            "Next": f"Failed in {name}",
        },
        f"{broken} without a word": {
            "Type": "Pass",
            "Parameters": {
                "Error": "LoadFailed",
                "Cause.$": "States.Format('statement {} ended as {}', $.described.Id, $.described.Status)",
            },
            "ResultPath": "$.error",
            "Next": f"Failed in {name}",
        },
    }
    if stage.kind == "unload":
        return states
    return states | {
        fetch: {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:redshiftdata:getStatementResult",
            "Parameters": {
                "Id.$": f"States.Format('{{}}:{{}}', $.loads.{alias}.statement.Id, "
                f"States.ArrayLength({prepared}.answer.sqls))"
            },
            "ResultSelector": {"Records.$": "$.Records"},
            "ResultPath": "$.fetched",
            "TimeoutSeconds": 120,
            "Retry": _retry(WAREHOUSE_BUSY),
            "Next": result,
        },
        result: _call(
            parts.loader,
            {
                "action": "result",
                **event,
                "statementId.$": f"$.loads.{alias}.statement.Id",
                "records.$": "$.fetched.Records",
            },
            f"$.loads.{alias}",
            OUT_OF_TIME,
        )
        | {"Next": following},
    }


def _flag(path: str) -> dict[str, Any]:
    """The condition that a flag is there and set."""
    return {
        "And": [
            {"Variable": path, "IsPresent": True},
            {"Variable": path, "BooleanEquals": True},
        ]
    }


def _connection(facts: PlatformFacts, pipeline: str) -> dict[str, str]:
    warehouse = facts.warehouse
    if warehouse is None:
        raise ValueError(f"Platform {facts.platform} has no Redshift for {pipeline} to load")
    if warehouse.serverless:
        return {"Database": warehouse.database, "WorkgroupName": warehouse.name}
    return {
        "Database": warehouse.database,
        "ClusterIdentifier": warehouse.name,
        "DbUser": loader_user(pipeline.split("/")[0]),
    }
