"""A REST source's configuration. The vocabulary is dlt's ``rest_api``, since its users know it.

Texts may hold ``${SECRET:name#key}``, and, where it says so, placeholders:
``{incremental.startValue}``, ``{incremental.endValue}``, ``{resources.<parent>.<path>}``,
``{job.<path>}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

PaginatorType = Literal["auto", "single", "pageNumber", "offset", "cursor", "link"]
Method = Literal["GET", "POST", "PUT"]
ResponseFormat = Literal["json", "jsonLines", "csv", "xml"]


@dataclass(frozen=True)
class Paginator:
    """How one page leads to the next.

    Parameters
    ----------
    type
        ``auto``: told from the first answer. ``single``: one answer is all. ``pageNumber`` and
        ``offset`` count in a query parameter, ``cursor`` takes a token from the answer's body
        (``cursor_path``) or header (``cursor_header``), ``link`` takes a URL from the body
        (``next_path``) or from the header ``Link`` with rel="next" (RFC 8288).
    page_param, offset_param, limit_param, cursor_param
        Query parameter names.
    page_body_path, offset_body_path, limit_body_path, cursor_body_path
        Dotted places in the JSON body that take the value instead of a query parameter.
    base_page
        The first page's number, 0 or 1.
    page_size
        Rows a page asked for, sent as ``limit_param`` where that is set.
    total_path
        Where the body gives the number of pages (``pageNumber``) or rows (``offset``). Without it
        an empty page, or for ``offset`` one shorter than ``page_size``, ends the extraction.
    has_more_path
        Where the body says whether there is more; false ends the extraction.
    stop_after_empty_page
        Whether a page without rows ends the extraction.
    maximum_page, maximum_offset
        Where to stop whatever the source says.
    """

    type: PaginatorType = "single"
    page_param: str = "page"
    base_page: int = 1
    offset_param: str = "offset"
    limit_param: str | None = None
    page_size: int = 100
    total_path: str | None = None
    cursor_path: str | None = None
    cursor_header: str | None = None
    cursor_param: str = "cursor"
    next_path: str | None = None
    page_body_path: str | None = None
    offset_body_path: str | None = None
    limit_body_path: str | None = None
    cursor_body_path: str | None = None
    has_more_path: str | None = None
    stop_after_empty_page: bool = True
    maximum_page: int | None = None
    maximum_offset: int | None = None


@dataclass(frozen=True)
class RequestLimits:
    """Bounds on what one extraction may ask and take.

    ``timeout_seconds`` is for one request; ``max_attempts`` counts the first try;
    ``max_response_bytes`` bounds one answer, unpacked; ``max_pages`` bounds a whole extraction;
    ``concurrency`` bounds the requests under way, ``requests_per_second`` their pace.
    """

    timeout_seconds: int = 30
    max_attempts: int = 5
    max_response_bytes: int = 52_428_800
    max_pages: int = 100_000
    requests_per_second: float | None = None
    concurrency: int = 16


@dataclass(frozen=True)
class BearerAuth:
    """``Authorization: Bearer <token>``."""

    token: str


@dataclass(frozen=True)
class ApiKeyAuth:
    """A key in a header, a query parameter or a cookie."""

    value: str
    name: str = "Authorization"
    location: Literal["header", "query", "cookie"] = "header"


@dataclass(frozen=True)
class HttpBasicAuth:
    """``Authorization: Basic`` (RFC 7617)."""

    username: str
    password: str


@dataclass(frozen=True)
class OAuth2ClientCredentials:
    """The client credentials grant (RFC 6749, section 4.4).

    ``client_auth`` says where the client's id and secret go: in the form's body, or as HTTP basic.
    """

    token_url: str
    client_id: str
    client_secret: str
    scopes: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    client_auth: Literal["body", "basic"] = "body"
    token_path: str = "access_token"
    expires_path: str = "expires_in"


@dataclass(frozen=True)
class OAuth2RefreshToken:
    """The refresh token grant (RFC 6749, section 6), also where each answer has a new one.

    ``secret`` is the name of the secret, a JSON object, whose key ``refresh_token_key`` holds the
    refresh token. Where ``rotate``, a new refresh token is written back into it.
    """

    token_url: str
    secret: str
    client_id: str = ""
    client_secret: str = ""
    refresh_token_key: str = "refresh_token"
    scopes: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    client_auth: Literal["body", "basic"] = "body"
    rotate: bool = False
    token_path: str = "access_token"
    expires_path: str = "expires_in"


@dataclass(frozen=True)
class JwtAuth:
    """A JSON web token (RFC 7519) that is signed here with a key from a secret.

    With ``token_url`` it is exchanged for an access token (RFC 7523), else it is sent itself as
    ``header: <scheme> <token>``. ``claims`` are added to iss, aud, iat and exp.
    """

    key: str
    algorithm: Literal["RS256", "ES256", "HS256"] = "RS256"
    key_id: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    lifetime_seconds: int = 600
    header: str = "Authorization"
    scheme: str = "Bearer"
    token_url: str | None = None
    token_path: str = "access_token"
    expires_path: str = "expires_in"


@dataclass(frozen=True)
class SessionTokenAuth:
    """A login whose answer has a token, which each request then carries."""

    login_url: str
    token_path: str
    method: Method = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    header: str = "Authorization"
    scheme: str = "Bearer"
    lifetime_seconds: int = 3600


@dataclass(frozen=True)
class AwsSigV4Auth:
    """AWS Signature Version 4: with the keys given, else with the function's own role."""

    service: str
    region: str
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None


@dataclass(frozen=True)
class Auth:
    """How requests are authenticated: exactly one member."""

    bearer: BearerAuth | None = None
    api_key: ApiKeyAuth | None = None
    http_basic: HttpBasicAuth | None = None
    oauth2_client_credentials: OAuth2ClientCredentials | None = None
    oauth2_refresh_token: OAuth2RefreshToken | None = None
    jwt: JwtAuth | None = None
    session_token: SessionTokenAuth | None = None
    aws_sig_v4: AwsSigV4Auth | None = None


@dataclass(frozen=True)
class Incremental:
    """Ask only for what is new.

    Parameters
    ----------
    cursor_path
        Where a record gives the value that only grows.
    start_param, end_param
        Query parameters that take the start and the end; None where placeholders do.
    initial_value
        The first run's start.
    lag_seconds
        A moment's start is set back by this, for records that appear late.
    lag
        A number's start is set back by this.
    step_seconds
        Moments are asked for in windows of this length, up to the run's logical time.
    format
        How a moment is written: ``iso``, ``date``, ``epochSeconds``, ``epochMillis``, or a strftime
        pattern.
    timezone
        Zone of moments that are written without an offset, and of dates.
    deduplicate
        Whether a record that came before, at or after the start, is dropped when it comes again
        unchanged.
    """

    cursor_path: str
    start_param: str | None = None
    end_param: str | None = None
    initial_value: str | None = None
    lag_seconds: int = 0
    lag: int = 0
    step_seconds: int | None = None
    format: str = "iso"
    timezone: str = "UTC"
    deduplicate: bool = True


@dataclass(frozen=True)
class ResponseAction:
    """What to do with an answer that is told by its status, or by a text in its body.

    ``status`` is ``404``, or ``4xx`` for a hundred; None for any. ``content`` None for any.
    """

    action: Literal["ignore", "retry", "fail"]
    status: str | None = None
    content: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class Parent:
    """A resource whose records say what to ask for: once for each of them.

    ``include`` is name in the landed record -> path in the parent's.
    """

    name: str
    endpoint: str
    method: Method = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    data_selector: str | None = None
    paginator: Paginator = Paginator()
    include: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AsyncJob:
    """The endpoint creates a job; its result is asked for when it is done.

    Parameters
    ----------
    status_url
        Asked every ``interval_seconds``; may hold ``{job.<path>}`` of the creating answer.
    status_path
        Where its answer has the state.
    completed, failed
        States that end the waiting.
    download_url
        What is then read, page by page; may hold ``{job.<path>}``, of the last status first, then
        of the creating answer.
    """

    status_url: str
    status_path: str
    completed: tuple[str, ...]
    download_url: str
    failed: tuple[str, ...] = ()
    interval_seconds: int = 10
    timeout_seconds: int = 3600


@dataclass(frozen=True)
class Format:
    """How an answer is written. ``delimiter``, ``header`` and ``columns`` are CSV's."""

    type: ResponseFormat = "json"
    encoding: str = "utf-8"
    delimiter: str = ","
    header: bool = True
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class RestApi:
    """A REST endpoint. Header, param and body values may hold ``${SECRET:name#key}``.

    ``body`` is sent as JSON, ``form`` as ``application/x-www-form-urlencoded``; one of them.
    """

    endpoint: str
    method: Method = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    auth: Auth = Auth()
    data_selector: str | None = None
    paginator: Paginator = Paginator()
    incremental: Incremental | None = None
    parents: tuple[Parent, ...] = ()
    async_job: AsyncJob | None = None
    format: Format = Format()
    response_actions: tuple[ResponseAction, ...] = ()
    limits: RequestLimits = RequestLimits()
    allowed_hosts: tuple[str, ...] = ()
