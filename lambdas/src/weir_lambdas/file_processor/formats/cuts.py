"""A delimited text cut into blocks that end where a record ends.

Whether a line end is a record's depends on every quote before it. Counting quotes tells it for texts
as RFC 4180 has them; a quote within an unquoted field, or an escape character, misleads the count.
So a block's end is guessed, and the parser is the judge: after a block it is given a row that only
we know, and where that row comes back as a row of its own, the block has ended between two records.
A guess that was wrong is taken back, and at last the text is gone through field by field.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from weir_contract.sources import CsvDialect
from weir_lambdas.file_processor.formats.base import MAX_RECORD_BYTES
from weir_lambdas.file_processor.unpack import Unreadable

BLOCK_BYTES = 4 * 1024 * 1024
"""Bytes of a block, but for its last record."""


def witness(dialect: CsvDialect, columns: int) -> bytes:
    """A row that is in no file: a random word in each column; empty where every line end is a
    record's."""
    if not dialect.quote and not dialect.escape:
        return b""
    special = (dialect.delimiter, dialect.quote, dialect.escape)
    # Of 128 random digits three letters at most are left out: 20 remain.
    word = "".join(one for one in secrets.token_hex(64) if one not in special)[:20]
    return (dialect.delimiter.join([word] * columns) + "\n").encode()


@dataclass(frozen=True)
class Text:
    """One block.

    Parameters
    ----------
    offset
        Bytes before it.
    window
        Bytes within which its end was looked for.
    tries
        Guesses of its end that were wrong.
    open
        It is the text's last record, and a quote in it is never closed.
    """

    offset: int
    body: bytes
    window: int
    tries: int = 0
    open: bool = False


class Cutter:
    """Cuts a text, which begins with a record, into blocks.

    Parameters
    ----------
    offset
        Bytes before the text.
    """

    def __init__(self, stream: Iterable[bytes], dialect: CsvDialect, offset: int = 0) -> None:
        self._stream, self._offset = iter(stream), offset
        self._held: list[bytes] = []
        self._size, self._ended = 0, False
        self._dialect, self._quote = dialect, dialect.quote.encode()

    @property
    def ended(self) -> bool:
        """Whether nothing comes after what was cut."""
        return self._ended and not self._size

    def cut(self, wrong: Text | None = None) -> Text | None:
        """The next block, or None at the end.

        Parameters
        ----------
        wrong
            This block as it was cut before; it was taken back.

        Raises
        ------
        Unreadable
            A record is too long, or the last guess was wrong too.
        """
        wanted, tries = (wrong.window, wrong.tries + 1) if wrong else (BLOCK_BYTES, 0)
        while text := self._filled(wanted)[:wanted]:
            last = self._ended and self._size <= wanted
            guesses = self._guesses(last)
            if tries >= len(guesses):
                raise Unreadable("it can't be told where its records end: is csv.quote right?")
            for number in range(tries, len(guesses)):
                if end := guesses[number](text):
                    return self._take(Text(self._offset, text[:end], wanted, number))
            if last:
                return self._take(Text(self._offset, text, wanted, len(guesses), open=True))
            if len(text) >= MAX_RECORD_BYTES:
                raise Unreadable(
                    f"a record is longer than {MAX_RECORD_BYTES} bytes; is a quote not closed?"
                )
            wanted, tries = len(text) + BLOCK_BYTES, 0
        return None

    def back(self, texts: Sequence[Text]) -> None:
        """Take back the blocks that were cut last, in their order."""
        bodies = [one.body for one in texts]
        self._held = [*bodies, *self._held]
        self._size += sum(map(len, bodies))
        self._offset = texts[0].offset

    def _filled(self, wanted: int) -> bytes:
        while self._size < wanted and not self._ended:
            chunk = next(self._stream, None)
            if chunk is None:
                self._ended = True
            else:
                self._held.append(chunk)
                self._size += len(chunk)
        if len(self._held) > 1:
            self._held = [b"".join(self._held)]
        return self._held[0] if self._held else b""

    def _take(self, text: Text) -> Text:
        rest = self._held[0][len(text.body) :]
        self._held, self._size = [rest] if rest else [], len(rest)
        self._offset += len(text.body)
        return text

    def _guesses(self, last: bool) -> tuple[Callable[[bytes], int], ...]:
        """What tells where a block may end, the likeliest first; each gives 0 for nowhere.

        Parameters
        ----------
        last
            Nothing comes after it.
        """
        if not self._dialect.quote and not self._dialect.escape:
            return (len,) if last else (_last_line,)
        # Both have as many: what looked like the inner of the text may be found to be its end.
        return (len if last else self._even, _last_line, self._by_field)

    def _even(self, text: bytes) -> int:
        """The last line end with an even number of quotes before it."""
        end = _last_line(text)
        if not self._quote or not end:
            return end
        odd = text.count(self._quote, 0, end) % 2
        while odd and end:
            before = text.rfind(_line_end(text), 0, end - 1) + 1
            odd ^= text.count(self._quote, before, end) % 2
            end = before
        return end

    def _by_field(self, text: bytes) -> int:
        """The last record's end, field by field as Arrow's parser sees them: a quote opens a field
        only at its beginning."""
        record = record_pattern(self._dialect)
        end = 0
        while found := record.match(text, end):
            end = found.end()
        return end


@lru_cache(16)
def record_pattern(dialect: CsvDialect) -> re.Pattern[bytes]:
    """One record with its line end, as Arrow's parser sees it: a quote opens a field only at its
    beginning. An empty line is one."""
    delimiter, quote, escape = (
        re.escape(one.encode()) for one in (dialect.delimiter, dialect.quote, dialect.escape)
    )
    escaped = b"|" + escape + b"." if escape else b""
    field = b"(?:[^" + delimiter + b"\\n\\r" + escape + b"]" + escaped + b")*+"
    if quote:
        within = b"(?:[^" + quote + escape + b"]|" + quote + quote + escaped + b")*+"
        field = b"(?:" + quote + within + quote + b"|(?!" + quote + b"))" + field
    return re.compile(field + b"(?:" + delimiter + field + b")*+(?:\\r\\n|\\n|\\r)", re.DOTALL)


def line_ends(text: bytes) -> int:
    """How many lines end in a text, by any of the three line ends."""
    count = text.count(b"\n")
    if b"\r" in text:
        count += text.count(b"\r") - text.count(b"\r\n")
    return count


def _line_end(text: bytes) -> bytes:
    return b"\n" if b"\n" in text else b"\r"


def _last_line(text: bytes) -> int:
    return text.rfind(_line_end(text)) + 1
