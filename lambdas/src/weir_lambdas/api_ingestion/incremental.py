"""Only what is new: where to start, which windows to ask for, and which records came before."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from weir_contract.rest import Incremental
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.log import log
from weir_lambdas.landing import batch
from weir_lambdas.landing.records import as_text

MAX_SEEN = 20_000
"""Records at the boundary that are remembered: they stand in the manifest, and in its checkpoint."""

EPOCHS = {"epochSeconds": 1, "epochMillis": 1000}
NAMED = {"iso", "date", *EPOCHS}
"""Formats that are no strftime pattern."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?\s?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=8192)
def _rank(text: str, written: str, timezone: str) -> tuple[str, Any]:
    """A cursor value as what it says: a number, a moment, else a text.

    APIs write one moment in many ways, with and without a fraction of a second, in one zone or
    another: their texts do not sort.
    """
    if written not in NAMED:
        try:
            moment = datetime.strptime(text, written)
        except ValueError:
            pass  # not as the source is asked, but perhaps as ISO 8601 says
        else:
            return "moment", (_aware(moment, timezone), "")
    if _NUMBER.fullmatch(text):
        return "number", Decimal(text)
    found = _ISO.fullmatch(text)
    if found is None:
        return "text", text
    day, time, fraction, offset = found.groups()
    try:
        whole = datetime.fromisoformat(f"{day}T{time or '00:00'}{(offset or '').upper()}")
        whole = _aware(whole, timezone).astimezone(UTC)
    except (ValueError, OverflowError):  # at either end of the calendar
        return "text", text
    if written in EPOCHS:
        seconds = Decimal(int(whole.timestamp())) + Decimal(f"0.{fraction or 0}")
        return "number", seconds * EPOCHS[written]
    return "moment", (whole, (fraction or "").rstrip("0"))


def _aware(moment: datetime, timezone: str) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=zone(timezone))


KINDS = ("text", "number", "moment")
"""From the lowest: a word such as "pending" among moments must not become the cursor, as no source
knows what is new since then."""


def at_least(text: str, floor: str, spec: Incremental) -> bool:
    """Whether a cursor value is not below another; values of two kinds go by :data:`KINDS`."""
    one, other = (_rank(value, spec.format, spec.timezone) for value in (text, floor))
    if one[0] != other[0]:
        return KINDS.index(one[0]) > KINDS.index(other[0])
    return bool(one[1] >= other[1])


def may_come_again(text: str, floor: str, spec: Incremental) -> bool:
    """Whether a source that is asked from a value on may give a record with this one: all that is
    not surely below."""
    one, other = (_rank(value, spec.format, spec.timezone)[0] for value in (text, floor))
    return one != other or at_least(text, floor, spec)


def higher(current: str | None, value: Any, spec: Incremental) -> str | None:
    """The higher of two cursor values; of equal ones the first."""
    text = as_text(value)
    if text is None or current is None:
        return text if current is None else current
    return current if at_least(current, text, spec) else text


def highest(current: str | None, values: Sequence[Any], spec: Incremental) -> str | None:
    """The highest of the cursor's values in the records and before them."""
    kinds = set(map(type, values)) - {type(None)}
    if _sorts_as_text(values, kinds, spec) or (kinds and kinds <= {int, float}):
        values = [max(value for value in values if value is not None)]
    for value in values:
        current = higher(current, value, spec)
    return current


def _sorts_as_text(values: Sequence[Any], kinds: set[type], spec: Incremental) -> bool:
    """Whether the values are texts that sort as they stand: no numbers, and no moments or moments
    that are all written the same way."""
    if kinds != {str} or spec.format not in NAMED:
        return False
    texts = [value for value in values if value is not None]
    if any(map(_NUMBER.fullmatch, texts)):
        return False
    return len(set(map(_manner, texts))) == 1 or not any(map(_ISO.fullmatch, texts))


def _manner(text: str) -> tuple[int, str]:
    """How a moment is written: its length, and its offset from UTC."""
    return len(text), text[-6:] if len(text) > 16 and text[-6] in "+-" else text[-1:].lstrip(
        "0123456789"
    )


def _from(floor: str, values: Sequence[Any], spec: Incremental) -> list[int]:
    """Which values are not below a floor."""
    if _sorts_as_text([floor, *values], set(map(type, values)) - {type(None)}, spec):
        return [n for n, value in enumerate(values) if value is not None and value >= floor]
    texts = map(as_text, values)
    found = enumerate(texts)
    return [n for n, text in found if text is not None and may_come_again(text, floor, spec)]


def zone(name: str) -> ZoneInfo:
    """A zone by its IANA name.

    Raises
    ------
    ConfigInvalid
        There is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigInvalid(f"there is no time zone {name!r}", "incremental.timezone") from error


def read_moment(text: str, spec: Incremental) -> datetime:
    """A cursor value as a moment; one without an offset is in the source's zone.

    Raises
    ------
    ConfigInvalid
        It is no moment in the format.
    """
    kind, value = _rank(text, spec.format, spec.timezone)
    try:
        if kind == "number" and spec.format in EPOCHS:
            return datetime.fromtimestamp(float(value / EPOCHS[spec.format]), UTC)
        if kind == "moment":
            whole, fraction = value
            return (
                cast(datetime, whole.replace(microsecond=int(f"{fraction:0<6}"[:6])))
                if fraction
                else cast(datetime, whole)
            )
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigInvalid(
            f"a cursor value is no moment in format {spec.format!r}; lag and step need moments",
            "incremental.format",
        ) from error
    return _aware(moment, spec.timezone)


def write_moment(moment: datetime, spec: Incremental) -> str:
    """A moment as the source wants it: ``iso`` with the zone's offset (Z for UTC)."""
    try:
        local = moment.astimezone(zone(spec.timezone))
    except OverflowError as error:
        raise ConfigInvalid("a cursor value is at the calendar's end", "incremental") from error
    if spec.format == "epochSeconds":
        return str(int(moment.timestamp()))
    if spec.format == "epochMillis":
        return str(int(moment.timestamp() * 1000))
    if spec.format == "date":
        return local.date().isoformat()
    if spec.format == "iso":
        precision = "milliseconds" if local.microsecond else "seconds"
        return local.isoformat(timespec=precision).replace("+00:00", "Z")
    return local.strftime(spec.format)


def lagged(value: str, spec: Incremental) -> str:
    """What the source is asked to begin with after a cursor value: set back by the lag, and written
    as the source wants moments, which its records may write otherwise."""
    if spec.lag:
        try:
            return str(Decimal(value) - spec.lag)
        except InvalidOperation as error:
            raise ConfigInvalid(
                "a cursor value is no number; use lag for moments", "incremental.lagNumber"
            ) from error
    if spec.lag_seconds:
        moment = read_moment(value, spec)
        back = timedelta(seconds=spec.lag_seconds)
        return write_moment(max(moment, FIRST + back) - back, spec)
    return as_asked(value, spec)


FIRST = datetime(1, 1, 2, tzinfo=UTC)
"""No lag leads behind the calendar's beginning."""


def as_asked(value: str, spec: Incremental) -> str:
    """A value as the source wants moments; one that is written so, or is no moment, as it stands."""
    if spec.format == "iso":
        return value
    try:
        moment = read_moment(value, spec)
    except ConfigInvalid:
        return value
    written = write_moment(moment, spec)
    try:
        same = read_moment(written, spec) == moment and len(written) == len(value)
    except ConfigInvalid:
        same = False
    if spec.format in EPOCHS and _NUMBER.fullmatch(value):
        same = True
    return value if same else written


@dataclass(frozen=True)
class Window:
    """What one round asks for, written as the source wants it; None for an open side."""

    start: str | None
    end: str | None

    def params(self, spec: Incremental | None) -> dict[str, str]:
        """The query parameters of this window."""
        if spec is None:
            return {}
        found = {}
        if spec.start_param and self.start is not None:
            found[spec.start_param] = self.start
        if spec.end_param and self.end is not None:
            found[spec.end_param] = self.end
        return found


def windows(spec: Incremental | None, cursor: str | None, logical: datetime) -> Iterator[Window]:
    """The windows from a cursor to the run's logical time; without a step there is one.

    Parameters
    ----------
    cursor
        What the last extraction left; None before the first.
    """
    if spec is None:
        yield Window(None, None)
        return
    start = lagged(cursor, spec) if cursor is not None else spec.initial_value
    if cursor is None and start is not None:
        start = as_asked(start, spec)
    if spec.step_seconds is None:
        yield Window(start, write_moment(logical, spec) if spec.end_param else None)
        return
    if start is None:
        raise ConfigInvalid("step needs an initialValue", "incremental.initialValue")
    low, step = read_moment(start, spec).astimezone(UTC), timedelta(seconds=spec.step_seconds)
    if low >= logical:
        yield Window(start, write_moment(logical, spec))
    while low < logical:
        begin, high = write_moment(low, spec), min(low + step, logical)
        # A day is asked for once, also where the step is shorter than the format can say.
        while high < logical and write_moment(high, spec) == begin:
            high = min(high + step, logical)
        yield Window(begin, write_moment(high, spec))
        low = high


def windowed(spec: Incremental | None, part: batch.Window) -> tuple[Incremental, datetime]:
    """How a source is asked for a part of the past: what to begin with, and the logical end.

    A format that does not tell the end exactly, as a date does not tell an hour, is asked for a day
    more; :func:`cut_to` leaves out what does not belong to the part.

    Raises
    ------
    ConfigInvalid
        The source is not asked for what is new, and so can't be asked for a part.
    """
    if spec is None:
        raise ConfigInvalid("a source without incremental has no past to ask for", "incremental")
    end = part.end
    if read_moment(write_moment(end, spec), spec) < end:
        end += timedelta(days=1)
    start = write_moment(part.start, spec)
    return replace(spec, initial_value=start, lag=0, lag_seconds=0), end


def cut_to(part: batch.Window, spec: Incremental, values: Sequence[Any]) -> list[int]:
    """Which records are of a part: from its start on and before its end, so that two share none.

    A record without the cursor's value stays: the source gave it for this part.

    Parameters
    ----------
    values
        The cursor's, of each record.

    Raises
    ------
    ConfigInvalid
        A value is no moment.
    """
    return [
        number
        for number, value in enumerate(map(as_text, values))
        if value is None or part.start <= read_moment(value, spec) < part.end
    ]


class Boundary:
    """Follows the cursor, and drops records that an earlier extraction landed already.

    An API that is asked for what is new *since* a value gives the records at that value again, and
    one that is asked since a day all of that day. So the hashes of the records from the next start
    on are kept, a bounded number of them.

    Parameters
    ----------
    spec
        None for a source that is not incremental: everything passes.
    cursor, state
        What the last extraction left.
    saved
        What :meth:`save` gave before this extraction was cut.
    asked
        Whether the source is told where to begin. What it gives then counts: it may know of a change
        that the cursor does not show. Else what is below the start is left out here.
    """

    def __init__(
        self,
        spec: Incremental | None,
        cursor: str | None,
        state: Mapping[str, Any],
        saved: Mapping[str, Any] | None = None,
        asked: bool = True,
    ) -> None:
        self._spec = spec
        before = saved or {"high": cursor, "seen": state.get("seen", [])}
        self.high: str | None = before["high"]
        if spec is not None and self.high is None:
            self.high = spec.initial_value
        self.met = cursor is not None or saved is not None
        """Whether some record had a value for the cursor."""
        self._known: dict[str, str] = {digest: value for value, digest in state.get("seen", [])}
        self._known_values = set(self._known.values())
        self._seen: dict[str, str] = {digest: value for value, digest in before["seen"]}
        start = None
        if spec is not None and spec.deduplicate and not asked:
            start = lagged(cursor, spec) if cursor is not None else spec.initial_value
        self._start, self._end = start, cast("str | None", None)
        self._pruned: str | None = None
        self._told = False

    def save(self) -> dict[str, Any]:
        """What is needed to go on, plain JSON."""
        return {"high": self.high, "seen": self._pairs()}

    def state(self) -> dict[str, Any]:
        """What the next extraction is told."""
        pairs = self._pairs()
        return {"seen": pairs} if pairs else {}

    def enter(self, window: Window, after: Window | None) -> None:
        """A window begins: what the one before had at its end may come again."""
        if after is not None and after != window:
            self._known |= self._seen
            self._known_values = set(self._known.values())
        self._end = window.end if self._spec and self._spec.step_seconds is not None else None

    def dropped(self, values: Sequence[Any], line: Callable[[int], bytes]) -> set[int]:
        """Which records came before; the cursor is moved by all.

        Parameters
        ----------
        values
            The cursor's, of each record.
        line
            Number of a record -> the line that it is.
        """
        spec = self._spec
        if spec is None or not values:
            return set()
        self.high = highest(self.high, values, spec)
        self.met = self.met or any(value is not None for value in values)
        if not spec.deduplicate or self.high is None:
            return set()
        remembered = set(_from(self._floor(self.high, spec), values, spec))
        known = self._known_values
        again = {n for n, value in enumerate(values) if known and as_text(value) in known}
        dropped = self._below(values, spec)
        for number in sorted((remembered | again) - dropped):
            digest = blake2b(line(number), digest_size=8).hexdigest()
            if number in remembered:
                self._seen[digest] = str(as_text(values[number]))
            if digest in self._known:
                dropped.add(number)
        if len(self._seen) > 2 * MAX_SEEN:
            self._pairs()
        return dropped

    def _below(self, values: Sequence[Any], spec: Incremental) -> set[int]:
        """Which records are older than the start, of a source that is not told of it."""
        if self._start is None:
            return set()
        if _rank(self._start, spec.format, spec.timezone)[0] == "text":
            return set()
        asked = set(_from(self._start, values, spec))
        return {n for n in range(len(values)) if n not in asked and as_text(values[n]) is not None}

    def _floor(self, high: str, spec: Incremental) -> str:
        """The lowest value that the source may give once more: of the next window, or the next run."""
        by_cursor = lagged(high, spec)
        if self._end is None:
            return by_cursor
        by_window = lagged(self._end, spec)
        ranks = {_rank(text, spec.format, spec.timezone)[0] for text in (by_cursor, by_window)}
        lower = len(ranks) == 1 and at_least(by_cursor, by_window, spec)
        return by_window if lower else by_cursor

    def _pairs(self) -> list[list[str]]:
        if self._spec is None or self.high is None:
            return []
        spec, floor = self._spec, self._floor(self.high, self._spec)
        if floor != self._pruned:
            found = self._seen.items()
            self._seen = {
                digest: text for digest, text in found if may_come_again(text, floor, spec)
            }
            self._pruned = floor
        if len(self._seen) > MAX_SEEN:
            if not self._told:
                log(
                    "WARNING",
                    "more records than are remembered are at the cursor: some may land again",
                    remembered=MAX_SEEN,
                )
                self._told = True
            self._seen = dict(list(self._seen.items())[-MAX_SEEN:])
        return [[text, digest] for digest, text in self._seen.items()]
