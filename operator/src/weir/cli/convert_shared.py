"""What conversions from other tools' formats share: notes, names, and the DataSource around it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from weir.api.v1alpha1.common import API_VERSION

DEFAULT_SCHEDULE = "rate(1 hour)"
IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
ISO_DURATION = re.compile(
    r"^P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$"
)


class CannotConvert(ValueError):
    """The file is none of the formats, or a part of it has no counterpart."""


@dataclass(frozen=True)
class Converted:
    """A DataSource, and what a person should know of the conversion."""

    resource: dict[str, Any]
    notes: tuple[str, ...]


@dataclass
class Notes:
    """What could not be carried over, each with its place; said once each."""

    found: list[str] = field(default_factory=list)

    def add(self, place: str, why: str) -> None:
        """One thing, and what to do about it."""
        text = " ".join(f"{place}: {why}".split())
        if text not in self.found:
            self.found.append(text)

    def unknown(self, place: str, value: Mapping[str, Any], known: Iterable[str]) -> None:
        """Every key that no rule has carried over."""
        for key in value:
            if key not in set(known):
                self.add(f"{place}.{key}" if place else str(key), "not carried over")


def object_name(text: str) -> str:
    """A Kubernetes name: ``customer_data_api`` is ``customer-data-api``.

    Raises
    ------
    CannotConvert
        Nothing is left of it.
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-")
    if not name:
        raise CannotConvert(f"source.name {text!r} has no letter or digit")
    return name


def duration(text: str) -> str | None:
    """An ISO 8601 duration as Weir writes it (``P1DT2H`` is ``1d2h``); months are 30 days."""
    match = ISO_DURATION.fullmatch(text)
    if not match:
        return None
    years, months, weeks, days, hours, minutes, seconds = (
        int(part or 0) for part in match.groups()
    )
    total = {"d": years * 365 + months * 30 + weeks * 7 + days, "h": hours, "m": minutes}
    total["s"] = seconds
    return "".join(f"{number}{unit}" for unit, number in total.items() if number) or None


def moment_format(text: str) -> str:
    """A strftime pattern by Weir's own word for it, where there is one."""
    known = {"%s": "epochSeconds", "%ms": "epochMillis", "%Y-%m-%d": "date"}
    return known.get(text, text)


def without_none(value: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping without what is None, an empty text, list or mapping."""
    return {key: item for key, item in value.items() if item not in (None, "", [], {}, ())}


def data_source(
    name: str, api: Mapping[str, Any], keys: Iterable[str], platform: str, notes: Notes
) -> Converted:
    """A DataSource of a REST API."""
    notes.add("schedule", f"is {DEFAULT_SCHEDULE}: say how often to ask")
    spec: dict[str, Any] = {} if platform == "default" else {"platform": platform}
    spec["source"] = {"restApi": {**without_none(api), "schedule": DEFAULT_SCHEDULE}}
    stated = [key for key in keys if IDENTIFIER.match(key)]
    if stated:
        spec["schema"] = {"type": "json", "keys": stated}
    return Converted(
        {
            "apiVersion": API_VERSION,
            "kind": "DataSource",
            "metadata": {"name": object_name(name)},
            "spec": spec,
        },
        tuple(notes.found),
    )
