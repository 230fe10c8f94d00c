"""The local AWS as a process that also tells, at ``/_weir/world``, everything it holds.

What is compared after a crash is not what AWS's own listings would show, but every record of every
service: nothing that was made can hide in a field that nobody asks for.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

WORLD = "/_weir/world"
SERVICES = (
    "iam", "lambda_svc", "s3", "sqs", "sns", "kms", "dynamodb", "glue", "cloudwatch",
    "cloudwatch_logs", "scheduler", "eventbridge", "stepfunctions", "secretsmanager", "ses",
    "kinesis", "ec2",
)  # fmt: skip
SHOWN_BYTES = 1 << 17
"""Documents up to this size are compared by their text."""
DIGESTS = frozenset({"checksums", "etag", "metadata", "size"})
CHANGE_SECONDS = 0.02
"""How long a function, a mapping or a stream is in a state of change: long enough to be seen so."""
HISTORY = frozenset(
    {
        "cloudwatch._metrics",
        "cloudwatch._alarm_history",
        "cloudwatch_logs._log_records",
        "cloudwatch_logs._queries",
        "dynamodb._stream_records",
        "dynamodb._txn_idempotency",
        "eventbridge._events_log",
        "kinesis._shard_iterators",
        "kms._alias_dates",
        "lambda_svc._esm_backoff_until",
        "s3._completed_multipart_uploads",
        "s3._object_versions",
        "stepfunctions._task_tokens",
    }
)
"""What is a record of the past, not of what is there."""
WHEN = re.compile(
    r"(date|time|timestamp|created|modified|_at|on|updatedat|lastupdated|createdat|since)$",
    re.IGNORECASE,
)
"""Fields that say when something happened, where their value is a number or a date."""
MOMENT = re.compile(r"^(\d{4}-\d\d-\d\d[T ]|\w{3}, \d\d |\d{10,}$)")
PASSING = frozenset(
    {
        "messages",
        "dedup_cache",
        "ChangedAt",
        "Checkpoints",
        "change",
        "records",
        "fifo_seq",
        "logStreams",
        "storedBytes",
        "_requests",
        "statistics",
        "VersionId",
    }
)
"""Fields with what passes through a resource."""


def plain(value: Any) -> Any:
    """A record as JSON: bytes as their hash, moments left out."""
    if isinstance(value, dict):
        body = value.get("body")
        if isinstance(body, bytes) and body.startswith(b"{") and len(body) < SHOWN_BYTES:
            # What is in a document says more than its digests, which what AWS makes up changes.
            kept = {key: item for key, item in value.items() if key not in DIGESTS}
            return plain({**kept, "body": body.decode("utf-8", "replace")})
        return {
            str(key): plain(item)
            for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))
            if not _passes(str(key), item)
        }
    if hasattr(value, "_data"):
        return plain(value._data)
    if isinstance(value, (list, tuple)):
        items = [plain(item) for item in value]
        # Lists of records (subscriptions, targets) have no order of their own.
        records = bool(items) and all(isinstance(item, dict) for item in items)
        return sorted(items, key=_order) if records else items
    if isinstance(value, (set, frozenset)):
        return sorted(json.dumps(plain(item), sort_keys=True) for item in value)
    if isinstance(value, (bytes, bytearray)):
        return "sha256:" + base64.b64encode(hashlib.sha256(value).digest()).decode()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return f"<{type(value).__name__}>"


def _order(record: dict[str, Any]) -> str:
    """Sorts records alike in each run: by what is in them, less what AWS makes up."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "", json.dumps(record, sort_keys=True))


def _passes(key: str, value: Any) -> bool:
    if key.startswith(("_", "Approximate")) or key in PASSING:
        return True
    if WHEN.search(key) is None or isinstance(value, (bool, dict, list)):
        return False
    if isinstance(value, str):
        return MOMENT.match(value) is not None
    return value is not None and (not isinstance(value, (int, float)) or value > 1e9)


def services() -> dict[str, dict[str, Any]]:
    """``service.store`` -> record's key -> record, of all services."""
    from ministack.core.responses import AccountRegionScopedDict, AccountScopedDict

    found: dict[str, dict[str, Any]] = {}
    for name in SERVICES:
        module = sys.modules.get(f"ministack.services.{name}")
        for store, value in sorted(vars(module).items()) if module else ():
            where = f"{name}.{store}"
            if where not in HISTORY and isinstance(
                value, (AccountRegionScopedDict, AccountScopedDict)
            ):
                records = {repr(key[-1]): plain(item) for key, item in list(value._data.items())}
                if records:
                    found[where] = records
    return found


def warehouse() -> dict[str, dict[str, Any]]:
    """Schemas, tables, columns, grants, users and roles of every warehouse."""
    from weir_local.redshift import warehouses

    found: dict[str, dict[str, Any]] = {}
    for house in list(warehouses.registry()._warehouses.values()):
        principals = house.directory.principals
        found[f"{house.name}.users"] = {
            name: plain({**vars(user), "password": "", "id": 0})
            for name, user in principals.users.items()
        }
        found[f"{house.name}.roles"] = {
            name: sorted(roles) for name, roles in principals.roles.items()
        }
        for name, database in list(house._databases.items()):
            cursor = database.connection.cursor()
            for table in ("schemas", "tables", "columns", "grants", "default_grants"):
                without = " EXCLUDE (id)" if table == "tables" else ""
                rows = cursor.execute(f"SELECT *{without} FROM rs.{table} ORDER BY ALL").fetchall()
                found[f"{house.name}.{name}.{table}"] = {repr(row): True for row in rows}
            there = cursor.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE schema_name <> 'rs'"
            ).fetchall()
            found[f"{house.name}.{name}.files"] = {repr(row): True for row in there}
            for schema, table in there:
                rows = cursor.execute(f'SELECT * FROM "{schema}"."{table}" ORDER BY ALL').fetchall()
                where = f"{house.name}.{name}.rows.{schema}.{table}"
                if rows:
                    found[where] = {repr(row): True for row in rows}
    return found


def told() -> bytes:
    """The world as JSON."""
    for _ in range(20):
        try:
            return json.dumps({**services(), **warehouse()}, sort_keys=True).encode()
        except RuntimeError:
            time.sleep(0.01)  # A thread changed a store while it was read.
    raise RuntimeError("the stores do not rest")


def wrap() -> None:
    """Serve the world beside what the local AWS serves."""
    from ministack import app
    from ministack.services import lambda_svc

    from weir_local.aws import endpoints
    from weir_local.aws.streams import mappings, shards

    lambda_svc._LAMBDA_STATE_TRANSITION_DELAY = CHANGE_SECONDS
    mappings.CHANGE_SECONDS = mappings.TICK_SECONDS = CHANGE_SECONDS
    shards.CHANGE_SECONDS = CHANGE_SECONDS
    # An endpoint that is still going would be taken for one too many.
    endpoints.MOMENT = 0.0
    inner = app.app

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != WORLD:
            await inner(scope, receive, send)
            return
        body = told()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    app.app = outer


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--account", required=True)
    parser.add_argument("--region", required=True)
    given = parser.parse_args()
    from weir_local.aws import mends, server

    install = mends.install

    def install_and_wrap() -> None:
        install()
        wrap()

    mends.install = install_and_wrap
    server.serve(given.port, given.state, given.account, given.region)


if __name__ == "__main__":
    main()
