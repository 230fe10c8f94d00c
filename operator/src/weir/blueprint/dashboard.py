"""One CloudWatch dashboard per namespace: its sources and pipelines at a glance."""

from __future__ import annotations

from typing import Any

from weir.blueprint.facts import PlatformFacts
from weir.blueprint.uses import NamespaceUse

WIDTH, HEIGHT, ROW = 24, 6, 12
"""CloudWatch's grid is 24 wide (CloudWatch API reference, *Dashboard Body Structure*)."""
MAX_OBJECTS = 100
"""A dashboard has at most 500 widgets and a metric widget 500 metrics."""


def dashboard_body(facts: PlatformFacts, use: NamespaceUse) -> dict[str, Any]:
    """``DashboardBody``: rows landed and processed, quarantine, duration, failures.

    The metrics are those that the functions write in embedded metric format, with namespace and
    name as dimensions; a run's id is never one.
    """
    sources = use.sources[:MAX_OBJECTS]
    pipelines = use.pipelines[:MAX_OBJECTS]
    streams = use.streams[:MAX_OBJECTS]
    plots = (
        ("Rows landed", "RowsLanded", "Source", sources, "Sum"),
        ("Seconds of a landing", "LandSeconds", "Source", sources, "Maximum"),
        ("Failed landings", "LandingsFailed", "Source", sources, "Sum"),
        ("Seconds behind the stream", "StreamLagSeconds", "Source", streams, "Maximum"),
        ("Records received", "RecordsReceived", "Source", streams, "Sum"),
        ("Rows processed", "Rows", "Pipeline", pipelines, "Sum"),
        ("Rows in quarantine", "RowsQuarantined", "Pipeline", pipelines, "Sum"),
        ("Seconds of a run", "RunSeconds", "Pipeline", pipelines, "Maximum"),
        ("Failed runs", "RunsFailed", "Pipeline", pipelines, "Sum"),
    )
    widgets: list[dict[str, Any]] = [
        {
            "type": "text",
            "x": 0,
            "y": 0,
            "width": WIDTH,
            "height": 2,
            "properties": {
                "markdown": f"# Weir: {use.namespace}\nPlatform {facts.platform}, cluster "
                f"{facts.cluster}. `kubectl get dsrc,pipe -n {use.namespace}`"
            },
        }
    ]
    shown = [plot for plot in plots if plot[3]]
    for index, (title, metric, dimension, objects, statistic) in enumerate(shown):
        widgets.append(
            {
                "type": "metric",
                "x": ROW * (index % 2),
                "y": 2 + HEIGHT * (index // 2),
                "width": ROW,
                "height": HEIGHT,
                "properties": {
                    "title": title,
                    "region": facts.region,
                    "view": "timeSeries",
                    "stat": statistic,
                    "period": 300,
                    "metrics": [
                        [
                            facts.metrics_namespace,
                            metric,
                            "Namespace",
                            use.namespace,
                            dimension,
                            name,
                        ]
                        for name in objects
                    ],
                },
            }
        )
    return {"widgets": widgets}
