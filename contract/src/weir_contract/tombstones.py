"""Tombstones: which rows a source has said are gone, and of which age that word was.

They stand beside the target, in its schema, so that whoever may read the target, and nobody else,
may read the keys that are gone from it. Without them a row that comes late, or once more, would
bring back what was deleted before.
"""

from __future__ import annotations

from collections.abc import Sequence

from weir_contract.codec import ContractError
from weir_contract.compile import DELETED_AT, SYSTEM_COLUMNS, quoted, redshift_type
from weir_contract.pipelines import Load
from weir_contract.rows import Field

RESERVED_PREFIX = "_weir_"
"""Tables whose names begin so are Weir's own."""
TOMBSTONE_PREFIX = f"{RESERVED_PREFIX}deleted_"
MAX_TABLE = 127 - len(TOMBSTONE_PREFIX)
"""Characters that a target's name may have, so that its tombstones' is a name still."""


def tombstone_table(load: Load) -> str:
    """The name of the table, in the target's schema, folded to lower case."""
    return f"{TOMBSTONE_PREFIX}{load.table.lower()}"


def tombstone_name(load: Load) -> str:
    """The table as it is named in SQL."""
    return f"{quoted(load.schema)}.{quoted(tombstone_table(load))}"


def tombstone_fields(load: Load, fields: Sequence[Field]) -> tuple[Field, ...]:
    """The target's columns that a tombstone has: the keys, and what tells newer from older.

    Raises
    ------
    ContractError
        One of them is no column of the target.
    """
    known = {item.name.lower(): item for item in fields}
    names = dict.fromkeys(
        name.lower() for name in (*load.keys, *((load.order_by,) if load.order_by else ()))
    )
    for name in names:
        if name not in known:
            raise ContractError(f"{name!r} is no column of {load.schema}.{load.table}")
    return tuple(known[name] for name in names)


def tombstone_columns(load: Load, fields: Sequence[Field]) -> list[tuple[str, str, bool]]:
    """Column, folded; Redshift type; nullable."""
    keys = {name.lower() for name in load.keys}
    found = [
        (item.name.lower(), redshift_type(item), item.name.lower() not in keys)
        for item in tombstone_fields(load, fields)
    ]
    return found + [(name, kind, True) for name, kind in (*SYSTEM_COLUMNS, DELETED_AT)]


def tombstone_ddl(load: Load, fields: Sequence[Field]) -> str:
    """``CREATE TABLE IF NOT EXISTS``; distributed as the target where that is by a key."""
    lines = [
        f"  {quoted(name)} {kind}{'' if nullable else ' NOT NULL'}"
        for name, kind, nullable in tombstone_columns(load, fields)
    ]
    text = f"CREATE TABLE IF NOT EXISTS {tombstone_name(load)} (\n" + ",\n".join(lines) + "\n)"
    if tombstone_distkey(load):
        text += f"\nDISTSTYLE KEY DISTKEY ({quoted(tombstone_distkey(load) or '')})"
    return text


def tombstone_distkey(load: Load) -> str | None:
    """The target's DISTKEY, folded, where it is one of the keys; None where AWS may choose."""
    found = (load.distkey or "").lower()
    return found if found in {key.lower() for key in load.keys} else None
