"""What a source hands to the landing, and what it is told at its start."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from weir_contract.manifest import LandedFile, Manifest, Part
from weir_lambdas.landing.infer import Columns, Inference

Position = dict[str, Any]
"""Where an extraction goes on: plain JSON without secrets, so that a later call can read it."""


@dataclass(frozen=True)
class Batch:
    """Some records in their order, with the place after them.

    Parameters
    ----------
    lines
        The records as they are stored: each one line of compact JSON with a line feed. An item may
        be several such lines, where ``count`` says how many records there are in all.
    rows
        The same records parsed, or their columns, for type inference.
    count
        Number of records; None: each item of ``lines`` is one.
    position
        Where to go on after these records; None where they are the last.
    cursor
        The cursor that stands if the extraction ends with these records.
    state
        What the next extraction is told then, plain JSON (``{}``: nothing).
    quarantined, files
        For files and mails: unreadable records that went to quarantine, and what was taken.
    parts
        Parts that the source has written itself, below ``Start.part_key``.
    inference
        What was seen of the records of these parts.
    """

    lines: Sequence[bytes] = ()
    rows: Sequence[Mapping[str, Any]] | Columns = ()
    position: Position | None = None
    cursor: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    quarantined: int = 0
    files: tuple[LandedFile, ...] = ()
    parts: tuple[Part, ...] = ()
    inference: Inference | None = None
    count: int | None = None


@dataclass(frozen=True)
class Window:
    """A stretch of the past: from ``start`` on, before ``end``; both aware."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Start:
    """What a source is told at the start of a call.

    Parameters
    ----------
    run
        The run's id.
    scheduled
        The run's logical time, aware, UTC.
    cursor, state
        What the last complete extraction left; None and ``{}`` before the first.
    position
        Where an extraction that was cut goes on; None for a new one.
    remaining
        Seconds that the source may still take.
    enough
        Whether the source should stop at the next place from which it can go on.
    part_key
        Number and suffix of a part that the source writes itself -> its key in the raw zone. The
        lease's epoch is in it: nobody else writes there.
    window
        What a part of a backfill asks for; None for what is new.
    """

    run: str
    scheduled: datetime
    cursor: str | None
    state: Mapping[str, Any]
    position: Position | None
    remaining: Callable[[], float]
    enough: Callable[[], bool]
    part_key: Callable[[int, str], str]
    window: Window | None = None


class PlaceForgotten(Exception):
    """The source knows nothing of the position at which it was to go on: a cursor that has expired,
    a job that was swept. It is read from the beginning then. The text is for people."""


class Source(Protocol):
    """What can be landed."""

    @property
    def fingerprint(self) -> str:
        """Hash of what positions depend on; a position of another fingerprint is not gone on with."""

    @property
    def resume_seconds(self) -> float:
        """How old a cut extraction may be for another run to go on with it (``inf``: any age)."""

    @property
    def queued(self) -> bool:
        """Whether what is to be landed waits in a queue of the source's own: a run that is called
        again then takes what is left, and does not give its last answer again."""
        return False

    def batches(self, start: Start) -> Generator[Batch]:
        """The records from ``start``; ends after a batch without a position, or once enough.

        Where it raises a WeirError that does not spoil what came before, that is committed. A source
        that gives no batch at all has nothing to land: no manifest is written.

        Raises
        ------
        PlaceForgotten
            Before the first batch: the position leads nowhere any more.
        """

    def prepare(self, newest: int, read: Callable[[int], Manifest]) -> None:
        """Called under the lease before anything is landed.

        Parameters
        ----------
        newest
            The last committed manifest's sequence, 0 for none; whether its death kept the source
            from hearing of it, the source must know itself.
        read
            Reads a manifest by its sequence.
        """
        del newest, read

    def committed(self, manifest: Manifest) -> None:
        """Called once a manifest is committed, unless the function dies before."""
        del manifest
