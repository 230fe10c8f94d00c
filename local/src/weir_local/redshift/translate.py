"""Redshift's SQL -> DuckDB's, through sqlglot: names resolved, rights checked, functions known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sqlglot import exp, parse_one

from weir_local.redshift.catalog import (
    INFORMATION_SCHEMA,
    SYSTEM_VIEWS,
    Catalog,
    Table,
    quoted,
)
from weir_local.redshift.commands import Name
from weir_local.redshift.errors import SqlError, no_relation, syntax_error
from weir_local.redshift.parse import parse_query
from weir_local.redshift.types import fitted

FUNCTIONS = frozenset(
    {
        "Abs",
        "And",
        "ApproxDistinct",
        "Array",
        "Avg",
        "Between",
        "Case",
        "Cast",
        "Ceil",
        "Coalesce",
        "Concat",
        "ConcatWs",
        "Contains",
        "ConvertTimezone",
        "Count",
        "CountIf",
        "CumeDist",
        "CurrentDatabase",
        "CurrentDate",
        "CurrentSchema",
        "CurrentTimestamp",
        "CurrentUser",
        "CurrentVersion",
        "DateAdd",
        "DateDiff",
        "DateTrunc",
        "Day",
        "DecodeCase",
        "DenseRank",
        "Exists",
        "Exp",
        "Extract",
        "FirstValue",
        "Floor",
        "FromBase",
        "Greatest",
        "GroupConcat",
        "Hour",
        "If",
        "Initcap",
        "JSONExtractScalar",
        "Lag",
        "LastValue",
        "Lead",
        "Least",
        "Left",
        "Length",
        "Ln",
        "Log",
        "Lower",
        "MD5",
        "Max",
        "Median",
        "Min",
        "Minute",
        "Mod",
        "Month",
        "NthValue",
        "Ntile",
        "Nullif",
        "Nvl2",
        "Or",
        "Pad",
        "ParseJSON",
        "PercentRank",
        "PercentileCont",
        "Pow",
        "Quarter",
        "Rand",
        "Rank",
        "RegexpExtract",
        "RegexpLike",
        "RegexpReplace",
        "Repeat",
        "Replace",
        "Reverse",
        "Right",
        "Round",
        "RowNumber",
        "SHA",
        "SHA2",
        "Second",
        "SessionUser",
        "Sign",
        "SplitPart",
        "Sqrt",
        "Stddev",
        "StddevPop",
        "StddevSamp",
        "StrPosition",
        "StrToDate",
        "StrToTime",
        "StrToUnix",
        "Substring",
        "Sum",
        "TimeToStr",
        "TimestampTrunc",
        "ToChar",
        "ToNumber",
        "Translate",
        "Trim",
        "Trunc",
        "TryCast",
        "TsOrDsAdd",
        "TsOrDsDiff",
        "TsOrDsToDate",
        "UnixToTime",
        "Upper",
        "Variance",
        "VariancePop",
        "Week",
        "Xor",
        "Year",
    }
)
"""sqlglot's classes of the functions that both Redshift and DuckDB have, with one meaning."""

NOW = "CAST(get_current_timestamp() AT TIME ZONE 'UTC' AS TIMESTAMP)"
"""GETDATE() and SYSDATE: a timestamp without zone, in UTC."""


@dataclass(frozen=True)
class Facts:
    """What functions can ask of the session."""

    user: str
    session_user: str
    database: str
    schema: str
    last_copy_count: int
    last_query_id: int
    pid: int


@dataclass
class Translated:
    """DuckDB SQL and what it touches.

    Parameters
    ----------
    sql
        One statement.
    reads
        Keys of the tables that it reads.
    target
        The table that it writes, if any.
    """

    sql: str = ""
    reads: set[str] = field(default_factory=set)
    target: Table | None = None


class Translator:
    """Translates the statements of one user in one transaction."""

    def __init__(self, catalog: Catalog, facts: Facts) -> None:
        self._catalog = catalog
        self._facts = facts
        self.reads: set[str] = set()

    # Statements

    def query(self, tree: exp.Expr) -> str:
        """A SELECT as DuckDB SQL."""
        return self._generate(self._resolved(_named(tree.copy())))

    def insert(self, tree: exp.Insert, describe: Callable[[str], list[tuple[str, str]]]) -> str:
        """INSERT: the query's rows, made to fit the target's columns.

        Parameters
        ----------
        tree
            The statement.
        describe
            (query) -> its columns' names and DuckDB types.
        """
        node = tree.this
        names: list[str] = []
        if isinstance(node, exp.Schema):
            names = [x.name for x in node.expressions]
            node = node.this
        target = self.target(node, "insert")
        if target.kind != "table":
            raise SqlError("cannot insert into a view")
        unsupported = [key for key in ("conflict", "returning", "overwrite") if tree.args.get(key)]
        if unsupported:
            raise syntax_error(unsupported[0].upper())
        columns = [target.column(name) for name in names] or list(target.columns)
        body = tree.expression
        if body is None:
            query = "SELECT " + ", ".join(self.default(x.default) for x in columns)
        else:
            query = self._generate(self._resolved(self._with_defaults(body.copy(), columns)))
            if tree.args.get("with_"):
                raise syntax_error("WITH")
        given = describe(query)
        if len(given) > len(columns):
            raise SqlError("INSERT has more expressions than target columns")
        if len(given) < len(columns) and names:
            raise SqlError("INSERT has more target columns than expressions")
        columns = columns[: len(given)]
        chosen = {x.name for x in columns}
        if len(chosen) < len(columns):
            raise SqlError("column specified more than once")
        sources = [f"c{place}" for place in range(len(given))]
        values = [
            assigned(source, kind, target, column.name)
            for source, (_, kind), column in zip(sources, given, columns, strict=True)
        ]
        for column in target.columns:
            if column.name in chosen or not (column.default or column.not_null):
                continue
            columns.append(column)
            values.append(
                fitted(self.default(column.default), column.type, column.name, column.not_null)
            )
        listed = ", ".join(quoted(x.name) for x in columns)
        return (
            f"INSERT INTO {target.stored} ({listed}) SELECT {', '.join(values)} "
            f"FROM ({query}) AS source({', '.join(sources)})"
        )

    def update(self, tree: exp.Update) -> str:
        """UPDATE, with values made to fit."""
        tree = tree.copy()
        target = self.target(tree.this, "update")
        if tree.args.get("where") is not None or tree.args.get("from_") is not None:
            self._catalog.require(target, "select")
        assignments: list[tuple[str, exp.Expr]] = []
        for item in tree.expressions:
            if not isinstance(item, exp.EQ) or not isinstance(item.this, exp.Column):
                raise syntax_error("SET")
            if item.this.table:
                raise SqlError(
                    f'column "{item.this.table}" of relation "{target.name}" does not exist'
                )
            assignments.append((item.this.name, item.expression))
        alias = tree.this.alias or target.name
        resolved = self._resolved(tree, {alias: target})
        sets = []
        for (name, _), item in zip(assignments, resolved.expressions, strict=True):
            column = target.column(name)
            value = self._generate(item.expression)
            if value == '"default"':
                value = self.default(column.default)
            fits = assigned(f"({value})", "", target, name)
            sets.append(f"{quoted(name)} = {fits}")
        sql = f"UPDATE {target.stored} AS {quoted(alias)} SET {', '.join(sets)}"
        if source := resolved.args.get("from_"):
            sql += f" {self._generate(source)}"
        if where := resolved.args.get("where"):
            sql += f" {self._generate(where)}"
        return sql

    def delete(self, tree: exp.Delete) -> str:
        """DELETE [USING]."""
        tree = tree.copy()
        target = self.target(tree.this, "delete")
        if tree.args.get("where") is not None:
            self._catalog.require(target, "select")
        alias = tree.this.alias or target.name
        resolved = self._resolved(tree, {alias: target})
        sql = f"DELETE FROM {target.stored} AS {quoted(alias)}"
        if using := resolved.args.get("using"):
            sql += " USING " + ", ".join(self._generate(x) for x in using)
        if where := resolved.args.get("where"):
            sql += f" {self._generate(where)}"
        return sql

    def merge(self, tree: exp.Merge, remove_duplicates: bool) -> MergePlan:
        """MERGE, as the statements that Redshift runs for it.

        https://docs.aws.amazon.com/redshift/latest/dg/r_MERGE.html
        """
        tree = tree.copy()
        if tree.this.alias:
            raise syntax_error(tree.this.alias)
        using = tree.args["using"]
        if not isinstance(using, exp.Table):
            raise SqlError("MERGE source can't be a subquery")
        target = self.target(tree.this, "")
        source = self.target(using, "select")
        if source.kind != "table":
            raise SqlError("MERGE source can't be a view")
        if source.key == target.key:
            raise SqlError("MERGE target and source can't be the same table")
        self.reads.add(source.key)
        alias = using.alias or source.name
        sources = {target.name: target, alias: source}
        if len(sources) < 2:
            raise SqlError(f'table name "{alias}" specified more than once')
        whens = tree.args["whens"].expressions
        if remove_duplicates:
            whens = [_when(True), _when(False)]
            if [x.type for x in target.columns] != [x.type for x in source.columns]:
                raise SqlError("MERGE REMOVE DUPLICATES needs tables with the same columns")
        shape = [(bool(x.args.get("matched")), x.args.get("condition")) for x in whens]
        if any(condition is not None for _, condition in shape):
            raise syntax_error("AND")
        if [matched for matched, _ in shape] != [True, False]:
            raise SqlError(
                "MERGE needs one WHEN MATCHED and then one WHEN NOT MATCHED, or REMOVE DUPLICATES"
            )
        for privilege in ("select", "insert", "update", "delete"):
            if privilege in _needed(whens[0].args.get("then")):
                self._catalog.require(target, privilege)
        tree.set("whens", None)
        resolved = self._resolved(tree, sources)
        on = resolved.args["on"]
        for part in on.flatten() if isinstance(on, exp.And) else [on]:
            if not isinstance(part.unnest(), exp.EQ):
                raise SqlError("MERGE's ON takes equal predicates only")
        joined = f"{target.stored} AS {quoted(target.name)}"
        other = f"{source.stored} AS {quoted(alias)}"
        condition = self._generate(on)
        missing = f"NOT EXISTS (SELECT 1 FROM {joined} WHERE {condition})"
        if remove_duplicates:
            listed = ", ".join(quoted(x.name) for x in target.columns)
            rows = ", ".join(f"{quoted(alias)}.{quoted(x.name)}" for x in source.columns)
            return MergePlan(
                target,
                source,
                "",
                f"SELECT DISTINCT {rows} FROM {other}",
                f"DELETE FROM {joined} USING {other} WHERE {condition}",
                f"INSERT INTO {target.stored} ({listed}) SELECT * FROM temp.merged",
            )
        then = whens[0].args["then"]
        if isinstance(then, exp.Update):
            sets = self._sets(then, target, sources)
            change = f"UPDATE {joined} SET {sets} FROM {other} WHERE {condition}"
        else:
            change = f"DELETE FROM {joined} USING {other} WHERE {condition}"
        inserted = whens[1].args["then"]
        if not isinstance(inserted, exp.Insert) or inserted.expression is None:
            raise syntax_error("INSERT")
        names = [x.name for x in inserted.this.expressions] if inserted.this else []
        columns = [target.column(x) for x in names] or list(target.columns)
        values = [
            self._generate(self._resolved(x.copy(), sources))
            for x in inserted.expression.expressions
        ]
        if len(values) != len(columns):
            raise SqlError("INSERT has a different number of target columns and expressions")
        rows = ", ".join(
            f"{assigned(f'({value})', '', target, x.name)} AS {quoted(x.name)}"
            for value, x in zip(values, columns, strict=True)
        )
        listed = ", ".join(quoted(x.name) for x in columns)
        left = [x for x in target.columns if x not in columns and (x.default or x.not_null)]
        for column in left:
            fits = fitted(self.default(column.default), column.type, column.name, column.not_null)
            rows += f", {fits} AS {quoted(column.name)}"
            listed += f", {quoted(column.name)}"
        duplicates = (
            f"SELECT count(*) FROM {joined} JOIN {other} ON {condition} "
            f"GROUP BY {quoted(target.name)}.rowid HAVING count(*) > 1 LIMIT 1"
        )
        return MergePlan(
            target,
            source,
            duplicates,
            f"SELECT {rows} FROM {other} WHERE {missing}",
            change,
            f"INSERT INTO {target.stored} ({listed}) SELECT * FROM temp.merged",
        )

    def _sets(self, then: exp.Update, target: Table, sources: dict[str, Table]) -> str:
        parts = []
        for item in then.expressions:
            if item.this.table:
                raise syntax_error(".")
            value = self._generate(self._resolved(item.expression.copy(), sources))
            fits = assigned(f"({value})", "", target, item.this.name)
            parts.append(f"{quoted(item.this.name)} = {fits}")
        return ", ".join(parts)

    def default(self, sql: str) -> str:
        """A column's default as DuckDB SQL; NULL if it has none."""
        if not sql:
            return "NULL"
        tree = parse_query(f"SELECT {sql}")
        assert isinstance(tree, exp.Query)
        (value,) = tree.selects
        return self._generate(self._resolved(value.copy()))

    def target(self, node: exp.Expr, privilege: str) -> Table:
        """The table that a statement writes, with the privilege checked."""
        if not isinstance(node, exp.Table):
            raise syntax_error(node.sql())
        table = self._catalog.table(Name(node.db, node.name))
        if privilege:
            self._catalog.require(table, privilege)
        return table

    # Names

    def _with_defaults(self, body: exp.Expr, columns: list) -> exp.Expr:  # type: ignore[type-arg]
        if not isinstance(body, exp.Values):
            return body
        for row in body.expressions:
            for place, value in enumerate(row.expressions):
                name = value.name.lower() if isinstance(value, exp.Column | exp.Var) else ""
                if name == "default" and place < len(columns):
                    value.replace(
                        parse_one(f"({self.default(columns[place].default)})", read="duckdb")
                    )
        return body

    def _resolved(self, tree: exp.Expr, known: dict[str, Table] | None = None) -> exp.Expr:
        """The tree with DuckDB's names, columns and functions in place of Redshift's."""
        root = (
            exp.Paren(this=tree)
            if not isinstance(tree, exp.Query | exp.Update | exp.Delete | exp.Merge)
            else tree
        )
        written = (
            getattr(root, "this", None)
            if isinstance(root, exp.Update | exp.Delete | exp.Merge)
            else None
        )
        if isinstance(tree, exp.Query) and tree.args.get("into"):
            raise SqlError("the local Redshift has no SELECT INTO; write CREATE TABLE AS")
        self._check_functions(root)
        aliases: dict[str, Table | None] = dict(known or {})
        for cte in root.find_all(exp.CTE):
            aliases[cte.alias] = None
        for subquery in root.find_all(exp.Subquery, exp.Values):
            if subquery.alias:
                aliases[subquery.alias] = None
        schemas: dict[str, str] = {
            (f"{table.schema}.{table.name}"): name for name, table in (known or {}).items()
        }
        for node in list(root.find_all(exp.Table)):
            if node is written or _is_cte(node):
                if node.alias:
                    aliases[node.alias] = None
                continue
            if known and isinstance(root, exp.Merge) and node is root.args.get("using"):
                continue
            self._place(node, aliases, schemas)
        for column in list(root.find_all(exp.Column)):
            self._column(column, aliases, schemas)
        for step in list(root.find_all(exp.Dot, exp.Bracket)):
            if not isinstance(step.parent, exp.Dot | exp.Bracket):
                _navigate(step)
        rewritten = root.transform(self._function)
        return (
            rewritten.this if isinstance(rewritten, exp.Paren) and root is not tree else rewritten
        )

    def _place(
        self, node: exp.Table, aliases: dict[str, Table | None], schemas: dict[str, str]
    ) -> None:
        if not isinstance(node.this, exp.Identifier):
            raise SqlError(f"function {node.this.sql()} can't stand in FROM")
        if node.catalog and node.catalog != self._catalog.database:
            raise SqlError(f"cross-database reference to {node.catalog} is not supported here")
        alias = node.alias or node.name
        name = Name(node.db, node.name)
        system = _system(name)
        columns = node.args["alias"].args.get("columns") if node.args.get("alias") else None
        if system:
            new: exp.Expr = parse_one(f"SELECT 1 FROM {system}", read="duckdb").find(exp.Table)  # type: ignore[assignment]
            aliases[alias] = None
        else:
            table = self._catalog.table(name)
            self._catalog.require(table, "select")
            self.reads.add(table.key)
            aliases[alias] = table
            schemas[f"{table.schema}.{table.name}"] = alias
            if table.kind == "view":
                new = exp.Subquery(this=self._view(table))
            else:
                stored = parse_one(f"SELECT 1 FROM {table.stored}", read="duckdb")
                new = stored.find(exp.Table)  # type: ignore[assignment]
        new.set(
            "alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True), columns=columns)
        )
        for key in ("joins", "laterals", "pivots"):
            if node.args.get(key):
                new.set(key, node.args[key])
        node.replace(new)

    def _view(self, view: Table) -> exp.Expr:
        # A view reads with its owner's rights, not with those of whoever asks.
        owner = Catalog(
            self._catalog._connection,
            self._catalog.database,
            view.owner,
            self._catalog.principals,
            self._catalog.temporary,
            self._catalog.search_path,
        )
        inner = Translator(owner, replace(self._facts, user=view.owner))
        sql = inner.query(parse_query(json.loads(view.query)["sql"]))
        self.reads |= inner.reads
        return parse_one(sql, read="duckdb")

    def _column(
        self, column: exp.Column, aliases: dict[str, Table | None], schemas: dict[str, str]
    ) -> None:
        parts = [x.name for x in column.parts]
        if isinstance(column.this, exp.Star):
            if len(parts) == 3 and f"{parts[0]}.{parts[1]}" in schemas:
                column.set("db", None)
            return
        if len(parts) > 2 and f"{parts[0]}.{parts[1]}" in schemas:
            parts = [schemas[f"{parts[0]}.{parts[1]}"], *parts[2:]]
        elif len(parts) == 1 and isinstance(column.this, exp.Identifier):
            if parts[0] in ("sysdate",):
                column.replace(parse_one(NOW, read="duckdb"))
            elif parts[0] in ("rowid", "tableoid", "ctid"):
                raise SqlError(f'column "{parts[0]}" does not exist')
            return
        if parts[0] in aliases:
            head, path = parts[:2], parts[2:]
        else:
            head, path = parts[:1], parts[1:]
        base: exp.Expr = exp.column(
            exp.to_identifier(head[-1], quoted=True),
            table=exp.to_identifier(head[0], quoted=True) if len(head) > 1 else None,
        )
        if path:
            base = _extract(base, "$" + "".join(f'."{x}"' for x in path))
        column.replace(base)

    # Functions

    def _check_functions(self, root: exp.Expr) -> None:
        for node in root.find_all(exp.Func):
            if isinstance(node, exp.Anonymous):
                if str(node.this).lower() not in ANONYMOUS:
                    raise _no_function(str(node.this).lower())
            elif type(node).__name__ not in FUNCTIONS and not isinstance(
                node, exp.Connector | exp.Binary
            ):
                raise _no_function(node.sql_name().lower())

    def _function(self, node: exp.Expr) -> exp.Expr:
        facts = self._facts
        if isinstance(node, exp.CurrentTimestamp):
            return parse_one(NOW, read="duckdb")
        if isinstance(node, exp.CurrentDate):
            return parse_one(f"CAST({NOW} AS DATE)", read="duckdb")
        if isinstance(node, exp.CurrentUser):
            return exp.Literal.string(facts.user)
        if isinstance(node, exp.SessionUser):
            return exp.Literal.string(facts.session_user)
        if isinstance(node, exp.CurrentDatabase):
            return exp.Literal.string(facts.database)
        if isinstance(node, exp.CurrentSchema):
            return exp.Literal.string(facts.schema)
        if isinstance(node, exp.CurrentVersion):
            return exp.Literal.string("PostgreSQL 8.0.2 on local, Redshift 1.0.0 (DuckDB)")
        if isinstance(node, exp.Extract) and node.name.upper() == "EPOCH":
            return (
                exp.cast(node, "bigint", copy=False)
                if not isinstance(node.parent, exp.Cast)
                else node
            )
        if isinstance(node, exp.Anonymous):
            return self._anonymous(node)
        if isinstance(node, exp.Array):
            return exp.Anonymous(this="json_array", expressions=node.expressions)
        if isinstance(node, exp.Cast):
            return _cast(node)
        return node

    def _anonymous(self, node: exp.Anonymous) -> exp.Expr:
        name = str(node.this).lower()
        arguments = node.expressions
        constants = {
            "pg_last_copy_count": self._facts.last_copy_count,
            "pg_last_query_id": self._facts.last_query_id,
            "pg_last_copy_id": self._facts.last_query_id,
            "pg_backend_pid": self._facts.pid,
        }
        if name in constants:
            return exp.Literal.number(constants[name])
        if name == "json_serialize":
            inner = exp.Anonymous(this="json", expressions=arguments)
            return exp.Cast(this=inner, to=exp.DataType.build("VARCHAR"))
        if name in ("has_table_privilege", "has_schema_privilege"):
            return self._has_privilege(name, [x.name.lower() for x in arguments])
        return exp.Anonymous(this=ANONYMOUS.get(name) or name, expressions=arguments)

    def _has_privilege(self, function: str, arguments: list[str]) -> exp.Expr:
        user, name, privilege = (
            [self._catalog.user, *arguments] if len(arguments) == 2 else arguments
        )
        asked = Catalog(
            self._catalog._connection,
            self._catalog.database,
            user,
            self._catalog.principals,
            self._catalog.temporary,
            self._catalog.search_path,
        )
        asked.principals.user(user)
        if function == "has_schema_privilege":
            owns = asked.schema_owner(name) == user
            return exp.Boolean(
                this=asked.superuser or owns or asked.has("schema", "", name, privilege)
            )
        schema, _, bare = name.rpartition(".")
        table = self._catalog.find(Name(schema, bare))
        if table is None:
            raise no_relation(name)
        return exp.Boolean(this=asked.may(table, privilege))

    def _generate(self, tree: exp.Expr) -> str:
        return tree.sql(dialect="duckdb")


@dataclass(frozen=True)
class MergePlan:
    """MERGE as Redshift runs it: look for duplicates, keep what is new, change, then insert."""

    target: Table
    source: Table
    duplicates: str
    new_rows: str
    change: str
    insert: str


ANONYMOUS: dict[str, str] = {
    "pg_last_copy_count": "",
    "pg_last_query_id": "",
    "pg_last_copy_id": "",
    "pg_backend_pid": "",
    "json_serialize": "",
    "has_table_privilege": "",
    "has_schema_privilege": "",
    "is_valid_json": "json_valid",
    "get_array_length": "json_array_length",
    "object": "json_object",
    "octet_length": "strlen",
    "ascii": "ascii",
    "chr": "chr",
    "translate": "translate",
    "replace": "replace",
    "func_sha1": "sha1",
    "to_hex": "to_hex",
}
"""Redshift's functions that sqlglot has no class for -> DuckDB's name; empty where it takes more."""


def assigned(expression: str, kind: str, table: Table, column: str) -> str:
    """An expression as one of the table's columns keeps it.

    Parameters
    ----------
    expression
        DuckDB SQL.
    kind
        Its DuckDB type; empty if not known.
    table, column
        What it is assigned to.
    """
    to = table.column(column)
    if to.type.wire == "super":
        # A string that is put into SUPER is a string there: only JSON_PARSE reads it as JSON.
        return fitted(f"to_json({expression})", to.type, column, to.not_null)
    if kind == "JSON":
        expression = f"json_extract_string({expression}, '$')"
    return fitted(expression, to.type, column, to.not_null)


def _system(name: Name) -> str:
    if name.schema == "information_schema":
        return INFORMATION_SCHEMA.get(name.name, "")
    if name.schema in ("", "pg_catalog"):
        return SYSTEM_VIEWS.get(name.name, "")
    return ""


def _is_cte(node: exp.Table) -> bool:
    if node.db:
        return False
    parent = node.parent
    while parent is not None:
        with_ = parent.args.get("with_")
        if with_ and any(x.alias == node.name for x in with_.expressions):
            return True
        parent = parent.parent
    return False


def _extract(base: exp.Expr, path: str) -> exp.Expr:
    return exp.Anonymous(this="json_extract", expressions=[base, exp.Literal.string(path)])


def _named(tree: exp.Expr) -> exp.Expr:
    """Give columns without a name the one that Redshift gives them."""
    first = tree
    while isinstance(first, exp.SetOperation):
        first = first.this
    if not isinstance(first, exp.Select):
        return tree
    for item in first.expressions:
        if isinstance(item, exp.Alias | exp.Column | exp.Star) or item.is_star:
            continue
        source = item.this if isinstance(item, exp.Cast) else item
        if isinstance(source, exp.Column | exp.Dot):
            name = source.output_name or source.name
        elif isinstance(source, exp.Anonymous):
            name = str(source.this).lower()
        elif isinstance(source, exp.Func) and not isinstance(source, exp.Connector | exp.Binary):
            name = source.sql_name().lower()
        else:
            name = "?column?"
        item.replace(exp.alias_(item.copy(), name, quoted=True))
    return tree


def _navigate(dot: exp.Expr) -> None:
    """``super_column[0].name`` -> json_extract."""
    path = ""
    node: exp.Expr = dot
    while isinstance(node, exp.Dot | exp.Bracket):
        if isinstance(node, exp.Dot):
            path = f'."{node.expression.name}"{path}'
        else:
            path = f"[{node.expressions[0].name}]{path}"
        node = node.this
    dot.replace(_extract(node.copy(), f"${path}"))


def _cast(node: exp.Cast) -> exp.Expr:
    to = node.to
    if to.this == exp.DataType.Type.SUPER:
        return exp.Anonymous(this="to_json", expressions=[node.this])
    if isinstance(node.this, exp.Anonymous) and node.this.this == "json_extract":
        node.this.set("this", "json_extract_string")
    lengths = (exp.DataType.Type.VARCHAR, exp.DataType.Type.CHAR, exp.DataType.Type.NVARCHAR)
    if to.this in lengths and to.expressions and to.expressions[0].name.isdigit():
        # An explicit cast cuts to the length in bytes; an assignment fails instead.
        plain = exp.Cast(this=node.this, to=exp.DataType.build("VARCHAR"))
        return exp.Anonymous(this="rs.cut", expressions=[plain, to.expressions[0].this])
    return node


def _no_function(name: str) -> SqlError:
    return SqlError(f"function {name}() does not exist, or the local Redshift does not know it")


def _needed(then: exp.Expr | None) -> set[str]:
    return {"select", "insert"} | ({"update"} if isinstance(then, exp.Update) else {"delete"})


def _when(matched: bool) -> exp.When:
    return exp.When(matched=matched)
