"""The way to one AWS account and region: clients, credentials, limits and what is counted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.handlers import json_decode_policies
from botocore.utils import parse_timestamp

from weir import __version__
from weir.aws.courtesy import give_way
from weir.aws.errors import Invalid, Throttled, WriteRefused, outcome_of
from weir.aws.limits import LIMITS
from weir.aws.reach import SILENT, Reach

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
MAX_ATTEMPTS = 4
"""Few: the engine's own queue retries too, and it gives others a turn meanwhile."""
SESSION_SECONDS = 3600
"""How long an assumed role's credentials live; a chained role allows one hour at most
(IAM user guide, "Role chaining")."""

READS = (
    "Get", "List", "Describe", "Head", "BatchGet", "Query", "Scan", "Lookup", "Search", "Simulate",
    "Select", "Test", "Validate", "AssumeRole",
)  # fmt: skip
"""Operations that begin so change nothing."""


PLAIN = {"resourcegroupstaggingapi": ("GetResources",)}
"""Service -> operations whose answers are many and mean what their JSON says: no times, no bytes.
botocore looks at each tag of an account in four steps; Python's own reader is done in a tenth."""


@dataclass(frozen=True)
class Assume:
    """One role of a chain.

    Parameters
    ----------
    external_id
        What its trust policy asks for, if it does.
    session_name
        What CloudTrail calls the session.
    tags
        Session tags, as pairs of key and value. They stay for the roles that come after it.
    source_identity
        Who is behind it all; it stays too. Empty for none.
    """

    role_arn: str
    external_id: str = ""
    session_name: str = "weir"
    tags: tuple[tuple[str, str], ...] = ()
    source_identity: str = ""


@dataclass(frozen=True)
class Target:
    """Where a session leads.

    Parameters
    ----------
    region
        ``eu-central-1``.
    account_id
        The account that it must be, by STS; empty for any.
    roles
        Roles to assume, in this order.
    endpoint_url
        Another endpoint for every service; empty for AWS's.
    profile
        A profile of the shared config file; empty for the default chain.
    """

    region: str
    account_id: str = ""
    roles: tuple[Assume, ...] = ()
    endpoint_url: str = ""
    profile: str = ""


@dataclass(frozen=True)
class Call:
    """One API call that has ended.

    Parameters
    ----------
    service, operation
        botocore's service name and the API operation.
    outcome
        ``ok`` or the name of the class in :mod:`weir.aws.errors` that it became.
    seconds
        From first try to last answer.
    retries
        Tries that botocore made beyond the first.
    throttles
        Tries that AWS refused because there were too many.
    held
        Seconds for which it was held back: after such a refusal, or by the limit that botocore
        keeps to after one.
    """

    service: str
    operation: str
    outcome: str
    seconds: float
    retries: int
    throttles: int = 0
    held: float = 0.0


Observer = Callable[[Call], None]

_reading_sql: ContextVar[bool] = ContextVar("weir_reading_sql", default=False)


@contextmanager
def reading_sql() -> Iterator[None]:
    """Statements sent within only read, though the API operation does not tell so."""
    token = _reading_sql.set(True)
    try:
        yield
    finally:
        _reading_sql.reset(token)


def is_write(operation: str) -> bool:
    """Whether an API operation may change something, by its name."""
    if operation in ("ExecuteStatement", "BatchExecuteStatement"):
        return not _reading_sql.get()
    return not operation.startswith(READS)


class AwsSession:
    """Shared boto3 clients of one account and region. Safe to use from many threads.

    Parameters
    ----------
    target
        Where it leads.
    observer
        Told of every call; must be quick and must not raise.
    dry_run
        Refuse every write with :class:`weir.aws.errors.WriteRefused`.
    fence
        Called before each write and again before each try of it, right before it is sent; raises
        where it may not start any more.
    """

    def __init__(
        self,
        target: Target,
        *,
        observer: Observer | None = None,
        dry_run: bool = False,
        fence: Callable[[], None] | None = None,
    ) -> None:
        self.target = target
        self.dry_run = dry_run
        self.reach = Reach()
        self._fence = fence
        self._observer = observer
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, bool], Any] = {}
        self._current = _Current()
        self._account = ""
        self._caller = ""
        self._config = Config(
            region_name=target.region,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            # The limit that goes with it is shared: weir.aws.limits.
            retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
            max_pool_connections=32,
            user_agent_extra=f"weir/{__version__}",
            s3={"addressing_style": "path"} if target.endpoint_url else None,
        )
        self._boto = self._session()

    @property
    def region(self) -> str:
        """The region that calls go to."""
        return self.target.region

    @property
    def account_id(self) -> str:
        """The account of the credentials, asked of STS once."""
        if not self._account:
            from weir.aws.sts import caller_account

            self._account = caller_account(self)
        return self._account

    @property
    def caller_arn(self) -> str:
        """The ARN of who the credentials are, asked of STS once."""
        if not self._caller:
            from weir.aws.sts import caller_arn

            self._caller = caller_arn(self)
        return self._caller

    @property
    def partition(self) -> str:
        """``aws``, ``aws-cn`` or ``aws-us-gov``: the second part of an ARN."""
        return str(self._boto.get_partition_for_region(self.region))

    def arn(self, service: str, path: str) -> str:
        """The ARN of something in this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account_id}:{path}"

    def client(self, service: str, *, once: bool = False) -> Any:
        """The shared client of a service.

        Parameters
        ----------
        service
            botocore's name of it.
        once
            A client that tries each call once: for what would be made twice if the reply to a
            first try is lost.
        """
        key = (service, once)
        found = self._clients.get(key)
        if found is None:
            # Making a client is not thread safe in boto3; using one is.
            with self._lock:
                found = self._clients.get(key)
                if found is None:
                    make: Any = self._boto.client
                    single = Config(retries={"mode": "standard", "total_max_attempts": 1})
                    found = make(
                        service,
                        config=self._config.merge(single) if once else self._config,
                        endpoint_url=self.target.endpoint_url or None,
                    )
                    LIMITS.attach(self._place(service), found)
                    self._listen(service, found)
                    self._clients[key] = found
        return found

    def verify_account(self) -> str:
        """The account id, if it is the one that is meant.

        Raises
        ------
        Invalid
            The credentials are of another account.
        """
        actual = self.account_id
        expected = self.target.account_id
        if expected and actual != expected:
            raise Invalid(
                f"the credentials are of account {actual}, but accountId says {expected}: nothing was "
                "touched. Correct accountId, or the role that is assumed.",
                service="sts",
                operation="GetCallerIdentity",
                resource=expected,
            )
        return actual

    def _place(self, service: str) -> tuple[str, str, str, str]:
        target = self.target
        # The account is that of the last role; asking STS would be one more call.
        roles = [role.role_arn.split(":")[4] for role in target.roles]
        account = roles[-1] if roles else target.account_id or target.profile
        return target.endpoint_url, account, target.region, service

    def _session(self) -> boto3.Session:
        session = boto3.Session(
            botocore_session=_core(),
            region_name=self.target.region,
            profile_name=self.target.profile or None,
        )
        for role in self.target.roles:
            session = self._assumed(session, role)
        return session

    def _assumed(self, source: boto3.Session, role: Assume) -> boto3.Session:
        core = _core()
        extra: dict[str, Any] = {
            "RoleSessionName": role.session_name,
            "DurationSeconds": SESSION_SECONDS,
        }
        if role.external_id:
            extra["ExternalId"] = role.external_id
        if role.tags:
            extra["Tags"] = [{"Key": key, "Value": value} for key, value in role.tags]
            if role is not self.target.roles[-1]:
                extra["TransitiveTagKeys"] = [key for key, _ in role.tags]
        if role.source_identity:
            extra["SourceIdentity"] = role.source_identity
        fetcher = AssumeRoleCredentialFetcher(
            partial(
                core.create_client,
                region_name=self.target.region,
                endpoint_url=self.target.endpoint_url or None,
                config=self._config,
            ),
            source.get_credentials(),
            role.role_arn,
            extra_args=extra,
        )
        # botocore has no public way to give a session credentials that renew themselves.
        renewing: Any = core
        renewing._credentials = DeferredRefreshableCredentials(
            method="assume-role", refresh_using=fetcher.fetch_credentials
        )
        return boto3.Session(botocore_session=core, region_name=self.target.region)

    def _listen(self, service: str, client: Any) -> None:
        events = client.meta.events
        # It walks through all of a listing of roles to decode what is decoded where it is compared
        # (:func:`weir.aws.documents.policy`).
        events.unregister("after-call.iam", json_decode_policies)
        for operation in PLAIN.get(service, ()):
            events.register(f"before-parse.*.{operation}", _read_plainly)
        if self.dry_run:
            events.register("before-parameter-build.*.*", partial(_refuse_writes, service))
        events.register("before-call.*.*", lambda **_: give_way())
        events.register("before-call.*.*", partial(self._enter, service))
        events.register("after-call.*.*", lambda **_: self.reach.heard(service))
        events.register("after-call-error.*.*", partial(self._missed, service))
        if self._fence is not None:
            # After botocore's rate limiter, which may hold a try back in "before-send": handlers of
            # a longer name are called before those of a shorter one.
            for event in ("before-call.*.*", "before-send"):
                events.register_last(event, partial(_pass_fence, self._fence))
        if self._observer is not None:
            events.register("before-call.*.*", self._start)
            events.register_first("needs-retry.*.*", partial(_count_throttle, service))
            events.register_first("before-send.*.*", self._hold)
            events.register_last("before-send", self._let_go)
            events.register("after-call.*.*", partial(self._answered, service))
            events.register("after-call-error.*.*", partial(self._failed, service))

    def _enter(self, service: str, *, context: dict[str, Any], **_: Any) -> None:
        self.reach.enter(service)
        context["weir_entered"] = self.reach.now()

    def _missed(
        self, service: str, *, exception: Exception, context: dict[str, Any], **_: Any
    ) -> None:
        if isinstance(exception, SILENT):
            self.reach.silent(service, float(context.get("weir_entered", 0.0)))

    def _answered(
        self, service: str, *, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any
    ) -> None:
        meta = parsed.get("ResponseMetadata", {})
        error, status = parsed.get("Error", {}), int(meta.get("HTTPStatusCode", 200))
        outcome = "ok"
        if status >= 300:
            code, text = str(error.get("Code", "")), str(error.get("Message", ""))
            outcome = outcome_of(service, code, text, status).outcome.__name__
        self._tell(service, model.name, outcome, context, int(meta.get("RetryAttempts", 0)))

    def _failed(self, service: str, *, event_name: str, context: dict[str, Any], **_: Any) -> None:
        self._tell(service, event_name.rpartition(".")[2], "Transient", context, MAX_ATTEMPTS - 1)

    def _tell(
        self, service: str, operation: str, outcome: str, context: dict[str, Any], retries: int
    ) -> None:
        if self._observer is not None:
            call: _Clock = context.get(_CLOCK) or _Clock(time.monotonic())
            seconds = time.monotonic() - call.started
            self._observer(
                Call(service, operation, outcome, seconds, retries, call.throttles, call.held)
            )

    def _start(self, *, context: dict[str, Any], **_: Any) -> None:
        self._current.call = context[_CLOCK] = _Clock(time.monotonic())

    def _hold(self, **_: Any) -> None:
        """A try is ready to be sent: what comes now until it is, it waits."""
        call = self._current.call
        if call.since is None:
            call.since = time.monotonic()

    def _let_go(self, **_: Any) -> None:
        """A try is sent."""
        call = self._current.call
        if call.since is not None:
            call.held += time.monotonic() - call.since
            call.since = None


_CLOCK = "weir_clock"
"""Where a call's own times are in botocore's context of it."""


@dataclass
class _Clock:
    """The times of one call; all its tries are made by one thread, one after another."""

    started: float
    throttles: int = 0
    held: float = 0.0
    since: float | None = None
    """Since when a try is held back."""


class _Current(threading.local):
    """The call that this thread makes: the event before a try is sent does not tell which it is."""

    call: _Clock = _Clock(0.0)


def _count_throttle(
    service: str, *, response: tuple[Any, dict[str, Any]] | None, request_dict: Any, **_: Any
) -> None:
    if response is None:
        return
    http, parsed = response
    call: _Clock | None = request_dict["context"].get(_CLOCK)
    if call is None or http.status_code < 400:
        return
    error = parsed.get("Error", {})
    code, text = str(error.get("Code", "")), str(error.get("Message", ""))
    if outcome_of(service, code, text, http.status_code).outcome is Throttled:
        call.throttles += 1
        call.since = time.monotonic()


def _read_plainly(
    *, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Read a good answer's JSON as it is, and leave botocore the rest of the answer to parse."""
    if response_dict["status_code"] != 200:
        return
    try:
        customized_response_dict.update(json.loads(response_dict["body"]))
    except ValueError:
        return  # botocore has its own way with what is no JSON.
    response_dict["body"] = b"{}"


def _pass_fence(fence: Callable[[], None], *, event_name: str, **_: Any) -> None:
    if is_write(event_name.rpartition(".")[2]):
        fence()


def _refuse_writes(service: str, *, model: Any, **_: Any) -> None:
    if is_write(model.name):
        raise WriteRefused(
            f"{service} {model.name} would change AWS, and this session only reads",
            service=service,
            operation=model.name,
        )


_LOADER = botocore.loaders.create_loader(
    botocore.session.Session().get_config_variable("data_path")
)
"""AWS's service models, parsed once for all sessions."""


def _core() -> botocore.session.Session:
    core = botocore.session.get_session()
    core.register_component("data_loader", _LOADER)
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=timestamp)
    return core


def timestamp(value: Any) -> datetime:
    """A time of an answer.

    botocore's own parser tries every format that people write dates in: a tenth of the time that a
    listing of a thousand roles takes. AWS's services write ISO 8601 or seconds since 1970, and the
    headers of HTTP, which are left to botocore's.
    """
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return parse_timestamp(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
