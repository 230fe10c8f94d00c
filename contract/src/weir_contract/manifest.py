"""The manifest: the commit of one landing. What has no manifest was never landed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SEQUENCE_DIGITS = 12


@dataclass(frozen=True)
class Part:
    """One object of raw records. ``bytes`` as stored, ``sha256`` of the stored bytes, in hex."""

    key: str
    rows: int
    bytes: int
    sha256: str
    version_id: str | None = None


@dataclass(frozen=True)
class Manifest:
    """One landing of one source.

    Parameters
    ----------
    source
        ``namespace/name``.
    sequence
        The source's own count of landings, from 1 without a gap; it is in the manifest's key.
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
        return manifest_key(self.source, self.sequence)

    @property
    def id(self) -> str:
        """``namespace/name#sequence``, unique in a Platform."""
        return f"{self.source}#{self.sequence}"


def manifest_prefix(source: str) -> str:
    """Where the manifests of ``namespace/name`` stand in the raw bucket."""
    return f"{source}/_manifests/"


def manifest_key(source: str, sequence: int) -> str:
    """The key of the manifest with that sequence number; two writers of one number collide on it."""
    return f"{manifest_prefix(source)}_manifest-{sequence:0{SEQUENCE_DIGITS}d}.json"


def parse_manifest_key(key: str) -> tuple[str, int] | None:
    """``(source, sequence)`` of a manifest's key, or None for any other key."""
    head, _, name = key.rpartition("/_manifests/_manifest-")
    digits = name.removesuffix(".json")
    if not head or head.count("/") != 1 or not name.endswith(".json") or not digits.isdigit():
        return None
    return head, int(digits)


def part_key(source: str, date: str, run: str, number: int, suffix: str = "jsonl.gz") -> str:
    """The key of a part: ``<ns>/<source>/date=YYYY-MM-DD/run=<run>/part-00000.jsonl.gz``."""
    return f"{source}/date={date}/run={run}/part-{number:05d}.{suffix}"
