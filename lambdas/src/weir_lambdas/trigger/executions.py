"""Step Functions, as far as a flight needs it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from weir_lambdas.common.aws import error_code
from weir_lambdas.common.clock import Clock


class StepFunctions:
    """Executions through a Step Functions client."""

    def __init__(self, sfn: Any) -> None:
        self._sfn = sfn

    def running(self, arn: str) -> bool | None:
        """Whether an execution runs; None where Step Functions does not know it."""
        try:
            status = self._sfn.describe_execution(executionArn=arn)["status"]
        except ClientError as error:
            if error_code(error) == "ExecutionDoesNotExist":
                return None
            raise
        return status in ("RUNNING", "PENDING_REDRIVE")

    def start(self, machine_arn: str, name: str, payload: Mapping[str, Any]) -> None:
        """Start an execution under a name that was never used."""
        self._sfn.start_execution(
            stateMachineArn=machine_arn, name=name, input=json.dumps(payload, sort_keys=True)
        )


def new_name(clock: Clock) -> str:
    """An execution name: its moment, to be found by eye, and 48 random bits, to be unique."""
    return f"{clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(6)}"
