"""Can a load obey the deletions that its source reports?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Stage
from weir.blueprint.columns import names_of
from weir_contract.pipelines import IcebergTable, Load
from weir_contract.rows import RowContract
from weir_contract.tombstones import MAX_TABLE, RESERVED_PREFIX

Fault = tuple[str, str, str]
"""Reason, field below the load, and what is wrong and what to do."""

CHANGING = ("join", "union", "explode", "aggregate", "sql", "script")
"""Steps that make other rows of the rows."""
STREAM = "_stream."
"""How paths into a stream record's metadata begin."""


Target = Load | IcebergTable
"""What may obey deletions."""


def load_faults(load: Load, contract: RowContract) -> Iterator[Fault]:
    """What is wrong with a load's ``deletes``, given its source's contract."""
    if load.table.lower().startswith(RESERVED_PREFIX):
        yield (
            "ReservedTable",
            ".table",
            f"tables that begin with {RESERVED_PREFIX} are Weir's own; choose another name",
        )
    if load.takes_deletions and len(load.table) > MAX_TABLE:
        yield (
            "NameTooLong",
            ".table",
            f"with deletes: {load.deletes} a table's name has at most {MAX_TABLE} characters: "
            "Weir's table beside it has a longer one",
        )
    yield from _target_faults(load, contract)


def table_faults(
    table: IcebergTable, stated: bool, load: Load, contract: RowContract
) -> Iterator[Fault]:
    """What is wrong with an Iceberg table's ``deletes``.

    Parameters
    ----------
    stated
        Whether the table's options say what deletions do.
    load
        The load that it follows where they do not.
    """
    if load.deletes == "hard" and table.mode == "merge" and not stated:
        yield (
            "DeletionsLost",
            ".deletes",
            "rows that are gone from an Iceberg table could come back with an older record that is "
            "late, so that it has no deletes: hard as the load has; state soft, after which readers "
            "ask for rows where _weir_deleted_at is null, or ignore",
        )
    yield from _target_faults(table, contract)


def _target_faults(target: Target, contract: RowContract) -> Iterator[Fault]:
    if not target.takes_deletions:
        return
    if target.mode != "merge":
        yield (
            "InvalidMode",
            ".deletes",
            f"{target.deletes} needs mode merge with keys, not {target.mode}; state the keys of a "
            "row, or use deletes: ignore",
        )
    if contract.deletion is None:
        yield (
            "NoDeletions",
            ".deletes",
            f"{target.deletes}: the schema does not say which records are deletions; state "
            "schema.deletion, or use deletes: ignore, or mode replace where the source is read whole",
        )
    known = {name.lower() for name in names_of(contract.fields)}
    for name in (*target.keys, *((target.order_by,) if target.order_by else ())):
        if known and name.lower() not in known:
            yield (
                "DeletionsLost",
                ".deletes",
                f"{name!r} is no column of the source, where deletions are told by it; use the "
                "schema's columns as keys and orderBy",
            )


def stage_faults(stages: Sequence[Stage], target: Target) -> Iterator[Fault]:
    """What stages before a load, or a table, do that a deletion can't be followed through."""
    if not target.takes_deletions:
        return
    needed = {name.lower() for name in (*target.keys, target.order_by or "")}
    for stage in stages:
        for step in stage.transform or ():
            made = next((kind for kind in CHANGING if getattr(step, kind) is not None), None)
            if made:
                yield (
                    "DeletionsLost",
                    ".deletes",
                    f"stage {stage.name} has a step {made}, through which deletions can't be "
                    "followed; use deletes: ignore, or load without it and do it on the table",
                )
            for name in set(map(str.lower, step.cast or ())) & needed:
                yield (
                    "DeletionsLost",
                    ".deletes",
                    f"stage {stage.name} casts {name!r}, which tells deletions; state its type in "
                    "the schema",
                )


def differing(targets: Mapping[str, Target]) -> Iterator[tuple[str, str]]:
    """Targets that obey deletions by other keys than the first one, and why that is wrong."""
    obeying = {name: target for name, target in targets.items() if target.takes_deletions}
    first = next(iter(obeying.items()), None)
    for name, target in obeying.items():
        if first and (target.keys, target.order_by) != (first[1].keys, first[1].order_by):
            yield (
                name,
                f"{first[0]} and {name} obey deletions by different keys or orderBy; give them the "
                "same, or each a pipeline of its own",
            )


def mark_faults(contract: RowContract) -> Iterator[Fault]:
    """What is wrong with how a schema tells deletions."""
    known = {name.lower() for name in names_of(contract.fields)}
    for name in contract.deletion.mapping if contract.deletion and known else ():
        if name.lower() not in known:
            yield (
                "UnknownColumn",
                ".deletion.mapping",
                f"{name!r} is no column of the schema; there are "
                f"{', '.join(names_of(contract.fields))}",
            )


def source_faults(source: DataSource, contract: RowContract) -> Iterator[Fault]:
    """Whether the source's records have what its schema tells deletions by."""
    mark, stream = contract.deletion, source.spec.source.stream
    if mark is None or (stream is not None and stream.metadata):
        return
    if any(path.startswith(STREAM) for path in (mark.path, *mark.mapping.values())):
        yield (
            "NoMetadata",
            "",
            "schema.deletion reads _stream, which the records have with metadata: true of a "
            "stream only; set it, or tell deletions by a field of the record",
        )
