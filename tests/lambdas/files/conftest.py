"""Files in memory, and what a reader makes of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import pytest

from lambdas.files.letters import letter, stored
from weir_contract.rows import RowContract
from weir_contract.sources import Parsing
from weir_lambdas.file_processor.formats.base import Place
from weir_lambdas.file_processor.output import Reject
from weir_lambdas.file_processor.source import read_file
from weir_lambdas.landing.infer import Inference
from weir_lambdas.landing.records import dump_line, parse


@dataclass
class Memory:
    """A file's bytes, handed out in pieces of one size."""

    body: bytes
    piece: int = 1 << 20
    failed: BaseException | None = None

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        for at in range(start, len(self.body), self.piece):
            yield self.body[at : at + self.piece]

    def seekable(self) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self.body))  # type: ignore[arg-type]


@dataclass
class Collected:
    """A sink that keeps everything."""

    rows: list[Any] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    inference: Inference = field(default_factory=lambda: Inference(RowContract()))

    @property
    def records(self) -> list[Any]:
        """The rows, those that are JSON already read."""
        return [parse(row) if isinstance(row, bytes) else row for row in self.rows]

    def table(self, table: Any) -> None:
        from weir_lambdas.file_processor.columns import columns_of

        self.inference.see_columns(columns_of(table, lambda _: True))
        self.rows += table.to_pylist()

    def record(self, record: Any) -> None:
        self.inference.see(record)
        self.rows.append(parse(dump_line(record)))

    def lines(self, lines: Sequence[bytes]) -> None:
        self.rows += lines

    def member(self, number: int, name: str) -> None:
        self.places.append(Place())

    def mark(self, place: Place) -> None:
        self.places.append(place)

    def reject(self, line: int, reason: str, record: str) -> None:
        self.rejects.append(Reject(line, reason, record))


@dataclass
class Reading:
    """Reads bytes as a parsing says."""

    def __call__(
        self,
        body: bytes,
        parsing: Parsing,
        piece: int = 1 << 20,
        name: str = "file",
        password: str | None = None,
    ) -> Collected:
        sink = Collected()
        read_file(Memory(body, piece), parsing, name, sink, password)
        return sink


@pytest.fixture(scope="session")
def reading() -> Reading:
    return Reading()


@pytest.fixture(scope="session")
def mails() -> tuple[Callable[..., EmailMessage], Callable[..., bytes]]:
    """``(letter, stored)``."""
    return letter, stored
