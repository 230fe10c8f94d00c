"""The pipeline template's own example, converted and applied, ends as rows in the warehouse."""

from __future__ import annotations

import re

import pytest

from e2e.first import CUSTOMERS
from e2e.running import Object, Running, condition, is_ready, last_run
from e2e.source_server import Answer, SourceServer

pytestmark = pytest.mark.e2e

NAME, TABLE = "customer-data-api", "customers.customer_data"
CHANGED: list[Object] = [
    {"id": 1, "name": "Ada", "email": "ada@example.com"},
    {"id": 3, "name": "Cleo", "email": "cleo@example.org"},
    {"id": 4, "name": "Dana", "email": "dana@example.org"},
]


def table(running: Running) -> list[tuple[object, ...]]:
    rows = running.query(
        f"select customerId, customerName, customerEmail from {TABLE} order by customerId"
    )
    return [(row["customerid"], row["customername"], row["customeremail"]) for row in rows]


def expected(rows: list[Object]) -> list[tuple[object, ...]]:
    return [(row["id"], row["name"], row["email"]) for row in rows]


def test_the_first_landing_needs_no_schedule_and_brings_every_row(
    running: Running, customers: Object
) -> None:
    assert table(running) == expected(CUSTOMERS)


def test_types_that_nobody_stated_are_inferred_and_frozen(
    running: Running, customers: Object
) -> None:
    source = running.wait("dsrc", NAME, lambda obj: bool(obj and obj["status"].get("schema")))
    types = {field["name"]: field["type"] for field in source["status"]["schema"]["fields"]}
    assert types == {"customerId": "integer", "customerName": "string", "customerEmail": "string"}


def test_the_table_has_its_distribution_and_sort_keys(running: Running, customers: Object) -> None:
    (found,) = running.query(
        "select diststyle, sortkey1 from svv_table_info "
        "where \"schema\" = 'customers' and \"table\" = 'customer_data'"
    )
    assert found == {"diststyle": "KEY(customerid)", "sortkey1": "customername"}
    columns = running.query(
        'select "column", distkey, sortkey from pg_table_def '
        "where schemaname = 'customers' and tablename = 'customer_data'"
    )
    keyed = {row["column"]: (row["distkey"], row["sortkey"]) for row in columns}
    assert keyed["customerid"] == (True, 0)
    assert keyed["customername"] == (False, 1)


def test_parquet_lies_in_partitions_that_the_catalog_knows(
    running: Running, customers: Object
) -> None:
    keys = [key for key in running.keys("processed", "customers/") if key.endswith(".parquet")]
    places = [re.match(r"customers/year=(\d{4})/month=(\d\d?)/day=(\d\d?)/", key) for key in keys]
    assert keys and all(places)
    glue = running.aws("glue")
    table = running.resource("pipe", NAME, "table-processed")["arn"].split(":table/")[1]
    database, _, name = table.partition("/")
    partitions = glue.get_partitions(DatabaseName=database, TableName=name)["Partitions"]
    assert {place.groups() for place in places if place} == {
        tuple(one["Values"]) for one in partitions
    }


def test_the_account_on_the_object_adds_up(running: Running, customers: Object) -> None:
    run = last_run(customers)
    stages = {stage["kind"]: stage for stage in run["account"]}
    assert [stage["kind"] for stage in run["account"]] == ["land", "cast", "write", "load"]
    assert all(stage["rowsIn"] == stage["rowsOut"] == 3 for stage in run["account"])
    assert stages["load"]["inserted"] == 3
    assert run["rows"] == 3 and run["quarantined"] == 0


def test_three_runs_leave_as_many_rows_as_the_source_has(
    running: Running, customers: Object, server: SourceServer
) -> None:
    second = running.run(NAME)
    assert last_run(second)["run"] != last_run(customers)["run"]
    assert table(running) == expected(CUSTOMERS)
    server.rows("/customers", CHANGED)
    third = running.run(NAME)
    assert last_run(third)["run"] != last_run(second)["run"]
    assert table(running) == expected(CHANGED), "what the source changed is not in the table"
    assert is_ready(third)


def test_an_empty_answer_leaves_the_table_full_and_says_so(
    running: Running, customers: Object, server: SourceServer
) -> None:
    before = table(running)
    server.serve("/customers", Answer.rows([]))
    run = running.run(NAME)
    assert table(running) == before != []
    assert "no rows" in condition(run, "Flowing")["message"]
    assert "stays" in condition(run, "Flowing")["message"]
    server.rows("/customers", CHANGED)
