"""A real HTTP server whose answers a test chooses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

JSON = "application/json"
CHUNK = 65_536


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. ``endless`` repeats the body until the client hangs up."""

    status: int
    body: bytes
    kind: str = JSON
    endless: bool = False

    @classmethod
    def rows(cls, rows: Sequence[Mapping[str, Any]]) -> Answer:
        return cls(200, json.dumps(rows).encode())


Route = Callable[[Mapping[str, str], Mapping[str, str]], Answer]
"""Query parameters and headers (names in lower case) -> what is answered."""


@dataclass
class Paged:
    """Rows in pages, for whoever sends the key."""

    rows: Sequence[Mapping[str, Any]]
    key: str

    def __call__(self, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        if headers.get("authorization") != self.key:
            return Answer(401, b'{"error": "send the key in Authorization"}')
        page, size = int(query.get("page", "1")), int(query.get("per_page", "2"))
        shown = self.rows[(page - 1) * size : page * size]
        pages = -(-len(self.rows) // size)
        body = {"data": shown, "page": page, "pages": pages}
        return Answer(200, json.dumps(body).encode())


@dataclass
class SourceServer:
    """Serves ``routes`` on loopback; ``asked`` counts the requests of each path.

    Assigning to ``routes[path]`` changes what the next request gets.
    """

    routes: dict[str, Route] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    port: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def serve(self, path: str, answer: Answer | Route) -> str:
        """Answer ``path`` so from now on. Returns its URL."""
        self.routes[path] = (lambda *_: answer) if isinstance(answer, Answer) else answer
        return self.url(path)

    def rows(self, path: str, rows: Sequence[Mapping[str, Any]]) -> str:
        """Answer ``path`` with these rows from now on. Returns its URL."""
        return self.serve(path, Answer.rows(rows))


@contextmanager
def serving() -> Iterator[SourceServer]:
    """A server for as long as the block runs."""
    source = SourceServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            source.asked[url.path] = source.asked.get(url.path, 0) + 1
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            route = source.routes.get(url.path)
            answer = route(query, headers) if route else Answer(404, b'{"error": "no such path"}')
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            if not answer.endless:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            try:
                self.wfile.write(answer.body)
                while answer.endless:
                    self.wfile.write(answer.body)
            except OSError:
                # The client has had enough: what an endless answer is there to see.
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Tests read what arrives, not what was asked."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    source.port = int(server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield source
    finally:
        server.shutdown()
        server.server_close()
