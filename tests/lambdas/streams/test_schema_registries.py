"""Schemas by their ids: asked for once, by the rules for outgoing requests."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from weir_contract.sources import Egress, Registry
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.egress import EgressClient
from weir_lambdas.common.errors import (
    EgressRefused,
    SourceBadAnswer,
    SourceForbidden,
    SourceNotFound,
    SourceUnauthorized,
    SourceUnavailable,
    WeirError,
)
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.stream_processor.avro import parsed
from weir_lambdas.stream_processor.registry import (
    Confluent,
    Definition,
    Kept,
    UnknownSchema,
    glue_schema,
)

ID = "b7b4a7f0-9c96-4e4a-a687-fb5de9ef0c63"
CITY = {"type": "record", "name": "City", "namespace": "g", "fields": []}
PLACE = {
    "type": "record",
    "name": "Place",
    "namespace": "g",
    "fields": [{"name": "c", "type": "g.City"}],
}
ORDER = {"type": "record", "name": "Order", "fields": [{"name": "to", "type": "g.Place"}]}


def answers(found: dict[str, Any]) -> Callable[..., Any]:
    def answer(call: Any, _http: Any) -> Any:
        if call.path not in found:
            return 404, {}, json.dumps({"error_code": 40403}).encode()
        return 200, {}, json.dumps(found[call.path]).encode()

    return answer


@pytest.fixture
def registry(api: Any, aws: Callable[[str], Any], clock: Clock) -> Confluent:
    """A registry that wants a user name and a password."""
    manager = aws("secretsmanager")
    name = f"registry-{api.url.rpartition(':')[2]}"
    pair = {"username": "weir", "password": "s3cret!"}
    manager.create_secret(Name=name, SecretString=json.dumps(pair))
    secrets = Secrets(manager, {"registry": name}, clock)
    stated = Registry("confluent", f"{api.url}/", "${SECRET:registry}")
    http = EgressClient(Egress(allow_loopback=True), api.url)
    return Confluent(http, stated, secrets)


def test_a_schema_is_found_with_those_that_it_refers_to(api: Any, registry: Confluent) -> None:
    refers = [{"name": "g.Place", "subject": "place/1", "version": 3}]
    inner = [{"name": "g.City", "subject": "city", "version": 1}]
    api.answer = answers(
        {
            "/schemas/ids/7": {"schema": json.dumps(ORDER), "references": refers},
            "/subjects/place%2F1/versions/3": {"schema": json.dumps(PLACE), "references": inner},
            "/subjects/city/versions/1": {"schema": json.dumps(CITY)},
        }
    )
    found = registry.find("7")
    assert found.references == (json.dumps(CITY), json.dumps(PLACE))
    assert parsed(found).schema["name"] == "Order"
    wanted = "Basic " + base64.b64encode(b"weir:s3cret!").decode()
    assert {call.headers["Authorization"] for call in api.calls} == {wanted}


def test_a_schema_is_asked_for_once_and_an_unknown_one_again_after_a_while(
    api: Any, registry: Confluent, clock: Any
) -> None:
    found: dict[str, Any] = {"/schemas/ids/1": {"schema": '"int"'}}
    api.answer = answers(found)
    kept = Kept(registry.find, clock)
    for _ in range(3):
        assert kept.find("1") == Definition('"int"')
        with pytest.raises(UnknownSchema, match="has no schema 2"):
            kept.find("2")
    # The unknown one three times: a replica may not know it yet.
    assert len(api.calls) == 4
    found["/schemas/ids/2"] = {"schema": '"long"'}
    clock.pass_time(61)
    assert kept.find("2").text == '"long"'


def test_a_schema_that_was_registered_a_moment_ago_is_waited_for(
    api: Any, registry: Confluent, clock: Any
) -> None:
    known = answers({"/schemas/ids/3": {"schema": '"int"'}})
    api.answer = lambda call, http: (
        known(call, http) if len(api.calls) > 2 else (404, {}, b'{"error_code": 40403}')
    )
    kept = Kept(registry.find, clock)
    assert kept.find("3").text == '"int"'
    api.calls.clear()
    for number in range(10, 20):
        with pytest.raises(UnknownSchema):
            kept.find(str(number))
    # Where nothing is known, what stands in front of the records is no id.
    assert len(api.calls) == 4 * 3 + 6


def test_credentials_do_not_follow_a_redirect_elsewhere(
    api: Any, other_api: Any, registry: Confluent
) -> None:
    api.answer = lambda call, http: (302, {"Location": f"{other_api.url}/x"}, b"")
    other_api.answer = lambda call, http: (200, {}, b'{"schema": "\\"int\\""}')
    assert registry.find("1").text == '"int"'
    assert "Authorization" not in other_api.calls[0].headers


def test_a_private_address_is_refused(api: Any, aws: Callable[[str], Any], clock: Clock) -> None:
    secrets = Secrets(aws("secretsmanager"), {}, clock)
    refused = Confluent(EgressClient(Egress(), api.url), Registry("confluent", api.url), secrets)
    with pytest.raises(EgressRefused):
        refused.find("1")
    assert api.calls == []


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, b"{}", SourceUnauthorized),
        (403, b"{}", SourceForbidden),
        (503, b"{}", SourceUnavailable),
        (404, b"<html>", SourceNotFound),
        (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}', SourceNotFound),
        (404, b'{"error_code": []}', SourceNotFound),
        (200, b"<html>", SourceBadAnswer),
        (200, b"[]", SourceBadAnswer),
    ],
)
def test_a_registry_that_cannot_tell_is_no_reason_to_reject_records(
    status: int, body: bytes, kind: type[WeirError], api: Any, registry: Confluent
) -> None:
    api.answer = lambda call, http: (status, {}, body)
    with pytest.raises(kind) as told:
        registry.find("1")
    assert "s3cret!" not in str(told.value)


def test_other_kinds_of_schema_are_unknown(api: Any, registry: Confluent) -> None:
    api.answer = answers({"/schemas/ids/1": {"schema": "x", "schemaType": "PROTOBUF"}})
    with pytest.raises(UnknownSchema, match="is PROTOBUF"):
        registry.find("1")


@pytest.fixture
def glue() -> Any:
    return boto3.client(
        "glue", region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t"
    )


def test_glue_gives_a_schema_version_of_the_sources_own_registry(glue: Any) -> None:
    arn = "arn:aws:glue:us-east-1:000000000000:schema/{}/orders"
    answer = {"SchemaDefinition": '"int"', "DataFormat": "AVRO", "SchemaArn": arn.format("events")}
    with Stubber(glue) as stub:
        stub.add_response("get_schema_version", answer, {"SchemaVersionId": ID})
        assert glue_schema(glue, "events", ID) == Definition('"int"')
        stub.add_response("get_schema_version", answer | {"SchemaArn": arn.format("other")})
        with pytest.raises(UnknownSchema, match="of another registry than"):
            glue_schema(glue, "events", ID)
        stub.add_response("get_schema_version", answer | {"DataFormat": "JSON"})
        with pytest.raises(UnknownSchema, match="is JSON, where Avro"):
            glue_schema(glue, "events", ID)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("EntityNotFoundException", UnknownSchema),
        ("AccessDeniedException", SourceForbidden),
        ("InternalServiceException", SourceUnavailable),
    ],
)
def test_glue_that_does_not_answer_is_not_a_schema_that_is_not_there(
    code: str, kind: type[Exception], glue: Any
) -> None:
    with Stubber(glue) as stub:
        stub.add_client_error("get_schema_version", code)
        with pytest.raises(kind):
            glue_schema(glue, "events", ID)
