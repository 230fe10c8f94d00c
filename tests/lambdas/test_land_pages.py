"""Landing against a real HTTP server and the local AWS: every row exactly once."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from told_metrics import sums
from weir_contract.codec import loads
from weir_contract.manifest import Manifest, manifest_key, manifest_prefix
from weir_contract.rest import Incremental, Paginator, RequestLimits, RestApi
from weir_contract.rows import Field, RowContract
from weir_contract.runs import RunRecord
from weir_contract.state import BODY, CHECKPOINT, CONTRACT, FEED, run_sk, source_pk
from weir_lambdas.common.errors import (
    LeaseHeld,
    OutOfTime,
    SourceBadAnswer,
    SourceForbidden,
    SourceNotFound,
    SourceUnavailable,
)
from weir_lambdas.common.state import read_contract

Rows = list[dict[str, Any]]
SCHEDULED = "2026-02-28T23:30:00Z"


def served(rows: Rows, paginator: Paginator, cap: int = 10_000) -> Callable[..., Any]:
    """An API over rows in the paginator's style, that gives ``cap`` rows a page at most."""

    def answer(call: Any, http: Any) -> Any:
        query = call.query
        size = min(int(query.get(paginator.limit_param or "", paginator.page_size)), cap)
        if paginator.type == "single":
            return 200, {}, json.dumps(rows).encode()
        if paginator.type == "pageNumber":
            start = (int(query[paginator.page_param]) - paginator.base_page) * size
        elif paginator.type == "offset":
            start = int(query[paginator.offset_param])
        else:
            start = int(query.get(paginator.cursor_param) or query.get("after") or 0)
        page, rest = rows[start : start + size], rows[start + size :]
        body: dict[str, Any] = {"meta": {"total": len(rows), "pages": -(-len(rows) // size)}}
        headers = {"Content-Type": "application/json"}
        following = str(start + size) if rest else None
        if paginator.type == "cursor" and paginator.cursor_header:
            headers[paginator.cursor_header] = following or ""
        body["next_cursor"] = following
        if paginator.type == "link":
            target = f"{call.path}?after={following}"
            body["next"] = target if following else None
            if following and not paginator.next_path:
                headers["Link"] = f'<{target}>; title="a, b"; rel="prev next", </>; rel=first'
        return 200, headers, json.dumps(body | {"data": page}).encode()

    return answer


STYLES = [
    Paginator("single"),
    Paginator("pageNumber"),
    Paginator("pageNumber", base_page=0, page_param="p", total_path="meta.pages"),
    Paginator("offset", limit_param="limit"),
    Paginator("offset"),
    Paginator("offset", limit_param="limit", total_path="meta.total"),
    Paginator("cursor", cursor_path="next_cursor"),
    Paginator("cursor", cursor_header="X-Next", cursor_param="from", limit_param="n"),
    Paginator("link"),
    Paginator("link", next_path="next"),
]


def landed_rows(aws: Any, manifest: Manifest) -> Rows:
    found: Rows = []
    for part in manifest.parts:
        body = aws("s3").get_object(Bucket=manifest.bucket, Key=part.key)["Body"].read()
        assert hashlib.sha256(body).hexdigest() == part.sha256
        assert len(body) == part.bytes
        lines = gzip.decompress(body).splitlines()
        assert len(lines) == part.rows
        found += [json.loads(line) for line in lines]
    return found


def manifest_of(aws: Any, config: Any, sequence: int) -> Manifest:
    key = manifest_key(config.id, sequence)
    return loads(Manifest, aws("s3").get_object(Bucket=config.raw_bucket, Key=key)["Body"].read())


def manifests_of(aws: Any, config: Any) -> list[str]:
    found = aws("s3").list_objects_v2(Bucket=config.raw_bucket, Prefix=manifest_prefix(config.id))
    return [item["Key"] for item in found.get("Contents", [])]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    style=st.sampled_from(STYLES),
    count=st.integers(0, 23),
    size=st.integers(1, 9),
    cap=st.integers(1, 12),
)
def test_every_row_lands_exactly_once_for_any_page_size(
    api: Any, aws: Any, source: Any, lander: Any, style: Paginator, count: int, size: int, cap: int
) -> None:
    style = replace(style, page_size=size)
    rows = [{"id": number} for number in range(count)]
    api.answer = served(rows, style, cap)
    config = replace(source(RestApi(f"{api.url}/rows", paginator=style)), name=uuid4().hex)
    landing = lander(config).land("run-1", SCHEDULED, None)
    manifest = manifest_of(aws, config, landing.sequence)
    assert landing.complete
    assert landed_rows(aws, manifest) == rows


def test_the_manifest_says_what_landed_under_the_scheduled_day(
    api: Any, aws: Any, source: Any, lander: Any, table: Any
) -> None:
    rows = [{"id": 1, "price": 1.5, "at": "2026-01-01T00:00:00Z", "tags": []}]
    api.answer = lambda call, http: (200, {}, json.dumps(rows).encode())
    config = source(RestApi(api.url))
    landing = lander(config).land("run-1", SCHEDULED, "arn:x")
    manifest = manifest_of(aws, config, 1)
    assert manifest.parts[0].key == "shop/orders/date=2026-02-28/run=run-1/part-00000.e1.jsonl.gz"
    assert (manifest.sequence, manifest.epoch, manifest.rows) == (1, 1, 1)
    assert manifest.scheduled_time == "2026-02-28T23:30:00.000Z"
    types = {"id": "integer", "price": "number", "at": "timestamptz", "tags": "json"}
    assert manifest.inferred == types
    contract = read_contract(table, config.id)
    assert contract is not None and {f.name: f.type for f in contract.fields} == types
    record = loads(RunRecord, table.get(source_pk(config.id), run_sk("run-1"))[BODY])
    assert (record.state, record.rows, record.manifests) == ("Succeeded", 1, ("shop/orders#1",))
    assert [item["target_sk"] for item in table.query(FEED, "20")] == ["RUN#run-1"]
    assert landing.as_output()["complete"] is True


def test_an_empty_answer_commits_a_manifest_and_freezes_no_contract(
    api: Any, aws: Any, source: Any, lander: Any, table: Any
) -> None:
    config = source(RestApi(api.url))
    landing = lander(config).land("run-1", SCHEDULED, None)
    assert (landing.rows, landing.complete) == (0, True)
    assert manifest_of(aws, config, 1).parts == ()
    assert table.get(source_pk(config.id), CONTRACT) is None


def test_the_first_contract_stays(api: Any, source: Any, lander: Any, table: Any) -> None:
    config = source(
        RestApi(api.url),
        contract=RowContract(fields=(Field("customerId", "id"), Field("n", "x.n", "string"))),
    )
    api.answer = lambda call, http: (200, {}, b'{"id": 7, "x": {"n": 1}}')
    lander(config).land("run-1", SCHEDULED, None)
    api.answer = lambda call, http: (200, {}, b'{"id": "seven"}')
    lander(config).land("run-2", SCHEDULED, None)
    contract = read_contract(table, config.id)
    assert [(f.name, f.path, f.type) for f in contract.fields] == [
        ("customerId", "id", "integer"),
        ("n", "x.n", "string"),
    ]


def test_a_column_that_is_mapped_later_joins_the_frozen_contract(
    api: Any, source: Any, lander: Any, table: Any
) -> None:
    first = RowContract(fields=(Field("customerId", "id"),))
    config = source(RestApi(api.url), contract=first)
    api.answer = lambda call, http: (200, {}, b'{"id": 7, "age": 30}')
    lander(config).land("run-1", SCHEDULED, None)
    later = RowContract(fields=(Field("customerId", "id"), Field("age", "age")))
    api.answer = lambda call, http: (200, {}, b'{"id": "seven", "age": 31}')
    lander(replace(config, contract=later)).land("run-2", SCHEDULED, None)
    contract = read_contract(table, config.id)
    assert contract.types == {"customerId": "integer", "age": "integer"}
    api.answer = lambda call, http: (200, {}, b'{"id": 8, "age": "old"}')
    lander(replace(config, contract=later)).land("run-3", SCHEDULED, None)
    assert read_contract(table, config.id) == contract


def test_parts_are_cut_by_size_and_equal_rows_are_equal_bytes(
    api: Any, aws: Any, source: Any, lander: Any
) -> None:
    rows = [
        {"id": i, "noise": hashlib.sha256(str(i).encode()).hexdigest() * 40} for i in range(1200)
    ]
    api.answer = served(rows, Paginator("offset", limit_param="limit"))
    config = source(RestApi(api.url, paginator=Paginator("offset", limit_param="limit")))
    lander(config, part_bytes=20_000).land("run-1", SCHEDULED, None)
    lander(config, part_bytes=20_000).land("run-2", SCHEDULED, None)
    one, two = manifest_of(aws, config, 1), manifest_of(aws, config, 2)
    assert len(one.parts) > 1
    assert [p.sha256 for p in one.parts] == [p.sha256 for p in two.parts]
    assert landed_rows(aws, one) == rows


def test_a_landing_stops_before_the_deadline_and_goes_on_where_it_stopped(
    api: Any, aws: Any, source: Any, lander: Any, table: Any
) -> None:
    rows = [{"id": i, "at": f"2026-01-{i + 1:02}"} for i in range(25)]
    style = Paginator("cursor", cursor_path="next_cursor", page_size=5)
    api.answer = served(rows, style)
    config = source(RestApi(api.url, paginator=style, incremental=Incremental("at", "since")))
    left = iter([600.0] * 3 + [5.0] * 1000)
    first = lander(config, lambda: next(left)).land("run-1", SCHEDULED, None)
    assert not first.complete and 0 < first.rows < 25
    second = lander(config).land("run-1", SCHEDULED, None)
    assert second.complete and second.sequence == 2
    both = [manifest_of(aws, config, n) for n in (1, 2)]
    assert [r for m in both for r in landed_rows(aws, m)] == rows
    assert both[0].complete is False
    assert both[1].cursor_after == "2026-01-25"
    record = loads(RunRecord, table.get(source_pk(config.id), run_sk("run-1"))[BODY])
    assert (record.rows, record.state, len(record.manifests)) == (25, "Succeeded", 2)


@pytest.mark.parametrize("status", [400, 404, 410])
def test_an_extraction_whose_cursor_has_expired_begins_anew_once(
    status: int, api: Any, aws: Any, source: Any, lander: Any, capsys: Any
) -> None:
    rows = [{"id": i} for i in range(25)]
    style = Paginator("cursor", cursor_path="next_cursor", page_size=5)
    good = served(rows, style)
    api.answer = good
    config = source(RestApi(api.url, paginator=style))
    left = iter([600.0] * 3 + [5.0] * 1000)
    first = lander(config, lambda: next(left)).land("run-1", SCHEDULED, None)
    assert not first.complete

    begun: list[bool] = []

    def answer(call: Any, http: Any) -> Any:
        if "cursor" not in call.query:
            begun.append(True)
        return good(call, http) if begun else (status, {}, b"")

    api.answer = answer
    second = lander(config).land("run-1", SCHEDULED, None)
    assert (second.complete, second.rows) == (True, 25)
    both = [manifest_of(aws, config, n) for n in (1, 2)]
    assert both[0].extraction != both[1].extraction
    assert landed_rows(aws, both[1]) == rows
    said = capsys.readouterr().out
    assert "the extraction begins anew" in said and sums(said)["ExtractionsRestarted"] == 1


def test_a_source_that_is_gone_is_not_read_anew_without_end(
    api: Any, source: Any, lander: Any
) -> None:
    style = Paginator("cursor", cursor_path="next_cursor", page_size=5)
    api.answer = served([{"id": i} for i in range(25)], style)
    config = source(RestApi(api.url, paginator=style))
    left = iter([600.0] * 3 + [5.0] * 1000)
    assert not lander(config, lambda: next(left)).land("run-1", SCHEDULED, None).complete
    api.answer = lambda call, http: (404, {}, b"")
    before = len(api.calls)
    with pytest.raises(SourceNotFound):
        lander(config).land("run-1", SCHEDULED, None)
    assert len(api.calls) == before + 2


def test_another_run_goes_on_with_an_extraction_that_was_cut_until_it_is_too_old(
    api: Any, aws: Any, source: Any, lander: Any, clock: Any
) -> None:
    style = Paginator("cursor", cursor_path="next_cursor", page_size=5)
    rows = [{"id": i} for i in range(12)]
    api.answer = served(rows, style)
    config = source(RestApi(api.url, paginator=style))
    cut = lander(config, lambda: 600.0 if len(api.calls) < 1 else 5.0)
    assert cut.land("run-1", SCHEDULED, None).rows == 5
    with pytest.raises(LeaseHeld):
        lander(config).land("run-2", SCHEDULED, None)
    clock.pass_time(3600)
    cut = lander(config, lambda: 600.0 if len(api.calls) < 2 else 5.0)
    assert cut.land("run-2", SCHEDULED, None).rows == 5
    both = [manifest_of(aws, config, n) for n in (1, 2)]
    assert [row for m in both for row in landed_rows(aws, m)] == rows[:10]
    assert both[0].extraction == both[1].extraction
    clock.pass_time(90_000)
    landing = lander(config).land("run-3", SCHEDULED, None)
    last = manifest_of(aws, config, landing.sequence)
    assert landed_rows(aws, last) == rows
    assert last.extraction != both[0].extraction


def test_an_extraction_that_was_cut_is_not_gone_on_with_under_another_configuration(
    api: Any, aws: Any, source: Any, lander: Any, clock: Any
) -> None:
    style = Paginator("cursor", cursor_path="next_cursor", page_size=5)
    rows = [{"id": i} for i in range(12)]
    api.answer = served(rows, style)
    config = source(RestApi(api.url, paginator=style))
    lander(config, lambda: 600.0 if len(api.calls) < 1 else 5.0).land("run-1", SCHEDULED, None)
    clock.pass_time(3600)
    changed = source(RestApi(api.url, paginator=style, params={"state": "open"}))
    landing = lander(changed).land("run-2", SCHEDULED, None)
    assert landed_rows(aws, manifest_of(aws, changed, landing.sequence)) == rows


def test_the_same_run_again_lands_nothing_and_gives_the_same_answer(
    api: Any, aws: Any, source: Any, lander: Any
) -> None:
    api.answer = lambda call, http: (200, {}, b'[{"id":1}]')
    config = source(RestApi(api.url))
    first = lander(config).land("run-1", SCHEDULED, None)
    assert lander(config).land("run-1", SCHEDULED, None) == first
    assert len(manifests_of(aws, config)) == 1
    assert len(api.calls) == 1


def test_the_cursor_is_sent_and_moves_with_the_rows(
    api: Any, aws: Any, source: Any, lander: Any
) -> None:
    api.answer = lambda call, http: (200, {}, b'[{"n":9},{"n":10}]')
    config = source(RestApi(api.url, incremental=Incremental("n", "since", initial_value="0")))
    lander(config).land("run-1", SCHEDULED, None)
    api.answer = lambda call, http: (200, {}, b"[]")
    lander(config).land("run-2", SCHEDULED, None)
    lander(config).land("run-3", SCHEDULED, None)
    assert [call.query["since"] for call in api.calls] == ["0", "10", "10"]


def test_a_boundary_too_large_for_the_checkpoint_is_kept_in_the_manifest(
    api: Any, aws: Any, source: Any, lander: Any, table: Any
) -> None:
    rows = [{"n": number, "at": "2026-02-01T10:00:00Z"} for number in range(9_000)]
    api.answer = lambda call, http: (200, {}, json.dumps(rows).encode())
    config = source(RestApi(api.url, incremental=Incremental("at", "since")))
    landed = [lander(config).land(f"run-{n}", SCHEDULED, None).rows for n in range(3)]
    item = table.get(source_pk(config.id), CHECKPOINT)
    assert (landed, item["cursor"], item["state"]) == ([9_000, 0, 0], "2026-02-01T10:00:00Z", None)
    assert len(json.loads(manifest_of(aws, config, 3).state)["seen"]) == 9_000


def test_a_checkpoint_that_is_lost_is_rebuilt_from_the_last_manifest(
    api: Any, aws: Any, source: Any, lander: Any, table: Any
) -> None:
    api.answer = lambda call, http: (200, {}, b'[{"n":10}]')
    config = source(RestApi(api.url, incremental=Incremental("n", "since")))
    lander(config).land("run-1", SCHEDULED, None)
    lander(config).land("run-2", SCHEDULED, None)
    table.delete(source_pk(config.id), CHECKPOINT)
    landing = lander(config).land("run-3", SCHEDULED, None)
    assert landing.sequence == 3
    assert api.calls[-1].query["since"] == "10"
    assert manifest_of(aws, config, 3).epoch > manifest_of(aws, config, 2).epoch


def test_a_crash_after_the_manifest_is_made_good_by_the_next_call(
    api: Any, aws: Any, source: Any, lander: Any, table: Any
) -> None:
    api.answer = lambda call, http: (200, {}, b'[{"n":10}]')
    config = source(RestApi(api.url))
    crashing = lander(config)

    class Crash(BaseException):
        """The process ends."""

    def crash(*args: Any) -> None:
        raise Crash

    crashing._checkpoints.advance = crash
    with pytest.raises(Crash):
        crashing.land("run-1", SCHEDULED, None)
    again = lander(config).land("run-1", SCHEDULED, None)
    assert (again.sequence, again.rows, len(api.calls)) == (1, 1, 1)
    assert loads(RunRecord, table.get(source_pk(config.id), run_sk("run-1"))[BODY]).rows == 1


def test_what_came_before_an_error_stays_and_another_run_asks_for_the_rest(
    api: Any, aws: Any, source: Any, lander: Any
) -> None:
    style = Paginator("cursor", cursor_path="next_cursor", page_size=2)
    rows = [{"id": number} for number in range(9)]
    good = served(rows, style)
    api.answer = lambda call, http: (
        (403, {}, b"") if call.query.get("cursor") == "4" else good(call, http)
    )
    config = source(RestApi(api.url, paginator=style))
    with pytest.raises(SourceForbidden):
        lander(config, part_bytes=1).land("run-1", SCHEDULED, None)
    assert landed_rows(aws, manifest_of(aws, config, 1)) == rows[:4]
    with pytest.raises(SourceForbidden):
        lander(config).land("run-2", SCHEDULED, None)
    assert len(manifests_of(aws, config)) == 1
    api.answer = good
    landing = lander(config).land("run-3", SCHEDULED, None)
    assert (landing.sequence, landing.complete) == (2, True)
    assert landed_rows(aws, manifest_of(aws, config, 2)) == rows[4:]
    assert [call.query.get("cursor") for call in api.calls] == [None, "2", *["4"] * 3, "6", "8"]


def test_parts_of_a_landing_whose_rows_cannot_be_trusted_have_no_manifest(
    api: Any, aws: Any, source: Any, lander: Any
) -> None:
    style = Paginator("pageNumber", page_size=2)
    api.answer = lambda call, http: (200, {}, b'[{"id":1},{"id":2}]')
    config = source(RestApi(api.url, paginator=style))
    with pytest.raises(SourceBadAnswer, match="3 times in a row"):
        lander(config, part_bytes=1).land("run-1", SCHEDULED, None)
    assert manifests_of(aws, config) == []
    api.answer = served([{"id": 1}], style)
    assert lander(config).land("run-2", SCHEDULED, None).sequence == 1
    assert landed_rows(aws, manifest_of(aws, config, 1)) == [{"id": 1}]


def test_a_second_writer_is_kept_out_until_the_lease_ends(
    api: Any, source: Any, lander: Any, clock: Any
) -> None:
    config = source(RestApi(api.url))
    first = lander(config)
    first._checkpoints.acquire("run-1", 960)
    with pytest.raises(LeaseHeld, match="run-1 holds"):
        lander(config).land("run-2", SCHEDULED, None)
    clock.pass_time(1000)
    assert lander(config).land("run-2", SCHEDULED, None).sequence == 1


def test_a_writer_whose_lease_was_taken_over_commits_nothing(
    api: Any, aws: Any, source: Any, lander: Any, clock: Any
) -> None:
    config = source(RestApi(api.url))

    def answer(call: Any, http: Any) -> Any:
        if len(api.calls) == 1:
            clock.pass_time(2000)
            lander(config).land("run-2", SCHEDULED, None)
            return 200, {}, b'[{"from":"slow"}]'
        return 200, {}, b'[{"from":"fast"}]'

    api.answer = answer
    with pytest.raises(LeaseHeld, match="committed landing 1 first"):
        lander(config).land("run-1", SCHEDULED, None)
    assert landed_rows(aws, manifest_of(aws, config, 1)) == [{"from": "fast"}]
    assert len(manifests_of(aws, config)) == 1


def test_pages_that_lead_in_a_circle_are_an_error(api: Any, source: Any, lander: Any) -> None:
    api.answer = lambda call, http: (200, {}, b'{"data":[{"id":1}],"next_cursor":"same"}')
    config = source(RestApi(api.url, paginator=Paginator("cursor", cursor_path="next_cursor")))
    with pytest.raises(SourceBadAnswer, match="circle"):
        lander(config).land("run-1", SCHEDULED, None)


def test_a_source_that_ignores_the_page_is_an_error(api: Any, source: Any, lander: Any) -> None:
    api.answer = lambda call, http: (200, {}, b'[{"id":1}]')
    config = source(RestApi(api.url, paginator=Paginator("pageNumber")))
    with pytest.raises(SourceBadAnswer, match="ignore the paginator"):
        lander(config).land("run-1", SCHEDULED, None)


def test_more_pages_than_allowed_are_an_error(api: Any, source: Any, lander: Any) -> None:
    style = Paginator("pageNumber", page_size=1)
    api.answer = served([{"id": i} for i in range(9)], style)
    config = source(RestApi(api.url, paginator=style, limits=RequestLimits(max_pages=3)))
    with pytest.raises(SourceBadAnswer, match="maxPages = 3"):
        lander(config).land("run-1", SCHEDULED, None)


def test_a_next_link_elsewhere_gets_no_credentials_and_no_secret_is_stored(
    api: Any, other_api: Any, aws: Any, source: Any, lander: Any
) -> None:
    manager = aws("secretsmanager")
    manager.create_secret(Name="t/link-key", SecretString="s3cr3t-value")
    api.answer = lambda call, http: (
        200,
        {"Link": f"<{other_api.url}/next?api_key=s3cr3t-value>; rel=next"},
        b'[{"id":1}]',
    )
    other_api.answer = lambda call, http: (200, {}, b'[{"id":2}]')
    config = source(
        RestApi(
            api.url,
            headers={"X-Key": "${SECRET:key}"},
            params={"api_key": "${SECRET:key}"},
            paginator=Paginator("link"),
        ),
        secrets={"key": "t/link-key"},
    )
    cut = lander(config, lambda: 5.0 if api.calls else 600.0)
    assert not cut.land("run-1", SCHEDULED, None).complete
    assert api.calls[0].headers["X-Key"] == "s3cr3t-value"
    assert api.calls[0].query["api_key"] == "s3cr3t-value"
    manifest = manifest_of(aws, config, 1)
    assert "s3cr3t-value" not in (manifest.cursor_after or "")
    lander(config).land("run-1", SCHEDULED, None)
    assert "X-Key" not in other_api.calls[0].headers
    assert "X-key" not in other_api.calls[0].headers


def test_a_function_without_time_asks_nothing(api: Any, source: Any, lander: Any) -> None:
    with pytest.raises(OutOfTime):
        lander(source(RestApi(api.url)), lambda: 3.0).land("run-1", SCHEDULED, None)
    assert not api.calls


def test_a_post_sends_its_body_with_secrets(api: Any, aws: Any, source: Any, lander: Any) -> None:
    aws("secretsmanager").create_secret(Name="t/post", SecretString='{"token": "abc123"}')
    api.answer = lambda call, http: (200, {}, b'{"items":[{"id":1}]}')
    config = source(
        RestApi(api.url, method="POST", body={"auth": {"t": "${SECRET:p#token}"}, "size": 5}),
        secrets={"p": "t/post"},
    )
    assert lander(config).land("run-1", SCHEDULED, None).rows == 1
    assert json.loads(api.calls[0].body) == {"auth": {"t": "abc123"}, "size": 5}


def test_a_source_that_cannot_be_reached_is_unavailable(source: Any, lander: Any) -> None:
    with pytest.raises(SourceUnavailable, match="attempt 2 of 2"):
        config = source(RestApi("http://127.0.0.1:9/", limits=RequestLimits(max_attempts=2)))
        lander(config).land("run-1", SCHEDULED, None)


def test_a_source_cannot_ask_for_a_secret_in_its_next_link(
    api: Any, aws: Any, source: Any, lander: Any
) -> None:
    aws("secretsmanager").create_secret(Name="t/asked", SecretString="hidden-value")
    api.answer = lambda call, http: (200, {}, b'{"data":[{"id":1}],"next":"/x?k=${SECRET:key}"}')
    config = source(
        RestApi(api.url, paginator=Paginator("link", next_path="next")), secrets={"key": "t/asked"}
    )
    with pytest.raises(SourceBadAnswer, match="next page"):
        lander(config).land("run-1", SCHEDULED, None)
    assert len(api.calls) == 1
