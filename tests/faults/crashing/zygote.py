"""A process that has boto3 loaded and forks a worker for each job, so that a restart costs little.

It reads jobs as JSON lines and answers each with two lines: the worker's pid as it begins, and how
it ended. A worker that is killed is killed for real: it is a process like the operator's.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Job = dict[str, Any]


def quicken() -> None:
    """Shorten pauses between tries: what is tested is what is done, not how long it takes."""
    from botocore.retries import bucket, standard

    from weir.aws import calls

    standard.ExponentialBackoff.delay_amount = lambda _self, _context: 0.002
    bucket.TokenBucket.__init__.__defaults__ = (500.0,)
    assert calls.wait_for.__kwdefaults__ is not None
    calls.wait_for.__kwdefaults__["first"] = 0.004


def work(job: Job, jobs: dict[str, Callable[[Job], Any]]) -> int:
    """Do one job and write down what it came to. Returns the exit status."""
    try:
        found = jobs[job["do"]](job)
    except BaseException:  # noqa: BLE001 - told to whoever asked for the job
        Path(job["result"]).write_text(json.dumps({"error": traceback.format_exc()}))
        return 1
    Path(job["result"]).write_text(json.dumps({"value": found}))
    return 0


def serve(jobs: dict[str, Callable[[Job], Any]]) -> None:
    """Fork a worker for each job until standard input ends."""
    for line in sys.stdin:
        job = json.loads(line)
        if threading.active_count() > 1:
            raise RuntimeError(f"a fork here would lose threads: {threading.enumerate()}")
        pid = os.fork()
        if pid == 0:
            os.dup2(2, 1)  # Standard output is for answers; logs go where errors go.
            status = 1
            try:
                status = work(job, jobs)
            finally:
                os._exit(status)
        print(json.dumps({"pid": pid}), flush=True)
        _, ended = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(ended)}), flush=True)


if __name__ == "__main__":
    quicken()
    from crashing.jobs import prepare

    serve(prepare(json.loads(sys.argv[1])))
