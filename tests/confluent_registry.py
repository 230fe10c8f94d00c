"""A schema registry with Confluent's HTTP API on loopback, for tests.

Confluent documentation, "Schema Registry API Reference": subjects, versions, schemas by id.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

CONTENT = "application/vnd.schemaregistry.v1+json"
MAGIC = 0

Answer = tuple[int, Any]


class Registry:
    """The registry: schemas by id, subjects, and what it was asked.

    ``with Registry() as registry: number = registry.register("orders-value", schema)``
    """

    def __init__(self, user: str = "registry", password: str = "letmein") -> None:
        """:param user: for HTTP Basic authentication, always wanted
        :param password: the user's
        """
        self.user = user
        self.password = password
        self.schemas: dict[int, dict[str, Any]] = {}
        self.subjects: dict[str, list[int]] = {}
        self.asked: list[str] = []
        """Paths of the requests, in order."""
        self.failures: list[int] = []
        """Statuses that the next requests get instead of an answer."""
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def register(
        self,
        subject: str,
        schema: str,
        kind: str = "AVRO",
        references: list[dict[str, Any]] | None = None,
    ) -> int:
        """Register a schema under a subject; its id, the same for the same schema.

        :param kind: AVRO, JSON or PROTOBUF
        :param references: name, subject and version of each schema that it refers to
        """
        wanted = {"schema": schema, "schemaType": kind, "references": references or []}
        with self.lock:
            known = next((n for n, each in self.schemas.items() if each == wanted), None)
            number = known or len(self.schemas) + 1
            self.schemas[number] = wanted
            versions = self.subjects.setdefault(subject, [])
            if number not in versions:
                versions.append(number)
            return number

    def framed(self, number: int, payload: bytes) -> bytes:
        """A payload in Confluent's wire format: a zero byte, the schema's id, the payload."""
        return struct.pack(">bI", MAGIC, number) + payload

    def get(self, path: str) -> Answer:
        """Answer a GET."""
        for pattern, answer in ROUTES:
            match = pattern.fullmatch(path)
            if match:
                return answer(self, *match.groups())
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def by_id(self, number: str) -> Answer:
        """A schema by its id; an Avro schema has no type in the answer, as Confluent's."""
        found = self.schemas.get(int(number))
        if found is None:
            return 404, {"error_code": 40403, "message": f"Schema {number} not found"}
        told = {name: value for name, value in found.items() if value}
        return 200, {k: v for k, v in told.items() if (k, v) != ("schemaType", "AVRO")}

    def version(self, subject: str, version: str) -> Answer:
        """A version of a subject, or the latest."""
        numbers = self.subjects.get(subject)
        if not numbers:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        index = len(numbers) if version == "latest" else int(version)
        if not 0 < index <= len(numbers):
            return 404, {"error_code": 40402, "message": f"Version {version} not found."}
        number = numbers[index - 1]
        _, schema = self.by_id(str(number))
        return 200, {"subject": subject, "version": index, "id": number, **schema}


ROUTES: list[tuple[re.Pattern[str], Callable[..., Answer]]] = [
    (re.compile(r"/schemas/ids/(\d+)"), Registry.by_id),
    (re.compile(r"/subjects/([^/]+)/versions/(\d+|latest)"), Registry.version),
    (re.compile(r"/subjects"), lambda registry: (200, sorted(registry.subjects))),
    (
        re.compile(r"/subjects/([^/]+)/versions"),
        lambda registry, subject: (
            200,
            list(range(1, len(registry.subjects.get(subject, [])) + 1)),
        ),
    ),
]


def handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    """The HTTP handler of a registry."""

    class Handler(BaseHTTPRequestHandler):
        def reply(self, status: int, answer: Any) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", CONTENT)
            self.send_header("Content-Length", str(len(body)))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="registry"')
            self.end_headers()
            self.wfile.write(body)

        def refused(self) -> bool:
            registry.asked.append(self.path)
            text = f"{registry.user}:{registry.password}".encode()
            if registry.failures:
                self.reply(registry.failures.pop(0), {"error_code": 50001, "message": "failed"})
                return True
            if self.headers.get("Authorization") != f"Basic {base64.b64encode(text).decode()}":
                self.reply(401, {"error_code": 401, "message": "Unauthorized"})
                return True
            return False

        def do_GET(self) -> None:
            if not self.refused():
                self.reply(*registry.get(self.path.partition("?")[0]))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.refused():
                return
            match = re.fullmatch(r"/subjects/([^/]+)/versions", self.path)
            if match is None:
                self.reply(404, {"error_code": 404, "message": "HTTP 404 Not Found"})
                return
            given = json.loads(body)
            kind = given.get("schemaType", "AVRO")
            number = registry.register(
                match.group(1), given["schema"], kind, given.get("references")
            )
            self.reply(200, {"id": number})

        def log_message(self, *_: object) -> None:
            """Nothing on the console."""

    return Handler
