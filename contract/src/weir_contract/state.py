"""The Platform's DynamoDB table: who keeps what under which key.

One table per Platform, string keys ``pk`` and ``sk``, TTL attribute ``expires`` (epoch seconds).

| pk | sk | what | written by |
|---|---|---|---|
| ``SOURCE#ns/name`` | ``CHECKPOINT`` | sequence, epoch, cursor, lease; a cache of the last manifest | ingestion |
| ``SOURCE#ns/name`` | ``CONTRACT`` | the frozen row contract (JSON in ``body``): it gains columns, types stay | ingestion |
| ``SOURCE#ns/name`` | ``PROFILE`` | what is to be measured of its landings (JSON in ``body``) | operator |
| ``SOURCE#ns/name`` | ``DISCOVERED`` | every column ever seen (JSON in ``body``), ``version`` | metadata extractor |
| ``SOURCE#ns/name`` | ``CRAWL`` | ``due``, ``begun``: revisions of the shape that are to be, and were, crawled | metadata extractor |
| ``SOURCE#ns/name`` | ``LANE#pipeline/name`` | the same for a part of a backfill, or a replay; ``swept``: up to it the sweep has looked | ingestion, trigger |
| ``SOURCE#ns/name`` | ``SUBSCRIBER#ns/pipeline`` | ``execution target``: who is told of a manifest | operator |
| ``SOURCE#ns/name`` | ``RUN#run`` | a landing's :class:`~weir_contract.runs.RunRecord` (JSON in ``body``) | ingestion |
| ``SOURCE#ns/name`` | ``WAITING#time#id`` | a file that has arrived and is not landed; removed with its landing | trigger, ingestion |
| ``SOURCE#ns/name`` | ``TAKING`` | a call is reading files: ``file``, the one that it reads alone, and ``deaths``, how many calls have not come back from it; removed by the call itself, so that one that finds it knows that the one before it died | ingestion |
| ``SOURCE#ns/name`` | ``SETTLED`` | ``sequence``: up to it the queue and the ledger of files agree with the manifests | ingestion |
| ``SOURCE#ns/name`` | ``POSITION#lane`` | ``place``: up to it a shard's or topic partition's records are committed or given up; ``queued``: time of its last object in the queue; ``made``, ``began``: how often the topic was made anew, and since when | receive, ingestion |
| ``SOURCE#ns/name`` | ``RECEIVED#time#lane#place`` | an object of received records that is not sealed; removed with its landing | receive, ingestion |
| ``SOURCE#ns/name`` | ``BACKLOG`` | bytes received since the last sealing began, when that was, and when one was last asked for | receive, ingestion |
| ``SOURCE#ns/name`` | ``WAITS#lane`` | what keeps records of a lane from being received, from which place on, and when that was last so; expires | receive, ingestion |
| ``SOURCE#ns/name`` | ``PACE`` | of a REST source: ``shares``: how many requests each of its runs may have under way, with ``revision``; in milliseconds since 1970 ``shut``: until when nobody asks it, and ``next``: from when on nobody has taken its time, where its requests have a rate | ingestion |
| ``SOURCE#ns/name`` | ``MAPPINGS`` | ids of the event source mappings that a stream ever had | ingestion |
| ``SOURCE#ns/name`` | ``WORKMAIL#organization`` | ``firstAt``, ``lastAt``: when WorkMail has passed on its first mail, and its last | WorkMail's receiver |
| ``FILES#ns/name`` | ``RANGE#lane#place`` | records of a lane that were committed together, from ``first`` to its place; ``oldest``, ``newest``: their times; expires | receive, ingestion |
| ``FILES#ns/name`` | ``GIVENUP#mapping#key`` | a batch that Lambda gave up on: what became of it | ingestion |
| ``FILES#ns/name`` | ``FILE#id`` | one file by bucket, key and etag, and by the event's sequencer where the etag comes back: state, the sequence that took it, and ``sequencer`` of the event that told of it | trigger, ingestion |
| ``FILES#ns/name`` | ``CONTENT#sha256`` | the first file with that content | ingestion |
| ``FILES#ns/name`` | ``LATEST#key`` | ``content``: the SHA-256 of what was landed of an object last, by the hash of its bucket and key; ``place``: by which landing | ingestion |
| ``WATCH#bucket`` | ``ns/name`` | a source that watches a bucket: prefix, pattern, state machine | operator |
| ``PIPELINE#ns/name`` | ``FLIGHT`` | execution ARN, pending count, pass count, last start | trigger, run control |
| ``PIPELINE#ns/name`` | ``PENDING#source#sequence`` | a manifest that waits for a pass | trigger |
| ``PIPELINE#ns/name`` | ``TAKEN#source#sequence`` | a manifest that a pass has taken, with its run | run control |
| ``PIPELINE#ns/name`` | ``SWEPT#source`` | ``sequence``: up to it the sweep has looked | trigger |
| ``PIPELINE#ns/name`` | ``REQUEST#hash`` | a run asked for by a PipelineRun (JSON in ``body``), put once | operator |
| ``PIPELINE#ns/name`` | ``RUN#run`` | a pass's run record; ``run`` is of the request or the execution, its attempts write the same item | run control |
| ``LEASE`` | ``EPOCH`` | ``epoch``, ``holder``: the latest replica of the operator that writes for the Platform | operator |
| ``FEED#kind`` | ``time#object#run`` | pointer for readers that want what is new; expires | whoever writes a run |
"""

from __future__ import annotations

PK = "pk"
SK = "sk"
BODY = "body"
EXPIRES = "expires"

CHECKPOINT = "CHECKPOINT"
LANE = "LANE#"
CONTRACT = "CONTRACT"
PROFILE = "PROFILE"
DISCOVERED = "DISCOVERED"
CRAWL = "CRAWL"
SETTLED = "SETTLED"
TAKING = "TAKING"
WAITING = "WAITING#"
POSITION = "POSITION#"
RECEIVED = "RECEIVED#"
BACKLOG = "BACKLOG"
WAITS = "WAITS#"
PACE = "PACE"
MAPPINGS = "MAPPINGS"
WORKMAIL = "WORKMAIL#"
RANGE = "RANGE#"
GIVEN_UP = "GIVENUP#"
FILE = "FILE#"
CONTENT = "CONTENT#"
LATEST = "LATEST#"
FLIGHT = "FLIGHT"
FEED = "FEED#runs"
"""One partition of run records in order of time: readers ask for what is newer than they know."""

LEASE = "LEASE"
EPOCH = "EPOCH"

NOTICE = "notice"
"""Attribute of a feed item that is no run record but a notice that a source's shape has changed."""

RUN_RETENTION_SECONDS = 90 * 86_400
FEED_RETENTION_SECONDS = 7 * 86_400
RANGE_RETENTION_SECONDS = 90 * 86_400
"""How long it is known which of a stream's records were committed, for batches that were given up."""


def source_pk(source: str) -> str:
    """Partition of a source ``namespace/name``."""
    return f"SOURCE#{source}"


def pipeline_pk(pipeline: str) -> str:
    """Partition of a pipeline ``namespace/name``."""
    return f"PIPELINE#{pipeline}"


def checkpoint_sk(lane: str | None = None) -> str:
    """Sort key of a source's checkpoint, or of a lane's (``pipeline/name``)."""
    return CHECKPOINT if lane is None else f"{LANE}{lane}"


def subscriber_sk(pipeline: str) -> str:
    """Sort key of a subscription of a pipeline to a source."""
    return f"SUBSCRIBER#{pipeline}"


def workmail_sk(organization: str) -> str:
    """Sort key of what is known of the mails that a WorkMail organization passes on."""
    return f"{WORKMAIL}{organization}"


def files_pk(source: str) -> str:
    """Partition of what a source ``namespace/name`` remembers of what it took."""
    return f"FILES#{source}"


def watch_pk(bucket: str) -> str:
    """Partition of the sources that watch a bucket."""
    return f"WATCH#{bucket}"


PLACE_DIGITS = 60
"""A Kinesis sequence number has 56 digits: more than a number of DynamoDB keeps."""


def place_text(place: int) -> str:
    """A place in a lane (sequence number or offset) as text that sorts like the number."""
    return f"{place:0{PLACE_DIGITS}d}"


def position_sk(lane: str) -> str:
    """Sort key of the committed position of a shard or topic partition."""
    return f"{POSITION}{lane}"


def received_sk(time: str, lane: str, place: int) -> str:
    """Sort key of received records that wait to be sealed; ``time`` is UTC, ISO 8601."""
    return f"{RECEIVED}{time}#{lane}#{place_text(place)}"


def range_sk(lane: str, place: int) -> str:
    """Sort key of the records of a lane that were committed together, by the last one's place."""
    return f"{RANGE}{lane}#{place_text(place)}"


def waits_sk(lane: str) -> str:
    """Sort key of what keeps a lane's records from being received."""
    return f"{WAITS}{lane}"


def given_up_sk(mapping: str, key: str) -> str:
    """Sort key of a batch that an event source mapping gave up on, by its object's key."""
    return f"{GIVEN_UP}{mapping}#{key}"


def run_sk(run: str) -> str:
    """Sort key of a run record."""
    return f"RUN#{run}"


def pending_sk(source: str, sequence: int) -> str:
    """Sort key of a manifest that waits; sorts by source, then sequence.

    Parameters
    ----------
    source
        ``namespace/name``, or with its lane as :func:`weir_contract.manifest.lane_source` has it.
    """
    return f"PENDING#{source}#{sequence:012d}"


def taken_sk(source: str, sequence: int) -> str:
    """Sort key of a manifest that was processed, which makes a second arrival harmless."""
    return f"TAKEN#{source}#{sequence:012d}"


def feed_sk(time: str, object_id: str, run: str) -> str:
    """Sort key in the feed; ``time`` is UTC, ISO 8601."""
    return f"{time}#{object_id}#{run}"
