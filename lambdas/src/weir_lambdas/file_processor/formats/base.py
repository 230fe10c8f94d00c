"""What every format needs: where its records go, and how it says what it can't read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from weir_contract.sources import Parsing

if TYPE_CHECKING:
    import pyarrow as pa

MAX_RECORD_BYTES = 16 * 1024 * 1024
"""Of one record: a limit so that a missing line end can't fill the memory."""


@dataclass(frozen=True)
class Place:
    """A record's end within a text, from which it can be read on.

    Parameters
    ----------
    offset
        Bytes before it, of the text as UTF-8 without a byte order mark.
    lines
        Lines that end before it.
    """

    RETIRED: ClassVar[frozenset[str]] = frozenset({"row"})

    offset: int = 0
    lines: int = 0


BEGINNING = Place()


class Sink(Protocol):
    """Takes the records of a file, in order."""

    def member(self, number: int, name: str) -> None:
        """What is given next is of the archive's member with that number, from 0, and name; empty
        where the file is no archive."""

    def mark(self, place: Place) -> None:
        """All records before a place were given; what is given next comes after it."""

    def table(self, table: pa.Table) -> None:
        """Records as columns."""

    def record(self, record: Mapping[str, Any]) -> None:
        """One record as JSON values; numbers that a double would bend come as
        :class:`~weir_lambdas.landing.records.RawNumber`."""

    def lines(self, lines: Sequence[bytes]) -> None:
        """Records that are JSON already, without line ends; what is no record is told by the
        pipeline, which reads every line."""

    def reject(self, line: int, reason: str, record: str) -> None:
        """One record that can't be read: its line or row in the file, from 1, and its text."""


Jump = Callable[[int], Iterable[bytes]]
"""The plain bytes of a file from one of them on."""

Read = Callable[[Iterable[bytes], Parsing, Sink], None]
"""Reads plain bytes. Raises :class:`weir_lambdas.file_processor.unpack.Unreadable` where the file
as a whole is not what it is said to be."""

ReadOn = Callable[[Iterable[bytes], Parsing, Sink, Place, Jump | None], None]
"""Reads plain bytes, given from the first one, but only what comes after a place; ``Jump`` is None
where all before has to be gone through."""
