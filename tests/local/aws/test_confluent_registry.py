"""The tests' own schema registry speaks Confluent's API."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from confluent_registry import Registry


def ask(registry: Registry, path: str, body: dict[str, Any] | None = None) -> Any:
    """An authenticated request."""
    login = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    request = urllib.request.Request(
        registry.url + path,
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Basic {login}"},
    )
    with urllib.request.urlopen(request, timeout=5) as reply:
        return json.load(reply)


def test_schemas_are_registered_once_and_found_by_id_and_version(
    confluent_registry: Registry,
) -> None:
    registry = confluent_registry
    number = ask(registry, "/subjects/a-value/versions", {"schema": '"string"'})["id"]
    assert registry.register("b-value", '"string"') == number
    other = registry.register("a-value", "{}", "JSON")
    assert ask(registry, f"/schemas/ids/{number}") == {"schema": '"string"'}
    assert ask(registry, f"/schemas/ids/{other}") == {"schema": "{}", "schemaType": "JSON"}
    latest = ask(registry, "/subjects/a-value/versions/latest")
    assert (latest["id"], latest["version"]) == (other, 2)
    assert ask(registry, "/subjects") == ["a-value", "b-value"]
    assert registry.framed(258, b"x") == b"\x00\x00\x00\x01\x02x"


@pytest.mark.parametrize(
    ("path", "failure", "status"), [("/schemas/ids/9", None, 404), ("/subjects", 503, 503)]
)
def test_what_is_not_there_or_fails_is_told_by_its_status(
    confluent_registry: Registry, path: str, failure: int | None, status: int
) -> None:
    confluent_registry.failures += [failure] if failure else []
    with pytest.raises(urllib.error.HTTPError) as told:
        ask(confluent_registry, path)
    assert told.value.code == status


def test_a_caller_without_the_password_is_refused(confluent_registry: Registry) -> None:
    confluent_registry.password = "changed"
    request = urllib.request.Request(confluent_registry.url + "/subjects")
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(request, timeout=5)
    assert told.value.code == 401
