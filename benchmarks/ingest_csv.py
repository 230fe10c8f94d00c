"""How fast a large CSV lands, and in how much memory: ours, dlt's and Airbyte's.

``python -m benchmarks.ingest_csv [rows [peers' python]]`` prints one JSON line. Each reader runs in a process of its
own, on the same file; ours reads it from a local S3 and writes its parts there, as the function does.
"""

from __future__ import annotations

import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

COLUMNS = (
    "id", "name", "email", "amount", "created_at", "country", "active", "note", "ref", "qty",
)  # fmt: skip


def write_file(path: Path, rows: int) -> None:
    """A file of orders, 115 bytes a row, the same at each call."""
    chance = random.Random(1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(rows):
            writer.writerow(
                (
                    number,
                    f"Customer {number}",
                    f"c{number}@example.com",
                    f"{chance.random() * 1000:.2f}",
                    f"2026-01-{number % 28 + 1:02d}T{number % 24:02d}:00:00Z",
                    "FR" if number % 3 == 0 else "DE",
                    "true" if number % 2 else "false",
                    "a note, with a comma" if number % 5 == 0 else "plain note",
                    f"{chance.getrandbits(64):016x}",
                    number % 100,
                )
            )


def ours(path: Path) -> int:
    """Through the function's own reader, sink and parts; S3 is a folder behind the same calls."""
    from concurrent.futures import ThreadPoolExecutor

    from weir_contract.rows import RowContract
    from weir_contract.sources import Parsing
    from weir_lambdas.file_processor.output import FileOutput, Numbers
    from weir_lambdas.file_processor.reading import Located, S3File
    from weir_lambdas.file_processor.source import read_file
    from weir_lambdas.landing.infer import Inference

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(4) as pool:
        written = Path(folder)

        def put(key: str, body: bytes, _type: str) -> None:
            (written / key).write_bytes(body)

        size = path.stat().st_size
        source = S3File(FolderS3(path), Located("b", "k", "e", size), pool)
        inference = Inference(RowContract())
        key: Callable[[int, str], str] = lambda number, suffix: f"part-{number:05d}.{suffix}"  # noqa: E731
        with FileOutput(key, put, Numbers(), inference, True) as output:
            read_file(source, Parsing("csv"), path.name, output)
            parts = output.finish()
        assert source.sha256 and inference.types
        return sum(part.rows for part in parts)


class FolderS3:
    """The one call that reading makes, answered from a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_object(self, **asked: str) -> dict[str, object]:
        """A range of the file."""
        start, end = (int(one) for one in asked["Range"].removeprefix("bytes=").split("-"))
        with self._path.open("rb") as file:
            file.seek(start)
            return {"Body": _Body(file.read(end - start + 1))}


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        return self._data


def dlt_rows(path: Path, duckdb: bool = False) -> int:
    """dlt's filesystem source with its CSV reader, or its DuckDB reader by way of Arrow, extracted and
    normalized."""
    import dlt
    from dlt.sources import filesystem as files

    reader = files.read_csv_duckdb(chunk_size=100_000, use_pyarrow=True) if duckdb else None
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline("csv", destination="filesystem", pipelines_dir=folder)
        found = files.filesystem(bucket_url=f"file://{path.parent}", file_glob=path.name)
        rows = found | (reader or files.read_csv())
        pipeline.extract(rows.with_name("orders"))
        pipeline.normalize()
        counts = pipeline.last_trace.last_normalize_info.row_counts
        return int(counts["orders"])


def airbyte_rows(path: Path) -> int:
    """The Airbyte CDK's file-based CSV parser: its types inferred, its records as JSON lines."""
    import asyncio
    import logging
    from datetime import datetime

    import orjson
    from airbyte_cdk.sources.file_based.config.csv_format import CsvFormat
    from airbyte_cdk.sources.file_based.config.file_based_stream_config import (
        FileBasedStreamConfig,
    )
    from airbyte_cdk.sources.file_based.file_types.csv_parser import CsvParser
    from airbyte_cdk.sources.file_based.remote_file import RemoteFile

    class Reader:
        """Opens the file, as the CDK's readers of stores do."""

        def open_file(self, file: Any, _mode: Any, encoding: str | None, _logger: Any) -> Any:
            return Path(file.uri).open(encoding=encoding, newline="")

    config = FileBasedStreamConfig(
        name="orders", format=CsvFormat(inference_type="Primitive Types Only")
    )
    file = RemoteFile(uri=str(path), last_modified=datetime.now())
    parser, log = CsvParser(), logging.getLogger("airbyte")
    schema = {"properties": asyncio.run(parser.infer_schema(config, file, Reader(), log))}
    count = 0
    with tempfile.TemporaryFile() as out:
        for record in parser.parse_records(config, file, Reader(), log, schema):
            out.write(orjson.dumps(record))
            count += 1
    return count


READERS: dict[str, tuple[Callable[[Path], int], tuple[str, ...]]] = {
    "": (
        ours,
        (
            "weir_lambdas.file_processor.handler",
            "weir_lambdas.file_processor.columns",
            "weir_lambdas.file_processor.formats.delimited",
            "pyarrow.parquet",
        ),
    ),
    "_dlt": (dlt_rows, ("dlt", "dlt.sources.filesystem")),
    "_dlt_duckdb": (
        lambda path: dlt_rows(path, duckdb=True),
        ("dlt", "dlt.sources.filesystem", "duckdb", "pyarrow.parquet"),
    ),
    "_airbyte": (airbyte_rows, ("airbyte_cdk.sources.file_based.file_types.csv_parser",)),
}
"""Suffix of the figures' names -> who reads, and the modules that are imported before the clock."""


class NoPandas(MetaPathFinder):
    """The functions have no pandas, which Arrow would import where it is there."""

    def find_spec(self, name: str, _path: object, _target: object = None) -> None:
        """Nothing of pandas is there."""
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(name)


def measure(suffix: str, path: Path) -> dict[str, float]:
    """Rows a second and peak memory of one reader, in this process."""
    if not suffix:
        sys.meta_path.insert(0, NoPandas())
    read, modules = READERS[suffix]
    for module in modules:
        import_module(module)
    started, busy = time.perf_counter(), time.process_time()
    rows = read(path)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        f"csv_rows_per_s{suffix}": round(rows / seconds),
        f"csv_rows_per_cpu_s{suffix}": round(rows / busy),
        f"csv_peak_rss_mb{suffix}": round(peak),
    }


def run(rows: int, peers: Mapping[str, str], rounds: int = 1) -> dict[str, float]:
    """All readers, each in a process of its own.

    Parameters
    ----------
    rows
        Of the file.
    peers
        Suffix -> the Python that has what it needs.
    rounds
        Of ours, of which the fastest counts; of peers one.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "orders.csv"
        write_file(path, rows)
        figures: dict[str, float] = {"csv_rows": rows, "csv_mb": round(path.stat().st_size / 1e6)}
        for suffix, python in {"": sys.executable, **peers}.items():
            command = [python, "-m", "benchmarks.ingest_csv", "--one", suffix, str(path)]
            found: list[dict[str, float]] = []
            for _ in range(1 if suffix else rounds):
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False, cwd=ROOT
                )
                if done.returncode:
                    raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
                found.append(json.loads(done.stdout.splitlines()[-1]))
            figures |= max(found, key=lambda one: one[f"csv_rows_per_s{suffix}"])
            print(f"csv{suffix}: {found}", file=sys.stderr, flush=True)
    return figures


PEERS = ("_dlt", "_dlt_duckdb", "_airbyte")


def main(arguments: list[str]) -> None:
    """The command line."""
    if arguments[:1] == ["--one"]:
        print(json.dumps(measure(arguments[1], Path(arguments[2]))))
        return
    rows = int(arguments[0]) if arguments else 1_000_000
    peers = dict.fromkeys(PEERS, arguments[1]) if arguments[1:] else {}
    print(json.dumps(run(rows, peers)))


if __name__ == "__main__":
    main(sys.argv[1:])
