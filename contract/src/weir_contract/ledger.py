"""The load ledger: one row for each run and target says that the load was done, and with what.

It stands in the warehouse itself, so that its row commits or rolls back with the data. A load that
finds its row does nothing: twice is once.
"""

from __future__ import annotations

from weir_contract.compile import quoted

LEDGER_SCHEMA = "weir"
LEDGER_TABLE = "load_ledger"
OWNER_SCHEMA = "weir_owner"
OWNER_TABLE = "claim"
"""Says which Platform the database belongs to; no loader may touch it."""

LEDGER_COLUMNS: tuple[tuple[str, str, bool], ...] = (
    ("run", "VARCHAR(128)", False),
    ("target", "VARCHAR(260)", False),
    ("pipeline", "VARCHAR(260)", False),
    ("first_sequence", "BIGINT", True),
    ("last_sequence", "BIGINT", True),
    ("rows_in", "BIGINT", True),
    ("deduplicated", "BIGINT", True),
    ("inserted", "BIGINT", True),
    ("updated", "BIGINT", True),
    ("stale", "BIGINT", True),
    ("deleted", "BIGINT", True),
    ("loaded_at", "TIMESTAMP", True),
)
"""Column, Redshift type, nullable. ``target`` is ``schema.table``, folded to lower case;
``pipeline`` is ``namespace/name``; ``loaded_at`` is UTC."""


def ledger_name() -> str:
    """The ledger as it is named in SQL: ``"weir"."load_ledger"``."""
    return f"{quoted(LEDGER_SCHEMA)}.{quoted(LEDGER_TABLE)}"


def ledger_ddl() -> str:
    """``CREATE TABLE IF NOT EXISTS`` of the ledger.

    DISTSTYLE ALL: it is small, and every load joins against it.
    """
    lines = [
        f"  {quoted(name)} {kind}{'' if nullable else ' NOT NULL'}"
        for name, kind, nullable in LEDGER_COLUMNS
    ]
    return (
        f"CREATE TABLE IF NOT EXISTS {ledger_name()} (\n"
        + ",\n".join(lines)
        + '\n)\nDISTSTYLE ALL\nSORTKEY ("loaded_at")'
    )
