"""Alerts: their expressions parse, ask for what the operator tells, and have a runbook each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from weir.aws import errors as aws_errors
from weir.reconcile.metrics import CONDITIONS, ROW_OUTCOMES, Metrics
from weir.reconcile.queue import Lane
from weir_contract import pollers
from weir_lambdas.common.errors import ACTIONS

ROOT = Path(__file__).resolve().parents[2]
ALERTS: list[dict[str, Any]] = yaml.safe_load(
    (ROOT / "charts" / "weir" / "files" / "alerts.yaml").read_text()
)
RUNBOOKS = ROOT / "docs" / "runbooks"
HEADINGS = ["What it means", "How to look", "What to do", "When to ignore it"]
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
NOT_READY = {
    *(name for name, kind in vars(aws_errors).items() if isinstance(kind, type)),
    "NotConverging",
}
VALUES = {
    "kind": {"Platform", "DataSchema", "DataSource", "Pipeline", "PipelineRun"},
    "condition": set(CONDITIONS),
    "status": {"True", "False", "Unknown"},
    "reason": {*NOT_READY, "Late", "RunFailed", pollers.REASON},
    "outcome": {"total", *ROW_OUTCOMES, "whole", "partial"},
    "state": {"Running", "Succeeded", "Failed"},
    "error": set(ACTIONS),
    "lane": {lane.name.lower() for lane in Lane},
}
"""What a label's matchers may ask for."""

Render = Callable[..., list[dict[str, Any]]]


def selectors(node: Any) -> Iterator[Any]:
    """Every vector selector of an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        inner = getattr(node, name, None)
        if isinstance(inner, promql_parser.Expr):
            yield from selectors(inner)
    for inner in getattr(node, "args", None) or ():
        yield from selectors(inner)


@pytest.fixture(scope="module")
def told() -> dict[str, set[str]]:
    """Names of the operator's samples, with their labels' names."""
    registry = CollectorRegistry()
    Metrics(registry)
    found: dict[str, set[str]] = {}
    for collector in registry._collector_to_names:
        families: list[Metric] = list(collector.collect())
        for family in families:
            labels = getattr(collector, "_labelnames", getattr(family, "_labelnames", ()))
            for suffix in SUFFIXES[family.type]:
                extra = {"le"} if suffix == "_bucket" else set()
                found[family.name + suffix] = {*labels, *extra}
    return found


@pytest.fixture(params=ALERTS, ids=lambda alert: str(alert["alert"]))
def alert(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def test_its_expression_asks_for_what_the_operator_tells(
    alert: dict[str, Any], told: dict[str, set[str]]
) -> None:
    asked = list(selectors(promql_parser.parse(alert["expr"])))
    assert asked
    for selector in asked:
        assert selector.name in told, f"no metric {selector.name}"
        for matcher in selector.matchers.matchers:
            assert matcher.name in told[selector.name], f"{selector.name} has no {matcher.name}"
            for value in matcher.value.split("|"):
                assert value in VALUES[matcher.name], f"{matcher.name} is never {value!r}"


def test_what_its_text_names_is_a_label_that_its_expression_leaves(
    alert: dict[str, Any], told: dict[str, set[str]]
) -> None:
    named = set(re.findall(r"\$labels\.(\w+)", alert["summary"] + alert["description"]))
    grouped = re.findall(r"by \(([^)]*)\)", alert["expr"])
    if grouped:
        left = {one.strip() for one in grouped[0].split(",")}
    else:
        (first, *_) = selectors(promql_parser.parse(alert["expr"]))
        left = told[first.name]
    assert named <= left


def test_it_has_a_runbook_that_says_all_four_things(alert: dict[str, Any]) -> None:
    text = (RUNBOOKS / f"{alert['alert']}.md").read_text()
    assert text.startswith(f"# {alert['alert']}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS


def test_no_runbook_is_left_of_an_alert_that_is_gone() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {alert["alert"] for alert in ALERTS}


def test_metrics_that_runbooks_name_exist(told: dict[str, set[str]]) -> None:
    families = set(told)
    for page in RUNBOOKS.glob("*.md"):
        for name in set(re.findall(r"\bweir_[a-z_]+\b", page.read_text())):
            known = any(one == name or one.startswith(f"{name}_") for one in families)
            assert known, f"{page.name}: {name}"


def test_the_rule_is_made_where_it_is_switched_on(render: Render) -> None:
    assert not [one for one in render() if one["kind"] == "PrometheusRule"]
    (rule,) = (
        one
        for one in render(
            metrics={
                "prometheusRule": {
                    "enabled": True,
                    "labels": {"release": "prometheus"},
                    "alertLabels": {"team": "data"},
                    "disabled": ["WeirQuotaNear"],
                    "runbooks": "https://docs.example.com/weir/runbooks/",
                }
            }
        )
        if one["kind"] == "PrometheusRule"
    )
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    rules = {one["alert"]: one for one in rule["spec"]["groups"][0]["rules"]}
    assert set(rules) == {alert["alert"] for alert in ALERTS} - {"WeirQuotaNear"}
    for alert in ALERTS[:-1]:
        made = rules[alert["alert"]]
        assert made["expr"] == alert["expr"]
        assert made.get("for") == alert.get("for")
        assert made["labels"] == {"severity": alert["severity"], "team": "data"}
        assert made["annotations"]["summary"] == alert["summary"]
        assert made["annotations"]["runbook_url"] == (
            f"https://docs.example.com/weir/runbooks/{alert['alert']}.md"
        )


@pytest.mark.parametrize(
    "reason", ["Conflict", "NotConverging", "AccessDenied", "DataGone", "AccountChanged", "Invalid"]
)
def test_whatever_stalls_an_object_wakes_somebody_once(reason: str) -> None:
    """By Stalled, and not by Synced: an object whose AWS is as it should be may be stalled too."""

    def takes(alert: dict[str, Any]) -> bool:
        for selector in selectors(promql_parser.parse(alert["expr"])):
            asked = {one.name: one for one in selector.matchers.matchers}
            if selector.name == "weir_objects" and asked["condition"].value == "Stalled":
                meets = re.fullmatch(asked["reason"].value, reason) is not None
                denies = asked["reason"].op in (
                    promql_parser.MatchOp.NotEqual,
                    promql_parser.MatchOp.NotRe,
                )
                return meets is not denies
        return False

    assert len([alert for alert in ALERTS if takes(alert)]) == 1


def test_there_is_an_alert_for_a_standing_operator_and_for_wrong_data() -> None:
    critical = {alert["alert"] for alert in ALERTS if alert["severity"] == "critical"}
    assert {"WeirOperatorDown", "WeirAccountDoesNotAddUp"} <= critical
