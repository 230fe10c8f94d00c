"""Where a file's records go: into parts of the raw zone, all of a file's or none."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Any

from weir_contract.manifest import Part
from weir_lambdas.file_processor.formats.base import BEGINNING, Place
from weir_lambdas.landing.infer import Inference
from weir_lambdas.landing.parts import PartWriter
from weir_lambdas.landing.quarantine import Reject as RejectedRow
from weir_lambdas.landing.records import dump_line, parse

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PARQUET = "application/vnd.apache.parquet"
PARQUET_BYTES = 8 * 1024 * 1024
"""Written bytes at which a Parquet part is closed: it is held in memory until then."""

SAMPLE_RECORDS = 1_000
"""Records of a file that are looked at for their shape where no type has to be told."""

CHECK_RECORDS = 256
"""Records between two looks at the clock."""

MAX_WAITING = 1
"""Tables that wait to be encoded, before the reader waits for it."""

MAX_REJECTS = 100_000
"""Records of one file that are put into quarantine; a file with more is not what it is said to be."""

MAX_REJECTED_CHARACTERS = 64 * 1024 * 1024
"""Of all of them together: they are held in memory until the file is at its end."""

PutPart = Callable[[str, bytes, str], str | None]
"""Key, body, content type -> version id."""


class TooManyRejects(Exception):
    """More records of a file are broken than anybody would look at."""

    def __str__(self) -> str:
        return (
            f"more than {MAX_REJECTS} of its records are broken, or more than "
            f"{MAX_REJECTED_CHARACTERS} characters of them: is the format right?"
        )


@dataclass
class Numbers:
    """Numbers of the parts of one landing, by suffix; for any thread."""

    taken: dict[str, int] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def next(self, suffix: str) -> int:
        """The next number of a suffix, from 0."""
        with self.lock:
            number = self.taken.get(suffix, -1) + 1
            self.taken[suffix] = number
            return number


@dataclass(frozen=True)
class Reject:
    """One record that can't be read.

    Parameters
    ----------
    line
        Its line or row in the file, from 1; 0 where it is about all of it.
    record
        Its text.
    within
        Which attachment, and which member of an archive it is in; empty: it is in the file itself.
    """

    line: int
    reason: str
    record: str
    within: str = ""


class Paused(Exception):
    """The call's time is up: what was given so far is good, and the rest is for another call."""


@dataclass(frozen=True)
class Progress:
    """How far a file was taken.

    Parameters
    ----------
    member
        Members of the archive before this one.
    place
        Within the member; where its format knows none, the beginning.
    rows, rejects
        Records and broken ones after that place that were taken.
    """

    member: int = 0
    place: Place = BEGINNING
    rows: int = 0
    rejects: int = 0


NOTHING = Progress()


class FileOutput:
    """The sink of one file. Nothing of it counts until :meth:`finish`.

    Parameters
    ----------
    key
        Number and suffix -> a part's key.
    put
        Writes a part.
    numbers
        Shared by the files of a landing.
    look
        Whether types have to be told; where all are known the look at each value is saved.
    enough
        Whether to stop reading: every giving then ends in :class:`Paused`.
    begun
        What was taken of the file before: it is given again from ``begun.place`` on, and dropped.
    """

    def __init__(
        self,
        key: Callable[[int, str], str],
        put: PutPart,
        numbers: Numbers,
        inference: Inference,
        look: bool,
        enough: Callable[[], bool] = lambda: False,
        begun: Progress = NOTHING,
    ) -> None:
        self._key, self._put, self._numbers = key, put, numbers
        self._left = float("inf") if look else SAMPLE_RECORDS
        self._look, self._enough, self._unchecked = look, enough, 0
        self._lines: PartWriter | None = None
        self._parquet: ParquetParts | None = None
        self._drop_rows, self._drop_rejects = begun.rows, begun.rejects
        self.progress = replace(begun, rows=0, rejects=0)
        self.inference = inference
        self.rejects: list[Reject] = []
        self._rejected, self._member = 0, ""

    def __enter__(self) -> FileOutput:
        return self

    def __exit__(self, *error: object) -> None:
        if self._lines is not None:
            self._lines.__exit__(None, None, None)
        if self._parquet is not None:
            self._parquet.stop()

    def member(self, number: int, name: str) -> None:
        """What is given next is of another member of the archive."""
        self._member = name
        if number != self.progress.member:
            self.progress = Progress(number)

    def mark(self, place: Place) -> None:
        """All records before a place were given."""
        self.progress = Progress(self.progress.member, place)

    def table(self, table: pa.Table) -> None:
        """Records as columns."""
        new = table.slice(self._again(table.num_rows))
        if new.num_rows == 0:
            return
        from weir_lambdas.file_processor.columns import columns_of, measure

        known = self.inference
        known.see_columns(columns_of(new, lambda name: self._look and not known.settled(name)))
        for name in new.column_names:
            needs = known.needs(name)
            if needs is not None:
                measure(new[name], needs)
        if self._parquet is None:
            self._parquet = ParquetParts(self._key, self._put, self._numbers)
        self._parquet.write(new)
        self._pause(CHECK_RECORDS)

    def record(self, record: Mapping[str, Any]) -> None:
        """One record as JSON values."""
        if self._again(1):
            return
        if self._left > 0:
            self._left -= 1
            self.inference.see(record)
        self._write(dump_line(record), 1)
        self._pause(1)

    def lines(self, lines: Sequence[bytes]) -> None:
        """Records that are JSON already. A line that is no object goes on: the pipeline, which
        reads every line, puts it into quarantine."""
        new = lines[self._again(len(lines)) :]
        if new:
            self.look(new)
            self._write(b"\n".join(new) + b"\n", len(new))
            self._pause(len(new))

    def _again(self, count: int) -> int:
        """How many of the next records were taken before."""
        progress, again = self.progress, min(self._drop_rows, count)
        self.progress = replace(progress, rows=progress.rows + count)
        self._drop_rows -= again
        return again

    def _pause(self, count: int) -> None:
        self._unchecked += count
        if self._unchecked >= CHECK_RECORDS:
            self._unchecked = 0
            if self._enough():
                raise Paused

    def look(self, lines: Iterable[bytes]) -> None:
        """Take records into account that are JSON already, without writing them."""
        for line in lines:
            if self._left <= 0:
                return
            self._left -= 1
            try:
                record = parse(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                self.inference.see(record)

    def reject(self, line: int, reason: str, record: str) -> None:
        """One record that can't be read.

        Raises
        ------
        TooManyRejects
            The file has more of them than :data:`MAX_REJECTS`, or longer ones in all than
            :data:`MAX_REJECTED_CHARACTERS`.
        """
        self.progress = replace(self.progress, rejects=self.progress.rejects + 1)
        if self._drop_rejects:
            self._drop_rejects -= 1
            return
        self._rejected += len(record)
        if len(self.rejects) >= MAX_REJECTS or self._rejected > MAX_REJECTED_CHARACTERS:
            raise TooManyRejects
        self.rejects.append(Reject(line, reason, record, self._member))

    def finish(self) -> tuple[Part, ...]:
        """Write what is left, and give the file's parts."""
        lines = self._lines.finish() if self._lines is not None else ()
        tables = self._parquet.finish() if self._parquet is not None else ()
        return (*lines, *tables)

    def _write(self, lines: bytes, count: int) -> None:
        if self._lines is None:
            suffix = "jsonl.gz"
            self._lines = PartWriter(
                lambda _: self._key(self._numbers.next(f"file.{suffix}"), f"file.{suffix}"),
                lambda key, body: self._put(key, body, "application/gzip"),
            )
        self._lines.write([lines], count)


class ParquetParts:
    """Tables of one shape after another as Parquet parts.

    Encoding and upload run in a thread of their own (Arrow lets go of the interpreter), so that
    parsing goes on meanwhile; what waits for it is bounded. A table that stays the only one has
    nothing to be beside, and is encoded where it was given.
    """

    def __init__(self, key: Callable[[int, str], str], put: PutPart, numbers: Numbers) -> None:
        self._key, self._put, self._numbers = key, put, numbers
        self._parts: list[Part] = []
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self._rows = 0
        self._first: pa.Table | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()

    def write(self, table: pa.Table) -> None:
        """Add rows; a table of another shape begins another part.

        Raises
        ------
        Exception
            What ``put`` raised for an earlier part.
        """
        if self._thread is None:
            if self._first is None:
                self._first = table
                return
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="parquet")
            self._waiting.append(self._thread.submit(self._add, self._first))
            self._first = None
        while len(self._waiting) >= MAX_WAITING or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._add, table))

    def finish(self) -> tuple[Part, ...]:
        """Write what is left, and give all parts."""
        if self._first is not None:
            self._add(self._first)
            self._first = None
        while self._waiting:
            self._waiting.popleft().result()
        if self._writer is not None:
            self._close()
        return tuple(self._parts)

    def stop(self) -> None:
        """End the thread; what was not finished is left."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def _add(self, table: pa.Table) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is not None and not table.schema.equals(self._schema):
            self._close()
        if self._writer is None:
            self._schema, self._rows = table.schema, 0
            self._buffer = pa.BufferOutputStream()
            # Without dictionaries: zstd finds what repeats, in half the time.
            self._writer = pq.ParquetWriter(
                self._buffer,
                table.schema,
                compression="zstd",
                compression_level=1,
                use_dictionary=False,
            )
        self._writer.write_table(table)
        self._rows += table.num_rows
        if self._buffer.tell() >= PARQUET_BYTES:
            self._close()

    def _close(self) -> None:
        assert self._writer is not None and self._schema is not None
        self._writer.close()
        self._writer = None
        data = self._buffer.getvalue().to_pybytes()
        del self._buffer
        key = self._key(self._numbers.next("parquet"), "parquet")
        version = self._put(key, data, PARQUET)
        digest = sha256(data).hexdigest()
        self._parts.append(
            Part(key, self._rows, len(data), digest, version, "parquet", shape_of(self._schema))
        )


def shape_of(schema: pa.Schema) -> str:
    """Stands for a schema's columns and types: 16 hexadecimal digits."""
    text = json.dumps([[one.name, str(one.type)] for one in schema])
    return sha256(text.encode()).hexdigest()[:16]


def rejected_rows(rejects: Sequence[Reject], file: str) -> list[RejectedRow]:
    """Rejected records of a file, each with its place in it."""
    return [RejectedRow(f"{_place(one, file)}: {one.reason}", one.record) for one in rejects]


def _place(reject: Reject, file: str) -> str:
    line = f"line {reject.line}" if reject.line else ""
    return ", ".join(one for one in (file, reject.within, line) if one)
