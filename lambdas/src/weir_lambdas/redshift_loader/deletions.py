"""The statements of a load that obey deletions: the target's rows go, or are marked.

For each key two things are known: the newest row and the newest deletion. The one that is newer by
``orderBy``, then by the landing, decides; of the same age, the deletion. Both are kept by maximum,
so that loads in whatever order, and repeated, end in the same table. The deletions are in the
tombstones (:mod:`weir_contract.tombstones`); with ``deletes: hard`` a key has either a row there or
a row in the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weir_contract.compile import DELETED_AT, quoted
from weir_contract.tombstones import (
    tombstone_ddl,
    tombstone_fields,
    tombstone_name,
    tombstone_table,
)
from weir_lambdas.redshift_loader.fragments import (
    COUNTS,
    FRESH,
    RUN,
    SEQUENCE,
    count,
    newest_first,
    older,
    same_keys,
)

if TYPE_CHECKING:
    from weir_lambdas.redshift_loader.sql import LoadPlan

STAGE, GONE = "weir_gone_stage", "weir_gone"
"""Deletions as they were read, and the newest of each key."""
MARK = quoted(DELETED_AT[0])


def tables(plan: LoadPlan) -> list[str]:
    """The tombstones, and the target's column for the mark where it is not there yet."""
    if not plan.load.takes_deletions:
        return []
    mark = [f"ALTER TABLE {plan.table} ADD COLUMN {MARK} {DELETED_AT[1]}"] if plan.new_mark else []
    return [*mark, tombstone_ddl(plan.load, plan.fields)]


def newest(plan: LoadPlan, casts: dict[str, str], not_loaded: str) -> list[str]:
    """The newest deletion of each key, and how many there were.

    Parameters
    ----------
    casts
        Column, folded -> the staged value as one of the target's type.
    not_loaded
        Condition that leaves nothing where the load was done before.
    """
    if not plan.deletions_uri:
        return []
    names = [quoted(item.name) for item in tombstone_fields(plan.load, plan.fields)]
    keys = ", ".join(quoted(key) for key in plan.load.keys)
    values = [
        f"{casts[item.name.lower()]} AS {quoted(item.name)}"
        for item in tombstone_fields(plan.load, plan.fields)
    ]
    own = [quoted(RUN), quoted(SEQUENCE)]
    return [
        f"CREATE TEMP TABLE {GONE} AS\nSELECT {', '.join([*values, *own])}\n"
        f"FROM (SELECT {', '.join([*names, *own])}, ROW_NUMBER() OVER (PARTITION BY {keys} "
        f'ORDER BY {newest_first(plan.load)}) AS "_weir_rank" FROM {STAGE}\n'
        f'WHERE {not_loaded}) AS ranked\nWHERE "_weir_rank" = 1',
        f"INSERT INTO {COUNTS} SELECT 'deletions', COUNT(*) FROM {STAGE} "
        f"UNION ALL SELECT 'gone', COUNT(*) FROM {GONE}",
    ]


def stale(plan: LoadPlan) -> list[str]:
    """Take out what is older than what is known: deletions, and with ``hard`` rows too."""
    load = plan.load
    if not load.takes_deletions:
        return []
    target, tombstones = quoted(load.table), quoted(tombstone_table(load))
    known = (
        (plan.table, target, False),
        (FRESH, FRESH, False),
        (tombstone_name(load), tombstones, True),
    )
    found = []
    if plan.deletions_uri:
        found += [_without(plan, GONE, table, name, same) for table, name, same in known]
    if load.deletes == "hard":
        found += [_without(plan, FRESH, GONE, GONE, True)] if plan.deletions_uri else []
        found.append(_without(plan, FRESH, tombstone_name(load), tombstones, True))
    return found


def _without(plan: LoadPlan, mine: str, table: str, name: str, or_same: bool) -> str:
    """Remove rows for which another table has a newer one."""
    return (
        f"DELETE FROM {mine} USING {table}\nWHERE {same_keys(plan.load, mine, name)}\n"
        f"AND {older(plan.load, mine, name, or_same)}"
    )


def before_merge(plan: LoadPlan) -> list[str]:
    """Remember the deletions; with ``hard`` the rows go."""
    load = plan.load
    if not plan.deletions_uri:
        return []
    same = same_keys(load, quoted(load.table), GONE)
    if load.deletes == "soft":
        return [_remember(plan)]
    return [
        count("deleted", GONE, f" WHERE EXISTS (SELECT 1 FROM {plan.table} WHERE {same})"),
        f"DELETE FROM {plan.table} USING {GONE}\nWHERE {same}",
        _remember(plan),
    ]


def after_merge(plan: LoadPlan) -> list[str]:
    """With ``soft`` rows are marked; tombstones of rows that live again go, and those past their
    time."""
    load = plan.load
    if not load.takes_deletions:
        return []
    target, tombstones = quoted(load.table), quoted(tombstone_table(load))
    found = []
    past = (
        f"DELETE FROM {tombstone_name(load)}\nWHERE {MARK} < "
        f"DATEADD(second, -{load.tombstone_seconds}, GETDATE())"
    )
    if load.deletes == "soft":
        alive = f"{same_keys(load, target, GONE)} AND {target}.{MARK} IS NULL"
        if plan.deletions_uri:
            where = f" WHERE EXISTS (SELECT 1 FROM {plan.table} WHERE {alive})"
            found.append(count("deleted", GONE, where))
        same = same_keys(load, target, tombstones)
        found.append(
            f"UPDATE {plan.table} SET {MARK} = {tombstones}.{MARK}\n"
            f"FROM {tombstone_name(load)}\nWHERE {same} AND {target}.{MARK} IS NULL\n"
            f"AND {older(load, target, tombstones, or_same=True)}"
        )
        # A marked row of which a version comes late needs its tombstone to stay marked.
        past += f"\nAND NOT EXISTS (SELECT 1 FROM {plan.table} WHERE {same})"
    found.append(
        f"DELETE FROM {tombstone_name(load)} USING {FRESH}\n"
        f"WHERE {same_keys(load, tombstones, FRESH)}\nAND {older(load, tombstones, FRESH)}"
    )
    return [*found, past]


def _remember(plan: LoadPlan) -> str:
    load = plan.load
    names = [quoted(item.name) for item in tombstone_fields(load, plan.fields)]
    names += [quoted(RUN), quoted(SEQUENCE)]
    keys = {quoted(key) for key in load.keys}
    sets = ", ".join(f"{name} = {GONE}.{name}" for name in names if name not in keys)
    values = ", ".join(f"{GONE}.{name}" for name in names)
    tombstones = quoted(tombstone_table(load))
    return (
        f"MERGE INTO {tombstone_name(load)} USING {GONE}\n"
        f"ON {same_keys(load, tombstones, GONE)}\n"
        f"WHEN MATCHED THEN UPDATE SET {sets}, {MARK} = GETDATE()\n"
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(names)}, {MARK}) VALUES ({values}, GETDATE())"
    )


def revived(plan: LoadPlan) -> str:
    """What MERGE sets beside the row's columns: an update takes the mark away."""
    return f", {MARK} = NULL" if plan.load.deletes == "soft" else ""
