"""Whether an ORC file's moments are within what Arrow's reader can hold.

It reads them as nanoseconds in 64 bits, and what does not fit comes out as another day without a
word: the year 9999, as many write "never", as 1816. The file's own statistics tell the least and the
greatest (ORC specification v1, *File Tail*, *Column Statistics*). They are protocol buffers, read
here as far as that takes.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from weir_lambdas.file_processor.unpack import Unreadable

TAIL_BYTES = 16 * 1024
FOOTER, METADATA, BLOCK = 1, 5, 3
"""Fields of the PostScript: bytes of the footer and of the metadata before it; of a block."""

STATISTICS, MOMENTS = 7, 9
"""Fields of the Footer and of ColumnStatistics."""

LIMIT_MS = (2**63 - 1) // 1_000_000
"""Milliseconds from 1970 that nanoseconds in 64 bits reach: until April 2262."""


def check_moments(file: IO[bytes], compression: str) -> None:
    """Look at a file's statistics.

    Parameters
    ----------
    compression
        As Arrow names it.

    Raises
    ------
    Unreadable
        A moment is out of reach, or the footer is packed in a way of which nobody knows.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - TAIL_BYTES))
    tail = file.read(TAIL_BYTES)
    length = tail[-1]
    script = dict(fields(tail[-1 - length : -1]))
    footer_bytes = script.get(FOOTER, 0)
    file.seek(size - 1 - length - int(footer_bytes))
    footer = file.read(int(footer_bytes))
    for number, value in fields(unpacked(footer, compression.lower())):
        if number != STATISTICS or not isinstance(value, bytes):
            continue
        for kind, moments in fields(value):
            if kind != MOMENTS or not isinstance(moments, bytes):
                continue
            # Least and greatest, in local time and in UTC: signed, in zigzag.
            ends = [(one >> 1) ^ -(one & 1) for _, one in fields(moments) if isinstance(one, int)]
            if any(abs(end) > LIMIT_MS for end in ends):
                raise Unreadable(
                    "it holds moments before 1677 or after 2262, which can't be read from ORC: "
                    "write it as Parquet"
                )


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer's message: numbers, and bytes where they have a length."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
        elif tag & 7 == 2:
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        else:
            at += 8 if tag & 7 == 1 else 4


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def unpacked(body: bytes, compression: str) -> bytes:
    """A stream of compressed blocks, each with a header of three bytes (ORC specification v1,
    *Compression*).

    Raises
    ------
    Unreadable
        Nobody knows the codec.
    """
    if compression == "uncompressed":
        return body
    if compression not in CODECS:
        raise Unreadable(f"its moments can't be looked at within {compression}: pack it otherwise")
    found, at = b"", 0
    while at + 3 <= len(body):
        header = int.from_bytes(body[at : at + 3], "little")
        block = body[at + 3 : at + 3 + (header >> 1)]
        found += block if header & 1 else CODECS[compression](block)
        at += 3 + (header >> 1)
    return found


def _zlib(block: bytes) -> bytes:
    return zlib.decompress(block, wbits=-15)


def _snappy(block: bytes) -> bytes:
    from cramjam import snappy

    return bytes(snappy.decompress_raw(block))


def _zstd(block: bytes) -> bytes:
    import backports.zstd as zstd

    return zstd.decompress(block)


def _lz4(block: bytes) -> bytes:
    import lz4.block

    found: bytes = lz4.block.decompress(block, uncompressed_size=MAX_BLOCK_BYTES)
    return found


MAX_BLOCK_BYTES = 8 * 1024 * 1024
"""ORC's writers make blocks of 64 or 256 KB."""

CODECS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": _zlib,
    "snappy": _snappy,
    "zstd": _zstd,
    "lz4": _lz4,
}
"""As Arrow names them."""
