"""The Redshift Data API.

https://docs.aws.amazon.com/redshift-data/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from weir_local.redshift import statements
from weir_local.redshift.authorization import (
    ApiError,
    Caller,
    caller,
    cluster_arn,
    require,
    workgroup_arn,
)
from weir_local.redshift.errors import SqlError
from weir_local.redshift.execute import Result, ResultColumn, Session
from weir_local.redshift.statements import ENDED, Part, Statement
from weir_local.redshift.warehouses import Warehouse, registry

MAX_SQL_BYTES = 100 * 1024
MAX_BATCH = 40
MAX_KEEP_ALIVE_SECONDS = 86_400
PAGE_ROWS = 1_000
MAX_WAIT_SECONDS = 30
JSON_1_1 = "application/x-amz-json-1.1"

Request = dict[str, Any]


@dataclass
class Kept:
    """A session that outlives a statement. ``busy`` while one runs in it."""

    session: Session
    seconds: int
    expires: float
    owner: str
    target: tuple[dict[str, str], str, str, str]
    busy: bool = True


_kept: dict[str, Kept] = {}
_kept_mutex = threading.Lock()


async def handle_request(
    _method: str, _path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> tuple[int, dict[str, str], bytes]:
    """Answer one request of ``RedshiftData.*``."""
    action = headers.get("x-amz-target", "").rsplit(".", 1)[-1]
    try:
        request = json.loads(body or b"{}")
        operation = OPERATIONS.get(action)
        if operation is None:
            raise ApiError("UnknownOperationException", f"{action} is not known here")
        who = caller(headers, query)
        if action in WAITING:
            answer = await asyncio.to_thread(operation, who, request)
        else:
            answer = operation(who, request)
    except ApiError as problem:
        fault = {"__type": problem.code, "Message": problem.message, "message": problem.message}
        heads = {"Content-Type": JSON_1_1, "x-amzn-errortype": problem.code}
        return problem.status, heads, json.dumps(fault).encode()
    return 200, {"Content-Type": JSON_1_1}, json.dumps(answer).encode()


# Connecting


@dataclass(frozen=True)
class Target:
    """Where and as whom a request's SQL runs."""

    warehouse: Warehouse
    place: dict[str, str]
    database: str
    user: str
    secret_arn: str
    connect: Callable[[], Session]


def _invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)


def _target(who: Caller, request: Request) -> Target:
    workgroup, cluster = request.get("WorkgroupName"), request.get("ClusterIdentifier")
    if bool(workgroup) == bool(cluster):
        raise _invalid("Either WorkgroupName or ClusterIdentifier must be given, and not both.")
    database = request.get("Database")
    if not database:
        raise _invalid("Database must be given.")
    warehouse = _warehouse(who, workgroup, cluster)
    secret = request.get("SecretArn", "")
    user = request.get("DbUser", "")
    place = {"WorkgroupName": str(workgroup)} if workgroup else {"ClusterIdentifier": str(cluster)}
    if secret and user:
        raise _invalid("DbUser and SecretArn can't both be given.")
    if secret:
        return _with_secret(who, warehouse, place, str(database), str(secret))
    if workgroup:
        if user:
            raise _invalid("DbUser is not supported with WorkgroupName.")
        require(
            who,
            "redshift-serverless:GetCredentials",
            workgroup_arn(who.account, who.region, str(workgroup)),
        )
        return _as_identity(who, warehouse, place, str(database))
    base = f"arn:aws:redshift:{who.region}:{who.account}"
    if not user:
        arn = f"{base}:dbname:{cluster}/{database}"
        require(who, "redshift:GetClusterCredentialsWithIAM", arn)
        return _as_identity(who, warehouse, place, str(database))
    require(who, "redshift:GetClusterCredentials", f"{base}:dbuser:{cluster}/{user}")
    require(who, "redshift:GetClusterCredentials", f"{base}:dbname:{cluster}/{database}")
    name = str(user).lower()
    return Target(
        warehouse,
        place,
        str(database),
        name,
        "",
        lambda: warehouse.session(str(database), name),
    )


def _warehouse(who: Caller, workgroup: Any, cluster: Any) -> Warehouse:
    known = registry()
    if workgroup:
        found = known.get("workgroups", who.account, who.region, str(workgroup))
        if found is None:
            raise _invalid(f"Redshift endpoint doesn't exist in this region: {workgroup}")
        document = known.get("namespaces", who.account, who.region, found["namespace"])
    else:
        document = known.get("clusters", who.account, who.region, str(cluster))
        if document is None:
            raise _invalid("Redshift endpoint doesn't exist in this region.")
    assert document is not None
    return known.warehouse(document, who.account, who.region)


def _as_identity(who: Caller, warehouse: Warehouse, place: dict[str, str], database: str) -> Target:
    def connect() -> Session:
        warehouse.federate(who.db_user, list(who.db_roles))
        return warehouse.session(database, who.db_user)

    return Target(warehouse, place, database, who.db_user, "", connect)


def _with_secret(
    who: Caller, warehouse: Warehouse, place: dict[str, str], database: str, arn: str
) -> Target:
    from ministack.services import secretsmanager

    require(who, "secretsmanager:GetSecretValue", arn)
    text = secretsmanager.resolve_secret_string(arn)
    if text is None:
        raise _invalid(f"Secrets Manager can't find the secret {arn}.")
    try:
        document = json.loads(text)
        user, password = str(document["username"]).lower(), str(document["password"])
    except (ValueError, KeyError, TypeError) as problem:
        raise _invalid(f"Secret {arn} has to be JSON with username and password.") from problem

    def connect() -> Session:
        if not warehouse.directory.principals.accepts(user, password):
            raise SqlError(f'password authentication failed for user "{user}"')
        return warehouse.session(database, user)

    return Target(warehouse, place, database, user, arn, connect)


# Running


def execute(who: Caller, request: Request) -> Request:
    """ExecuteStatement."""
    return _submit(who, request, [request.get("Sql")], batch=False)


def batch_execute(who: Caller, request: Request) -> Request:
    """BatchExecuteStatement."""
    return _submit(who, request, request.get("Sqls") or [], batch=True)


def _submit(who: Caller, request: Request, sqls: list[Any], batch: bool) -> Request:
    if not 1 <= len(sqls) <= MAX_BATCH:
        raise _invalid(f"Sqls takes 1 to {MAX_BATCH} statements; there are {len(sqls)}.")
    for sql in sqls:
        if not isinstance(sql, str) or not sql.strip():
            raise _invalid("A statement can't be empty.")
        if len(sql.encode()) > MAX_SQL_BYTES:
            raise _invalid(f"Query string is longer than {MAX_SQL_BYTES} bytes.")
    if request.get("ResultFormat", "JSON") != "JSON":
        raise _invalid("The local Redshift gives results as JSON only.")
    name = str(request.get("StatementName", ""))
    if len(name) > 500:
        raise _invalid("StatementName is longer than 500 characters.")
    keep = int(request.get("SessionKeepAliveSeconds", 0))
    if not 0 <= keep <= MAX_KEEP_ALIVE_SECONDS:
        raise _invalid("SessionKeepAliveSeconds has to be between 0 and 86400.")
    session_id = str(request.get("SessionId", ""))
    release: Callable[[Session], None] = lambda session: session.close()  # noqa: E731
    if session_id:
        place, database, user, secret, connect = _resumed(who, session_id, keep)
    else:
        target = _target(who, request)
        place, database, user, secret, connect = (
            target.place,
            target.database,
            target.user,
            target.secret_arn,
            target.connect,
        )
        if keep:
            session_id = str(uuid.uuid4())
            connect = _keeping(who, session_id, keep, target)
    if session_id:
        release = lambda _session: _give_back(session_id)  # noqa: E731
    statement = Statement(
        owner=who.identity,
        account=who.account,
        region=who.region,
        place=place,
        database=database,
        db_user=user,
        secret_arn=secret,
        name=name,
        batch=batch,
        parts=[],
        connect=connect,
        transaction=request.get("ExecutionMode", "TRANSACTION") == "TRANSACTION",
        session_id=session_id,
        release=release,
    )
    given = list(request.get("Parameters") or [])
    parameters = given if batch else [given]
    parameters += [[]] * (len(sqls) - len(parameters))
    statement.parts = [
        Part(f"{statement.id}:{number}" if batch else statement.id, sql, list(values))
        for number, (sql, values) in enumerate(zip(sqls, parameters, strict=True), 1)
    ]
    running = statements.submit(statement, str(request.get("ClientToken", "")))
    wait = min(float(request.get("WaitTimeSeconds", 0)), MAX_WAIT_SECONDS)
    if wait:
        running.done.wait(wait)
    answer: Request = {
        "Id": running.id,
        "CreatedAt": running.created,
        "Database": running.database,
        "DbUser": running.db_user,
        "DbGroups": [],
        **running.place,
    }
    if running.secret_arn:
        answer["SecretArn"] = running.secret_arn
    if running.session_id:
        answer["SessionId"] = running.session_id
    if wait:
        answer["Status"] = running.status
    return answer


def _keeping(who: Caller, identity: str, keep: int, target: Target) -> Callable[[], Session]:
    def connect() -> Session:
        session = target.connect()
        where = (target.place, target.database, target.user, target.secret_arn)
        with _kept_mutex:
            _kept[identity] = Kept(session, keep, time.time() + keep, who.identity, where)
        return session

    return connect


def _resumed(
    who: Caller, identity: str, keep: int
) -> tuple[dict[str, str], str, str, str, Callable[[], Session]]:
    with _kept_mutex:
        for old in [x for x, kept in _kept.items() if not kept.busy and kept.expires < time.time()]:
            _kept.pop(old).session.close()
        kept = _kept.get(identity)
        if kept is None or kept.owner != who.identity:
            raise _invalid(f"Session {identity} is not available.")
        if kept.busy:
            raise _invalid(f"Session {identity} is busy with another statement.")
        kept.busy = True
        kept.seconds = keep or kept.seconds
        return (*kept.target, lambda: kept.session)


def _give_back(identity: str) -> None:
    with _kept_mutex:
        kept = _kept.get(identity)
        if kept is not None:
            kept.busy = False
            kept.expires = time.time() + kept.seconds
            kept.session.cancelled = threading.Event()


# Looking


def _find(who: Caller, request: Request) -> tuple[Statement, Part | None]:
    identity = str(request.get("Id", ""))
    if not re.fullmatch(r"[a-z0-9]{8}(-[a-z0-9]{4}){3}-[a-z0-9]{12}(:\d+)?", identity):
        raise _invalid(
            "id must satisfy regex pattern: [a-z0-9]{8}(-[a-z0-9]{4}){3}-[a-z0-9]{12}(:\\d+)?"
        )
    statement = statements.find(identity)
    if statement is None or statement.owner != who.identity or statement.account != who.account:
        raise ApiError("ResourceNotFoundException", "Query does not exist.")
    if ":" not in identity:
        return statement, None if statement.batch else statement.parts[0]
    part = next((x for x in statement.parts if x.id == identity), None)
    if part is None:
        raise ApiError("ResourceNotFoundException", "Query does not exist.")
    return statement, part


def describe(who: Caller, request: Request) -> Request:
    """DescribeStatement."""
    statement, part = _find(who, request)
    wait = min(float(request.get("WaitTimeSeconds", 0)), MAX_WAIT_SECONDS)
    if wait:
        statement.done.wait(wait)
    common: Request = {
        "Database": statement.database,
        "DbUser": statement.db_user,
        "RedshiftPid": statement.pid,
        "ResultFormat": "JSON",
        **statement.place,
    }
    if statement.secret_arn:
        common["SecretArn"] = statement.secret_arn
    if statement.session_id:
        common["SessionId"] = statement.session_id
    if not statement.batch and statement.parts[0].parameters:
        common["QueryParameters"] = statement.parts[0].parameters
    if part is not None and statement.batch:
        return {**common, **_part(part)}
    answer: Request = {
        **common,
        "Id": statement.id,
        "Status": statement.status,
        "CreatedAt": statement.created,
        "UpdatedAt": statement.updated,
        "Duration": statement.duration,
        "HasResultSet": any(x.result is not None and x.result.has_rows for x in statement.parts),
        "RedshiftQueryId": statement.parts[-1].query_id,
    }
    if statement.error:
        answer["Error"] = statement.error
    if statement.batch:
        answer["SubStatements"] = [_part(x) for x in statement.parts]
        answer["ResultRows"] = -1
        answer["ResultSize"] = -1
    else:
        only = statement.parts[0]
        answer |= {
            "QueryString": only.sql,
            "ResultRows": only.rows if statement.status == "FINISHED" else -1,
            "ResultSize": _size(only.result),
        }
    return answer


def _part(part: Part) -> Request:
    answer: Request = {
        "Id": part.id,
        "Status": part.status,
        "CreatedAt": part.created,
        "UpdatedAt": part.updated,
        "Duration": part.duration,
        "QueryString": part.sql,
        "RedshiftQueryId": part.query_id,
        "HasResultSet": part.result is not None and part.result.has_rows,
        "ResultRows": part.rows,
        "ResultSize": _size(part.result),
    }
    if part.error:
        answer["Error"] = part.error
    return answer


def _size(result: Result | None) -> int:
    if result is None:
        return -1
    return sum(len(str(value)) for row in result.rows for value in row)


def result(who: Caller, request: Request) -> Request:
    """GetStatementResult."""
    statement, part = _find(who, request)
    none = ApiError(
        "ResourceNotFoundException",
        "Query does not have result. Please check query status with DescribeStatement.",
    )
    if part is None or statement.status != "FINISHED" or part.result is None:
        raise none
    if not part.result.has_rows:
        raise none
    start = _offset(request)
    rows = part.result.rows[start : start + PAGE_ROWS]
    answer: Request = {
        "Records": [
            [field(value, column) for value, column in zip(row, part.result.columns, strict=True)]
            for row in rows
        ],
        "ColumnMetadata": [_metadata(column) for column in part.result.columns],
        "TotalNumRows": len(part.result.rows),
    }
    if start + PAGE_ROWS < len(part.result.rows):
        answer["NextToken"] = _token(start + PAGE_ROWS)
    return answer


def _token(offset: int) -> str:
    return base64.urlsafe_b64encode(str(offset).encode()).decode()


def _offset(request: Request) -> int:
    try:
        text = str(request.get("NextToken") or "")
        return int(base64.urlsafe_b64decode(text)) if text else 0
    except ValueError as problem:
        raise _invalid("NextToken is not valid.") from problem


_PLAIN: dict[str, Callable[[Any], Request]] = {
    "bool": lambda value: {"booleanValue": bool(value)},
    "int2": lambda value: {"longValue": int(value)},
    "int4": lambda value: {"longValue": int(value)},
    "int8": lambda value: {"longValue": int(value)},
    "float4": lambda value: {"doubleValue": float(value)},
    "float8": lambda value: {"doubleValue": float(value)},
}


def field(value: Any, column: ResultColumn) -> Request:
    """A value as the Data API's ``Field``: what JSON has no exact type for is a string."""
    if value is None:
        return {"isNull": True}
    if plain := _PLAIN.get(column.type.wire):
        return plain(value)
    if isinstance(value, datetime):
        text = value.isoformat(sep=" ")
        if column.type.wire == "timestamptz":
            text = text.replace("+00:00", "+00")
        return {"stringValue": text.rstrip("0") if "." in text and "+" not in text else text}
    if isinstance(value, date):
        return {"stringValue": value.isoformat()}
    if isinstance(value, Decimal):
        return {"stringValue": f"{value:f}"}
    if isinstance(value, bytes):
        return {"stringValue": value.hex()}
    return {"stringValue": str(value)}


def _metadata(column: ResultColumn) -> Request:
    kind = column.type
    return {
        "name": column.name,
        "label": column.name,
        "typeName": kind.wire,
        "nullable": 1,
        "length": kind.length or 0,
        "precision": kind.precision or kind.length or 0,
        "scale": kind.scale or 0,
        "isSigned": kind.wire in ("int2", "int4", "int8", "numeric", "float4", "float8"),
        "isCurrency": False,
        "isCaseSensitive": kind.wire in ("varchar", "bpchar"),
        "schemaName": "",
        "tableName": "",
    }


def list_statements(who: Caller, request: Request) -> Request:
    """ListStatements: those of the caller's IAM identity."""
    status = str(request.get("Status", "")) or "FINISHED"
    name = str(request.get("StatementName", ""))
    limit = int(request.get("MaxResults") or 100)
    start = _offset(request)
    found = [
        x
        for x in statements.every()
        if x.owner == who.identity
        and (status == "ALL" or x.status == status)
        and x.name.startswith(name)
    ]
    answer: Request = {
        "Statements": [
            {
                "Id": x.id,
                "StatementName": x.name,
                "Status": x.status,
                "CreatedAt": x.created,
                "UpdatedAt": x.updated,
                "IsBatchStatement": x.batch,
                "QueryString": x.parts[0].sql,
                "QueryStrings": [y.sql for y in x.parts] if x.batch else [],
                "SecretArn": x.secret_arn,
            }
            for x in found[start : start + limit]
        ]
    }
    if start + limit < len(found):
        answer["NextToken"] = _token(start + limit)
    return answer


def cancel(who: Caller, request: Request) -> Request:
    """CancelStatement."""
    statement, _ = _find(who, request)
    if statement.status in ENDED:
        raise _invalid(f"Could not cancel a query that is already in {statement.status} state.")
    statement.cancel()
    return {"Status": True}


# The catalog


def _like(column: str, pattern: str) -> tuple[str, list[str]]:
    return (f" AND {column} LIKE ?", [pattern]) if pattern else ("", [])


def _read(who: Caller, request: Request, sql: str, values: list[str]) -> list[tuple[Any, ...]]:
    target = _target(who, request)
    try:
        session = target.connect()
        try:
            return session.catalog.rows(sql, *values)
        finally:
            session.close()
    except SqlError as problem:
        raise _invalid(str(problem).replace("ERROR:", "FATAL:", 1)) from problem


def _page(items: list[Any], request: Request, name: str) -> Request:
    start = _offset(request)
    limit = int(request.get("MaxResults") or 1_000)
    answer: Request = {name: items[start : start + limit]}
    if start + limit < len(items):
        answer["NextToken"] = _token(start + limit)
    return answer


def list_schemas(who: Caller, request: Request) -> Request:
    """ListSchemas."""
    where, values = _like("name", str(request.get("SchemaPattern", "")))
    rows = _read(who, request, f"SELECT name FROM rs.schemas WHERE true{where} ORDER BY 1", values)
    return _page([name for (name,) in rows], request, "Schemas")


def list_databases(who: Caller, request: Request) -> Request:
    """ListDatabases."""
    target = _target(who, request)
    names = {target.warehouse.database} | {x.stem for x in target.warehouse.path.glob("*.duckdb")}
    return _page(sorted(names), request, "Databases")


def list_tables(who: Caller, request: Request) -> Request:
    """ListTables."""
    first, one = _like("schema", str(request.get("SchemaPattern", "")))
    second, two = _like("name", str(request.get("TablePattern", "")))
    rows = _read(
        who,
        request,
        f"SELECT name, schema, kind FROM rs.tables WHERE true{first}{second} ORDER BY 2, 1",
        one + two,
    )
    tables = [{"name": name, "schema": schema, "type": kind.upper()} for name, schema, kind in rows]
    return _page(tables, request, "Tables")


def describe_table(who: Caller, request: Request) -> Request:
    """DescribeTable: no columns for a table that does not exist."""
    schema = str(request.get("Schema") or "public").lower()
    table = str(request.get("Table", "")).lower()
    rows = _read(
        who,
        request,
        "SELECT name, wire, length, precision, scale, not_null, fallback FROM rs.columns "
        "WHERE schema = ? AND relation = ? ORDER BY position",
        [schema, table],
    )
    columns = [
        {
            "name": name,
            "label": name,
            "typeName": wire,
            "length": length or 0,
            "precision": precision or length or 0,
            "scale": scale or 0,
            "nullable": 0 if not_null else 1,
            "columnDefault": fallback or "",
            "schemaName": schema,
            "tableName": table,
        }
        for name, wire, length, precision, scale, not_null, fallback in rows
    ]
    return {**_page(columns, request, "ColumnList"), "TableName": table}


OPERATIONS: Mapping[str, Callable[[Caller, Request], Request]] = {
    "ExecuteStatement": execute,
    "BatchExecuteStatement": batch_execute,
    "DescribeStatement": describe,
    "GetStatementResult": result,
    "ListStatements": list_statements,
    "CancelStatement": cancel,
    "ListSchemas": list_schemas,
    "ListDatabases": list_databases,
    "ListTables": list_tables,
    "DescribeTable": describe_table,
}

WAITING = frozenset(OPERATIONS) - {"ListStatements", "CancelStatement"}
"""What may wait for a statement or a file, and so runs beside the event loop."""

__all__ = ["OPERATIONS", "cluster_arn", "handle_request"]
