"""The operator's pod answers on health, readiness and metrics."""

from __future__ import annotations

import re

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from e2e.running import Object, Running
from weir_local.stack import ROOT

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_each_check_is_named_and_fine(running: Running, path: str) -> None:
    status, text = running.page(path)
    assert status == 200
    role, *checks = text.splitlines()
    assert role.startswith("role=holder of ") and "default" in role
    assert checks and all(line.endswith(": ok") for line in checks), text


def test_a_page_that_is_none_is_not_found(running: Running) -> None:
    assert running.page("/nothing-here")[0] == 404


def test_metrics_tell_of_reconciles_calls_resources_and_rows(
    running: Running, orders: Object
) -> None:
    families = {
        family.name: family
        for family in text_string_to_metric_families(running.page("/metrics")[1])
    }
    for name in ("weir_reconcile", "weir_reconcile_seconds", "weir_aws_calls", "weir_resources"):
        assert families[name].samples, name
    rows = {
        sample.labels["outcome"]: sample.value
        for sample in families["weir_pipeline_rows"].samples
        if sample.labels["name"] == "orders"
    }
    run = orders["status"]["lastRun"]
    assert set(rows) >= {"total", "quarantined", "inserted"}
    assert rows["total"] > 0
    assert run["quarantined"] >= 0
    (success,) = [
        sample.value
        for sample in families["weir_pipeline_last_success_timestamp_seconds"].samples
        if sample.labels["name"] == "orders"
    ]
    assert success > 1.7e9


def test_the_running_operator_tells_what_the_alerts_ask_for(running: Running) -> None:
    alerts = yaml.safe_load((ROOT / "charts/weir/files/alerts.yaml").read_text())
    asked = {name for alert in alerts for name in re.findall(r"\bweir_\w+", alert["expr"])}
    told = set(re.findall(r"^# TYPE (\w+) \w+$", running.page("/metrics")[1], re.MULTILINE))
    assert len(asked) > 10
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} <= told
