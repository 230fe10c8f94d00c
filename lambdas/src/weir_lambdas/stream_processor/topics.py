"""A window of the past of Kafka's topics as something that can be landed, while the brokers keep it.

Of each partition a window has the records from the first with the window's start as its time, or a
later one, up to the first with the window's end or a later one (*ListOffsets* by timestamp). That is
where an event source mapping begins with ``AT_TIMESTAMP``, so windows that meet have no record in
common. The offsets are asked for once and kept in the position: a window is the same in each call.

No consumer group is joined: the offsets of the source's own landings do not move.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from weir_contract.codec import digest
from weir_contract.moments import iso
from weir_contract.sources import SourceConfig
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.errors import ConfigInvalid, NoLongerKept, SourceUnavailable
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.batch import Batch, Source, Start, Window
from weir_lambdas.stream_processor.events import Entry, kafka_lane, kafka_time
from weir_lambdas.stream_processor.loads import Loads
from weir_lambdas.stream_processor.windows import batch_of, window_of

if TYPE_CHECKING:
    # The client's library is imported where a window is asked for.
    from weir_lambdas.stream_processor.brokers import Brokers, Partition, Record

SILENT_SECONDS = 60.0
"""Without a record, although some are left, until that is said."""


@dataclass
class Way:
    """How far each partition has been read: no I/O.

    Parameters
    ----------
    places
        Partition -> the offset that is read next, and the one before which the window ends; those
        that are done are gone.
    """

    places: dict[Partition, tuple[int, int]] = field(default_factory=dict)

    @property
    def position(self) -> dict[str, Any]:
        """Where to go on: plain JSON."""
        return {"left": [[*one, *span] for one, span in sorted(self.places.items())]}

    def reach(self, partition: Partition, offset: int) -> bool:
        """A partition has been read up to an offset; whether it is done with that."""
        _, end = self.places[partition]
        self.places[partition] = (offset, end)
        if offset >= end:
            del self.places[partition]
        return offset >= end


class PastTopics(Source):
    """A window of Kafka's topics.

    Parameters
    ----------
    config
        The source's configuration.
    connect
        Reaches the brokers.
    storage
        Writes what can't be read.
    loads
        What decodes records.
    force
        Whether the rest is wanted where the brokers have dropped what was before.
    """

    def __init__(
        self,
        config: SourceConfig,
        connect: Callable[[], Brokers],
        storage: Storage,
        clock: Clock,
        loads: Loads,
        force: bool = False,
    ) -> None:
        if config.stream is None or config.stream.kafka is None:
            raise ConfigInvalid("it has no topics of Kafka", config.id)
        self._config, self._kafka, self._connect = config, config.stream.kafka, connect
        self._storage, self._clock, self._loads = storage, clock, loads
        self._force = force

    @property
    def fingerprint(self) -> str:
        """Stands for the topics: offsets are of these alone."""
        topics = sorted(self._kafka.topics)
        return digest([self._config.id, self._kafka.cluster, topics, "past"])[:16]

    @property
    def resume_seconds(self) -> float:
        """Any age: an offset that the brokers have dropped is refused."""
        return float("inf")

    def batches(self, start: Start) -> Generator[Batch]:
        """The window's records, in order within each partition.

        Raises
        ------
        ConfigInvalid
            Nobody has said which window, or it lies in the future.
        NoLongerKept
            The brokers have dropped records that may be of the window.
        SourceUnavailable
            The brokers can't be reached, or give nothing although there is more.
        """
        window = window_of(start, self._config, self._clock)
        with self._connect() as brokers:
            way = self._way(brokers, window, start)
            if not way.places:
                yield Batch()
                return
            brokers.begin({one: offset for one, (offset, _) in way.places.items()})
            heard = self._clock.monotonic()
            while way.places:
                before = way.position
                for partition, records in brokers.read().items():
                    yield from self._land(start.run, way, partition, records)
                for partition in list(way.places):
                    # Markers of transactions have offsets, and are no records.
                    if way.reach(partition, brokers.place(partition)):
                        brokers.end(partition)
                yield Batch(position=way.position if way.places else None)
                if start.enough():
                    return
                now = self._clock.monotonic()
                heard = now if way.position != before else heard
                if now - heard > SILENT_SECONDS:
                    raise self._silent(way)

    def _way(self, brokers: Brokers, window: Window, start: Start) -> Way:
        """The way that is left."""
        from weir_lambdas.stream_processor.brokers import Partition

        if start.position is not None:
            left = start.position["left"]
            return Way({Partition(topic, number): (low, high) for topic, number, low, high in left})
        partitions = [one for topic in self._kafka.topics for one in brokers.partitions(topic)]
        firsts = brokers.firsts(partitions)
        low = brokers.since(partitions, window.start)
        high = brokers.since(partitions, window.end)
        ends = brokers.ends(partitions)
        way = Way()
        for one in partitions:
            begin, at = low.get(one, (ends[one], None))
            if firsts[one] and begin <= firsts[one] and not self._force:
                kept = f"the oldest that is left is of {iso(at)}" if at else "nothing is left"
                raise NoLongerKept(
                    f"records before offset {firsts[one]} are dropped, {kept}, and the window begins "
                    f"at {iso(window.start)}; with force it is landed as far as it is there",
                    f"partition {one.number} of the topic {one.topic}",
                )
            end, _ = high.get(one, (ends[one], None))
            if begin < end:
                way.places[one] = (begin, end)
        return way

    def _land(
        self, run: str, way: Way, partition: Partition, records: Sequence[Record]
    ) -> Iterator[Batch]:
        """Records of a partition as batches, each with the place after it."""
        if partition not in way.places:
            return
        _, end = way.places[partition]
        lane = kafka_lane(self._kafka.cluster, *partition)
        entries = [_entry(one) for one in records if one.offset < end]
        for load in self._loads.of(lane, entries, 0.0):
            # Whether the partition is done is told once the whole turn is: a place is never None here.
            way.places[partition] = (load.last + 1, end)
            yield batch_of(self._config, self._storage, run, lane, load, way.position)

    def _silent(self, way: Way) -> SourceUnavailable:
        partition, (offset, end) = min(way.places.items())
        return SourceUnavailable(
            f"the brokers give nothing from offset {offset} on, where the window ends before {end}: "
            "a transaction may be open",
            f"partition {partition.number} of the topic {partition.topic}",
        )


def _entry(record: Record) -> Entry:
    """A record as Lambda's event would have it."""
    raw: Mapping[str, Any] = {
        "key": None if record.key is None else base64.b64encode(record.key).decode(),
        "headers": [
            {name: None if value is None else list(value)} for name, value in record.headers
        ],
    }
    return Entry(record.offset, record.value, kafka_time(record.timestamp), raw)
