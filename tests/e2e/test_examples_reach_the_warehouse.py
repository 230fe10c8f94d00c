"""Examples of what is done with rows, from ``kubectl apply`` to the warehouse, all of them at once."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pyarrow import parquet

from e2e.declared import requested
from e2e.example_apis import (
    GROWN_INVOICES,
    SECRETS,
    Apis,
    apis,
    customer,
    price,
)
from e2e.running import RUN_SECONDS, Object, Running, is_ready, is_true, last_run, named
from weir_local.kafka import Broker

pytestmark = pytest.mark.e2e

FILES = (
    "airports/datasource.yaml",
    "deletions/datasource.yaml",
    "evolution/datasource.yaml",
    "scheduled/pipeline.yaml",
    "shared/schema.yaml",
    "stages/personal.yaml",
    "stages/pipeline.yaml",
    "stages/summary.yaml",
)
BUCKET, FOLDER = "uploads", "dms/shop/orders/"
TOPICS = ("shop.customers", "shop.prices")
LANDED = ("airports", "airports-staged", "members", "grown-invoices", "orders-eu", "orders-us")
"""Sources whose rows are processed as they land, by a Pipeline of their name."""
CHANGED = ("changed-orders", "changed-customers", "prices")
"""Sources that report deletions."""
DMS = "Op,dms_ts,order_id,state\n"
FIRST_CHANGES = DMS + "".join(f"I,2026-03-01T10:00:0{n}Z,{n},open\n" for n in (1, 2, 3))
LATER_CHANGES = DMS + "U,2026-03-02T10:00:00Z,1,sent\nD,2026-03-02T10:00:01Z,2,\n"


def ended(obj: Object | None) -> bool:
    return is_true(obj, "Ready") or is_true(obj, "Stalled")


def asked(running: Running, *requests: Object) -> list[Object]:
    """PipelineRuns, under way together, once all of them have ended well."""
    for one in requests:
        one["metadata"].setdefault("namespace", "default")
    running.apply(*requests)
    names = [one["metadata"]["name"] for one in requests]
    done = [running.wait("prun", name, ended, RUN_SECONDS) for name in names]
    assert [one["status"] for one in done if not is_true(one, "Ready")] == []
    return done


def table(running: Running, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query, decimals and moments as text."""
    return [
        tuple(value if isinstance(value, int | None) else str(value) for value in row.values())
        for row in running.query(sql)
    ]


def put(running: Running, name: str, text: str) -> None:
    running.aws("s3").put_object(Bucket=BUCKET, Key=FOLDER + name, Body=text.encode())


def read(running: Running, zone: str, prefix: str, ending: str) -> Iterator[bytes]:
    """The objects of a zone whose keys begin and end so."""
    s3, bucket = running.aws("s3"), running.bucket(zone)
    for key in running.keys(zone, prefix):
        if key.endswith(ending):
            yield s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def written(running: Running, zone: str, prefix: str) -> list[Object]:
    """The rows of a zone's Parquet files."""
    return [
        row
        for body in read(running, zone, prefix, ".parquet")
        for row in parquet.ParquetFile(io.BytesIO(body)).read().to_pylist()
    ]


@pytest.fixture(scope="module")
def sources() -> Iterator[Apis]:
    """The APIs that the examples name."""
    with apis() as found:
        yield found


def settled(running: Running, expected: Mapping[str, tuple[str, list[tuple[Any, ...]]]]) -> None:
    """Ask the sources, all of them at once, until queries give what they must.

    :param expected: the name of a source and of its Pipeline -> SQL, and what it gives
    """
    left, deadline = dict(expected), time.monotonic() + RUN_SECONDS
    while left:
        assert time.monotonic() < deadline, {
            name: table(running, sql) for name, (sql, _) in left.items()
        }
        asked(running, *(requested(f"{name}-{time.monotonic_ns()}", name, now={}) for name in left))
        left = {name: one for name, one in left.items() if table(running, one[0]) != one[1]}


@pytest.fixture(scope="module")
def applied(running: Running, sources: Apis, kafka: Broker) -> Iterator[None]:
    """Every example, once what lands by itself is in the warehouse."""
    for name, value in SECRETS.items():
        running.secret(name, value)
    running.secret("kafka", json.dumps({"username": kafka.user, "password": kafka.password}))
    running.secret("kafka-ca", json.dumps({"certificate": kafka.ca_pem}))
    for topic in TOPICS:
        kafka.create_topic(topic)
    s3 = running.aws("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    running.grant(f"arn:aws:s3:::{BUCKET}")
    put(running, "LOAD00000001.csv", FIRST_CHANGES)
    documents = [one for file in FILES for one in sources.example(file, kafka)]
    running.apply(*documents)
    for name in CHANGED:
        running.wait("dsrc", name, is_ready, RUN_SECONDS)
    kafka.produce(TOPICS[0], [customer("c", n, n, f"customer {n}") for n in (1, 2, 3)])
    kafka.produce(TOPICS[1], [price(sku, "1.50") for sku in ("a", "b", "c")])
    for name in (*LANDED, CHANGED[0]):
        running.wait_run("pipe", name)
    yield
    running.kubectl("delete", "prun", "--all", "--timeout=180s")
    for kind in ("Pipeline", "DataSource", "DataSchema"):
        names = [one["metadata"]["name"] for one in documents if one["kind"] == kind]
        running.kubectl("delete", kind, *names, "--timeout=180s")


@dataclass
class Seen:
    """What there was before more came, and what was done then.

    :ivar first: the newest run of each Pipeline of :data:`LANDED`, after its first landing
    :ivar changed: the tables of the sources that tell deletions, before they told any
    :ivar orders: the table of the orders of the EU, before anything was asked for
    :ivar runs: the PipelineRuns of examples/runs by name
    """

    first: dict[str, Object]
    changed: dict[str, list[tuple[Any, ...]]]
    orders: list[tuple[Any, ...]]
    runs: dict[str, Object]


CHANGED_SQL = {
    "changed-orders": "select orderId, state from shop.changed_orders order by 1",
    "changed-customers": "select id, name, _weir_deleted_at is null as there from shop.customers order by 1",
    "prices": "select sku, price from shop.prices order by 1",
}
ORDERS_SQL = "select orderId, customerId, amount, shippedOn from sales.orders_eu order by 1"
INVOICES_SQL = "select invoiceId, customer, amount from billing.grown_invoices order by 1"


@pytest.fixture(scope="module")
def seen(running: Running, sources: Apis, kafka: Broker, applied: None) -> Seen:
    """Deletions come, the invoices grow, and each PipelineRun of examples/runs is applied."""
    began: dict[str, list[tuple[Any, ...]]] = {
        "changed-orders": [(1, "open"), (2, "open"), (3, "open")],
        "changed-customers": [(n, f"customer {n}", True) for n in (1, 2, 3)],
        "prices": [("a", "1.50"), ("b", "1.50"), ("c", "1.50")],
    }
    settled(running, {name: (sql, began[name]) for name, sql in CHANGED_SQL.items()})
    first = {name: last_run(running.get("pipe", name)) for name in LANDED}
    orders = table(running, ORDERS_SQL)
    sources.invoices = GROWN_INVOICES
    put(running, "20260302-100000000.csv", LATER_CHANGES)
    kafka.produce(TOPICS[0], [customer("u", 4, 1, "Ann"), customer("d", 5, 2, "customer 2")])
    kafka.produce(TOPICS[1], [price("a", "2.00"), price("b", None)])
    running.query("delete from sales.orders_eu where orderId = 10")
    runs = [
        one
        for file in ("now", "landed", "backfill")
        for one in sources.example(f"runs/{file}.yaml", kafka)
    ]
    asked(running, *runs, requested("more-invoices", "grown-invoices", now={}))
    running.patch("dsch", "order", {"spec": {"rules": ['ColumnValues "amount" >= -10']}})
    running.wait("pipe", "orders-eu", is_ready)
    (replay,) = sources.example("runs/replay.yaml", kafka)
    folders = {
        key.split("run=")[1].split("/")[0]
        for key in running.keys("quarantine", "default/orders-eu/")
    }
    replay["spec"]["replay"]["runs"] = sorted(folders)
    asked(running, replay)
    done = {
        one["metadata"]["name"]: running.get("prun", one["metadata"]["name"])
        for one in (*runs, replay)
    }
    return Seen(first, began, orders, {name: one for name, one in done.items() if one})


def test_the_airports_are_in_their_table_and_once_though_asked_for_again(
    running: Running, sources: Apis, seen: Seen
) -> None:
    assert table(
        running, "select count(*) as n, count(distinct iata) as different from public_data.airports"
    ) == [(len(sources.airports), len(sources.airports))]
    run = seen.runs["airports-now"]
    assert last_run(run)["rows"] == len(sources.airports)
    assert run["spec"]["ttl"] == "1d"
    assert last_run(running.get("pipe", "airports"))["run"] != seen.first["airports"]["run"]


def american(sources: Apis) -> list[Object]:
    return [row for row in sources.airports if row["country"] == "USA"]


def test_every_stage_of_the_airports_has_written_what_it_is_for(
    running: Running, sources: Apis, seen: Seen
) -> None:
    rows = american(sources)
    labels = sorted((row["iata"], f"{row['name'].strip()} ({row['iata']})") for row in rows)
    assert (
        table(running, "select iata, label from public_data.airports_staged order by iata")
        == labels
    )
    assert [*running.query("select * from public_data.airports_staged limit 1")[0]][:8] == [
        *("iata", "label", "name", "city", "statecode", "hemisphere", "latitude", "longitude"),
    ]
    curated = written(running, "curated", "airports-by-state/stateCode=")
    assert sorted((row["iata"], row["label"]) for row in curated) == labels
    states = Counter(None if row["state"] in {"", "NA"} else row["state"] for row in rows)
    exported = [
        (row["statecode"] or None, int(row["airports"]))
        for body in read(running, "curated", "exports/airports-by-state/run=", "")
        if not body.startswith(b"{")
        for row in csv.DictReader(io.StringIO(body.decode()))
    ]
    assert sorted(exported, key=str) == sorted(states.items(), key=str)


def test_the_summary_replaces_its_table_when_it_is_asked_for(
    running: Running, sources: Apis, seen: Seen
) -> None:
    states: dict[str, list[Decimal]] = {}
    for row in american(sources):
        states.setdefault(row["state"] or "none", []).append(Decimal(str(row["latitude"])))
    found = table(
        running, "select state, airports, northernmost from public_data.airports_by_state"
    )
    assert {(state, int(n), Decimal(north)) for state, n, north in found} == {
        (state, len(all_), max(all_)) for state, all_ in states.items()
    }
    assert last_run(seen.runs["airports-by-state-1"])["rows"] == len(states)


def test_personal_columns_are_protected_before_anybody_reads_them(
    running: Running, seen: Seen
) -> None:
    digest = hmac.new(SECRETS["pii-key"].encode(), b"ann@example.org", hashlib.sha256).hexdigest()
    rows = table(running, "select memberId, email, phone from crm.members order by 1")
    assert rows == [(1, digest, "**********4567"), (2, None, "***")]
    (columns, _) = running.query("select * from crm.members")
    assert "passport" not in columns
    kept = written(running, "processed", "members/")
    assert len(kept) == 2
    assert not [word for word in ("ann@", "1234567", "C01X00T47") if word in str(kept)]


def test_a_source_that_grows_brings_its_new_column_and_wider_values(
    running: Running, seen: Seen
) -> None:
    rows = table(running, f"{INVOICES_SQL.replace('amount', 'amount, currency')}")
    assert rows == [
        (1, "Ann", "10.50", None),
        (2, "Bo", "100000000.00", "EUR"),
        (3, "C" * 100, "3.00", "USD"),
    ]
    events = running.events("DataSource", "grown-invoices")
    assert [one for one in named(events, "ColumnAdded") if "currency" in one]


def test_reported_deletions_take_rows_out_or_mark_them(running: Running, seen: Seen) -> None:
    settled(
        running,
        {
            "changed-orders": (CHANGED_SQL["changed-orders"], [(1, "sent"), (3, "open")]),
            "changed-customers": (
                CHANGED_SQL["changed-customers"],
                [(1, "Ann", True), (2, "customer 2", False), (3, "customer 3", True)],
            ),
            "prices": (CHANGED_SQL["prices"], [("a", "2.00"), ("c", "1.50")]),
        },
    )


def test_two_sources_share_a_schema_and_its_rules(running: Running, seen: Seen) -> None:
    assert seen.orders == [
        (1, 91, "10.50", "2026-03-02"),
        (4, 94, "4.00", None),
        (10, 100, "5.00", None),
    ]
    assert table(running, ORDERS_SQL.replace("_eu", "_us")) == [(1, 91, "1.00", None)]
    assert seen.first["orders-eu"]["quarantined"] == 3


def test_a_window_of_the_past_and_mended_rows_are_asked_for_by_objects(
    running: Running, seen: Seen
) -> None:
    progress = seen.runs["orders-eu-january"]["status"]["progress"]
    assert (progress["parts"], progress["landed"], progress["rows"]) == (31, 31, 2)
    assert table(running, "select orderId, amount from sales.orders_eu order by 1") == [
        *((1, "10.50"), (2, "-1.00"), (4, "4.00"), (10, "5.00"), (11, "-2.00")),
    ]


def test_readings_are_processed_when_their_schedules_time_comes(
    running: Running, seen: Seen
) -> None:
    assert not last_run(running.get("pipe", "readings")), "a landing was not left to the schedule"
    scheduler = running.aws("scheduler")
    (name,) = [
        line["name"]
        for line in running.get("pipe", "readings")["status"]["resources"]
        if line["kind"] == "scheduler.Schedule"
    ]
    nightly = scheduler.get_schedule(Name=name)
    assert nightly["ScheduleExpression"] == "cron(30 2 * * ? *)"
    assert nightly["ScheduleExpressionTimezone"] == "Europe/Berlin"
    soon = datetime.now(UTC) + timedelta(seconds=2)
    scheduler.create_schedule(
        Name="tonight",
        ScheduleExpression=f"at({soon:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=nightly["Target"],
    )
    running.wait_run("pipe", "readings")
    scheduler.delete_schedule(Name="tonight")
    rows = table(running, "select meter, readAt, kwh from energy.readings order by 2, 1")
    assert [(meter, kwh) for meter, _, kwh in rows] == [
        ("a", "1.250"),
        ("b", "7.000"),
        ("a", "1.500"),
    ]
