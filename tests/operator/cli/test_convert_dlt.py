"""A dlt rest_api configuration becomes DataSources that validate, and what is lost is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from conversions import api_of, assert_valid, converted
from typer.testing import CliRunner

from weir.cli import app
from weir.cli.convert import CannotConvert, to_yaml

TRACKER = '''
import dlt
from dlt.sources.rest_api import rest_api_source, RESTAPIConfig
from dlt.sources.helpers.rest_client.auth import BearerTokenAuth
from dlt.sources.helpers.rest_client.paginators import JSONLinkPaginator

BASE = "https://tracker.example.com"
PER_PAGE = 100
raise RuntimeError("a conversion never runs the file")

@dlt.source
def tracker(token=dlt.secrets.value):
    config: RESTAPIConfig = {
        "client": {
            "base_url": f"{BASE}/api/v3/",
            "auth": BearerTokenAuth(token=dlt.secrets["sources.tracker.token"]),
            "paginator": JSONLinkPaginator(next_url_path="paging.next"),
            "headers": {"X-Client": "demo"},
        },
        "resource_defaults": {
            "primary_key": "id",
            "write_disposition": "merge",
            "endpoint": {"params": {"per_page": PER_PAGE}},
        },
        "resources": [
            "labels",
            {
                "name": "tickets",
                "endpoint": {
                    "path": "projects/demo/tickets",
                    "data_selector": "data.items",
                    "params": {"state": "all", "archived": False, "seen": compute_seen()},
                    "incremental": {
                        "cursor_path": "updated_at",
                        "start_param": "since",
                        "initial_value": "2024-01-25T11:21:28Z",
                        "lag": 3600,
                        "row_order": "asc",
                    },
                    "response_actions": [
                        {"status_code": 404, "action": "ignore"},
                        {"content": "maintenance", "action": "retry"},
                        {"status_code": 500, "action": my_hook},
                    ],
                },
                "columns": {"id": {"data_type": "bigint"}},
            },
            {
                "name": "comments",
                "endpoint": {
                    "path": "tickets/{ticket_number}/comments",
                    "paginator": {"type": "page_number", "base_page": 1, "total_path": None},
                    "params": {
                        "ticket_number": {
                            "type": "resolve", "resource": "tickets", "field": "number",
                        },
                    },
                },
                "include_from_parent": ["id", "title"],
            },
            {"name": "hidden", "selected": False},
        ],
    }
    yield from rest_api_source(config)
'''  # fmt: skip

SHOP: dict[str, Any] = {
    "client": {
        "base_url": "https://shop.example.com/v1",
        "auth": {
            "type": "oauth2_client_credentials",
            "access_token_url": "https://auth.example.com/token",
            "client_id": "id-1",
            "client_secret": "never-write-this",
            "access_token_request_data": {"scope": "read write", "audience": "shop"},
        },
    },
    "resources": [
        {
            "name": "Orders List",
            "write_disposition": "append",
            "endpoint": {
                "path": "orders/search",
                "method": "post",
                "json": {"filter": {"from": "{incremental.start_value}"}},
                "paginator": {"type": "cursor", "cursor_path": "next", "cursor_body_path": "after"},
                "incremental": {"cursor_path": "seq", "initial_value": 10, "lag": 5},
            },
        },
        {
            "name": "lines",
            "endpoint": {
                "path": "orders/{resources.Orders List.id}/lines",
                "paginator": {
                    "type": "offset", "limit": 50, "stop_after_empty_page": True, "offset": 10,
                },
            },
        },
        {"name": "stats", "endpoint": {"path": "stats", "paginator": {"type": "my_own"}}},
    ],
}  # fmt: skip


def test_a_python_file_is_read_and_never_run(tmp_path: Path) -> None:
    found = converted(tmp_path, "tracker.py", TRACKER)
    assert set(found) == {"labels", "tickets", "comments"}
    for item in found.values():
        assert_valid(item)
    tickets = api_of(found["tickets"])
    assert tickets["endpoint"] == "https://tracker.example.com/api/v3/projects/demo/tickets"
    assert tickets["auth"] == {"bearer": {"token": "${SECRET:tracker#token}"}}
    assert tickets["params"] == {"per_page": "100", "state": "all", "archived": "false"}
    assert tickets["paginator"] == {"type": "link", "nextPath": "paging.next"}
    assert tickets["headers"] == {"X-Client": "demo"}
    assert tickets["dataSelector"] == "data.items"
    assert tickets["incremental"] == {
        "cursorPath": "updated_at",
        "startParam": "since",
        "initialValue": "2024-01-25T11:21:28Z",
        "lag": "3600s",
    }
    assert tickets["responseActions"] == [
        {"status": "404", "action": "ignore"},
        {"content": "maintenance", "action": "retry"},
    ]
    assert found["tickets"].resource["spec"]["schema"]["keys"] == ["id"]


def test_what_is_lost_is_named(tmp_path: Path) -> None:
    notes = "\n".join(converted(tmp_path, "tracker.py", TRACKER)["tickets"].notes)
    for words in (
        "compute_seen() is not evaluated",
        "row_order: not carried over",
        "columns: not carried over",
        "my_hook",
        "write_disposition: 'merge'",
        "schedule: is rate(1 hour)",
    ):
        assert words in notes


def test_a_resource_that_depends_on_another_gets_it_as_its_parent(tmp_path: Path) -> None:
    comments = api_of(converted(tmp_path, "tracker.py", TRACKER)["comments"])
    assert comments["endpoint"].endswith("/tickets/{resources.tickets.number}/comments")
    assert "ticket_number" not in comments["params"]
    (parent,) = comments["parents"]
    assert (parent["name"], parent["dataSelector"]) == ("tickets", "data.items")
    assert parent["include"] == {"_tickets_id": "id", "_tickets_title": "title"}
    assert comments["paginator"] == {"type": "pageNumber", "basePage": 1}


@pytest.mark.parametrize("name", ["shop.yaml", "shop.json"])
def test_yaml_and_json_are_read_too(tmp_path: Path, name: str) -> None:
    text = json.dumps(SHOP) if name.endswith("json") else yaml.safe_dump(SHOP)
    found = converted(tmp_path, name, text)
    for item in found.values():
        assert_valid(item)
    orders = api_of(found["orders-list"])
    assert orders["method"] == "POST"
    assert orders["body"] == {"filter": {"from": "{incremental.startValue}"}}
    assert orders["paginator"] == {
        "type": "cursor", "cursorPath": "next", "cursorParam": "cursor", "cursorBodyPath": "after",
    }  # fmt: skip
    assert orders["incremental"] == {"cursorPath": "seq", "initialValue": "10", "lagNumber": 5}
    assert orders["auth"]["oauth2ClientCredentials"]["scopes"] == ["read", "write"]
    assert "never-write-this" not in to_yaml(found["orders-list"].resource)
    assert any("client_secret" in note for note in found["orders-list"].notes)
    lines = api_of(found["lines"])
    assert lines["endpoint"].endswith("/orders/{resources.Orders_List.id}/lines")
    assert lines["parents"][0]["name"] == "Orders_List"
    assert api_of(found["stats"])["paginator"] == {"type": "auto"}


def test_the_command_writes_documents_and_says_the_notes_aside(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(yaml.safe_dump(SHOP))
    result = CliRunner().invoke(app, ["convert", str(file)])
    assert result.exit_code == 0, result.output
    assert len(list(yaml.safe_load_all(result.stdout))) == 3
    assert "note: orders-list: schedule" in result.stderr


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.py", "x = 1", "no dlt rest_api configuration"),
        ("a.py", "x = = 1", "line 1"),
        ("a.json", '{"client": {}, "resources": ["a"]}', "base_url is missing"),
        ("a.json", '{"client": {"base_url": "https://a"}, "resources": []}', "resources is empty"),
    ],
)
def test_what_is_no_configuration_is_refused(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    with pytest.raises(CannotConvert, match=words):
        converted(tmp_path, name, text)


SEVERAL = """
import dlt
from dlt.sources.rest_api import rest_api_source

@dlt.source
def one(token=dlt.secrets.value, pages: int = 5):
    yield from rest_api_source({
        "client": {
            "base_url": "https://one.example.com/",
            "auth": {"type": "bearer", "token": token} if token else None,
        },
        "resources": [
            {"name": "posts", "endpoint": {
                "path": "posts",
                "paginator": {
                    "type": "page_number", "base_page": 1, "page": 1, "maximum_page": pages,
                    "total_path": None,
                },
            }},
            made_elsewhere(),
        ],
    })

def two():
    return rest_api_source({
        "client": {"base_url": "https://two.example.com/"},
        "resources": [
            "posts",
            {"name": "chicken", "endpoint": "c/{resources.egg.id}"},
            {"name": "egg", "endpoint": "e/{resources.chicken.id}"},
        ],
    })

def three(client):
    return rest_api_source({"client": client, "resources": []})
"""


def test_every_configuration_of_a_file_is_read(tmp_path: Path) -> None:
    found = converted(tmp_path, "several.py", SEVERAL)
    assert set(found) == {"posts", "posts-2", "chicken", "egg"}
    for item in found.values():
        assert_valid(item)
    posts = api_of(found["posts"])
    assert posts["auth"] == {"bearer": {"token": "${SECRET:token}"}}
    # dlt's maximum is the first page that is not asked for.
    assert posts["paginator"] == {"type": "pageNumber", "basePage": 1, "maximumPage": 4}
    notes = "\n".join(note for item in found.values() for note in item.notes)
    for words in (
        "is read as if token were so",
        "made_elsewhere() is not evaluated",
        "name: 'posts' is 'posts-2' here",
        "parent 'chicken' leads in a circle",
        "a configuration of which the file has no values",
    ):
        assert words in notes, words
