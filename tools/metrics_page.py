"""docs/metrics.md: every metric of the operator, from the registry itself."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from weir.reconcile.metrics import CONDITIONS, ROW_OUTCOMES, Metrics

HEAD = """# Metrics

<!-- Written by make generate from the operator's registry: don't edit. -->

At `/metrics` of the operator, port 8080; `metrics.serviceMonitor.enabled` for the Prometheus operator. Beside these there are
`process_*` and `python_*`. [Alerts](alerts.md) and their [runbooks](runbooks/README.md) are made from them.

* **Names of objects are labels in one table only**, the last one: gauges that come from the run ledger, so that a restart loses
  nothing, and that go when the object goes. `metrics.perObject: false` turns them off; everything else stays. Ids of runs are
  never labels.
* Gauges over all objects count what this replica works for. A standby tells of nothing but itself, so that a sum over replicas
  is right.
* Counters begin at 0 with the process: use `rate()` and `increase()`.
"""

SAVED = """
What the inventory saves: of all that somebody wanted to know of AWS, the part that cost no call of its own.

```
1 - sum(rate(weir_inventory_looks_total[1h])) / sum(rate(weir_inventory_resources_total[1h]))
```
"""


def page() -> str:
    """The whole page."""
    registry = CollectorRegistry()
    Metrics(registry)
    families = {family.name: family for family in registry.collect()}
    labels = dict(_labels(registry))
    single = [name for name in families if "namespace" in labels.get(name, ())]
    lines = [HEAD, "## The operator and all objects", "", *_table(families, labels, single, False)]
    lines += [SAVED, "## Single objects", ""]
    lines += _table(families, labels, single, True)
    lines += [
        "",
        f"Conditions: {_words(CONDITIONS)}. Outcomes of rows: {_words(('total', *ROW_OUTCOMES))}.",
        "",
    ]
    return "\n".join(lines)


def _labels(registry: CollectorRegistry) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Label names by family, which a family without samples does not tell."""
    for collector in registry._collector_to_names:
        names = getattr(collector, "_labelnames", None)
        if names is not None:
            for family in collector.describe():  # type: ignore[attr-defined]
                yield family.name, tuple(names)
        else:
            for family in collector.collect():
                yield family.name, tuple(getattr(family, "_labelnames", ()))


def _table(
    families: dict[str, Metric], labels: dict[str, tuple[str, ...]], single: list[str], wanted: bool
) -> Iterator[str]:
    yield "| metric | type | labels | is |"
    yield "|---|---|---|---|"
    for name, family in families.items():
        if (name in single) is wanted:
            suffix = "_total" if family.type == "counter" else ""
            named = ", ".join(labels[name])
            yield f"| `{name}{suffix}` | {family.type} | {named} | {family.documentation} |"


def _words(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
