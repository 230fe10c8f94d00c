"""An Airbyte low-code manifest becomes DataSources that validate, and what is lost is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conversions import api_of, assert_valid, converted

from weir.cli.convert import CannotConvert

TICKETS = """
version: 6.1.0
type: DeclarativeSource
check: {type: CheckStream, stream_names: [agents]}
definitions:
  selector:
    type: RecordSelector
    extractor: {type: DpathExtractor, field_path: ["{{ parameters['field'] }}"]}
  requester:
    type: HttpRequester
    url_base: "https://{{ config['subdomain'] }}.desk.example.com/api/{{ config.version }}/"
    http_method: GET
    request_headers: {X-Workspace: "{{ config['workspace'] }}"}
    authenticator:
      type: SelectiveAuthenticator
      authenticator_selection_path: [credentials, kind]
      authenticators:
        api: {$ref: "#/definitions/bearer"}
        oauth: {type: OAuthAuthenticator}
    error_handler:
      type: CompositeErrorHandler
      error_handlers:
        - type: DefaultErrorHandler
          backoff_strategies: [{type: WaitTimeFromHeader, header: Retry-After}]
          response_filters:
            - {type: HttpResponseFilter, http_codes: [403, 404], action: IGNORE}
            - {type: HttpResponseFilter, error_message_contains: "slow down", action: RETRY}
            - {type: HttpResponseFilter, predicate: "{{ response.x > 1 }}", action: FAIL}
  bearer: {type: BearerAuthenticator, api_token: "{{ config['credentials']['api_token'] }}"}
  cursor_pages:
    type: DefaultPaginator
    page_size_option: {type: RequestOption, inject_into: request_parameter, field_name: "page[size]"}
    page_token_option: {type: RequestOption, inject_into: request_parameter, field_name: "page[after]"}
    pagination_strategy:
      type: CursorPagination
      page_size: 100
      cursor_value: "{{ response.get('meta', {}).get('after_cursor') }}"
      stop_condition: "{{ not response.get('meta', {}).get('has_more') }}"
  retriever:
    type: SimpleRetriever
    requester: {$ref: "#/definitions/requester"}
    record_selector: {$ref: "#/definitions/selector"}
    paginator: {$ref: "#/definitions/cursor_pages"}
  base: {type: DeclarativeStream, retriever: {$ref: "#/definitions/retriever"}}
  agents:
    $ref: "#/definitions/base"
    name: agents
    primary_key: id
    $parameters: {path: agents, field: agents}
    schema_loader: {type: InlineSchemaLoader, schema: {}}
  tickets:
    $ref: "#/definitions/base"
    name: tickets
    primary_key: [id]
    $parameters: {path: tickets, field: tickets}
    incremental_sync:
      type: DatetimeBasedCursor
      cursor_field: updated_at
      datetime_format: "%s"
      start_datetime: {type: MinMaxDatetime, datetime: "{{ config['start_date'] }}"}
      lookback_window: P1D
      step: P30D
      cursor_granularity: PT1S
      start_time_option: {type: RequestOption, inject_into: request_parameter, field_name: from}
      end_time_option: {type: RequestOption, inject_into: request_parameter, field_name: to}
    transformations: [{type: RemoveFields, field_pointers: [[x]]}]
  comments:
    type: DeclarativeStream
    name: comments
    retriever:
      type: SimpleRetriever
      requester:
        $ref: "#/definitions/requester"
        path: "tickets/{{ stream_partition.ticket_id }}/comments"
        request_parameters: {mode: full, odd: "{{ now_utc().strftime('%Y') }}"}
      record_selector: {type: RecordSelector, extractor: {type: DpathExtractor, field_path: []}}
      paginator:
        type: DefaultPaginator
        page_token_option: {type: RequestPath}
        pagination_strategy:
          {type: CursorPagination, cursor_value: "{{ headers['link']['next']['url'] }}"}
      partition_router:
        type: SubstreamPartitionRouter
        parent_stream_configs:
          - {type: ParentStreamConfig, parent_key: id, partition_field: ticket_id,
             stream: "#/definitions/tickets"}
streams: ["#/definitions/agents", {$ref: "#/definitions/tickets"}, "#/definitions/comments"]
spec:
  connection_specification:
    properties:
      version: {type: string, default: v2}
      api_token: {type: string, airbyte_secret: true}
"""

SMALL = """
version: 0.80.0
type: DeclarativeSource
streams:
  - type: DeclarativeStream
    name: rows
    retriever:
      type: SimpleRetriever
      requester:
        type: HttpRequester
        url_base: https://api.example.com
        path: /rows
        http_method: POST
        request_body_json: {query: {limit: 5}}
        authenticator: AUTH
      record_selector:
        {type: RecordSelector, extractor: {type: DpathExtractor, field_path: [data, "*", odd-name]}}
      paginator:
        type: DefaultPaginator
        page_token_option: {type: RequestOption, inject_into: body_json, field_name: offset}
        page_size_option: {type: RequestOption, inject_into: body_json, field_name: limit}
        pagination_strategy: {type: OffsetIncrement, page_size: 50}
      decoder: {type: JsonlDecoder}
"""
AUTHS: list[tuple[str, dict[str, Any]]] = [
    (
        "{type: ApiKeyAuthenticator, api_token: \"{{ config['k'] }}\", "
        "inject_into: {type: RequestOption, inject_into: request_parameter, field_name: api_key}}",
        {"apiKey": {"name": "api_key", "value": "${SECRET:small#k}", "location": "query"}},
    ),
    (
        "{type: ApiKeyAuthenticator, api_token: \"Token {{ config['k'] }}\", header: X-Key}",
        {"apiKey": {"name": "X-Key", "value": "Token ${SECRET:small#k}", "location": "header"}},
    ),
    (
        "{type: BasicHttpAuthenticator, username: \"{{ config['u'] }}\", password: x}",
        {"httpBasic": {"username": "${SECRET:small#u}", "password": "x"}},
    ),
    (
        "{type: OAuthAuthenticator, token_refresh_endpoint: 'https://a.example.com/token', "
        "client_id: \"{{ config['id'] }}\", client_secret: \"{{ config['s'] }}\", "
        "refresh_token: \"{{ config['r'] }}\", refresh_token_updater: {type: X}, scopes: [a]}",
        {
            "oauth2RefreshToken": {
                "tokenUrl": "https://a.example.com/token",
                "clientId": "${SECRET:small#id}",
                "clientSecret": "${SECRET:small#s}",
                "scopes": ["a"],
                "secret": "small",
                "refreshTokenKey": "r",
                "rotate": True,
            }
        },
    ),
    (
        "{type: OAuthAuthenticator, token_refresh_endpoint: 'https://a.example.com/token', "
        "client_id: a, client_secret: \"{{ config['s'] }}\", grant_type: client_credentials}",
        {
            "oauth2ClientCredentials": {
                "tokenUrl": "https://a.example.com/token",
                "clientId": "a",
                "clientSecret": "${SECRET:small#s}",
            }
        },
    ),
    (
        "{type: JwtAuthenticator, secret_key: \"{{ config['pem'] }}\", algorithm: ES256, "
        "token_duration: 300, jwt_headers: {kid: k1}, jwt_payload: {iss: me}}",
        {
            "jwt": {
                "key": "${SECRET:small#pem}",
                "algorithm": "ES256",
                "keyId": "k1",
                "claims": {"iss": "me"},
                "lifetime": "300s",
            }
        },
    ),
    (
        "{type: SessionTokenAuthenticator, session_token_path: [data, token], "
        "expiration_duration: PT30M, "
        "login_requester: {type: HttpRequester, url_base: 'https://api.example.com', path: login, "
        "http_method: POST, request_body_json: {user: \"{{ config['u'] }}\"}}, "
        "request_authentication: {type: ApiKey, inject_into: {type: RequestOption, "
        "inject_into: header, field_name: X-Session}}}",
        {
            "sessionToken": {
                "loginUrl": "https://api.example.com/login",
                "method": "POST",
                "body": {"user": "${SECRET:small#u}"},
                "tokenPath": "data.token",
                "header": "X-Session",
                "lifetime": "30m",
                "scheme": "",
            }
        },
    ),
]


def test_references_and_parameters_are_resolved(tmp_path: Path) -> None:
    found = converted(tmp_path, "desk.yaml", TICKETS)
    assert set(found) == {"desk-agents", "desk-tickets", "desk-comments"}
    for item in found.values():
        assert_valid(item)
    agents = api_of(found["desk-agents"])
    assert agents["endpoint"] == "https://subdomain.desk.example.com/api/v2/agents"
    assert agents["dataSelector"] == "$.agents"
    assert agents["headers"] == {"X-Workspace": "${SECRET:desk#workspace}"}
    assert agents["auth"] == {"bearer": {"token": "${SECRET:desk#api_token}"}}
    assert agents["paginator"] == {
        "type": "cursor",
        "limitParam": "page[size]",
        "pageSize": 100,
        "cursorPath": "meta.after_cursor",
        "cursorParam": "page[after]",
        "hasMorePath": "meta.has_more",
    }
    assert agents["responseActions"] == [
        {"status": "403", "action": "ignore"},
        {"status": "404", "action": "ignore"},
        {"content": "slow down", "action": "retry"},
    ]


def test_a_datetime_cursor_becomes_windows(tmp_path: Path) -> None:
    tickets = converted(tmp_path, "desk.yaml", TICKETS)["desk-tickets"]
    assert api_of(tickets)["incremental"] == {
        "cursorPath": "updated_at",
        "initialValue": "1577836800",
        "format": "epochSeconds",
        "startParam": "from",
        "endParam": "to",
        "step": "30d",
        "lag": "1d",
    }
    assert tickets.resource["spec"]["schema"]["keys"] == ["id"]


def test_a_substream_gets_its_parent(tmp_path: Path) -> None:
    comments = api_of(converted(tmp_path, "desk.yaml", TICKETS)["desk-comments"])
    assert comments["endpoint"].endswith("/tickets/{resources.tickets.id}/comments")
    assert comments["paginator"] == {"type": "link"}
    assert comments["params"] == {"mode": "full"}
    (parent,) = comments["parents"]
    assert parent["name"] == "tickets"
    assert parent["dataSelector"] == "$.tickets"


def test_what_is_lost_is_named(tmp_path: Path) -> None:
    found = converted(tmp_path, "desk.yaml", TICKETS)
    notes = {name: "\n".join(item.notes) for name, item in found.items()}
    assert "config 'subdomain' stands in the URL" in notes["desk-agents"]
    assert "of api, oauth the first is taken" in notes["desk-agents"]
    assert "response_filters: FAIL is not carried over" in notes["desk-agents"]
    assert "backoff_strategies" in notes["desk-agents"]
    assert "schema_loader" in notes["desk-agents"]
    assert "transformations" in notes["desk-tickets"]
    assert "config 'start_date'" in notes["desk-tickets"]
    assert "now_utc()" in notes["desk-comments"]


@pytest.mark.parametrize(("auth", "expected"), AUTHS)
def test_every_authenticator_is_carried_over(
    tmp_path: Path, auth: str, expected: dict[str, Any]
) -> None:
    item = converted(tmp_path, "small.yaml", SMALL.replace("AUTH", auth))["small-rows"]
    assert_valid(item)
    found = api_of(item)
    assert found["auth"] == expected
    assert found["body"] == {"query": {"limit": 5}}
    assert found["dataSelector"] == "$.data[*]['odd-name']"
    assert found["format"] == {"type": "jsonLines"}
    assert found["paginator"] == {
        "type": "offset",
        "pageSize": 50,
        "offsetBodyPath": "offset",
        "limitBodyPath": "limit",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: 1\nstreams: ['#/definitions/x']", "points at nothing"),
        ("version: 1\nstreams: []", "streams is empty"),
        (
            "version: 1\ndefinitions: {a: {$ref: '#/definitions/a'}}\nstreams: ['#/definitions/a']",
            "in a circle",
        ),
    ],
)
def test_what_can_not_be_resolved_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CannotConvert, match=words):
        converted(tmp_path, "manifest.yaml", text)


ODD = """
version: 6.1.0
api_budget: {type: HTTPAPIBudget, policies: []}
definitions:
  requester: {url_base: "{{ config['host'] }}/api/", http_method: GET}
  base:
    retriever:
      requester: {$ref: "#/definitions/requester", path: "{{ parameters['path'] }}"}
      record_selector: {extractor: {field_path: [data]}}
      paginator:
        type: DefaultPaginator
        page_size_option: {inject_into: request_parameter}
        page_token_option: {type: RequestOption, inject_into: request_parameter, field_name: page}
        pagination_strategy: {type: PageIncrement, page_size: 50, start_from_page: 1}
  people: {$ref: "#/definitions/base", $parameters: {name: people, path: people}}
  teams:
    $ref: "#/definitions/base"
    $parameters: {name: teams, path: "people/{{ stream_partition.parent_id }}/teams"}
    retriever:
      $ref: "#/definitions/base/retriever"
      partition_router:
        type: SubstreamPartitionRouter
        parent_stream_configs:
          - {stream: "#/definitions/people", parent_key: id, partition_field: parent_id}
  games:
    $ref: "#/definitions/base"
    $parameters: {name: games, path: games}
    retriever:
      $ref: "#/definitions/base/retriever"
      partition_router:
        type: SubstreamPartitionRouter
        parent_stream_configs:
          - stream: "#/definitions/teams"
            parent_key: uid
            partition_field: parent_id
            incremental_dependency: true
            request_option: {inject_into: request_parameter, field_name: team}
streams:
  - "#/definitions/people"
  - "#/definitions/games"
  - name: code
    retriever: {requester: {type: CustomRequester, class_name: a.B}}
  - type: StateDelegatingStream
    name: delegated
    full_refresh_stream: "#/definitions/people"
    incremental_stream:
      $ref: "#/definitions/base"
      $parameters: {path: changes}
      incremental_sync:
        type: DatetimeBasedCursor
        cursor_field: changed
        is_client_side_incremental: true
        is_data_feed: true
        step: P1D
        cursor_granularity: PT1S
        datetime_format: "%Y-%m-%d"
        start_datetime: "{{ format_datetime(config['start'], '%Y-%m-%d') }}"
  - name: report
    retriever:
      type: AsyncRetriever
      record_selector: {extractor: {field_path: [rows]}}
      status_mapping: {completed: [DONE], failed: [FATAL], timeout: [LATE], running: [BUSY]}
      status_extractor: {field_path: [job, state]}
      download_target_extractor: {field_path: [job, url]}
      polling_job_timeout: 30
      download_decoder: {type: CsvDecoder}
      creation_requester:
        url_base: https://reports.example.com/jobs
        http_method: POST
        request_body: {type: RequestBodyJsonObject, value: {report: orders}}
        authenticator: {type: BearerAuthenticator, api_token: "{{ config['k'] if x else 'y' }}"}
      polling_requester:
        url_base: https://reports.example.com/jobs
        path: "{{ creation_response['id'] }}"
      download_requester: {http_method: GET}
"""


def test_parameters_reach_components_that_state_no_type(tmp_path: Path) -> None:
    found = converted(tmp_path, "odd.yaml", ODD)
    assert set(found) == {"odd-people", "odd-games", "odd-delegated", "odd-report"}
    for item in found.values():
        assert_valid(item)
    people = api_of(found["odd-people"])
    assert people["endpoint"] == "https://host.example.com/api/people"
    assert people["paginator"] == {
        "type": "pageNumber",
        "pageSize": 50,
        "basePage": 1,
        "pageParam": "page",
    }


def test_parents_of_parents_keep_their_own_fields_of_the_same_name(tmp_path: Path) -> None:
    games = api_of(converted(tmp_path, "odd.yaml", ODD)["odd-games"])
    assert [parent["name"] for parent in games["parents"]] == ["people", "teams"]
    above = games["parents"][1]["endpoint"]
    assert above == "https://host.example.com/api/people/{resources.people.id}/teams"
    assert games["params"] == {"team": "{resources.teams.uid}"}


def test_an_asynchronous_retriever_becomes_a_job(tmp_path: Path) -> None:
    report = api_of(converted(tmp_path, "odd.yaml", ODD)["odd-report"])
    assert (report["method"], report["body"]) == ("POST", {"report": "orders"})
    assert report["asyncJob"] == {
        "statusUrl": "https://reports.example.com/jobs/{job.id}",
        "statusPath": "job.state",
        "completed": ["DONE"],
        "failed": ["FATAL", "LATE"],
        "timeout": "30m",
        "downloadUrl": "{job.job.url}",
    }
    assert report["format"] == {"type": "csv"}
    assert report["auth"] == {"bearer": {"token": "${SECRET:odd#api_token}"}}


def test_nothing_of_a_manifest_goes_in_silence(tmp_path: Path) -> None:
    found = converted(tmp_path, "odd.yaml", ODD)
    notes = {name: "\n".join(item.notes) for name, item in found.items()}
    for name, words in (
        ("odd-people", "api_budget: not carried over"),
        ("odd-people", "stream code: left out: retriever: CustomRequester is code"),
        ("odd-people", "stream delegated: its incremental_stream is taken"),
        ("odd-people", "is https://host.example.com/api/people here: write the real address there"),
        ("odd-people", "page_size_option: does not say under which name"),
        ("odd-games", "partition_router.incremental_dependency: not carried over"),
        ("odd-delegated", "incremental_sync.is_data_feed: not carried over"),
        ("odd-delegated", "start_datetime: is 2020-01-01 here"),
        ("odd-report", "store its api_token as ${SECRET:odd#api_token}"),
    ):
        assert words in notes[name], words
    incremental = api_of(found["odd-delegated"])["incremental"]
    assert (incremental["cursorPath"], incremental["initialValue"]) == ("changed", "2020-01-01")


def test_a_result_that_does_not_validate_says_so(tmp_path: Path) -> None:
    text = ODD.replace("page_size: 50", "page_size: 500000")
    notes = converted(tmp_path, "odd.yaml", text)["odd-people"].notes
    assert any("pageSize: is to be mended by hand" in note for note in notes)


def test_a_manifest_of_before_references_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CannotConvert, match="migrate the manifest first"):
        converted(tmp_path, "old.yaml", "version: 1\nstreams: ['*ref(definitions.a)']")
