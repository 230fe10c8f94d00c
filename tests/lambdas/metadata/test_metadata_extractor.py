"""The metadata extractor on a local AWS: what is written of a landing, and what is told of changes."""

from __future__ import annotations

import datetime as dt
import gzip
import random
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from lambdas.metadata.conftest import ID, RETRY_QUEUE, Landings
from told_metrics import metrics_in, sums
from weir_contract.codec import loads
from weir_contract.metadata import SchemaNotice, metadata_key
from weir_contract.rows import Field, RowContract
from weir_contract.state import FEED, NOTICE
from weir_lambdas.metadata_extractor.extract import Extractor

TYPED = RowContract(
    fields=(
        Field("id", "id", "integer", nullable=False),
        Field("email", "email", "string", classification="personal"),
        Field("city", "address.city", "string"),
        Field("salary", "pay.salary", "number", classification="sensitive"),
    )
)
ROWS = [
    {
        "id": number,
        "email": f"p{number}@example.com",
        "address": {"city": "Berlin" if number % 2 else None},
        "pay": {"salary": 1000.5 + number},
        "paid": f"2026-01-{number % 28 + 1:02d}",
    }
    for number in range(100)
]


@pytest.fixture
def described(landings: Landings) -> Landings:
    landings.describe(TYPED)
    landings.freeze(TYPED)
    return landings


def notices(landings: Landings) -> list[SchemaNotice]:
    return [loads(SchemaNotice, item[NOTICE]) for item in landings.table.query(FEED, "")]


def test_every_column_of_a_landing_is_measured_and_guarded_ones_show_no_content(
    described: Landings,
) -> None:
    described.land(1, ROWS[:40], ROWS[40:])
    assert described.take(1) == []
    found = described.metadata(1)
    assert (found.rows, found.rows_read, found.parts_read, found.sampled) == (100, 100, 2, False)
    columns = {one.name: one for one in found.columns}
    assert set(columns) == {"id", "email", "address", "address.city", "pay", "pay.salary", "paid"}
    assert (columns["id"].type, columns["id"].min, columns["id"].max) == ("integer", "0", "99")
    assert (columns["id"].distinct, columns["id"].distinct_exact) == (100, True)
    assert (columns["address.city"].nulls, columns["address.city"].distinct) == (50, 1)
    assert columns["paid"].type == "date"
    assert columns["paid"].max == "2026-01-28"
    for guarded in ("email", "pay.salary", "pay"):
        assert (columns[guarded].min, columns[guarded].max) == (None, None)
    assert columns["email"].distinct == 100
    text = described.storage.get(described.bucket, metadata_key(ID, 1)).decode()
    assert "example.com" not in text
    assert "1099.5" not in text


def test_columns_of_every_awkward_kind_are_measured(landings: Landings) -> None:
    landings.describe(RowContract())
    rows: list[dict[str, Any]] = [
        {
            "nothing": None,
            "mixed": [1, "1", True, {"a": 1}, [1], None, 2.5][number % 7],
            "plain": [1, "b", True, None][number % 4],
            "Id": number,
            "id": str(number),
            "nested": {"deep": {"deeper": [number]}},
            "cut": "cut \ud83d",
            "k\udc00": 1,
            "": 0,
            "a.b": 1,
            "text": "x" * 1_000,
        }
        for number in range(28)
    ]
    rows.append({"huge": 10**400})
    landings.land(1, rows)
    key = landings.land(2, [{"huge": 1}]).parts[0].key
    odd = b'{"huge":1e9999999}\n{"huge":1e99999999999999999999}\n{"huge":1.5e400}\n'
    landings.storage.put(landings.bucket, key, gzip.compress(odd), "application/octet-stream")
    assert landings.take(1, 2) == []
    (huge,) = landings.metadata(2).columns
    assert (huge.type, huge.distinct, huge.max) == ("string", 3, "1.5E+400")
    found = {one.name: one for one in landings.metadata(1).columns}
    told = {
        name: (one.type, one.nulls, one.distinct, one.min, one.max) for name, one in found.items()
    }
    assert told.pop("cut") == ("string", 1, 1, "cut \ud83d", "cut \ud83d")
    assert told == {
        "nothing": (None, 29, 0, None, None),
        "mixed": ("string", 5, None, None, None),
        "plain": ("string", 8, 3, None, None),
        "Id": ("integer", 1, 28, "0", "27"),
        "id": ("string", 1, 28, "0", "9"),
        "nested": ("json", 1, None, None, None),
        "k\udc00": ("integer", 1, 1, "1", "1"),
        "": ("integer", 1, 1, "0", "0"),
        "a.b": ("integer", 1, 1, "1", "1"),
        "text": ("string", 1, 1, "x" * 128, "x" * 128),
        "huge": ("string", 28, 1, "1" + "0" * 127, "1" + "0" * 127),
    }


def test_a_thousand_columns_with_long_names_are_measured_and_known(landings: Landings) -> None:
    landings.describe(RowContract())
    wide = {f"{number:04d}_{'x' * 80}": f"value {number}" for number in range(1_598)}
    landings.land(1, [wide] * 3)
    landings.land(2, [dict.fromkeys(wide)])
    landings.land(3, [wide | {"one_more": 1}])
    assert landings.take(1, 2, 3) == []
    assert len(landings.metadata(1).columns) == 1_598
    assert landings.metadata(3).columns_left_out == 1
    known = landings.known()
    assert len(known.columns) == 1_598 and known.sequence == 3
    assert all(one.type == "string" and one.nulls for one in known.columns)


def test_columns_whose_names_take_too_much_room_are_measured_though_nobody_keeps_them(
    landings: Landings,
) -> None:
    landings.describe(RowContract())
    wide = {f"{number:04d}_{'é' * 123}": f"value {number}" for number in range(1_598)}
    landings.land(1, [wide])
    landings.land(2, [dict(list(wide.items())[::-1])])
    assert landings.take(1, 2) == []
    assert len(landings.metadata(2).columns) == 1_598
    known = landings.known()
    assert 500 < len(known.columns) < 1_598 and known.sequence == 2 and known.revision == 1


def test_the_same_manifest_is_measured_once_and_a_source_that_is_gone_not_at_all(
    landings: Landings,
) -> None:
    landings.land(1, ROWS)
    assert landings.take(1) == []
    with pytest.raises(FileNotFoundError):
        landings.metadata(1)
    landings.describe(TYPED)
    landings.freeze(TYPED)
    assert landings.take(1, 1) == []
    before, told = landings.metadata(1), notices(landings)
    assert landings.take(1) == []
    assert (landings.metadata(1), notices(landings)) == (before, told)
    assert [one.revision for one in told] == [1]


def retried(landings: Landings, sequence: int, count: int) -> dict[str, Any]:
    attributes = {"ApproximateReceiveCount": str(count)}
    return landings.event(sequence) | {"eventSourceARN": RETRY_QUEUE, "attributes": attributes}


def test_a_landing_that_is_never_measured_is_given_up_and_told_once(
    described: Landings, capsys: pytest.CaptureFixture[str]
) -> None:
    described.land(1, ROWS)
    lost = described.event(2)
    assert described.take(1) == []
    for count in (1, 7):
        again = described.function().batch([retried(described, 2, count)])
        assert again == {"batchItemFailures": [{"itemIdentifier": lost["messageId"]}]}
    assert not described.known().changes
    assert "EventsGivenUp" not in capsys.readouterr().out
    for _ in range(2):
        described.function().batch([retried(described, 2, 8)])
    (change,) = described.known().changes
    assert (change.kind, change.sequence) == ("notMeasured", 2)
    assert [one.revision for one in notices(described)] == [1, change.revision]
    given_up = [one for one in metrics_in(capsys.readouterr().out) if one[1] == "EventsGivenUp"]
    assert [one[2:4] for one in given_up] == [({"Queue": "weir-c-metadata-retry"}, 1.0)] * 2


def test_a_landing_that_is_measured_late_counts_and_is_known(
    described: Landings, capsys: pytest.CaptureFixture[str]
) -> None:
    described.land(1, ROWS)
    assert described.function().batch([retried(described, 1, 3)]) == {"batchItemFailures": []}
    assert described.metadata(1).rows == len(ROWS)
    assert sums(capsys.readouterr().out)["EventsRecovered"] == 1


def test_parquet_is_measured_by_its_footers_and_its_columns(landings: Landings) -> None:
    landings.describe(
        RowContract(fields=(Field("name", "name", "string", classification="personal"),))
    )
    table = pa.table(
        {
            "id": pa.array(range(30), pa.int64()),
            "name": [f"n{n % 7}" if n % 3 else None for n in range(30)],
            "price": pa.array([Decimal("1.25") * n for n in range(30)], pa.decimal128(12, 2)),
            "day": pa.array([dt.date(2026, 1, 1 + n) for n in range(30)]),
            "tags": [[str(n)] for n in range(30)],
            "kind": pa.array(["a", "b", "c"] * 10).dictionary_encode(),
            "void": pa.array([None] * 30, pa.string()),
            "flag": [n % 2 == 0 for n in range(30)],
        }
    )
    landings.land(1, table)
    assert landings.take(1) == []
    found = landings.metadata(1)
    assert (found.format, found.rows_read, found.sampled) == ("parquet", 30, False)
    columns = {one.name: one for one in found.columns}
    assert (columns["id"].nulls, columns["id"].min, columns["id"].max) == (0, "0", "29")
    assert (columns["name"].nulls, columns["name"].distinct) == (10, 7)
    assert (columns["name"].min, columns["name"].max) == (None, None)
    assert (columns["price"].type, columns["price"].max) == ("decimal(38,2)", "36.25")
    assert (columns["day"].min, columns["day"].max) == ("2026-01-01", "2026-01-30")
    assert (columns["tags"].type, columns["tags"].distinct, columns["tags"].nulls) == (
        "json",
        None,
        0,
    )
    assert columns["kind"].distinct == 3
    assert (columns["void"].type, columns["void"].nulls) == (None, 30)
    assert columns["flag"].distinct == 2


def test_a_large_landing_is_sampled_evenly_and_says_so(described: Landings) -> None:
    rows = [{"id": n, "noise": random.Random(n).random()} for n in range(4_000)]
    manifest = described.land(1, *[rows[at : at + 100] for at in range(0, 4_000, 100)])
    extractor = Extractor(described.aws("s3"), limit=manifest.bytes // 4)
    found = extractor.extract(manifest, TYPED)
    assert found.sampled
    assert (found.rows, found.parts) == (4_000, 40)
    assert 8 <= found.parts_read <= 10
    assert found.rows_read == found.parts_read * 100
    assert found.bytes_read <= manifest.bytes // 4
    columns = {one.name: one for one in found.columns}
    assert int(columns["id"].min or -1) < 400
    assert int(columns["id"].max or -1) > 3_600


def test_one_part_larger_than_the_limit_is_read_up_to_it(described: Landings) -> None:
    rows = [{"id": n, "noise": random.Random(n).randbytes(40).hex()} for n in range(60_000)]
    manifest = described.land(1, rows)
    found = Extractor(described.aws("s3"), limit=1 << 20).extract(manifest, TYPED)
    assert found.sampled
    assert 0 < found.rows_read < 60_000
    assert found.rows_unreadable == 0


def test_with_the_time_nearly_over_events_wait_for_the_next_call(described: Landings) -> None:
    described.land(1, ROWS)
    described.land(2, ROWS)
    described.remaining = 45.0
    assert described.take(1, 2) == [{"itemIdentifier": "m-2"}]
    described.remaining = 900.0
    assert described.take(2) == []
    assert described.known().sequence == 2


def change(landings: Landings) -> list[tuple[Any, ...]]:
    return [
        (one.sequence, one.kind, one.column, one.before, one.after)
        for one in landings.known().changes
    ]


def test_each_change_of_the_shape_is_told_once(described: Landings) -> None:
    base = [
        {"id": n, "email": "e", "address": {"city": "x"}, "pay": {"salary": 1.5}} for n in range(9)
    ]
    described.land(1, base)
    described.land(2, [{**row, "region": "eu"} for row in base])
    described.land(3, [{**row, "id": str(row["id"]) + "x", "region": "eu"} for row in base])
    described.land(4, [{k: v for k, v in row.items() if k != "email"} for row in base])
    described.land(5, [{**row, "id": None} for row in base])
    described.land(6, [{k: v for k, v in row.items() if k != "email"} for row in base])
    for sequence in (1, 2, 3, 4, 5, 6):
        assert described.take(sequence, sequence) == []
    assert change(described) == [
        (2, "columnAdded", "region", None, "string"),
        (3, "typeChanged", "id", "integer", "string"),
        (4, "columnMissing", "email", "string", None),
        (4, "columnMissing", "region", "string", None),
        (5, "columnReturned", "email", None, "string"),
        (5, "nullsSeen", "id", None, "string"),
    ]
    told = change(described)
    assert described.take(2, 3, 1, 6) == []
    assert change(described) == told
    known = {one.name: one for one in described.known().columns}
    assert (known["region"].taken, known["region"].missing) == (False, True)
    assert (known["id"].taken, known["address"].taken, known["address.city"].taken) == (True,) * 3
    assert [one.contract for one in described.known().changes if one.column == "id"] == [
        "integer"
    ] * 2


def test_landings_out_of_order_lead_to_the_same_columns(described: Landings) -> None:
    described.land(1, [{"id": 1, "a": 1}])
    described.land(2, [{"id": 1, "a": 1.5, "b": True}])
    described.land(3, [{"id": 1, "c": "x"}])
    for sequence in (3, 1, 2):
        assert described.take(sequence) == []
    known = {one.name: one for one in described.known().columns}
    assert {name: one.type for name, one in known.items() if name in ("id", "a", "b", "c")} == {
        "id": "integer",
        "a": "number",
        "b": "boolean",
        "c": "string",
    }
    assert described.known().sequence == 3


def test_a_contract_column_that_no_record_has_is_told_at_the_first_landing(
    described: Landings,
) -> None:
    described.land(1, [{"id": 1, "email": "x", "pay": {"salary": 2}}])
    assert described.take(1) == []
    assert change(described) == [(1, "columnMissing", "address.city", None, "string")]
    described.land(2, [{"id": 1, "email": "x", "pay": {"salary": 2}, "address": {"city": "Rome"}}])
    assert described.take(2) == []
    assert change(described)[1:] == [(2, "columnReturned", "address.city", None, "string")]


def test_a_landing_without_rows_changes_nothing(described: Landings) -> None:
    described.land(1, ROWS)
    described.land(2)
    assert described.take(1, 2) == []
    assert change(described) == []
    assert described.metadata(2).rows == 0
