"""/metrics, /healthz and /readyz, and what they mean."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Check = Callable[[], str]
"""Says what is wrong, or nothing."""


class Heartbeat:
    """A sign of life that must come again within ``limit`` seconds."""

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._last: float | None = None

    def beat(self) -> None:
        """Still alive."""
        self._last = self._clock()

    def late(self) -> bool:
        """Whether it was alive once and has not been heard of for too long."""
        return self._last is not None and self._clock() - self._last > self._limit


class HealthServer:
    """Serves metrics and health.

    Parameters
    ----------
    live, ready
        Name -> check. All of ``live`` must be fine for /healthz, all of both for /readyz.
    role
        What the replica is at the moment, for people: ``standby``, or which Platforms it holds.
    """

    def __init__(
        self,
        bind: str,
        port: int,
        registry: CollectorRegistry,
        live: Mapping[str, Check],
        ready: Mapping[str, Check],
        role: Callable[[], str] = lambda: "holder",
    ) -> None:
        pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(registry)),
            "/healthz": lambda: _report(live, role()),
            "/readyz": lambda: _report({**live, **ready}, role()),
        }

        class Handler(BaseHTTPRequestHandler):
            """Answers GET on the three pages."""

            def do_GET(self) -> None:
                """One answer."""
                page = pages.get(self.path.partition("?")[0])
                code, kind, body = page() if page else (404, "text/plain", b"not found\n")
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Probes are no news."""

        self._server = ThreadingHTTPServer((bind, port), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def _report(checks: Mapping[str, Check], role: str) -> tuple[int, str, bytes]:
    faults = {name: fault for name, check in checks.items() if (fault := check())}
    lines = [f"role={role}"]
    lines += [f"{name}: {faults.get(name, 'ok')}" for name in checks]
    text = "\n".join(lines) + "\n"
    return (503 if faults else 200), "text/plain; charset=utf-8", text.encode()
