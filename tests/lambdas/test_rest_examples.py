"""Each REST example, as the operator would hand it to its function, against a server of its kind."""

from __future__ import annotations

import gzip
import json
import re
import uuid
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from weir.api.v1alpha1.datasource import DataSource
from weir.blueprint import rest
from weir.blueprint.config import source_secrets, stated_contract
from weir_contract.manifest import manifest_key
from weir_contract.sources import SourceConfig

EXAMPLES = Path(__file__).parents[2] / "examples" / "rest"
HOST = re.compile(r"https://[a-z]+\.example\.com")

Rows = list[dict[str, Any]]


def documents() -> dict[str, Any]:
    """The DataSources of the folder by name."""
    files = sorted(EXAMPLES.glob("*.yaml"))
    found = [one for file in files for one in yaml.safe_load_all(file.read_text())]
    return {one["metadata"]["name"]: one for one in found}


def ok(body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json", **headers}, json.dumps(body).encode()


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
}


@dataclass
class Landed:
    """What a landing of an example came to."""

    rows: Rows
    calls: list[Any]
    refresh_token: str


@pytest.fixture
def land(api: Any, aws: Any, source: Any, lander: Any) -> Iterator[Callable[[str], Landed]]:
    secrets, made = aws("secretsmanager"), list[str]()

    def run(name: str) -> Landed:
        text = HOST.sub(api.url, yaml.safe_dump(documents()[name]))
        document = yaml.safe_load(text)
        document["metadata"]["namespace"] = "shop"
        written = DataSource.model_validate(document)
        spec = written.spec.source.rest_api
        assert spec is not None and list(rest.faults(spec)) == []
        ids = {}
        for ref in {ref.name for ref in source_secrets(written)}:
            ids[ref] = f"{ref}-{uuid.uuid4().hex[:8]}"
            made.append(ids[ref])
            secrets.create_secret(Name=ids[ref], SecretString=SECRETS[ref]())
        config: SourceConfig = source(
            rest.rest_api(spec), secrets=ids, contract=stated_contract(written, {})
        )
        api.answer = answering(Server(api.url), name.replace("-", "_"))
        landing = lander(config).land("run-1", "2026-03-01T12:00:00Z", None)
        assert landing.complete
        kept = (
            json.loads(secrets.get_secret_value(SecretId=ids["books"])["SecretString"])[
                "refresh_token"
            ]
            if "books" in ids
            else ""
        )
        return Landed(rows_of(aws("s3"), config, landing.sequence), api.calls, kept)

    yield run
    for name in made:
        secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def answering(server: Server, name: str) -> Callable[[Any, Any], Any]:
    """The server's answers; a request that it can't take is told to the client, and so to us."""

    def answer(call: Any, _http: Any) -> Any:
        try:
            return getattr(server, name)(call)
        except (AssertionError, KeyError) as wrong:
            return 400, {}, json.dumps({"error": repr(wrong)}).encode()

    return answer


def rows_of(s3: Any, config: SourceConfig, last: int) -> Rows:
    """The rows of committed manifests, in order."""
    rows: Rows = []
    for sequence in range(1, last + 1):
        key = manifest_key(config.id, sequence)
        found = s3.get_object(Bucket=config.raw_bucket, Key=key)["Body"].read()
        for part in json.loads(found)["parts"]:
            body = s3.get_object(Bucket=config.raw_bucket, Key=part["key"])["Body"].read()
            rows += [json.loads(line) for line in gzip.decompress(body).splitlines()]
    return rows


@pytest.mark.parametrize("name", WANTED)
def test_an_example_lands_every_row(land: Callable[[str], Landed], name: str) -> None:
    landed = land(name)
    assert landed.rows == WANTED[name]
    if name == "invoices":
        assert landed.refresh_token == "refresh-1"


def test_an_example_with_windows_asks_for_each_week_once(land: Callable[[str], Landed]) -> None:
    landed = land("events")
    starts = sorted({call.query["from"] for call in landed.calls})
    ends = sorted({call.query["to"] for call in landed.calls})
    assert starts[0] == "2025-01-01T00:00:00Z" and starts[1:] == ends[:-1]
    assert len(landed.rows) == 2 * len(starts) == len(landed.calls) == 122


def test_every_example_is_read_here() -> None:
    assert set(documents()) == {*WANTED, "events"}
