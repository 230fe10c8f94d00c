"""What a landing changes in the contract: columns that it adds, types that it makes wider. Pure.

A contract only ever grows, so that a landing that is looked at twice, late or out of order changes
nothing a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from weir_contract.rows import Field, RowContract
from weir_contract.widening import widened
from weir_lambdas.landing.infer import MAX_COLUMNS, Inference, column_name, covered

MAX_ADDED = 200
"""Columns that a source may gain by ``onNewField: add``, all landings together. Further keys are left
out: who has more of them has data for keys, not columns."""

MAX_KEY = 128
"""Characters of a key that becomes a column, as many as ``status.discovered`` tells."""

SYSTEM = "_weir_"
"""What the names of Weir's own columns begin with."""

TIME_PARTS = ("year", "month", "day", "hour")
"""Directories of the landing's time: a column of that name would hide them."""


def evolved(
    stated: RowContract, frozen: RowContract, inference: Inference, landing: int
) -> RowContract:
    """The frozen contract, with what a landing has brought.

    Parameters
    ----------
    stated
        The contract as it was written: its ``evolution`` is obeyed.
    landing
        The landing's number, for the columns that it adds.
    """
    found = frozen
    if stated.on_type_change == "widen":
        found = _wider(stated, found, inference)
    if stated.on_new_field == "add":
        found = replace(found, fields=(*found.fields, *_added(stated, found, inference, landing)))
    return found


def _wider(stated: RowContract, frozen: RowContract, inference: Inference) -> RowContract:
    pinned = {name.lower() for name in (*stated.keys, *stated.pinned)}
    marks = {item.name.lower(): item.statement for item in stated.fields}
    wide: dict[str, Field] = {}
    for item in stated.in_force(frozen).fields:
        name, needs = item.name.lower(), inference.needs(item.path)
        if needs is None or name in pinned:
            continue
        mark = marks.get(name, "inferred")
        found = widened(item, needs.whole, needs.fraction, needs.longest, mark, stated.fixed_scale)
        if found is not None:
            wide[name] = found
    fields = tuple(wide.get(item.name.lower(), item) for item in frozen.fields)
    return frozen if fields == frozen.fields else replace(frozen, fields=fields)


def _added(
    stated: RowContract, frozen: RowContract, inference: Inference, landing: int
) -> Iterator[Field]:
    contract = stated.in_force(frozen)
    known = covered(contract)
    taken = [item.name for item in (*contract.fields, *frozen.fields)]
    taken += [*TIME_PARTS, *stated.reserved]
    room = min(
        MAX_ADDED - sum(item.added is not None for item in frozen.fields),
        MAX_COLUMNS - len({name.lower() for name in taken}),
    )
    for key in sorted(inference.unstated):
        column = inference.unstated[key]
        # A key without a value so far has no type: it waits for its first.
        if key in known or not column.kinds or not usable(key):
            continue
        if room <= 0:
            return
        name = column_name(key, taken)
        taken.append(name)
        room -= 1
        yield Field(name, key, column.type, added=landing)


def usable(key: str) -> bool:
    """Whether a record's key can become a column."""
    return 0 < len(key) <= MAX_KEY and not key.lower().startswith(SYSTEM)
