"""What a function's log tells CloudWatch, read as the local AWS reads it."""

from __future__ import annotations

from weir_local.aws.metrics import Datum, embedded


def metrics_in(printed: str) -> list[Datum]:
    """The metrics in what was printed, in their order."""
    return [datum for line in printed.splitlines() for datum in embedded(line)]


def sums(printed: str) -> dict[str, float]:
    """Name of each metric that was printed -> the sum of its values."""
    found: dict[str, float] = {}
    for _, name, _, value, _, _ in metrics_in(printed):
        found[name] = found.get(name, 0) + value
    return found
