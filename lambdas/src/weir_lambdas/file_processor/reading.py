"""One object in S3 as a stream: read by ranges side by side, always the version that was meant."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from weir_contract.heap import share_heap
from weir_lambdas.common.aws import error_code
from weir_lambdas.file_processor.unpack import Unreadable

share_heap()  # Before the first thread: blocks that they read are dropped by others.

RANGE_BYTES = 4 * 1024 * 1024
"""Bytes of one request. Several fly at once, so that less than the 8 MB that S3 advises for one does
(S3 User Guide, *Performance guidelines*), and takes less memory."""

AHEAD = 3
"""Ranges asked for before they are needed: bounds memory to so many of them."""

GONE_CODES = {"NoSuchKey", "NoSuchVersion", "404", "NotFound", "PreconditionFailed", "412"}
"""The object was deleted, or overwritten since it was announced."""

ARCHIVED = "InvalidObjectState"
"""The object is in a storage class from which it has to be restored first (S3 API Reference,
*GetObject*)."""


class Superseded(Exception):
    """The object is no longer the one that was announced: overwritten or deleted."""


@dataclass(frozen=True)
class Located:
    """One state of one object. ``etag`` without quotes; ``size`` in bytes; ``again`` is the sequencer of
    S3's event where an earlier state of the object had the same etag."""

    bucket: str
    key: str
    etag: str
    size: int
    version_id: str | None = None
    again: str = ""

    @property
    def uri(self) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"


class S3File:
    """A stream over one state of one object.

    Every request carries ``If-Match``, so that bytes of two states never mix: an object that is
    overwritten while it is read raises :class:`Superseded`. Of a bucket that keeps versions the
    announced version is read, whatever came after.

    Parameters
    ----------
    s3
        An S3 client.
    pool
        Runs requests side by side.
    """

    def __init__(self, s3: Any, located: Located, pool: ThreadPoolExecutor) -> None:
        self._s3, self.located, self._pool = s3, located, pool
        self._hash = hashlib.sha256()
        self._hashed, self._told = 0, ""
        self.failed: BaseException | None = None
        """What kept its bytes from being read, if anything did."""

    @property
    def hashed(self) -> bool:
        """Whether the content's hash is known without reading it again."""
        return bool(self._told) or self._hashed == self.located.size

    def told(self, sha256: str) -> None:
        """S3 has said what the content's hash is, in hex."""
        self._told = sha256

    @property
    def sha256(self) -> str:
        """The content's hash in hex. Reads everything where nobody has yet."""
        if not self.hashed:
            for _ in self.chunks():
                pass
        if not self._told:
            self._told = self._hash.hexdigest()
        return self._told

    def read(self, start: int, end: int) -> bytes:
        """Bytes ``start`` to ``end``, the last one not included.

        Raises
        ------
        Superseded
            The object is another one now.
        Unreadable
            It is archived.
        """
        if start >= end:
            return b""
        located = self.located
        version = {"VersionId": located.version_id} if located.version_id else {}
        try:
            answer = self._s3.get_object(
                Bucket=located.bucket,
                Key=located.key,
                Range=f"bytes={start}-{end - 1}",
                IfMatch=located.etag,
                **version,
            )
            return bytes(answer["Body"].read())
        except ClientError as error:
            self.failed = error
            if error_code(error) in GONE_CODES:
                self.failed = Superseded(located.uri)
            elif error_code(error) == ARCHIVED:
                self.failed = Unreadable(
                    "it is archived (S3 Glacier): restore it, then ask for its window by a PipelineRun"
                )
            raise self.failed from error
        except BaseException as error:
            self.failed = error
            raise

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """The content in order from one of its bytes on, a few ranges ahead of the reader.

        Read from its first byte, it is hashed on the way.
        """
        content = hashlib.sha256()
        self._hash, self._hashed = content, 0
        starts = iter(range(start, self.located.size, RANGE_BYTES))
        alone = self.located.size - start <= RANGE_BYTES
        flying: deque[Future[bytes]] = deque()

        def launch() -> None:
            at = next(starts, None)
            if at is not None:
                end = min(at + RANGE_BYTES, self.located.size)
                if alone:  # Nothing to read ahead of: no other thread has to take it.
                    flying.append(Future())
                    flying[-1].set_result(self.read(at, end))
                else:
                    flying.append(self._pool.submit(self.read, at, end))

        for _ in range(AHEAD):
            launch()
        while flying:
            chunk = flying.popleft().result()
            launch()
            if not start and self._hash is content:  # Not hashed twice where it is read twice.
                content.update(chunk)
                self._hashed += len(chunk)
            yield chunk

    def seekable(self) -> io.BufferedReader:
        """A file object that asks for what is read, for formats that jump about (zip, ORC)."""
        return io.BufferedReader(_Seekable(self), RANGE_BYTES // 4)


class _Seekable(io.RawIOBase):
    def __init__(self, source: S3File) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.located.size}
        self._at = max(0, base[whence] + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._source.located.size)
        data = self._source.read(self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
