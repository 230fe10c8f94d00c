"""What landings have shown of a source's shape, on the object: its status, events and gauges.

Names and types only: what columns hold is told nowhere outside the raw zone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from weir.reconcile.look import Look
from weir.reconcile.runs import instant
from weir.reconcile.world import World
from weir_contract.metadata import Discovered, SchemaChange

MAX_MESSAGE = 1000


def follow_discovered(look: Look, platform: str, table: str, world: World) -> bool:
    """``status.discovered``, and an event for each change that was not told yet.

    The table is asked where the feed tells of a newer revision than the status has.

    Parameters
    ----------
    platform, table
        The Platform and its state table.

    Returns
    -------
    bool
        Whether the status is another one since.
    """
    told = int((look.status.get("discovered") or {}).get("revision") or 0)
    book = look.services.books.of(platform)
    # An object that came back has landings from before, of which the feed may say nothing any more.
    unseen = not told and book.last(look.key) is not None
    if book.revision(look.key) <= told and not unseen:
        _gauge(look)
        return False
    found = world.ledger.discovered(table, f"{look.key.namespace}/{look.key.name}")
    if found is None or found.revision <= told:
        return False
    look.status["discovered"] = discovered_status(found)
    created = instant(look.obj["metadata"].get("creationTimestamp"))
    for change in found.changes:
        at = instant(change.at)
        if change.revision > told and not (created and at and at < created):
            kind, reason = EVENTS[change.kind]
            say = look.services.events.warn if kind == "Warning" else look.services.events.say
            say(look.obj, reason, described(change), "Schema")
    if found.crawl_failure:
        look.services.events.warn(look.obj, "CrawlFailed", found.crawl_failure, "Schema")
    _gauge(look)
    return True


def _gauge(look: Look) -> None:
    found = look.status.get("discovered")
    if found:
        look.services.metrics.discovered(
            look.key, found["revision"], found["untaken"], found["missing"]
        )


def discovered_status(found: Discovered) -> dict[str, Any]:
    """``status.discovered``: what is as one expects is left out."""
    status: dict[str, Any] = {
        "revision": found.revision,
        "sequence": found.sequence,
        "format": found.format,
        "untaken": sum(not one.taken for one in found.columns),
        "missing": sum(one.missing for one in found.columns),
        "columns": [
            {
                "name": one.name,
                **({"type": one.type} if one.type else {}),
                **({} if one.taken else {"taken": False}),
                **({"missing": True} if one.missing else {}),
            }
            for one in found.columns[:1600]
        ],
    }
    if found.crawl_failure:
        status["crawler"] = found.crawl_failure[:1024]
    return status


def described(change: SchemaChange) -> str:
    """A change in words: what, since when, and what becomes of it."""
    return f"landing {change.sequence}: {WORDS[change.kind](change)}"[:MAX_MESSAGE]


def _added(change: SchemaChange) -> str:
    kind = change.after or "null so far"
    if change.evolved:
        return (
            f"new column {change.column} ({kind}), which the schema lacked: it is added as "
            f"{change.contract}, from this landing on (onNewField: add)"
        )
    if change.contract:
        return f"new column {change.column} ({kind}); the schema has it as {change.contract}"
    return (
        f"new column {change.column} ({kind}), which the schema lacks: it is kept in the raw zone "
        "and left out from there on; add it to schema.fields to take it"
    )


def _missing(change: SchemaChange) -> str:
    if change.contract:
        return (
            f"no record has a value for {change.column}, which the schema takes as "
            f"{change.contract}: it becomes null; look for its new name at the source"
        )
    return f"column {change.column} ({change.before or 'null'}) is in no record any more"


def _returned(change: SchemaChange) -> str:
    return f"column {change.column} ({change.after or 'null'}) is back"


def _typed(change: SchemaChange) -> str:
    text = f"column {change.column} was {change.before} and is {change.after} now"
    if change.evolved:
        return f"{text}; the schema takes {change.contract} from now on (onTypeChange: widen)"
    if change.contract:
        text += (
            f"; the schema keeps {change.contract}, and onMisfit says what becomes of rows that do "
            "not fit"
        )
    return text


def _nulls(change: SchemaChange) -> str:
    text = f"column {change.column} has nulls now, or is left out of some records"
    if change.contract:
        text += f"; the schema has it as {change.contract}"
    return text


def _not_measured(_change: SchemaChange) -> str:
    return (
        "it could not be measured for two days, and is not tried again; its rows have landed and go "
        "on, a change of its shape is seen with the next landing. The log of the Platform's function "
        "metadata says why; its event is in the Platform's dead-letter queue"
    )


EVENTS: Mapping[str, tuple[str, str]] = {
    "columnAdded": ("Normal", "ColumnAdded"),
    "columnMissing": ("Warning", "ColumnMissing"),
    "columnReturned": ("Normal", "ColumnReturned"),
    "typeChanged": ("Warning", "ColumnTypeChanged"),
    "nullsSeen": ("Warning", "ColumnHasNulls"),
    "notMeasured": ("Warning", "NotMeasured"),
}
"""Kind of change -> type and reason of its event."""

WORDS: Mapping[str, Callable[[SchemaChange], str]] = {
    "columnAdded": _added,
    "columnMissing": _missing,
    "columnReturned": _returned,
    "typeChanged": _typed,
    "nullsSeen": _nulls,
    "notMeasured": _not_measured,
}
"""Kind of change -> its words."""
