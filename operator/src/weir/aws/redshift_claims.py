"""Redshift: whose database is this? One row a tag, in a schema that no loader may use.

Schemas, tables and database roles take no owner tags, and their names are the same for every cluster
and Platform. So a database belongs to one Platform of one cluster: the first to write its name here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weir.aws.base import ServiceAdapter
from weir.aws.errors import Conflict
from weir.aws.redshift_data import Connection, Statements
from weir.aws.session import AwsSession
from weir.aws.tags import missing
from weir.resource import Change, Observed, Resource, Traits
from weir_contract.compile import literal, quoted
from weir_contract.ledger import OWNER_SCHEMA, OWNER_TABLE

PLACE = f"{quoted(OWNER_SCHEMA)}.{quoted(OWNER_TABLE)}"


class Claim(ServiceAdapter):
    """A Platform's claim on a database. The name is a connection and the claim's table:
    ``serverless:<workgroup>|<database>|<secretArn>|weir_owner.claim``.

    It has no properties; its tags are the rows of the table.
    """

    kind = "redshift.Claim"
    service = "redshift-data"
    traits = Traits(holds_data=True)

    def __init__(self, session: AwsSession) -> None:
        super().__init__(session)
        self._sql = Statements(session)

    def look(self, name: str) -> Observed | None:
        connection, _ = Connection.parse(name)
        there = self._sql.query(
            connection,
            "SELECT table_name FROM svv_redshift_columns "
            f"WHERE database_name = {literal(connection.database)} "
            f"AND schema_name = {literal(OWNER_SCHEMA)} AND table_name = {literal(OWNER_TABLE)}",
            name,
        )
        if not there:
            return None
        rows = self._sql.query(connection, f"SELECT tag, value FROM {PLACE}", name)
        return Observed(name, {}, tags={row["tag"]: row["value"] for row in rows}) if rows else None

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        connection, _ = Connection.parse(resource.name)
        rows = " UNION ALL ".join(
            f"SELECT {literal(tag)} AS tag, {literal(value)} AS value"
            for tag, value in sorted(tags.items())
        )
        self._sql.execute(
            connection,
            [
                f"CREATE SCHEMA IF NOT EXISTS {quoted(OWNER_SCHEMA)}",
                f"CREATE TABLE IF NOT EXISTS {PLACE} (tag VARCHAR(128) NOT NULL, "
                "value VARCHAR(256) NOT NULL)",
                # Of two that come at once, the second finds rows.
                f"INSERT INTO {PLACE} SELECT tag, value FROM ({rows}) AS mine "
                f"WHERE NOT EXISTS (SELECT 1 FROM {PLACE})",
            ],
            resource.name,
        )
        seen = self.must_see(resource.name)
        if missing(seen.tags, tags):
            raise Conflict(
                f"database {connection.database} of {connection.warehouse} was claimed by another "
                "Platform at this moment",
                service=self.service,
                operation="ExecuteStatement",
                resource=resource.name,
            )
        return seen

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],  # noqa: ARG002
        tags: Mapping[str, str],
    ) -> Observed:
        connection, _ = Connection.parse(resource.name)
        values = ", ".join(
            f"({literal(tag)}, {literal(value)})"
            for tag, value in sorted({**observed.tags, **tags}.items())
        )
        self._sql.execute(
            connection,
            [f"DELETE FROM {PLACE}", f"INSERT INTO {PLACE} VALUES {values}"],
            resource.name,
        )
        return self.must_see(resource.name)

    def delete(self, observed: Observed) -> None:
        connection, _ = Connection.parse(observed.name)
        if self.look(observed.name) is not None:
            self._sql.execute(connection, [f"DELETE FROM {PLACE}"], observed.name)


ADAPTERS = (Claim,)
