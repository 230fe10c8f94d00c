"""Statements through the Redshift Data API, and what their states and errors mean."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from weir.aws.calls import Calls, wait_for
from weir.aws.errors import AccessDenied, AwsError, Conflict, Invalid, NotFound, NotYet, Transient
from weir.aws.session import AwsSession, reading_sql

WAIT_SECONDS = 20.0
"""How long one call waits for a statement. A paused workgroup takes longer to wake: NotYet then, and
the next try goes on waiting for the same statement."""

RESUME_SECONDS = 300.0
"""How long a statement that was left running is gone on with; its result is too old after that."""

BATCH = 40
"""Statements that one BatchExecuteStatement takes (Redshift Data API reference)."""

KINDS = {"serverless": "WorkgroupName", "provisioned": "ClusterIdentifier"}

SQL_ERRORS: tuple[tuple[type[AwsError], str], ...] = (
    (Conflict, r"already exists|other objects depend on it|cannot drop .* because"),
    (
        Transient,
        r"serializable isolation|deadlock|could not complete because of conflict|concurrent",
    ),
    (Transient, r"connection (refused|reset|timed out)|cluster is (paused|resuming|unavailable)"),
    (NotFound, r"does not exist"),
)
"""First match decides; what is left is Invalid."""


@dataclass(frozen=True)
class Connection:
    """Where and as whom statements run.

    Parameters
    ----------
    kind
        ``serverless`` or ``provisioned``.
    warehouse
        Workgroup or cluster.
    database
        The database.
    secret_arn
        The secret of the user; empty for the caller's IAM identity.
    """

    kind: str
    warehouse: str
    database: str
    secret_arn: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        """As the Data API takes it."""
        given = {KINDS[self.kind]: self.warehouse, "Database": self.database}
        return {**given, "SecretArn": self.secret_arn} if self.secret_arn else given

    @property
    def prefix(self) -> str:
        """The beginning of the names of what lives there."""
        return f"{self.kind}:{self.warehouse}|{self.database}|{self.secret_arn}|"

    @classmethod
    def parse(cls, name: str) -> tuple[Connection, str]:
        """Connection and object of a name ``kind:warehouse|database|secretArn|object``.

        Raises
        ------
        Invalid
            It is no such name.
        """
        parts = name.split("|", 3)
        kind, colon, warehouse = parts[0].partition(":")
        if len(parts) != 4 or kind not in KINDS or not colon or not warehouse or not parts[1]:
            raise Invalid(
                f"{name!r} is no serverless:<workgroup>|<database>|<secretArn>|<object> "
                "(or provisioned:<cluster>|...)",
                service="redshift-data",
                resource=name,
            )
        return cls(kind, warehouse, parts[1], parts[2]), parts[3]


class Statements:
    """Runs SQL and waits for it. Safe to use from many threads."""

    def __init__(self, session: AwsSession, *, seconds: float = WAIT_SECONDS) -> None:
        """``seconds`` is how long one call waits for a statement."""
        self._seconds = seconds
        self._calls = Calls(session, "redshift-data")
        self._lock = threading.Lock()
        self._running: dict[tuple[Connection, tuple[str, ...]], tuple[str, float]] = {}

    def query(self, connection: Connection, sql: str, about: str = "") -> list[dict[str, Any]]:
        """The rows of a statement that only reads, as column -> value."""
        with reading_sql():
            statement = self._run(connection, (sql,), about)
        if not statement.get("HasResultSet"):
            return []
        return list(self._rows(statement["Id"], about))

    def execute(self, connection: Connection, sqls: Sequence[str], about: str = "") -> None:
        """Run statements, in pieces of one transaction each.

        Raises
        ------
        NotYet
            It still runs. Calling this again with the same statements goes on with it.
        AwsError
            It failed; nothing of its piece is there.
        """
        for start in range(0, len(sqls), BATCH):
            self._run(connection, tuple(sqls[start : start + BATCH]), about)

    def execute_alone(self, connection: Connection, sqls: Sequence[str], about: str = "") -> None:
        """Run statements one by one, for such as can't run in a transaction with others."""
        for sql in sqls:
            self._run(connection, (sql,), about)

    def _run(self, connection: Connection, sqls: tuple[str, ...], about: str) -> dict[str, Any]:
        key = (connection, sqls)
        with self._lock:
            statement_id, started = self._running.get(key, ("", 0.0))
            if not statement_id or time.monotonic() - started > RESUME_SECONDS:
                statement_id = self._submit(connection, sqls, about)
                self._running[key] = statement_id, time.monotonic()
        statement = wait_for(
            lambda: self._calls("DescribeStatement", about, Id=statement_id),
            lambda seen: seen["Status"] in ("FINISHED", "FAILED", "ABORTED"),
            seconds=self._seconds,
        )
        status = statement["Status"]
        if status not in ("FINISHED", "FAILED", "ABORTED"):
            raise NotYet(
                f"{connection.kind} {connection.warehouse}: statement {statement_id} is {status}",
                service="redshift-data",
                operation="DescribeStatement",
                resource=about,
                retry_after=5.0,
            )
        with self._lock:
            self._running.pop(key, None)
        if status != "FINISHED":
            raise failure(connection, str(statement.get("Error", status)), about)
        return statement

    def _submit(self, connection: Connection, sqls: tuple[str, ...], about: str) -> str:
        given: dict[str, Any] = dict(connection.parameters)
        if len(sqls) == 1:
            return str(self._calls("ExecuteStatement", about, Sql=sqls[0], **given)["Id"])
        return str(self._calls("BatchExecuteStatement", about, Sqls=list(sqls), **given)["Id"])

    def _rows(self, statement_id: str, about: str) -> Iterator[dict[str, Any]]:
        token: dict[str, str] = {}
        while True:
            page = self._calls("GetStatementResult", about, Id=statement_id, **token)
            names = [column["name"] for column in page["ColumnMetadata"]]
            for record in page["Records"]:
                yield dict(zip(names, map(_value, record), strict=True))
            if not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}


def failure(connection: Connection, text: str, about: str) -> AwsError:
    """The outcome that a failed statement's message stands for."""
    where = f"{connection.warehouse}, database {connection.database}: {text}"
    context: dict[str, Any] = {
        "service": "redshift-data",
        "operation": "ExecuteStatement",
        "resource": about,
    }
    if re.search(
        r"permission denied|must be (owner|superuser)|not authorized", text, re.IGNORECASE
    ):
        user = connection.secret_arn or "the operator's IAM identity"
        return AccessDenied(
            f"{where}. The database user of {user} lacks that privilege: name the secret of a user "
            "that may create schemas and roles, or grant it.",
            action="redshift-data:ExecuteStatement",
            target=connection.warehouse,
            code="SqlPermissionDenied",
            **context,
        )
    for outcome, pattern in SQL_ERRORS:
        if re.search(pattern, text, re.IGNORECASE):
            return outcome(where, **context)
    return Invalid(where, **context)


def _value(field: dict[str, Any]) -> Any:
    if field.get("isNull"):
        return None
    return next(iter(field.values()), None)
