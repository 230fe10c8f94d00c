"""Large answers: kept in a file while they are read, piece by piece, in bounded memory.

The file is packed, so that an answer of a gigabyte finds room in the 512 MB that a function has by
default, and it has no name: whatever ends the process frees its space.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from isal import igzip_lib, isal_zlib

from weir_lambdas.common.errors import SourceBadAnswer, SourceTooLarge

MEMORY_BYTES = 8 * 1024 * 1024
"""An answer up to this size is held in memory, one above it is read piece by piece."""

RESERVED_BYTES = 16 * 1024 * 1024
"""Space of the file system that is left alone."""

READ_BYTES = 256 * 1024
MAX_WINDOW_LOG = 27
"""zstd's window, as a power of two: 128 MiB of memory at most."""

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Spool:
    """The space for answers that wait to be read. Used by all threads of a source.

    Parameters
    ----------
    limit
        Bytes that may be taken at once; None: what is free in the folder for temporary files.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._folder, self._limit = tempfile.gettempdir(), limit
        self._taken, self._lock = 0, threading.Lock()

    @property
    def taken(self) -> int:
        """Bytes that are taken now."""
        return self._taken

    def take(self, count: int) -> bool:
        """Take some bytes; False where they are not there."""
        with self._lock:
            if self._limit is None:
                free = shutil.disk_usage(self._folder).free - RESERVED_BYTES
                fits = count <= free
            else:
                fits = self._taken + count <= self._limit
            self._taken += count if fits else 0
            return fits

    def give_back(self, count: int) -> None:
        """These bytes are free again."""
        with self._lock:
            self._taken -= count

    def write(self, chunks: Iterator[bytes], where: str) -> Spooled:
        """Keep an answer.

        Raises
        ------
        SourceTooLarge
            It does not fit, packed as it is.
        """
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  (it lives as long as the answer)
        packer = isal_zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        plain = packed = 0
        head = b""
        try:
            for chunk in chunks:
                plain += len(chunk)
                head = head or chunk[:READ_BYTES]
                packed += self._append(file, packer.compress(chunk), plain, packed, where)
            packed += self._append(file, packer.flush(), plain, packed, where)
        except BaseException:
            file.close()
            self.give_back(packed)
            raise
        return Spooled(self, file, plain, packed, head)

    def _append(self, file: Any, data: bytes, plain: int, before: int, where: str) -> int:
        if not data:
            return 0
        fits = self.take(len(data))
        try:
            if not fits:
                raise OSError("no space")
            file.write(data)
        except OSError as error:
            if fits:
                self.give_back(len(data))
            raise SourceTooLarge(
                f"an answer does not fit into the function's {self._folder}: {plain} bytes of it, "
                f"packed {before + len(data)}, and {self._taken - before} of others that wait",
                where,
            ) from error
        return len(data)


class Spooled:
    """An answer in a file. Its space is free again when nobody holds it any more.

    Parameters
    ----------
    plain, packed
        Its bytes as they came, and in the file.
    head
        How it begins.
    """

    def __init__(self, spool: Spool, file: Any, plain: int, packed: int, head: bytes) -> None:
        self._file, self._size = file, plain
        self.head = head
        weakref.finalize(self, _freed, spool, file, packed)

    def __len__(self) -> int:
        return self._size

    def open(self) -> BinaryIO:
        """Its bytes as they came, from the beginning; any number of readers."""
        return unpacking(_Packed(self), GZIP, None, "a spooled answer")

    def pread(self, count: int, at: int) -> bytes:
        """Bytes of the file."""
        return os.pread(self._file.fileno(), count, at)

    def contains(self, wanted: bytes) -> bool:
        """Whether a text is in it."""
        tail = b""
        with self.open() as stream:
            while chunk := stream.read(READ_BYTES):
                if wanted in tail + chunk:
                    return True
                tail = (tail + chunk)[-len(wanted) :]
        return False


def _freed(spool: Spool, file: Any, packed: int) -> None:
    file.close()
    spool.give_back(packed)


class _Packed(io.RawIOBase):
    """The file of a spooled answer, read from a place of its own."""

    def __init__(self, spooled: Spooled) -> None:
        self._spooled, self._at = spooled, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._spooled.pread(len(buffer), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


Unpacker = tuple[Callable[[], Any], tuple[type[Exception], ...]]
"""Makes what unpacks one member, and what that raises."""


def _gzip() -> Unpacker:
    failure: Any = igzip_lib.IsalError
    flag = igzip_lib.DECOMP_GZIP
    return lambda: igzip_lib.IgzipDecompressor(flag), (failure, EOFError)


def _zstd() -> Unpacker:
    from backports import zstd

    options = {int(zstd.DecompressionParameter.window_log_max): MAX_WINDOW_LOG}
    return lambda: zstd.ZstdDecompressor(options=options), (zstd.ZstdError, EOFError)


PACKERS: Mapping[bytes, tuple[str, Callable[[], Unpacker]]] = {
    GZIP: ("gzip", _gzip),
    ZSTD: ("zstd", _zstd),
}
"""First bytes of a packed file -> its name, and how it is unpacked."""


def packing(head: bytes) -> bytes | None:
    """The first bytes of a packed file, if something begins with them."""
    return next((magic for magic in PACKERS if head.startswith(magic)), None)


def unpacking(source: Any, magic: bytes, limit: int | None, where: str) -> BinaryIO:
    """What is in a packed stream, read as it is asked for: all of its members, one by one.

    Parameters
    ----------
    magic
        One of :data:`PACKERS`.
    limit
        Bytes at most, unpacked.

    Raises
    ------
    SourceTooLarge, SourceBadAnswer
        While it is read: it is larger than ``limit``; it is damaged.
    """
    return io.BufferedReader(_Unpacking(source, magic, limit, where), READ_BYTES)


class _Unpacking(io.RawIOBase):
    def __init__(self, source: Any, magic: bytes, limit: int | None, where: str) -> None:
        self._source, self._magic, self._limit, self._where = source, magic, limit, where
        self._kind, load = PACKERS[magic]
        self._make, self._errors = load()
        self._one, self._size = self._make(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            try:
                plain = self._next(len(buffer))
            except self._errors as error:
                raise SourceBadAnswer(
                    f"a damaged {self._kind} body: {error}", self._where
                ) from error
            if plain is None:
                return 0
            if plain:
                self._size += len(plain)
                if self._limit is not None and self._size > self._limit:
                    raise SourceTooLarge(f"is more than {self._limit} bytes unpacked", self._where)
                buffer[: len(plain)] = plain
                return len(plain)

    def _next(self, count: int) -> bytes | None:
        """Some unpacked bytes; None at the end."""
        data = b""
        if self._one.eof:
            data = self._one.unused_data
            while len(data) < len(self._magic) and (more := self._source.read(READ_BYTES)):
                data += more
            if not data.startswith(self._magic):
                return None
            self._one = self._make()
        elif self._one.needs_input:
            data = self._source.read(READ_BYTES) or b""
            if not data:
                raise SourceBadAnswer(f"a {self._kind} body that ends too early", self._where)
        return bytes(self._one.decompress(data, count))
