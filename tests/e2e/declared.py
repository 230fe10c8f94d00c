"""What the room applies: sources and the rows that they serve."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

ORDERS_KEY = "Bearer of-the-orders"
NEW, OLD = "2026-03-02T10:00:00Z", "2026-03-01T10:00:00Z"

FIRST_ORDERS: list[Object] = [
    {"id": 1, "state": "paid", "amount": "10.50", "changed": NEW, "version": "2.5"},
    {"id": 2, "state": "sent", "amount": "20.00", "changed": NEW, "version": "2.5"},
    {"id": 3, "state": "open", "amount": "about thirty", "changed": NEW, "version": "2.5"},
    {"id": None, "state": "open", "amount": "40.00", "changed": NEW, "version": "2.5"},
    {"id": 5, "state": "open", "amount": "50.00", "changed": OLD, "version": "1.5"},
]
"""Three that keep the contract; one whose amount is no decimal; one without its key."""

LATE_ORDERS: list[Object] = [
    {"id": 1, "state": "open", "amount": "9.00", "changed": OLD, "version": "1.5"},
    {"id": 5, "state": "paid", "amount": "50.00", "changed": NEW, "version": "2.5"},
    {
        "id": 6,
        "state": "open",
        "amount": "600000000.25",
        "changed": OLD,
        "version": "100.5",
        "channel": "web",
    },
    {"id": 2, "changed": NEW, "version": "200.5", "deleted": True},
]
"""An older state of order 1, a newer one of order 5, and one that is new: with a field that was not
there before, and an amount of one digit more than its column has. And a deletion of order 2. The last
two have versions with more digits than the first ones."""


def source(name: str, endpoint: str, /, **spec: Any) -> Object:
    """A DataSource that only lands what it reads; ``spec`` adds to it."""
    rest = {"endpoint": endpoint, "schedule": "rate(1 day)", **spec.pop("rest", {})}
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "DataSource",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "source": {"restApi": rest},
            "schema": {"type": "json", "mapping": {"id": "id", "name": "name"}},
            **spec,
        },
    }


def requested(name: str, pipeline: str, **spec: Any) -> Object:
    """A PipelineRun; ``spec`` says of what kind."""
    return {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "PipelineRun",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"pipeline": pipeline, **spec},
    }


def loaded(name: str, endpoint: str, **spec: Any) -> Object:
    """A DataSource with its managed Pipeline."""
    return source(
        name,
        endpoint,
        destination={"prefix": f"{name}/", "partitionBy": ["year", "month", "day"]},
        redshift={"schema": "public_data", "table": name.replace("-", "_"), "distkey": "id"},
        **spec,
    )


def orders(endpoint: str) -> Object:
    """Orders in pages, typed, merged by key and version: in the lake and in the warehouse."""
    return source(
        "orders",
        endpoint,
        rest={
            "headers": {"Authorization": "${SECRET:orders_key}"},
            "dataSelector": "data",
            "paginator": {
                "type": "pageNumber",
                "limitParam": "per_page",
                "pageSize": 2,
                "totalPath": "pages",
            },
        },
        schema={
            "type": "json",
            "fields": [
                {"name": "id", "type": "integer", "nullable": False},
                {"name": "state", "type": "string", "maxLength": 16},
                {"name": "amount", "type": "decimal(10,2)"},
                {"name": "changed", "type": "timestamptz"},
                {"name": "version", "type": "decimal(3,1)"},
            ],
            "keys": ["id"],
            "evolution": {"onNewField": "add", "onTypeChange": "widen"},
            "deletion": {"path": "deleted"},
        },
        destination={
            "prefix": "orders/",
            "partitionBy": ["year", "month", "day", "state"],
            "format": "iceberg",
            "iceberg": {"deletes": "soft"},
        },
        redshift={
            "schema": "sales",
            "table": "orders",
            "mode": "merge",
            "keys": ["id"],
            "orderBy": "version",
            "deletes": "hard",
            "distkey": "id",
        },
    )
