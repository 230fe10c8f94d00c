"""A REST API as a source. The vocabulary is dlt's ``rest_api``, in camelCase."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from weir.api.v1alpha1.common import (
    Duration,
    Model,
    Path,
    Schedule,
    TimeZone,
    cel,
    exactly_one,
    rules,
    string_set,
)

Header = Annotated[str, StringConstraints(max_length=4096)]
Url = Annotated[
    str,
    StringConstraints(
        min_length=8, max_length=2048, pattern=r"^https?://[^\s/?#@{}]+([/?][^\s#]*)?$"
    ),
]
Address = Annotated[
    str,
    StringConstraints(
        min_length=5,
        max_length=2048,
        pattern=r"^(https?://[^\s/?#@{}]+([/?][^\s#]*)?|\{job\.[^\s{}]+\})$",
    ),
]
Host = Annotated[
    str, StringConstraints(min_length=1, max_length=253, pattern=r"^(\*\.)?[A-Za-z0-9.:-]+$")
]
Param = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Secret = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
PlainSecret = Annotated[
    str, StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9/_+=.@-]+$")
]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
]
Method = Literal["GET", "POST", "PUT"]

_HEADER_NAMES = rules(
    cel(
        "self.all(k, k.matches('^[A-Za-z0-9!#$%&*+.^_|~-]{1,128}$'))",
        "a header's name has letters, digits and - only",
    )
)
_FREE: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
_LIST: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}

Headers = Annotated[dict[str, Header], Field(max_length=50)]
Params = Annotated[dict[str, Header], Field(max_length=50)]
Texts = Annotated[list[Param], Field(max_length=50)]


class Paginator(Model):
    """How one page leads to the next."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "self.type != 'cursor' || has(self.cursorPath) != has(self.cursorHeader)",
                "a cursor paginator needs cursorPath or cursorHeader, one of them",
            ),
            cel(
                "self.type == 'cursor' || (!has(self.cursorPath) && !has(self.cursorHeader))",
                "cursorPath and cursorHeader belong to type cursor",
            ),
            cel(
                "self.type == 'link' || !has(self.nextPath)",
                "nextPath belongs to type link",
            ),
        )
    )

    type: Literal["auto", "single", "pageNumber", "offset", "cursor", "link"] = Field(
        description="auto: told from the first answer. single: one answer is all. pageNumber and "
        "offset count in a query parameter. cursor takes a token from the answer. link follows "
        "nextPath in the body, or the header Link."
    )
    page_param: Param = Field("page", description="Query parameter of the page's number.")
    page_body_path: Path | None = Field(
        None, description="Place in the body that takes the page's number instead."
    )
    base_page: Annotated[int, Field(ge=0, le=1)] = Field(1, description="First page's number.")
    offset_param: Param = Field("offset", description="Query parameter of the offset.")
    offset_body_path: Path | None = Field(
        None, description="Place in the body that takes the offset instead."
    )
    limit_param: Param | None = Field(None, description="Query parameter of the page's size.")
    limit_body_path: Path | None = Field(
        None, description="Place in the body that takes the page's size instead."
    )
    page_size: Annotated[int, Field(ge=1, le=100_000)] = Field(100, description="Rows a page.")
    total_path: Path | None = Field(
        None, description="Where the body gives the number of pages (pageNumber) or rows (offset)."
    )
    cursor_path: Path | None = Field(
        None,
        description="Where the body gives the next cursor; of the last record: data[-1].id.",
    )
    cursor_header: Param | None = Field(None, description="Header that gives the next cursor.")
    cursor_param: Param = Field("cursor", description="Query parameter of the cursor.")
    cursor_body_path: Path | None = Field(
        None, description="Place in the body that takes the cursor instead."
    )
    next_path: Path | None = Field(
        None, description="Where the body gives the next URL. Default: the header Link, rel=next."
    )
    has_more_path: Path | None = Field(
        None, description="Where the body says whether there is more; false ends it."
    )
    stop_after_empty_page: bool = Field(True, description="A page without rows ends it.")
    maximum_page: Annotated[int, Field(ge=0, le=10_000_000)] | None = Field(
        None, description="Last page asked for, whatever the source says."
    )
    maximum_offset: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Last offset asked for, whatever the source says."
    )


class Incremental(Model):
    """Ask only for what is new since the last run."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("!has(self.step) || has(self.initialValue)", "step needs an initialValue"),
            cel(
                "!has(self.lag) || !has(self.lagNumber)",
                "lag is for moments and lagNumber for numbers: set one of them",
            ),
        )
    )

    cursor_path: Path = Field(description="Where a record gives the value that only grows.")
    start_param: Param | None = Field(
        None,
        description="Query parameter that takes the start. {incremental.startValue} puts it "
        "elsewhere.",
    )
    end_param: Param | None = Field(
        None,
        description="Query parameter that takes the end. {incremental.endValue} puts it elsewhere.",
    )
    initial_value: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        None, description="Start of the first run."
    )
    lag: Duration | None = Field(
        None, description="How far to go back behind the cursor, for records that appear late."
    )
    lag_number: Annotated[int, Field(ge=1)] | None = Field(
        None, description="The same for a cursor that is a number."
    )
    step: Duration | None = Field(
        None, description="Ask for windows of this length, up to the run's scheduled time."
    )
    format: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        "iso",
        description="How the source wants moments: iso, date, epochSeconds, epochMillis, or a strftime "
        "pattern such as %Y-%m-%d %H:%M:%S.",
    )
    timezone: TimeZone = Field(
        "UTC", description="IANA zone of dates, and of moments without an offset."
    )
    deduplicate: bool = Field(
        True,
        description="Drop records at the start that came before and have not changed; without "
        "startParam, also those before it.",
    )


class RequestLimits(Model):
    """Bounds on what one extraction asks and takes."""

    timeout: Duration = Field("30s", description="For one request.")
    max_attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        5, description="Tries of one request, the first included."
    )
    max_response_bytes: Annotated[int, Field(ge=1024, le=1_073_741_824)] = Field(
        52_428_800, description="Bytes of one answer."
    )
    max_pages: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        100_000, description="Pages of one extraction."
    )
    requests_per_second: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="Requests a second at most, of all runs of the source together."
    )
    requests_per_minute: Annotated[int, Field(ge=1, le=60_000)] | None = Field(
        None, description="Requests a minute at most, of all runs of the source together."
    )
    concurrency: Annotated[int, Field(ge=1, le=64)] = Field(
        16, description="Requests under way at once, of all runs of the source together."
    )


class BearerAuth(Model):
    """Authorization: Bearer."""

    token: Secret = Field(description="${SECRET:name}.")


class ApiKeyAuth(Model):
    """A key in a header, a query parameter or a cookie."""

    name: Param = Field("Authorization", description="Name of the header, parameter or cookie.")
    value: Secret = Field(description="${SECRET:name}.")
    location: Literal["header", "query", "cookie"] = Field("header", description="Where it goes.")


class HttpBasicAuth(Model):
    """Authorization: Basic."""

    username: Annotated[str, StringConstraints(max_length=2048)] = Field(
        description="Name, or ${SECRET:name#username}; may be empty, where the key is the password."
    )
    password: Annotated[str, StringConstraints(max_length=2048)] = Field(
        description="${SECRET:name#password}; may be empty."
    )


class OAuth2ClientCredentials(Model):
    """OAuth 2, client credentials grant."""

    token_url: Url = Field(description="Where the token is asked for.")
    client_id: Secret = Field(description="Id, or ${SECRET:name#clientId}.")
    client_secret: Secret = Field(description="${SECRET:name#clientSecret}.")
    scopes: Texts = Field(default_factory=list, description="Scopes.", json_schema_extra=_LIST)
    params: Params = Field(
        default_factory=dict, description="Further form fields, such as audience."
    )
    client_auth: Literal["body", "basic"] = Field(
        "body", description="Id and secret in the form, or as HTTP basic."
    )
    token_path: Path = Field("access_token", description="Where the answer has the token.")
    expires_path: Path = Field(
        "expires_in", description="Where the answer has its lifetime in seconds."
    )


class OAuth2RefreshToken(Model):
    """OAuth 2, refresh token grant, also where each answer has a new refresh token."""

    token_url: Url = Field(description="Where the token is asked for.")
    secret: PlainSecret = Field(
        description="Secret of the namespace that is a JSON object and has the refresh token."
    )
    refresh_token_key: Param = Field(
        "refresh_token", description="The secret's key with the refresh token."
    )
    rotate: bool = Field(
        False,
        description="Write a new refresh token back into the secret. The function's role may then "
        "write this secret, and no other.",
    )
    client_id: Annotated[str, StringConstraints(max_length=2048)] = Field(
        "", description="Id, or ${SECRET:name#clientId}."
    )
    client_secret: Annotated[str, StringConstraints(max_length=2048)] = Field(
        "", description="${SECRET:name#clientSecret}."
    )
    scopes: Texts = Field(default_factory=list, description="Scopes.", json_schema_extra=_LIST)
    params: Params = Field(default_factory=dict, description="Further form fields.")
    client_auth: Literal["body", "basic"] = Field(
        "body", description="Id and secret in the form, or as HTTP basic."
    )
    token_path: Path = Field("access_token", description="Where the answer has the token.")
    expires_path: Path = Field(
        "expires_in", description="Where the answer has its lifetime in seconds."
    )


class JwtAuth(Model):
    """A JSON web token that is signed with a key from a secret."""

    key: Secret = Field(description="${SECRET:name#privateKey}: PEM, or text for HS256.")
    algorithm: Literal["RS256", "ES256", "HS256"] = Field("RS256", description="Signature.")
    key_id: Param | None = Field(None, description="The header's kid.")
    claims: dict[str, Any] = Field(
        default_factory=dict,
        description="Claims beside iat, exp and jti: iss, sub, aud, scope.",
        json_schema_extra=_FREE,
    )
    lifetime: Duration = Field("10m", description="Until exp.")
    header: Param = Field("Authorization", description="Header that takes the token.")
    scheme: Annotated[str, StringConstraints(max_length=64)] = Field(
        "Bearer", description="Word before the token; may be empty."
    )
    token_url: Url | None = Field(
        None, description="Where the token is exchanged for an access token (RFC 7523)."
    )
    token_path: Path = Field("access_token", description="Where its answer has the token.")
    expires_path: Path = Field("expires_in", description="Where it has the lifetime in seconds.")


class SessionTokenAuth(Model):
    """A login whose answer has a token."""

    login_url: Url = Field(description="Where to log in.")
    method: Method = Field("POST", description="HTTP method.")
    headers: Headers = Field(
        default_factory=dict, description="Headers; may hold ${SECRET:...}.",
        json_schema_extra=_HEADER_NAMES,
    )  # fmt: skip
    params: Params = Field(
        default_factory=dict, description="Query parameters; may hold ${SECRET:...}."
    )
    body: dict[str, Any] | None = Field(
        None, description="JSON body; may hold ${SECRET:...}.", json_schema_extra=_FREE
    )
    form: Params = Field(default_factory=dict, description="Form; may hold ${SECRET:...}.")
    token_path: Path = Field(description="Where the answer has the token.")
    header: Param = Field("Authorization", description="Header that takes the token.")
    scheme: Annotated[str, StringConstraints(max_length=64)] = Field(
        "Bearer", description="Word before the token; may be empty."
    )
    lifetime: Duration = Field("1h", description="After this the next login.")


class AwsSigV4Auth(Model):
    """AWS Signature Version 4."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "has(self.accessKeyId) == has(self.secretAccessKey)",
                "accessKeyId and secretAccessKey belong together",
            )
        )
    )

    service: Param = Field(description="AWS's name of the service: execute-api, es, s3.")
    region: Annotated[
        str, StringConstraints(max_length=32, pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")
    ] = Field(description="Region.")
    access_key_id: Secret | None = Field(
        None, description="${SECRET:name#accessKeyId}. Default: the function's own role, for AWS hosts."
    )  # fmt: skip
    secret_access_key: Secret | None = Field(None, description="${SECRET:name#secretAccessKey}.")
    session_token: Secret | None = Field(None, description="${SECRET:name#sessionToken}.")


class Auth(Model):
    """How requests are authenticated."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            exactly_one(
                "bearer",
                "apiKey",
                "httpBasic",
                "oauth2ClientCredentials",
                "oauth2RefreshToken",
                "jwt",
                "sessionToken",
                "awsSigV4",
            )
        )
    )

    bearer: BearerAuth | None = Field(None, description="Authorization: Bearer.")
    api_key: ApiKeyAuth | None = Field(None, description="A key in header, query or cookie.")
    http_basic: HttpBasicAuth | None = Field(None, description="Name and password.")
    oauth2_client_credentials: OAuth2ClientCredentials | None = Field(
        None, description="OAuth 2 with the client's own credentials."
    )
    oauth2_refresh_token: OAuth2RefreshToken | None = Field(
        None, description="OAuth 2 with a refresh token."
    )
    jwt: JwtAuth | None = Field(None, description="A JSON web token signed here.")
    session_token: SessionTokenAuth | None = Field(None, description="A token from a login.")
    aws_sig_v4: AwsSigV4Auth | None = Field(None, description="AWS Signature Version 4.")


class ResponseAction(Model):
    """What to do with certain answers."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("has(self.status) || has(self.content)", "state status, content or both")
        )
    )

    status: (
        Annotated[str, StringConstraints(max_length=3, pattern=r"^[1-5]([0-9]{2}|xx)$")] | None
    ) = Field(None, description="Status: 404, or 5xx for all of a hundred.")
    content: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = Field(
        None, description="Text that the body has."
    )
    action: Literal["ignore", "retry", "fail"] = Field(
        description="ignore: no rows, no further page. retry: another attempt. fail: end the run."
    )
    message: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        None, description="What it means, for the object's condition."
    )


class Parent(Model):
    """A resource whose records say what to ask for: once for each."""

    name: Name = Field(description="Name in placeholders: {resources.<name>.<path>}.")
    endpoint: Url = Field(description="URL.")
    method: Method = Field("GET", description="HTTP method.")
    headers: Headers = Field(
        default_factory=dict, description="Request headers.", json_schema_extra=_HEADER_NAMES
    )
    params: Params = Field(default_factory=dict, description="Query parameters.")
    body: dict[str, Any] | None = Field(None, description="JSON body.", json_schema_extra=_FREE)
    form: Params = Field(default_factory=dict, description="Form, instead of a JSON body.")
    data_selector: Path | None = Field(None, description="JSONPath to the records.")
    paginator: Paginator | None = Field(None, description="Default: single.")
    include: Annotated[dict[str, Path], Field(max_length=50)] = Field(
        default_factory=dict,
        description="Fields that each landed record gets: name -> path in the parent's record.",
        json_schema_extra=rules(
            cel(
                "self.all(k, k.matches('^[A-Za-z_][A-Za-z0-9_$]{0,126}$'))",
                "a field's name has letters, digits and _ only",
            )
        ),
    )


class AsyncJob(Model):
    """The endpoint creates a job; its result is read when it is done."""

    status_url: Address = Field(
        description="Where its state is asked for; {job.<path>} is of the creating answer, "
        "{job.location} its header Location."
    )
    status_path: Path = Field("status", description="Where that answer has the state.")
    completed: Annotated[list[Param], Field(min_length=1, max_length=10)] = Field(
        description="States that mean that it is done.", json_schema_extra=_LIST
    )
    failed: Annotated[list[Param], Field(max_length=10)] = Field(
        default_factory=list, description="States that mean failure.", json_schema_extra=_LIST
    )
    interval: Duration = Field("10s", description="Between two looks.")
    timeout: Duration = Field("1h", description="After this it has failed.")
    download_url: Address = Field(
        description="What is read then, page by page; {job.<path>} is of the last state, or of the "
        "creating answer."
    )


class ResponseFormat(Model):
    """How answers are written."""

    type: Literal["json", "jsonLines", "csv", "xml"] = Field("json", description="Format.")
    encoding: Annotated[
        str, StringConstraints(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9_.-]+$")
    ] = Field("utf-8", description="Encoding of CSV.")
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] = Field(
        ",", description="Between CSV's fields."
    )
    header: bool = Field(True, description="CSV's first line names the columns.")
    columns: Annotated[list[Param], Field(max_length=1600)] = Field(
        default_factory=list,
        description="Names of CSV's columns; else the header's, or column1, column2, ...",
        json_schema_extra=_LIST,
    )


class RestApi(Model):
    """A REST API."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("!has(self.body) || !has(self.form)", "a request has a body or a form, not both"),
            cel(
                "!has(self.body) && !has(self.form) || self.method != 'GET'",
                "a GET has no body: use method POST",
            ),
        )
    )

    endpoint: Url = Field(
        description="URL. Credentials belong into auth or headers, as ${SECRET:name}. Its path may "
        "hold {resources.<parent>.<path>}."
    )
    method: Method = Field("GET", description="HTTP method.")
    auth: Auth | None = Field(None, description="How requests are authenticated.")
    headers: Headers = Field(
        default_factory=dict,
        description="Request headers; a value may hold ${SECRET:name} or ${SECRET:name#jsonKey}.",
        json_schema_extra=_HEADER_NAMES,
    )
    params: Params = Field(
        default_factory=dict,
        description="Query parameters; may hold ${SECRET:...}, {incremental.startValue} and "
        "{resources.<parent>.<path>}.",
    )
    body: dict[str, Any] | None = Field(
        None,
        description="JSON body of a POST; may hold what params may.",
        json_schema_extra=_FREE,
    )
    form: Params = Field(
        default_factory=dict, description="Form of a POST, instead of a JSON body."
    )
    schedule: Schedule = Field(
        description="When to ask: rate(1 hour), or cron(0 6 * * ? *). At least one minute apart."
    )
    timezone: TimeZone = Field("UTC", description="IANA zone of a cron schedule.")
    data_selector: Path | None = Field(
        None,
        description="JSONPath to the rows. Default: the answer itself if it is a list, else the "
        "list under data, results, items, records or value, else the object as one row.",
    )
    format: ResponseFormat | None = Field(None, description="Default: JSON.")
    paginator: Paginator | None = Field(None, description="Default: single.")
    incremental: Incremental | None = Field(None, description="Default: everything, each time.")
    parents: Annotated[list[Parent], Field(max_length=3)] = Field(
        default_factory=list,
        description="Resources whose records say what to ask for, from the outermost.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    async_job: AsyncJob | None = Field(
        None, description="The endpoint creates a job, whose result is then read."
    )
    response_actions: Annotated[list[ResponseAction], Field(max_length=20)] = Field(
        default_factory=list,
        description="What to do with certain answers; the first that fits counts.",
        json_schema_extra=_LIST,
    )
    limits: RequestLimits = Field(default_factory=RequestLimits, description="Bounds.")
    allowed_hosts: Annotated[list[Host], Field(max_length=20)] = Field(
        default_factory=list,
        description="Hosts beside the endpoint's own that may get its credentials.",
        json_schema_extra=string_set(),
    )
