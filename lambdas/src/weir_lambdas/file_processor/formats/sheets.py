"""Spreadsheets: xlsx, xlsm, xls and ods."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import IO

from weir_contract.sources import Parsing
from weir_lambdas.file_processor.formats.base import Sink
from weir_lambdas.file_processor.unpack import Unreadable

MAX_WORKBOOK_BYTES = 256 * 1024 * 1024
"""A workbook is a zip that has to be jumped about in: it is held in memory."""

READER = "weir_lambdas.file_processor.formats.workbook"
MEMORY_MB, SHARE = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 0.6
"""Where Lambda tells the function's memory, and how much of it a workbook may take."""

KEPT = ("LD_LIBRARY_PATH", "LANG", "PATH")
"""Of the environment: the reader gets no credentials."""

LINES = 1_000
_one_at_a_time = Lock()


def read_sheet(chunks: Iterable[bytes], parsing: Parsing, sink: Sink) -> None:
    """One sheet (default: the first that is shown), with the columns' names in ``headerRow``. Empty
    rows are no records.

    Dates come as ISO 8601, whole numbers without a fraction (a sheet knows doubles only), of formulas
    the value that was last computed.

    Raises
    ------
    Unreadable
        It is no workbook, is encrypted, lacks the sheet or the row of names, or takes more memory
        than the function may give it.
    """
    megabytes = int(int(os.environ.get(MEMORY_MB, "2048")) * SHARE)
    asked = {"sheet": parsing.sheet, "headerRow": parsing.header_row, "bytes": megabytes << 20}
    with _one_at_a_time, _reader(json.dumps(asked)) as reader:
        assert reader.stdin is not None and reader.stdout is not None
        _hand_over(chunks, reader.stdin)
        for lines in _batches(reader.stdout):
            if lines[-1].startswith(b"!"):
                raise Unreadable(lines[-1][1:].decode())
            sink.lines(lines)
        if reader.wait():
            raise Unreadable(
                f"the workbook is damaged, or takes more than {megabytes} MB of memory: a cell far "
                "away from the others makes a sheet as large as all that lies in between"
            )


@contextmanager
def _reader(asked: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    reader = subprocess.Popen(
        [sys.executable, "-m", READER, asked],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # A panic's text quotes what it has read.
        env=environment,
    )
    try:
        yield reader
    finally:
        reader.kill()
        reader.wait()
        for pipe in (reader.stdin, reader.stdout):
            with suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()


def _hand_over(chunks: Iterable[bytes], stdin: IO[bytes]) -> None:
    size = 0
    try:
        for chunk in chunks:
            size += len(chunk)
            if size > MAX_WORKBOOK_BYTES:
                raise Unreadable(f"a workbook of more than {MAX_WORKBOOK_BYTES} bytes")
            stdin.write(chunk)
        stdin.close()
    except BrokenPipeError:
        return  # It has ended, and says how by its status.


def _batches(stdout: IO[bytes]) -> Iterator[list[bytes]]:
    lines: list[bytes] = []
    for line in stdout:
        lines.append(line.rstrip(b"\n"))
        if len(lines) == LINES:
            yield lines
            lines = []
    if lines:
        yield lines
