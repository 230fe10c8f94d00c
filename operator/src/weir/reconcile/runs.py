"""What the run ledger says: polled from each Platform's feed, kept as the last runs of each object."""

from __future__ import annotations

import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from weir.kube.conditions import FLOWING, Condition, false, true, unknown
from weir.kube.keys import Key
from weir.reconcile.cron import next_fire
from weir.reconcile.ledger import Ledger
from weir_contract.metadata import SchemaNotice
from weir_contract.moments import iso
from weir_contract.runs import RunRecord

KINDS = {"source": "DataSource", "pipeline": "Pipeline"}
"""Kind of run record -> kind of the object that it is about."""

OVERLAP = timedelta(minutes=2)
"""How far back each look goes behind the newest record seen: writers' clocks differ."""
HISTORY = timedelta(days=7)
"""How far back the first look goes where no object says more: the feed's retention."""
REMEMBERED = 200
"""Run records kept for each object."""
LATE_FACTOR = 2.0
"""A source is late when nothing came for so many times its schedule's period."""
CRON_GRACE = timedelta(hours=1)
"""The longest time that a run of a cron schedule gets to bring its data."""

UNITS = {"minute": 60, "hour": 3600, "day": 86_400}


def instant(text: str | None) -> datetime | None:
    """A time of ISO 8601, in UTC; None for what is none."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def to_the_second(moment: datetime) -> str:
    """A moment for people and for Kubernetes' own fields: UTC, RFC 3339, without a fraction."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class RunBook:
    """The newest run records of every object of one Platform. Thread-safe."""

    def __init__(self) -> None:
        self._runs: dict[Key, deque[RunRecord]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._revisions: dict[Key, int] = {}
        self._places: dict[str, None] = {}
        self._newest = ""
        self._lock = threading.Lock()

    def since(self, floor: datetime) -> str:
        """From where on the next look asks."""
        newest = instant(self._newest)
        return iso(newest - OVERLAP if newest else floor)

    def enter(self, place: str, record: RunRecord | SchemaNotice) -> Key | None:
        """Take a record or a notice in. Returns whose it is, or None where it was known."""
        with self._lock:
            if place in self._places:
                return None
            self._places[place] = None
            while len(self._places) > 20 * REMEMBERED:
                self._places.pop(next(iter(self._places)))
            self._newest = max(self._newest, place.partition("#")[0])
            if isinstance(record, SchemaNotice):
                namespace, _, name = record.source.partition("/")
                key = Key("DataSource", namespace, name)
                self._revisions[key] = max(self._revisions.get(key, 0), record.revision)
                return key
            namespace, _, name = record.object.partition("/")
            key = Key(KINDS[record.kind], namespace, name)
            kept = [one for one in self._runs[key] if one.run != record.run]
            self._runs[key] = deque([*kept, record], maxlen=REMEMBERED)
            return key

    def drop(self, key: Key) -> None:
        """An object is gone, and its runs with it."""
        with self._lock:
            self._runs.pop(key, None)
            self._revisions.pop(key, None)

    def revision(self, key: Key) -> int:
        """The newest revision of a source's shape that was told of; 0 for none."""
        with self._lock:
            return self._revisions.get(key, 0)

    def runs(self, key: Key) -> list[RunRecord]:
        """What is known of an object, the oldest entry first."""
        with self._lock:
            return list(self._runs.get(key, ()))

    def last(self, key: Key) -> RunRecord | None:
        """The object's newest run; what a backfill or a replay landed is another object's."""
        runs = [one for one in self.runs(key) if one.lane is None]
        return max(runs, key=lambda one: one.finished or one.started) if runs else None


class RunBooks:
    """The run books of all Platforms, and the look that fills them."""

    def __init__(self, floor: Callable[[str], datetime]) -> None:
        """``floor``: from where on a Platform's first look asks, by the Platform's name."""
        self._floor = floor
        self._books: dict[str, RunBook] = defaultdict(RunBook)

    def of(self, platform: str) -> RunBook:
        """A Platform's book."""
        return self._books[platform]

    def forget(self, platform: str) -> None:
        """The Platform is gone, or another process's: its book begins anew if it comes back."""
        self._books.pop(platform, None)

    def drop(self, key: Key) -> None:
        """An object is gone."""
        for book in list(self._books.values()):
            book.drop(key)

    def look(
        self, platform: str, ledger: Ledger, table: str
    ) -> list[tuple[Key, RunRecord | SchemaNotice]]:
        """One look at a Platform's feed: what is new, in order of time.

        Raises
        ------
        AwsError
            The table can't be read.
        """
        book = self._books[platform]
        news: list[tuple[Key, RunRecord | SchemaNotice]] = []
        for place, record in ledger.feed(table, book.since(self._floor(platform))):
            key = book.enter(place, record)
            if key is not None:
                news.append((key, record))
        return news


def run_status(record: RunRecord) -> dict[str, Any]:
    """A run record as ``status.lastRun`` has it."""
    status: dict[str, Any] = {
        "run": record.run,
        "state": record.state,
        "started": record.started,
        "rows": record.rows,
        "bytes": record.bytes,
        "quarantined": sum(stage.quarantined for stage in record.account),
        "account": [
            {
                name: value
                for name, value in (
                    ("stage", stage.stage),
                    ("kind", stage.kind),
                    ("rowsIn", stage.rows_in),
                    ("rowsOut", stage.rows_out),
                    ("quarantined", stage.quarantined),
                    ("deduplicated", stage.deduplicated),
                    ("filtered", stage.filtered),
                    ("inserted", stage.inserted),
                    ("updated", stage.updated),
                    ("stale", stage.stale),
                    ("deleted", stage.deleted),
                    ("deletions", stage.deletions),
                    ("seconds", round(stage.seconds, 3)),
                )
                if value is not None
            }
            for stage in record.account[:64]
        ],
        "seconds": {name: round(value, 3) for name, value in list(record.seconds.items())[:32]},
    }
    if record.finished:
        status["finished"] = record.finished
    if record.failure is not None:
        status["message"] = failure_text(record)[:4096]
    return status


def failure_text(record: RunRecord) -> str:
    """Why a run failed and what to do, in one line."""
    if record.failure is None:
        return ""
    failure = record.failure
    action = f" {failure.action}" if failure.action else ""
    return f"run {record.run}, {failure.stage}: {failure.error}: {failure.message}{action}"


def period_seconds(schedule: str) -> float | None:
    """Seconds between two starts of ``rate(n unit)``; None for a cron expression."""
    match = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", schedule.strip())
    return float(match[1]) * UNITS[match[2]] if match else None


def deadline(schedule: str | None, timezone: str, since: datetime) -> datetime | None:
    """When data is late that was last seen at ``since``; None where nothing says.

    A rate gets twice its period. A cron expression gets its next time and then as long as lies
    between that one and the one after it, but :data:`CRON_GRACE` at most.
    """
    if not schedule:
        return None
    period = period_seconds(schedule)
    if period is not None:
        return since + timedelta(seconds=period * LATE_FACTOR)
    due = next_fire(schedule, timezone, since)
    if due is None:
        return None
    following = next_fire(schedule, timezone, due)
    return due + (min(following - due, CRON_GRACE) if following else CRON_GRACE)


def flowing(
    last: Mapping[str, Any] | None,
    last_success: str | None,
    created: datetime,
    schedule: str | None,
    suspended: bool,
    now: datetime,
    timezone: str = "UTC",
) -> Condition:
    """Whether data arrives as promised. The text names times, never spans that grow by themselves,
    so that it is the same as long as nothing happens.

    Parameters
    ----------
    last
        ``status.lastRun``.
    last_success
        When a run last succeeded, UTC.
    created
        When the object was created: a first run is due one period later.
    schedule
        ``rate(...)`` or ``cron(...)`` say when something is late; None does not.
    timezone
        Of a cron expression.
    """
    if suspended:
        return unknown(FLOWING, "Suspended", "suspend is set: nothing is asked for")
    if last is not None and last.get("state") == "Failed":
        return false(FLOWING, "RunFailed", str(last.get("message") or f"run {last['run']} failed"))
    if last is not None and last.get("state") == "Running" and last.get("message"):
        return false(FLOWING, "Retrying", f"{last['message']} It is being tried again.")
    success = instant(last_success)
    late = deadline(schedule, timezone, success or created)
    if late is not None and now > late:
        since = (
            f"nothing has come since {to_the_second(success)}"
            if success
            else "no run has succeeded yet"
        )
        return false(FLOWING, "Late", f"{since}; by {schedule} it was due by {to_the_second(late)}")
    limit = f"; late from {to_the_second(late)} on" if late is not None else ""
    if success is None:
        return unknown(FLOWING, "NotDue", f"no run has finished yet{limit}")
    brought = _brought(last or {}) or "a run has succeeded"
    return true(FLOWING, "RunSucceeded", f"{brought}; ended {to_the_second(success)}{limit}")


def _brought(last: Mapping[str, Any]) -> str:
    """What a run that succeeded brought, and what of it a person should look at."""
    rows = last.get("rows")
    if rows is None:
        return ""
    quarantined = last.get("quarantined") or 0
    if rows:
        text = f"the last run brought {rows} rows"
    elif quarantined:
        text = "the last run brought no rows that keep the contract"
    else:
        text = "the last run found no rows: what was there before stays as it is"
    if quarantined:
        text += f"; {quarantined} went to quarantine, which has each with its reason"
    return text
