"""A window of a Kinesis stream's past as something that can be landed, while the stream keeps it.

Of each shard a window has the records from the first that arrived at its start or later, before the
first that arrived at its end or later. That is where Kinesis begins with ``AT_TIMESTAMP``, so windows
that meet, and a mapping that begins where a window ends, have no record in common and leave none out,
though times of arrival may be out of order within a shard.

Nothing is received here as Lambda delivers it: positions of the source's own landings do not move.
Sources: Amazon Kinesis Data Streams API Reference, *GetShardIterator*, *GetRecords*, *ListShards*.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from weir_contract.codec import digest
from weir_contract.moments import iso
from weir_contract.sources import SourceConfig
from weir_lambdas.common.aws import error_code
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.errors import (
    ConfigInvalid,
    NoLongerKept,
    SourceNotFound,
    SourceRateLimited,
    SourceUnavailable,
)
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.batch import Batch, Source, Start, Window
from weir_lambdas.stream_processor.events import Entry, Lane, kinesis_lane
from weir_lambdas.stream_processor.loads import Loads
from weir_lambdas.stream_processor.shards import AT_ONCE, Place, Shard, ShardsGone, Walk
from weir_lambdas.stream_processor.windows import batch_of, window_of

BETWEEN_SECONDS = 0.5
"""Between two calls for one shard, which gives 5 answers a second to all its readers: Lambda's poller
takes one, and must not be kept from it."""

SETTLE_SECONDS = 5.0
"""After the window's end until the end of an open shard is believed: clocks differ."""

THROTTLED = ("ProvisionedThroughputExceededException", "LimitExceededException")
EXPIRED = "ExpiredIteratorException"
GONE = "ResourceNotFoundException"


class _Expired(Exception):
    """An iterator was not used for five minutes."""


@dataclass
class _Reader:
    """Reads one shard.

    Parameters
    ----------
    iterator
        Kinesis's own place; None where there is none yet, or it has expired.
    asked
        When it was used last, by the clock's ``monotonic``.
    """

    shard: str
    lane: Lane
    iterator: str | None = None
    asked: float = float("-inf")


@dataclass(frozen=True)
class _Answer:
    """Records of the window, and whether the shard has no more of them."""

    entries: list[Entry]
    ended: bool


class PastSource(Source):
    """A window of a Kinesis stream.

    Parameters
    ----------
    config
        The source's configuration.
    kinesis
        A Kinesis client.
    storage
        Writes what can't be read.
    loads
        What decodes records.
    """

    def __init__(
        self, config: SourceConfig, kinesis: Any, storage: Storage, clock: Clock, loads: Loads
    ) -> None:
        if config.stream is None or config.stream.kind != "kinesis":
            raise ConfigInvalid("only a Kinesis stream can be asked for a window", config.id)
        self._config, self._stream = config, config.stream
        self._kinesis, self._storage, self._clock = kinesis, storage, clock
        self._loads = loads

    @property
    def fingerprint(self) -> str:
        """Stands for the stream: sequence numbers are of this one alone."""
        return digest([self._config.id, self._stream.arn, "past"])[:16]

    @property
    def resume_seconds(self) -> float:
        """Any age: whether the stream has kept the rest is looked at."""
        return float("inf")

    def batches(self, start: Start) -> Generator[Batch]:
        """The window's records, shard by shard; a batch is what one answer of Kinesis has.

        Raises
        ------
        ConfigInvalid
            Nobody has said which window, or it lies in the future.
        NoLongerKept
            The stream has dropped records of the window.
        """
        window = window_of(start, self._config, self._clock)
        walk = self._walk(window, start)
        if not walk.left:
            yield Batch()
            return
        readers: dict[str, _Reader] = {}
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="shard") as pool:
            while turn := walk.turn():
                for shard in turn:
                    if shard.id not in readers:
                        lane = kinesis_lane(self._stream.name, shard.id)
                        readers[shard.id] = _Reader(shard.id, lane)
                reading = [(readers[one.id], walk.place(one.id)) for one in turn]
                self._wait([reader for reader, _ in reading])
                answers = [pool.submit(self._read, one, place, window) for one, place in reading]
                for (reader, _), answer in zip(reading, answers, strict=True):
                    yield from self._land(start.run, walk, reader, answer.result())
                if start.enough():
                    return

    def _walk(self, window: Window, start: Start) -> Walk:
        """The way that is left, all of whose records the stream still has."""
        asked = {"StreamARN": self._stream.arn}
        summary = self._ask(self._kinesis.describe_stream_summary, asked)
        told = summary["StreamDescriptionSummary"]
        hours = int(told["RetentionPeriodHours"])
        oldest = self._clock.now() - timedelta(hours=hours)
        dropped = NoLongerKept(
            f"it keeps records for {hours} hours, and the window begins at {iso(window.start)}: "
            f"the oldest time that can be asked for is {iso(oldest)}",
            f"the stream {self._stream.name}",
        )
        try:
            walk = Walk.of(self._shards(window), start.position)
        except ShardsGone as gone:
            raise dropped from gone
        # What a shard has before the last record that was read is not needed any more.
        needed = [walk.place(one.id).at or window.start.timestamp() for one in walk.left]
        is_kept = min(needed, default=oldest.timestamp()) >= oldest.timestamp()
        if not is_kept and told["StreamCreationTimestamp"] < oldest:
            raise dropped
        return walk

    def _land(self, run: str, walk: Walk, reader: _Reader, answer: _Answer) -> Iterator[Batch]:
        """An answer as batches, each with the place after it; the last of all has none."""
        for load in self._loads.of(reader.lane, answer.entries, 0.0):
            walk.reach(reader.shard, Place(str(load.last), load.newest))
            yield batch_of(self._config, self._storage, run, reader.lane, load, walk.position)
        if answer.ended:
            walk.reach(reader.shard, replace(walk.place(reader.shard), done=True))
        yield Batch(position=walk.position if walk.left else None)

    def _shards(self, window: Window) -> list[Shard]:
        """The shards that have, or had, records from the window's start on."""
        found: list[Shard] = []
        asked: dict[str, Any] = {
            "StreamARN": self._stream.arn,
            "ShardFilter": {"Type": "FROM_TIMESTAMP", "Timestamp": window.start},
        }
        while asked:
            answer = self._ask(self._kinesis.list_shards, asked)
            for one in answer["Shards"]:
                parents = (one.get("ParentShardId"), one.get("AdjacentParentShardId"))
                found.append(Shard(one["ShardId"], tuple(filter(None, parents))))
            token = answer.get("NextToken")
            asked = {"StreamARN": self._stream.arn, "NextToken": token} if token else {}
        return found

    def _wait(self, reading: Sequence[_Reader]) -> None:
        """Until each of the shards may be asked again."""
        last = max(one.asked for one in reading)
        pause = last + BETWEEN_SECONDS - self._clock.monotonic()
        if pause > 0:
            self._clock.sleep(pause)

    def _read(self, reader: _Reader, place: Place, window: Window) -> _Answer:
        """What a shard gives next."""
        now, reader.asked = self._clock.now(), self._clock.monotonic()
        if reader.iterator is None:
            reader.iterator = self._iterator(reader.shard, place, window)
        try:
            answer = self._ask(
                self._kinesis.get_records,
                {"ShardIterator": reader.iterator, "StreamARN": self._stream.arn},
            )
        except _Expired:
            reader.iterator = None
            return _Answer([], ended=False)
        reader.iterator = answer.get("NextShardIterator")
        begun, entries = bool(place.sequence), list[Entry]()
        for record in answer["Records"]:
            arrived = record["ApproximateArrivalTimestamp"]
            if arrived >= window.end:
                return _Answer(entries, ended=True)
            # Kinesis may know the start by the second only.
            begun = begun or arrived >= window.start
            if begun:
                entries.append(_entry(record))
        at_end = answer.get("MillisBehindLatest") == 0
        settled = now >= window.end + timedelta(seconds=SETTLE_SECONDS)
        return _Answer(entries, ended=reader.iterator is None or (at_end and settled))

    def _iterator(self, shard: str, place: Place, window: Window) -> str:
        where: dict[str, Any] = (
            {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": place.sequence,
            }
            if place.sequence
            else {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": window.start}
        )
        asked = {"StreamARN": self._stream.arn, "ShardId": shard, **where}
        return str(self._ask(self._kinesis.get_shard_iterator, asked)["ShardIterator"])

    def _ask(self, call: Callable[..., Any], asked: Mapping[str, Any]) -> Any:
        """Call Kinesis; what another attempt may mend is said so."""
        where = f"the stream {self._stream.name}"
        try:
            return call(**asked)
        except BotoCoreError as error:
            raise SourceUnavailable("Kinesis could not be reached", where) from error
        except ClientError as error:
            code = error_code(error)
            if code == EXPIRED:
                raise _Expired from error
            if code in THROTTLED:
                raise SourceRateLimited(
                    "other readers take all that a shard gives", where
                ) from error
            if code == GONE:
                raise SourceNotFound("the stream, or a shard of it, is gone", where) from error
            raise


def _entry(record: Mapping[str, Any]) -> Entry:
    """A record of *GetRecords* as Lambda's event would have it."""
    raw = {"kinesis": {"partitionKey": record["PartitionKey"]}}
    at = record["ApproximateArrivalTimestamp"].timestamp()
    return Entry(int(record["SequenceNumber"]), record["Data"], at, raw)
