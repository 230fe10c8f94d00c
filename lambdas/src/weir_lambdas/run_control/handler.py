"""The function ``run_control``: begin, account, release and fail of one pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weir_contract.pipelines import PipelineConfig
from weir_lambdas.common.aws import client
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.config import environment, load_config
from weir_lambdas.common.entry import entry
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.run_control.control import Control


@entry
def handler(event: Mapping[str, Any], _context: Any) -> dict[str, Any]:
    """Entry point.

    Parameters
    ----------
    event
        ``{"action": "begin" | "account" | "release" | "fail", "execution": arn, ...}``; what each
        takes besides stands at its method of :class:`Control`.

    Raises
    ------
    ConfigInvalid
        There is no such action.
    """
    config = load_config(PipelineConfig)
    control = Control(
        config,
        environment("WEIR_CONFIG"),
        Table(client("dynamodb"), config.state_table),
        Storage(client("s3"), config.kms_key_arn),
        SystemClock(),
    )
    actions = {
        "begin": lambda: control.begin(str(event["execution"]), event.get("input") or {}),
        "account": lambda: control.account(event),
        "release": lambda: control.release(str(event["execution"]), event.get("failed") is True),
        "fail": lambda: control.fail(event),
    }
    chosen = actions.get(str(event.get("action")))
    if chosen is None:
        raise ConfigInvalid(
            f"there is no action {event.get('action')!r}; use {', '.join(actions)}",
            "run_control",
        )
    return chosen()
