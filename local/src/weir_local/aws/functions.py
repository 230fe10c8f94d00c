"""Lambda functions fail, log and poll as on AWS, and see only what their runtime has.

Lambda Developer Guide, "Python function errors" (errorType is the exception's class),
"Defining Lambda function permissions with an execution role" (logs and pollers use it),
"Configuring scaling behavior for SQS event source mappings", "Lambda quotas" (6 MB).
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

from weir_local.aws import runtimes
from weir_local.aws.access import RoleRefused, check_trust, role_denial
from weir_local.aws.deliveries import key_of
from weir_local.aws.wire import Reply, Request, guard_service, json_error

logger = logging.getLogger("weir.local.aws.lambda")

RESPONSE_BYTES = 6_291_556
MARK = "__weir_function_error__"

INIT_FAILED = "Worker init failed: "
INIT_ERRORS = {
    "No module named": "Runtime.ImportModuleError",
    "cannot import name": "Runtime.ImportModuleError",
    "has no attribute": "Runtime.HandlerNotFound",
}
"""Words of a failed start -> the errorType that Lambda gives it."""

WORKER_REPORTS = (
    '            _real_stdout.write(json.dumps({"status": "error", "error": str(e), '
    '"trace": traceback.format_exc()}) + "\\n")\n'
)
"""The line of MiniStack's Python worker that reports a handler's exception, without its class."""

REPORT = f"""\
            print("[ERROR] " + type(e).__name__ + ": " + str(e), file=sys.stderr)
            traceback.print_exc(file=sys.stderr)
            sys.stderr.flush()
            _real_stdout.write(json.dumps({{"status": "ok", "result": {{"{MARK}": {{
                "errorMessage": str(e), "errorType": type(e).__name__,
                "requestId": _ms_ctx.get("request_id", ""),
                "stackTrace": traceback.format_tb(e.__traceback__)[1:]}}}}}}) + "\\n")
"""

POLLS: dict[str, tuple[str, ...]] = {
    "sqs": ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"),
}
"""Service of an event source -> what Lambda's poller does there under the function's role."""


def poll_denial(mapping: dict[str, Any], role_arn: str) -> str | None:
    """Why Lambda may not poll a source for a function, or None.

    :param mapping: the event source mapping
    :param role_arn: the function's execution role
    """
    source = str(mapping.get("EventSourceArn", ""))
    if source.count(":") < 5:
        return None
    service, region = source.split(":")[2:4]
    for operation in POLLS.get(service, ()):
        denied = role_denial(role_arn, f"{service}:{operation}", source, region)
        if denied:
            return denied
    key = key_of(service, source)
    via = {"kms:viaservice": f"{service}.{region}.amazonaws.com"}
    return role_denial(role_arn, "kms:Decrypt", key, region, via) if key else None


def may_log(config: dict[str, Any], group: str) -> bool:
    """Whether a function's role may write to its log group, and make it if there is none."""
    from ministack.core.responses import get_account_id, get_region
    from ministack.services import cloudwatch_logs

    role, region = config.get("Role", ""), str(get_region())
    arn = f"arn:aws:logs:{region}:{get_account_id()}:log-group:{group}"
    needed = ["logs:CreateLogStream", "logs:PutLogEvents"]
    if group not in cloudwatch_logs._log_groups:
        needed.append("logs:CreateLogGroup")
    for action in needed:
        denied = role_denial(role, action, f"{arn}:log-stream:", region)
        if denied and role_denial(role, action, arn, region):
            logger.warning("function %s writes no logs: %s", config.get("FunctionName"), denied)
            return False
    return True


def handler_error(result: dict[str, Any]) -> dict[str, Any]:
    """A function's result, its exception told apart and its size held to AWS's limit."""
    body = result.get("body")
    if isinstance(body, dict) and MARK in body:
        return {**result, "body": body[MARK], "error": True}
    message = str(body.get("errorMessage", "")) if isinstance(body, dict) else ""
    if result.get("error") and message.startswith(INIT_FAILED):
        message = message.removeprefix(INIT_FAILED)
        kind = next((kind for words, kind in INIT_ERRORS.items() if words in message), None)
        return {**result, "body": {"errorMessage": message, "errorType": kind or "Runtime.Unknown"}}
    if not result.get("error") and len(json.dumps(body)) > RESPONSE_BYTES:
        size = len(json.dumps(body))
        message = f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes)."
        failure = {"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"}
        return {**result, "body": failure, "error": True}
    return result


def function_role(function: str) -> str:
    """The execution role of a function by name or ARN, empty when there is none."""
    from ministack.services import lambda_svc

    _, config, _ = lambda_svc._get_func_record_for_ref(function)
    return str((config or {}).get("Role", ""))


def source_of(mapping: dict[str, Any]) -> tuple[str, ...]:
    """What tells the sources of mappings apart: ARN, a cluster's own servers, topics."""
    servers = (mapping.get("SelfManagedEventSource") or {}).get("Endpoints") or {}
    return (
        str(mapping.get("EventSourceArn") or ""),
        *sorted(servers.get("KAFKA_BOOTSTRAP_SERVERS") or []),
        *(mapping.get("Topics") or []),
    )


def twin(mapping: dict[str, Any]) -> str | None:
    """The UUID of a mapping of the same function and source, or None.

    :param mapping: the request of a new one
    """
    from ministack.services import lambda_svc

    function = str(mapping.get("FunctionName", "")).rpartition(":function:")[2]
    for uuid, there in lambda_svc._esms.items():
        if source_of(there) != source_of(mapping):
            continue
        if str(there.get("FunctionArn", "")).rpartition(":function:")[2] == function:
            return str(uuid)
    return None


def guard(request: Request) -> Reply | None:
    """Refuse a mapping that is there already, or whose source the role may not read."""
    if request.method != "POST" or not request.path.rstrip("/").endswith("/event-source-mappings"):
        return None
    uuid = twin(request.json)
    if uuid is not None:
        return json_error(
            "ResourceConflictException",
            f"An event source mapping with {' '.join(source_of(request.json))} and function "
            f"{request.json['FunctionName']} already exists. Please update or delete the existing "
            f"mapping with UUID {uuid}",
            409,
        )
    role = function_role(str(request.json.get("FunctionName", "")))
    denied = poll_denial(request.json, role) if role else None
    if denied is None:
        return None
    service = str(request.json["EventSourceArn"]).split(":")[2].upper()
    return json_error(
        "InvalidParameterValueException",
        f"The function execution role does not have permissions to poll {service}: {denied}",
    )


def polled(iterate: Callable[[], Iterator[Any]]) -> Callable[[], Iterator[Any]]:
    """The event source mappings whose function's role may poll their source."""

    def mappings() -> Iterator[Any]:
        from ministack.core.responses import request_scope

        for account, region, mapping in iterate():
            with request_scope(account, region):
                role = function_role(str(mapping.get("FunctionName", "")))
                denied = poll_denial(mapping, role) if role else None
            if denied is None:
                yield account, region, mapping
            elif mapping.get("LastProcessingResult") != f"PROBLEM: {denied}":
                mapping["LastProcessingResult"] = f"PROBLEM: {denied}"
                logger.warning("event source of %s: %s", mapping.get("FunctionName"), denied)

    return mappings


def install() -> None:
    """Give functions AWS's runtime, errors, logs and pollers."""
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    if WORKER_REPORTS not in lambda_runtime._PYTHON_WORKER_SCRIPT:
        raise RuntimeError("MiniStack's Python worker has changed: mend functions.WORKER_REPORTS")
    worker = lambda_runtime._PYTHON_WORKER_SCRIPT.replace(WORKER_REPORTS, REPORT)
    packages = runtimes.site(runtimes.state() / "lambda-packages", runtimes.LAMBDA)
    python = runtimes.interpreter(runtimes.state() / "lambda-python", packages)
    detect = lambda_runtime._detect_runtime_binary
    credentials = lambda_runtime.execution_credentials
    execute = lambda_svc._execute_function_warm
    emit_logs = lambda_svc._emit_lambda_logs

    def binary(runtime: str) -> Any:
        return (str(python), worker) if runtime.startswith("python") else detect(runtime)

    def role_credentials(config: dict[str, Any]) -> Any:
        arn = config.get("FunctionArn", "")
        try:
            check_trust(config.get("Role", ""), "lambda.amazonaws.com", arn, arn.split(":")[3])
        except RoleRefused as refused:
            raise RuntimeError(
                f"The role defined for the function cannot be assumed by Lambda: {refused}"
            ) from refused
        return credentials(config)

    @functools.wraps(execute)
    def run(func: dict[str, Any], event: Any, request_id: str) -> Any:
        return handler_error(execute(func, event, request_id))

    def logs(func: dict[str, Any], *rest: Any, **named: Any) -> None:
        config = func.get("config") or func
        group = (config.get("LoggingConfig") or {}).get("LogGroup")
        if may_log(config, group or f"/aws/lambda/{config.get('FunctionName')}"):
            emit_logs(func, *rest, **named)

    lambda_runtime._detect_runtime_binary = binary
    lambda_runtime.execution_credentials = role_credentials
    if hasattr(lambda_svc, "execution_credentials"):
        lambda_svc.execution_credentials = role_credentials
    lambda_svc._execute_function_warm = run
    lambda_svc._emit_lambda_logs = logs
    lambda_svc._iter_all_esms = polled(lambda_svc._iter_all_esms)
    guard_service("lambda", guard)


def uninstall() -> None:
    """End the functions' processes."""
    from ministack.core import lambda_runtime

    lambda_runtime.reset()
