"""The manifest: the commit of one landing. What has no manifest was never landed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

SEQUENCE_DIGITS = 12


@dataclass(frozen=True)
class Part:
    """One object of raw records.

    Parameters
    ----------
    bytes, sha256
        Of the object as it is stored; the hash in hex.
    format
        ``jsonl``: one record a line, as ``jsonl.gz`` or plain. ``parquet``: one record a row.
    shape
        Stands for the columns and types of a Parquet part: parts of one shape can be read together.
    sequence
        Landing that the records are as old as, for loads in which old never overwrites new; None:
        the manifest's own.
    """

    key: str
    rows: int
    bytes: int
    sha256: str
    version_id: str | None = None
    format: Literal["jsonl", "parquet"] = "jsonl"
    shape: str = ""
    sequence: int | None = None


@dataclass(frozen=True)
class LandedFile:
    """One file, mail or attachment that a landing took.

    Parameters
    ----------
    bucket, key, etag
        Which object; ``version_id`` where the bucket keeps versions.
    bytes
        Of the object.
    sha256
        Of its content, in hex.
    rows, rejected
        Records landed, and records put into quarantine.
    state
        ``landed``; ``duplicate``: its content was landed before; ``rejected``: the whole file is in
        quarantine; ``superseded``: it was overwritten or deleted before it could be read.
    reason
        Why it is not ``landed``.
    waiting
        Its place among the files that wait, which ends with this landing.
    """

    bucket: str
    key: str
    etag: str
    version_id: str | None = None
    bytes: int = 0
    sha256: str = ""
    rows: int = 0
    rejected: int = 0
    state: Literal["landed", "duplicate", "rejected", "superseded"] = "landed"
    reason: str = ""
    waiting: str = ""


@dataclass(frozen=True)
class Manifest:
    """One landing of one source.

    Parameters
    ----------
    source
        ``namespace/name``.
    sequence
        The count of landings, from 1 without a gap, of the source, or of the lane where there is
        one; it is in the manifest's key.
    epoch
        The fencing number of the lease under which this was written.
    run
        The landing's run id.
    scheduled_time, landed_time
        UTC, ISO 8601 with ``Z``. The first is the run's logical time.
    fingerprint
        Hash of the records' top-level keys and JSON types: a change shows a drifting schema.
    inferred
        Column -> type expression, seen in this landing, for columns whose type is not stated.
    complete
        False where the extraction was cut into several landings and more follow.
    quarantined
        Records that were told apart as unreadable at landing; they are in the quarantine zone.
    files
        For files and mails: what was taken.
    cursor_before, cursor_after
        The source's cursor. ``cursor_after`` of a landing that is not complete is the place to go
        on, JSON.
    state
        What the next extraction is told beside the cursor, JSON.
    extraction
        What the landings of one extraction share, also where a later run went on with it; None
        where the run stands for it.
    lane
        ``pipeline/name``: a part of a backfill, or a replay. It has a count and a cursor of its
        own beside the source's, and that pipeline alone takes it. None: the source's own landing.
    """

    source: str
    sequence: int
    epoch: int
    run: str
    scheduled_time: str
    landed_time: str
    bucket: str
    parts: tuple[Part, ...] = ()
    cursor_before: str | None = None
    cursor_after: str | None = None
    fingerprint: str = ""
    inferred: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True
    quarantined: int = 0
    files: tuple[LandedFile, ...] = ()
    state: str | None = None
    extraction: str | None = None
    lane: str | None = None

    @property
    def rows(self) -> int:
        """Records landed."""
        return sum(part.rows for part in self.parts)

    @property
    def bytes(self) -> int:
        """Bytes landed, as stored (compressed)."""
        return sum(part.bytes for part in self.parts)

    @property
    def key(self) -> str:
        """The manifest's object key in the raw bucket."""
        return manifest_key(self.source, self.sequence, self.lane)

    @property
    def id(self) -> str:
        """``namespace/name#sequence``, or ``namespace/name@lane#sequence``; unique in a Platform."""
        return f"{lane_source(self.source, self.lane)}#{self.sequence}"

    @property
    def age(self) -> int:
        """The source's landing that the newest of the records are as old as."""
        if self.lane is None:
            return self.sequence
        return max((part.sequence or 0 for part in self.parts), default=0)


class Place(NamedTuple):
    """Which landing a manifest's key names."""

    source: str
    sequence: int
    lane: str | None = None


LANES = "_lanes/"
"""Below a source's folder in the raw bucket: what backfills and replays have landed."""


def lane_source(source: str, lane: str | None) -> str:
    """What counts landings: the source ``namespace/name``, or ``namespace/name@pipeline/lane``."""
    return source if lane is None else f"{source}@{lane}"


def manifest_prefix(source: str, lane: str | None = None) -> str:
    """Where the manifests of ``namespace/name``, or of a lane of it, stand in the raw bucket."""
    return f"{source}/_manifests/" if lane is None else f"{source}/{LANES}{lane}/_manifests/"


def manifest_key(source: str, sequence: int, lane: str | None = None) -> str:
    """The key of the manifest with that sequence number; two writers of one number collide on it."""
    return f"{manifest_prefix(source, lane)}_manifest-{sequence:0{SEQUENCE_DIGITS}d}.json"


def parse_manifest_key(key: str) -> Place | None:
    """The landing of a manifest's key, or None for any other key."""
    head, _, name = key.rpartition("/_manifests/_manifest-")
    digits = name.removesuffix(".json")
    if not name.endswith(".json") or not digits.isdigit():
        return None
    source, between, lane = head.partition(f"/{LANES}")
    if source.count("/") != 1 or source.endswith("/") or source.startswith("/"):
        return None
    if between and (lane.count("/") != 1 or lane.endswith("/") or lane.startswith("/")):
        return None
    return Place(source, int(digits), lane if between else None)


def part_key(source: str, date: str, run: str, number: int, suffix: str = "jsonl.gz") -> str:
    """The key of a part: ``<ns>/<source>/date=YYYY-MM-DD/run=<run>/part-00000.jsonl.gz``."""
    return f"{source}/date={date}/run={run}/part-{number:05d}.{suffix}"
