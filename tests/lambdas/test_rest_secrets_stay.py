"""A source that throws its credentials back, whichever way, has them shown in no message."""

from __future__ import annotations

import importlib
import json
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

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
from weir_lambdas.common import log as log_module
from weir_lambdas.common.entry import entry
from weir_lambdas.common.errors import WeirError
from weir_lambdas.common.log import Redactor, log

PEM = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)
TOKENS = {"access_token": "acc/ess", "token": "sess/ion", "refresh_token": "new/refresh"}
KEY = "s3cr3t/value+1="
SECRETS = {
    "key": KEY,
    "login": json.dumps({"user": "ann-of-sales", "password": "pass/word"}),
    "refresh": json.dumps({"refresh_token": "old/refresh"}),
    "pem": PEM.decode(),
}

KINDS: dict[str, Callable[[str], Auth]] = {
    "bearer": lambda _: Auth(bearer=BearerAuth("${SECRET:key}")),
    "header": lambda _: Auth(api_key=ApiKeyAuth("${SECRET:key}", "X-Key")),
    "query": lambda _: Auth(api_key=ApiKeyAuth("${SECRET:key}", "key", "query")),
    "cookie": lambda _: Auth(api_key=ApiKeyAuth("${SECRET:key}", "session", "cookie")),
    "basic": lambda _: Auth(
        http_basic=HttpBasicAuth("${SECRET:login#user}", "${SECRET:login#password}")
    ),
    "client": lambda url: Auth(
        oauth2_client_credentials=OAuth2ClientCredentials(
            url, "${SECRET:login#user}", "${SECRET:login#password}", client_auth="basic"
        )
    ),
    "refresh": lambda url: Auth(
        oauth2_refresh_token=OAuth2RefreshToken(url, "refresh", "me", rotate=True)
    ),
    "jwt": lambda _: Auth(jwt=JwtAuth("${SECRET:pem}", "ES256", {"iss": "me"})),
    "exchanged": lambda url: Auth(
        jwt=JwtAuth("${SECRET:pem}", "ES256", {"iss": "me"}, token_url=url)
    ),
    "session": lambda url: Auth(
        session_token=SessionTokenAuth(url, "token", body={"password": "${SECRET:login#password}"})
    ),
    "sigv4": lambda _: Auth(
        aws_sig_v4=AwsSigV4Auth("execute-api", "us-east-1", "AKIAEXAMPLE", "${SECRET:key}")
    ),
}


def credentials(call: Any) -> list[str]:
    """What a call has of the kinds above."""
    headers = {name.lower(): value for name, value in call.headers.items()}
    found = [headers.get("authorization", "").rpartition(" ")[2], headers.get("x-key", "")]
    found += [headers.get("cookie", "").partition("=")[2], call.query.get("key", "")]
    return [one for one in found if one and "Signature=" not in one]


def moved(call: Any, text: str, ends: tuple[int, dict[str, str], bytes]) -> Any:
    return ends if call.path.startswith("/t/") else (302, {"Location": f"/t/{text}/x"}, b"")


WAYS: dict[str, Callable[[Any, str], Any]] = {
    "a redirect that leads nowhere": lambda call, text: moved(call, text, (404, {}, b"")),
    "a redirect that is forbidden": lambda call, text: moved(call, text, (403, {}, b"")),
    "a redirect that fails": lambda call, text: moved(call, text, (500, {}, b"")),
    "a redirect to no rows": lambda call, text: moved(call, text, (200, {}, b"<html>")),
    "redirects without end": lambda call, text: (302, {"Location": f"/t/{text}/x"}, b""),
    "a redirect to nowhere": lambda call, text: (302, {"Location": f"ftp://{text}/"}, b""),
    "a host of that name": lambda call, text: (302, {"Location": f"http://{text}.invalid/"}, b""),
    "keys": lambda call, text: (200, {}, json.dumps({text: 1, "error": text}).encode()),
    "a refusal": lambda call, text: (400, {"X-Why": text}, json.dumps({"error": text}).encode()),
    "no JSON": lambda call, text: (200, {}, f"[{text}".encode()),
    "a page in circles": lambda call, text: (
        200,
        {"Link": f"</t/{text}/x>; rel=next"},
        b'{"data": [{"id": 1}]}',
    ),
    "a reference": lambda call, text: (
        200,
        {"Link": f"</t/{text}/${{SECRET:x}}>; rel=next"},
        b'{"data": [{"id": 1}]}',
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_no_message_and_no_log_line_has_a_credential(
    kind: str,
    way: str,
    api: Any,
    other_api: Any,
    clock: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_module.REDACTOR, "_values", set())
    other_api.answer = lambda call, http: (200, {}, json.dumps(TOKENS).encode())
    seen: set[str] = set()

    def answer(call: Any, _http: Any) -> Any:
        found = credentials(call)
        seen.update(found)
        return WAYS[way](call, quote(found[0], safe="") if found and seen else "none")

    api.answer = answer
    source = RestApi(
        f"{api.url}/rows",
        data_selector="data",
        auth=KINDS[kind](f"{other_api.url}/token"),
        paginator=Paginator("link"),
        limits=RequestLimits(max_attempts=2, concurrency=1),
    )

    @entry
    def handler(_event: Any, _context: Any) -> dict[str, Any]:
        return {"rows": read(source, clock, SecretStore(dict(SECRETS))).rows}

    with pytest.raises(WeirError) as caught:
        handler({}, None)
    log("ERROR", "landing failed", error=str(caught.value))
    said = "".join(traceback.format_exception(caught.value)) + "".join(capsys.readouterr())
    said += caught.value.what + caught.value.where
    hidden = {*seen, *TOKENS.values(), KEY, "pass/word", "old/refresh"}
    assert seen or kind == "sigv4"
    for value in hidden:
        assert value not in said
        assert quote(value, safe="") not in said


@pytest.mark.parametrize(
    "module",
    [
        "api_ingestion.handler",
        "email_processor.handler",
        "email_processor.workmail",
        "file_processor.handler",
        "metadata_extractor.handler",
        "redshift_loader.handler",
        "run_control.handler",
        "stream_processor.handler",
        "stream_processor.receive",
        "trigger.handler",
    ],
)
def test_every_function_has_its_errors_cleaned(module: str) -> None:
    handler = importlib.import_module(f"weir_lambdas.{module}").handler
    assert handler.__code__ is entry(handler).__code__


def test_an_error_that_nobody_expected_has_no_secret_and_keeps_its_class_and_its_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_module.REDACTOR, "_values", set())
    hidden, written = "pass" + "/word", quote("pass" + "/word", safe="")
    log_module.REDACTOR.learn(hidden)

    @entry
    def handler(_event: Any, _context: Any) -> dict[str, Any]:
        try:
            raise KeyError(hidden)
        except KeyError as error:
            raise RuntimeError(f"no use for {written}") from error

    with pytest.raises(RuntimeError) as caught:
        handler({}, None)
    said = "".join(traceback.format_exception(caught.value))
    assert "KeyError: '***'" in said and "no use for ***" in said
    assert hidden not in said and written not in said


def test_a_value_is_known_however_a_url_or_json_writes_it() -> None:
    redactor = Redactor()
    redactor.learn('a/b+c="d" é')
    for text in ('a/b+c="d" é', "a%2Fb%2Bc%3D%22d%22%20%C3%A9", 'a/b+c=\\"d\\" \\u00e9'):
        assert redactor.text(f"<{text}>") == "<***>"
