"""The proxy: on loopback, in a thread of this process or in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from weir_local.aws.server import LOOPBACK, free_port
from weir_local.proxy.exchange import DROPPED, Exchange, Reply, Rule, pass_on
from weir_local.proxy.operations import operation_of
from weir_local.proxy.wire import Broken, Message, read_message, reply_bytes, request_bytes

COUNTS = "/_weir/counts"
"""GET: what was counted, as JSON. DELETE: count from nothing."""
LINE_LIMIT = 1 << 16
IDLE_SECONDS = 30.0
"""A connection to AWS that rested longer is not used again: AWS may be closing it."""
START_SECONDS = 20.0


class _Upstream:
    """One connection to the endpoint, opened when it is needed."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used = 0.0

    async def send(self, message: Message) -> Reply:
        if self._streams is None or time.monotonic() - self._used > IDLE_SECONDS:
            self.close()
            self._streams = await asyncio.open_connection(self._host, self._port, limit=LINE_LIMIT)
        reader, writer = self._streams
        writer.write(request_bytes(message))
        await writer.drain()
        answer: Message | None = None
        while answer is None or answer.first[1] == "100":
            answer = await read_message(reader, bodiless=message.first[0] == "HEAD")
            if answer is None:
                self.close()
                raise Broken("the endpoint closed the connection")
        self._used = time.monotonic()
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return Reply(int(answer.first[1]), answer.headers, answer.body)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Proxy:
    """Counts the AWS calls that go through it, and lets a rule decide about each.

    ``with Proxy(aws.endpoint) as proxy: boto3.client("s3", endpoint_url=proxy.endpoint)``

    :param upstream: the endpoint to which calls go on, ``http://127.0.0.1:4566``
    :param rule: decides about each call; the default passes everything on
    :param port: where it listens on loopback; 0 takes a free one
    """

    def __init__(self, upstream: str, rule: Rule = pass_on, port: int = 0) -> None:
        parts = urlsplit(upstream)
        self._host, self._upstream_port = parts.hostname or LOOPBACK, parts.port or 80
        self.rule = rule
        self.port = port
        self._counts: Counter[tuple[str, str]] = Counter()
        self._number = 0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> str:
        """The URL for ``endpoint_url``."""
        return f"http://{LOOPBACK}:{self.port}"

    def counts(self) -> dict[tuple[str, str], int]:
        """Calls by ``(service, operation)`` since the beginning or the last :meth:`reset`."""
        with self._lock:
            return dict(self._counts)

    @property
    def total(self) -> int:
        """All calls since the beginning or the last :meth:`reset`."""
        with self._lock:
            return self._number

    def reset(self) -> None:
        """Count from nothing."""
        with self._lock:
            self._counts.clear()
            self._number = 0

    def start(self) -> Self:
        """Serve in a thread of this process."""
        begun = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self.serve(begun)), name="aws-proxy", daemon=True
        )
        self._thread.start()
        if not begun.wait(START_SECONDS):
            raise TimeoutError("the proxy did not begin to listen")
        return self

    def stop(self) -> None:
        """End the thread; open connections are closed."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(START_SECONDS)
        self._loop = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def serve(self, begun: threading.Event | None = None) -> None:
        """Serve until :meth:`stop`.

        :param begun: set when it listens
        """
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._accept, LOOPBACK, self.port, limit=LINE_LIMIT)
        self.port = int(server.sockets[0].getsockname()[1])
        if begun is not None:
            begun.set()
        try:
            await self._stopped.wait()
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream = _Upstream(self._host, self._upstream_port)
        try:
            while (message := await read_message(reader, writer)) is not None:
                reply = await self._answer(message, upstream)
                if reply is DROPPED:
                    break
                writer.write(reply_bytes(reply, message.first[0]))
                await writer.drain()
        except (Broken, ConnectionError, OSError, asyncio.CancelledError):
            # One side went away, or the proxy stops: closing is all that a proxy can say.
            return
        finally:
            upstream.close()
            writer.close()
            self._tasks.discard(task)

    async def _answer(self, message: Message, upstream: _Upstream) -> Reply:
        method, target, _ = message.first
        if target.partition("?")[0] == COUNTS:
            return self._told(method)
        headers = message.headers
        service, operation = operation_of(method, target, headers, message.body)
        if not service:
            return await upstream.send(message)
        with self._lock:
            self._number += 1
            self._counts[service, operation] += 1
            number, nth = self._number, self._counts[service, operation]
        exchange = Exchange(number, service, operation, nth, method, target, headers, message.body)
        return await self.rule(exchange, lambda: upstream.send(message))

    def _told(self, method: str) -> Reply:
        if method == "DELETE":
            self.reset()
        calls = {f"{service}:{operation}": n for (service, operation), n in self.counts().items()}
        body = json.dumps({"total": self.total, "calls": dict(sorted(calls.items()))}).encode()
        return Reply(200, {"content-type": "application/json"}, body)


class ProxyProcess:
    """A counting proxy in a process of its own, so that it takes no time from who is measured.

    :param upstream: the endpoint to which calls go on
    :param log: the file for what it prints
    """

    def __init__(self, upstream: str, log: Path) -> None:
        self._upstream, self._log = upstream, log
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The URL for ``endpoint_url``."""
        return f"http://{LOOPBACK}:{self.port}"

    def counts(self) -> dict[tuple[str, str], int]:
        """Calls by ``(service, operation)`` since the beginning or the last :meth:`reset`."""
        found = self._ask("GET")["calls"]
        return {(name.split(":", 1)[0], name.split(":", 1)[1]): n for name, n in found.items()}

    @property
    def total(self) -> int:
        """All calls since the beginning or the last :meth:`reset`."""
        return int(self._ask("GET")["total"])

    def reset(self) -> None:
        """Count from nothing."""
        self._ask("DELETE")

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "weir_local.proxy"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--upstream", self._upstream, "--port", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self._ask("GET")
                return self
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > end:
                    self.stop()
                    raise TimeoutError(f"the proxy did not begin; see {self._log}") from error
                time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ask(self, method: str) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.endpoint}{COUNTS}", method=method)
        with urllib.request.urlopen(request, timeout=5) as reply:
            found: dict[str, Any] = json.load(reply)
        return found
