"""A database's file, and the users that the databases of a warehouse share."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import duckdb

from weir_local.redshift import commands as c
from weir_local.redshift.catalog import DDL, Catalog
from weir_local.redshift.errors import serialization
from weir_local.redshift.locks import Locks
from weir_local.redshift.principals import Principals

CUT = """
CREATE OR REPLACE MACRO rs.cut(v, n) AS CASE WHEN strlen(v) <= n THEN v
  ELSE left(v, list_max(list_filter(range(n // 4, n + 1), lambda i: strlen(left(v, i)) <= n))) END
"""
"""Cuts a string to a length in bytes, never within a character."""

SETTINGS = (
    "TimeZone = 'UTC'",
    "integer_division = true",
    "enable_external_access = false",
    "threads = 2",
)
"""Redshift's session zone is UTC, its integers divide as integers; SQL reaches no local file."""

KEPT_COMMITS = 1_000


PRINCIPALS_LOCK = "pg_authid"
"""What a transaction that changes users or roles holds."""


@dataclass(frozen=True)
class Committed:
    """A transaction that ended: what it read and wrote."""

    sequence: int
    reads: frozenset[str]
    writes: frozenset[str]


class Database:
    """One DuckDB file.

    Parameters
    ----------
    name
        The database's name.
    path
        Its file.
    admin
        Who owns what a new database comes with.
    """

    def __init__(self, name: str, path: Path, admin: str) -> None:
        self.name = name
        self.connection = duckdb.connect(str(path))
        for setting in SETTINGS:
            self.connection.execute(f"SET GLOBAL {setting}")
        self.locks = Locks()
        self._mutex = threading.Lock()
        self._commits: list[Committed] = []
        self._sequence = 0
        for statement in filter(str.strip, DDL.split(";\n")):
            self.connection.execute(statement)
        self.connection.execute(CUT)
        if not self.connection.execute("SELECT 1 FROM rs.schemas").fetchall():
            self._found(admin)

    def _found(self, admin: str) -> None:
        catalog = Catalog(self.connection, self.name, admin, Principals(), {})
        catalog.add_schema("public", admin)
        public = c.Grantee("public")
        for privilege in ("create", "usage"):
            catalog.grant("schema", c.Name("", "public"), privilege, public, False)
        for privilege in ("temp", "usage"):
            catalog.grant("database", c.Name("", self.name), privilege, public, False)

    @property
    def sequence(self) -> int:
        """How many transactions have written: a snapshot's place among them."""
        with self._mutex:
            return self._sequence

    def check(self, snapshot: int, reads: set[str], writes: set[str]) -> None:
        """Fail if a transaction that committed since the snapshot can't be ordered with this one.

        Two transactions that each read what the other wrote have no serial order.
        https://docs.aws.amazon.com/redshift/latest/dg/c_serial_isolation.html
        """
        with self._mutex:
            for other in self._commits:
                if other.sequence > snapshot and other.writes & reads and other.reads & writes:
                    raise serialization(sorted(other.writes & reads)[0])

    def committed(self, reads: set[str], writes: set[str]) -> None:
        """Note a transaction that wrote."""
        with self._mutex:
            self._sequence += 1
            self._commits.append(Committed(self._sequence, frozenset(reads), frozenset(writes)))
            del self._commits[:-KEPT_COMMITS]

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


class Directory:
    """The users and roles of a warehouse, shared by its sessions.

    Parameters
    ----------
    path
        The JSON file that keeps them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.locks = Locks()
        self.principals = Principals.load(path)
        self._mutex = threading.Lock()

    def replace(self, principals: Principals) -> None:
        """Take a transaction's changes."""
        with self._mutex:
            principals.save(self._path)
            self.principals = principals
