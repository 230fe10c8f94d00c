"""What a landing changes in what was ever seen of a source's shape. Pure.

Everything but ``missing`` only ever grows: columns are added, types widen, nulls stay seen. So a
landing that is looked at twice, late or out of order changes nothing a second time, and each change
is told once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from weir_contract.metadata import (
    ChangeKind,
    ColumnMetadata,
    Discovered,
    LandingMetadata,
    SchemaChange,
    SeenColumn,
)
from weir_contract.rows import ColumnType, Field, RowContract
from weir_lambdas.landing.infer import MAX_COLUMNS, MAX_DECIMAL_DIGITS

MAX_CHANGES = 50
"""Changes that are kept to be told; the oldest go first."""

MAX_NAME = 128
"""Characters of a column's name; a longer key is data, not a column."""

MAX_NAME_BYTES = 150_000
"""Of all columns' names together: what is known of a source is one item, of 400 KB at most (DynamoDB
Developer Guide, *Constraints*). Columns beyond are measured with each landing, and not told of."""

Tell = Callable[[ChangeKind, str, str | None, str | None], None]
"""Told of a change: kind, column, type before and after."""


def given_up(known: Discovered, sequence: int, at: str) -> Discovered:
    """What is known once a landing's measuring was given up; told once.

    Parameters
    ----------
    at
        Now, UTC, ISO 8601.
    """
    if any(one.kind == "notMeasured" and one.sequence == sequence for one in known.changes):
        return known
    revision = known.revision + 1
    change = SchemaChange(revision, sequence, "notMeasured", "", at)
    return replace(known, revision=revision, changes=(*known.changes, change)[-MAX_CHANGES:])


def discover(known: Discovered, seen: LandingMetadata, contract: RowContract | None) -> Discovered:
    """What is known after a landing.

    Parameters
    ----------
    known
        What was known; an empty one before the first landing.
    contract
        The frozen contract; None before it is.
    """
    if not seen.rows_read:
        return known
    first, newest = not known.revision, seen.sequence > known.sequence
    taken = _taken(contract)
    columns = {one.name: one for one in known.columns}
    room = MAX_NAME_BYTES - sum(map(_size, columns))
    changes: list[SchemaChange] = []

    def tell(kind: ChangeKind, name: str, before: str | None, after: str | None) -> None:
        field = taken.get(name)
        changes.append(
            SchemaChange(
                known.revision + 1,
                seen.sequence,
                kind,
                name,
                seen.landed_time,
                before,
                after,
                (field.type or "string") if field else None,
                field is not None and _evolved(kind, field),
            )
        )

    present = {one.name: one for one in seen.columns if len(one.name) <= MAX_NAME}
    for name, found in present.items():
        before = columns.get(name)
        is_taken = contract is None or name in taken or _covered(name, taken)
        if before is None:
            room -= _size(name)
            if len(columns) >= MAX_COLUMNS or room < 0:
                continue
            columns[name] = SeenColumn(
                name, seen.sequence, found.type, found.nulls > 0, False, is_taken
            )
            if not first and not _covered(name, taken):
                tell("columnAdded", name, None, found.type)
            if found.nulls and name in taken and not taken[name].nullable:
                tell("nullsSeen", name, None, found.type)
            continue
        columns[name] = _again(before, found, is_taken, newest, tell)
    if newest:
        for name, before in list(columns.items()):
            if name not in present and not before.missing and _counts(before, name in taken, seen):
                columns[name] = replace(before, missing=True, nulls=True)
                if not before.intermittent:
                    tell("columnMissing", name, before.type, None)
        for name, field in () if seen.sampled else taken.items():
            if name in present or name in columns:
                continue
            room -= _size(name)
            if len(columns) < MAX_COLUMNS and room >= 0:
                columns[name] = SeenColumn(name, seen.sequence, None, True, True, True)
                tell("columnMissing", name, None, field.type)
    ordered = tuple(columns[name] for name in sorted(columns))
    moved = first or ordered != known.columns or (newest and seen.format != known.format)
    return replace(
        known,
        revision=known.revision + 1 if moved else known.revision,
        sequence=max(known.sequence, seen.sequence),
        columns=ordered,
        changes=(*known.changes, *changes)[-MAX_CHANGES:],
        format=seen.format if newest else known.format,
    )


def _size(name: str) -> int:
    """Bytes of a name, UTF-8."""
    return len(name.encode("utf-8", "surrogatepass"))


def retaken(known: Discovered, contract: RowContract) -> Discovered:
    """What is known once the contract is another: which columns it takes."""
    taken = _taken(contract)
    columns = tuple(
        replace(one, taken=one.name in taken or _covered(one.name, taken)) for one in known.columns
    )
    if columns == known.columns:
        return known
    return replace(known, columns=columns, revision=known.revision + 1)


def _again(
    before: SeenColumn,
    found: ColumnMetadata,
    taken: bool,
    newest: bool,
    tell: Tell,
) -> SeenColumn:
    wider = join(before.type, found.type)
    if wider != before.type and before.type is not None:
        tell("typeChanged", before.name, before.type, wider)
    nulls = before.nulls or found.nulls > 0
    if nulls and not before.nulls:
        tell("nullsSeen", before.name, None, wider)
    back = newest and before.missing
    if back and not before.intermittent:
        tell("columnReturned", before.name, None, wider)
    return replace(
        before,
        type=wider,
        nulls=nulls,
        missing=before.missing and not newest,
        intermittent=before.intermittent or back,
        taken=taken,
    )


def _taken(contract: RowContract | None) -> dict[str, Field]:
    """Name as the metadata have it (a path) -> the field that takes it."""
    return {} if contract is None else {item.path: item for item in contract.fields}


def _evolved(kind: ChangeKind, field: Field) -> bool:
    """Whether the contract went along with a change."""
    return (
        field.added is not None
        if kind == "columnAdded"
        else (kind == "typeChanged" and field.widened_from is not None)
    )


def _covered(name: str, taken: Mapping[str, Field]) -> bool:
    """Whether a top-level key holds what a field with a deeper path takes."""
    return any(path.startswith((f"{name}.", f"{name}[")) for path in taken)


def _counts(before: SeenColumn, taken: bool, seen: LandingMetadata) -> bool:
    """Whether a column's absence is worth telling: it was in each row so far, or the contract has it
    and all rows were looked at."""
    return not before.nulls or (taken and not seen.sampled)


def join(one: str | None, other: str | None) -> str | None:
    """The narrowest type expression that holds the values of both."""
    if one is None or other is None or one == other:
        return other if one is None else one
    first, second = ColumnType.parse(one), ColumnType.parse(other)
    names = {first.name, second.name}
    if names == {"integer", "number"}:
        return "number"
    if names <= {"integer", "number", "decimal"}:
        return _decimal(first, second)
    return "string"


def _decimal(first: ColumnType, second: ColumnType) -> str:
    scale = max(first.scale, second.scale)
    whole = max(one.precision - one.scale for one in (first, second))
    whole = max(whole, 19 if "integer" in (first.name, second.name) else 0)
    if "number" in (first.name, second.name) or whole + scale > MAX_DECIMAL_DIGITS:
        return f"decimal({MAX_DECIMAL_DIGITS},{scale})"
    return f"decimal({whole + scale},{scale})"
