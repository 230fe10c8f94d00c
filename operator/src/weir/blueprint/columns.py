"""Which columns are there after a stage?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from weir.api.v1alpha1.pipeline import Stage, TransformStep
from weir_contract.rows import Field, RowContract

NEW_COLUMNS = ("join", "union", "explode", "flatten", "sql", "script")
"""Steps after which only the job knows the columns."""


def names_of(fields: Iterable[Field]) -> list[str]:
    """Names of columns, as the user spells them."""
    return [item.name for item in fields]


def after_stages(stages: Iterable[Stage], contract: RowContract) -> RowContract:
    """The columns after all of these stages; see :func:`after_stage`."""
    for stage in stages:
        contract = after_stage(stage, contract)
    return contract


def after_stage(stage: Stage, contract: RowContract) -> RowContract:
    """The columns after a stage; none known is the empty contract, which checks nothing."""
    if stage.clean is not None:
        actions = {item.column.lower(): item.action for item in stage.clean.pii}
        kept = [f for f in contract.fields if actions.get(f.name.lower()) != "drop"]
        changed = {name: None for name, action in actions.items() if action != "drop"}
        return _with(contract, names_of(kept), changed)
    for step in stage.transform or ():
        contract = after_step(step, contract)
    return contract


def after_step(step: TransformStep, contract: RowContract) -> RowContract:
    """The columns after one step of a transform."""
    if not contract.fields or any(getattr(step, kind) is not None for kind in NEW_COLUMNS):
        return RowContract()
    names = names_of(contract.fields)
    if step.select is not None:
        return _with(contract, step.select)
    if step.rename is not None:
        renamed = {old.lower(): new for old, new in step.rename.items()}
        return _with(contract, [renamed.get(name.lower(), name) for name in names])
    if step.aggregate is not None:
        return _with(contract, [*step.aggregate.group_by, *step.aggregate.measures])
    types: dict[str, str | None] = {name.lower(): kind for name, kind in (step.cast or {}).items()}
    types |= {name.lower(): None for name in step.derive or {}}
    return _with(contract, [*names, *(step.derive or {})], types)


def keys_after(stages: Iterable[Stage], keys: Sequence[str]) -> tuple[str, ...]:
    """The schema's keys under their names after these stages; none where they tell rows apart no more.

    An aggregate keeps them where it groups by all of them; an ``explode`` makes several rows of one;
    a ``select`` or a dropped personal column may leave one out. SQL, scripts and joins are taken to
    keep them: a load says so where they do not.

    Parameters
    ----------
    stages
        Those that a row goes through, in order.
    keys
        Columns of the source's schema.
    """
    found = tuple(keys)
    for stage in stages:
        if stage.clean is not None:
            dropped = {item.column.lower() for item in stage.clean.pii if item.action == "drop"}
            found = () if dropped & {key.lower() for key in found} else found
        for step in stage.transform or ():
            found = _keys_after(step, found)
    return found


def _keys_after(step: TransformStep, keys: tuple[str, ...]) -> tuple[str, ...]:
    if step.rename is not None:
        renamed = {old.lower(): new for old, new in step.rename.items()}
        return tuple(renamed.get(key.lower(), key) for key in keys)
    if step.explode is not None:
        return ()
    kept = step.select if step.aggregate is None else step.aggregate.group_by
    if kept is None:
        return keys
    there = {name.lower() for name in kept}
    return keys if all(key.lower() in there for key in keys) else ()


def catalog_columns(
    stages: Iterable[Stage], contract: RowContract, others: Mapping[str, RowContract]
) -> RowContract:
    """The columns after these stages, as far as they are known: what the catalog's table names.

    Unlike :func:`after_stages`, which gives up where a check could be wrong, this keeps what is
    certain: the input's columns and the other source's after a join or a union; all but the
    exploded or flattened one; none after SQL and scripts, until a later step names some.

    Parameters
    ----------
    others
        Contracts of the pipeline's sources, by name.
    """
    for stage in stages:
        if stage.clean is not None:
            contract = after_stage(stage, contract)
        for step in stage.transform or ():
            contract = _known_after(step, contract, others)
    return contract


def _known_after(
    step: TransformStep, contract: RowContract, others: Mapping[str, RowContract]
) -> RowContract:
    names = names_of(contract.fields)
    if step.sql is not None or step.script is not None:
        return RowContract()
    if step.join is not None or step.union is not None:
        semi = step.join is not None and step.join.how in ("leftSemi", "leftAnti")
        other = step.join or step.union
        known = {name.lower() for name in names}
        right = others.get(other.source, RowContract()).fields if other and not semi else ()
        new = (item for item in right if item.name.lower() not in known)
        return replace(contract, fields=(*contract.fields, *new))
    if step.explode is not None:
        column, into = step.explode.column, step.explode.into or step.explode.column
        rest = [name for name in names if name.lower() not in (column.lower(), into.lower())]
        kept = [column] if into.lower() != column.lower() else []
        return _with(contract, [*rest, *kept, into], {into.lower(): None})
    if step.flatten is not None:
        column = step.flatten.column.lower()
        return _with(contract, [name for name in names if name.lower() != column])
    if not contract.fields:
        made = step.select or list(step.derive or {})
        if step.aggregate is not None:
            made = [*step.aggregate.group_by, *step.aggregate.measures]
        return _with(contract, made)
    return after_step(step, contract)


def _with(
    contract: RowContract, names: Sequence[str], types: Mapping[str, str | None] | None = None
) -> RowContract:
    """The contract with these columns; ``types`` has those that changed, by lower-case name."""
    known = {
        item.name.lower(): replace(item, type=(types or {}).get(item.name.lower(), item.type))
        for item in contract.fields
    }
    fields = (
        replace(known.get(name.lower()) or Field(name, name), name=name)
        for name in dict.fromkeys(names)
    )
    return RowContract(fields=tuple(fields))
