"""Records into compressed parts of bounded size, each equal byte for byte when written again."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Callable

from weir_contract.manifest import Part

PART_BYTES = 8 * 1024 * 1024
"""Compressed size at which a part is closed: bounds memory and suits Spark and COPY."""

CONTENT_TYPE = "application/gzip"
_FLUSH_BYTES = 1024 * 1024

PutPart = Callable[[str, bytes], str | None]


class PartWriter:
    """Collects lines and writes a part whenever enough are there.

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
        self._open()

    def _open(self) -> None:
        self._buffer, self._rows, self._raw = io.BytesIO(), 0, 0
        # No time and no name in the header: equal rows are equal bytes.
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=self._buffer, mtime=0)

    def write(self, line: bytes) -> None:
        """Add one record, a line that ends in a line feed."""
        self._gzip.write(line)
        self._rows += 1
        self._raw += len(line)
        if self._raw >= _FLUSH_BYTES:
            self._gzip.flush()
            self._raw = 0
        if self._buffer.tell() >= self._limit:
            self._close()

    def finish(self) -> tuple[Part, ...]:
        """Write what is left and return every part."""
        if self._rows:
            self._close()
        return tuple(self.parts)

    def _close(self) -> None:
        self._gzip.close()
        body = self._buffer.getvalue()
        key = self._key(len(self.parts))
        version = self._put(key, body)
        self.parts.append(
            Part(key, self._rows, len(body), hashlib.sha256(body).hexdigest(), version)
        )
        self._open()
