"""The REST examples, and for each a server of its kind."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

EXAMPLES = Path(__file__).parents[1] / "examples"
FOLDERS = ("rest", "paginators")
HOST = re.compile(r"https://[a-z]+\.example\.com")

Rows = list[dict[str, Any]]


def documents() -> dict[str, Any]:
    """The DataSources of the folders by name."""
    files = sorted(file for folder in FOLDERS for file in (EXAMPLES / folder).glob("*.yaml"))
    found = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    return {one["metadata"]["name"]: one for one in found}


def ok(body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()


NAMED: Rows = [{"id": n, "name": f"item {n}"} for n in range(3)]
MANY: Rows = [{"id": n, "name": f"item {n}"} for n in range(600)]
FOUND: Rows = [
    {"id": n, "title": f"item {n}", "updatedAt": "2025-03-01T00:00:00Z"} for n in range(300)
]


@dataclass
class Server:
    """Answers as the APIs of the examples are said to; what is wrong with a request is a 400."""

    url: str
    asked: int = 0

    def contacts(self, call: Any) -> Any:
        if call.path == "/oauth/token":
            form = parse_qs(call.body.decode())
            basic = call.headers.get("Authorization", "").removeprefix("Basic ")
            given = b64decode(basic).decode() if basic else ""
            sent = given or f"{form['client_id'][0]}:{form['client_secret'][0]}"
            assert (sent, form["scope"]) == ("weir:pass-word", ["contacts.read"])
            return ok({"access_token": "token-1", "expires_in": 3600})
        assert call.headers["Authorization"] == "Bearer token-1"
        if call.query.get("page") == "2":
            return ok({"data": [{"id": 3}], "links": {"next": None}})
        following = f"{self.url}/v1/contacts?page=2"
        return ok({"data": [{"id": 1}, {"id": 2}], "links": {"next": following}})

    def invoices(self, call: Any) -> Any:
        if call.path == "/oauth/token":
            form = parse_qs(call.body.decode())
            assert form["grant_type"] == ["refresh_token"]
            assert form["refresh_token"] == ["refresh-0"]
            return ok({"access_token": "token-2", "refresh_token": "refresh-1"})
        assert call.headers["Authorization"] == "Bearer token-2"
        return ok([{"id": 7}])

    def order_lines(self, call: Any) -> Any:
        assert call.headers["Authorization"] == "Bearer shop-token"
        if call.path == "/v1/orders":
            assert call.query["state"] == "open"
            first = [
                {"id": 1, "lineCount": 2, "customer": {"id": 90}},
                {"id": 2, "lineCount": 0, "customer": {"id": 91}},
            ]
            if "after" not in call.query:
                return ok({"data": first, "next": "more"})
            last = [{"id": 3, "lineCount": 1, "customer": {"id": 92}}]
            return ok({"data": last, "next": None})
        if call.path == "/v1/orders/1/lines":
            return ok([{"sku": "a"}, {"sku": "b"}])
        assert call.path == "/v1/orders/3/lines", "an order without lines was asked for"
        return 404, {}, b"{}"

    def report(self, call: Any) -> Any:
        if call.path == "/token":
            assert parse_qs(call.body.decode())["assertion"][0].count(".") == 2
            return ok({"access_token": "token-3", "expires_in": 600})
        assert call.headers["Authorization"] == "Bearer token-3"
        if call.method == "POST":
            assert json.loads(call.body) == {"report": "daily", "format": "csv.gz"}
            return ok({"id": "e1"})
        if call.path == "/v3/exports/e1":
            self.asked += 1
            if self.asked == 1:
                return ok({"state": "RUNNING"})
            return ok({"state": "DONE", "result": {"url": f"{self.url}/v3/files/e1"}})
        body = gzip.compress(b"ad;clicks\nspring;12\nautumn;7\n")
        return 200, {"Content-Type": "application/gzip"}, body

    def tickets(self, call: Any) -> Any:
        if call.path == "/api/login":
            assert json.loads(call.body) == {"user": "ann", "password": "pass-word"}
            return ok({"session": {"token": "session-1"}})
        assert "session-1" in "".join(call.headers.values())
        body = json.loads(call.body)
        assert body["filter"] == {"updatedSince": "2025-01-01T00:00:00Z"}
        page = body["page"].get("after", "")
        hits = [{"document": {"id": f"{page or 'first'}", "updatedAt": "2025-03-01T00:00:00Z"}}]
        return ok({"hits": hits, "next": {"": "second", "second": None}[page]})

    def agents(self, call: Any) -> Any:
        assert call.headers["Authorization"] == "Bearer desk-token"
        if call.query.get("page") == "2":
            return ok([{"id": "b"}])
        return ok([{"id": "a"}], Link=f'<{self.url}/api/agents?page=2>; rel="next"')

    def events(self, call: Any) -> Any:
        assert call.headers["X-Api-Key"] == "events-key"
        start, end = call.query["from"], call.query["to"]
        assert start < end and call.query["per_page"] == "500"
        page = int(call.query["page"])
        return ok({"data": [{"at": page, "occurredAt": start}], "meta": {"pages": 2}})

    def cursor_header(self, call: Any) -> Any:
        assert call.headers["Authorization"] == "Bearer of-cursor-header"
        if call.query.get("token") == "t2":
            return ok({"data": NAMED[2:]})
        return ok({"data": NAMED[:2]}, **{"X-Next-Token": "t2"})

    def cursor(self, call: Any) -> Any:
        assert call.headers["Authorization"] == "Bearer of-cursor"
        assert call.query["limit"] == "100"
        if call.query.get("starting_after") == "c2":
            return ok({"data": NAMED[2:], "meta": {"next": None}})
        return ok({"data": NAMED[:2], "meta": {"next": "c2"}})

    def link_header(self, call: Any) -> Any:
        assert call.headers["Authorization"] == "Bearer of-link-header"
        if call.query.get("page") == "2":
            return ok(NAMED[2:])
        assert call.query["per_page"] == "100"
        return ok(NAMED[:2], Link=f'<{self.url}/items?page=2>; rel="next"')

    def link(self, call: Any) -> Any:
        assert call.headers["Authorization"] == "Bearer of-link"
        if call.query.get("skip") == "2":
            return ok({"value": NAMED[2:]})
        return ok({"value": NAMED[:2], "@odata.nextLink": f"{self.url}/items?skip=2"})

    def offset(self, call: Any) -> Any:
        assert call.headers["Authorization"] == "Bearer of-offset"
        start, size = int(call.query["offset"]), int(call.query["limit"])
        assert size == 500
        return ok({"rows": MANY[start : start + size], "total": len(MANY)})

    def page_number(self, call: Any) -> Any:
        assert call.headers["Authorization"] == "Bearer of-page-number"
        page, size = int(call.query["page"]), int(call.query["per_page"])
        assert size == 200
        return ok({"items": MANY[(page - 1) * size : page * size], "totals": {"pages": 3}})

    def post(self, call: Any) -> Any:
        assert (call.method, call.headers["Authorization"]) == ("POST", "Bearer of-search")
        body = json.loads(call.body)
        assert (body["query"], body["fields"]) == ("state:open", ["id", "title", "updatedAt"])
        assert call.query["updated_since"] == "2025-01-01T00:00:00Z"
        start, size = int(call.query["offset"]), int(call.query["limit"])
        return ok({"data": {"items": FOUND[start : start + size]}})

    def single(self, call: Any) -> Any:
        assert call.headers["Authorization"] == "Bearer of-single"
        return ok({"items": NAMED})


def pem() -> str:
    """A private key of the test's own."""
    key = rsa.generate_private_key(65537, 2048)
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, plain).decode()


SECRETS: dict[str, Callable[[], str]] = {
    "crm": lambda: json.dumps({"clientId": "weir", "clientSecret": "pass-word"}),
    "books": lambda: json.dumps(
        {"clientId": "weir", "clientSecret": "pass-word", "refresh_token": "refresh-0"}
    ),
    "shop": lambda: "shop-token",
    "ads": lambda: json.dumps({"privateKey": pem()}),
    "desk": lambda: json.dumps({"user": "ann", "password": "pass-word", "token": "desk-token"}),
    "events": lambda: "events-key",
    "search": lambda: json.dumps({"token": "of-search"}),
    **{
        name: lambda name=name: f"of-{name}"  # type: ignore[misc]
        for name in (
            "cursor-header",
            "cursor",
            "link-header",
            "link",
            "offset",
            "page-number",
            "single",
        )
    },
}

WANTED: dict[str, Rows] = {
    "contacts": [{"id": 1}, {"id": 2}, {"id": 3}],
    "invoices": [{"id": 7}],
    "order-lines": [
        {"sku": "a", "orderId": 1, "customerId": 90},
        {"sku": "b", "orderId": 1, "customerId": 90},
    ],
    "report": [{"ad": "spring", "clicks": "12"}, {"ad": "autumn", "clicks": "7"}],
    "tickets": [
        {"id": "first", "updatedAt": "2025-03-01T00:00:00Z"},
        {"id": "second", "updatedAt": "2025-03-01T00:00:00Z"},
    ],
    "agents": [{"id": "a"}, {"id": "b"}],
    **dict.fromkeys(("cursor-header", "cursor", "link-header", "link", "single"), NAMED),
    **dict.fromkeys(("offset", "page-number"), MANY),
    "post": FOUND,
}


def at(url: str, name: str) -> dict[str, Any]:
    """An example whose hosts are all this server."""
    found: dict[str, Any] = yaml.safe_load(HOST.sub(url, yaml.safe_dump(documents()[name])))
    return found


def answering(server: Server, name: str) -> Callable[[Any, Any], Any]:
    """The server's answers; a request that it can't take is told to the client, and so to us."""

    def answer(call: Any, _http: Any) -> Any:
        try:
            return getattr(server, name)(call)
        except (AssertionError, KeyError) as wrong:
            return 400, {}, json.dumps({"error": repr(wrong)}).encode()

    return answer
