"""Ingestion, side by side with dlt and the Airbyte CDK: ``make bench-ingest``.

Server and readers share the machine; each reader runs alone, in a process of its own. Prints one
JSON line last; keys without a suffix are Weir's, ``_dlt`` and ``_airbyte`` are the peers':

``rest_flat_rows_per_s``, ``rest_nested_rows_per_s``
    200,000 records, 1,000 a page, read and written to disk.
``latency_pages_seconds``
    100 pages that each take 100 ms.
``resume_requests``
    Requests beyond the 100 pages, where page 60 answers 403 once and the reader is started again.
``cold_start_ms``
    From the first import to the first request of the source.
``csv_rows_per_s``, ``csv_peak_rss_mb``
    A CSV file of 1,000,000 rows; ``csv_rows_per_cpu_s`` by the CPU's time, all threads. ``_dlt_duckdb``
    is dlt with its DuckDB reader.
``email_messages_per_s``
    Mails with a CSV of 200 rows, through one worker.
``stream_records_per_s`` and others of ``stream_``
    See :mod:`benchmarks.ingest_stream`.
``cold_ms_<handler>``, ``cold_cpu_ms_<handler>``, ``zip_mb_<artifact>``
    Of each function, from its first import to its first AWS call, by the clock and by the CPU's time;
    of each artifact.

``ONLY=csv,email`` measures these parts alone, ``ROUNDS=1`` measures each once: the best of 3 counts
otherwise, since other work on the machine only ever slows one down.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import cold_starts, ingest_csv

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(__file__).parent / "peers"
BENCH_PYTHON = ROOT / ".local" / "bench-venv" / "bin" / "python"
ROUNDS = int(os.environ.get("ROUNDS", "3"))
ROWS, PAGES, CSV_ROWS = 200_000, 100, 1_000_000
PLOT = ROOT / ".local" / "bench-ingest.svg"

READERS: Mapping[str, tuple[Path, str]] = {
    "": (Path(sys.executable), "weir_rest.py"),
    "_dlt": (BENCH_PYTHON, "dlt_rest.py"),
    "_airbyte": (BENCH_PYTHON, "airbyte_rest.py"),
}
"""Suffix of the keys -> the interpreter that has the reader, and its script."""


@contextmanager
def server() -> Iterator[str]:
    """The pages' server; gives its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.pages_server"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait(10)


def ask(base: str, path: str) -> bytes:
    """One request of the bench's own."""
    with urllib.request.urlopen(f"{base}/{path}", timeout=10) as answer:
        return bytes(answer.read())


def read(suffix: str, kind: str, base: str, *more: str) -> dict[str, Any]:
    """Run a reader in a process of its own; its last line is its answer."""
    python, script = READERS[suffix]
    command = [str(python), str(PEERS / script), kind, base, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{script} {kind} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def rows_per_second(kind: str) -> Callable[[str, str], float]:
    """The best of some rounds: other work on the machine only ever slows one down."""

    def measure(suffix: str, base: str) -> float:
        best = 0.0
        for _ in range(ROUNDS):
            found = read(suffix, kind, base)
            if found["rows"] != ROWS:
                raise SystemExit(f"{kind}{suffix}: {found['rows']} rows, not {ROWS}")
            best = max(best, found["rows"] / found["seconds"])
        return round(best)

    return measure


def latency(suffix: str, base: str) -> float:
    """Seconds for pages that each take 100 ms."""
    return round(min(read(suffix, "slow", base)["seconds"] for _ in range(ROUNDS)), 2)


def resume(suffix: str, base: str) -> int:
    """Requests beyond the pages, over the run that fails and the one after it."""
    ask(base, "break")
    ask(base, "count")
    first = read(suffix, "broken", base)
    if not first["failed"]:
        raise SystemExit(f"broken{suffix}: the 403 went unnoticed")
    ask(base, "mend")
    place = [json.dumps(first["position"])] if "position" in first else []
    second = read(suffix, "broken", base, *place)
    if second["failed"]:
        raise SystemExit(f"broken{suffix}: the second run failed")
    return int(json.loads(ask(base, "count"))["requests"]) - PAGES


def cold_start(suffix: str, base: str) -> int:
    """Milliseconds from the first import to the first request."""
    return round(min(read(suffix, "slow", base)["cold_ms"] for _ in range(ROUNDS)))


MEASURES: Mapping[str, Callable[[str, str], float]] = {
    "rest_flat_rows_per_s": rows_per_second("flat"),
    "rest_nested_rows_per_s": rows_per_second("nested"),
    "latency_pages_seconds": latency,
    "resume_requests": resume,
    "cold_start_ms": cold_start,
}
"""Key -> how it is measured, from a reader's suffix and the server's address."""


def rest(readers: Sequence[str]) -> dict[str, float]:
    """All that is measured against the pages' server."""
    found: dict[str, float] = {}
    with server() as base:
        for key, measure in MEASURES.items():
            for suffix in readers:
                found[key + suffix] = measure(suffix, base)
                print(f"{key}{suffix}: {found[key + suffix]}", file=sys.stderr, flush=True)
    return found


def delimited(_readers: Sequence[str]) -> dict[str, float]:
    """A CSV of a million rows."""
    peers = ingest_csv.PEERS if BENCH_PYTHON.exists() else ()
    return ingest_csv.run(CSV_ROWS, dict.fromkeys(peers, str(BENCH_PYTHON)), ROUNDS)


def module_of(name: str) -> Callable[[Sequence[str]], dict[str, float]]:
    """A bench of one of our workers, in a process of its own: the round with the highest figure."""

    def measure(_readers: Sequence[str]) -> dict[str, float]:
        rounds: list[dict[str, float]] = []
        for _ in range(ROUNDS):
            command = [sys.executable, "-m", f"benchmarks.{name}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
            rounds.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(f"{name}: {rounds}", file=sys.stderr, flush=True)
        return max(rounds, key=lambda one: next(iter(one.values())))

    return measure


PARTS: Mapping[str, Callable[[Sequence[str]], dict[str, float]]] = {
    "rest": rest,
    "csv": delimited,
    "email": module_of("ingest_email"),
    "stream": module_of("ingest_stream"),
    "cold": lambda _: cold_starts.measure(ROUNDS),
}
"""Name for ``ONLY`` -> what it measures, from the readers that are there."""


BAR, LEFT, WIDTH = 18, 190, 420
COLOURS = {"": "#1b6ca8", "_dlt": "#8a8f98", "_dlt_duckdb": "#a3a8b0", "_airbyte": "#c3c7cd"}
NAMES = {"": "Weir", "_dlt": "dlt", "_dlt_duckdb": "dlt (DuckDB)", "_airbyte": "Airbyte CDK"}
CSV_KEYS = ("csv_rows_per_s", "csv_peak_rss_mb")
OURS = ("email_messages_per_s", "stream_records_per_s", "cold_ms_", "zip_mb_")
"""What begins so is measured of Weir alone."""


def plot(found: Mapping[str, float]) -> str:
    """The measures as an SVG: a group of bars each, drawn to the group's longest."""
    parts, y = [], 20
    for key in (*MEASURES, *CSV_KEYS, *(one for one in found if one.startswith(OURS))):
        bars = {suffix: found[key + suffix] for suffix in NAMES if key + suffix in found}
        if not bars:
            continue
        longest = max([*bars.values(), 1e-9])
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{key}</text>')
        for suffix, value in bars.items():
            y += BAR + 4
            width = max(1, round(WIDTH * value / longest))
            parts.append(
                f'<text x="{LEFT - 8}" y="{y}" text-anchor="end">{NAMES[suffix]}</text>'
                f'<rect x="{LEFT}" y="{y - BAR + 5}" width="{width}" height="{BAR}" '
                f'fill="{COLOURS[suffix]}"/>'
                f'<text x="{LEFT + width + 6}" y="{y}">{value:,}</text>'
            )
        y += 34
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{y}" '
        f'font-family="sans-serif" font-size="13">{"".join(parts)}</svg>\n'
    )


def main() -> int:
    """Measure, plot, and print the line."""
    only = [one for one in os.environ.get("ONLY", "").split(",") if one] or list(PARTS)
    if unknown := set(only) - set(PARTS):
        raise SystemExit(f"ONLY={','.join(sorted(unknown))}: the parts are {', '.join(PARTS)}")
    readers = [suffix for suffix, (python, _) in READERS.items() if python.exists()]
    found: dict[str, float] = {}
    for name in only:
        found |= PARTS[name](readers)
    PLOT.parent.mkdir(exist_ok=True)
    PLOT.write_text(plot(found))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
