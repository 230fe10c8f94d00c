"""How requests are authenticated: one small class a kind, and a table of them.

Credentials go to the endpoint's origin and to ``allowedHosts`` only; a token's URL and a login get
those of their own request only, under the same rules of egress.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from urllib3.exceptions import HTTPError

from weir_contract.rest import (
    ApiKeyAuth,
    Auth,
    AwsSigV4Auth,
    BearerAuth,
    HttpBasicAuth,
    JwtAuth,
    OAuth2ClientCredentials,
    OAuth2RefreshToken,
    SessionTokenAuth,
)
from weir_contract.sources import Egress
from weir_lambdas.api_ingestion.client import AGAIN
from weir_lambdas.api_ingestion.jwt import signed_token
from weir_lambdas.api_ingestion.requests import FORM, USER_AGENT, with_params
from weir_lambdas.api_ingestion.sigv4 import sign
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.egress import EgressClient, Request, Resolver, without_query
from weir_lambdas.common.errors import (
    ConfigInvalid,
    SourceBadAnswer,
    SourceUnauthorized,
    SourceUnavailable,
)
from weir_lambdas.common.log import REDACTOR, log
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.landing.paths import lookup
from weir_lambdas.landing.records import as_text, parse

DEFAULT_LIFETIME_SECONDS = 3600.0
"""Of an access token whose answer does not say."""

EARLY_SECONDS = 60.0
"""A token is fetched anew so long before it ends, or at a tenth of its life if that is less."""

MAX_TOKEN_BYTES = 256 * 1024
TOKEN_ATTEMPTS = 4
TOKEN_MARK = "${TOKEN}"
"""What stands for an access token in a stored position."""


@dataclass(frozen=True)
class Around:
    """What an authenticator may use."""

    secrets: Secrets
    clock: Clock
    egress: Egress
    resolver: Resolver
    trusted: Callable[[str], bool]
    timeout: float


def add_headers(request: Request, **headers: str) -> Request:
    """The request with headers added; one of the same name, in any case, is replaced."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return with_headers(request, named)


def with_headers(request: Request, headers: Mapping[str, str]) -> Request:
    """The request with headers added; one of the same name, in any case, is replaced."""
    lowered = {name.lower() for name in headers}
    kept = {k: v for k, v in (request.headers or {}).items() if k.lower() not in lowered}
    return replace(request, headers=kept | dict(headers))


class Static:
    """Credentials that are the same for every request.

    Parameters
    ----------
    put
        Request -> the same with the credentials.
    """

    def __init__(self, put: Callable[[Request], Request]) -> None:
        self._put = put

    def apply(self, request: Request) -> Request:
        """The request with the credentials."""
        return self._put(request)

    def renew(self, _request: Request) -> bool:
        """Nothing better is known."""
        return False

    def conceal(self, text: str) -> str:
        """There is no token of our own."""
        return text

    def reveal(self, text: str) -> str:
        """There is no token of our own."""
        return text


@dataclass(frozen=True)
class Token:
    """A token and the moment, on the monotonic clock, at which a new one is fetched."""

    text: str
    until: float


class Renewed(Static):
    """A token that is fetched, used until shortly before its end, and fetched again.

    Parameters
    ----------
    fetch
        Gives a token and its lifetime in seconds (None: not told).
    header, scheme
        Where it goes: ``header: <scheme> <token>``.
    """

    def __init__(
        self,
        fetch: Callable[[], tuple[str, float | None]],
        clock: Clock,
        header: str = "Authorization",
        scheme: str = "Bearer",
    ) -> None:
        super().__init__(self._with_token)
        self._fetch, self._clock = fetch, clock
        self._header, self._scheme = header, scheme
        self._lock = threading.Lock()
        self._token: Token | None = None

    def _with_token(self, request: Request) -> Request:
        value = f"{self._scheme} {self._current()}".strip()
        return with_headers(request, {self._header: value})

    def _current(self) -> str:
        with self._lock:
            if self._token is None or self._clock.monotonic() >= self._token.until:
                text, lifetime = self._fetch()
                REDACTOR.learn(text)
                seconds = DEFAULT_LIFETIME_SECONDS if lifetime is None else max(lifetime, 0.0)
                early = min(EARLY_SECONDS, seconds / 10)
                self._token = Token(text, self._clock.monotonic() + seconds - early)
            return self._token.text

    def renew(self, _request: Request) -> bool:
        """Forget the token, unless another thread has a newer one already."""
        with self._lock:
            used = (_request.headers or {}).get(self._header, "")
            if self._token is not None and used.endswith(self._token.text):
                self._token = None
        return True

    def conceal(self, text: str) -> str:
        """The text without the token, which a source may echo into its next link."""
        token = self._token
        return text.replace(token.text, TOKEN_MARK) if token else text

    def reveal(self, text: str) -> str:
        """The text with the present token."""
        return text.replace(TOKEN_MARK, self._current()) if TOKEN_MARK in text else text


def ask_for_token(around: Around, request: Request) -> Any:
    """The JSON that a token's URL or a login answers.

    Raises
    ------
    SourceUnauthorized
        It refuses the client's credentials (400, 401, 403).
    SourceUnavailable, SourceBadAnswer
        It failed on every attempt; it answers what is no JSON.
    """
    client = EgressClient(around.egress, request.url, (), around.resolver)
    where = without_query(request.url)
    last = ""
    for attempt in range(1, TOKEN_ATTEMPTS + 1):
        try:
            answer, _ = client.send(request)
            try:
                status = answer.status
                body = answer.read(MAX_TOKEN_BYTES, decode_content=True)
            finally:
                answer.close()
        except HTTPError as error:
            last = type(error).__name__
        else:
            if status in (200, 201):
                try:
                    return parse(body)
                except ValueError as error:
                    raise SourceBadAnswer("the token's answer is no JSON", where) from error
            if status in (400, 401, 403):
                raise SourceUnauthorized(f"{status}: no token is given{_reason(body)}", where)
            if status not in AGAIN:
                raise SourceBadAnswer(f"{status}, where a token was expected", where)
            last = str(status)
        if attempt < TOKEN_ATTEMPTS:
            around.clock.sleep(0.5 * 2**attempt)
    raise SourceUnavailable(f"{last}: no token on {TOKEN_ATTEMPTS} attempts", where)


def _reason(body: bytes) -> str:
    """OAuth's error code (RFC 6749, 5.2): a word from a short list, never free text."""
    try:
        code = lookup(parse(body), "error")
    except ValueError:
        return ""
    known = isinstance(code, str) and len(code) < 40 and code.replace("_", "").isalpha()
    return f" ({code})" if known else ""


def _form(around: Around, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Request:
    base = {"Accept": "application/json", "User-Agent": USER_AGENT, "Content-Type": FORM}
    body = urlencode(dict(form)).encode()
    return Request(url, "POST", base | dict(headers), body, around.timeout)


def _token_in(data: Any, token_path: str, expires_path: str, url: str) -> tuple[str, float | None]:
    text = as_text(lookup(data, token_path))
    if not text:
        raise SourceBadAnswer(f"the answer has no token at {token_path!r}", without_query(url))
    seconds = as_text(lookup(data, expires_path)) if expires_path else None
    try:
        return text, float(seconds) if seconds is not None else None
    except ValueError:
        return text, None


def _client(
    spec: OAuth2ClientCredentials | OAuth2RefreshToken, around: Around
) -> tuple[dict[str, str], dict[str, str]]:
    """The client's part of a token request: form fields and headers (RFC 6749, 2.3.1)."""
    fill = around.secrets.fill
    name, secret = fill(spec.client_id), fill(spec.client_secret)
    form = {key: fill(value) for key, value in spec.params.items()}
    if spec.scopes:
        form["scope"] = " ".join(spec.scopes)
    if spec.client_auth == "basic":
        return form, {"Authorization": _basic(quote(name, safe=""), quote(secret, safe=""))}
    if name:
        form["client_id"] = name
    if secret:
        form["client_secret"] = secret
    return form, {}


def _basic(username: str, password: str) -> str:
    value = base64.b64encode(f"{username}:{password}".encode()).decode()
    REDACTOR.learn(value)
    return f"Basic {value}"


def _bearer(spec: BearerAuth, around: Around) -> Static:
    token = around.secrets.fill
    return Static(lambda request: add_headers(request, Authorization=f"Bearer {token(spec.token)}"))


def _http_basic(spec: HttpBasicAuth, around: Around) -> Static:
    fill = around.secrets.fill

    def put(request: Request) -> Request:
        value = _basic(fill(spec.username), fill(spec.password))
        return add_headers(request, Authorization=value)

    return Static(put)


def _api_key(spec: ApiKeyAuth, around: Around) -> Static:
    def put(request: Request) -> Request:
        value = around.secrets.fill(spec.value)
        if spec.location == "header":
            return with_headers(request, {spec.name: value})
        if spec.location == "query":
            if not around.trusted(request.url):
                return request
            return replace(request, url=with_params(request.url, {spec.name: value}))
        cookie = f"{spec.name}={value}"
        before = next((v for k, v in request.headers.items() if k.lower() == "cookie"), "")
        return with_headers(request, {"Cookie": f"{before}; {cookie}" if before else cookie})

    return Static(put)


def _client_credentials(spec: OAuth2ClientCredentials, around: Around) -> Static:
    def fetch() -> tuple[str, float | None]:
        form, headers = _client(spec, around)
        form["grant_type"] = "client_credentials"
        data = ask_for_token(around, _form(around, spec.token_url, form, headers))
        return _token_in(data, spec.token_path, spec.expires_path, spec.token_url)

    return Renewed(fetch, around.clock)


def _refresh_token(spec: OAuth2RefreshToken, around: Around) -> Static:
    def ask(refresh: str) -> Any:
        form, headers = _client(spec, around)
        form |= {"grant_type": "refresh_token", "refresh_token": refresh}
        return ask_for_token(around, _form(around, spec.token_url, form, headers))

    def read() -> tuple[dict[str, Any], str, str]:
        data, version = around.secrets.document(spec.secret)
        refresh = as_text(data.get(spec.refresh_token_key))
        if not refresh:
            raise ConfigInvalid(
                f"the secret {spec.secret!r} has no key {spec.refresh_token_key!r}",
                "restApi.auth.oauth2RefreshToken",
            )
        return data, version, refresh

    def fetch() -> tuple[str, float | None]:
        data, version, refresh = read()
        try:
            answer = ask(refresh)
        except SourceUnauthorized:
            # Another source that shares the secret may have rotated it since it was read.
            data, version, newer = read()
            if newer == refresh:
                raise
            refresh = newer
            answer = ask(refresh)
        rotated = as_text(lookup(answer, "refresh_token"))
        if rotated and rotated != refresh:
            REDACTOR.learn(rotated)
            if spec.rotate:
                # Before the access token is used: a crash from here on loses nothing.
                changed = {**data, spec.refresh_token_key: rotated}
                if not around.secrets.rotate(spec.secret, changed, version):
                    log("WARNING", "the secret was changed by another meanwhile", name=spec.secret)
            else:
                log("WARNING", "a new refresh token is not kept: rotate is off", name=spec.secret)
        return _token_in(answer, spec.token_path, spec.expires_path, spec.token_url)

    return Renewed(fetch, around.clock)


def _jwt(spec: JwtAuth, around: Around) -> Static:
    def own() -> tuple[str, float | None]:
        claims = around.secrets.fill_all(spec.claims)
        if spec.token_url:
            claims = {"aud": spec.token_url} | claims
        key = around.secrets.fill(spec.key)
        now = around.clock.now().timestamp()
        text = signed_token(key, spec.algorithm, claims, now, spec.lifetime_seconds, spec.key_id)
        return text, float(spec.lifetime_seconds)

    def exchanged() -> tuple[str, float | None]:
        url = spec.token_url or ""
        assertion, _ = own()
        REDACTOR.learn(assertion)
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        data = ask_for_token(around, _form(around, url, form, {}))
        return _token_in(data, spec.token_path, spec.expires_path, url)

    if spec.token_url:
        return Renewed(exchanged, around.clock, spec.header, spec.scheme)
    return Renewed(own, around.clock, spec.header, spec.scheme)


def _session(spec: SessionTokenAuth, around: Around) -> Static:
    def fetch() -> tuple[str, float | None]:
        fill = around.secrets.fill
        headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
        headers |= {name: fill(value) for name, value in spec.headers.items()}
        body: bytes | None = None
        if spec.form:
            body = urlencode({key: fill(value) for key, value in spec.form.items()}).encode()
            headers.setdefault("Content-Type", FORM)
        elif spec.body:
            body = json.dumps(around.secrets.fill_all(spec.body)).encode()
            headers.setdefault("Content-Type", "application/json")
        params = {key: fill(value) for key, value in spec.params.items()}
        url = with_params(spec.login_url, params) if params else spec.login_url
        request = Request(url, spec.method, headers, body, around.timeout)
        data = ask_for_token(around, request)
        text, _ = _token_in(data, spec.token_path, "", spec.login_url)
        return text, float(spec.lifetime_seconds)

    return Renewed(fetch, around.clock, spec.header, spec.scheme)


def _sigv4(spec: AwsSigV4Auth, around: Around) -> Static:
    def put(request: Request) -> Request:
        if not around.trusted(request.url):
            return request

        def filled(text: str | None) -> str | None:
            return around.secrets.fill(text) if text else None

        keys = (
            filled(spec.access_key_id),
            filled(spec.secret_access_key),
            filled(spec.session_token),
        )
        if keys[0] is None and not _is_aws(request.url):
            raise ConfigInvalid(
                "the function's own role signs for AWS hosts only; state accessKeyId and "
                "secretAccessKey for others",
                "restApi.auth.awsSigV4",
            )
        return with_headers(request, sign(request, spec.service, spec.region, keys))

    return Static(put)


def _is_aws(url: str) -> bool:
    host = (urlsplit(url).hostname or "").lower()
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".on.aws", ".api.aws"))


KINDS: Mapping[str, Callable[[Any, Around], Static]] = {
    "bearer": _bearer,
    "api_key": _api_key,
    "http_basic": _http_basic,
    "oauth2_client_credentials": _client_credentials,
    "oauth2_refresh_token": _refresh_token,
    "jwt": _jwt,
    "session_token": _session,
    "aws_sig_v4": _sigv4,
}
"""Member of ``auth`` -> its authenticator."""


def authenticator(auth: Auth, around: Around) -> Static:
    """The authenticator of a source; one that does nothing where none is stated.

    Raises
    ------
    ConfigInvalid
        More than one is stated.
    """
    stated = [name for name in KINDS if getattr(auth, name) is not None]
    if len(stated) > 1:
        raise ConfigInvalid(f"one of {', '.join(stated)}, not several", "restApi.auth")
    if not stated:
        return Static(lambda request: request)
    return KINDS[stated[0]](getattr(auth, stated[0]), around)
