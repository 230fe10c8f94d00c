"""How long each function takes from its first import to its first AWS call, and how large it is.

The artifacts are built, and unpacked where nothing is written, as Lambda does it: a module that the
archive brings uncompiled would be compiled at each start. boto3 is the environment's, as it is the
runtime's. ``cold_cpu_ms_`` is the CPU's time of the same, which other work on the machine stretches
less.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lambdas" / "src" / "weir_lambdas"

ARTIFACTS = {"file_processor": "files", "email_processor": "files", "stream_processor": "streams"}
"""Package of a handler -> its artifact; the others are in ``functions``."""

START = """
import json, sys, time
print(time.time(), time.process_time(), flush=True)
from importlib import import_module
class Context:
    aws_request_id = "r"
    def get_remaining_time_in_millis(self):
        return 900_000
import_module(sys.argv[1]).handler(json.loads(sys.argv[2]), Context())
"""

EVENT = {
    "sweep": True,
    "action": "begin",
    "run": "r",
    "execution": "e",
    "planUri": "s3://b/plan.json",
    "resultUri": "s3://b/result.json",
    "stage": "load",
}
"""Something that makes each handler go to work."""

MANIFEST = {
    "source": "aws.s3",
    "detail": {
        "bucket": {"name": "weir"},
        "object": {"key": "n/s/_manifests/_manifest-000000000001.json", "etag": "e", "size": 1},
    },
}
EVENTS = {
    "metadata_extractor": {"Records": [{"messageId": "1", "body": json.dumps(MANIFEST)}]},
}
"""Package -> what makes its handler go to work, where :data:`EVENT` does not."""


def handlers() -> Iterator[tuple[str, str]]:
    """Name and module of each function."""
    for path in sorted([*PACKAGE.glob("*/handler.py"), *PACKAGE.glob("*/receive.py")]):
        package, module = path.parent.name, path.stem
        name = package if module == "handler" else f"{package}_{module}"
        yield name, f"weir_lambdas.{package}.{module}"


def variables() -> set[str]:
    """Names of all that the functions ask their environment for."""
    texts = (path.read_text() for path in PACKAGE.rglob("*.py"))
    return {name for text in texts for name in re.findall(r'"(WEIR_[A-Z_]+)"', text)}


def cpu_seconds(process: int) -> float:
    """What a process has had of the CPU so far (proc_pid_stat(5): utime and stime)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(module: str, folder: Path) -> tuple[float, float]:
    """Milliseconds of one cold start: by the clock, and of the CPU (to 10 ms)."""
    event = EVENTS.get(module.split(".")[1], EVENT)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        port = listening.getsockname()[1]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PYTHON"))}
        environment = kept | {
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_DEFAULT_REGION": "eu-west-1",
            **dict.fromkeys(variables(), "weir"),
            "WEIR_RETRIES": "8",
            "WEIR_CONFIG": "s3://b/config.json",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", START, module, json.dumps(event)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=folder,
        )
        try:
            assert process.stdout is not None
            began, had = map(float, process.stdout.readline().split())
            called, _ = listening.accept()
            seconds, busy = time.time() - began, cpu_seconds(process.pid) - had
            called.close()
        except TimeoutError as error:
            process.kill()
            said = process.communicate()[1]
            raise SystemExit(f"{module} called nothing:\n{said}") from error
        finally:
            process.kill()
            process.communicate()
    return seconds * 1000, busy * 1000


def measure(rounds: int) -> dict[str, float]:
    """``cold_ms_`` and ``cold_cpu_ms_<handler>``, the best of some rounds each, and ``zip_mb_<artifact>``."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        command = [sys.executable, str(ROOT / "lambdas" / "build_artifacts.py"), "--out", folder]
        subprocess.run(command, check=True, capture_output=True)
        for archive in sorted(out.glob("*.zip")):
            found[f"zip_mb_{archive.stem}"] = round(archive.stat().st_size / 1e6, 2)
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(out / archive.stem)
        for name, module in handlers():
            place = out / ARTIFACTS.get(module.split(".")[1], "functions")
            starts = [start(module, place) for _ in range(rounds)]
            found[f"cold_ms_{name}"] = round(min(clock for clock, _ in starts))
            found[f"cold_cpu_ms_{name}"] = round(min(cpu for _, cpu in starts))
    print(found, file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    print(json.dumps(measure(int(os.environ.get("ROUNDS", "3")))))
