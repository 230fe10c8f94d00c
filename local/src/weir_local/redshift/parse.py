"""A statement's text -> a typed command. What is not understood is an error, never passed on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from weir_local.redshift import commands as c
from weir_local.redshift.errors import SqlError, syntax_error
from weir_local.redshift.tokens import Cursor, Token, tokenize
from weir_local.redshift.types import Type, parse_type

TABLE_PRIVILEGES = (
    "select",
    "insert",
    "update",
    "delete",
    "drop",
    "references",
    "alter",
    "truncate",
)
SCHEMA_PRIVILEGES = ("create", "usage", "alter", "drop")
DATABASE_PRIVILEGES = ("create", "usage", "temp", "alter")
KNOWN_PRIVILEGES = {
    "table": TABLE_PRIVILEGES,
    "allTables": TABLE_PRIVILEGES,
    "schema": SCHEMA_PRIVILEGES,
    "database": DATABASE_PRIVILEGES,
}


def parse(sql: str) -> c.Command:
    """Understand one statement.

    Raises
    ------
    SqlError
        The text is no statement, more than one, or not one that Redshift (or this) knows.
    """
    tokens = tokenize(sql)
    while tokens and tokens[-1].upper == ";":
        tokens.pop()
    if not tokens:
        raise SqlError("syntax error at end of input")
    if any(token.upper == ";" for token in tokens):
        raise SqlError("cannot insert multiple commands into a prepared statement")
    cursor = Cursor(sql[: tokens[-1].end], tokens)
    first = tokens[0].upper
    reader = _STATEMENTS.get(first)
    if reader is None:
        raise syntax_error(tokens[0].text)
    command = reader(cursor)
    cursor.end()
    return command


def parse_query(sql: str) -> exp.Expr:
    """Understand a SELECT, as sqlglot's tree with names folded.

    Raises
    ------
    SqlError
        It is no query.
    """
    command = parse(sql)
    if not isinstance(command, c.Dml) or not isinstance(command.tree, exp.Query):
        raise syntax_error(sql.split()[0])
    return command.tree


def _tree(cursor: Cursor) -> exp.Expr:
    text = cursor.rest()
    try:
        tree = sqlglot.parse_one(text, read="redshift")
    except SqlglotError as problem:
        raise syntax_error(_near(text, problem)) from problem
    if isinstance(tree, exp.Command):
        raise syntax_error(text.split()[0])
    for identifier in tree.find_all(exp.Identifier):
        identifier.set("this", identifier.name.lower())
        identifier.set("quoted", True)
    return tree


def _near(text: str, problem: SqlglotError) -> str:
    errors: list[dict[str, Any]] = getattr(problem, "errors", [])
    if errors and errors[0].get("highlight"):
        return str(errors[0]["highlight"])
    return tokenize(text)[-1].text


def _dml(cursor: Cursor) -> c.Command:
    tree = _tree(cursor)
    if not isinstance(tree, exp.Query | exp.Insert | exp.Update | exp.Delete):
        raise syntax_error(tree.sql()[:20])
    return c.Dml(tree)


_REMOVE_DUPLICATES = re.compile(r"\bREMOVE\s+DUPLICATES\s*$", re.IGNORECASE)


def _merge(cursor: Cursor) -> c.Command:
    sql = cursor.sql
    simplified = _REMOVE_DUPLICATES.search(sql)
    if simplified:
        # sqlglot has no such clause: it stands for both branches over all columns.
        sql = sql[: simplified.start()] + "WHEN MATCHED THEN DELETE"
    tree = _tree(Cursor(sql, tokenize(sql)))
    cursor.rest()
    if not isinstance(tree, exp.Merge):
        raise syntax_error("MERGE")
    return c.Merge(tree, simplified is not None)


def _begin(cursor: Cursor) -> c.Command:
    if not cursor.accept("BEGIN"):
        cursor.expect("START", "TRANSACTION")
    cursor.accept_one("TRANSACTION", "WORK")
    if cursor.accept("ISOLATION", "LEVEL"):
        cursor.rest()
    if cursor.accept("READ"):
        cursor.expect("WRITE")
    return c.Begin()


def _commit(cursor: Cursor) -> c.Command:
    cursor.at += 1
    cursor.accept_one("TRANSACTION", "WORK")
    return c.Commit()


def _rollback(cursor: Cursor) -> c.Command:
    cursor.at += 1
    cursor.accept_one("TRANSACTION", "WORK")
    return c.Rollback()


def _create(cursor: Cursor) -> c.Command:
    cursor.expect("CREATE")
    if cursor.accept("SCHEMA"):
        missing = cursor.accept("IF", "NOT", "EXISTS")
        name = cursor.identifier()
        owner = cursor.identifier() if cursor.accept("AUTHORIZATION") else ""
        return c.CreateSchema(name, missing, owner)
    if cursor.accept("DATABASE"):
        name = cursor.identifier()
        cursor.accept("WITH")
        while cursor.peek() is not None:
            cursor.at += 1
        return c.CreateDatabase(name)
    if cursor.accept("USER"):
        return _create_user(cursor)
    if cursor.accept("ROLE"):
        return c.CreateRole(cursor.identifier())
    replace = cursor.accept("OR", "REPLACE")
    if cursor.accept("VIEW"):
        view = cursor.name()
        cursor.expect("AS")
        query = cursor.rest()
        parse_query(query)
        return c.CreateView(view, replace, query)
    if replace:
        raise cursor.fail()
    cursor.accept_one("LOCAL", "GLOBAL")
    temporary = bool(cursor.accept_one("TEMP", "TEMPORARY"))
    cursor.expect("TABLE")
    return _create_table(cursor, temporary)


def _create_table(cursor: Cursor, temporary: bool) -> c.CreateTable:
    missing = cursor.accept("IF", "NOT", "EXISTS")
    name = cursor.name()
    temporary = temporary or name.name.startswith("#")
    columns: list[c.ColumnDef] = []
    constraints: list[c.Constraint] = []
    like: c.Name | None = None
    defaults = False
    if not cursor.ahead("AS") and cursor.accept("("):
        while True:
            if cursor.accept("LIKE"):
                like = cursor.name()
                if cursor.accept_one("INCLUDING", "EXCLUDING") == "INCLUDING":
                    defaults = True
                cursor.accept("DEFAULTS")
            elif (found := _constraint(cursor)) is not None:
                constraints.append(found)
            else:
                columns.append(_column(cursor, constraints))
            if not cursor.accept(","):
                break
        cursor.expect(")")
    options = _table_options(cursor)
    query = ""
    if cursor.accept("AS"):
        query = cursor.rest()
        text = query.strip()
        if text.startswith("(") and text.endswith(")"):
            query = text[1:-1]
        parse_query(query)
    elif not columns and like is None:
        raise cursor.fail()
    distkey = options["distkey"] or next((x.name for x in columns if x.distkey), "")
    sortkeys = options["sortkeys"] or tuple(x.name for x in columns if x.sortkey)
    table = c.CreateTable(
        name,
        missing,
        temporary,
        tuple(columns),
        tuple(constraints),
        like,
        defaults,
        query,
        options["diststyle"] or ("KEY" if distkey else ""),
        distkey,
        sortkeys,
    )
    _check_keys(table)
    return table


def _check_keys(table: c.CreateTable) -> None:
    if not table.columns:
        return
    known: dict[str, c.ColumnDef] = {}
    for column in table.columns:
        if column.name in known:
            raise SqlError(f'column "{column.name}" duplicated')
        known[column.name] = column
    for role, names in (("dist", (table.distkey,)), ("sort", table.sortkeys)):
        for key in filter(None, names):
            if key not in known:
                raise SqlError(f'column "{key}" named in {role.upper()}KEY does not exist')
            if known[key].type.wire in ("super", "varbyte"):
                raise SqlError(f'{role}key column "{key}" can\'t be of type {known[key].type}')
    for constraint in table.constraints:
        for key in constraint.columns:
            if key not in known:
                raise SqlError(f'column "{key}" named in key does not exist')
    if table.diststyle == "KEY" and not table.distkey:
        raise SqlError("DISTSTYLE KEY needs a DISTKEY column")
    if table.distkey and table.diststyle not in ("", "KEY"):
        raise SqlError(f"DISTKEY can't be used with DISTSTYLE {table.diststyle}")


def _constraint(cursor: Cursor) -> c.Constraint | None:
    if cursor.accept("CONSTRAINT"):
        cursor.identifier()
    if cursor.accept("PRIMARY", "KEY"):
        return c.Constraint("PRIMARY KEY", cursor.parenthesized())
    if cursor.ahead("UNIQUE", "("):
        cursor.at += 1
        return c.Constraint("UNIQUE", cursor.parenthesized())
    if cursor.accept("FOREIGN", "KEY"):
        columns = cursor.parenthesized()
        cursor.expect("REFERENCES")
        cursor.name()
        if cursor.ahead("("):
            cursor.parenthesized()
        return c.Constraint("FOREIGN KEY", columns)
    return None


_TWO_WORD_TYPES = {
    "DOUBLE": ("PRECISION",),
    "CHARACTER": ("VARYING",),
    "BINARY": ("VARYING",),
}


def _type(cursor: Cursor) -> Type:
    word = cursor.take("word").text
    text = word
    if (more := _TWO_WORD_TYPES.get(word.upper())) and cursor.accept(*more):
        text += f" {more[0]}"
    if cursor.accept("("):
        arguments = [cursor.take("number", "word").text]
        if cursor.accept(","):
            arguments.append(str(cursor.number()))
        cursor.expect(")")
        text += f"({','.join(arguments)})"
    for zone in ("WITH", "WITHOUT"):
        if cursor.accept(zone, "TIME", "ZONE"):
            text += f" {zone} time zone"
    return parse_type(text)


_COLUMN_WORDS = (
    "NOT",
    "NULL",
    "DEFAULT",
    "ENCODE",
    "DISTKEY",
    "SORTKEY",
    "PRIMARY",
    "UNIQUE",
    "REFERENCES",
    "GENERATED",
    "IDENTITY",
    "COLLATE",
)


def _column(cursor: Cursor, constraints: list[c.Constraint]) -> c.ColumnDef:
    name = cursor.identifier()
    kind = _type(cursor)
    found: dict[str, Any] = {}
    while word := cursor.accept_one(*_COLUMN_WORDS):
        if word == "NOT":
            cursor.expect("NULL")
            found["not_null"] = True
        elif word == "DEFAULT":
            found["default"] = cursor.balanced(*_COLUMN_WORDS)
        elif word == "ENCODE":
            found["encode"] = cursor.identifier()
        elif word in ("DISTKEY", "SORTKEY"):
            found[word.lower()] = True
        elif word == "PRIMARY":
            cursor.expect("KEY")
            found["not_null"] = True
            constraints.append(c.Constraint("PRIMARY KEY", (name,)))
        elif word == "UNIQUE":
            constraints.append(c.Constraint("UNIQUE", (name,)))
        elif word == "REFERENCES":
            cursor.name()
            if cursor.ahead("("):
                cursor.parenthesized()
            constraints.append(c.Constraint("FOREIGN KEY", (name,)))
        elif word == "COLLATE":
            if cursor.identifier() != "case_sensitive":
                raise SqlError("the local Redshift has no case-insensitive collation")
        elif word != "NULL":
            raise SqlError(f"the local Redshift has no {word} columns")
    return c.ColumnDef(name, kind, **found)


def _table_options(cursor: Cursor) -> dict[str, Any]:
    options: dict[str, Any] = {"diststyle": "", "distkey": "", "sortkeys": ()}
    while True:
        if cursor.accept("BACKUP"):
            if not cursor.accept_one("YES", "NO"):
                raise cursor.fail()
        elif cursor.accept("DISTSTYLE"):
            options["diststyle"] = cursor.accept_one("EVEN", "KEY", "ALL", "AUTO")
            if not options["diststyle"]:
                raise cursor.fail()
        elif cursor.accept("DISTKEY"):
            options["distkey"] = cursor.parenthesized()[0]
        elif cursor.accept("ENCODE", "AUTO"):
            continue
        elif cursor.ahead("COMPOUND") or cursor.ahead("INTERLEAVED") or cursor.ahead("SORTKEY"):
            cursor.accept_one("COMPOUND", "INTERLEAVED")
            cursor.expect("SORTKEY")
            if not cursor.accept("AUTO"):
                options["sortkeys"] = cursor.parenthesized()
        else:
            return options


def _create_user(cursor: Cursor) -> c.Command:
    name = cursor.identifier()
    cursor.accept("WITH")
    password, given, superuser = None, False, False
    while cursor.peek() is not None:
        if cursor.accept("PASSWORD"):
            given = True
            password = None if cursor.accept("DISABLE") else _password(cursor.string())
        elif cursor.accept("CREATEUSER"):
            superuser = True
        elif cursor.accept("CONNECTION", "LIMIT") or cursor.accept("SESSION", "TIMEOUT"):
            cursor.take("number", "word")
        elif cursor.accept("SYSLOG", "ACCESS"):
            cursor.take("word")
        elif not cursor.accept_one("NOCREATEUSER", "CREATEDB", "NOCREATEDB"):
            raise cursor.fail()
    if not given:
        raise syntax_error("")
    return c.CreateUser(name, password, superuser)


def _password(text: str) -> str:
    digest = text.startswith(("md5", "sha256|"))
    classes = (r"[A-Z]", r"[a-z]", r"\d")
    if not digest and (not 8 <= len(text) <= 64 or not all(re.search(x, text) for x in classes)):
        raise SqlError(
            "password must be 8 to 64 characters long and contain an upper case letter, "
            "a lower case letter and a number"
        )
    return text


def _drop(cursor: Cursor) -> c.Command:
    cursor.expect("DROP")
    kind = cursor.accept_one("TABLE", "VIEW", "SCHEMA", "USER", "ROLE")
    if not kind:
        raise cursor.fail()
    exists = cursor.accept("IF", "EXISTS")
    if kind in ("USER", "ROLE"):
        name = cursor.identifier()
        force = bool(kind == "ROLE" and cursor.accept_one("FORCE", "RESTRICT") == "FORCE")
        return c.DropPrincipal(kind.lower(), name, exists, force)
    names = cursor.names()
    cascade = cursor.accept_one("CASCADE", "RESTRICT") == "CASCADE"
    if kind == "SCHEMA":
        return c.DropSchema(names[0].name, exists, cascade)
    return c.Drop(kind.lower(), names, exists, cascade)


def _alter(cursor: Cursor) -> c.Command:
    cursor.expect("ALTER")
    if cursor.accept("USER"):
        return _alter_user(cursor)
    if cursor.accept("SCHEMA"):
        name = cursor.identifier()
        cursor.expect("OWNER", "TO")
        return c.AlterSchema(name, cursor.identifier())
    if cursor.accept("DEFAULT", "PRIVILEGES"):
        return _default_privileges(cursor)
    cursor.expect("TABLE")
    table = cursor.name()
    if cursor.accept("OWNER", "TO"):
        return c.AlterTable(table, "owner", new=cursor.identifier())
    if cursor.accept("RENAME", "TO"):
        return c.AlterTable(table, "rename", new=cursor.identifier())
    if cursor.accept("RENAME"):
        cursor.accept("COLUMN")
        old = cursor.identifier()
        cursor.expect("TO")
        return c.AlterTable(table, "renameColumn", old=old, new=cursor.identifier())
    if cursor.accept("APPEND", "FROM"):
        return c.AlterTable(table, "append", source=cursor.name())
    if cursor.accept("ADD"):
        if (found := _constraint(cursor)) is not None:
            return c.AlterTable(table, "constraint", old=found.kind, columns=found.columns)
        cursor.accept("COLUMN")
        keys: list[c.Constraint] = []
        column = _column(cursor, keys)
        if keys or column.distkey or column.sortkey:
            raise SqlError("ALTER TABLE ADD COLUMN takes DEFAULT, ENCODE, NOT NULL and NULL only")
        return c.AlterTable(table, "add", column=column)
    if cursor.accept("DROP"):
        cursor.accept("COLUMN")
        old = cursor.identifier()
        return c.AlterTable(
            table, "drop", old=old, cascade=cursor.accept_one("CASCADE", "RESTRICT") == "CASCADE"
        )
    cursor.expect("ALTER")
    return _alter_what(cursor, table)


def _alter_what(cursor: Cursor, table: c.Name) -> c.Command:
    if cursor.accept("DISTSTYLE"):
        style = cursor.accept_one("EVEN", "ALL", "AUTO", "KEY")
        key = ""
        if style == "KEY":
            cursor.expect("DISTKEY")
            key = cursor.identifier()
        if not style:
            raise cursor.fail()
        return c.AlterTable(table, "dist", old=style, new=key)
    if cursor.accept("DISTKEY"):
        return c.AlterTable(table, "dist", old="KEY", new=cursor.identifier())
    if cursor.ahead("COMPOUND") or cursor.ahead("SORTKEY"):
        cursor.accept("COMPOUND")
        cursor.expect("SORTKEY")
        if cursor.accept_one("AUTO", "NONE"):
            return c.AlterTable(table, "sort")
        return c.AlterTable(table, "sort", columns=cursor.parenthesized())
    if cursor.accept("ENCODE", "AUTO"):
        return c.AlterTable(table, "encode")
    cursor.expect("COLUMN")
    column = cursor.identifier()
    if cursor.accept("ENCODE"):
        return c.AlterTable(table, "encode", old=column, new=cursor.identifier())
    cursor.expect("TYPE")
    return c.AlterTable(table, "type", old=column, type=_type(cursor))


def _alter_user(cursor: Cursor) -> c.Command:
    name = cursor.identifier()
    cursor.accept("WITH")
    if cursor.accept("PASSWORD"):
        if cursor.accept("DISABLE"):
            return c.AlterUser(name, password="")
        return c.AlterUser(name, password=_password(cursor.string()))
    word = cursor.accept_one("CREATEUSER", "NOCREATEUSER")
    if not word:
        raise cursor.fail()
    return c.AlterUser(name, superuser=word == "CREATEUSER")


def _default_privileges(cursor: Cursor) -> c.Command:
    owner = ""
    if cursor.accept("FOR"):
        cursor.expect("USER")
        owner = cursor.identifier()
    schemas = cursor.identifiers() if cursor.accept("IN", "SCHEMA") else ()
    verb = cursor.accept_one("GRANT", "REVOKE")
    if not verb:
        raise cursor.fail()
    privileges = _privilege_words(cursor)
    cursor.expect("ON", "TABLES")
    cursor.expect("TO" if verb == "GRANT" else "FROM")
    grantees = _grantees(cursor)
    known = _expanded(privileges, "table")
    return c.DefaultPrivileges(owner, schemas, verb == "GRANT", known, grantees)


def _privilege_words(cursor: Cursor) -> tuple[str, ...]:
    if cursor.accept("ALL"):
        cursor.accept("PRIVILEGES")
        return ("all",)
    words = [cursor.take("word").text.lower()]
    while cursor.accept(","):
        words.append(cursor.take("word").text.lower())
    return tuple(words)


def _expanded(words: tuple[str, ...], kind: str) -> tuple[str, ...]:
    known = KNOWN_PRIVILEGES[kind]
    if words == ("all",):
        return known
    spelled = tuple("temp" if word == "temporary" else word for word in words)
    for word in spelled:
        if word not in known:
            raise SqlError(f"invalid privilege type {word.upper()} for {kind}")
    return spelled


def _grantees(cursor: Cursor) -> tuple[c.Grantee, ...]:
    found = []
    while True:
        if cursor.accept("PUBLIC"):
            found.append(c.Grantee("public"))
        elif cursor.accept("ROLE"):
            found.append(c.Grantee("role", cursor.identifier()))
        elif cursor.accept("GROUP"):
            raise SqlError("the local Redshift has no groups; use a role")
        else:
            found.append(c.Grantee("user", cursor.identifier()))
        if not cursor.accept(","):
            return tuple(found)


def _grant(cursor: Cursor) -> c.Command:
    grant = cursor.accept("GRANT")
    if not grant:
        cursor.expect("REVOKE")
        cursor.accept("GRANT", "OPTION", "FOR")
    to = "TO" if grant else "FROM"
    if cursor.accept("ROLE"):
        roles = cursor.identifiers()
        cursor.expect(to)
        return c.RoleMembership(grant, roles, _grantees(cursor))
    words = _privilege_words(cursor)
    cursor.expect("ON")
    if cursor.accept("ALL", "TABLES", "IN", "SCHEMA"):
        kind, objects = "allTables", cursor.names()
    elif cursor.accept("SCHEMA"):
        kind, objects = "schema", cursor.names()
    elif cursor.accept("DATABASE"):
        kind, objects = "database", cursor.names()
    else:
        cursor.accept("TABLE")
        kind, objects = "table", cursor.names()
    cursor.expect(to)
    grantees = _grantees(cursor)
    option = cursor.accept("WITH", "GRANT", "OPTION")
    return c.Privileges(grant, _expanded(words, kind), kind, objects, grantees, option)


def _lock(cursor: Cursor) -> c.Command:
    cursor.expect("LOCK")
    cursor.accept("TABLE")
    return c.Lock(cursor.names())


def _truncate(cursor: Cursor) -> c.Command:
    cursor.expect("TRUNCATE")
    cursor.accept("TABLE")
    return c.Truncate(cursor.name())


_COPY_FLAGS = (
    "ACCEPTINVCHARS",
    "ACCEPTANYDATE",
    "BLANKSASNULL",
    "EMPTYASNULL",
    "EXPLICIT_IDS",
    "FILLRECORD",
    "IGNOREBLANKLINES",
    "REMOVEQUOTES",
    "ROUNDEC",
    "TRIMBLANKS",
    "TRUNCATECOLUMNS",
    "ESCAPE",
    "NOLOAD",
)


def _copy(cursor: Cursor) -> c.Command:
    cursor.expect("COPY")
    name = cursor.name()
    columns = cursor.parenthesized() if cursor.ahead("(") else ()
    cursor.expect("FROM")
    source = cursor.string()
    _s3(source)
    found: dict[str, Any] = {"format": "text", "role": ""}
    flags: set[str] = set()
    while cursor.peek() is not None:
        if cursor.accept("IAM_ROLE"):
            found["role"] = "default" if cursor.accept("DEFAULT") else cursor.string()
        elif cursor.accept("MANIFEST"):
            found["manifest"] = True
        elif cursor.accept("REGION"):
            cursor.accept("AS")
            found["region"] = cursor.string()
        elif cursor.accept("GZIP"):
            found["gzip"] = True
        elif cursor.accept("SERIALIZETOJSON"):
            found["serialize_to_json"] = True
        elif word := cursor.accept_one(*_COPY_FLAGS):
            if word == "ACCEPTINVCHARS":
                cursor.accept("AS")
                if (token := cursor.peek()) is not None and token.kind == "string":
                    cursor.string()
            flags.add(word)
        elif word := cursor.accept_one("COMPUPDATE", "STATUPDATE"):
            cursor.accept_one("ON", "OFF", "TRUE", "FALSE", "PRESET")
        else:
            _copy_value(cursor, found)
    if not found["role"]:
        raise SqlError("CREDENTIALS argument is required but not supplied")
    if found["format"] == "parquet":
        _parquet_only(found, flags)
    return c.Copy(name, columns, source, flags=frozenset(flags), **found)


def _copy_value(cursor: Cursor, found: dict[str, Any]) -> None:
    if cursor.accept("FORMAT"):
        cursor.accept("AS")
    if cursor.accept("PARQUET"):
        found["format"] = "parquet"
    elif cursor.accept("JSON"):
        found["format"] = "json"
        cursor.accept("AS")
        if (token := cursor.peek()) is not None and token.kind == "string":
            found["json"] = cursor.string()
    elif cursor.accept("CSV"):
        found["format"] = "csv"
        found.setdefault("delimiter", ",")
        found.setdefault("quote", '"')
        if cursor.accept("QUOTE"):
            cursor.accept("AS")
            found["quote"] = cursor.string()
    elif cursor.accept("DELIMITER"):
        cursor.accept("AS")
        found["delimiter"] = cursor.string()
    elif cursor.accept("IGNOREHEADER"):
        cursor.accept("AS")
        found["ignore_header"] = cursor.number()
    elif cursor.accept("NULL", "AS"):
        found["null_as"] = cursor.string()
    elif cursor.accept("MAXERROR"):
        cursor.accept("AS")
        found["max_error"] = cursor.number()
    elif word := cursor.accept_one("DATEFORMAT", "TIMEFORMAT"):
        cursor.accept("AS")
        found["date_format" if word == "DATEFORMAT" else "time_format"] = cursor.string()
    else:
        raise cursor.fail()


def _parquet_only(found: dict[str, Any], flags: set[str]) -> None:
    # https://docs.aws.amazon.com/redshift/latest/dg/copy-usage_notes-copy-from-columnar.html
    allowed = {"format", "role", "manifest", "serialize_to_json", "region"}
    refused = sorted((set(found) - allowed) | (flags - {"ACCEPTINVCHARS", "FILLRECORD"}))
    if refused:
        raise SqlError(f"{refused[0].replace('_', '').upper()} is not supported for PARQUET COPY")


def _s3(uri: str) -> None:
    if not re.match(r"^s3://[^/]+/.+", uri):
        raise SqlError(f"The S3 path {uri!r} has no bucket and key; write s3://bucket/key")


def _unload(cursor: Cursor) -> c.Command:
    cursor.expect("UNLOAD")
    cursor.expect("(")
    query = cursor.string()
    cursor.expect(")")
    parse_query(query)
    cursor.expect("TO")
    target = cursor.string()
    _s3(target)
    found: dict[str, Any] = {"role": ""}
    simple = {
        "HEADER": "header",
        "GZIP": "gzip",
        "ALLOWOVERWRITE": "allow_overwrite",
        "CLEANPATH": "clean_path",
    }
    while cursor.peek() is not None:
        if cursor.accept("IAM_ROLE"):
            found["role"] = "default" if cursor.accept("DEFAULT") else cursor.string()
        elif word := cursor.accept_one(*simple):
            found[simple[word]] = True
        elif cursor.accept("MANIFEST"):
            found["manifest"] = True
            found["manifest_verbose"] = cursor.accept("VERBOSE")
        elif cursor.accept("PARALLEL"):
            found["parallel"] = cursor.accept_one("ON", "OFF", "TRUE", "FALSE") in ("ON", "TRUE")
        elif cursor.accept("PARTITION", "BY"):
            found["partition_by"] = cursor.parenthesized()
            found["include_partitions"] = cursor.accept("INCLUDE")
        elif cursor.accept("KMS_KEY_ID"):
            found["kms_key_id"] = cursor.string()
        elif cursor.accept_one("ENCRYPTED", "AUTO", "ADDQUOTES", "ESCAPE"):
            continue
        elif cursor.accept("MAXFILESIZE"):
            cursor.accept("AS")
            cursor.take("number")
            cursor.accept_one("MB", "GB")
        else:
            _unload_value(cursor, found)
    if not found["role"]:
        raise SqlError("CREDENTIALS argument is required but not supplied")
    if found.get("allow_overwrite") and found.get("clean_path"):
        raise SqlError("ALLOWOVERWRITE and CLEANPATH can't be used together")
    if found.get("format") in ("parquet", "json"):
        for option in ("header", "delimiter", "null_as"):
            if option in found:
                raise SqlError(
                    f"{option.replace('_', ' ').upper()} is not supported for UNLOAD to "
                    f"{found['format'].upper()}"
                )
    return c.Unload(query, target, **found)


def _unload_value(cursor: Cursor, found: dict[str, Any]) -> None:
    if cursor.accept("FORMAT"):
        cursor.accept("AS")
    if word := cursor.accept_one("PARQUET", "JSON", "CSV"):
        found["format"] = word.lower()
    elif word := cursor.accept_one("DELIMITER", "EXTENSION", "REGION"):
        cursor.accept("AS")
        found[word.lower()] = cursor.string()
    elif cursor.accept("NULL"):
        cursor.accept("AS")
        found["null_as"] = cursor.string()
    else:
        raise cursor.fail()


_SETTINGS = {
    "search_path",
    "statement_timeout",
    "query_group",
    "timezone",
    "datestyle",
    "enable_result_cache_for_session",
    "application_name",
    "json_parse_truncate_strings",
    "enable_case_sensitive_identifier",
}


def _set(cursor: Cursor) -> c.Command:
    verb = cursor.take("word").text.lower()
    cursor.accept("LOCAL")
    cursor.accept("SESSION")
    name = cursor.identifier()
    if name not in _SETTINGS:
        raise SqlError(f'unrecognized configuration parameter "{name}"')
    if verb != "set":
        return c.Setting(verb, name)
    if not cursor.accept_one("TO", "="):
        raise cursor.fail()
    parts: list[Token] = []
    while cursor.peek() is not None:
        parts.append(cursor.take("word", "quoted", "string", "number", "punct"))
    value = " ".join(part.text for part in parts if part.text != ",")
    if name == "enable_case_sensitive_identifier" and value.lower() in ("true", "on"):
        raise SqlError("the local Redshift folds identifiers; it has no case-sensitive ones")
    return c.Setting(verb, name, value)


def _maintenance(cursor: Cursor) -> c.Command:
    verb = cursor.take("word").text.upper()
    if verb == "COMMENT":
        cursor.expect("ON")
        kind = cursor.accept_one("TABLE", "VIEW", "SCHEMA", "DATABASE", "COLUMN")
        if not kind:
            raise cursor.fail()
        name = cursor.name()
        if cursor.accept("."):
            cursor.identifier()
        cursor.expect("IS")
        cursor.take("string", "word")
        return c.Maintenance(verb, name if kind in ("TABLE", "VIEW") else None)
    for word in ("COMPRESSION", "FULL", "DELETE", "SORT", "ONLY", "REINDEX", "VERBOSE"):
        cursor.accept(word)
    name_or_none = cursor.name() if cursor.peek() is not None else None
    if cursor.ahead("("):
        cursor.parenthesized()
    for word in ("PREDICATE", "ALL", "COLUMNS", "BOOST"):
        cursor.accept(word)
    return c.Maintenance(verb, name_or_none)


_STATEMENTS: dict[str, Callable[[Cursor], c.Command]] = {
    "SELECT": _dml,
    "WITH": _dml,
    "(": _dml,
    "INSERT": _dml,
    "UPDATE": _dml,
    "DELETE": _dml,
    "MERGE": _merge,
    "BEGIN": _begin,
    "START": _begin,
    "COMMIT": _commit,
    "END": _commit,
    "ROLLBACK": _rollback,
    "ABORT": _rollback,
    "CREATE": _create,
    "DROP": _drop,
    "ALTER": _alter,
    "GRANT": _grant,
    "REVOKE": _grant,
    "LOCK": _lock,
    "TRUNCATE": _truncate,
    "COPY": _copy,
    "UNLOAD": _unload,
    "SET": _set,
    "RESET": _set,
    "SHOW": _set,
    "ANALYZE": _maintenance,
    "VACUUM": _maintenance,
    "COMMENT": _maintenance,
}
