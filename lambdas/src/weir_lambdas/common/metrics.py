"""CloudWatch metrics, as log lines in embedded metric format, which Powertools for AWS Lambda writes.

Source: Amazon CloudWatch User Guide, *Specification: Embedded metric format*. A run id is never a
dimension: each new value would be a new, billed metric.
"""

from __future__ import annotations

from collections.abc import Mapping

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

UNITS = {"Seconds": MetricUnit.Seconds, "Bytes": MetricUnit.Bytes}
"""Suffix of a metric's name -> CloudWatch unit; everything else is a Count."""


def unit(name: str) -> MetricUnit:
    """The CloudWatch unit of a metric, told by the end of its name."""
    return next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), MetricUnit.Count)


def emit(namespace: str, dimensions: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    """Write metrics of the present moment to the function's log.

    They are written at once, and nothing of them stays in the process: what happens to the call
    afterwards loses none, and the next call of a warm function finds none.

    Parameters
    ----------
    namespace
        The metrics' namespace.
    dimensions
        Name -> value, such as ``Namespace`` and ``Source``.
    metrics
        Name -> value; the unit follows from the name (:func:`unit`).
    """
    # Powertools' Metrics keeps dimensions on the class, for all lines of the process.
    line = EphemeralMetrics(namespace=namespace, default_dimensions=dict(dimensions))
    for name, value in metrics.items():
        line.add_metric(name, unit(name), value)
    line.flush_metrics()
