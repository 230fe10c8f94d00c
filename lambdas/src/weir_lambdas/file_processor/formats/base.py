"""What every format needs: where its records go, and how it says what it can't read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from weir_contract.sources import Parsing

if TYPE_CHECKING:
    import pyarrow as pa

MAX_RECORD_BYTES = 16 * 1024 * 1024
"""Of one record: a limit so that a missing line end can't fill the memory."""


class Sink(Protocol):
    """Takes the records of a file, in order."""

    def table(self, table: pa.Table) -> None:
        """Records as columns."""

    def record(self, record: Mapping[str, Any]) -> None:
        """One record as JSON values; numbers that a double would bend come as
        :class:`~weir_lambdas.landing.records.RawNumber`."""

    def line(self, line: bytes) -> None:
        """One record that is JSON already, without a line end; what is no record is told by the
        pipeline, which reads every line."""

    def reject(self, line: int, reason: str, record: str) -> None:
        """One record that can't be read: its line or row in the file, from 1, and its text."""


Read = Callable[[Iterable[bytes], Parsing, Sink], None]
"""Reads plain bytes. Raises :class:`weir_lambdas.file_processor.unpack.Unreadable` where the file
as a whole is not what it is said to be."""
