"""``make demo``: the main job, whole, on this machine.

A real data set behind a real HTTP server with an API key; a DataSource applied with kubectl; rows
in the warehouse, their account, and how long each step took.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from weir_local.cluster.processes import Processes
from weir_local.stack import (
    CLUSTER_ID,
    EXAMPLE_STATE,
    ROOT,
    SERVER,
    Stack,
    StackError,
    new_key,
)

EXAMPLE = ROOT / "examples" / "airports"
PORT = 8765
SECRET = "weir/default/airports_api_key"
SOURCE = "airports"
TABLE = "public_data.airports"
RUN_SECONDS = 300
WIDTH = 110
"""Columns of what is printed where there is no terminal to ask."""
POLL_SECONDS = 0.5

NEXT = """\
Three things to try next (make demo KEEP=1 leaves it all running; source .local/env.sh):
  weir run airports               run it again: no row is there twice
  weir status airports            conditions, every AWS resource, the account
  weir plan -f examples/airports  change the file, and see what would change on AWS
"""


def demo(state: Path, keep: bool) -> int:
    """Run the demo.

    Parameters
    ----------
    state
        Directory of everything it writes.
    keep
        Whether everything stays up at the end.

    Returns
    -------
    int
        0 where the rows arrived and the account adds up.
    """
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    stack = Stack(state, lambda step, seconds: _said(console, step, seconds))
    began = time.monotonic()
    try:
        console.print("[bold]Starting a cluster, a local AWS and the operator[/]")
        stack.up()
        with serve(stack, keep) as served:
            console.print(
                f"[bold]Applying {EXAMPLE.relative_to(ROOT)}[/] ({served} airports served)"
            )
            applied = time.monotonic()
            console.print(stack.kubectl("apply", "-f", str(EXAMPLE)).rstrip())
            run = _watch(stack, console)
            stack.seconds["apply to rows"] = time.monotonic() - applied
            arrived = _show(stack, console, run, served)
            if keep:
                console.print("everything stays up; make down ends it")
        console.print(f"\n{NEXT}", highlight=False)
        console.print(f"The demo took {time.monotonic() - began:.0f} s.")
        return 0 if arrived else 1
    except StackError as error:
        console.print(f"[red]error:[/] {error}", highlight=False)
        return 1
    finally:
        if not keep:
            stack.down()


def _said(console: Console, step: str, seconds: float) -> None:
    console.print(f"  {step}" + (f" [dim]{seconds:.1f} s[/]" if seconds else ""))


@contextmanager
def serve(stack: Stack, keep: bool = False) -> Iterator[int]:
    """The example's HTTP server with a fresh key, which Secrets Manager holds too.

    Parameters
    ----------
    keep
        Whether it goes on afterwards, until :meth:`Stack.down` ends it.

    Yields
    ------
    int
        Rows that it serves.
    """
    processes = Processes(stack.state / EXAMPLE_STATE)
    processes.stop(SERVER)
    processes.directory.mkdir(parents=True, exist_ok=True)
    key_file = processes.directory / "key"
    key_file.touch(mode=0o600)
    key = new_key()
    key_file.write_text(key)
    manager = stack.session().client("secretsmanager")
    try:
        manager.create_secret(Name=SECRET, SecretString=key)
    except manager.exceptions.ResourceExistsException:
        manager.put_secret_value(SecretId=SECRET, SecretString=key)
    processes.start(
        SERVER,
        [sys.executable, str(EXAMPLE / "server.py"), "--port", str(PORT),
         "--key-file", str(key_file)],
    )  # fmt: skip
    try:
        yield _wait_served(processes)
    finally:
        if not keep:
            processes.stop(SERVER)


def _wait_served(processes: Processes) -> int:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and processes.running(SERVER):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=2) as answer:
                return int(json.load(answer)["rows"])
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise StackError(
        f"the example's server does not answer on port {PORT}: see {processes.log(SERVER)}"
    )


def _watch(stack: Stack, console: Console) -> dict[str, Any]:
    """Show objects and run steps until the pipeline's first run has ended; give that run."""
    deadline = time.monotonic() + RUN_SECONDS
    steps = stack.session().client("stepfunctions")
    with Live(console=console, refresh_per_second=4) as live:
        while True:
            objects = json.loads(stack.kubectl("get", "plat,dsrc,pipe", "-A", "-o", "json"))[
                "items"
            ]
            live.update(Group(_objects(objects), _executions(steps)))
            run = _last_run(objects, "Pipeline")
            if run.get("state") in {"Succeeded", "Failed"}:
                return run
            if time.monotonic() > deadline:
                raise StackError(
                    f"no run ended in {RUN_SECONDS} s; kubectl describe dsrc {SOURCE} says why"
                )
            time.sleep(POLL_SECONDS)


def _last_run(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    for item in objects:
        if item["kind"] == kind and item["metadata"]["name"] == SOURCE:
            found: dict[str, Any] = item.get("status", {}).get("lastRun") or {}
            return found
    return {}


def _objects(objects: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("Kind", "Name", "Ready", "Synced", "Flowing", "Resources", "Message"):
        table.add_column(name, no_wrap=name != "Message")
    for item in objects:
        status = item.get("status", {})
        conditions = {found["type"]: found for found in status.get("conditions", [])}
        ready = conditions.get("Ready", {})
        table.add_row(
            item["kind"],
            item["metadata"]["name"],
            *(
                conditions.get(kind, {}).get("status", "-")
                for kind in ("Ready", "Synced", "Flowing")
            ),
            str(len(status.get("resources", []))),
            str(ready.get("message") or ready.get("reason", "")),
        )
    return table


def _executions(steps: Any) -> Table:
    """The running and ended executions of all state machines, with the state each is in."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("Execution of", "Status", "Step"):
        table.add_column(name, no_wrap=True)
    for machine in steps.list_state_machines()["stateMachines"]:
        arn = machine["stateMachineArn"]
        for execution in steps.list_executions(stateMachineArn=arn, maxResults=3)["executions"]:
            history = steps.get_execution_history(
                executionArn=execution["executionArn"], reverseOrder=True, maxResults=20
            )["events"]
            entered = [
                event["stateEnteredEventDetails"]["name"]
                for event in history
                if "stateEnteredEventDetails" in event
            ]
            table.add_row(
                machine["name"].removeprefix(f"weir-{CLUSTER_ID}-").rpartition("-")[0],
                execution["status"], entered[0] if entered else "",
            )  # fmt: skip
    return table


def _show(stack: Stack, console: Console, run: Mapping[str, Any], served: int) -> bool:
    """Print rows, account and seconds; whether all that was served has arrived."""
    if run["state"] != "Succeeded":
        console.print(f"[red]The run failed:[/] {run.get('message')}", highlight=False)
        return False
    console.print(f"\n[bold]Rows in {TABLE}[/]")
    _weir(
        stack,
        "query",
        f"select iata, name, city, state, latitude, longitude from {TABLE} order by iata limit 8",
    )
    counted = json.loads(
        _weir(stack, "query", f"select count(*) as n from {TABLE}", "--output", "json", show=False)
    )[0]["n"]
    console.print(
        f"\n[bold]The account of run {run['run']}[/]: {served} rows served, {counted} in the table"
    )
    console.print(_account(run))
    table = Table(title="Seconds by step", box=None, title_justify="left", title_style="bold")
    table.add_column("step")
    table.add_column("s", justify="right")
    for name, seconds in {**stack.seconds, **_run_seconds(run)}.items():
        table.add_row(name, f"{seconds:.1f}")
    console.print(table)
    return int(counted) == served


def _account(run: Mapping[str, Any]) -> Table:
    """Where every row went, stage by stage."""
    counts = ("rowsIn", "rowsOut", "quarantined", "deduplicated", "filtered", "inserted",
              "updated", "stale", "deleted")  # fmt: skip
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("stage")
    for name in counts:
        table.add_column(name, justify="right")
    for stage in run.get("account") or []:
        values = [stage.get(name) for name in counts]
        table.add_row(stage["stage"], *("" if v is None else f"{v:,}" for v in values))
    return table


def _run_seconds(run: Mapping[str, Any]) -> dict[str, float]:
    return {f"  run: {name}": float(value) for name, value in (run.get("seconds") or {}).items()}


def _weir(stack: Stack, *arguments: str, show: bool = True) -> str:
    result = subprocess.run(
        [str(Path(sys.executable).parent / "weir"), *arguments],
        env=stack.environment(), stdout=None if show else subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if result.returncode:
        raise StackError(f"weir {arguments[0]} failed with exit code {result.returncode}")
    return result.stdout or ""
