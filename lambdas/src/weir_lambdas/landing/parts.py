"""Records into compressed parts of bounded size, with the same borders when written again.

Compression and upload run in a thread of their own (ISA-L and sockets let go of the interpreter),
so that reading goes on meanwhile; what waits for it is bounded.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from isal import isal_zlib

from weir_contract.manifest import Part

PART_BYTES = 8 * 1024 * 1024
"""Compressed size at which a part is closed: bounds memory and suits Spark and COPY."""

CONTENT_TYPE = "application/gzip"
BLOCK_BYTES = 512 * 1024
"""Raw bytes that are compressed at once."""

MAX_WAITING = 4
"""Blocks that wait for the compressor, before the reader waits for it."""

LEVEL = 1
"""Fast: raw parts are read once or twice, and JSON shrinks to a tenth all the same. ISA-L takes a
quarter of zlib's time for it, and gets it smaller."""

GZIP_FORMAT = 16 + zlib.MAX_WBITS
"""zlib writes gzip's own header, without name and time (zlib manual, deflateInit2)."""

PutPart = Callable[[str, bytes], str | None]


class _Part:
    """One part that grows. Used by the writer's thread alone."""

    def __init__(self) -> None:
        self.rows = self.size = 0
        self._chunks: list[bytes] = []
        self._gzip = isal_zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_FORMAT)

    def add(self, block: bytes, rows: int) -> None:
        self.rows += rows
        self._keep(self._gzip.compress(block))
        # Flushed, so that the size is known at the same places whenever it is written again.
        self._keep(self._gzip.flush(zlib.Z_SYNC_FLUSH))

    def close(self) -> bytes:
        self._keep(self._gzip.flush())
        return b"".join(self._chunks)

    def _keep(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.size += len(chunk)


class PartWriter:
    """Collects lines and writes a part whenever enough are there. Use it in a ``with``.

    Parameters
    ----------
    key
        Number of a part -> its object key.
    put
        Writes an object that must not exist yet; returns its version id.
    limit
        Compressed bytes at which a part is closed.
    """

    def __init__(self, key: Callable[[int], str], put: PutPart, limit: int = PART_BYTES) -> None:
        self._key, self._put, self._limit = key, put, limit
        self.parts: list[Part] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parts")
        self._waiting: deque[Future[None]] = deque()
        self._part = _Part()
        self._blocks: list[bytes] = []
        self._rows = self._bytes = 0

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def write(self, lines: Sequence[bytes], count: int | None = None) -> None:
        """Add records, each a line that ends in a line feed.

        Parameters
        ----------
        count
            Number of records, where an item of ``lines`` is several of them.

        Raises
        ------
        Exception
            What ``put`` raised for an earlier part.
        """
        block = b"".join(lines)
        if count is not None or len(block) < 4 * BLOCK_BYTES:
            self._add(block, len(lines) if count is None else count)
            return
        for line in lines:
            self._add(line, 1)

    def _add(self, block: bytes, rows: int) -> None:
        self._blocks.append(block)
        self._rows += rows
        self._bytes += len(block)
        if self._bytes >= BLOCK_BYTES:
            self._hand_over()

    def finish(self) -> tuple[Part, ...]:
        """Write what is left and return every part."""
        if self._rows:
            self._hand_over()
        while self._waiting:
            self._waiting.popleft().result()
        if self._part.rows:
            self._close()
        return tuple(self.parts)

    def _hand_over(self) -> None:
        block, rows = b"".join(self._blocks), self._rows
        self._blocks, self._rows, self._bytes = [], 0, 0
        while len(self._waiting) >= MAX_WAITING or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._compress, block, rows))

    def _compress(self, block: bytes, rows: int) -> None:
        self._part.add(block, rows)
        if self._part.size >= self._limit:
            self._close()

    def _close(self) -> None:
        body, rows = self._part.close(), self._part.rows
        self._part = _Part()
        key = self._key(len(self.parts))
        version = self._put(key, body)
        self.parts.append(Part(key, rows, len(body), hashlib.sha256(body).hexdigest(), version))
