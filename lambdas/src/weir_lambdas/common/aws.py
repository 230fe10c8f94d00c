"""The AWS clients of a function: made once a process, with timeouts and retries said aloud."""

from __future__ import annotations

import functools
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

CONFIG = Config(
    connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5}
)


@functools.cache
def client(service: str) -> Any:
    """The process's client of a service; endpoint and region come from the environment."""
    return boto3.client(service, config=CONFIG)  # type: ignore[call-overload]


def error_code(error: ClientError) -> str:
    """The AWS error code, such as ``ConditionalCheckFailedException``."""
    return str(error.response.get("Error", {}).get("Code", ""))
