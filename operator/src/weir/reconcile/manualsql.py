"""Did the SQL that an administrator was asked to run by hand take effect?

The operator looks as its own IAM identity, which Redshift makes a user without any privilege. Such a
user sees the names of all schemas, roles and users, but neither tables nor the grants of others:
these show at the first load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from weir.aws.errors import AccessDenied, Invalid
from weir.aws.redshift_data import Connection, Statements
from weir.aws.session import AwsSession
from weir.blueprint import naming
from weir.blueprint.facts import WarehouseFacts
from weir.blueprint.uses import NamespaceUse
from weir_contract.compile import literal
from weir_contract.ledger import LEDGER_SCHEMA

VIEWS: Mapping[str, tuple[str, str]] = {
    "schema": ("nspname", "pg_namespace"),
    "role": ("role_name", "svv_roles"),
    "user": ("usename", "pg_user"),
}
"""What -> column and catalog view that every user may read (Redshift Database Developer Guide)."""


class NotVisible(Exception):
    """The operator may not sign in to the warehouse, so that nothing can be said."""


def expected(warehouse: WarehouseFacts, uses: Iterable[NamespaceUse]) -> dict[str, set[str]]:
    """What the statements make, by kind: ``schema``, ``role``, ``user``."""
    found: dict[str, set[str]] = {"schema": {LEDGER_SCHEMA}, "role": set(), "user": set()}
    for use in uses:
        if use.schemas:
            found["schema"] |= set(use.schemas)
            found["role"].add(naming.database_role(use.namespace))
            if not warehouse.serverless:
                found["user"].add(naming.loader_user(use.namespace))
    return found


def lacking(
    session: AwsSession, warehouse: WarehouseFacts, wanted: Mapping[str, Iterable[str]]
) -> Sequence[str]:
    """What of this is not in the database, as ``schema sales``, in order.

    Raises
    ------
    NotVisible
        The operator's identity can't sign in.
    AwsError
        The warehouse does not answer.
    """
    kind = "serverless" if warehouse.serverless else "provisioned"
    connection = Connection(kind, warehouse.name, warehouse.database)
    sql = Statements(session)
    found: list[str] = []
    for what, names in wanted.items():
        listed = ", ".join(literal(name) for name in sorted(names))
        if not listed:
            continue
        column, view = VIEWS[what]
        try:
            rows = sql.query(
                connection, f"SELECT {column} AS name FROM {view} WHERE {column} IN ({listed})"
            )
        except (AccessDenied, Invalid) as error:
            raise NotVisible(str(error)) from error
        there = {row["name"] for row in rows}
        found += [f"{what} {name}" for name in sorted(names) if name not in there]
    return found
