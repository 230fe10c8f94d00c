"""What is applied before the first test, so that first runs are under way together.

Each entry has the name of the fixture that waits for its run; one that no selected test asks for is
not applied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from e2e import declared
from e2e.running import Object, Running
from e2e.source_server import Answer, Paged, SourceServer
from private_vpc import private_vpc
from weir_local.stack import ROOT

CUSTOMERS: list[Object] = [
    {"id": 1, "name": "Ada", "email": "ada@example.org"},
    {"id": 2, "name": "Ben", "email": "ben@example.org"},
    {"id": 3, "name": "Cleo", "email": "cleo@example.org"},
]
EVENTS: list[Object] = [
    {"id": 1, "name": "a", "changed": "2026-01-01T08:00:00Z"},
    {"id": 2, "name": "b", "changed": "2026-01-01T23:30:00Z"},
    {"id": 3, "name": "c", "changed": "2026-01-02T22:59:59Z"},
    {"id": 4, "name": "old", "changed": "2026-01-02T12:00:00Z"},
    {"id": 4, "name": "new", "changed": "2026-02-02T12:00:00Z"},
    {"id": 5, "name": "later", "changed": "2026-01-03T23:00:00Z"},
]
FIELDS = [
    {"name": "id", "type": "integer"},
    {"name": "name", "type": "string", "maxLength": 16},
    {"name": "changed", "type": "timestamptz"},
]


@dataclass
class Started:
    """What the sources that were applied first are asked for.

    :ivar history: the queries of the source of events, in their order
    """

    history: list[Mapping[str, str]] = field(default_factory=list)


def _orders(running: Running, server: SourceServer, started: Started) -> list[Object]:
    running.secret("orders_key", declared.ORDERS_KEY)
    endpoint = server.serve("/orders", Paged(declared.FIRST_ORDERS, declared.ORDERS_KEY))
    return [declared.orders(endpoint)]


def _customers(running: Running, server: SourceServer, started: Started) -> list[Object]:
    """The pipeline template's own example, converted."""
    running.secret("customer_api_key", "Bearer of-the-customers")
    converted = running.weir("convert", str(ROOT / "examples/reference/new_source.yaml"))
    assert converted.returncode == 0, converted.stderr
    resource: Object = yaml.safe_load(converted.stdout)
    resource["spec"]["source"]["restApi"]["endpoint"] = server.rows("/customers", CUSTOMERS)
    return [resource]


def _history(running: Running, server: SourceServer, started: Started) -> list[Object]:
    """A source that is asked from February on."""

    def answer(query: Mapping[str, str], headers: object) -> Answer:
        started.history.append(dict(query))
        since, until = query["since"], query.get("until", "9")
        # The end is included, as with many an API.
        return Answer.rows([row for row in EVENTS if since <= str(row["changed"]) <= until])

    body = declared.loaded(
        "history",
        server.serve("/history", answer),
        rest={
            "incremental": {
                "cursorPath": "changed",
                "startParam": "since",
                "endParam": "until",
                "initialValue": "2026-02-01T00:00:00Z",
            }
        },
        schema={"type": "json", "fields": FIELDS, "keys": ["id"]},
    )
    body["spec"]["redshift"]["orderBy"] = "changed"
    return [body]


def _mended(running: Running, server: SourceServer, started: Started) -> list[Object]:
    """A source two of whose rows break its rule."""
    rows = [{"id": 1, "name": "a"}, {"id": 20, "name": "b"}, {"id": 300, "name": "c"}]
    rules = ['ColumnValues "id" < 10']
    schema = {"type": "json", "fields": FIELDS[:2], "keys": ["id"], "rules": rules}
    return [declared.loaded("mended", server.rows("/mended", rows), schema=schema)]


def _private(running: Running, server: SourceServer, started: Started) -> list[Object]:
    """The example of a Platform in a VPC, with a source and a Pipeline that run there."""
    platform: Object = yaml.safe_load((ROOT / "examples/platform/vpc.yaml").read_text())
    default = running.get("plat", "default")
    assert default is not None
    for name in ("region", "accountId", "endpointUrl", "permissionsBoundaryArn", "driftInterval"):
        platform["spec"][name] = default["spec"][name]
    platform["spec"]["network"] |= private_vpc(
        running.aws("ec2"), str(default["spec"]["region"]), "10.9"
    )
    platform["spec"]["deletionPolicy"] = "Delete"
    (grant,) = platform["spec"]["grants"]
    (namespace,) = grant["namespaces"]["names"]
    grant["egress"] |= {"allowLoopback": True, "hosts": ["127.0.0.1"]}
    endpoint = server.rows("/stock", [{"id": 1, "name": " bolt "}, {"id": 2, "name": "nut"}])
    source = declared.source("stock", endpoint, platform="private", network="vpc")
    source["metadata"]["namespace"] = namespace
    pipeline = {
        **{field: source[field] for field in ("apiVersion", "metadata")},
        "kind": "Pipeline",
        "spec": {
            "platform": "private",
            "sources": [{"name": "stock"}],
            "destination": {"prefix": "stock/"},
            "stages": [{"name": "tidy", "clean": {"trim": True}}],
        },
    }
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    return [space, platform, source, pipeline]


FIRST: Mapping[str, Callable[[Running, SourceServer, Started], Sequence[Object]]] = {
    "history": _history,
    "mended": _mended,
    "orders": _orders,
    "customers": _customers,
    "private": _private,
}
"""Fixture -> what it waits for, in the order in which tests need them."""
