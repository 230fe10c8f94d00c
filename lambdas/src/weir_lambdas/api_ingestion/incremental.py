"""Only what is new: where to start, which windows to ask for, and which records came before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from weir_contract.rest import Incremental
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.landing import batch
from weir_lambdas.landing.records import as_text

MAX_SEEN = 2_000
"""Records at the boundary that are remembered: they stand in the checkpoint, 400 KB at most."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def higher(current: str | None, value: Any) -> str | None:
    """The higher of two cursor values: by number where both are, else as text (ISO dates sort)."""
    text = as_text(value)
    if text is None or current is None:
        return text if current is None else current
    try:
        return text if Decimal(text) > Decimal(current) else current
    except InvalidOperation:
        return max(text, current)


def highest(current: str | None, values: Sequence[Any]) -> str | None:
    """The highest of the cursor's values in the records and before them."""
    kinds = set(map(type, values)) - {type(None)}
    if _plain_texts(values, kinds) or (kinds and kinds <= {int, float}):
        values = [max(value for value in values if value is not None)]
    for value in values:
        current = higher(current, value)
    return current


def _plain_texts(values: Sequence[Any], kinds: set[type]) -> bool:
    """Whether the values are texts of which none is a number: they sort as they stand."""
    return kinds == {str} and not any(map(_NUMBER.fullmatch, filter(None, values)))


def _from(floor: str, values: Sequence[Any]) -> list[int]:
    """Which values are not below a floor."""
    if _plain_texts(values, set(map(type, values)) - {type(None)}):
        return [n for n, value in enumerate(values) if value is not None and value >= floor]
    texts = map(as_text, values)
    return [n for n, text in enumerate(texts) if text is not None and higher(floor, text) == text]


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
    try:
        if spec.format == "epochSeconds":
            return datetime.fromtimestamp(float(text), UTC)
        if spec.format == "epochMillis":
            return datetime.fromtimestamp(float(text) / 1000, UTC)
        if spec.format in ("iso", "date"):
            moment = datetime.fromisoformat(text)
        else:
            moment = datetime.strptime(text, spec.format)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigInvalid(
            f"a cursor value is no moment in format {spec.format!r}; lag and step need moments",
            "incremental.format",
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=zone(spec.timezone))


def write_moment(moment: datetime, spec: Incremental) -> str:
    """A moment as the source wants it: ``iso`` with the zone's offset (Z for UTC)."""
    local = moment.astimezone(zone(spec.timezone))
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
    """A cursor value set back by the lag."""
    if spec.lag:
        try:
            return str(Decimal(value) - spec.lag)
        except InvalidOperation as error:
            raise ConfigInvalid(
                "a cursor value is no number; use lag for moments", "incremental.lagNumber"
            ) from error
    if spec.lag_seconds:
        return write_moment(read_moment(value, spec) - timedelta(seconds=spec.lag_seconds), spec)
    return value


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
    if spec.step_seconds is None:
        yield Window(start, write_moment(logical, spec) if spec.end_param else None)
        return
    if start is None:
        raise ConfigInvalid("step needs an initialValue", "incremental.initialValue")
    low, step = read_moment(start, spec).astimezone(UTC), timedelta(seconds=spec.step_seconds)
    if low >= logical:
        yield Window(start, write_moment(logical, spec))
    while low < logical:
        high = min(low + step, logical)
        yield Window(write_moment(low, spec), write_moment(high, spec))
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

    An API that is asked for what is new *since* a value gives the records at that value again. So
    the hashes of the records from the next start on are kept, a bounded number of them.

    Parameters
    ----------
    spec
        None for a source that is not incremental: everything passes.
    cursor, state
        What the last extraction left.
    saved
        What :meth:`save` gave before this extraction was cut.
    """

    def __init__(
        self,
        spec: Incremental | None,
        cursor: str | None,
        state: Mapping[str, Any],
        saved: Mapping[str, Any] | None = None,
    ) -> None:
        self._spec = spec
        before = saved or {"high": cursor, "seen": state.get("seen", [])}
        self.high: str | None = before["high"]
        if spec is not None and self.high is None:
            self.high = spec.initial_value
        self._known: dict[str, str] = {digest: value for value, digest in state.get("seen", [])}
        self._seen: dict[str, str] = {digest: value for value, digest in before["seen"]}

    def save(self) -> dict[str, Any]:
        """What is needed to go on, plain JSON."""
        return {"high": self.high, "seen": self._pairs()}

    def state(self) -> dict[str, Any]:
        """What the next extraction is told."""
        pairs = self._pairs()
        return {"seen": pairs} if pairs else {}

    def next_window(self) -> None:
        """A new window begins: what the one before had at its end may come again."""
        self._known |= self._seen

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
        self.high = highest(self.high, values)
        if not spec.deduplicate or self.high is None:
            return set()
        remembered = set(_from(lagged(self.high, spec), values))
        known = set(self._known.values())
        again = {n for n, value in enumerate(values) if known and as_text(value) in known}
        dropped = set()
        for number in sorted(remembered | again):
            digest = blake2b(line(number), digest_size=8).hexdigest()
            if number in remembered:
                self._seen[digest] = str(as_text(values[number]))
            if digest in self._known:
                dropped.add(number)
        if len(self._seen) > 2 * MAX_SEEN:
            self._seen = {digest: value for value, digest in self._pairs()}
        return dropped

    def _pairs(self) -> list[list[str]]:
        if self._spec is None or self.high is None:
            return []
        floor = lagged(self.high, self._spec)
        kept = [
            [value, digest] for digest, value in self._seen.items() if higher(floor, value) == value
        ]
        return kept[-MAX_SEEN:]
