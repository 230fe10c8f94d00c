"""What Prometheus is told, named by its conventions.

Numbers of single objects are gauges that go with the object: rows and runs come from the ledger, so
that a restart loses nothing, and a counter would start again.
"""

from __future__ import annotations

import threading
from collections import Counter as Tally
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from weir.aws.session import Call
from weir.kube.keys import Key
from weir.reconcile.apply import Entry
from weir_contract.runs import RunRecord

SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60)

ROW_OUTCOMES = (
    "quarantined",
    "deduplicated",
    "filtered",
    "inserted",
    "updated",
    "stale",
    "deleted",
)


class Metrics:
    """All metrics of one operator process.

    Parameters
    ----------
    registry
        Where they are registered.
    per_object
        Whether metrics that carry an object's name are kept.
    """

    def __init__(self, registry: CollectorRegistry, per_object: bool = True) -> None:
        self._per_object = per_object
        self._lock = threading.Lock()
        self._states: dict[Key, Tally[tuple[str, str]]] = {}
        self.reconciles = Counter(
            "weir_reconcile", "Reconciles.", ["kind", "outcome"], registry=registry
        )
        self.reconcile_seconds = Histogram(
            "weir_reconcile_seconds",
            "Time that one reconcile takes.",
            ["kind"],
            buckets=SECONDS,
            registry=registry,
        )
        self.aws_calls = Counter(
            "weir_aws_calls",
            "AWS API calls.",
            ["service", "operation", "outcome"],
            registry=registry,
        )
        self.aws_call_seconds = Histogram(
            "weir_aws_call_seconds",
            "Time that one AWS API call takes, its retries included.",
            ["service", "operation"],
            buckets=SECONDS,
            registry=registry,
        )
        self.resources = Gauge(
            "weir_resources",
            "AWS resources by kind and state.",
            ["kind", "state"],
            registry=registry,
        )
        self.queue_depth = Gauge(
            "weir_queue_depth", "Objects that are due, by lane.", ["lane"], registry=registry
        )
        names = ["namespace", "name"]

        def gauge(name: str, text: str, *more: str) -> Gauge:
            return Gauge(name, text, [*names, *more], registry=registry)

        self._gauges = {
            kind: {
                "success": gauge(
                    f"weir_{word}_last_success_timestamp_seconds", "When a run last succeeded."
                ),
                "rows": gauge(f"weir_{word}_rows", "Rows of the last run, by outcome.", "outcome"),
                "bytes": gauge(f"weir_{word}_bytes", "Bytes of the last run."),
                "lag": gauge(
                    f"weir_{word}_lag_seconds",
                    "From the last run's scheduled time, or its start, to its end.",
                ),
                "seconds": gauge(f"weir_{word}_run_seconds", "Time that the last run took."),
                "failed": gauge(f"weir_{word}_last_run_failed", "1 where the last run failed."),
            }
            for kind, word in (("DataSource", "source"), ("Pipeline", "pipeline"))
        }

    def called(self, call: Call) -> None:
        """An AWS call has ended: the observer of :class:`weir.aws.session.AwsSession`."""
        self.aws_calls.labels(call.service, call.operation, call.outcome).inc()
        self.aws_call_seconds.labels(call.service, call.operation).observe(call.seconds)

    def reconciled(self, kind: str, outcome: str, seconds: float) -> None:
        """A reconcile has ended."""
        self.reconciles.labels(kind, outcome).inc()
        self.reconcile_seconds.labels(kind).observe(seconds)

    def depth(self, lanes: Mapping[str, int]) -> None:
        """How many keys are due, by lane."""
        for lane, count in lanes.items():
            self.queue_depth.labels(lane.lower()).set(count)

    def owns(self, key: Key, entries: Sequence[Entry]) -> None:
        """An object's AWS resources are these now."""
        with self._lock:
            tally = Tally((entry.kind, entry.state) for entry in entries)
            before = self._states.get(key, Tally())
            if tally:
                self._states[key] = tally
            else:
                self._states.pop(key, None)
            for labels in {*tally, *before}:
                count = sum(one[labels] for one in self._states.values())
                if count:
                    self.resources.labels(*labels).set(count)
                else:
                    self.resources.remove(*labels)

    def ran(self, key: Key, record: RunRecord, lag: float, seconds: float, success: float) -> None:
        """An object's newest run; times in seconds, ``success`` since 1970 or 0 for none."""
        if not self._per_object:
            return
        gauges, name = self._gauges[key.kind], (key.namespace, key.name)
        gauges["rows"].labels(*name, "total").set(record.rows)
        for outcome in ROW_OUTCOMES:
            count = sum(getattr(stage, outcome) or 0 for stage in record.account)
            gauges["rows"].labels(*name, outcome).set(count)
        gauges["bytes"].labels(*name).set(record.bytes)
        gauges["lag"].labels(*name).set(lag)
        gauges["seconds"].labels(*name).set(seconds)
        gauges["failed"].labels(*name).set(record.state == "Failed")
        if success:
            gauges["success"].labels(*name).set(success)

    def forget(self, key: Key) -> None:
        """The object is gone, and all that was said of it."""
        self.owns(key, ())
        for name, gauge in self._gauges.get(key.kind, {}).items():
            if name == "rows":
                for outcome in ("total", *ROW_OUTCOMES):
                    gauge.remove(key.namespace, key.name, outcome)
            else:
                gauge.remove(key.namespace, key.name)
