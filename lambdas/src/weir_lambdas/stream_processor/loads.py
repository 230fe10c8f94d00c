"""Records of a lane, decoded: the lines that the raw zone gets, and what can't be read."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weir_lambdas.common.errors import OutOfTime, WeirError
from weir_lambdas.landing.records import dump_line, parse
from weir_lambdas.stream_processor.aggregated import user_records
from weir_lambdas.stream_processor.decode import Decode
from weir_lambdas.stream_processor.events import TEXT_ELSE, Entry, Lane, ReadKey
from weir_lambdas.stream_processor.positions import Times
from weir_lambdas.stream_processor.rejected import Object, Rejected

OBJECT_BYTES = 32 * 1024 * 1024
"""Bytes of records at which an object is written before the lane's end: bounds memory, for packed
records may be far larger than the event."""

RESERVE_SECONDS = 10.0
"""Kept back of a call's time to commit what was decoded."""

LOOK_EVERY = 256
"""Records between two looks at the time."""

METADATA = "_stream"


@dataclass
class Load:
    """Records of a lane that are decoded and not yet committed.

    Parameters
    ----------
    rejects
        Why a record can't be read, and its bytes.
    late
        Records that arrived before the last sealing began.
    newest
        When the last one arrived, seconds since 1970; 0 where no record tells.
    times
        Least and greatest time of the records, milliseconds since 1970; None where one has none.
    """

    first: int = -1
    last: int = -1
    lines: list[bytes] = field(default_factory=list)
    rejects: list[tuple[str, bytes]] = field(default_factory=list)
    size: int = 0
    records: int = 0
    tombstones: int = 0
    late: int = 0
    newest: float = 0.0
    times: Times | None = None


class Loads:
    """Decodes records.

    Parameters
    ----------
    decode
        What reads a record.
    metadata
        Whether each gets ``_stream``.
    remaining
        Seconds that the call may still take.
    object_bytes
        Bytes of records at which a load ends.
    read_key
        What reads the keys of Kafka's records, for ``_stream``.
    """

    def __init__(
        self,
        decode: Decode,
        metadata: bool,
        remaining: Callable[[], float],
        object_bytes: int = OBJECT_BYTES,
        read_key: ReadKey | None = None,
    ) -> None:
        self._decode, self._metadata = decode, metadata
        self._remaining, self._object_bytes = remaining, object_bytes
        self._read_key = read_key

    def of(self, lane: Lane, entries: Sequence[Entry], since: float) -> Iterator[Load]:
        """Decoded records. What precedes one that can't be decoded now is given before it raises."""
        load = Load()
        for number, entry in enumerate(entries):
            try:
                if number % LOOK_EVERY == 0 and self._remaining() < RESERVE_SECONDS:
                    raise OutOfTime(f"{self._remaining():.0f} s are left", lane.title)
                self._add(load, lane, entry)
            except WeirError:
                if load.records:
                    yield load
                raise
            load.late += entry.at is not None and entry.at < since
            if load.size >= self._object_bytes:
                yield load
                load = Load()
        if load.records:
            yield load

    def _add(self, load: Load, lane: Lane, entry: Entry) -> None:
        lines: list[bytes] = []
        rejects: list[tuple[str, bytes]] = []
        tombstone = entry.data is None
        if tombstone:
            if self._metadata:
                self._tell(lane, entry, lines, rejects)
        else:
            self._read(lane, entry, lines, rejects)
        # Nothing of a record counts before all of it is decoded: a registry may fail in between.
        if load.records == 0:
            load.first = entry.place
        load.last = entry.place
        load.newest = load.newest if entry.at is None else entry.at
        load.times = _with(load.times, entry.at, first=load.records == 0)
        load.records += 1
        load.tombstones += tombstone
        load.lines += lines
        load.rejects += rejects
        load.size += sum(map(len, lines)) + sum(len(data) for _, data in rejects)

    def _tell(
        self, lane: Lane, entry: Entry, lines: list[bytes], rejects: list[tuple[str, bytes]]
    ) -> None:
        """The line of a tombstone: all that it says is its key."""
        try:
            told = lane.metadata(entry, self._read_key)
        except Rejected as error:
            rejects.append((lane.reason(entry, error), lane.key(entry)))
        else:
            lines.append(dump_line({METADATA: told})[:-1])

    def _read(
        self, lane: Lane, entry: Entry, lines: list[bytes], rejects: list[tuple[str, bytes]]
    ) -> None:
        data, told = b"", dict[str, Any]()
        try:
            data = entry.content()
            parts = user_records(data) if lane.kind == "kinesis" else [(None, data)]
            if self._metadata:
                told = lane.metadata(entry, self._read_key)
        except ValueError as error:
            rejects.append((lane.reason(entry, error), data))
            return
        several = len(parts) > 1
        for key, part in parts:
            if self._metadata and key is not None:
                told = told | {"partitionKey": key}
            try:
                objects: Sequence[Object] = self._decode(part)
            except Rejected as error:
                objects = [error]
            several = several or len(objects) > 1
            for one in objects:
                if isinstance(one, Rejected):
                    rejects.append(
                        (lane.reason(entry, one), part if one.data is None else one.data)
                    )
                elif self._metadata:
                    index = len(lines) + len(rejects) if several else None
                    lines.append(with_metadata(one, told, index))
                else:
                    lines.append(one)


def _with(times: Times | None, at: float | None, *, first: bool) -> Times | None:
    """The span of some records' times with that of the next one."""
    if at is None or (times is None and not first):
        return None
    millis = round(at * 1000)
    return (min(times[0], millis), max(times[1], millis)) if times else (millis, millis)


def with_metadata(line: bytes, about: Mapping[str, Any], index: int | None) -> bytes:
    """A JSON object with ``_stream``, which stands first; one that it had itself is replaced."""
    told = dict(about) | ({"index": index} if index is not None else {})
    if b'"_stream' in line or b"\\u" in line:
        row = parse(line)
        if METADATA in row:
            return dump_line({METADATA: told} | {k: v for k, v in row.items() if k != METADATA})[
                :-1
            ]
    rest = line[1:].lstrip()
    head = dump_line({METADATA: told})[:-2]
    return head + (b"" if rest[:1] == b"}" else b",") + rest


def shown(data: bytes) -> str:
    """A broken record as quarantine has it: its text, or base64 where it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return TEXT_ELSE + base64.b64encode(data).decode()
