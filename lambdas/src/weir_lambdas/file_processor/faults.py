"""Whether it is a file's own fault that it can't be read.

What a parser raises where bytes make it trip over is nobody's list: a damaged file may raise
anything. It must not hold up the files behind it, so that it is rejected. What S3 or the landing
raises meanwhile is another matter, also where the parser has made an error of its own of it: then
nothing is told of the file, and it is read again.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from weir_lambdas.common.log import log
from weir_lambdas.file_processor.formats.base import Place, Sink
from weir_lambdas.file_processor.unpack import Bytes, Unreadable

if TYPE_CHECKING:
    import pyarrow as pa


class WatchedSink:
    """A sink that keeps in mind what it has raised."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.failed: BaseException | None = None

    def _call(self, give: Callable[..., None], *given: Any) -> None:
        try:
            give(*given)
        except BaseException as error:
            self.failed = error
            raise

    def member(self, number: int, name: str) -> None:
        """As :class:`~weir_lambdas.file_processor.formats.base.Sink` has it."""
        self._call(self._sink.member, number, name)

    def mark(self, place: Place) -> None:
        """As the sink has it."""
        self._call(self._sink.mark, place)

    def table(self, table: pa.Table) -> None:
        """As the sink has it."""
        self._call(self._sink.table, table)

    def record(self, record: Mapping[str, Any]) -> None:
        """As the sink has it."""
        self._call(self._sink.record, record)

    def lines(self, lines: Sequence[bytes]) -> None:
        """As the sink has it."""
        self._call(self._sink.lines, lines)

    def reject(self, line: int, reason: str, record: str) -> None:
        """As the sink has it."""
        self._call(self._sink.reject, line, reason, record)


@contextmanager
def judged(source: Bytes, sink: WatchedSink | None = None) -> Iterator[None]:
    """What is raised within is about the file, as :class:`Unreadable`, unless its bytes could not be
    had or its records not be given.

    Raises
    ------
    Unreadable
        The file can't be read.
    Exception
        What ``source`` or ``sink`` has raised.
    """
    try:
        yield
    except Exception as error:
        outside = source.failed or (sink.failed if sink is not None else None)
        if outside is not None:
            raise outside from None
        if isinstance(error, Unreadable):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        kind, at = type(error).__name__, f"{last.filename.rpartition('/')[2]}:{last.lineno}"
        log("WARNING", "a reader tripped over a file", kind=kind, at=at)
        raise Unreadable(f"it is damaged, or not what it is said to be ({kind})") from error
