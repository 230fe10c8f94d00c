"""What Prometheus is told, named by its conventions.

Names of objects and of runs are no labels, but for the gauges of single objects, which a switch
turns off and which go with the object. Rows and runs come from the ledger, so that a restart loses
nothing, and a counter would start again.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from weir.aws.session import Call
from weir.kube.keys import Key
from weir.reconcile.apply import Entry
from weir.reconcile.drift import Round
from weir.reconcile.inventory import Finding
from weir.reconcile.plan import Action, Verb
from weir.reconcile.tallied import Tallied
from weir_contract.runs import RunRecord

SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60)
EDIT_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300)
CONDITIONS = ("Ready", "Synced", "Flowing", "Stalled")
"""Conditions whose states are counted."""
ERROR_NAME = re.compile(r"[A-Z][A-Za-z.]{0,63}")
"""The name of an error's class. What is none is counted as ``Other``: it may hold anything."""

ROW_OUTCOMES = (
    "quarantined",
    "deduplicated",
    "filtered",
    "inserted",
    "updated",
    "stale",
    "deleted",
    "deletions",
)


FOUND = frozenset({"changed", "gone", "appeared"})
"""Findings that are drift; the others are of our own doing, or of AWS's."""

Lines = Mapping[str, tuple[int, float]]
"""Lane -> keys that are due, and seconds for which the oldest of them has been."""


class _Queue(Collector):
    """Asks the queue when Prometheus does: between two takes, what waits grows older."""

    def __init__(self) -> None:
        self.lines: Callable[[], Lines] = dict

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Depth and age by lane."""
        depth = GaugeMetricFamily(
            "weir_queue_depth", "Objects that are due, by lane.", labels=["lane"]
        )
        oldest = GaugeMetricFamily(
            "weir_queue_oldest_seconds",
            "For how long the object that has waited longest has been due, by lane.",
            labels=["lane"],
        )
        for lane, (count, age) in self.lines().items():
            depth.add_metric([lane.lower()], count)
            oldest.add_metric([lane.lower()], age)
        return (depth, oldest)


class _Deletions(Collector):
    """Says at each scrape for how long the oldest deletion has been going on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[Key, float] = {}
        self._lock = threading.Lock()

    def put(self, key: Key, since: float | None) -> None:
        """An object is being deleted since then; None: it is not, or it is gone."""
        with self._lock:
            if since is None:
                self._since.pop(key, None)
            else:
                self._since[key] = since

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The oldest by kind."""
        oldest = GaugeMetricFamily(
            "weir_deletion_oldest_seconds",
            "For how long the object has been going that was deleted first, by kind.",
            labels=["kind"],
        )
        with self._lock:
            starts: dict[str, float] = {}
            for key, since in self._since.items():
                starts[key.kind] = min(since, starts.get(key.kind, since))
        for kind, since in sorted(starts.items()):
            oldest.add_metric([kind], max(0.0, self._clock() - since))
        return (oldest,)


class _DeadLetters(Collector):
    """Asks at each scrape which dead-letter queues hold messages."""

    def __init__(self) -> None:
        self.known: Callable[[], Mapping[str, bool]] = dict

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One sample a Platform."""
        held = GaugeMetricFamily(
            "weir_dead_letters",
            "1 where the Platform's dead-letter queue held messages at the last drift round.",
            labels=["platform"],
        )
        for platform, raised in sorted(self.known().items()):
            held.add_metric([platform], float(raised))
        return (held,)


class Metrics:
    """All metrics of one operator process.

    Parameters
    ----------
    registry
        Where they are registered.
    per_object
        Whether metrics that carry an object's name are kept.
    clock
        Seconds that only grow.
    wall_clock
        Seconds since 1970.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        per_object: bool = True,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = _Queue()
        self.deletions = _Deletions(wall_clock)
        self._dead_letters = _DeadLetters()
        for collector in (self._queue, self.deletions, self._dead_letters):
            registry.register(collector)
        self._per_object = per_object
        self._clock = clock
        self._lock = threading.Lock()
        self._edits: dict[Key, tuple[int, float]] = {}
        self._quotas: set[tuple[str, str]] = set()
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
        self.throttles = Counter(
            "weir_aws_throttles",
            "Tries of AWS API calls that AWS refused because there were too many.",
            ["service"],
            registry=registry,
        )
        self.throttle_seconds = Counter(
            "weir_aws_throttle_wait_seconds",
            "Time for which calls were held back: after a throttled try, and by the adaptive limit.",
            ["service"],
            registry=registry,
        )
        self.inventory_resources = Counter(
            "weir_inventory_resources",
            "Resources that somebody wanted to know of, by where the answer came from: memory (no "
            "call), listing (shared by all of the kind), deep (calls for each).",
            ["kind", "source"],
            registry=registry,
        )
        self.inventory_looks = Counter(
            "weir_inventory_looks",
            "Looks at a kind on AWS: listing or deep.",
            ["kind", "source"],
            registry=registry,
        )
        self.actions = Counter(
            "weir_actions",
            "What was done to AWS resources: create, update, replace, delete, adopt, retain.",
            ["verb", "kind"],
            registry=registry,
        )
        self.drift_found = Counter(
            "weir_drift_found",
            "Resources that were found otherwise than they were known: changed, gone, appeared.",
            ["kind", "what"],
            registry=registry,
        )
        self.drift_mended = Counter(
            "weir_drift_mended",
            "Resources that others had changed or deleted and that were put right.",
            ["kind"],
            registry=registry,
        )
        self.round_seconds = Histogram(
            "weir_drift_round_seconds",
            "Time of one drift round: a look at all that a Platform's objects have.",
            ["outcome"],
            buckets=(0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300),
            registry=registry,
        )
        self.edit_seconds = Histogram(
            "weir_edit_to_synced_seconds",
            "From the sight of a new spec to Synced with it.",
            ["kind"],
            buckets=EDIT_SECONDS,
            registry=registry,
        )
        self.resources = Tallied(
            Gauge(
                "weir_resources",
                "AWS resources by kind and state.",
                ["kind", "state"],
                registry=registry,
            )
        )
        self.objects = Tallied(
            Gauge(
                "weir_objects",
                "Objects by what their conditions say.",
                ["kind", "condition", "status", "reason"],
                registry=registry,
            )
        )
        self.last_runs = Tallied(
            Gauge(
                "weir_last_runs",
                "Objects by how their last run ended; error is the class of what failed.",
                ["kind", "state", "error"],
                registry=registry,
            )
        )
        self.last_run_rows = Tallied(
            Gauge(
                "weir_last_run_rows",
                "Rows of the last runs of all objects, by outcome.",
                ["kind", "outcome"],
                registry=registry,
            )
        )
        quota = ["platform", "quota"]
        self.quota_used = Gauge(
            "weir_quota_used", "What is used of a quota of AWS.", quota, registry=registry
        )
        self.quota_limit = Gauge(
            "weir_quota_limit", "How much a quota of AWS allows.", quota, registry=registry
        )
        self.lease_held = Gauge(
            "weir_lease_held",
            "1 where this replica works for the Platform, else 0; none for objects without one.",
            ["platform"],
            registry=registry,
        )
        self.lease_transitions = Gauge(
            "weir_lease_transitions",
            "How often the Platform's lease was acquired so far, as of this replica's last turn.",
            ["platform"],
            registry=registry,
        )
        self.failovers = Counter(
            "weir_failovers",
            "Leases taken from a replica that had stopped renewing them.",
            ["platform"],
            registry=registry,
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
        self._shapes = {
            "revision": gauge(
                "weir_source_schema_revision", "Grows with each change of the source's shape."
            ),
            "untaken": gauge(
                "weir_source_columns_untaken", "Columns that were seen and that the schema lacks."
            ),
            "missing": gauge(
                "weir_source_columns_missing", "Columns that the newest landing lacks."
            ),
        }

    def called(self, call: Call) -> None:
        """An AWS call has ended: the observer of :class:`weir.aws.session.AwsSession`."""
        self.aws_calls.labels(call.service, call.operation, call.outcome).inc()
        self.aws_call_seconds.labels(call.service, call.operation).observe(call.seconds)
        if call.throttles:
            self.throttles.labels(call.service).inc(call.throttles)
        if call.held > 0:
            self.throttle_seconds.labels(call.service).inc(call.held)

    def served(self, kind: str, count: int) -> None:
        """Resources of a kind were known, so that nobody asked AWS for them."""
        self.inventory_resources.labels(kind, "memory").inc(count)

    def looked(self, kind: str, count: int, deep: bool) -> None:
        """One look at a kind took so many resources along."""
        source = "deep" if deep else "listing"
        self.inventory_looks.labels(kind, source).inc()
        self.inventory_resources.labels(kind, source).inc(count)

    def acted(self, actions: Iterable[Action]) -> None:
        """This was done."""
        for action in actions:
            if action.verb is not Verb.NONE:
                self.actions.labels(action.verb.value, action.kind).inc()

    def rounded(self, done: Round) -> None:
        """A drift round has ended."""
        self.round_seconds.labels("partial" if done.faults else "whole").observe(done.seconds)
        self.found(done.findings)

    def found(self, findings: Iterable[Finding]) -> None:
        """A listing of what objects have showed this."""
        for finding in findings:
            if finding.what in FOUND:
                self.drift_found.labels(finding.kind, finding.what).inc()

    def mended(self, kind: str) -> None:
        """What others had done to a resource was put right."""
        self.drift_mended.labels(kind).inc()

    def edited(self, key: Key, generation: int) -> None:
        """An object was seen with a new spec."""
        with self._lock:
            known = self._edits.get(key)
            if known is None or known[0] < generation:
                self._edits[key] = (generation, self._clock())

    def synced(self, key: Key, generation: int) -> None:
        """AWS matches an object's spec of a generation."""
        with self._lock:
            known = self._edits.get(key)
            if known is None or known[0] > generation:
                return
            del self._edits[key]
            seconds = self._clock() - known[1]
        self.edit_seconds.labels(key.kind).observe(seconds)

    def quota(self, platform: str, name: str, used: int, limit: int) -> None:
        """A quota of a Platform's account, as it was measured last."""
        with self._lock:
            self._quotas.add((platform, name))
            self.quota_used.labels(platform, name).set(used)
            self.quota_limit.labels(platform, name).set(limit)

    def says(
        self, key: Key, conditions: Iterable[Mapping[str, str]], deleted: float | None = None
    ) -> None:
        """An object's conditions are these now.

        Parameters
        ----------
        deleted
            When somebody deleted it, in seconds since 1970; None where nobody did.
        """
        self.deletions.put(key, deleted)
        self.objects.put(
            key,
            Tally(
                (key.kind, one["type"], one["status"], one.get("reason", ""))
                for one in conditions
                if one["type"] in CONDITIONS
            ),
        )

    def reconciled(self, kind: str, outcome: str, seconds: float) -> None:
        """A reconcile has ended."""
        self.reconciles.labels(kind, outcome).inc()
        self.reconcile_seconds.labels(kind).observe(seconds)

    def held(self, platform: str, *, held: bool, transitions: int) -> None:
        """A Platform's lease was gained, or has gone."""
        self.lease_held.labels(platform or "none").set(held)
        self.lease_transitions.labels(platform or "none").set(transitions)

    def exists(self, platform: str) -> None:
        """A Platform whose lease was never held here is told as one that this replica does not hold:
        an alert can't see a series that is not there."""
        self.lease_held.labels(platform or "none")

    def gone(self, platform: str) -> None:
        """There is no such Platform any more: nobody waits for a holder of its lease."""
        for gauge in (self.lease_held, self.lease_transitions, self.failovers):
            gauge.remove(platform or "none")

    def took_over(self, platform: str) -> None:
        """A lease was taken from a replica that had stopped renewing it."""
        self.failovers.labels(platform or "none").inc()

    def follow(self, lines: Callable[[], Lines]) -> None:
        """Tell of a queue from now on.

        Parameters
        ----------
        lines
            What waits, asked at each scrape.
        """
        self._queue.lines = lines

    def follow_dead_letters(self, known: Callable[[], Mapping[str, bool]]) -> None:
        """Tell of dead-letter queues from now on.

        Parameters
        ----------
        known
            Platform -> whether its queue holds messages, asked at each scrape.
        """
        self._dead_letters.known = known

    def owns(self, key: Key, entries: Sequence[Entry]) -> None:
        """An object's AWS resources are these now."""
        self.resources.put(key, Tally((entry.kind, entry.state) for entry in entries))

    def ran(self, key: Key, record: RunRecord, lag: float, seconds: float, success: float) -> None:
        """An object's newest run; times in seconds, ``success`` since 1970 or 0 for none."""
        rows = {"total": record.rows} | {
            outcome: sum(getattr(stage, outcome) or 0 for stage in record.account)
            for outcome in ROW_OUTCOMES
        }
        error = record.failure.error if record.failure else ""
        named = error if not error or ERROR_NAME.fullmatch(error) else "Other"
        self.last_runs.put(key, {(key.kind, record.state, named): 1})
        self.last_run_rows.put(
            key, {(key.kind, outcome): count for outcome, count in rows.items() if count}
        )
        if not self._per_object:
            return
        gauges, name = self._gauges[key.kind], (key.namespace, key.name)
        for outcome, count in rows.items():
            gauges["rows"].labels(*name, outcome).set(count)
        gauges["bytes"].labels(*name).set(record.bytes)
        gauges["lag"].labels(*name).set(lag)
        gauges["seconds"].labels(*name).set(seconds)
        gauges["failed"].labels(*name).set(record.state == "Failed")
        if success:
            gauges["success"].labels(*name).set(success)

    def discovered(self, key: Key, revision: int, untaken: int, missing: int) -> None:
        """What a source's landings have shown: columns that the schema lacks, and that they lack."""
        if self._per_object:
            for name, value in (("revision", revision), ("untaken", untaken), ("missing", missing)):
                self._shapes[name].labels(key.namespace, key.name).set(value)

    def forget(self, key: Key) -> None:
        """The object is gone, or another's, and all that was said of it."""
        for tallied in (self.resources, self.objects, self.last_runs, self.last_run_rows):
            tallied.put(key, {})
        self.deletions.put(key, None)
        with self._lock:
            self._edits.pop(key, None)
            gone = {one for one in self._quotas if (key.kind, key.name) == ("Platform", one[0])}
            self._quotas -= gone
            for labels in gone:
                self.quota_used.remove(*labels)
                self.quota_limit.remove(*labels)
        for gauge in self._shapes.values() if key.kind == "DataSource" else ():
            gauge.remove(key.namespace, key.name)
        for name, gauge in self._gauges.get(key.kind, {}).items():
            if name == "rows":
                for outcome in ("total", *ROW_OUTCOMES):
                    gauge.remove(key.namespace, key.name, outcome)
            else:
                gauge.remove(key.namespace, key.name)
