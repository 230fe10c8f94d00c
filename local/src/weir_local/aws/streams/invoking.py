"""A mapping's function is invoked as Lambda's poller invokes it, and its metrics are kept."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from weir_local.aws import metrics

Mapping = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What an invocation came to.

    :param body: what the function returned
    :param failed: whether it raised, ran out of time or could not start
    :param throttled: whether it was not invoked at all
    """

    body: Any = None
    failed: bool = False
    throttled: bool = False


def invoke(mapping: Mapping, event: dict[str, Any]) -> Answer:
    """Invoke a mapping's function and wait for it.

    :param mapping: as stored, in the account and region of the caller's scope
    :param event: the batch
    """
    from ministack.services import lambda_svc

    record, config = lambda_svc._get_func_record_for_qualifier(
        mapping["FunctionName"], mapping.get("Qualifier")
    )
    if record is None or config is None or config.get("State") in ("Pending", "Inactive"):
        return Answer(throttled=True)
    result = lambda_svc._execute_function(record, event)
    if result.get("throttle"):
        return Answer(throttled=True)
    body = result.get("body")
    if isinstance(body, str | bytes):
        try:
            body = json.loads(body)
        except ValueError:
            return Answer(body, failed=bool(result.get("error")))
    return Answer(body, failed=bool(result.get("error")))


def record_metric(mapping: Mapping, name: str, value: float, unit: str) -> None:
    """Store a value of one of Lambda's metrics of a mapping's function."""
    dimensions = {"FunctionName": str(mapping["FunctionName"])}
    metrics.record(("AWS/Lambda", name, dimensions, value, unit, time.time()))
