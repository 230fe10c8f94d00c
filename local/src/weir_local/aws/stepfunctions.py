"""Tasks of a state machine are AWS calls under the machine's role, whatever the integration.

Step Functions Developer Guide, "Integrating services", "Discover service integration patterns"
(.sync), "Handling errors in Step Functions workflows" (error names) and "Quotas" (256 KiB of
input or output, 25,000 events). Every integration goes through boto3 and the front door of the
local AWS, so that IAM, KMS and parameter checks are those of any other caller.
"""

from __future__ import annotations

import contextvars
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import botocore.exceptions
import botocore.model
import botocore.session

from weir_local.aws.access import RoleRefused
from weir_local.aws.serviceclient import client, role_session
from weir_local.aws.wire import Reply, Request, guard_service, json_error

PAYLOAD_BYTES = 262_144
HISTORY_EVENTS = 25_000
POLL_SECONDS = 0.25

OPTIMIZED: dict[str, tuple[str, str]] = {
    "lambda": ("lambda", "Lambda"),
    "glue": ("glue", "Glue"),
    "sns": ("sns", "SNS"),
    "sqs": ("sqs", "SQS"),
    "dynamodb": ("dynamodb", "DynamoDB"),
    "events": ("events", "EventBridge"),
    "states": ("stepfunctions", "StepFunctions"),
}
"""Optimized integration -> boto3's service and the prefix of its error names."""

SDK_NAMES = {
    "sfn": "stepfunctions",
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "redshiftdata": "redshift-data",
    "redshiftserverless": "redshift-serverless",
}
"""aws-sdk integration -> boto3's service, where dropping the hyphens does not give it."""

SDK_PREFIXES = {"dynamodb": "DynamoDb", "sns": "Sns", "sqs": "Sqs", "kms": "Kms", "iam": "Iam"}
"""boto3's service -> the SDK for Java v2's spelling, where the service id is spelled otherwise."""

UNMODELLED = {"Lambda": "AWSLambdaException", "DynamoDB": "AmazonDynamoDBException"}
"""Error prefix -> what an error outside the service's model is called."""

_execution: contextvars.ContextVar[dict[str, Any]] = contextvars.ContextVar("weir_execution")


def _error(name: str, cause: str) -> Exception:
    from ministack.services import stepfunctions

    error: Exception = stepfunctions._ExecutionError(name, cause)
    return error


def boto_name(sdk_name: str) -> str:
    """boto3's name of the service of an ``aws-sdk:`` integration."""
    name = sdk_name.lower()
    if name in SDK_NAMES:
        return SDK_NAMES[name]
    names = botocore.session.get_session().get_available_services()
    found = {known.replace("-", ""): known for known in names}
    if name not in found:
        raise _error("States.Runtime", f"The service '{sdk_name}' of the integration is unknown")
    return str(found[name])


def to_wire(value: Any, shape: botocore.model.Shape) -> Any:
    """A state's parameters (PascalCase) as a service's model names its members."""
    if isinstance(shape, botocore.model.StructureShape) and isinstance(value, dict):
        names = {name.lower(): name for name in shape.members}
        return {
            names.get(key.lower(), key): to_wire(item, shape.members[names[key.lower()]])
            if key.lower() in names
            else item
            for key, item in value.items()
        }
    if isinstance(shape, botocore.model.ListShape) and isinstance(value, list):
        return [to_wire(item, shape.member) for item in value]
    if isinstance(shape, botocore.model.MapShape) and isinstance(value, dict):
        return {key: to_wire(item, shape.value) for key, item in value.items()}
    if shape.type_name == "blob":
        return (value if isinstance(value, str) else json.dumps(value)).encode()
    if shape.type_name == "string" and isinstance(value, dict | list):
        return json.dumps(value)
    return value


def to_state(value: Any) -> Any:
    """A reply as the state machine sees it: PascalCase members, times in ISO 8601."""
    if isinstance(value, dict):
        return {
            key[:1].upper() + key[1:]: to_state(item)
            for key, item in value.items()
            if key != "ResponseMetadata"
        }
    if isinstance(value, list):
        return [to_state(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def map_keys(value: Any, shape: botocore.model.Shape | None) -> Any:
    """:func:`to_state`, which leaves the keys of maps (attribute names, labels) as they are."""
    if isinstance(shape, botocore.model.StructureShape) and isinstance(value, dict):
        return {
            name[:1].upper() + name[1:]: map_keys(item, shape.members.get(name))
            for name, item in value.items()
            if name != "ResponseMetadata"
        }
    if isinstance(shape, botocore.model.ListShape) and isinstance(value, list):
        return [map_keys(item, shape.member) for item in value]
    if isinstance(shape, botocore.model.MapShape) and isinstance(value, dict):
        return {key: map_keys(item, shape.value) for key, item in value.items()}
    return to_state(value)


def error_name(
    prefix: str, error: botocore.exceptions.ClientError, model: botocore.model.ServiceModel
) -> str:
    """What Step Functions calls a service's error: ``Glue.ConcurrentRunsExceededException``."""
    code = error.response.get("Error", {}).get("Code", "")
    code = code.rsplit("#", 1)[-1].rsplit(".", 1)[-1]
    modelled = {shape.name for shape in model.error_shapes}
    modelled |= {shape.metadata.get("error", {}).get("code", "") for shape in model.error_shapes}
    if code not in modelled:
        return f"{prefix}.{UNMODELLED.get(prefix, f'{prefix}Exception')}"
    return f"{prefix}.{code if code.endswith('Exception') else f'{code}Exception'}"


class Integration:
    """One task's call: which service and operation, under which machine's role."""

    def __init__(self, boto_service: str, prefix: str, operation: str) -> None:
        """:param boto_service: boto3's name
        :param prefix: of its error names
        :param operation: in camelCase, as the resource ARN has it
        """
        from ministack.core.responses import get_region
        from ministack.services import stepfunctions

        machine = stepfunctions._state_machines.get(_execution.get()["stateMachineArn"]) or {}
        region = str(get_region())
        try:
            session = role_session(
                machine.get("roleArn", ""),
                "states.amazonaws.com",
                _execution.get()["stateMachineArn"],
                region,
            )
        except RoleRefused as refused:
            raise _error("States.Permissions", str(refused)) from refused
        self.client = client(session, boto_service, region)
        self.prefix = prefix
        self.operation = operation[:1].upper() + operation[1:]

    def call(self, parameters: dict[str, Any], operation: str | None = None) -> dict[str, Any]:
        """Make the call.

        :param parameters: as the state gives them
        :param operation: another of the service's operations, such as a poll
        :raises _ExecutionError: with the name that Step Functions gives the service's error
        """
        from botocore import xform_name

        name = operation or self.operation
        model = self.client.meta.service_model
        if name not in model.operation_names:
            raise _error(
                "States.Runtime", f"{model.service_name} has no operation {name} for a task"
            )
        shape = model.operation_model(name)
        given = to_wire(parameters, shape.input_shape) if shape.input_shape else {}
        try:
            reply = getattr(self.client, xform_name(name))(**given)
        except botocore.exceptions.ClientError as failed:
            status = failed.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
            message = failed.response.get("Error", {}).get("Message", str(failed))
            cause = f"{message} (Service: {self.prefix}, Status Code: {status})"
            raise _error(error_name(self.prefix, failed, model), cause) from failed
        except botocore.exceptions.ParamValidationError as wrong:
            raise _error("States.Runtime", str(wrong)) from wrong
        for key, item in list(reply.items()):
            if hasattr(item, "read"):
                reply[key] = item.read()
        result: dict[str, Any] = map_keys(reply, shape.output_shape)
        return result


def invoke_function(integration: Integration, parameters: dict[str, Any]) -> dict[str, Any]:
    """``lambda:invoke``: the function's error becomes the task's, its payload is parsed."""
    given = {"Payload": {}, **parameters}
    reply = integration.call(given)
    text = reply.get("Payload") or "null"
    try:
        payload = json.loads(text)
    except ValueError:
        payload = text
    if reply.get("FunctionError"):
        kind = payload.get("errorType") if isinstance(payload, dict) else None
        raise _error(kind or "Lambda.Unknown", json.dumps(payload))
    version = reply.get("ExecutedVersion", "$LATEST")
    return {"ExecutedVersion": version, "Payload": payload, "StatusCode": reply["StatusCode"]}


def run_job(integration: Integration, parameters: dict[str, Any]) -> dict[str, Any]:
    """``glue:startJobRun.sync``: start, wait, and answer with the JobRun.

    A run that does not succeed fails the task with States.TaskFailed and the JobRun as cause; a
    stopped execution stops the run.
    """
    from ministack.services import stepfunctions

    run = {
        "JobName": parameters["JobName"],
        "RunId": integration.call(parameters)["JobRunId"],
    }
    execution = stepfunctions._executions.get(_execution.get()["executionArn"]) or {}
    while True:
        state: dict[str, Any] = integration.call(run, "GetJobRun")["JobRun"]
        if state["JobRunState"] == "SUCCEEDED":
            return state
        if state["JobRunState"] in ("FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED"):
            raise _error("States.TaskFailed", json.dumps(state))
        if execution.get("status") != "RUNNING":
            stop = {"JobName": run["JobName"], "JobRunIds": [run["RunId"]]}
            integration.call(stop, "BatchStopJobRun")
            raise _error("States.TaskFailed", json.dumps(state))
        time.sleep(POLL_SECONDS)


def run_machine(integration: Integration, parameters: dict[str, Any], parsed: bool) -> Any:
    """``states:startExecution.sync`` and ``.sync:2`` (whose output is parsed JSON)."""
    started = integration.call(parameters)
    while True:
        state = integration.call({"ExecutionArn": started["ExecutionArn"]}, "DescribeExecution")
        if state["Status"] == "SUCCEEDED":
            if parsed and isinstance(state.get("Output"), str):
                state["Output"] = json.loads(state["Output"])
            return state
        if state["Status"] != "RUNNING":
            raise _error("States.TaskFailed", json.dumps(state))
        time.sleep(POLL_SECONDS)


def run_task(resource: str, parameters: Any) -> Any:
    """What a Task state's resource does.

    :param resource: the Task's ``Resource``
    :param parameters: the Task's effective input
    """
    if resource.startswith("arn:aws:lambda:"):
        given = {"FunctionName": resource, "Payload": parameters}
        return invoke_function(Integration("lambda", "Lambda", "invoke"), given)["Payload"]
    parts = resource.split(":")
    given = parameters if isinstance(parameters, dict) else {}
    if parts[5] == "aws-sdk":
        boto = boto_name(parts[6])
        integration = Integration(boto, "", parts[7])
        service_id = integration.client.meta.service_model.service_id.replace(" ", "")
        integration.prefix = SDK_PREFIXES.get(boto, service_id)
        return integration.call(given)
    if parts[5] not in OPTIMIZED:
        raise _error("States.Runtime", f"The integration {resource} is not served here")
    boto, prefix = OPTIMIZED[parts[5]]
    operation, _, pattern = parts[6].partition(".")
    integration = Integration(boto, prefix, operation)
    if (boto, operation) == ("lambda", "invoke"):
        return invoke_function(integration, given)
    if (boto, operation, pattern) == ("glue", "startJobRun", "sync"):
        return run_job(integration, given)
    if (boto, operation, pattern) == ("stepfunctions", "startExecution", "sync"):
        return run_machine(integration, given, parts[7:] == ["2"])
    return integration.call(given)


def check_size(state: str, output: Any) -> None:
    """Fail an execution whose state's output is larger than AWS takes.

    :raises _ExecutionError: States.DataLimitExceeded, which States.ALL does not catch
    """
    if len(json.dumps(output).encode()) > PAYLOAD_BYTES:
        raise _error(
            "States.DataLimitExceeded",
            f"The state/task '{state}' returned a result with a size exceeding the maximum "
            f"number of bytes service limit ({PAYLOAD_BYTES}).",
        )


def guard(request: Request) -> Reply | None:
    """Refuse an execution's input that is larger than AWS takes."""
    if request.operation not in ("StartExecution", "StartSyncExecution"):
        return None
    if len(str(request.json.get("input", "")).encode()) <= PAYLOAD_BYTES:
        return None
    return json_error(
        "ValidationException",
        "1 validation error detected: Value at 'input' failed to satisfy constraint: "
        f"Member must have length less than or equal to {PAYLOAD_BYTES}",
    )


def sized(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A state's handler whose output is checked."""

    def run(state: dict[str, Any], raw: Any, *rest: Any) -> Any:
        output, following = handler(state, raw, *rest)
        check_size(((rest[-1] or {}).get("State") or {}).get("Name", ""), output)
        return output, following

    return run


def install() -> None:
    """Run tasks under the machine's role, and hold AWS's limits."""
    from ministack.services import stepfunctions

    execute_task = stepfunctions._execute_task
    add_event = stepfunctions._add_event
    invoke_resource = stepfunctions._invoke_resource

    def task(state: dict[str, Any], raw: Any, execution: dict[str, Any], ctx: Any) -> Any:
        token = _execution.set(execution)
        try:
            return execute_task(state, raw, execution, ctx)
        finally:
            _execution.reset(token)

    def invoke(resource: str, parameters: Any) -> Any:
        if resource.startswith(("arn:aws:states:::", "arn:aws:lambda:")):
            return run_task(resource, parameters)
        return invoke_resource(resource, parameters)

    def event(execution: dict[str, Any], kind: str, details: Any = None) -> Any:
        if len(execution["events"]) >= HISTORY_EVENTS - 1 and not kind.startswith("Execution"):
            raise _error(
                "States.Runtime",
                f"The execution reached the maximum number of history events ({HISTORY_EVENTS}).",
            )
        return add_event(execution, kind, details)

    stepfunctions._execute_task = sized(task)
    stepfunctions._execute_pass = sized(stepfunctions._execute_pass)
    stepfunctions._execute_map = sized(stepfunctions._execute_map)
    stepfunctions._execute_parallel = sized(stepfunctions._execute_parallel)
    stepfunctions._invoke_resource = invoke
    stepfunctions._add_event = event
    guard_service("states", guard)
