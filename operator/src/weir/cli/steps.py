"""Which steps has a run taken? Asked of Step Functions, as the caller's own AWS identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

MAX_EVENTS = 1000
"""Events read of one execution: one look never takes long."""
FAILURES = ("ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted")


@dataclass(frozen=True)
class Step:
    """One state of an execution. ``seconds`` is None while it runs."""

    execution: str
    name: str
    started: datetime
    seconds: float | None = None
    failed: bool = False

    @property
    def state(self) -> str:
        """``Running``, ``Failed`` or ``Done``."""
        if self.failed:
            return "Failed"
        return "Running" if self.seconds is None else "Done"


class StepsUnreadable(RuntimeError):
    """AWS does not say; the message is for people."""


class Executions:
    """The executions of one Platform.

    Parameters
    ----------
    platform
        The Platform's object, for region and endpoint.
    """

    def __init__(self, platform: Mapping[str, Any]) -> None:
        spec = platform["spec"]
        self._machines = boto3.client(
            "stepfunctions", region_name=spec["region"], endpoint_url=spec.get("endpointUrl")
        )

    def steps(self, arns: Sequence[str]) -> list[Step]:
        """The states that these executions have entered, in order.

        Raises
        ------
        StepsUnreadable
            There are no credentials, or they may not ask.
        """
        found: list[Step] = []
        try:
            for arn in arns:
                pages = self._machines.get_paginator("get_execution_history").paginate(
                    executionArn=arn, PaginationConfig={"MaxItems": MAX_EVENTS}
                )
                events = (event for page in pages for event in page["events"])
                found += steps_of(arn.rpartition(":")[2], events)
        except (ClientError, BotoCoreError) as error:
            raise StepsUnreadable(f"the run's steps can't be read: {error}") from error
        return found


class StepWatch:
    """The steps of one PipelineRun. Where AWS does not say, that is said instead."""

    def __init__(self, platform: Mapping[str, Any]) -> None:
        self._executions = Executions(platform)
        self._refused = ""

    def table(self, run: Mapping[str, Any]) -> RenderableType:
        """What is known now.

        Parameters
        ----------
        run
            The PipelineRun; ``status.executions`` names what it started.
        """
        arns = (run.get("status") or {}).get("executions") or []
        if not self._refused:
            try:
                return table(self._executions.steps(arns))
            except StepsUnreadable as error:
                self._refused = str(error)
        return Text(self._refused)


def steps_of(execution: str, events: Iterable[Mapping[str, Any]]) -> list[Step]:
    """The steps that a history tells of.

    Parameters
    ----------
    execution
        The execution's name.
    events
        Of ``GetExecutionHistory``, the oldest first.
    """
    steps: list[Step] = []
    for event in events:
        if "stateEnteredEventDetails" in event:
            name = event["stateEnteredEventDetails"]["name"]
            steps.append(Step(execution, name, event["timestamp"]))
        elif "stateExitedEventDetails" in event:
            name = event["stateExitedEventDetails"]["name"]
            _end(steps, name, event["timestamp"])
        elif event["type"] in FAILURES:
            for i, step in enumerate(steps):
                if step.seconds is None:
                    length = (event["timestamp"] - step.started).total_seconds()
                    steps[i] = replace(step, seconds=length, failed=True)
    return steps


def _end(steps: list[Step], name: str, time: datetime) -> None:
    for i in reversed(range(len(steps))):
        if steps[i].name == name and steps[i].seconds is None:
            steps[i] = replace(steps[i], seconds=(time - steps[i].started).total_seconds())
            return


def table(steps: Sequence[Step]) -> Table:
    """One line a step."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("Execution", "Step", "State"):
        shown.add_column(title)
    shown.add_column("Seconds", justify="right")
    before = ""
    for step in steps:
        shown.add_row(
            step.execution if step.execution != before else "",
            step.name,
            step.state,
            "" if step.seconds is None else f"{step.seconds:.1f}",
        )
        before = step.execution
    return shown
