"""Rows that break the contract go to quarantine with the reason; the others arrive."""

from __future__ import annotations

import gzip
import json

import pytest

from e2e.running import Object, Running, condition, is_ready, is_true, last_run

pytestmark = pytest.mark.e2e


def test_the_run_succeeds_and_its_account_counts_the_misfits(orders: Object) -> None:
    run = last_run(orders)
    assert run["state"] == "Succeeded"
    assert (run["rows"], run["quarantined"]) == (3, 2)
    (cast,) = [stage for stage in run["account"] if stage["kind"] == "cast"]
    assert (cast["rowsIn"], cast["rowsOut"], cast["quarantined"]) == (5, 3, 2)


def test_data_flows_and_the_object_says_that_rows_were_quarantined(orders: Object) -> None:
    assert is_ready(orders) and is_true(orders, "Flowing")
    assert "2" in condition(orders, "Flowing")["message"]
    assert "quarantine" in condition(orders, "Flowing")["message"]


def test_only_rows_that_keep_the_contract_were_loaded(running: Running, orders: Object) -> None:
    run = last_run(orders)["run"]
    loads = [stage for stage in last_run(orders)["account"] if stage["kind"] == "load"]
    (load,) = [stage for stage in loads if stage["stage"] != "table"]
    assert load["inserted"] == 3
    assert running.query("select count(*) as n from sales.orders where id is null") == [{"n": 0}]
    assert running.query("select count(*) as n from sales.orders where id = 3") == [{"n": 0}], run


def test_quarantine_holds_each_misfit_with_its_reason(running: Running, orders: Object) -> None:
    keys = [key for key in running.keys("quarantine", "") if last_run(orders)["run"] in key]
    s3, bucket = running.aws("s3"), running.bucket("quarantine")
    lines = [
        json.loads(line)
        for key in keys
        for line in gzip.decompress(
            s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        ).splitlines()
    ]
    assert {line["reason"]: json.loads(line["record"])["amount"] for line in lines} == {
        "amount: does not fit decimal(10,2)": "about thirty",
        "id: is missing": "40.00",
    }
    assert {line["stage"] for line in lines} == {"cast"}
