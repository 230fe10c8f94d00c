"""From ``kubectl apply`` to the first row, and what the operator asks of AWS: one JSON line.

``make bench`` starts a stack of its own, applies examples/airports, waits until the rows are in the
warehouse, counts the operator's AWS calls by its own metrics, restarts it, and counts again.

Keys: ``apply_to_ready_seconds``, ``apply_to_first_row_seconds``, ``rows``, ``resources`` (AWS
resources of Platform, DataSource and Pipeline), ``aws_calls_create``, ``aws_writes_create``,
``aws_calls_per_resource_created``, ``restart_seconds`` (from ending the pod until the next is ready, which it
is once it has looked at every object),
``aws_calls_restart``, ``aws_calls_per_resource_restart``, ``aws_writes_restart``.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
import urllib.request
from collections import Counter
from typing import Any

from weir_local.demo import EXAMPLE, SOURCE, TABLE, serve
from weir_local.stack import NAMESPACE, ROOT, Stack

READS = ("Get", "List", "Describe", "Head", "Query", "BatchGet", "Scan")
CALL = re.compile(r"^weir_aws_calls_total\{(.*)\} ([0-9.e+]+)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')
QUIET_SECONDS = 10.0
"""So long without a call that changes anything counts as settled."""
LIMIT_SECONDS = 300.0


def operator_port(stack: Stack) -> int:
    """Where the pod runner made the operator's metrics listen."""
    pods = json.loads(stack.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json"))["items"]
    running = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
    ports = running[0]["metadata"]["annotations"]["podrunner.weir.dev/ports"]
    return int(next(iter(re.findall(r"\d{4,5}(?!.*\d{4,5})", ports))))


def calls(stack: Stack) -> Counter[str]:
    """AWS calls of the running operator by ``service:Operation``, Redshift polls included."""
    with urllib.request.urlopen(f"http://127.0.0.1:{operator_port(stack)}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found: Counter[str] = Counter()
    for line in lines:
        match = CALL.match(line)
        if match:
            labels = dict(LABEL.findall(match.group(1)))
            found[f"{labels['service']}:{labels['operation']}"] += int(float(match.group(2)))
    return found


def writes(counted: Counter[str]) -> int:
    """Calls that change something; statements of the Data API are told apart by no name."""
    return sum(
        number
        for name, number in counted.items()
        if not name.partition(":")[2].startswith(READS)
        and not name.startswith(("redshift-data:", "sts:"))
    )


def objects(stack: Stack) -> list[dict[str, Any]]:
    """Platform, DataSources and Pipelines."""
    found: list[dict[str, Any]] = json.loads(
        stack.kubectl("get", "plat,dsrc,pipe", "-A", "-o", "json")
    )["items"]
    return found


def condition(item: dict[str, Any], kind: str) -> str:
    """A condition's status."""
    for found in item.get("status", {}).get("conditions", []):
        if found["type"] == kind:
            return str(found["status"])
    return "Unknown"


def until(what: str, holds: Any) -> float:
    """Poll until it holds; the seconds that took."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > LIMIT_SECONDS:
            sys.exit(f"not in {LIMIT_SECONDS:.0f} s: {what}")
        time.sleep(0.25)
    return time.monotonic() - began


def ready(stack: Stack) -> bool:
    """Whether the three objects are there and Ready."""
    items = objects(stack)
    return len(items) == 3 and all(condition(item, "Ready") == "True" for item in items)


def first_row(stack: Stack) -> int:
    """Rows that the first successful pass brought."""
    for item in objects(stack):
        last = item.get("status", {}).get("lastRun") or {}
        if item["kind"] == "Pipeline" and last.get("state") == "Succeeded":
            return int(last["rows"])
    return 0


def settled(stack: Stack) -> Counter[str]:
    """The calls once nothing but polling of the run feed goes on."""
    before = calls(stack)
    while True:
        time.sleep(QUIET_SECONDS)
        now = calls(stack)
        if {name for name in now if now[name] != before[name]} <= {"dynamodb:Query"}:
            return now
        before = now


def measure(stack: Stack) -> dict[str, float | int]:
    """Apply, wait, count, restart, count."""
    with serve(stack):
        began = time.monotonic()
        stack.kubectl("apply", "-f", str(EXAMPLE))
        until(f"{SOURCE} is Ready", lambda: ready(stack))
        to_ready = time.monotonic() - began
        until(f"a row is in {TABLE}", lambda: first_row(stack))
        to_row = time.monotonic() - began
        rows = first_row(stack)
        created = settled(stack)
        resources = sum(
            1
            for item in objects(stack)
            for one in item["status"]["resources"]
            if one.get("state") != "External"
        )
        began = time.monotonic()
        stack.kubectl("delete", "pod", "-n", NAMESPACE, "--all")
        stack.kubectl("rollout", "status", "-n", NAMESPACE, "deployment", "--timeout=60s")
        restarted = time.monotonic() - began
        again = settled(stack)
    polls = again["dynamodb:Query"]
    return {
        "apply_to_ready_seconds": round(to_ready, 1),
        "apply_to_first_row_seconds": round(to_row, 1),
        "rows": rows,
        "resources": resources,
        "aws_calls_create": created.total(),
        "aws_writes_create": writes(created),
        "aws_calls_per_resource_created": round(created.total() / resources, 2),
        "restart_seconds": round(restarted, 1),
        "aws_calls_restart": again.total() - polls,
        "aws_calls_per_resource_restart": round((again.total() - polls) / resources, 2),
        "aws_writes_restart": writes(again),
    }


def main() -> None:
    """Measure on a stack of its own, and print one JSON line."""
    state = ROOT / ".local" / "bench"
    shutil.rmtree(state, ignore_errors=True)
    stack = Stack(state)
    try:
        stack.up()
        result = measure(stack)
    finally:
        stack.down()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
