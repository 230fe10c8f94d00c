"""Whatever way moments are written and asked for: over many runs each record lands once."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rest_rig import Read, read
from weir_contract.rest import Incremental, RestApi

FIRST = datetime(2026, 2, 1, tzinfo=UTC)
PATTERN = "%d.%m.%Y %H:%M:%S"
ASKED = {
    "iso": ("iso", "date", "epochSeconds", "epochMillis", PATTERN),
    "naive": ("iso", "date"),
    "epochSeconds": ("epochSeconds",),
    "epochMillis": ("epochMillis",),
    PATTERN: (PATTERN,),
}
"""How records write moments -> how the source wants them."""


@dataclass
class History:
    """A source whose records appear from run to run, and what was asked of it."""

    seed: int
    dice: random.Random = field(init=False)
    records: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        dice = self.dice = random.Random(self.seed)
        self.zone = ZoneInfo(dice.choice(["UTC", "Europe/Berlin", "Asia/Kolkata"]))
        self.style = dice.choice(list(ASKED))
        self.told = dice.random() < 0.7
        steps = [None, None, 5 * 3600, 86_400, 3 * 86_400] if self.told else [None]
        step = dice.choice(steps)
        self.spec = Incremental(
            "at",
            "from" if self.told else None,
            "to" if step else None,
            step_seconds=step,
            lag_seconds=dice.choice([0, 0, 7200]),
            format=dice.choice(ASKED[self.style]),
            timezone=str(self.zone),
        )
        self.spec = Incremental(**{**vars(self.spec), "initial_value": self.initial()})

    def initial(self) -> str:
        """The first start, as the source wants it."""
        if self.spec.format == "iso":
            return FIRST.astimezone(self.zone).isoformat()
        if self.spec.format == "date":
            return "2026-02-01"
        return str(self.written(FIRST, self.spec.format))

    def written(self, moment: datetime, style: str) -> Any:
        """A moment as a record has it."""
        local = moment.astimezone(self.zone)
        if style == "epochSeconds":
            return int(moment.timestamp())
        if style == "epochMillis":
            return int(moment.timestamp() * 1000)
        if style == "naive":
            return local.replace(tzinfo=None).isoformat()
        if style == PATTERN:
            return local.strftime(PATTERN)
        zone = self.dice.choice([UTC, ZoneInfo("Asia/Tokyo"), ZoneInfo("America/New_York")])
        digits = (
            "microseconds" if moment.microsecond else self.dice.choice(["seconds", "milliseconds"])
        )
        return moment.astimezone(zone).isoformat(timespec=digits).replace("+00:00", "Z")

    def read(self, text: str) -> datetime:
        """What the source takes a parameter for."""
        kind = self.spec.format
        if kind.startswith("epoch"):
            return datetime.fromtimestamp(float(text) / (1000 if kind == "epochMillis" else 1), UTC)
        pattern = kind == PATTERN
        found = datetime.strptime(text, PATTERN) if pattern else datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=self.zone)

    def grow(self, since: datetime, until: datetime) -> None:
        """Some records more, none older than the last."""
        at = max([since, *(moment for moment, _ in self.records)])
        for _ in range(self.dice.randint(0, 6)):
            seconds = self.dice.choice([0, 0, 1, 60, 3600, 20_000])
            part = self.dice.choice([0, 0.25, 0.5]) if self.style == "iso" else 0
            at = min(at + timedelta(seconds=seconds + part), until)
            record = {"id": len(self.records), "at": self.written(at, self.style)}
            self.records.append((at, record))

    def answer(self, call: Any, http: Any) -> Any:
        """Both ends of what is asked for belong to it: a day is all of the day."""
        low = self.read(call.query["from"]) if "from" in call.query else FIRST - timedelta(days=9)
        high = self.read(call.query["to"]) if "to" in call.query else FIRST + timedelta(days=999)
        high += timedelta(days=1) if self.spec.format == "date" else timedelta(seconds=1)
        found = [record for moment, record in self.records if low <= moment <= high]
        return 200, {}, json.dumps(found[:: self.dice.choice([1, -1])]).encode()


@pytest.mark.parametrize("part", range(4))
def test_each_record_lands_once_over_many_runs(api: Any, clock: Any, part: int) -> None:
    for seed in range(part * 25, part * 25 + 25):
        history = History(seed)
        api.answer = history.answer
        source = RestApi(api.url, incremental=history.spec)
        landed: list[int] = []
        after: Read | None = None
        since, now = FIRST.astimezone(history.zone), FIRST + timedelta(hours=30)
        for _ in range(5):
            history.grow(since, now)
            since = now + timedelta(seconds=2)
            after = read(source, clock, after=after, logical=now + timedelta(seconds=1))
            landed += [row["id"] for row in after.rows]
            now = since + timedelta(hours=history.dice.randint(0, 60))
        assert sorted(landed) == list(range(len(history.records))), (seed, history.spec)
