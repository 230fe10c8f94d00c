"""What the examples' sources read here: the APIs that they name, and what is put into bucket and topics."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from types import ModuleType
from typing import Any

import yaml

from e2e.running import Object
from http_api import Call, serving
from weir_local.kafka import Broker
from weir_local.stack import ROOT

Rows = list[dict[str, Any]]

HOSTS = re.compile(r"https://[a-z.]+\.example\.com")
AIRPORTS = "http://127.0.0.1:8765"
BROKERS = "broker-1.example.com:9096"

SECRETS = {
    "airports_api_key": "of-the-airports",
    "billing_token": "Bearer of-the-invoices",
    "members": json.dumps({"token": "of-the-members"}),
    "meters_api_key": "of-the-meters",
    "orders": json.dumps({"eu": "Bearer of-the-eu", "us": "Bearer of-the-us"}),
    "pii-key": "a key of the members, long enough",
}

INVOICES: Rows = [
    {"invoiceId": 1, "customer": "Ann", "amount": "10.50"},
    {"invoiceId": 2, "customer": "Bo", "amount": "99999999.99"},
]
GROWN_INVOICES: Rows = [
    {"invoiceId": 2, "customer": "Bo", "amount": "100000000.00", "currency": "EUR"},
    {"invoiceId": 3, "customer": "C" * 100, "amount": "3.00", "currency": "USD"},
]
"""With a field more, an amount of one digit more than its column has, and a name of more letters."""

MEMBERS: Rows = [
    {
        "id": 1,
        "email": " ann@example.org",
        "phone": "+49 30 1234567",
        "passport": "C01X00T47",
        "joinedAt": "2026-01-31T23:30:00Z",
    },
    {"id": 2, "email": None, "phone": "110", "passport": None, "joinedAt": "2026-02-01T08:00:00Z"},
]

READINGS: Rows = [
    {"meter": "a", "readAt": "2026-03-01T00:00:00Z", "kwh": "1.250"},
    {"meter": "b", "readAt": "2026-03-01T00:00:00Z", "kwh": "7.000"},
    {"meter": "a", "readAt": "2026-03-01T00:00:00Z", "kwh": "1.250"},
    {"meter": "a", "readAt": "2026-03-01T00:05:00Z", "kwh": "1.500"},
]
"""One of them twice."""


def order(number: int, amount: str, at: str, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "customer": {"id": 90 + number},
        "totals": [{"amount": amount}],
        "orderedAt": at,
        "lines": [{"sku": "a", "count": number}],
        **more,
    }


ORDERS: dict[str, Rows] = {
    "eu": [
        order(10, "5.00", "2025-01-05T12:00:00Z"),
        order(11, "-2.00", "2025-01-20T12:00:00Z"),
        order(1, "10.50", "2026-03-01T10:00:00Z", shippedOn="02.03.2026"),
        order(2, "-1.00", "2026-03-01T11:00:00Z"),
        order(3, "a lot", "2026-03-01T12:00:00Z"),
        order(4, "4.00", "2026-03-01T13:00:00Z", shippedOn="soon"),
    ],
    "us": [order(1, "1.00", "2026-03-01T10:00:00Z")],
}
"""Amounts below zero break the schema's rule, ``a lot`` is no decimal, ``soon`` no date."""


def answer(call: Call, invoices: Rows) -> tuple[int, dict[str, str], bytes]:
    """As the APIs of the examples answer; whoever has not the credential gets a 401."""
    key, rows = call.headers.get("Authorization"), Rows()
    if call.path == "/v2/invoices" and key == SECRETS["billing_token"]:
        rows = invoices
    elif call.path == "/members" and key == "Bearer of-the-members":
        rows = MEMBERS
    elif call.path == "/v1/readings" and call.headers.get("X-Api-Key") == SECRETS["meters_api_key"]:
        rows = [row for row in READINGS if row["readAt"] >= call.query.get("after", "")]
    elif call.path == "/orders" and key in {"Bearer of-the-eu", "Bearer of-the-us"}:
        since, until = call.query["since"], call.query.get("until", "9")
        rows = [row for row in ORDERS[key[-2:]] if since <= row["orderedAt"] <= until]
    else:
        return 401, {}, b'{"error": "nothing for you here"}'
    return 200, {"Content-Type": "application/json"}, json.dumps(rows).encode()


def airports_server() -> ModuleType:
    """The module of examples/airports/server.py."""
    place = ROOT / "examples/airports/server.py"
    spec = importlib.util.spec_from_file_location("airports_server", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def serving_airports() -> Iterator[tuple[str, Rows]]:
    """The example's own server on a port of its own: its URL, and the rows that it serves."""
    module = airports_server()
    rows: Rows = module.airports()
    own = {"rows": rows, "key": SECRETS["airports_api_key"]}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (module.Handler,), own))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", rows
    server.shutdown()
    server.server_close()


class Apis:
    """The servers of the examples.

    :ivar url: of all but the airports
    :ivar airports_url: of these
    :ivar airports: their rows
    :ivar invoices: what the next landing of the invoices gets
    """

    def __init__(self, url: str, airports_url: str, airports: Rows) -> None:
        self.url, self.airports_url, self.airports = url, airports_url, airports
        self.invoices = INVOICES

    def example(self, path: str, kafka: Broker) -> list[Object]:
        """The documents of an example as a user has them, but for the hosts.

        :param path: below examples/
        :param kafka: whose address and authority stand for the brokers'
        """
        text = (ROOT / "examples" / path).read_text().replace(AIRPORTS, self.airports_url)
        found = list(yaml.safe_load_all(HOSTS.sub(self.url, text)))
        for one in found:
            if "stream" in one["spec"].get("source", {}):
                brokers = one["spec"]["source"]["stream"]["kafka"]
                assert brokers["bootstrapServers"] == [BROKERS]
                brokers |= {"bootstrapServers": [kafka.bootstrap], "caSecret": "kafka-ca"}
        return found


@contextmanager
def apis() -> Iterator[Apis]:
    """Every API that the examples name."""
    with serving_airports() as (airports_url, rows), serving() as api:
        found = Apis(api.url, airports_url, rows)
        reply: Callable[..., Any] = lambda call, _http: answer(call, found.invoices)  # noqa: E731
        api.answer = reply
        yield found


def message(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def customer(op: str, lsn: int, number: int, name: str) -> tuple[str, bytes, list[Any]]:
    """Debezium's envelope of a change of a customer."""
    row = {"id": number, "name": name}
    before, after = (row, None) if op == "d" else (None, row)
    return str(number), message(before=before, after=after, source={"lsn": lsn}, op=op), []


def price(sku: str, amount: str | None) -> tuple[bytes, bytes | None, list[Any]]:
    """A price's newest state; None deletes it."""
    return message(sku=sku), amount and message(sku=sku, price=amount), []  # type: ignore[return-value]
