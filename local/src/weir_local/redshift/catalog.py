"""What a database knows of its schemas, tables, columns and grants.

The catalog lives in the database's own DuckDB file, in schema ``rs``, so that it commits and rolls
back with the data. User schemas are kept as ``s:<name>``, apart from DuckDB's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from weir_local.redshift.commands import ColumnDef, Constraint, Grantee, Name
from weir_local.redshift.errors import (
    SqlError,
    denied,
    no_column,
    no_relation,
    no_schema,
    not_owner,
)
from weir_local.redshift.principals import Principals
from weir_local.redshift.types import Type, parse_type

DDL = """
CREATE SCHEMA IF NOT EXISTS rs;
CREATE SEQUENCE IF NOT EXISTS rs.ids START 100000;
CREATE TABLE IF NOT EXISTS rs.schemas (name VARCHAR, owner VARCHAR);
CREATE TABLE IF NOT EXISTS rs.tables (
  id BIGINT, schema VARCHAR, name VARCHAR, kind VARCHAR, owner VARCHAR, diststyle VARCHAR,
  query VARCHAR, constraints VARCHAR);
CREATE TABLE IF NOT EXISTS rs.columns (
  schema VARCHAR, relation VARCHAR, position INTEGER, name VARCHAR, type VARCHAR, wire VARCHAR,
  length INTEGER, precision INTEGER, scale INTEGER, not_null BOOLEAN, fallback VARCHAR,
  encode VARCHAR, distkey BOOLEAN, sortkey INTEGER);
CREATE TABLE IF NOT EXISTS rs.grants (
  kind VARCHAR, schema VARCHAR, name VARCHAR, privilege VARCHAR, grantee_kind VARCHAR,
  grantee VARCHAR, grantable BOOLEAN);
CREATE TABLE IF NOT EXISTS rs.default_grants (
  owner VARCHAR, schema VARCHAR, privilege VARCHAR, grantee_kind VARCHAR, grantee VARCHAR);
CREATE TABLE IF NOT EXISTS rs.load_errors (
  query_id BIGINT, table_id BIGINT, start_time TIMESTAMP, file_name VARCHAR, line_number BIGINT,
  column_name VARCHAR, column_type VARCHAR, column_length VARCHAR, position INTEGER,
  raw_field_value VARCHAR, error_code INTEGER, error_message VARCHAR, user_id INTEGER);
CREATE OR REPLACE VIEW rs.sys_load_error_detail AS
  SELECT user_id, query_id, table_id, start_time, file_name, line_number, column_name, column_type,
    column_length, position, raw_field_value, error_code, error_message FROM rs.load_errors;
CREATE OR REPLACE VIEW rs.stl_load_errors AS
  SELECT user_id AS userid, 0 AS slice, table_id AS tbl, start_time AS starttime, query_id AS query,
    file_name AS filename, line_number, column_name AS colname, column_type AS type,
    column_length AS col_length, position, raw_field_value, error_code AS err_code,
    error_message AS err_reason FROM rs.load_errors;
CREATE OR REPLACE VIEW rs.svv_columns AS
  SELECT current_database() AS table_catalog, c.schema AS table_schema, c.relation AS table_name,
    c.name AS column_name, c.position AS ordinal_position, c.fallback AS column_default,
    CASE WHEN c.not_null THEN 'NO' ELSE 'YES' END AS is_nullable, c.type AS data_type,
    c.length AS character_maximum_length,
    CASE c.wire WHEN 'int2' THEN 16 WHEN 'int4' THEN 32 WHEN 'int8' THEN 64
      ELSE c.precision END AS numeric_precision,
    CASE WHEN c.wire IN ('int2', 'int4', 'int8') THEN 0 ELSE c.scale END AS numeric_scale,
    CAST(NULL AS VARCHAR) AS remarks FROM rs.columns c;
CREATE OR REPLACE VIEW rs.svv_redshift_columns AS
  SELECT current_database() AS database_name, c.schema AS schema_name, c.relation AS table_name,
    c.name AS column_name, c.position AS ordinal_position,
    CASE WHEN c.length IS NOT NULL THEN c.type || '(' || c.length || ')'
      WHEN c.precision IS NOT NULL THEN c.type || '(' || c.precision || ',' || c.scale || ')'
      ELSE c.type END AS data_type,
    c.fallback AS column_default, CASE WHEN c.not_null THEN 'NO' ELSE 'YES' END AS is_nullable,
    c.encode AS encoding, c.distkey, c.sortkey, CAST(NULL AS VARCHAR) AS column_acl,
    CAST(NULL AS VARCHAR) AS remarks FROM rs.columns c;
CREATE OR REPLACE VIEW rs.svv_tables AS
  SELECT current_database() AS table_catalog, schema AS table_schema, name AS table_name,
    CASE kind WHEN 'view' THEN 'VIEW' ELSE 'BASE TABLE' END AS table_type,
    CAST(NULL AS VARCHAR) AS remarks FROM rs.tables;
CREATE OR REPLACE VIEW rs.svv_redshift_tables AS
  SELECT current_database() AS database_name, schema AS schema_name, name AS table_name,
    CASE kind WHEN 'view' THEN 'VIEW' ELSE 'TABLE' END AS table_type,
    CAST(NULL AS VARCHAR) AS table_acl, CAST(NULL AS VARCHAR) AS remarks, owner AS table_owner
  FROM rs.tables;
CREATE OR REPLACE VIEW rs.svv_all_schemas AS
  SELECT current_database() AS database_name, name AS schema_name, owner AS schema_owner,
    'local' AS schema_type FROM rs.schemas;
CREATE OR REPLACE VIEW rs.svv_table_info AS
  SELECT current_database() AS database, t.schema, t.id AS table_id, t.name AS "table",
    CASE WHEN t.diststyle = 'KEY' THEN 'KEY(' || k.name || ')' WHEN t.diststyle = ''
      THEN 'AUTO(ALL)' WHEN t.diststyle = 'AUTO' THEN 'AUTO(ALL)' ELSE t.diststyle END AS diststyle,
    coalesce(s.name, 'AUTO(SORTKEY)') AS sortkey1,
    (SELECT count(*) FROM rs.columns x WHERE x.schema = t.schema AND x.relation = t.name
       AND x.sortkey > 0) AS sortkey_num
  FROM rs.tables t
  LEFT JOIN rs.columns k ON k.schema = t.schema AND k.relation = t.name AND k.distkey
  LEFT JOIN rs.columns s ON s.schema = t.schema AND s.relation = t.name AND s.sortkey = 1
  WHERE t.kind = 'table';
CREATE OR REPLACE VIEW rs.pg_table_def AS
  SELECT c.schema AS schemaname, c.relation AS tablename, c.name AS "column",
    CASE WHEN c.length IS NOT NULL THEN c.type || '(' || c.length || ')'
      WHEN c.precision IS NOT NULL THEN c.type || '(' || c.precision || ',' || c.scale || ')'
      ELSE c.type END AS type,
    CASE WHEN c.encode = '' THEN 'none' ELSE c.encode END AS encoding, c.distkey, c.sortkey,
    c.not_null AS "notnull" FROM rs.columns c;
CREATE OR REPLACE VIEW rs.pg_namespace AS
  SELECT name AS nspname, owner AS nspowner FROM rs.schemas;
CREATE OR REPLACE VIEW rs.svv_relation_privileges AS
  SELECT schema AS namespace_name, name AS relation_name, upper(privilege) AS privilege_type,
    grantee AS identity_name, grantee_kind AS identity_type, grantable AS admin_option
  FROM rs.grants WHERE kind = 'table';
CREATE OR REPLACE VIEW rs.svv_schema_privileges AS
  SELECT name AS namespace_name, upper(privilege) AS privilege_type, grantee AS identity_name,
    grantee_kind AS identity_type, grantable AS admin_option FROM rs.grants WHERE kind = 'schema';
CREATE OR REPLACE VIEW rs.svv_default_privileges AS
  SELECT schema AS schema_name, 'RELATION' AS object_type, owner AS owner_name,
    upper(privilege) AS privilege_type, grantee AS grantee_name, grantee_kind AS grantee_type
  FROM rs.default_grants;
"""

PRINCIPAL_VIEWS = ("svv_roles", "svv_user_grants", "svv_user_info", "pg_user", "svl_user_info")
"""Views over users and roles; they are made for the session that asks (:mod:`.execute`)."""

SYSTEM_VIEWS = {
    **{
        name: f"rs.{name}"
        for name in (
            "sys_load_error_detail",
            "stl_load_errors",
            "svv_columns",
            "svv_redshift_columns",
            "svv_tables",
            "svv_redshift_tables",
            "svv_all_schemas",
            "svv_table_info",
            "pg_table_def",
            "pg_namespace",
            "svv_relation_privileges",
            "svv_schema_privileges",
            "svv_default_privileges",
        )
    },
    "svv_redshift_schemas": "rs.svv_all_schemas",
    "svv_all_columns": "rs.svv_redshift_columns",
    "svv_all_tables": "rs.svv_redshift_tables",
    **{name: f"temp.{name}" for name in PRINCIPAL_VIEWS},
}
"""System view -> where it is kept."""

INFORMATION_SCHEMA = {
    "columns": "rs.svv_columns",
    "tables": "rs.svv_tables",
    "schemata": "rs.svv_all_schemas",
}


class Connection(Protocol):
    """The part of a DuckDB connection that is used here."""

    def execute(self, query: str, parameters: object = ...) -> Any:
        """Run SQL."""


@dataclass(frozen=True)
class Column:
    """A column as the catalog keeps it."""

    name: str
    type: Type
    not_null: bool = False
    default: str = ""
    encode: str = ""
    distkey: bool = False
    sortkey: int = 0


@dataclass(frozen=True)
class Table:
    """A table or view as the catalog keeps it; a temporary table's schema is ``pg_temp``."""

    id: int
    schema: str
    name: str
    kind: str
    owner: str
    diststyle: str
    query: str
    columns: tuple[Column, ...]
    constraints: tuple[Constraint, ...] = ()

    @property
    def temporary(self) -> bool:
        """Whether it belongs to one session."""
        return self.schema == TEMPORARY

    @property
    def key(self) -> str:
        """What locks know it by."""
        return f"{self.schema}.{self.name}"

    @property
    def stored(self) -> str:
        """Its DuckDB name, quoted."""
        return f"temp.{quoted(self.name)}" if self.temporary else stored(self.schema, self.name)

    def column(self, name: str) -> Column:
        """The column of this name.

        Raises
        ------
        SqlError
            There is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise no_column(name, self.name)


TEMPORARY = "pg_temp"


def quoted(name: str) -> str:
    """An identifier in DuckDB SQL."""
    return '"' + name.replace('"', '""') + '"'


def stored(schema: str, name: str) -> str:
    """A user table's DuckDB name, quoted."""
    return f"{quoted('s:' + schema)}.{quoted(name)}"


def column_of(definition: ColumnDef, distkey: str, sortkeys: Sequence[str]) -> Column:
    """A column of CREATE TABLE as the catalog keeps it."""
    name = definition.name
    return Column(
        name,
        definition.type,
        definition.not_null,
        definition.default,
        definition.encode,
        name == distkey,
        sortkeys.index(name) + 1 if name in sortkeys else 0,
    )


class Catalog:
    """Reads and changes the catalog inside the caller's transaction, with the caller's rights."""

    def __init__(
        self,
        connection: Connection,
        database: str,
        user: str,
        principals: Principals,
        temporary: dict[str, Table],
        search_path: Sequence[str] = ("public",),
    ) -> None:
        self._connection = connection
        self.database = database
        self.user = user
        self.principals = principals
        self.temporary = temporary
        self.search_path = search_path

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run SQL and return its rows."""
        found: list[tuple[Any, ...]] = self._connection.execute(sql, list(parameters)).fetchall()
        return found

    # Finding things

    def schema_owner(self, name: str) -> str:
        """Who owns a schema.

        Raises
        ------
        SqlError
            There is no such schema.
        """
        found = self.rows("SELECT owner FROM rs.schemas WHERE name = ?", name)
        if not found:
            raise no_schema(name)
        return str(found[0][0])

    def has_schema(self, name: str) -> bool:
        """Whether there is such a schema."""
        return bool(self.rows("SELECT 1 FROM rs.schemas WHERE name = ?", name))

    @property
    def current_schema(self) -> str:
        """Where unqualified names are made: the path's first schema that exists."""
        found = (name for name in self.search_path if self.has_schema(name))
        return next(found, self.search_path[0])

    def find(self, name: Name) -> Table | None:
        """The table or view that a name means, or None."""
        if name.schema in ("", TEMPORARY) and name.name in self.temporary:
            return self.temporary[name.name]
        for schema in [name.schema] if name.schema else self.search_path:
            found = self.rows(
                "SELECT id, schema, name, kind, owner, diststyle, query, constraints "
                "FROM rs.tables WHERE schema = ? AND name = ?",
                schema,
                name.name,
            )
            if found:
                *head, constraints = found[0]
                keys = _constraints(constraints)
                columns = self._columns(schema, name.name)
                identity, place, own, kind, owner, dist, query = head
                return Table(identity, place, own, kind, owner, dist, query, columns, keys)
        return None

    def table(self, name: Name) -> Table:
        """The table or view that a name means, which the user may look into the schema of.

        Raises
        ------
        SqlError
            There is none, or the user may not use its schema.
        """
        if name.schema and name.schema != TEMPORARY:
            self.schema_owner(name.schema)
            self.require_schema(name.schema, "usage")
        found = self.find(name)
        if found is None:
            raise no_relation(str(name))
        return found

    def tables_in(self, schema: str) -> list[Table]:
        """All tables and views of a schema."""
        names = self.rows("SELECT name FROM rs.tables WHERE schema = ? ORDER BY name", schema)
        return [self.table(Name(schema, name)) for (name,) in names]

    def _columns(self, schema: str, relation: str) -> tuple[Column, ...]:
        return tuple(
            Column(name, Type(wire, length, precision, scale), bool(null), *rest)
            for name, wire, length, precision, scale, null, *rest in self.rows(
                "SELECT name, wire, length, precision, scale, not_null, fallback, encode, distkey, "
                "sortkey FROM rs.columns WHERE schema = ? AND relation = ? ORDER BY position",
                schema,
                relation,
            )
        )

    # Rights

    @property
    def superuser(self) -> bool:
        """Whether nothing is forbidden to the user."""
        user = self.principals.users.get(self.user)
        return user is not None and user.superuser

    def has(self, kind: str, schema: str, name: str, privilege: str) -> bool:
        """Whether the user, one of its roles or PUBLIC was granted a privilege."""
        roles = self.principals.roles_of(self.user)
        return any(
            grantee_kind == "public"
            or (grantee_kind == "user" and grantee == self.user)
            or (grantee_kind == "role" and grantee in roles)
            for grantee_kind, grantee in self.rows(
                "SELECT grantee_kind, grantee FROM rs.grants "
                "WHERE kind = ? AND schema = ? AND name = ? AND privilege = ?",
                kind,
                schema,
                name,
                privilege,
            )
        )

    def require_database(self, privilege: str) -> None:
        """The user needs a privilege on the database."""
        if not self.superuser and not self.has("database", "", self.database, privilege):
            raise denied("database", self.database)

    def require_schema(self, name: str, privilege: str) -> None:
        """The user needs a privilege on a schema, or to own it."""
        if self.superuser or self.schema_owner(name) == self.user:
            return
        if not self.has("schema", "", name, privilege):
            raise denied("schema", name)

    def may(self, table: Table, privilege: str) -> bool:
        """Whether the user may do this to a table."""
        return (
            self.superuser
            or table.temporary
            or table.owner == self.user
            or self.has("table", table.schema, table.name, privilege)
        )

    def require(self, table: Table, privilege: str) -> None:
        """The user needs a privilege on a table, or to own it."""
        if not self.may(table, privilege):
            raise denied("relation", table.name)

    def require_owner(self, table: Table, privilege: str = "") -> None:
        """The user has to own a table, or hold the privilege that stands for it."""
        owns = self.superuser or table.temporary or table.owner == self.user
        if not owns and not (privilege and self.may(table, privilege)):
            raise not_owner("relation", table.name)

    # Changing things

    def add_schema(self, name: str, owner: str) -> None:
        """Create a schema."""
        self._connection.execute(f"CREATE SCHEMA {quoted('s:' + name)}")
        self._connection.execute("INSERT INTO rs.schemas VALUES (?, ?)", [name, owner])

    def drop_schema(self, name: str) -> None:
        """Drop a schema that holds nothing any more."""
        self._connection.execute(f"DROP SCHEMA {quoted('s:' + name)}")
        self._connection.execute("DELETE FROM rs.schemas WHERE name = ?", [name])
        self._connection.execute("DELETE FROM rs.grants WHERE kind = 'schema' AND name = ?", [name])
        self._connection.execute("DELETE FROM rs.default_grants WHERE schema = ?", [name])

    def set_schema_owner(self, name: str, owner: str) -> None:
        """Give a schema to someone."""
        self._connection.execute("UPDATE rs.schemas SET owner = ? WHERE name = ?", [owner, name])

    def add_table(
        self,
        name: Name,
        columns: Iterable[Column],
        diststyle: str = "",
        constraints: Sequence[Constraint] = (),
        kind: str = "table",
        query: str = "",
    ) -> Table:
        """Create a table (its DuckDB table too) or register a view."""
        (identity,) = self.rows("SELECT nextval('rs.ids')")[0]
        table = Table(
            identity,
            name.schema,
            name.name,
            kind,
            self.user,
            diststyle,
            query,
            tuple(columns),
            tuple(constraints),
        )
        if kind == "table":
            body = ", ".join(f"{quoted(x.name)} {x.type.stored}" for x in table.columns)
            word = "TEMP TABLE" if table.temporary else "TABLE"
            target = quoted(table.name) if table.temporary else table.stored
            self._connection.execute(f"CREATE {word} {target} ({body})")
        if table.temporary:
            self.temporary[table.name] = table
            return table
        self._connection.execute(
            "INSERT INTO rs.tables VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                identity,
                table.schema,
                table.name,
                kind,
                table.owner,
                diststyle,
                query,
                json.dumps([[x.kind, list(x.columns)] for x in table.constraints]),
            ],
        )
        self._write_columns(table)
        for privilege, grantee_kind, grantee in self.rows(
            "SELECT privilege, grantee_kind, grantee FROM rs.default_grants "
            "WHERE owner = ? AND schema IN ('', ?)",
            self.user,
            table.schema,
        ):
            self.grant("table", name, privilege, Grantee(grantee_kind, grantee), False)
        return table

    def _write_columns(self, table: Table) -> None:
        self._connection.execute(
            "DELETE FROM rs.columns WHERE schema = ? AND relation = ?", [table.schema, table.name]
        )
        for position, x in enumerate(table.columns, 1):
            self._connection.execute(
                "INSERT INTO rs.columns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    table.schema,
                    table.name,
                    position,
                    x.name,
                    x.type.base.name,
                    x.type.wire,
                    x.type.length,
                    x.type.precision,
                    x.type.scale,
                    x.not_null,
                    x.default,
                    x.encode,
                    x.distkey,
                    x.sortkey,
                ],
            )

    def set_columns(self, table: Table, columns: Iterable[Column]) -> None:
        """Replace what is known of a table's columns."""
        changed = replace(table, columns=tuple(columns))
        if table.temporary:
            self.temporary[table.name] = changed
        else:
            self._write_columns(changed)

    def set_table(self, table: Table, field: str, value: str) -> None:
        """Change a table's ``owner``, ``diststyle`` or ``constraints`` (JSON)."""
        if field not in ("owner", "diststyle", "constraints"):
            raise ValueError(field)
        self._connection.execute(
            f"UPDATE rs.tables SET {field} = ? WHERE schema = ? AND name = ?",
            [value, table.schema, table.name],
        )

    def rename(self, table: Table, new: str) -> None:
        """Give a table another name in its schema."""
        if table.kind == "table":
            self._connection.execute(f"ALTER TABLE {table.stored} RENAME TO {quoted(new)}")
        if table.temporary:
            self.temporary[new] = replace(self.temporary.pop(table.name), name=new)
            return
        for relation, column in (("tables", "name"), ("columns", "relation")):
            self._connection.execute(
                f"UPDATE rs.{relation} SET {column} = ? WHERE schema = ? AND {column} = ?",
                [new, table.schema, table.name],
            )
        self._connection.execute(
            "UPDATE rs.grants SET name = ? WHERE kind = 'table' AND schema = ? AND name = ?",
            [new, table.schema, table.name],
        )

    def drop(self, table: Table) -> None:
        """Drop a table or forget a view."""
        if table.kind == "table":
            self._connection.execute(f"DROP TABLE {table.stored}")
        if table.temporary:
            del self.temporary[table.name]
            return
        for relation, column in (("tables", "name"), ("columns", "relation")):
            self._connection.execute(
                f"DELETE FROM rs.{relation} WHERE schema = ? AND {column} = ?",
                [table.schema, table.name],
            )
        self._connection.execute(
            "DELETE FROM rs.grants WHERE kind = 'table' AND schema = ? AND name = ?",
            [table.schema, table.name],
        )

    def views_on(self, table: Table) -> list[Table]:
        """The views that read a table: their stored query names it."""
        found = []
        for schema, name in self.rows("SELECT schema, name FROM rs.tables WHERE kind = 'view'"):
            view = self.table(Name(schema, name))
            if f"{table.schema}.{table.name}" in json.loads(view.query)["reads"]:
                found.append(view)
        return found

    def grant(
        self, kind: str, name: Name, privilege: str, grantee: Grantee, grantable: bool
    ) -> None:
        """Give a privilege, once."""
        self.revoke(kind, name, privilege, grantee)
        self._connection.execute(
            "INSERT INTO rs.grants VALUES (?, ?, ?, ?, ?, ?, ?)",
            [kind, name.schema, name.name, privilege, grantee.kind, grantee.name, grantable],
        )

    def revoke(self, kind: str, name: Name, privilege: str, grantee: Grantee) -> None:
        """Take a privilege away."""
        self._connection.execute(
            "DELETE FROM rs.grants WHERE kind = ? AND schema = ? AND name = ? AND privilege = ? "
            "AND grantee_kind = ? AND grantee = ?",
            [kind, name.schema, name.name, privilege, grantee.kind, grantee.name],
        )

    def may_grant(self, kind: str, name: Name, privilege: str) -> bool:
        """Whether the user holds a privilege with the grant option."""
        return bool(
            self.rows(
                "SELECT 1 FROM rs.grants WHERE kind = ? AND schema = ? AND name = ? "
                "AND privilege = ? AND grantee_kind = 'user' AND grantee = ? AND grantable",
                kind,
                name.schema,
                name.name,
                privilege,
                self.user,
            )
        )

    def set_default_grant(
        self, grant: bool, owner: str, schema: str, privilege: str, grantee: Grantee
    ) -> None:
        """Say whether tables that a user makes later carry a privilege."""
        row = [owner, schema, privilege, grantee.kind, grantee.name]
        self._connection.execute(
            "DELETE FROM rs.default_grants WHERE owner = ? AND schema = ? AND privilege = ? "
            "AND grantee_kind = ? AND grantee = ?",
            row,
        )
        if grant:
            self._connection.execute("INSERT INTO rs.default_grants VALUES (?, ?, ?, ?, ?)", row)

    def holdings(self, kind: str, name: str) -> list[str]:
        """What stops a user or role from being dropped: what it owns and was granted."""
        found = []
        if kind == "user":
            found += [
                f"schema {x}"
                for (x,) in self.rows("SELECT name FROM rs.schemas WHERE owner = ?", name)
            ]
            found += [
                f"table {x}.{y}"
                for x, y in self.rows("SELECT schema, name FROM rs.tables WHERE owner = ?", name)
            ]
        found += [
            f"privileges on {x} {y}"
            for x, y in self.rows(
                "SELECT DISTINCT kind, name FROM rs.grants WHERE grantee_kind = ? AND grantee = ?",
                kind,
                name,
            )
        ]
        return found

    def forget(self, kind: str, name: str) -> None:
        """Drop every grant to a user or role."""
        for relation in ("grants", "default_grants"):
            self._connection.execute(
                f"DELETE FROM rs.{relation} WHERE grantee_kind = ? AND grantee = ?", [kind, name]
            )


def _constraints(text: str | None) -> tuple[Constraint, ...]:
    return tuple(Constraint(kind, tuple(names)) for kind, names in json.loads(text or "[]"))


def type_of_duckdb(text: str) -> Type:
    """The Redshift type of a query's column, from DuckDB's name of it.

    Raises
    ------
    SqlError
        Redshift has no such type.
    """
    fixed = {
        "SMALLINT": Type("int2"),
        "TINYINT": Type("int2"),
        "INTEGER": Type("int4"),
        "BIGINT": Type("int8"),
        "UBIGINT": Type("int8"),
        "HUGEINT": Type("numeric", precision=38, scale=0),
        "FLOAT": Type("float4"),
        "DOUBLE": Type("float8"),
        "BOOLEAN": Type("bool"),
        "DATE": Type("date"),
        "TIMESTAMP": Type("timestamp"),
        "TIMESTAMP WITH TIME ZONE": Type("timestamptz"),
        "TIME": Type("time"),
        "JSON": Type("super"),
        "VARCHAR": Type("varchar", length=65_535),
        "BLOB": Type("varbyte", length=64_000),
        '"NULL"': Type("varchar", length=1),
        "NULL": Type("varchar", length=1),
    }
    if text in fixed:
        return fixed[text]
    if text.startswith("DECIMAL"):
        return parse_type(text)
    raise SqlError(f"the local Redshift has no type for DuckDB's {text}")
