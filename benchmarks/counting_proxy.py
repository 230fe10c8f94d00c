"""A proxy before AWS that passes everything on and counts the requests.

What counts is what goes over the wire: a client's retries are calls too.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

HEAD_LIMIT = 1 << 20
CHUNK = 1 << 16
SCOPE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request")


def operation_of(method: str, path: str, headers: Mapping[str, str], body: bytes) -> str:
    """``service:Operation`` as far as a request tells.

    JSON protocols say it in X-Amz-Target and the query protocol in ``Action``; REST services get
    the method and the shape of the path (AWS general reference, "Signing AWS requests", for the
    scope that names the service).

    Parameters
    ----------
    headers
        With names in lower case.
    body
        What of it was sent as a form; empty for others.
    """
    scope = SCOPE.search(headers.get("authorization", ""))
    service = scope.group(1) if scope else "?"
    target = headers.get("x-amz-target", "")
    if target:
        return f"{service}:{target.rpartition('.')[2]}"
    action = parse_qs(body.decode("latin-1")).get("Action") if body else None
    if action:
        return f"{service}:{action[0]}"
    parts = urlsplit(path)
    words = [word for word in parts.path.split("/") if word]
    if service == "s3":
        shape = "bucket" if len(words) < 2 else "object"
    else:
        shape = "/".join(words[: 2 if words and words[0][0].isdigit() else 1])
    query = parts.query.split("&")[0].split("=")[0]
    return f"{service}:{method} {shape}{'?' + query if query else ''}"


class CountingProxy:
    """Listens on loopback in a thread of its own, one connection onwards for each that comes.

    Parameters
    ----------
    host, port
        Where AWS is.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._counts: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._done = asyncio.Event()
        self.port = 0

    @property
    def endpoint(self) -> str:
        """The URL that clients are given."""
        return f"http://127.0.0.1:{self.port}"

    def counts(self) -> Counter[str]:
        """Requests so far, by :func:`operation_of`."""
        return Counter(self._counts)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0, limit=HEAD_LIMIT)
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        await self._done.wait()
        server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._upstream, limit=HEAD_LIMIT)
        except OSError:
            writer.close()
            return
        answers = asyncio.ensure_future(_pour(there, writer))
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._request(reader, back)
        back.close()
        await answers

    async def _request(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Pass one request on, head first: a client may wait for 100 Continue before its body."""
        head = await reader.readuntil(b"\r\n\r\n")
        back.write(head)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        form = b""
        if "chunked" in headers.get("transfer-encoding", "").lower():
            await _pass_chunks(reader, back)
        else:
            left = int(headers.get("content-length") or 0)
            is_form = headers.get("content-type", "").startswith("application/x-www-form")
            while left:
                data = await reader.readexactly(min(left, CHUNK))
                left -= len(data)
                form = form + data if is_form else form
                back.write(data)
                await back.drain()
        await back.drain()
        self._counts[operation_of(method, path, headers, form)] += 1


async def _pass_chunks(reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
    while True:
        line = await reader.readuntil(b"\r\n")
        data = await reader.readexactly(int(line.split(b";")[0], 16) + 2)
        back.write(line + data)
        if len(data) == 2:
            return


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
    target.close()
