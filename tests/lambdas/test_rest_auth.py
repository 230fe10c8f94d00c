"""Every kind of authentication against a real HTTP server that checks it."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from rest_rig import SecretStore, read
from weir_contract.rest import (
    ApiKeyAuth,
    Auth,
    AwsSigV4Auth,
    BearerAuth,
    HttpBasicAuth,
    JwtAuth,
    OAuth2ClientCredentials,
    OAuth2RefreshToken,
    Paginator,
    RequestLimits,
    RestApi,
    SessionTokenAuth,
)
from weir_contract.sources import Egress
from weir_lambdas.common.errors import (
    ConfigInvalid,
    EgressRefused,
    SecretMissing,
    SourceUnauthorized,
)
from weir_lambdas.common.log import REDACTOR

ROWS = b'[{"id":1}]'
STORE = {"key": "s3cr3t-value", "login": json.dumps({"user": "ann", "password": "pass-word"})}

STATIC = [
    (Auth(bearer=BearerAuth("${SECRET:key}")), "Authorization", "Bearer s3cr3t-value"),
    (Auth(api_key=ApiKeyAuth("${SECRET:key}", "X-Key")), "X-Key", "s3cr3t-value"),
    (
        Auth(api_key=ApiKeyAuth("${SECRET:key}", "session", "cookie")),
        "Cookie",
        "session=s3cr3t-value",
    ),
    (
        Auth(http_basic=HttpBasicAuth("${SECRET:login#user}", "${SECRET:login#password}")),
        "Authorization",
        "Basic " + base64.b64encode(b"ann:pass-word").decode(),
    ),
]


@pytest.mark.parametrize(("auth", "header", "value"), STATIC)
def test_credentials_go_into_their_header(
    api: Any, clock: Any, auth: Auth, header: str, value: str
) -> None:
    api.answer = lambda call, http: (200, {}, ROWS)
    read(RestApi(api.url, auth=auth), clock, SecretStore(dict(STORE)))
    assert api.calls[0].headers[header] == value


def test_a_key_in_the_query_stays_with_its_origin_and_out_of_positions(
    api: Any, other_api: Any, clock: Any
) -> None:
    api.answer = lambda call, http: (
        200,
        {"Link": f"<{other_api.url}/next?echo={call.query['key']}>; rel=next"},
        ROWS,
    )
    other_api.answer = lambda call, http: (200, {}, ROWS)
    source = RestApi(
        api.url,
        auth=Auth(api_key=ApiKeyAuth("${SECRET:key}", "key", "query")),
        paginator=Paginator("link"),
    )
    cut = read(source, clock, SecretStore(dict(STORE)), enough=lambda: True)
    assert "s3cr3t-value" not in json.dumps(cut.position)
    read(source, clock, SecretStore(dict(STORE)), after=cut)
    assert api.calls[0].query["key"] == "s3cr3t-value"
    assert "key" not in other_api.calls[0].query


def token_server(other_api: Any, **answers: Any) -> list[dict[str, str]]:
    """Gives tokens t1, t2, ... and keeps the forms that it was sent."""
    forms: list[dict[str, str]] = []

    def answer(call: Any, http: Any) -> Any:
        forms.append({name: values[0] for name, values in parse_qs(call.body.decode()).items()})
        body = {"access_token": f"token-{len(forms)}", "expires_in": 3600} | answers
        return 200, {}, json.dumps(body).encode()

    other_api.answer = answer
    return forms


def test_client_credentials_give_a_token_that_is_used_until_it_ends(
    api: Any, other_api: Any, clock: Any
) -> None:
    forms = token_server(other_api, expires_in=100)
    seen: list[str] = []

    def answer(call: Any, http: Any) -> Any:
        seen.append(call.headers["Authorization"])
        clock.pass_time(40)
        return 200, {}, json.dumps({"data": [{"n": len(seen)}], "pages": 4}).encode()

    api.answer = answer
    spec = OAuth2ClientCredentials(
        f"{other_api.url}/token", "me", "${SECRET:key}", ("a", "b"), {"audience": "x"}
    )
    source = RestApi(
        api.url,
        auth=Auth(oauth2_client_credentials=spec),
        paginator=Paginator("pageNumber", total_path="pages"),
        limits=RequestLimits(concurrency=1),
    )
    read(source, clock, SecretStore(dict(STORE)))
    assert seen == ["Bearer token-1"] * 3 + ["Bearer token-2"]
    assert forms[0] == {
        "grant_type": "client_credentials",
        "client_id": "me",
        "client_secret": "s3cr3t-value",
        "scope": "a b",
        "audience": "x",
    }
    assert REDACTOR.text("token-1") == "***"


def test_a_token_that_is_refused_is_renewed_once(api: Any, other_api: Any, clock: Any) -> None:
    forms = token_server(other_api)
    api.answer = lambda call, http: (
        (200, {}, ROWS) if call.headers["Authorization"] == "Bearer token-2" else (401, {}, b"")
    )
    spec = OAuth2ClientCredentials(
        f"{other_api.url}/token", "me", "${SECRET:key}", client_auth="basic"
    )
    auth = Auth(oauth2_client_credentials=spec)
    assert read(RestApi(api.url, auth=auth), clock, SecretStore(dict(STORE))).rows == [{"id": 1}]
    basic = base64.b64encode(b"me:s3cr3t-value").decode()
    assert other_api.calls[0].headers["Authorization"] == f"Basic {basic}"
    assert "client_secret" not in forms[0]
    api.answer = lambda call, http: (401, {}, b"")
    with pytest.raises(SourceUnauthorized):
        read(RestApi(api.url, auth=auth), clock, SecretStore(dict(STORE)))
    assert len(api.calls) == 4


def test_a_token_url_obeys_the_rules_of_egress(api: Any, clock: Any) -> None:
    spec = OAuth2ClientCredentials("http://169.254.169.254/token", "me", "x")
    with pytest.raises(EgressRefused, match="metadata"):
        read(RestApi(api.url, auth=Auth(oauth2_client_credentials=spec)), clock)
    spec = OAuth2ClientCredentials(f"{api.url}/token", "me", "x")
    with pytest.raises(EgressRefused, match="loopback"):
        read(
            RestApi("https://api.example.com", auth=Auth(oauth2_client_credentials=spec)),
            clock,
            egress=Egress(),
        )
    assert not api.calls


REFRESH = {"refresh": json.dumps({"refresh_token": "old-refresh", "other": "kept"})}


def refreshing(other_api: Any, rotate: bool = True) -> Auth:
    spec = OAuth2RefreshToken(f"{other_api.url}/token", "refresh", "me", rotate=rotate)
    return Auth(oauth2_refresh_token=spec)


def test_a_rotated_refresh_token_is_written_back_before_it_is_needed(
    api: Any, other_api: Any, clock: Any
) -> None:
    forms = token_server(other_api, refresh_token="new-refresh")
    store = SecretStore(dict(REFRESH))

    def answer(call: Any, http: Any) -> Any:
        assert json.loads(store.values["refresh"])["refresh_token"] == "new-refresh"
        return 200, {}, ROWS

    api.answer = answer
    assert len(read(RestApi(api.url, auth=refreshing(other_api)), clock, store).rows) == 1
    assert json.loads(store.values["refresh"]) == {"refresh_token": "new-refresh", "other": "kept"}
    assert forms[0]["refresh_token"] == "old-refresh"
    read(RestApi(api.url, auth=refreshing(other_api)), clock, store)
    assert forms[1]["refresh_token"] == "new-refresh"
    assert store.writes == 1


def test_another_writers_rotation_is_never_overwritten(
    api: Any, other_api: Any, clock: Any
) -> None:
    store = SecretStore(dict(REFRESH))

    def answer(call: Any, http: Any) -> Any:
        store.current["refresh"] = "v2"
        store.values["refresh"] = '{"refresh_token": "theirs"}'
        return 200, {}, b'{"access_token": "t", "refresh_token": "ours"}'

    other_api.answer = answer
    api.answer = lambda call, http: (200, {}, ROWS)
    read(RestApi(api.url, auth=refreshing(other_api)), clock, store)
    assert json.loads(store.values["refresh"]) == {"refresh_token": "theirs"}


def test_a_refresh_token_that_another_has_rotated_is_read_anew(
    api: Any, other_api: Any, clock: Any
) -> None:
    store = SecretStore(dict(REFRESH))

    def answer(call: Any, http: Any) -> Any:
        if b"old-refresh" in call.body:
            store.values["refresh"] = '{"refresh_token": "theirs"}'
            return 400, {}, b'{"error": "invalid_grant"}'
        return 200, {}, b'{"access_token": "good"}'

    other_api.answer = answer
    api.answer = lambda call, http: (200, {}, ROWS)
    read(RestApi(api.url, auth=refreshing(other_api)), clock, store)
    assert api.calls[0].headers["Authorization"] == "Bearer good"


def test_a_refused_refresh_says_why_in_oauths_own_word(
    api: Any, other_api: Any, clock: Any
) -> None:
    other_api.answer = lambda call, http: (400, {}, b'{"error": "invalid_grant"}')
    with pytest.raises(SourceUnauthorized, match="invalid_grant") as caught:
        read(RestApi(api.url, auth=refreshing(other_api)), clock, SecretStore(dict(REFRESH)))
    assert "old-refresh" not in str(caught.value)
    with pytest.raises(SecretMissing, match="no JSON object"):
        read(RestApi(api.url, auth=refreshing(other_api)), clock, SecretStore({"refresh": "plain"}))


def _decoded(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    head, body, signature = token.split(".")

    def raw(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    return json.loads(raw(head)), json.loads(raw(body)), raw(signature), f"{head}.{body}".encode()


def _pem(key: Any) -> str:
    text: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return text.decode()


def test_a_json_web_token_has_a_signature_that_its_public_key_confirms(
    api: Any, clock: Any
) -> None:
    api.answer = lambda call, http: (200, {}, ROWS)
    rsa_key = rsa.generate_private_key(65537, 2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    store = SecretStore({"rsa": _pem(rsa_key), "ec": json.dumps({"pem": _pem(ec_key)})})
    claims = {"iss": "me", "aud": "them"}
    for spec in (
        JwtAuth("${SECRET:rsa}", key_id="k1", claims=claims),
        JwtAuth("${SECRET:ec#pem}", "ES256", claims=claims, header="X-Token", scheme=""),
    ):
        read(RestApi(api.url, auth=Auth(jwt=spec)), clock, store)
    first = api.calls[0].headers["Authorization"].removeprefix("Bearer ")
    header, body, signature, message = _decoded(first)
    rsa_key.public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    assert (header["alg"], header["kid"]) == ("RS256", "k1")
    assert (body["iss"], body["exp"] - body["iat"]) == ("me", 600)
    header, _, signature, message = _decoded(api.calls[1].headers["X-Token"])
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    encoded = utils.encode_dss_signature(r, s)
    ec_key.public_key().verify(encoded, message, ec.ECDSA(hashes.SHA256()))
    assert header["alg"] == "ES256"


def test_a_json_web_token_is_exchanged_where_there_is_a_token_url(
    api: Any, other_api: Any, clock: Any
) -> None:
    forms = token_server(other_api)
    api.answer = lambda call, http: (200, {}, ROWS)
    url = f"{other_api.url}/token"
    spec = JwtAuth("${SECRET:key}", "HS256", claims={"iss": "me"}, token_url=url)
    read(RestApi(api.url, auth=Auth(jwt=spec)), clock, SecretStore({"key": "k" * 32}))
    assert api.calls[0].headers["Authorization"] == "Bearer token-1"
    assert forms[0]["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert _decoded(forms[0]["assertion"])[1]["aud"] == url


@pytest.mark.parametrize("spec", [JwtAuth("${SECRET:key}"), JwtAuth("${SECRET:key}", "HS256")])
def test_a_key_that_does_not_fit_is_told_without_showing_it(
    api: Any, clock: Any, spec: JwtAuth
) -> None:
    with pytest.raises(ConfigInvalid, match=r"jwt\.key") as caught:
        read(RestApi(api.url, auth=Auth(jwt=spec)), clock, SecretStore(dict(STORE)))
    assert "s3cr3t" not in str(caught.value)


def test_a_login_gives_a_token_for_the_session(api: Any, other_api: Any, clock: Any) -> None:
    other_api.answer = lambda call, http: (200, {}, b'{"session": {"id": "sess-1"}}')
    api.answer = lambda call, http: (200, {}, ROWS)
    spec = SessionTokenAuth(
        f"{other_api.url}/login",
        "session.id",
        body={"user": "${SECRET:login#user}", "password": "${SECRET:login#password}"},
        header="X-Session",
        scheme="",
    )
    read(RestApi(api.url, auth=Auth(session_token=spec)), clock, SecretStore(dict(STORE)))
    assert json.loads(other_api.calls[0].body) == {"user": "ann", "password": "pass-word"}
    assert api.calls[0].headers["X-Session"] == "sess-1"


def test_an_aws_signature_is_the_one_that_botocore_computes(api: Any, clock: Any) -> None:
    api.answer = lambda call, http: (200, {}, ROWS)
    store = SecretStore({"aws": json.dumps({"id": "AKIDEXAMPLE", "key": "wJalrXUtnFEMI"})})
    keys = AwsSigV4Auth("execute-api", "eu-central-1", "${SECRET:aws#id}", "${SECRET:aws#key}")
    read(RestApi(f"{api.url}/rows?b=2&a=1", auth=Auth(aws_sig_v4=keys)), clock, store)
    call = api.calls[0]
    headers = {name: call.headers[name] for name in ("Accept", "Host", "X-Amz-Date")}
    again = AWSRequest("GET", f"{api.url}/rows?b=2&a=1", headers=headers, data=b"")
    again.context["timestamp"] = headers["X-Amz-Date"]
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI"), "execute-api", "eu-central-1")
    text = signer.string_to_sign(again, signer.canonical_request(again))
    assert call.headers["Authorization"].endswith(signer.signature(text, again))


def test_the_functions_own_role_signs_for_aws_alone(api: Any, clock: Any) -> None:
    keys = AwsSigV4Auth("execute-api", "eu-central-1")
    with pytest.raises(ConfigInvalid, match="AWS hosts only"):
        read(RestApi(api.url, auth=Auth(aws_sig_v4=keys)), clock)
    assert not api.calls


def test_two_kinds_at_once_are_refused(api: Any, clock: Any) -> None:
    auth = Auth(bearer=BearerAuth("a"), api_key=ApiKeyAuth("b"))
    with pytest.raises(ConfigInvalid, match="not several"):
        read(RestApi(api.url, auth=auth), clock)
