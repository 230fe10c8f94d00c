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
        connection, schema, table = _parsed(name)
        there = self._sql.query(
            connection,
            "SELECT table_name FROM svv_redshift_columns "
            f"WHERE database_name = {literal(connection.database)} "
            f"AND schema_name = {literal(schema)} AND table_name = {literal(table)}",
            name,
        )
        if not there:
            return None
        rows = self._sql.query(connection, f"SELECT tag, value FROM {_place(schema, table)}", name)
        return Observed(name, {}, tags={row["tag"]: row["value"] for row in rows}) if rows else None

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        connection, schema, table = _parsed(resource.name)
        place = _place(schema, table)
        rows = " UNION ALL ".join(
            f"SELECT {literal(tag)} AS tag, {literal(value)} AS value"
            for tag, value in sorted(tags.items())
        )
        self._sql.execute(
            connection,
            [
                f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}",
                f"CREATE TABLE IF NOT EXISTS {place} (tag VARCHAR(128) NOT NULL, "
                "value VARCHAR(256) NOT NULL)",
                # Of two that come at once, the second finds rows.
                f"INSERT INTO {place} SELECT tag, value FROM ({rows}) AS mine "
                f"WHERE NOT EXISTS (SELECT 1 FROM {place})",
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
        connection, schema, table = _parsed(resource.name)
        place = _place(schema, table)
        values = ", ".join(
            f"({literal(tag)}, {literal(value)})"
            for tag, value in sorted({**observed.tags, **tags}.items())
        )
        self._sql.execute(
            connection,
            [f"DELETE FROM {place}", f"INSERT INTO {place} VALUES {values}"],
            resource.name,
        )
        return self.must_see(resource.name)

    def delete(self, observed: Observed) -> None:
        connection, schema, table = _parsed(observed.name)
        if self.look(observed.name) is not None:
            drops = [f"DROP TABLE {_place(schema, table)}", f"DROP SCHEMA {quoted(schema)}"]
            self._sql.execute(connection, drops, observed.name)


def _parsed(name: str) -> tuple[Connection, str, str]:
    connection, thing = Connection.parse(name)
    schema, _, table = thing.partition(".")
    return connection, schema, table


def _place(schema: str, table: str) -> str:
    return f"{quoted(schema)}.{quoted(table)}"


ADAPTERS = (Claim,)
