"""Compressed files and archives as plain streams, within bounds on what they unfold to."""

from __future__ import annotations

import bz2
import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol

from weir_contract.sources import Compression

MAX_RATIO = 1000
"""Times its packed size that a file may unfold to; deflate reaches 1032 on zeros, data stays far below."""

RATIO_FREE_BYTES = 16 * 1024 * 1024
"""Unpacked bytes below which the ratio is not looked at."""

MAX_MEMBERS = 10_000
CHUNK = 1024 * 1024


class Unreadable(Exception):
    """A file that can't be read as what it is said to be. The text is for people, without content."""


class Bytes(Protocol):
    """A file that can be streamed, and jumped about in where its format needs it."""

    @property
    def failed(self) -> BaseException | None:
        """What kept its bytes from being read, if anything did."""

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """Its content in order, from one of its bytes on."""

    def seekable(self) -> io.BufferedReader:
        """Its content as a file object."""


@dataclass(frozen=True)
class Unpacked:
    """The stream of a file that is not packed, which can be jumped about in as well."""

    chunks: Iterator[bytes]
    seekable: Callable[[], io.BufferedReader]

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks


@dataclass(frozen=True)
class Plain:
    """One unpacked stream.

    Parameters
    ----------
    member
        Its name within an archive, empty where there is none.
    jump
        Gives the stream from one of its bytes on; None where all before has to be unpacked.
    """

    member: str
    chunks: Iterable[bytes]
    jump: Callable[[int], Iterable[bytes]] | None = None


MAGIC: tuple[tuple[bytes, Compression], ...] = (
    (rb"\x1f\x8b", "gzip"),
    (rb"PK(?:\x03\x04|\x05\x06)", "zip"),
    (rb"7z\xbc\xaf\x27\x1c", "7z"),
    (rb"BZh[1-9]", "bz2"),
    (rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", "zstd"),
)
"""First bytes -> compression (RFC 1952, APPNOTE.TXT 4.3.7 and 4.3.16, bzip2, RFC 8878: a stream may
begin with a frame that is skipped)."""


def sniff(head: bytes) -> Compression:
    """The compression that the first bytes show; ``none`` where they show none."""
    return next((kind for magic, kind in MAGIC if re.match(magic, head)), "none")


def unpack(
    source: Bytes, compression: Compression, max_bytes: int, password: str | None = None
) -> Iterator[Plain]:
    """The plain streams of a file: one, or each member of an archive in its order.

    Parameters
    ----------
    compression
        ``auto`` goes by the first bytes.
    max_bytes
        The most that all of them together may unfold to.
    password
        Of an encrypted archive.

    Raises
    ------
    Unreadable
        It is damaged, encrypted, or unfolds to too much. Also from the streams, while they are read.
    """
    chunks = source.chunks()
    first = next(chunks, b"")
    while len(first) < 4 and (following := next(chunks, b"")):
        first += following
    kind = sniff(first) if compression == "auto" else compression
    if kind == "zip":
        yield from _members(source, max_bytes, password)
        return
    if kind == "7z":
        yield from _seven(source, max_bytes, password)
        return
    guard = Guard(max_bytes)
    packed = guard.counting(_prepend(first, chunks))
    plain = guard.bounded(STREAMS[kind](packed))
    if kind == "none":
        # The bytes are there already: there is no bomb to guard against.
        yield Plain("", Unpacked(plain, source.seekable), source.chunks)
    else:
        yield Plain("", plain)


def unpack_member(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """The plain stream of an archive's member that may be packed itself, by its first bytes.

    Raises
    ------
    Unreadable
        It is an archive, is damaged, or unfolds to too much.
    """
    rest = iter(chunks)
    first = next(rest, b"")
    while len(first) < 8 and (following := next(rest, b"")):
        first += following
    kind = sniff(first)
    if kind not in STREAMS:
        raise Unreadable("an archive within an archive is not opened: send what is in it")
    guard = Guard(max_bytes)
    return guard.bounded(STREAMS[kind](guard.counting(_prepend(first, rest))))


@dataclass
class Guard:
    """Counts what goes in and comes out, and stops a bomb before it fills memory or disk."""

    max_bytes: int
    packed: int = 0
    plain: int = 0

    def counting(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Count packed bytes."""
        for chunk in chunks:
            self.packed += len(chunk)
            yield chunk

    def bounded(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass unpacked bytes on while they are within bounds."""
        for chunk in chunks:
            self.plain += len(chunk)
            if self.plain > self.max_bytes:
                raise Unreadable(f"it unfolds to more than {self.max_bytes} bytes (maxBytes)")
            if self.plain > RATIO_FREE_BYTES and self.plain > MAX_RATIO * max(self.packed, 1):
                raise Unreadable(f"it unfolds to more than {MAX_RATIO} times its size")
            yield chunk


def _prepend(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _plain(packed: Iterator[bytes]) -> Iterator[bytes]:
    return packed


def _gzip(packed: Iterator[bytes]) -> Iterator[bytes]:
    """All members of a gzip file one after another (RFC 1952, section 2.2)."""
    inflate, begun = zlib.decompressobj(wbits=31), False
    try:
        for chunk in packed:
            data = chunk
            while data:
                begun = True
                plain = inflate.decompress(data, CHUNK * 8)
                if plain:
                    yield plain
                data = inflate.unconsumed_tail
                if inflate.eof:
                    data = inflate.unused_data
                    if not data.strip(b"\0"):
                        # Padding after the last member, as tapes and some tools leave it.
                        data = b""
                    inflate, begun = zlib.decompressobj(wbits=31), bool(data)
        if begun:
            raise Unreadable("the gzip stream ends too early: the upload was cut off")
    except zlib.error as error:
        raise Unreadable("the gzip stream is damaged") from error


class Inflater(Protocol):
    """One compressed stream, as :mod:`bz2` and :mod:`backports.zstd` have it."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out before more is fed."""

    @property
    def unused_data(self) -> bytes:
        """What came after the stream's end."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Feed bytes and take at most so many out."""


def _frames(
    packed: Iterator[bytes], new: Callable[[], Inflater], fault: type[Exception], name: str
) -> Iterator[bytes]:
    """Compressed streams one after another, never more than a bounded piece at a time."""
    inflate, begun = new(), False
    try:
        for chunk in packed:
            data = chunk
            while data or (begun and not inflate.needs_input):
                begun = True
                plain = inflate.decompress(data, CHUNK * 8)
                data = b""
                if plain:
                    yield plain
                if inflate.eof:
                    data = inflate.unused_data
                    inflate, begun = new(), False
    except fault as error:
        raise Unreadable(f"the {name} stream is damaged") from error
    if begun:
        raise Unreadable(f"the {name} stream ends too early: the upload was cut off")


def _bz2(packed: Iterator[bytes]) -> Iterator[bytes]:
    return _frames(packed, bz2.BZ2Decompressor, OSError, "bzip2")


def _zstd(packed: Iterator[bytes]) -> Iterator[bytes]:
    import backports.zstd as zstd

    # A larger window asks the reader for memory that no honest file needs (RFC 8878, 3.1.1.1.2).
    options = {int(zstd.DecompressionParameter.window_log_max): 27}
    return _frames(packed, lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError, "zstd")


class _Pulled(io.RawIOBase):
    """An iterator of bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


STREAMS: dict[str, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
    "none": _plain,
    "gzip": _gzip,
    "bz2": _bz2,
    "zstd": _zstd,
}
"""Compression -> its stream decoder; ``zip`` is an archive and needs to jump about."""


def as_file(chunks: Iterable[bytes]) -> io.BufferedReader:
    """A stream as a file object that is read forwards."""
    return io.BufferedReader(_Pulled(iter(chunks)), CHUNK)


def _members(source: Bytes, max_bytes: int, password: str | None) -> Iterator[Plain]:
    try:
        archive = _zip(source.seekable(), password)
    except Exception as error:
        raise Unreadable("the zip archive is damaged or ends too early") from error
    with archive:
        members = [one for one in archive.infolist() if not one.is_dir() and not _litter(one)]
        if len(members) > MAX_MEMBERS:
            raise Unreadable(f"the archive has {len(members)} members, more than {MAX_MEMBERS}")
        guard = Guard(max_bytes)
        for member in members:
            if member.flag_bits & ENCRYPTED and password is None:
                raise Unreadable(
                    f"{member.filename!r} in the archive is encrypted, and no password is stated"
                )
            yield Plain(member.filename, guard.bounded(_member(archive, member, guard)))


ENCRYPTED = 0x1
"""General purpose bit 0 of a member (APPNOTE.TXT 4.4.4)."""


def _zip(file: IO[bytes], password: str | None) -> zipfile.ZipFile:
    """An archive; one with a password may be encrypted by AES, which the standard library lacks."""
    if password is None:
        return zipfile.ZipFile(file)
    import pyzipper

    archive: zipfile.ZipFile = pyzipper.AESZipFile(file)
    archive.setpassword(password.encode())
    return archive


def _seven(source: Bytes, max_bytes: int, password: str | None) -> Iterator[Plain]:
    """Members of a 7z archive: packed together, so that they are unpacked together, in memory."""
    import lzma

    import py7zr
    from py7zr.io import BytesIOFactory

    try:
        with py7zr.SevenZipFile(
            source.seekable(), password=password, max_extract_size=min(max_bytes, SEVEN_BYTES)
        ) as archive:
            names = [one.filename for one in archive.list() if not one.is_directory]
            if len(names) > MAX_MEMBERS:
                raise Unreadable(f"the archive has {len(names)} members, more than {MAX_MEMBERS}")
            factory = BytesIOFactory(SEVEN_BYTES)
            archive.extract(targets=names, factory=factory)
    except py7zr.PasswordRequired as error:
        raise Unreadable("the 7z archive is encrypted, and no password is stated") from error
    except py7zr.DecompressionBombError as error:
        raise Unreadable(f"it unfolds to more than {min(max_bytes, SEVEN_BYTES)} bytes") from error
    except (py7zr.exceptions.ArchiveError, lzma.LZMAError, EOFError, ValueError, OSError) as error:
        raise Unreadable("the 7z archive is damaged, or its password is another") from error
    members: dict[str, Any] = factory.products
    for name in names:
        body = members.pop(name)
        body.seek(0)
        yield Plain(name, [body.read()])


SEVEN_BYTES = (int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048")) << 20) // 4
"""The most that a 7z archive may unfold to: it is held in memory, each member twice for a while. A
function has its memory's size in MB in that variable (Lambda Developer Guide)."""


def _litter(member: zipfile.ZipInfo) -> bool:
    """What macOS and Windows put beside the files that people meant."""
    name = member.filename.rpartition("/")[2]
    return member.filename.startswith("__MACOSX/") or name in (".DS_Store", "Thumbs.db")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, guard: Guard) -> Iterator[bytes]:
    guard.packed += member.compress_size
    try:
        with archive.open(member) as stream:
            while chunk := stream.read(CHUNK * 8):
                yield chunk
    except NotImplementedError as error:
        raise Unreadable("it is packed in a way that nobody reads") from error
    except RuntimeError as error:  # what both zip libraries raise for a wrong password
        raise Unreadable("the stated password does not open it") from error
    except Exception as error:
        other = ", or its password is another" if member.flag_bits & ENCRYPTED else ""
        raise Unreadable(f"it is damaged{other}") from error
