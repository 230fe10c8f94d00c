"""Statements of the Data API: run in threads, kept for 24 hours."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from weir_local.redshift.errors import Cancelled, SqlError
from weir_local.redshift.execute import Result, Session

KEPT_SECONDS = 86_400
ENDED = ("FINISHED", "FAILED", "ABORTED")


@dataclass
class Part:
    """One SQL text of a statement. Times are epoch seconds, durations nanoseconds."""

    id: str
    sql: str
    parameters: list[dict[str, str]] = field(default_factory=list)
    status: str = "SUBMITTED"
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    duration: int = -1
    error: str = ""
    result: Result | None = None
    query_id: int = 0

    def moved(self, status: str) -> None:
        """Note a change of state."""
        self.status = status
        self.updated = time.time()

    @property
    def rows(self) -> int:
        """``ResultRows``: rows of the result or written; -1 until it has finished."""
        if self.result is None:
            return -1
        return len(self.result.rows) if self.result.has_rows else self.result.affected


@dataclass
class Statement:
    """One call of ExecuteStatement or BatchExecuteStatement.

    Parameters
    ----------
    owner
        The IAM identity that may look at it.
    place
        WorkgroupName or ClusterIdentifier, as the request named it.
    connect
        Opens the session; raises SqlError.
    transaction
        Whether its parts are one transaction.
    """

    owner: str
    account: str
    region: str
    place: dict[str, str]
    database: str
    db_user: str
    secret_arn: str
    name: str
    batch: bool
    parts: list[Part]
    connect: Callable[[], Session]
    transaction: bool = True
    session_id: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "SUBMITTED"
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    duration: int = -1
    error: str = ""
    pid: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    session: Session | None = None
    release: Callable[[Session], None] = field(default=lambda session: session.close())

    def moved(self, status: str) -> None:
        """Note a change of state."""
        self.status = status
        self.updated = time.time()

    def start(self) -> None:
        """Run it in a thread of its own."""
        threading.Thread(target=self._run, name=f"redshift-{self.id}", daemon=True).start()

    def cancel(self) -> None:
        """Ask it to stop."""
        self.cancelled.set()
        if self.session is not None:
            self.session.cancelled.set()
            self.session.connection.interrupt()

    def _run(self) -> None:
        from ministack.core.responses import request_scope

        began = time.monotonic_ns()
        with request_scope(self.account, self.region):
            status = "FAILED"
            try:
                self.moved("PICKED")
                self._execute()
                status = "FINISHED"
            except Cancelled:
                self._end_parts("ABORTED", "Query was cancelled on user's request.")
                self.error = "Query was cancelled on user's request."
                status = "ABORTED"
            except SqlError as problem:
                self.error = self.error or str(problem)
                status = "ABORTED" if self.cancelled.is_set() else "FAILED"
                self._end_parts("ABORTED", "")
            except BaseException as problem:
                # A thread has nobody above it: what is unforeseen is the statement's failure too.
                self.error = f"ERROR: internal error: {problem}"
                self._end_parts("FAILED", self.error)
                raise
            finally:
                self.duration = time.monotonic_ns() - began
                try:
                    # Who sees that it has ended may use its session at once.
                    if self.session is not None:
                        self.release(self.session)
                finally:
                    self.moved(status)
                    self.done.set()

    def _end_parts(self, status: str, error: str) -> None:
        for part in self.parts:
            if part.status not in ENDED:
                part.error = error
                part.moved(status)

    def _execute(self) -> None:
        try:
            self.session = self.connect()
        except SqlError as problem:
            self.error = str(problem).replace("ERROR:", "FATAL:", 1)
            self.parts[0].error = self.error
            self.parts[0].moved("FAILED")
            raise
        session = self.session
        session.cancelled = self.cancelled
        self.pid = 1_073_741_824 + session.id
        self.moved("STARTED")
        # A batch is one transaction, so nothing runs in it that a block forbids.
        in_batch = self.batch and self.transaction
        if in_batch:
            session.block = True
        for place, part in enumerate(self.parts, 1):
            if self.cancelled.is_set():
                raise Cancelled
            self._part(session, part, place)
            if in_batch:
                session.block = True
        if in_batch:
            try:
                session.commit()
            except SqlError as problem:
                self.parts[-1].error = str(problem)
                self.parts[-1].result = None
                self.parts[-1].moved("FAILED")
                raise
            session.block = False

    def _part(self, session: Session, part: Part, place: int) -> None:
        from weir_local.redshift.tokens import bind

        part.moved("STARTED")
        began = time.monotonic_ns()
        try:
            values = {item["name"]: item["value"] for item in part.parameters}
            part.result = session.run(bind(part.sql, values))
            part.moved("FINISHED")
        except SqlError as problem:
            part.error = str(problem)
            part.moved("ABORTED" if self.cancelled.is_set() else "FAILED")
            self.error = f"Query #{place} failed with {part.error}" if self.batch else part.error
            session.block = False
            session.rollback()
            raise
        except Cancelled:
            session.block = False
            session.rollback()
            raise
        finally:
            part.duration = time.monotonic_ns() - began
            part.query_id = session.query_id


_statements: dict[str, Statement] = {}
_tokens: dict[tuple[str, str, str, str], str] = {}
_mutex = threading.Lock()


def submit(statement: Statement, token: str) -> Statement:
    """Start a statement, or return the one that the client's token has started already."""
    key = (statement.account, statement.region, statement.owner, token)
    with _mutex:
        _forget_old()
        if token and key in _tokens and _tokens[key] in _statements:
            return _statements[_tokens[key]]
        _statements[statement.id] = statement
        if token:
            _tokens[key] = statement.id
    statement.start()
    return statement


def _forget_old() -> None:
    limit = time.time() - KEPT_SECONDS
    for identity in [x.id for x in _statements.values() if x.done.is_set() and x.updated < limit]:
        del _statements[identity]


def find(identity: str) -> Statement | None:
    """A statement by its id, without a part's suffix."""
    return _statements.get(identity.partition(":")[0])


def every() -> list[Statement]:
    """All statements, newest first."""
    return sorted(_statements.values(), key=lambda x: x.created, reverse=True)


def cancel_all() -> None:
    """Stop what runs and forget everything."""
    for statement in list(_statements.values()):
        if not statement.done.is_set():
            statement.cancel()
            statement.done.wait(5)
    _statements.clear()
    _tokens.clear()
