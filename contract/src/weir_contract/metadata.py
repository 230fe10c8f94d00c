"""What a landing holds: its columns measured, and what was ever seen of a source's shape.

A landing's metadata stand in the raw zone, beside its rows and under their access: ``min`` and
``max`` are row content. Everything else here names columns and types only, so that it may go to
status, events and metrics.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from weir_contract.manifest import SEQUENCE_DIGITS
from weir_contract.rows import RowContract

ChangeKind = Literal[
    "columnAdded", "columnMissing", "columnReturned", "typeChanged", "nullsSeen", "notMeasured"
]

GUARDED = frozenset({"personal", "sensitive"})
"""Classifications of columns whose content is told nowhere, not even as ``min`` and ``max``."""


@dataclass(frozen=True)
class ColumnMetadata:
    """One column of a landing.

    Parameters
    ----------
    name
        The record's top-level key, or the path of a contract's field that lies deeper.
    type
        The narrowest type expression that holds what was looked at; None where all of it is null.
    nulls
        Rows, of those that were looked at, without a value: null, or no such key.
    distinct
        Different values among those that were looked at; None for objects, lists and what was told
        by Parquet's footers alone.
    distinct_exact
        Whether ``distinct`` was counted; else it is an estimate (HyperLogLog, 4,096 registers:
        a standard error of 1.6 %).
    min, max
        As text, cut to 128 characters; None for a guarded column, for objects and lists, and where
        values of several types can't be compared.
    """

    name: str
    type: str | None = None
    nulls: int = 0
    distinct: int | None = None
    distinct_exact: bool = True
    min: str | None = None
    max: str | None = None


@dataclass(frozen=True)
class LandingMetadata:
    """What one manifest commits, measured.

    Parameters
    ----------
    source, sequence, run, landed_time
        As in the manifest.
    rows, bytes, parts
        Of the whole landing, by its manifest: never sampled.
    rows_read, bytes_read, parts_read
        What the columns were measured from.
    sampled
        Whether that is less than the whole: parts evenly spread over the landing.
    fingerprint
        Hash of the columns' names and types (:func:`schema_fingerprint`).
    landing_fingerprint
        The manifest's own: top-level keys and JSON types of every record, sampled or not.
    columns
        In order of their names.
    columns_left_out
        Columns beyond the most that are measured.
    rows_unreadable
        Lines that are no JSON, in files that were landed as they are.
    """

    source: str
    sequence: int
    run: str
    landed_time: str
    rows: int
    bytes: int
    parts: int
    rows_read: int
    bytes_read: int
    parts_read: int
    sampled: bool
    fingerprint: str
    landing_fingerprint: str
    columns: tuple[ColumnMetadata, ...] = ()
    columns_left_out: int = 0
    rows_unreadable: int = 0
    format: Literal["jsonl", "parquet", "mixed"] = "jsonl"


@dataclass(frozen=True)
class SeenColumn:
    """A column as all landings so far have shown it.

    ``type`` None: only nulls were seen. ``sequence`` is the landing that showed it first, ``nulls``
    whether one was seen without a value, ``missing`` whether the newest landing lacks it,
    ``intermittent`` whether it was missing once and came back (that is told once), ``taken`` whether
    the contract has it.
    """

    name: str
    sequence: int
    type: str | None = None
    nulls: bool = False
    missing: bool = False
    taken: bool = True
    intermittent: bool = False


@dataclass(frozen=True)
class SchemaChange:
    """One change of a source's shape: names and types, never values.

    ``before`` and ``after`` are type expressions. ``contract`` is what the contract says of the
    column: its type, or None where it has no such column. ``evolved``: it has gained the column, or a
    wider type, by landings (``schema.evolution``). ``at`` is when the landing was committed, UTC,
    ISO 8601. A landing that could not be measured has no ``column``, and ``at`` is when it was given
    up.
    """

    revision: int
    sequence: int
    kind: ChangeKind
    column: str
    at: str
    before: str | None = None
    after: str | None = None
    contract: str | None = None
    evolved: bool = False


@dataclass(frozen=True)
class Discovered:
    """What was ever seen of a source's shape: item ``DISCOVERED`` of the state table.

    Parameters
    ----------
    revision
        Grows with every change of ``columns``.
    sequence
        The newest landing that was taken into account.
    changes
        The last ones, in order; each is told once.
    format
        Of the newest landing's parts.
    crawl_failure
        Why the last crawl failed; empty where it did not.
    """

    source: str
    revision: int = 0
    sequence: int = 0
    columns: tuple[SeenColumn, ...] = ()
    changes: tuple[SchemaChange, ...] = ()
    format: Literal["jsonl", "parquet", "mixed"] = "jsonl"
    crawl_failure: str = ""


@dataclass(frozen=True)
class SchemaNotice:
    """In the feed: a source's shape has a new revision; ``at`` is UTC, ISO 8601."""

    source: str
    revision: int
    sequence: int
    at: str


@dataclass(frozen=True)
class Profiling:
    """What the metadata extractor is told of a source: item ``PROFILE`` of the state table.

    Parameters
    ----------
    contract
        As it was stated, with the columns' classifications.
    crawler
        Name of the Glue crawler that discovers the types; None: the landing infers them.
    database, table_prefix, location
        Where the crawler writes its table, and the ``s3://`` folder that it looks through.
    """

    contract: RowContract
    crawler: str | None = None
    database: str | None = None
    table_prefix: str | None = None
    location: str | None = None
    metrics_namespace: str = "Weir"


def metadata_key(source: str, sequence: int) -> str:
    """Where a landing's metadata stand in the raw bucket.

    In a folder of their own: what looks for new manifests lists theirs.
    """
    return f"{source}/_metadata/_metadata-{sequence:0{SEQUENCE_DIGITS}d}.json"


def schema_fingerprint(columns: Iterable[tuple[str, str | None]]) -> str:
    """Hash of names and types, whatever their order; a column of nulls counts as one."""
    lines = sorted(f"{name}:{kind or 'null'}" for name, kind in columns)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
