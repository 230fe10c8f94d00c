"""Redshift: the warehouse as it is, and the schemas and tables that pipelines load.

Names carry the connection, since SQL needs one to look:
``serverless:<workgroup>|<database>|<secretArn>|<schema>[.<table>]``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from weir.aws.base import ServiceAdapter, changed
from weir.aws.calls import Calls
from weir.aws.errors import Conflict, Invalid, Transient
from weir.aws.external import ReadOnly
from weir.aws.redshift_data import Connection, Statements
from weir.aws.session import AwsSession
from weir.resource import Change, Observed, Resource, Traits
from weir_contract.compile import (
    DELETED_AT,
    SYSTEM_COLUMNS,
    literal,
    quoted,
    rewrite_column,
)
from weir_contract.rows import ColumnType
from weir_contract.widening import holds

_SECRET_GONE = "Secrets Manager can't find"
"""What the Data API says of a SecretArn that names nothing (Secrets Manager's GetSecretValue)."""
_ARN = re.compile(r"arn:[^\s,)\]]+")


def warehouse_name(kind: str, warehouse: str) -> str:
    """Name of a ``redshift.Warehouse``: ``serverless:<workgroup>`` or ``provisioned:<cluster>``."""
    return f"{kind}:{warehouse}"


def schema_name(connection: Connection, schema: str) -> str:
    """Name of a ``redshift.Schema``."""
    return connection.prefix + schema.lower()


def table_name(connection: Connection, schema: str, table: str) -> str:
    """Name of a ``redshift.Table``."""
    return f"{connection.prefix}{schema.lower()}.{table.lower()}"


class Warehouse(ReadOnly, ServiceAdapter):
    """A serverless workgroup or a provisioned cluster, of somebody else's.

    The name is ``serverless:<workgroup>`` or ``provisioned:<cluster>``; a bare name is tried as
    both. Properties: ``Kind``. Attributes: ``arn``, ``iamRoles`` (with commas), ``endpoint``,
    ``database`` (the first one).
    """

    kind = "redshift.Warehouse"
    service = "redshift-serverless"
    traits = Traits(holds_data=True)

    def __init__(self, session: AwsSession) -> None:
        super().__init__(session)
        self._clusters = Calls(session, "redshift")

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        return {"Kind": properties["Kind"]} if "Kind" in properties else {}

    def look(self, name: str) -> Observed | None:
        kind, colon, warehouse = name.rpartition(":")
        looks = {"serverless": self._workgroup, "provisioned": self._cluster}
        if colon and kind not in looks:
            raise Invalid(f"{name!r}: {kind!r} is none of {', '.join(looks)}", resource=name)
        for candidate in [kind] if colon else looks:
            seen = looks[candidate](name, warehouse)
            if seen is not None:
                return seen
        return None

    def _workgroup(self, name: str, workgroup: str) -> Observed | None:
        found = self.calls.find("GetWorkgroup", name, workgroupName=workgroup)
        if found is None:
            return None
        group = found["workgroup"]
        space = self.calls("GetNamespace", name, namespaceName=group["namespaceName"])["namespace"]
        return Observed(
            name,
            {"Kind": "serverless"},
            attributes={
                "arn": group["workgroupArn"],
                "workgroupId": group.get("workgroupId", ""),
                "namespaceArn": space.get("namespaceArn", ""),
                "iamRoles": _roles(space.get("iamRoles", [])),
                "endpoint": group.get("endpoint", {}).get("address", ""),
                "database": space.get("dbName", ""),
            },
            settled=group.get("status") == "AVAILABLE",
            detail=f"status: {group.get('status')}",
        )

    def _cluster(self, name: str, cluster: str) -> Observed | None:
        found = self._clusters.find("DescribeClusters", name, ClusterIdentifier=cluster)
        if not found or not found["Clusters"]:
            return None
        seen = found["Clusters"][0]
        # A cluster's ARN for IAM names it; its namespace's ARN is another.
        return Observed(
            name,
            {"Kind": "provisioned"},
            attributes={
                "arn": self.session.arn("redshift", f"cluster:{cluster}"),
                "namespaceArn": seen.get("ClusterNamespaceArn", ""),
                "iamRoles": _roles(role["IamRoleArn"] for role in seen.get("IamRoles", [])),
                "endpoint": seen.get("Endpoint", {}).get("Address", ""),
                "database": seen.get("DBName", ""),
            },
            settled=seen.get("ClusterStatus") == "available",
            detail=f"status: {seen.get('ClusterStatus')}",
        )


def _roles(roles: Iterable[str]) -> str:
    # A namespace gives each as "IamRole(applyStatus=in-sync, iamRoleArn=arn:...)".
    found = (_ARN.search(role) for role in roles)
    return ",".join(sorted(match.group(0) for match in found if match))


OURS = "weir"
"""Database roles and users that begin so are ours; other grants on a schema are others'."""

USER = "User:"
"""Users are the database's, not the schema's: each one of ``Users`` is compared on its own."""

SCHEMA_PRIVILEGES = frozenset({"USAGE", "CREATE"})
TABLE_PRIVILEGES = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "DROP", "REFERENCES", "ALTER", "TRUNCATE"}
)


class Schema(ServiceAdapter):
    """A schema with the database roles that may use it. It takes no owner tags.

    Properties: ``Roles{role: [privileges]}`` (USAGE and CREATE are of the schema; SELECT, INSERT and
    so on are of all its tables, those to come too), ``Users{user: [roles]}`` (password logins
    disabled). Roles and users are created where missing, and stay when the schema goes: other
    schemas may grant to them.
    """

    kind = "redshift.Schema"
    service = "redshift-data"
    traits = Traits(holds_data=True)

    def __init__(self, session: AwsSession) -> None:
        super().__init__(session)
        self._sql = Statements(session)
        self._granting = threading.Lock()

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form: dict[str, Any] = {}
        if "Roles" in properties:
            form["Roles"] = _grants(properties["Roles"], upper=True)
        for user, roles in _grants(properties.get("Users"), upper=False).items():
            form[USER + user] = roles
        return form

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        return _seen_by_connection(names, self._look)

    def _look(self, connection: Connection, schemas: Mapping[str, str]) -> dict[str, Observed]:
        found: dict[str, Observed] = {}
        database = literal(connection.database)
        wanted = ", ".join(literal(schema.lower()) for schema in schemas)
        there = {
            row["schema_name"]
            for row in self._sql.query(
                connection,
                f"SELECT schema_name FROM svv_all_schemas WHERE database_name = {database} "
                f"AND schema_name IN ({wanted})",
            )
        }
        if not there:
            return found
        granted = self._sql.query(
            connection,
            "SELECT namespace_name AS schema_name, privilege_type, identity_name AS role_name "
            f"FROM svv_schema_privileges WHERE namespace_name IN ({wanted}) "
            "AND identity_type = 'role' UNION ALL "
            "SELECT schema_name, privilege_type, grantee_name AS role_name "
            f"FROM svv_default_privileges WHERE schema_name IN ({wanted}) "
            "AND grantee_type = 'role'",
        )
        members = self._sql.query(connection, "SELECT user_name, role_name FROM svv_user_grants")
        memberships = _grouped((row["user_name"], row["role_name"]) for row in members)
        users = {USER + user: roles for user, roles in memberships.items()}
        for schema, name in schemas.items():
            if schema.lower() in there:
                roles = _grouped(
                    (row["role_name"], row["privilege_type"].upper())
                    for row in granted
                    if row["schema_name"] == schema.lower()
                )
                found[name] = Observed(name, {"Roles": roles, **users})
        return found

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:  # noqa: ARG002
        connection, schema = Connection.parse(resource.name)
        self._sql.execute(
            connection, [f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}"], resource.name
        )
        self._grant(resource, {"Roles": {}})
        return self.must_see(resource.name)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],  # noqa: ARG002
    ) -> Observed:
        if changes:
            self._grant(resource, observed.properties)
        return self.must_see(resource.name)

    def delete(self, observed: Observed) -> None:
        connection, schema = Connection.parse(observed.name)
        if observed.name not in self.observe([observed.name]):
            return
        revoked = grant_statements(schema, observed.properties.get("Roles", {}), {})
        try:
            # One transaction: a schema that stays keeps its grants.
            self._sql.execute(
                connection, [*revoked, f"DROP SCHEMA {quoted(schema)}"], observed.name
            )
        except Conflict as error:
            raise Conflict(
                f"schema {schema} on {connection.warehouse} is not empty, and is never emptied for "
                f"you: drop its tables and it will be deleted, or keep it. ({error})",
                service=self.service,
                operation="ExecuteStatement",
                resource=observed.name,
                retry_after=300.0,
            ) from error

    def _grant(self, resource: Resource, seen: Mapping[str, Any]) -> None:
        # Roles and users are the database's: two schemas at once would both create the same one.
        with self._granting:
            self._grant_alone(resource, seen)

    def _grant_alone(self, resource: Resource, seen: Mapping[str, Any]) -> None:
        connection, schema = Connection.parse(resource.name)
        wanted = self.canonical(resource.properties)
        roles = wanted.get("Roles", seen["Roles"])
        users = {
            key.removeprefix(USER): value for key, value in wanted.items() if key.startswith(USER)
        }
        needed = sorted({*roles, *(role for granted in users.values() for role in granted)})
        statements = [
            f"CREATE ROLE {quoted(role)}"
            for role in self._missing(connection, "svv_roles", "role_name", needed)
        ]
        statements += [
            f"CREATE USER {quoted(user)} PASSWORD DISABLE"
            for user in self._missing(connection, "svv_user_info", "user_name", sorted(users))
        ]
        statements += grant_statements(schema, seen["Roles"], roles)
        for user, granted in users.items():
            held = set(seen.get(USER + user, ()))
            statements += [
                f"GRANT ROLE {quoted(role)} TO {quoted(user)}"
                for role in sorted(set(granted) - held)
            ]
            statements += [
                f"REVOKE ROLE {quoted(role)} FROM {quoted(user)}"
                for role in sorted(held - set(granted))
            ]
        self._sql.execute(connection, statements, resource.name)

    def _missing(
        self, connection: Connection, view: str, column: str, names: Sequence[str]
    ) -> list[str]:
        if not names:
            return []
        listed = ", ".join(literal(name) for name in names)
        rows = self._sql.query(
            connection, f"SELECT {column} FROM {view} WHERE {column} IN ({listed})"
        )
        return sorted(set(names) - {row[column] for row in rows})


def grant_statements(
    schema: str, seen: Mapping[str, Sequence[str]], wanted: Mapping[str, Sequence[str]]
) -> list[str]:
    """The SQL that brings a schema's grants to roles from ``seen`` to ``wanted``.

    Parameters
    ----------
    seen, wanted
        Role -> privileges, in upper case.
    """
    statements: list[str] = []
    where = quoted(schema)
    for role in sorted({*seen, *wanted}):
        before, after = set(seen.get(role, ())), set(wanted.get(role, ()))
        for verb, to, privileges in (
            ("REVOKE", "FROM", before - after),
            ("GRANT", "TO", after - before),
        ):
            whom = f"{to} ROLE {quoted(role)}"
            usage = ", ".join(sorted(privileges & SCHEMA_PRIVILEGES))
            if usage:
                statements.append(f"{verb} {usage} ON SCHEMA {where} {whom}")
            rows = ", ".join(sorted(privileges & TABLE_PRIVILEGES))
            if rows:
                statements.append(f"{verb} {rows} ON ALL TABLES IN SCHEMA {where} {whom}")
                statements.append(
                    f"ALTER DEFAULT PRIVILEGES IN SCHEMA {where} {verb} {rows} ON TABLES {whom}"
                )
    return statements


def _grants(value: Mapping[str, Sequence[str]] | None, *, upper: bool) -> dict[str, list[str]]:
    form: dict[str, list[str]] = {}
    for name, items in (value or {}).items():
        if not name.lower().startswith(OURS):
            raise Invalid(
                f"{name!r}: a database role or user of ours begins with {OURS!r}, to be told from "
                "others'",
                service="redshift-data",
            )
        form[name.lower()] = sorted({item.upper() if upper else item.lower() for item in items})
        unknown = set(form[name.lower()]) - SCHEMA_PRIVILEGES - TABLE_PRIVILEGES
        if upper and unknown:
            raise Invalid(
                f"{name}: {', '.join(sorted(unknown))} is no privilege; there are "
                f"{', '.join(sorted(SCHEMA_PRIVILEGES | TABLE_PRIVILEGES))}",
                service="redshift-data",
            )
    return {name: items for name, items in form.items() if items}


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, set[str]] = {}
    for name, item in pairs:
        if name.startswith(OURS):
            grouped.setdefault(name, set()).add(item)
    return {name: sorted(items) for name, items in sorted(grouped.items())}


def _seen_by_connection(
    names: Sequence[str], look: Callable[[Connection, Mapping[str, str]], dict[str, Observed]]
) -> dict[str, Observed]:
    """What is there, connection by connection.

    Where the secret of a connection is gone nothing can be seen or done: names of before a change
    of the admin secret say nothing, and must not stop those of after it. What is still wanted under
    such a name fails when it is made.
    """
    found: dict[str, Observed] = {}
    for connection, things in _by_connection(names).items():
        try:
            found |= look(connection, things)
        except Invalid as error:
            if _SECRET_GONE not in str(error):
                raise
    return found


def _by_connection(names: Sequence[str]) -> dict[Connection, dict[str, str]]:
    grouped: dict[Connection, dict[str, str]] = {}
    for name in dict.fromkeys(names):
        connection, thing = Connection.parse(name)
        grouped.setdefault(connection, {})[thing] = name
    return grouped


TYPES = {
    "character varying": "VARCHAR",
    "nvarchar": "VARCHAR",
    "text": "VARCHAR",
    "character": "CHAR",
    "bpchar": "CHAR",
    "nchar": "CHAR",
    "numeric": "DECIMAL",
    "int": "INTEGER",
    "int4": "INTEGER",
    "int2": "SMALLINT",
    "int8": "BIGINT",
    "float": "DOUBLE PRECISION",
    "float8": "DOUBLE PRECISION",
    "float4": "REAL",
    "bool": "BOOLEAN",
    "timestamp without time zone": "TIMESTAMP",
    "timestamp with time zone": "TIMESTAMPTZ",
    "time without time zone": "TIME",
    "time with time zone": "TIMETZ",
    "binary varying": "VARBYTE",
    "varbinary": "VARBYTE",
}
"""Spelling in the catalog or in DDL -> the name of the type (Redshift guide, "Data types")."""

_TYPE = re.compile(
    r"^\s*([a-z0-9_ ]+?)\s*(?:\(\s*([0-9]+)\s*(?:,\s*([0-9]+)\s*)?\))?\s*(with(?:out)? time zone)?\s*$"
)
_VARCHAR = re.compile(r"^VARCHAR\((\d+)\)$")
_DECIMAL = re.compile(r"^DECIMAL\((\d+),(\d+)\)$")
_SYSTEM = frozenset(name for name, _ in (*SYSTEM_COLUMNS, DELETED_AT))


def column_type(text: str) -> str:
    """A column's type in one spelling: ``character varying(256)`` is ``VARCHAR(256)``.

    Raises
    ------
    Invalid
        It can't be read as a type.
    """
    match = _TYPE.match(text.lower())
    if match is None:
        raise Invalid(f"{text!r} is no type of Redshift", service="redshift-data")
    word, first, second, zone = match.groups()
    name = " ".join(filter(None, (word, zone)))
    name = TYPES.get(name, name.upper())
    if name == "DECIMAL":
        return f"DECIMAL({first or 18},{second or 0})"
    if name == "VARCHAR":
        return f"VARCHAR({first or 256})"
    return f"{name}({first})" if first and name in ("CHAR", "VARBYTE") else name


class Table(ServiceAdapter):
    """A table that a pipeline loads. It takes no owner tags.

    Properties: ``Columns[{name, type, nullable}]``, ``DistKey``, ``SortKey[]``, ``Mark`` (whether it
    has the column that marks deleted rows; one that is no longer wanted stays), ``Ddl`` (the
    statement that creates it), ``Widened[]`` (columns that may be written anew for a wider number).
    Changed in place: columns added, VARCHAR widened; all else would rewrite or lose rows and is
    refused.
    """

    kind = "redshift.Table"
    service = "redshift-data"
    traits = Traits(holds_data=True, write_only=frozenset({"Ddl"}))

    def __init__(self, session: AwsSession) -> None:
        super().__init__(session)
        self._sql = Statements(session)

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        return table_form(properties)

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        return _seen_by_connection(names, self._look)

    def _look(self, connection: Connection, tables: Mapping[str, str]) -> dict[str, Observed]:
        found: dict[str, Observed] = {}
        schemas: dict[str, dict[str, str]] = {}
        for thing, name in tables.items():
            schema, table = _split(thing)
            schemas.setdefault(schema, {})[table] = name
        for schema, members in schemas.items():
            listed = ", ".join(literal(table) for table in members)
            rows = self._sql.query(
                connection,
                "SELECT table_name, column_name, data_type, is_nullable, distkey, sortkey "
                f"FROM svv_redshift_columns WHERE database_name = {literal(connection.database)} "
                f"AND schema_name = {literal(schema)} AND table_name IN ({listed}) "
                "ORDER BY table_name, ordinal_position",
            )
            for table, name in members.items():
                columns = [row for row in rows if row["table_name"] == table]
                if columns:
                    found[name] = Observed(name, _seen(columns))
        return found

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:  # noqa: ARG002
        connection, _ = Connection.parse(resource.name)
        self._sql.execute(connection, [resource.properties["Ddl"]], resource.name)
        return self.must_see(resource.name)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],  # noqa: ARG002
    ) -> Observed:
        connection, thing = Connection.parse(resource.name)
        schema, table = _split(thing)
        statements, refused = table_changes(resource, observed, changes)
        if refused:
            raise Invalid(
                f"table {schema}.{table} on {connection.warehouse} can't be changed in place: "
                f"{'; '.join(refused)}. Only new nullable columns and longer VARCHARs are, and wider "
                "numbers where onTypeChange: widen brought them. Load into a table of another name, "
                "or change this one by hand and keep its rows safe.",
                service=self.service,
                operation="ExecuteStatement",
                resource=resource.name,
            )
        # ALTER COLUMN TYPE can't run in a transaction block.
        try:
            self._sql.execute_alone(connection, statements, resource.name)
            for rewrite in table_rewrites(resource, observed, changes):
                self._sql.execute(connection, rewrite, resource.name)
        except Conflict as error:
            # An ADD COLUMN whose reply was lost, sent again: the next look finds the column.
            raise Transient(
                f"table {schema}.{table} was changed meanwhile: {error}",
                service=self.service,
                operation="ExecuteStatement",
                resource=resource.name,
            ) from error
        return self.must_see(resource.name)

    def delete(self, observed: Observed) -> None:
        connection, thing = Connection.parse(observed.name)
        schema, table = _split(thing)
        drop = f"DROP TABLE IF EXISTS {quoted(schema)}.{quoted(table)}"
        if observed.name in self.observe([observed.name]):
            self._sql.execute(connection, [drop], observed.name)


def table_form(properties: Mapping[str, Any]) -> dict[str, Any]:
    """A table's properties in the form in which they are compared."""
    form: dict[str, Any] = {}
    if "Columns" in properties:
        form["Columns"] = _columns(properties["Columns"])
    if "DistKey" in properties:
        form["DistKey"] = (properties["DistKey"] or "").lower() or None
    if "Mark" in properties:
        form["Mark"] = bool(properties["Mark"])
    if "SortKey" in properties:
        form["SortKey"] = [name.lower() for name in properties["SortKey"] or []]
    return form


def table_changes(
    resource: Resource, observed: Observed, changes: Sequence[Change]
) -> tuple[list[str], list[str]]:
    """The SQL for what differs in a table, and what of it can't be done in place."""
    schema, table = _split(Connection.parse(resource.name)[1])
    wanted, fields = table_form(resource.properties), changed(changes)
    seen = observed.properties["Columns"]
    statements, refused = alter_statements(
        schema,
        table,
        seen,
        wanted["Columns"] if "Columns" in fields else seen,
        rewritable(resource, observed),
    )
    if "Mark" in fields and wanted.get("Mark"):
        mark, kind = DELETED_AT
        statements.append(
            f"ALTER TABLE {quoted(schema)}.{quoted(table)} ADD COLUMN {quoted(mark)} {kind}"
        )
    refused += [
        f"{field} is {observed.properties[field] or 'none'}, not {wanted[field] or 'none'}"
        for field in ("DistKey", "SortKey")
        if field in fields and field in wanted
    ]
    return statements, refused


def rewritable(resource: Resource, observed: Observed) -> frozenset[str]:
    """Columns that may be written anew for a wider number: no distkey, no sortkey."""
    keys = {observed.properties.get("DistKey"), *observed.properties.get("SortKey", ())}
    return frozenset(name.lower() for name in resource.properties.get("Widened", ())) - keys


def table_rewrites(
    resource: Resource, observed: Observed, changes: Sequence[Change]
) -> list[list[str]]:
    """For each column that gets a wider number: the SQL of one transaction."""
    if "Columns" not in changed(changes):
        return []
    schema, table = _split(Connection.parse(resource.name)[1])
    there = {column["name"]: column for column in observed.properties["Columns"]}
    may = rewritable(resource, observed)
    return [
        rewrite_column(f"{quoted(schema)}.{quoted(table)}", column["name"], column["type"])
        for column in table_form(resource.properties)["Columns"]
        if column["name"] in may
        and column["name"] in there
        and _rewrites(there[column["name"]], column)
    ]


def _rewrites(found: Mapping[str, Any], column: Mapping[str, Any]) -> bool:
    """Whether a column is to hold wider numbers, and can be written anew: it is nullable."""
    before, after = _number(found["type"]), _number(column["type"])
    nullable = found["nullable"] and column["nullable"]
    return bool(nullable and before and after and holds(after, before))


def _number(text: str) -> ColumnType | None:
    if text == "BIGINT":
        return ColumnType("integer")
    match = _DECIMAL.match(text)
    return ColumnType("decimal", int(match.group(1)), int(match.group(2))) if match else None


def alter_statements(
    schema: str,
    table: str,
    seen: Sequence[Mapping[str, Any]],
    wanted: Sequence[Mapping[str, Any]],
    may_rewrite: Collection[str] = (),
) -> tuple[list[str], list[str]]:
    """The SQL that brings a table's columns from ``seen`` to ``wanted``, and what can't be done.

    Parameters
    ----------
    seen, wanted
        Columns as :meth:`Table.canonical` gives them.
    may_rewrite
        Columns whose wider numbers :func:`table_rewrites` brings.
    """
    target = f"ALTER TABLE {quoted(schema)}.{quoted(table)}"
    there = {column["name"]: column for column in seen}
    meant = {column["name"]: column for column in wanted}
    statements: list[str] = []
    refused = [
        f"column {name} is in the table and no longer in the contract"
        for name in there
        if name not in meant
    ]
    for name, column in meant.items():
        found = there.get(name)
        if found is None and column["nullable"]:
            statements.append(f"{target} ADD COLUMN {quoted(name)} {column['type']}")
        elif found is None:
            refused.append(
                f"column {name} is new and not nullable, and the rows that are there lack it"
            )
        elif found["type"] != column["type"] and _wider(found["type"], column["type"]):
            statements.append(f"{target} ALTER COLUMN {quoted(name)} TYPE {column['type']}")
        elif found["type"] != column["type"] and not (
            name in may_rewrite and _rewrites(found, column)
        ):
            refused.append(f"column {name} is {found['type']}, not {column['type']}")
        if found is not None and found["nullable"] != column["nullable"]:
            states = {True: "nullable", False: "not nullable"}
            refused.append(
                f"column {name} is {states[found['nullable']]}, not {states[column['nullable']]}"
            )
    return statements, refused


def _wider(before: str, after: str) -> bool:
    one, other = _VARCHAR.match(before), _VARCHAR.match(after)
    return one is not None and other is not None and int(other.group(1)) > int(one.group(1))


def _columns(columns: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    # Added columns come last in the table, wherever the contract has them: order does not count.
    form = [
        {
            "name": column["name"].lower(),
            "type": column_type(column["type"]),
            "nullable": bool(column.get("nullable", True)),
        }
        for column in columns
        if column["name"].lower() not in _SYSTEM
    ]
    return sorted(form, key=lambda column: str(column["name"]))


def _seen(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    columns = [
        {
            "name": row["column_name"],
            "type": row["data_type"],
            "nullable": _true(row["is_nullable"]),
        }
        for row in rows
    ]
    sortkeys = sorted((abs(int(row["sortkey"] or 0)), row["column_name"]) for row in rows)
    return {
        "Columns": _columns(columns),
        "DistKey": next((row["column_name"] for row in rows if _true(row["distkey"])), None),
        "SortKey": [name for position, name in sortkeys if position],
        "Mark": any(row["column_name"] == DELETED_AT[0] for row in rows),
    }


def _true(value: Any) -> bool:
    return str(value).lower() in ("true", "t", "yes", "1")


def _split(thing: str) -> tuple[str, str]:
    schema, dot, table = thing.lower().partition(".")
    if not dot or not schema or not table:
        raise Invalid(f"{thing!r} is no schema.table", service="redshift-data", resource=thing)
    return schema, table


ADAPTERS = (Warehouse, Schema, Table)
