"""What Step Functions says of an error, as something that a person can act on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from weir_contract.runs import JOB_FAULTS, Failure
from weir_lambdas.common.errors import action_for
from weir_lambdas.common.log import REDACTOR

MAX_MESSAGE = 1_000
MAX_SUBJECT = 100
"""Characters of an SNS subject (Amazon SNS API Reference, *Publish*)."""

JOB_FAULT = re.compile(rf"\b({'|'.join(JOB_FAULTS)}): ")


def failure_of(stage: str, error: Mapping[str, Any]) -> Failure:
    """A Step Functions error output (``{"Error", "Cause"}``) as a Failure.

    A Lambda's Cause is JSON with errorMessage; a Glue job's holds ErrorMessage; anything else is
    taken as text.
    """
    name = str(error.get("Error") or "Unknown")
    cause = str(error.get("Cause") or "no cause was given")
    try:
        detail = json.loads(cause)
    except ValueError:
        detail = None
    if isinstance(detail, dict):
        message = next(
            (
                str(detail[key])
                for key in ("errorMessage", "ErrorMessage", "Error", "message")
                if detail.get(key)
            ),
            cause,
        )
    else:
        message = cause
    if told := JOB_FAULT.search(message):
        # Step Functions calls every job that fails States.TaskFailed: the job's own word says more.
        name, message = told.group(1), message[told.end() :]
    action = action_for(name)
    message = message.removesuffix(action).strip()
    return Failure(stage, name, REDACTOR.text(message)[:MAX_MESSAGE], action)


def notice(kind: str, object_id: str, run: str, failure: Failure) -> dict[str, str]:
    """Subject and text of the notification about a failed run.

    Parameters
    ----------
    kind
        ``DataSource`` or ``Pipeline``.
    object_id
        ``namespace/name``.
    """
    subject = f"Weir: {kind} {object_id} failed: {failure.error}"
    lines = [
        f"{kind} {object_id} failed in {failure.stage}.",
        "",
        f"What: {failure.error}: {failure.message}",
        f"What to do: {failure.action}",
        "",
        f"Run: {run}",
    ]
    one_line = " ".join("".join(c if c.isprintable() else " " for c in subject).split())
    ascii_subject = one_line.encode("ascii", "replace").decode()
    return {"subject": ascii_subject[:MAX_SUBJECT], "message": "\n".join(lines)}
