"""The operator's pod answers on health, readiness and metrics."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from e2e.running import Object, Running, last_run
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


def counted(running: Running, run: Object, owner: tuple[str, str], metrics: set[str]) -> Object:
    """Sums of an object's metrics in CloudWatch from a run's start to its end."""
    started, finished = (datetime.fromisoformat(run[key]) for key in ("started", "finished"))
    found = running.aws("cloudwatch")
    sums = {}
    for metric in metrics:
        points = found.get_metric_statistics(
            Namespace="Weir",
            MetricName=metric,
            Dimensions=[
                {"Name": name, "Value": value} for name, value in (("Namespace", "default"), owner)
            ],
            StartTime=started,
            EndTime=finished + timedelta(seconds=5),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        sums[metric] = sum(point["Sum"] for point in points)
    return sums


def test_cloudwatch_and_prometheus_tell_the_same_of_a_run(running: Running, orders: Object) -> None:
    landing, run = last_run(running.get("dsrc", "orders")), last_run(running.get("pipe", "orders"))
    landed = counted(running, landing, ("Source", "orders"), {"RowsLanded", "Landings"})
    assert landed == {"RowsLanded": landing["rows"], "Landings": 1}
    outcomes = ("quarantined", "deduplicated", "inserted", "updated", "stale")
    metrics = {f"Rows{outcome.title()}": outcome for outcome in outcomes} | {"Rows": "total"}
    sums = counted(running, run, ("Pipeline", "orders"), {*metrics, "Runs"})
    assert sums.pop("Runs") == 1 and sums["Rows"] == run["rows"] > 0
    told = {
        sample.labels["outcome"]: sample.value
        for family in text_string_to_metric_families(running.page("/metrics")[1])
        for sample in family.samples
        if family.name == "weir_pipeline_rows" and sample.labels["name"] == "orders"
    }
    assert {metrics[metric]: value for metric, value in sums.items()} == {
        outcome: told.get(outcome, 0) for outcome in metrics.values()
    }


def test_the_running_operator_tells_what_the_alerts_ask_for(running: Running) -> None:
    alerts = yaml.safe_load((ROOT / "charts/weir/files/alerts.yaml").read_text())
    asked = {name for alert in alerts for name in re.findall(r"\bweir_\w+", alert["expr"])}
    told = set(re.findall(r"^# TYPE (\w+) \w+$", running.page("/metrics")[1], re.MULTILINE))
    assert len(asked) > 10
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked} <= told
