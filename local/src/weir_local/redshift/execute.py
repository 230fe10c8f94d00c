"""Sessions: statements of one user against one database, in transactions."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import duckdb
from sqlglot import exp

from weir_local.redshift import commands as c
from weir_local.redshift.catalog import (
    PRINCIPAL_VIEWS,
    SYSTEM_VIEWS,
    TEMPORARY,
    Catalog,
    Column,
    Table,
    column_of,
    quoted,
    type_of_duckdb,
)
from weir_local.redshift.database import PRINCIPALS_LOCK, Database, Directory
from weir_local.redshift.duckdb_errors import translated_error
from weir_local.redshift.errors import (
    SqlError,
    denied,
    in_transaction_block,
    not_owner,
)
from weir_local.redshift.locks import Mode
from weir_local.redshift.objects import ObjectStore
from weir_local.redshift.parse import KNOWN_PRIVILEGES, parse, parse_query
from weir_local.redshift.principals import Principals
from weir_local.redshift.translate import Facts, Translator
from weir_local.redshift.types import Type, fitted


@dataclass(frozen=True)
class ResultColumn:
    """A column of a result."""

    name: str
    type: Type


@dataclass
class Result:
    """What a statement gave: rows, or how many it wrote."""

    columns: list[ResultColumn] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    affected: int = 0

    @property
    def has_rows(self) -> bool:
        """Whether there is a result set, be it empty."""
        return bool(self.columns)


_sessions = count(1)
_queries = count(1_000)


@dataclass(frozen=True)
class LoadError:
    """A row that COPY could not load: file, line (from 1), column, its type, value and reason."""

    file: str
    line: int
    column: str
    type: Type | None
    value: str
    code: int
    reason: str


class LoadFailed(SqlError):
    """COPY met more errors than MAXERROR; they go to ``sys_load_error_detail``."""

    def __init__(self, table: str, errors: Sequence[LoadError]) -> None:
        super().__init__(
            f"Load into table '{table}' failed.  "
            "Check 'sys_load_error_detail' system table for details."
        )
        self.errors = errors


class Session:
    """One connection: a user, a search path, temporary tables and at most one transaction.

    Parameters
    ----------
    database
        Where statements run.
    directory
        The warehouse's users and roles.
    user
        The database user, which has to exist.
    assume
        (role ARN or ``default``) -> S3 with that role's rights; raises SqlError.
    create
        Makes another database of the warehouse, for CREATE DATABASE.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        user: str,
        assume: Callable[[str], ObjectStore],
        create: Callable[[str], None] | None = None,
    ) -> None:
        self._create_database = create
        self.id = next(_sessions)
        self.database = database
        self.directory = directory
        self.user = user
        self.assume = assume
        self.cancelled = threading.Event()
        self.connection = database.connection.cursor()
        self.temporary: dict[str, Table] = {}
        self.search_path: tuple[str, ...] = ("public",)
        self.last_copy_count = 0
        self.query_id = 0
        self.block = False
        self._failed = False
        self._open = False
        self._snapshot = 0
        self._reads: set[str] = set()
        self._writes: set[str] = set()
        self._principals: Principals | None = None
        self._temporary_before: dict[str, Table] = {}

    # Transactions

    def run(self, sql: str) -> Result:
        """Run one statement; outside a block it is a transaction of its own.

        Raises
        ------
        SqlError
            Redshift would refuse it. Its transaction is rolled back.
        """
        self.query_id = next(_queries)
        try:
            command = parse(sql)
            if isinstance(command, c.Begin):
                self.block = True
                return Result()
            if isinstance(command, c.Commit):
                self.commit()
                self.block = False
                return Result()
            if isinstance(command, c.Rollback):
                self.rollback()
                self.block = False
                return Result()
            if self._failed:
                raise SqlError(
                    "current transaction is aborted, "
                    "commands ignored until end of transaction block"
                )
            result = self._run(command)
            if not self.block:
                self.commit()
        except duckdb.Error as problem:
            self._abort()
            raise translated_error(problem) from problem
        except LoadFailed as problem:
            self._abort()
            self._keep_errors(problem.errors)
            raise
        except BaseException:
            self._abort()
            raise
        return result

    def commit(self) -> None:
        """End the transaction; one that has failed is rolled back."""
        if self._failed:
            self.rollback()
            return
        try:
            if self._open:
                self.database.check(self._snapshot, self._reads, self._writes)
                self.connection.execute("COMMIT")
                if self._writes:
                    self.database.committed(self._reads, self._writes)
            if self._principals is not None:
                self.directory.replace(self._principals)
        except duckdb.Error as problem:
            self.rollback()
            raise translated_error(problem) from problem
        except BaseException:
            self.rollback()
            raise
        self._ended()

    def rollback(self) -> None:
        """Undo the transaction."""
        if self._open:
            with suppress(duckdb.Error):
                # DuckDB has rolled back by itself after some errors.
                self.connection.execute("ROLLBACK")
            self.temporary = self._temporary_before
        self._ended()

    def _ended(self) -> None:
        self._failed = False
        self._open = False
        self._principals = None
        self._reads = set()
        self._writes = set()
        self.database.locks.release(self.id)
        self.directory.locks.release(self.id)

    def _abort(self) -> None:
        self.rollback()
        self._failed = self.block

    def close(self) -> None:
        """Roll back what is open and give the connection back."""
        self.rollback()
        self.connection.close()

    def _start(self) -> None:
        if self._open:
            return
        self._snapshot = self.database.sequence
        self._temporary_before = dict(self.temporary)
        self.connection.execute("BEGIN")
        # DuckDB takes its snapshot at the first read, Redshift at the first statement.
        self.connection.execute("SELECT 1 FROM rs.schemas LIMIT 1").fetchall()
        self._open = True

    @property
    def principals(self) -> Principals:
        """Users and roles as this transaction sees them."""
        return self._principals or self.directory.principals

    def _changing_principals(self) -> Principals:
        self.directory.locks.acquire(self.id, PRINCIPALS_LOCK, Mode.EXCLUSIVE, self.cancelled)
        if self._principals is None:
            self._principals = self.directory.principals.copy()
        return self._principals

    def _lock(self, name: c.Name, mode: Mode) -> None:
        if name.schema in ("", TEMPORARY) and name.name in self.temporary:
            return
        found = None if name.schema else self.catalog.find(name)
        key = found.key if found else f"{name.schema or self.catalog.current_schema}.{name.name}"
        self.database.locks.acquire(self.id, key, mode, self.cancelled)

    def _wrote(self, table: Table, reads: set[str]) -> None:
        self._reads |= reads
        if not table.temporary:
            self._writes.add(table.key)
        self.database.check(self._snapshot, self._reads, self._writes)

    # Statements

    @property
    def catalog(self) -> Catalog:
        """The catalog as this user sees it."""
        return Catalog(
            self.connection,
            self.database.name,
            self.user,
            self.principals,
            self.temporary,
            self.search_path,
        )

    @property
    def translator(self) -> Translator:
        """A translator for one statement."""
        facts = Facts(
            self.user,
            self.user,
            self.database.name,
            self.catalog.current_schema,
            self.last_copy_count,
            self.query_id - 1,
            1_073_741_824 + self.id,
        )
        return Translator(self.catalog, facts)

    def _run(self, command: c.Command) -> Result:
        for name, mode in locked_by(command):
            self._lock(name, mode)
        if isinstance(command, c.Lock):
            return self._lock_tables(command)
        self._start()
        handler = _HANDLERS[type(command)]
        found = handler(self, command)
        return found if found is not None else Result()

    def _lock_tables(self, command: c.Lock) -> Result:
        # LOCK comes before the snapshot, so that what follows sees what the last holder wrote.
        # Until then every read here is a transaction of its own.
        catalog = self.catalog
        for name in command.names:
            table = catalog.table(name)
            if not any(catalog.may(table, x) for x in ("update", "delete", "insert")):
                raise denied("relation", table.name)
        return Result()

    def describe(self, query: str) -> list[tuple[str, str]]:
        """The names and DuckDB types of a query's columns."""
        return [
            (str(name), str(kind))
            for name, kind, *_ in self.connection.execute(f"DESCRIBE {query}").fetchall()
        ]

    def _changed(self, sql: str) -> int:
        found = self.connection.execute(sql).fetchall()
        return int(found[0][0]) if found and isinstance(found[0][0], int) else 0

    def dml(self, command: c.Dml) -> Result:
        """SELECT, INSERT, UPDATE, DELETE."""
        tree = command.tree
        self._principal_views(tree)
        translator = self.translator
        if isinstance(tree, exp.Query):
            sql = translator.query(tree)
            self._reads |= translator.reads
            return self._rows(sql)
        target = translator.target(
            tree.this.this if isinstance(tree.this, exp.Schema) else tree.this, ""
        )
        if isinstance(tree, exp.Insert):
            sql = translator.insert(tree, self.describe)
            reads = translator.reads
        else:
            assert isinstance(tree, exp.Update | exp.Delete)
            sql = (
                translator.update(tree) if isinstance(tree, exp.Update) else translator.delete(tree)
            )
            reads = translator.reads | {target.key}
        self._wrote(target, reads)
        return Result(affected=self._changed(sql))

    def _rows(self, sql: str) -> Result:
        described = self.describe(sql)
        columns = [ResultColumn(name, type_of_duckdb(kind)) for name, kind in described]
        if any(column.type.wire == "timestamptz" for column in columns):
            # Python's DuckDB needs one more library for them; as text they need none.
            names = [f"c{place}" for place in range(len(columns))]
            chosen = ", ".join(
                f"CAST({name} AS VARCHAR)" if column.type.wire == "timestamptz" else name
                for name, column in zip(names, columns, strict=True)
            )
            sql = f"SELECT {chosen} FROM ({sql}) AS r({', '.join(names)})"
        return Result(columns, self.connection.execute(sql).fetchall())

    def merge(self, command: c.Merge) -> Result:
        """MERGE."""
        translator = self.translator
        plan = translator.merge(command.tree, command.remove_duplicates)
        self._wrote(plan.target, translator.reads | {plan.target.key})
        if plan.duplicates and self.connection.execute(plan.duplicates).fetchall():
            raise SqlError("Found multiple matches to update the same tuple.")
        if command.remove_duplicates:
            # The simplified mode replaces matched rows by the source's, each once.
            self.connection.execute(f"CREATE OR REPLACE TEMP TABLE merged AS {plan.new_rows}")
            self.connection.execute(plan.change)
            affected = self._changed(plan.insert)
        else:
            self.connection.execute(f"CREATE OR REPLACE TEMP TABLE merged AS {plan.new_rows}")
            affected = self._changed(plan.change) + self._changed(plan.insert)
        self.connection.execute("DROP TABLE temp.merged")
        return Result(affected=affected)

    def _principal_views(self, tree: exp.Expr) -> None:
        wanted = {x.name for x in tree.find_all(exp.Table)} & set(PRINCIPAL_VIEWS)
        for view in wanted:
            columns, rows = principal_rows(view, self.principals)
            body = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns)
            self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {quoted(view)} ({body})")
            marks = ", ".join("?" for _ in columns)
            for row in rows:
                self.connection.execute(f"INSERT INTO temp.{quoted(view)} VALUES ({marks})", row)

    # Schemas and tables

    def create_schema(self, command: c.CreateSchema) -> None:
        """CREATE SCHEMA."""
        catalog = self.catalog
        if catalog.has_schema(command.name):
            if command.if_not_exists:
                return
            raise SqlError(f'schema "{command.name}" already exists')
        if command.name.startswith("pg_") or command.name == "information_schema":
            raise SqlError(f'unacceptable schema name "{command.name}"')
        catalog.require_database("create")
        if command.owner:
            self._require_superuser("CREATE SCHEMA AUTHORIZATION")
            self.principals.user(command.owner)
        catalog.add_schema(command.name, command.owner or self.user)

    def alter_schema(self, command: c.AlterSchema) -> None:
        """ALTER SCHEMA .. OWNER TO."""
        owner = self.catalog.schema_owner(command.name)
        if not self.catalog.superuser and owner != self.user:
            raise not_owner("schema", command.name)
        self.principals.user(command.owner)
        self.catalog.set_schema_owner(command.name, command.owner)

    def drop_schema(self, command: c.DropSchema) -> None:
        """DROP SCHEMA."""
        catalog = self.catalog
        if command.if_exists and not catalog.has_schema(command.name):
            return
        owner = catalog.schema_owner(command.name)
        if not catalog.superuser and owner != self.user:
            raise not_owner("schema", command.name)
        tables = catalog.tables_in(command.name)
        if tables and not command.cascade:
            raise SqlError(f"cannot drop schema {command.name} because other objects depend on it")
        for table in tables:
            catalog.drop(table)
        catalog.drop_schema(command.name)

    def _require_superuser(self, what: str) -> None:
        if not self.catalog.superuser:
            raise SqlError(f"permission denied: {what} is for superusers")

    def create_table(self, command: c.CreateTable) -> Result:
        """CREATE TABLE with columns, LIKE or AS."""
        catalog = self.catalog
        name = self._new_name(command.name, command.temporary)
        existing = self.temporary.get(name.name) if command.temporary else catalog.find(name)
        if existing is not None and existing.schema == name.schema:
            if command.if_not_exists:
                return Result()
            raise SqlError(f'Relation "{name.name}" already exists')
        constraints = command.constraints
        distkey, sortkeys = command.distkey, command.sortkeys
        query = ""
        translator = self.translator
        diststyle = command.diststyle
        if command.query:
            query = translator.query(parse_query(command.query))
            columns = [
                Column(column, type_of_duckdb(kind)) for column, kind in self.describe(query)
            ]
            columns = [
                replace(x, distkey=x.name == distkey, sortkey=_place(sortkeys, x.name))
                for x in columns
            ]
        elif command.like is not None:
            model = catalog.table(command.like)
            catalog.require(model, "select")
            columns = [
                x if command.like_defaults else replace(x, default="") for x in model.columns
            ]
            diststyle = diststyle or model.diststyle
        else:
            columns = [column_of(x, distkey, sortkeys) for x in command.columns]
            for column in columns:
                if column.default:
                    self._default_fits(translator, column)
        keys = {
            x
            for constraint in constraints
            if constraint.kind == "PRIMARY KEY"
            for x in constraint.columns
        }
        columns = [replace(x, not_null=x.not_null or x.name in keys) for x in columns]
        table = catalog.add_table(name, columns, diststyle, constraints)
        self._wrote(table, translator.reads)
        if query:
            return Result(affected=self._changed(f"INSERT INTO {table.stored} {query}"))
        return Result()

    def _default_fits(self, translator: Translator, column: Column) -> None:
        value = translator.default(column.default)
        self.connection.execute(f"SELECT {fitted(f'({value})', column.type, column.name, False)}")

    def _new_name(self, name: c.Name, temporary: bool) -> c.Name:
        if temporary:
            if name.schema not in ("", TEMPORARY):
                raise SqlError("cannot create temporary table in a non-temporary schema")
            self.catalog.require_database("temp")
            return c.Name(TEMPORARY, name.name)
        schema = name.schema or self.catalog.current_schema
        self.catalog.require_schema(schema, "create")
        if name.schema == "" and name.name in SYSTEM_VIEWS:
            raise SqlError(f'Relation "{name.name}" already exists')
        return c.Name(schema, name.name)

    def create_view(self, command: c.CreateView) -> None:
        """CREATE VIEW."""
        catalog = self.catalog
        name = self._new_name(command.name, False)
        existing = catalog.find(name)
        translator = self.translator
        tree = parse_query(command.query)
        columns = [
            Column(column, type_of_duckdb(kind))
            for column, kind in self.describe(translator.query(tree))
        ]
        if existing is not None:
            if not command.replace or existing.kind != "view":
                raise SqlError(f'Relation "{name.name}" already exists')
            catalog.require_owner(existing)
            catalog.drop(existing)
        body = json.dumps({"sql": command.query, "reads": sorted(translator.reads)})
        catalog.add_table(name, columns, kind="view", query=body)

    def drop(self, command: c.Drop) -> None:
        """DROP TABLE, DROP VIEW."""
        catalog = self.catalog
        for name in command.names:
            if command.if_exists and name.schema and not catalog.has_schema(name.schema):
                continue
            found = catalog.find(name)
            if found is None:
                if command.if_exists:
                    continue
                raise SqlError(f'{command.kind.capitalize()} "{name.name}" does not exist')
            table = catalog.table(name)
            if table.kind != command.kind:
                raise SqlError(f'"{name.name}" is not a {command.kind}')
            catalog.require_owner(table, "drop")
            views = catalog.views_on(table)
            if views and not command.cascade:
                raise SqlError(
                    f"cannot drop table {name} because other objects depend on it",
                    f"view {views[0].name} depends on table {name}",
                )
            for view in views:
                catalog.drop(view)
            catalog.drop(table)
            self._wrote(table, {table.key})

    def truncate(self, command: c.Truncate) -> None:
        """TRUNCATE, which commits, in a block as well."""
        table = self.catalog.table(command.name)
        self.catalog.require_owner(table, "truncate")
        self._wrote(table, {table.key})
        self.connection.execute(f"DELETE FROM {table.stored}")
        self.commit()

    def alter_table(self, command: c.AlterTable) -> None:
        """ALTER TABLE."""
        catalog = self.catalog
        table = catalog.table(command.name)
        catalog.require_owner(table, "alter")
        if table.kind == "view" and command.action not in ("owner", "rename"):
            raise SqlError(f'"{table.name}" is not a table')
        if command.action in ("type", "append") and self.block:
            raise in_transaction_block(
                "ALTER TABLE ALTER COLUMN" if command.action == "type" else "ALTER TABLE APPEND"
            )
        self._wrote(table, {table.key})
        _ALTERATIONS[command.action](self, table, command)

    def alter_add(self, table: Table, command: c.AlterTable) -> None:
        """ADD COLUMN."""
        assert command.column is not None
        column = column_of(command.column, "", ())
        if any(x.name == column.name for x in table.columns):
            raise SqlError(f'column "{column.name}" of relation "{table.name}" already exists')
        if column.not_null and not column.default:
            raise SqlError(
                "ALTER TABLE ADD COLUMN defined as NOT NULL must have a non-null default expression"
            )
        default = self.translator.default(column.default)
        self.connection.execute(
            f"ALTER TABLE {table.stored} ADD COLUMN {quoted(column.name)} {column.type.stored}"
        )
        if column.default:
            value = fitted(f"({default})", column.type, column.name, column.not_null)
            self.connection.execute(f"UPDATE {table.stored} SET {quoted(column.name)} = {value}")
        self.catalog.set_columns(table, [*table.columns, column])

    def alter_drop(self, table: Table, command: c.AlterTable) -> None:
        """DROP COLUMN."""
        column = table.column(command.old)
        if column.distkey:
            raise SqlError(f'cannot drop distkey column "{column.name}"')
        if column.sortkey:
            raise SqlError(f'cannot drop sortkey column "{column.name}"')
        self._no_views(table, f'column "{column.name}"', command.cascade)
        if len(table.columns) == 1:
            raise SqlError(f'cannot drop the only column "{column.name}" of table "{table.name}"')
        self.connection.execute(f"ALTER TABLE {table.stored} DROP COLUMN {quoted(column.name)}")
        self.catalog.set_columns(table, [x for x in table.columns if x is not column])

    def _no_views(self, table: Table, what: str, cascade: bool = False) -> None:
        views = self.catalog.views_on(table)
        if views and not cascade:
            raise SqlError(
                f"cannot change {what} of table {table.name} because other objects depend on it",
                f"view {views[0].name} depends on it",
            )
        for view in views:
            self.catalog.drop(view)

    def alter_type(self, table: Table, command: c.AlterTable) -> None:
        """ALTER COLUMN TYPE: a VARCHAR made wider (or narrower, if what it holds fits).

        https://docs.aws.amazon.com/redshift/latest/dg/r_ALTER_TABLE.html
        """
        column = table.column(command.old)
        new = command.type
        assert new is not None
        if column.type.wire != "varchar" or new.wire != "varchar":
            raise SqlError(
                f'cannot alter type of column "{column.name}" from {column.type} to {new}: '
                "only the size of a VARCHAR can be altered"
            )
        if any(column.name in x.columns for x in table.constraints):
            raise SqlError(
                f'cannot alter type of column "{column.name}" that a key constraint uses'
            )
        if column.default:
            raise SqlError(f'cannot alter type of column "{column.name}" that has a default')
        if column.encode in ("bytedict", "runlength", "text255", "text32k"):
            raise SqlError(
                f'cannot alter type of column "{column.name}" with encoding {column.encode}'
            )
        self._no_views(table, f'the type of column "{column.name}"')
        assert new.length is not None
        (longest,) = self.connection.execute(
            f"SELECT coalesce(max(strlen({quoted(column.name)})), 0) FROM {table.stored}"
        ).fetchall()[0]
        if longest > new.length:
            raise SqlError(f'cannot alter type of column "{column.name}": it holds {longest} bytes')
        self._set_column(table, replace(column, type=new))

    def _set_column(self, table: Table, column: Column, old: str = "") -> None:
        changed = [column if x.name == (old or column.name) else x for x in table.columns]
        self.catalog.set_columns(table, changed)

    def alter_rename(self, table: Table, command: c.AlterTable) -> None:
        """RENAME TO."""
        if self.catalog.find(c.Name(table.schema, command.new)):
            raise SqlError(f'relation "{command.new}" already exists')
        self._no_views(table, "the name")
        self.catalog.rename(table, command.new)

    def alter_rename_column(self, table: Table, command: c.AlterTable) -> None:
        """RENAME COLUMN."""
        column = table.column(command.old)
        if any(x.name == command.new for x in table.columns):
            raise SqlError(f'column "{command.new}" of relation "{table.name}" already exists')
        self._no_views(table, f'column "{command.old}"')
        self.connection.execute(
            f"ALTER TABLE {table.stored} RENAME COLUMN {quoted(command.old)} "
            f"TO {quoted(command.new)}"
        )
        self._set_column(table, replace(column, name=command.new), command.old)

    def alter_owner(self, table: Table, command: c.AlterTable) -> None:
        """OWNER TO."""
        self.principals.user(command.new)
        self.catalog.set_table(table, "owner", command.new)

    def alter_constraint(self, table: Table, command: c.AlterTable) -> None:
        """ADD PRIMARY KEY, UNIQUE, FOREIGN KEY: kept, not enforced."""
        for name in command.columns:
            column = table.column(name)
            if command.old == "PRIMARY KEY" and not column.not_null:
                raise SqlError(f'column "{name}" in the primary key must be NOT NULL')
        added = [*table.constraints, c.Constraint(command.old, command.columns)]
        self.catalog.set_table(
            table, "constraints", json.dumps([[x.kind, list(x.columns)] for x in added])
        )

    def alter_dist(self, table: Table, command: c.AlterTable) -> None:
        """ALTER DISTSTYLE, ALTER DISTKEY."""
        if command.new:
            table.column(command.new)
        self.catalog.set_table(table, "diststyle", command.old)
        self.catalog.set_columns(
            table, [replace(x, distkey=x.name == command.new) for x in table.columns]
        )

    def alter_sort(self, table: Table, command: c.AlterTable) -> None:
        """ALTER SORTKEY."""
        for name in command.columns:
            table.column(name)
        self.catalog.set_columns(
            table, [replace(x, sortkey=_place(command.columns, x.name)) for x in table.columns]
        )

    def alter_encode(self, table: Table, command: c.AlterTable) -> None:
        """ALTER COLUMN ENCODE."""
        if command.old:
            column = table.column(command.old)
            self.catalog.set_columns(
                table,
                [replace(x, encode=command.new) if x is column else x for x in table.columns],
            )

    def alter_append(self, table: Table, command: c.AlterTable) -> None:
        """APPEND FROM: moves the other table's rows."""
        assert command.source is not None
        source = self.catalog.table(command.source)
        self.catalog.require_owner(source, "delete")
        shape = [(x.name, x.type) for x in table.columns]
        if shape != [(x.name, x.type) for x in source.columns]:
            raise SqlError("ALTER TABLE APPEND needs tables with the same columns")
        self.connection.execute(f"INSERT INTO {table.stored} SELECT * FROM {source.stored}")
        self.connection.execute(f"DELETE FROM {source.stored}")
        self._wrote(source, {source.key})

    # Loading and unloading

    def copy(self, command: c.Copy) -> Result:
        """COPY."""
        from weir_local.redshift.copy import load

        translator = self.translator
        table = translator.target(
            exp.table_(command.name.name, db=command.name.schema or None), "insert"
        )
        self._wrote(table, set())
        self.last_copy_count = load(self, command, table, translator)
        return Result(affected=self.last_copy_count)

    def unload(self, command: c.Unload) -> Result:
        """UNLOAD."""
        from weir_local.redshift.unload import unload

        translator = self.translator
        query = translator.query(parse_query(command.query))
        self._reads |= translator.reads
        return Result(affected=unload(self, command, query))

    def _keep_errors(self, errors: Sequence[LoadError]) -> None:
        reader = self.database.connection.cursor()
        user = self.principals.users.get(self.user)
        for error in errors:
            reader.execute(
                "INSERT INTO rs.load_errors VALUES (?, 0, get_current_timestamp() "
                "AT TIME ZONE 'UTC', ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
                [
                    self.query_id,
                    error.file,
                    error.line,
                    error.column,
                    error.type.wire if error.type else "",
                    str(error.type.length or "") if error.type else "",
                    error.value[:1024],
                    error.code,
                    error.reason,
                    user.id if user else 0,
                ],
            )
        reader.close()

    def keep_errors_at_commit(self, errors: Sequence[LoadError]) -> None:
        """Note the rows that COPY skipped within MAXERROR."""
        self._keep_errors(errors)

    # Users and rights

    def privileges(self, command: c.Privileges) -> None:
        """GRANT, REVOKE."""
        for grantee in command.grantees:
            self.principals.require(grantee.kind, grantee.name)
        for kind, name, owner in self._granted_objects(command):
            for privilege in command.privileges:
                if privilege not in KNOWN_PRIVILEGES[kind]:
                    raise SqlError(f"invalid privilege type {privilege.upper()} for {kind}")
                allowed = self.catalog.superuser or owner == self.user
                if not allowed and not self.catalog.may_grant(kind, name, privilege):
                    raise denied("relation" if kind == "table" else kind, name.name)
                for grantee in command.grantees:
                    if command.grant:
                        self.catalog.grant(kind, name, privilege, grantee, command.with_grant)
                    else:
                        self.catalog.revoke(kind, name, privilege, grantee)

    def _granted_objects(self, command: c.Privileges) -> list[tuple[str, c.Name, str]]:
        found: list[tuple[str, c.Name, str]] = []
        for name in command.objects:
            if command.kind == "schema":
                found.append(
                    ("schema", c.Name("", name.name), self.catalog.schema_owner(name.name))
                )
            elif command.kind == "database":
                if name.name != self.database.name:
                    raise SqlError(f'database "{name.name}" is not the connected one')
                found.append(("database", c.Name("", name.name), ""))
            elif command.kind == "allTables":
                self.catalog.schema_owner(name.name)
                for table in self.catalog.tables_in(name.name):
                    found.append(("table", c.Name(table.schema, table.name), table.owner))
            else:
                table = self.catalog.table(name)
                found.append(("table", c.Name(table.schema, table.name), table.owner))
        return found

    def membership(self, command: c.RoleMembership) -> None:
        """GRANT ROLE, REVOKE ROLE."""
        self._require_superuser("GRANT ROLE")
        principals = self._changing_principals()
        for role in command.roles:
            principals.require("role", role)
            for grantee in command.grantees:
                principals.require(grantee.kind, grantee.name)
                if grantee.kind == "public":
                    raise SqlError("a role can't be granted to PUBLIC")
                held = (
                    principals.users[grantee.name].roles
                    if grantee.kind == "user"
                    else principals.roles[grantee.name]
                )
                if command.grant and role not in held:
                    held.append(role)
                elif not command.grant and role in held:
                    held.remove(role)

    def default_privileges(self, command: c.DefaultPrivileges) -> None:
        """ALTER DEFAULT PRIVILEGES."""
        owner = command.owner or self.user
        if owner != self.user:
            self._require_superuser("ALTER DEFAULT PRIVILEGES FOR USER")
        self.principals.user(owner)
        for schema in command.schemas:
            self.catalog.schema_owner(schema)
        for grantee in command.grantees:
            self.principals.require(grantee.kind, grantee.name)
            for schema in command.schemas or ("",):
                for privilege in command.privileges:
                    self.catalog.set_default_grant(command.grant, owner, schema, privilege, grantee)

    def create_user(self, command: c.CreateUser) -> None:
        """CREATE USER."""
        self._require_superuser("CREATE USER")
        self._changing_principals().create_user(command.name, command.password, command.superuser)

    def alter_user(self, command: c.AlterUser) -> None:
        """ALTER USER."""
        if command.name != self.user or command.superuser is not None:
            self._require_superuser("ALTER USER")
        principals = self._changing_principals()
        user = principals.user(command.name)
        if command.password is not None:
            principals.set_password(command.name, command.password)
        if command.superuser is not None:
            user.superuser = command.superuser

    def create_role(self, command: c.CreateRole) -> None:
        """CREATE ROLE."""
        self._require_superuser("CREATE ROLE")
        self._changing_principals().create_role(command.name)

    def drop_principal(self, command: c.DropPrincipal) -> None:
        """DROP USER, DROP ROLE."""
        self._require_superuser(f"DROP {command.kind.upper()}")
        principals = self._changing_principals()
        known = principals.users if command.kind == "user" else principals.roles
        if command.name not in known:
            if command.if_exists:
                return
            raise SqlError(f'{command.kind} "{command.name}" does not exist')
        holds = self.catalog.holdings(command.kind, command.name)
        if holds and not command.force:
            raise SqlError(
                f'{command.kind} "{command.name}" cannot be dropped because '
                f"the {command.kind} has a privilege on some object or owns one",
                holds[0],
            )
        self.catalog.forget(command.kind, command.name)
        del known[command.name]
        if command.kind == "role":
            for user in principals.users.values():
                user.roles = [x for x in user.roles if x != command.name]

    # The rest

    def setting(self, command: c.Setting) -> Result:
        """SET, RESET, SHOW."""
        if command.verb == "show":
            value = ", ".join(self.search_path) if command.name == "search_path" else ""
            column = ResultColumn(command.name, Type("varchar", length=65_535))
            return Result([column], [(value,)])
        if command.name == "search_path":
            words = command.value.replace("'$user'", "").replace("$ user", "").split()
            self.search_path = tuple(x.strip("\"'").lower() for x in words) or ("public",)
        return Result()

    def maintenance(self, command: c.Maintenance) -> None:
        """ANALYZE, VACUUM, COMMENT."""
        if command.verb == "VACUUM" and self.block:
            raise in_transaction_block("VACUUM")
        if command.name is not None:
            table = self.catalog.table(command.name)
            self.catalog.require_owner(table)

    def create_database(self, command: c.CreateDatabase) -> None:
        """CREATE DATABASE."""
        if self.block:
            raise in_transaction_block("CREATE DATABASE")
        self._require_superuser("CREATE DATABASE")
        if self._create_database is None:
            raise SqlError("this session can't create databases")
        self._create_database(command.name)


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) + 1 if name in names else 0


def locked_by(command: c.Command) -> list[tuple[c.Name, Mode]]:
    """The tables that a statement locks, in the order in which it does."""
    if isinstance(command, c.Lock):
        return [(name, Mode.EXCLUSIVE) for name in command.names]
    if isinstance(command, c.Drop):
        return [(name, Mode.EXCLUSIVE) for name in command.names]
    if isinstance(command, c.AlterTable | c.Truncate):
        extra = [command.source] if isinstance(command, c.AlterTable) and command.source else []
        return [(name, Mode.EXCLUSIVE) for name in [command.name, *extra]]
    if isinstance(command, c.CreateTable):
        return [] if command.temporary else [(command.name, Mode.EXCLUSIVE)]
    if isinstance(command, c.Copy):
        return [(command.name, Mode.WRITE)]
    if isinstance(command, c.Merge | c.Dml):
        tree = command.tree
        written = None if isinstance(tree, exp.Query) else tree.this.find(exp.Table)
        found = [
            (c.Name(x.db, x.name), Mode.WRITE if x is written else Mode.READ)
            for x in tree.find_all(exp.Table)
            if x.name not in SYSTEM_VIEWS and x.db not in ("information_schema", "pg_catalog")
        ]
        return sorted(found, key=lambda item: (str(item[0]), item[1].value))
    return []


def principal_rows(
    view: str, principals: Principals
) -> tuple[list[tuple[str, str]], list[list[Any]]]:
    """The columns and rows of a view over users and roles."""
    users = principals.users.values()
    if view == "svv_roles":
        columns = [("role_id", "BIGINT"), ("role_name", "VARCHAR"), ("role_owner", "VARCHAR")]
        return columns, [[i, name, ""] for i, name in enumerate(principals.roles, 1)]
    if view == "svv_user_grants":
        columns = [
            ("user_id", "BIGINT"),
            ("user_name", "VARCHAR"),
            ("role_name", "VARCHAR"),
            ("admin_option", "BOOLEAN"),
        ]
        return columns, [[u.id, u.name, role, False] for u in users for role in u.roles]
    if view == "pg_user":
        columns = [("usename", "VARCHAR"), ("usesysid", "BIGINT"), ("usesuper", "BOOLEAN")]
        return columns, [[u.name, u.id, u.superuser] for u in users]
    columns = [("user_name", "VARCHAR"), ("user_id", "BIGINT"), ("superuser", "BOOLEAN")]
    return columns, [[u.name, u.id, u.superuser] for u in users]


_HANDLERS: dict[type, Callable[[Session, Any], Result | None]] = {
    c.Dml: Session.dml,
    c.Merge: Session.merge,
    c.CreateSchema: Session.create_schema,
    c.AlterSchema: Session.alter_schema,
    c.DropSchema: Session.drop_schema,
    c.CreateTable: Session.create_table,
    c.CreateView: Session.create_view,
    c.Drop: Session.drop,
    c.Truncate: Session.truncate,
    c.AlterTable: Session.alter_table,
    c.Copy: Session.copy,
    c.Unload: Session.unload,
    c.Privileges: Session.privileges,
    c.RoleMembership: Session.membership,
    c.DefaultPrivileges: Session.default_privileges,
    c.CreateUser: Session.create_user,
    c.AlterUser: Session.alter_user,
    c.CreateRole: Session.create_role,
    c.DropPrincipal: Session.drop_principal,
    c.Setting: Session.setting,
    c.Maintenance: Session.maintenance,
    c.CreateDatabase: Session.create_database,
}

_ALTERATIONS: dict[str, Callable[[Session, Table, c.AlterTable], None]] = {
    "add": Session.alter_add,
    "drop": Session.alter_drop,
    "type": Session.alter_type,
    "rename": Session.alter_rename,
    "renameColumn": Session.alter_rename_column,
    "owner": Session.alter_owner,
    "constraint": Session.alter_constraint,
    "dist": Session.alter_dist,
    "sort": Session.alter_sort,
    "encode": Session.alter_encode,
    "append": Session.alter_append,
}
