"""The loader's SQL on the strict local Redshift: twice is once, and old never overwrites new."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from dataclasses import replace as changed
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bucket_store import Objects
from weir_contract.codec import ContractError
from weir_contract.compile import table_ddl
from weir_contract.ledger import ledger_ddl, ledger_name
from weir_contract.pipelines import Load, Stage, Unload
from weir_contract.rows import Field
from weir_contract.runs import StageAccount
from weir_lambdas.common.errors import LoadLost, LoadRefused
from weir_lambdas.redshift_loader.handler import counts_of
from weir_lambdas.redshift_loader.shape import (
    Target,
    next_step,
    target_of,
    tombstone_step,
    widens_tombstones,
)
from weir_lambdas.redshift_loader.sql import LoadPlan, fields_of, load_statements
from weir_lambdas.redshift_loader.unload import UnloadPlan, unload_statements
from weir_local.redshift.errors import SqlError
from weir_local.redshift.execute import Database, Directory, Session
from weir_local.redshift.principals import Principals

ROLE = "arn:aws:iam::000000000000:role/copy"
FIELDS = (
    Field("Id", "id", "integer"),
    Field("name", "name", "string"),
    Field("at", "at", "integer"),
)
MERGE = Load("shop", "Orders", "merge", keys=("Id",), distkey="Id", sortkey=("name",))
APPEND, REPLACE = Load("shop", "orders", "append"), Load("shop", "orders", "replace")
SCHEMA = pa.schema(
    [
        ("Id", pa.int64()),
        ("name", pa.string()),
        ("at", pa.int64()),
        ("_weir_run", pa.string()),
        ("_weir_sequence", pa.int64()),
    ]
)
Row = tuple[Any, ...]


@dataclass
class Shop:
    """A warehouse with the ledger and the schema ``shop``."""

    database: Database
    directory: Directory
    objects: Objects = field(default_factory=Objects)

    def session(self) -> Session:
        return Session(self.database, self.directory, "admin", lambda role: self.objects)

    def sql(self, text: str) -> list[Row]:
        session = self.session()
        try:
            return session.run(text).rows
        finally:
            session.close()

    def batch(self, statements: list[str]) -> list[Row]:
        """As BatchExecuteStatement: one session, one transaction; the last one's rows."""
        session = self.session()
        try:
            session.run("BEGIN")
            rows: list[Row] = []
            for statement in statements:
                rows = session.run(statement).rows
            session.run("COMMIT")
            return rows
        finally:
            session.close()

    def copy(self, table: pa.Table, name: str) -> str:
        body = io.BytesIO()
        pq.write_table(table, body)
        data = body.getvalue()
        self.objects.content[("b", f"{name}.parquet")] = data
        entry = {
            "url": f"s3://b/{name}.parquet",
            "mandatory": True,
            "meta": {"content_length": len(data)},
        }
        self.objects.content[("b", f"{name}.json")] = json.dumps({"entries": [entry]}).encode()
        return f"s3://b/{name}.json"

    def load(
        self, load: Load, rows: list[Row], run: str, sequence: int, **more: Any
    ) -> dict[str, int]:
        gone = more.pop("gone", [])
        if gone:
            more["deletions_uri"] = self.copy(self.table(gone, run, sequence), f"{run}-gone")
        plan = LoadPlan(
            run,
            "shop/orders",
            load,
            FIELDS,
            tuple(SCHEMA.names),
            self.copy(self.table(rows, run, sequence), run) if rows or not gone else None,
            first_sequence=sequence,
            last_sequence=sequence,
            copy_role_arn=ROLE,
        )
        return self.run(changed(plan, **more))

    def table(self, rows: list[Row], run: str, sequence: int) -> pa.Table:
        full = [(*row, run, sequence) if len(row) == 3 else row for row in rows]
        columns = list(zip(*full, strict=True)) or [()] * 5
        arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
        return pa.table(arrays, schema=SCHEMA)

    def run(self, plan: LoadPlan) -> dict[str, int]:
        last = self.batch(load_statements(plan))
        records = [[{"longValue": int(value)} for value in row] for row in last]
        counts = counts_of(records, Stage("warehouse", "load", load=plan.load))
        account = StageAccount(
            "warehouse",
            "load",
            counts["rowsIn"],
            counts["rowsIn"],
            deduplicated=counts["deduplicated"],
            inserted=counts["inserted"],
            updated=counts["updated"],
            stale=counts["stale"],
            deleted=counts["deleted"],
            deletions=counts.get("deletions"),
        )
        assert account.imbalance() is None
        return counts

    def table_of(self, rows: list[Row], schema: pa.Schema) -> str:
        columns = zip(zip(*rows, strict=True), schema, strict=True)
        return self.copy(
            pa.table([pa.array(c, f.type) for c, f in columns], schema=schema), "other"
        )

    def alter(self, load: Load, fields: tuple[Field, ...]) -> int:
        """As the state machine: steps, until nothing is left to do. Returns how many there were."""
        for count in range(20):
            step = next_step(load, fields, self.columns(load.table))
            if step is None and widens_tombstones(load, fields):
                step = tombstone_step(load, fields, self.columns(f"_weir_deleted_{load.table}"))
            if step is None:
                return count
            if step.alone:
                self.sql(*step.sqls)
            else:
                self.batch(list(step.sqls))
        raise AssertionError("the steps have no end")

    def columns(self, table: str) -> dict[str, Target]:
        """As DescribeTable tells them."""
        columns = self.sql(
            "SELECT column_name, data_type FROM svv_redshift_columns "
            f"WHERE schema_name = 'shop' AND table_name = '{table}'"
        )
        return {name: seen_type(kind) for name, kind in columns}

    def rows(self) -> list[Row]:
        return sorted(self.sql("SELECT id, name, at FROM shop.orders"))


def seen_type(text: str) -> Target:
    """A type of the catalog, as DescribeTable tells it."""
    name, _, digits = text.partition("(")
    first, _, second = digits.rstrip(")").partition(",")
    names = {"character varying": "varchar", "bigint": "int8"}
    return target_of(
        {
            "typeName": names.get(name, name),
            "length": int(first or 0),
            "precision": int(first or 0),
            "scale": int(second or 0),
        }
    )


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    directory = Directory(tmp_path / "principals.json")
    principals = Principals()
    principals.create_user("admin", "Passw0rd!", superuser=True)
    directory.replace(principals)
    found = Shop(Database("dev", tmp_path / "dev.duckdb", "admin"), directory)
    for statement in ("CREATE SCHEMA weir", "CREATE SCHEMA shop", ledger_ddl()):
        found.sql(statement)
    yield found
    found.database.close()


def test_a_merge_inserts_updates_and_deduplicates(shop: Shop) -> None:
    first = shop.load(MERGE, [(1, "a", 1), (2, "b", 1), (1, "c", 1)], "r1", 1)
    assert (first["rowsIn"], first["inserted"], first["deduplicated"]) == (3, 2, 1)
    second = shop.load(MERGE, [(2, "B", 2), (3, "d", 2)], "r2", 2)
    assert (second["inserted"], second["updated"], second["stale"]) == (1, 1, 0)
    assert [row[0] for row in shop.rows()] == [1, 2, 3]
    assert (2, "B", 2) in shop.rows()


@pytest.mark.parametrize("load", [MERGE, APPEND, REPLACE])
def test_twice_is_once(shop: Shop, load: Load) -> None:
    rows = [(1, "a", 1), (2, "b", 1)]
    once = shop.load(load, rows, "r1", 1)
    assert shop.load(load, rows, "r1", 1) == once
    assert shop.rows() == rows
    assert shop.sql(f"SELECT COUNT(*) FROM {ledger_name()}") == [(1,)]


def test_old_rows_never_replace_new_ones_whatever_the_order_of_loads(shop: Shop) -> None:
    shop.load(MERGE, [(1, "new", 9), (2, "new", 9)], "r9", 9)
    counts = shop.load(MERGE, [(1, "old", 1), (3, "only here", 1)], "r1", 1)
    assert (counts["stale"], counts["inserted"], counts["updated"]) == (1, 1, 0)
    assert shop.rows() == [(1, "new", 9), (2, "new", 9), (3, "only here", 1)]


def test_the_cursor_goes_before_the_landing(shop: Shop) -> None:
    load = changed(MERGE, order_by="at")
    shop.load(load, [(1, "late", 9), (2, "x", None)], "r1", 1)
    counts = shop.load(load, [(1, "early", 5), (2, "y", 1), (1, "earlier", None)], "r2", 2)
    assert (counts["stale"], counts["deduplicated"], counts["updated"]) == (1, 1, 1)
    assert shop.rows() == [(1, "late", 9), (2, "y", 1)]


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    landings=st.lists(
        st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abc")), max_size=5),
        min_size=1,
        max_size=4,
    ),
    seed=st.integers(0, 10_000),
)
def test_any_order_of_loads_ends_in_the_newest_landing_of_each_key(
    shop: Shop, landings: list[list[tuple[int, str]]], seed: int
) -> None:
    shop.sql("DROP TABLE IF EXISTS shop.orders")
    shop.sql(f"DELETE FROM {ledger_name()}")
    numbered = list(enumerate(landings, 1))
    newest: dict[int, int] = {}
    for sequence, rows in numbered:
        newest |= {key: sequence for key, _ in rows}
    chance = random.Random(seed)
    order = numbered + chance.sample(numbered, 1)
    chance.shuffle(order)
    for sequence, rows in order:
        if rows:
            unique = list(dict(rows).items())
            shop.load(MERGE, [(k, v, sequence) for k, v in unique], f"r{sequence}", sequence)
    if newest:
        assert {row[0]: row[2] for row in shop.rows()} == newest


def test_replace_takes_the_last_picture_and_counts_the_older_ones_as_stale(shop: Shop) -> None:
    shop.load(REPLACE, [(9, "gone", 0)], "r0", 1)
    rows = [(1, "a", 1, "r1", 2), (1, "a", 1, "r1", 3), (2, "b", 1, "r1", 3)]
    counts = shop.load(REPLACE, rows, "r1", 3, keep_from=3)
    assert counts == {
        "rowsIn": 3,
        "deduplicated": 0,
        "inserted": 2,
        "updated": 0,
        "stale": 1,
        "deleted": 1,
    }
    assert shop.rows() == [(1, "a", 1), (2, "b", 1)]


def test_replace_by_an_older_picture_changes_nothing(shop: Shop) -> None:
    shop.load(REPLACE, [(1, "new", 1), (2, "new", 1)], "r5", 5)
    counts = shop.load(REPLACE, [(1, "old", 1)], "r1", 1)
    assert (counts["stale"], counts["inserted"], counts["deleted"]) == (1, 0, 0)
    assert len(shop.rows()) == 2


def test_replace_that_would_shrink_the_table_too_much_is_refused_and_can_be_allowed(
    shop: Shop,
) -> None:
    shop.load(REPLACE, [(n, "a", 1) for n in range(10)], "r1", 1)
    with pytest.raises(LoadRefused, match="replacing 10 rows by 4"):
        shop.load(REPLACE, [(n, "b", 1) for n in range(4)], "r2", 2)
    assert len(shop.rows()) == 10
    allowed = changed(REPLACE, max_shrink=0.9)
    counts = shop.load(allowed, [(n, "b", 1) for n in range(4)], "r2", 2)
    assert (counts["inserted"], counts["deleted"], len(shop.rows())) == (4, 10, 4)


def test_fewer_rows_than_min_rows_do_not_empty_a_table(shop: Shop) -> None:
    shop.load(REPLACE, [(1, "a", 1)], "r1", 1)
    with pytest.raises(LoadRefused):
        shop.load(REPLACE, [], "r2", 2)
    with pytest.raises(LoadRefused):
        shop.load(changed(REPLACE, min_rows=3), [(1, "b", 1)], "r3", 3)
    assert shop.rows() == [(1, "a", 1)]


def test_a_load_that_fails_leaves_nothing_behind(shop: Shop) -> None:
    shop.load(MERGE, [(1, "a", 1)], "r1", 1)
    with pytest.raises(SqlError):
        shop.load(MERGE, [(2, "b", 1), (None, "c", 1)], "r2", 2)
    assert shop.rows() == [(1, "a", 1)]
    assert shop.sql(f"SELECT COUNT(*) FROM {ledger_name()}") == [(1,)]


def test_every_type_arrives_as_itself_and_new_columns_are_added(shop: Shop) -> None:
    from datetime import date, datetime
    from decimal import Decimal

    types = {
        "id": ("integer", pa.int64(), 2**60 + 1),
        "price": ("decimal(38,10)", pa.decimal128(38, 10), Decimal("12345678901234567.0123456789")),
        "ratio": ("number", pa.float64(), 0.5),
        "ok": ("boolean", pa.bool_(), True),
        "day": ("date", pa.date32(), date(2026, 2, 28)),
        "local": ("timestamp", pa.timestamp("us"), datetime(2026, 2, 28, 1, 2, 3)),
        "moment": ("timestamptz", pa.timestamp("us"), datetime(2026, 2, 28, 1, 2, 3)),
        "doc": ("json", pa.string(), '{"a":[1,2]}'),
    }
    names = [*types, "_weir_run", "_weir_sequence"]
    table = pa.table(
        [
            *(pa.array([v], t) for _, t, v in types.values()),
            pa.array(["r1"]),
            pa.array([1], pa.int64()),
        ],
        names=names,
    )
    fields = fields_of(names, [k for k, _, _ in types.values()] + ["string", "integer"], ())
    load = Load("shop", "all_types", "merge", keys=("id",))
    shop.sql(table_ddl(load, fields[:2]))
    assert shop.alter(load, fields) == 1
    plan = LoadPlan(
        "r1",
        "shop/orders",
        load,
        fields,
        tuple(names),
        shop.copy(table, "types"),
        copy_role_arn=ROLE,
    )
    assert shop.run(plan)["inserted"] == 1
    found = shop.sql("SELECT id, price, ratio, ok, day, local, doc.a[1] FROM shop.all_types")[0]
    assert found[:5] == tuple(types[n][2] for n in ("id", "price", "ratio", "ok", "day"))
    assert str(found[6]) == "2"
    assert shop.sql(
        "SELECT moment = '2026-02-28 03:02:03+02'::TIMESTAMPTZ FROM shop.all_types"
    ) == [(True,)]


def test_what_the_sql_cannot_do_is_refused_before_it_runs() -> None:
    plan = LoadPlan("r", "p", MERGE, FIELDS, tuple(SCHEMA.names), "s3://b/m")
    for wrong, words in (
        (changed(plan, load=changed(MERGE, keys=())), "needs keys"),
        (changed(plan, load=changed(REPLACE, deletes="hard")), "needs mode merge"),
        (changed(plan, load=changed(MERGE, keys=("nope",))), "nope"),
        (changed(plan, fields=(Field("id", "id", "json"), *FIELDS[1:])), "compared"),
        (changed(plan, file_columns=("Id", "name", "at", "more")), "more"),
        (changed(plan, file_columns=("Id",)), "lack"),
    ):
        with pytest.raises(ContractError, match=words):
            load_statements(wrong)


def test_a_user_value_cannot_end_a_literal() -> None:
    text = "\n".join(
        load_statements(
            LoadPlan("r'; DROP TABLE x; --", "p", MERGE, FIELDS, tuple(SCHEMA.names), "s3://b/m")
        )
    )
    assert "'r''; DROP TABLE x; --'" in text
    assert "TRUNCATE" not in text


def test_statements_stay_within_the_data_apis_limits() -> None:
    wide = tuple(Field(f"column_with_a_rather_long_name_{n:04}", "x", "string") for n in range(300))
    load = Load("s", "t", "merge", keys=(wide[0].name,))
    columns = (*(f.name for f in wide), "_weir_run", "_weir_sequence")
    statements = load_statements(LoadPlan("r", "p", load, wide, columns, "s3://b/m"))
    assert len(statements) <= 40
    step = next_step(load, wide, {wide[0].name: Target()})
    assert step is not None and len(step.sqls) == 40


def test_a_target_follows_wider_types_without_losing_a_row(shop: Shop) -> None:
    load = Load("shop", "orders", "merge", keys=("Id",))
    shop.load(load, [(1, "a", 2**63 - 1), (2, "b", None)], "r1", 1)
    shop.sql('ALTER TABLE shop.orders DROP COLUMN "name"')
    shop.sql('ALTER TABLE shop.orders ADD COLUMN "name" VARCHAR(4)')
    wide = (
        FIELDS[0],
        Field("name", "name", "string", max_length=8, widened_from="string(4)"),
        Field("at", "at", "decimal(21,2)", widened_from="integer"),
    )
    assert shop.alter(load, wide) == 2
    assert shop.alter(load, wide) == 0
    rows = [(3, "12345678", Decimal("1.25"), "r2", 2)]
    schema = SCHEMA.set(2, pa.field("at", pa.decimal128(21, 2)))
    shop.load(load, [], "r2", 2, fields=wide, manifest_uri=shop.table_of(rows, schema))
    assert shop.rows() == [
        (1, None, Decimal("9223372036854775807.00")),
        (2, None, None),
        (3, "12345678", Decimal("1.25")),
    ]
    wider = (*wide[:2], Field("at", "at", "decimal(23,4)", widened_from="integer"))
    assert shop.alter(load, wider) == 1
    assert shop.alter(load, wide) == 0, "an older contract makes nothing narrower"
    assert [row[2] for row in shop.rows()][2] == Decimal("1.2500")


@pytest.mark.parametrize(
    ("change", "nullable", "words"),
    [
        ({"keys": ("At",)}, True, "a key of"),
        ({"distkey": "at"}, True, "the distkey of"),
        ({"sortkey": ("id", "at")}, True, "a sortkey of"),
        ({}, False, "not nullable"),
    ],
)
def test_a_column_that_redshift_cannot_write_anew_is_refused_by_name(
    change: dict[str, Any], nullable: bool, words: str
) -> None:
    load = Load("shop", "orders", "append", **change)
    wide = Field("at", "at", "decimal(38,2)", nullable=nullable, widened_from="integer")
    there = {"at": target_of({"typeName": "int8"})}
    with pytest.raises(ContractError, match=rf"column at .* {words}"):
        next_step(load, (wide,), there)
    assert next_step(load, (changed(wide, widened_from=None),), there) is None


def test_a_missing_ledger_row_is_an_error() -> None:
    stage = Stage("w", "load", load=MERGE)
    with pytest.raises(LoadLost):
        counts_of([], stage)
    with pytest.raises(LoadLost):
        counts_of([[{"longValue": 0}] * 10], stage)


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_an_unload_writes_under_its_runs_prefix_and_can_be_repeated(shop: Shop, kind: Any) -> None:
    shop.load(APPEND, [(1, "it's", 1)], "r1", 1)
    plan = UnloadPlan(
        "r1",
        Unload("select id, name from shop.orders where name = 'it''s';", "out", "x/", kind),
        ROLE,
    )
    for _ in range(2):
        shop.batch(unload_statements(plan))
    written = [key for bucket, key in shop.objects.content if bucket == "out"]
    assert written and all(key.startswith("x/run=r1/") for key in written)
    assert any(key.endswith("manifest") for key in written)


HARD = changed(MERGE, table="orders", deletes="hard", order_by="at")
SOFT = changed(HARD, deletes="soft")
TOMBSTONES = "shop._weir_deleted_orders"


def gone(key: int, at: int | None) -> Row:
    """A deletion: the key and the order column, and nothing else."""
    return (key, None, at)


def test_a_deletion_takes_the_row_out_and_is_counted(shop: Shop) -> None:
    shop.load(HARD, [(1, "a", 1), (2, "b", 1)], "r1", 1)
    counts = shop.load(HARD, [(3, "c", 2)], "r2", 2, gone=[gone(1, 2), gone(9, 2), gone(1, 1)])
    assert counts == {
        "rowsIn": 1,
        "deduplicated": 1,
        "inserted": 1,
        "updated": 0,
        "stale": 1,
        "deleted": 1,
        "deletions": 3,
    }
    assert shop.rows() == [(2, "b", 1), (3, "c", 2)]


def test_a_load_of_deletions_alone_is_a_load(shop: Shop) -> None:
    shop.load(HARD, [(1, "a", 1)], "r1", 1)
    once = shop.load(HARD, [], "r2", 2, gone=[gone(1, 2)])
    assert (once["rowsIn"], once["deleted"]) == (0, 1)
    assert shop.load(HARD, [], "r2", 2, gone=[gone(1, 2)]) == once
    assert shop.rows() == []


def test_a_deletion_older_than_the_row_is_stale_and_a_newer_row_revives(shop: Shop) -> None:
    shop.load(HARD, [(1, "a", 5)], "r1", 1)
    assert shop.load(HARD, [], "r2", 2, gone=[gone(1, 4)])["stale"] == 1
    assert shop.load(HARD, [], "r3", 3, gone=[gone(1, 6)])["deleted"] == 1
    assert shop.load(HARD, [(1, "late", 5)], "r4", 4)["stale"] == 1
    assert shop.load(HARD, [(1, "again", 7)], "r5", 5)["inserted"] == 1
    assert shop.rows() == [(1, "again", 7)]
    assert shop.sql(f"SELECT COUNT(*) FROM {TOMBSTONES}") == [(0,)]


def test_a_soft_deletion_marks_the_row_and_a_newer_row_takes_the_mark_away(shop: Shop) -> None:
    marked = "SELECT id, name, _weir_deleted_at IS NOT NULL FROM shop.orders ORDER BY id"
    shop.load(changed(SOFT, deletes="ignore"), [(1, "a", 1), (2, "b", 1)], "r1", 1)
    counts = shop.load(SOFT, [], "r2", 2, gone=[gone(1, 3)], new_mark=True)
    assert (counts["deleted"], counts["stale"]) == (1, 0)
    assert shop.sql(marked) == [(1, "a", True), (2, "b", False)]
    assert shop.load(SOFT, [(1, "between", 2)], "r3", 3)["updated"] == 1
    assert shop.sql(marked) == [(1, "between", True), (2, "b", False)]
    shop.load(SOFT, [(1, "again", 4)], "r4", 4)
    assert shop.sql(marked) == [(1, "again", False), (2, "b", False)]


def test_tombstones_are_forgotten_after_their_time_but_for_marked_rows(shop: Shop) -> None:
    for load in (HARD, SOFT):
        shop.load(load, [(1, "a", 1)], f"{load.deletes}1", 1, new_mark=load is SOFT)
        shop.load(load, [], f"{load.deletes}2", 2, gone=[gone(1, 3), gone(8, 3)])
        shop.sql(f"UPDATE {TOMBSTONES} SET _weir_deleted_at = '2020-01-01'")
        shop.load(load, [(2, "b", 1)], f"{load.deletes}3", 3)
        kept = shop.sql(f"SELECT id FROM {TOMBSTONES}")
        assert kept == ([] if load is HARD else [(1,)])
    assert shop.load(HARD, [(8, "late", 2)], "r9", 9)["inserted"] == 1


def test_tombstones_follow_wider_types_of_keys_and_of_what_tells_newer(shop: Shop) -> None:
    load = changed(HARD, keys=("name",))
    narrow = (FIELDS[0], Field("name", "name", "string", max_length=4), FIELDS[2])
    shop.load(load, [(1, "a", 1)], "r1", 1, fields=narrow, gone=[(None, "old", 3)])
    wide = (
        FIELDS[0],
        Field("name", "name", "string", max_length=8, widened_from="string(4)"),
        Field("at", "at", "decimal(21,2)", widened_from="integer"),
    )
    assert shop.alter(load, wide) == 4
    assert shop.alter(load, wide) == 0
    schema = SCHEMA.set(2, pa.field("at", pa.decimal128(21, 2)))
    gone = shop.table_of([(None, "12345678", Decimal("5.75"), "r2", 2)], schema)
    more = {"fields": wide, "manifest_uri": None, "deletions_uri": gone}
    assert shop.load(load, [], "r2", 2, **more)["deletions"] == 1
    assert shop.sql(f"SELECT name, at FROM {TOMBSTONES} ORDER BY at") == [
        ("old", Decimal("3.00")),
        ("12345678", Decimal("5.75")),
    ]
    for number, (at, name) in enumerate((("5.50", None), ("5.90", "12345678")), start=3):
        rows = [(2, "12345678", Decimal(at), f"r{number}", number)]
        more = {"fields": wide, "manifest_uri": shop.table_of(rows, schema)}
        shop.load(load, [], f"r{number}", number, **more)
        there = [row[1] for row in shop.rows() if row[0] == 2]
        assert there == ([name] if name else []), f"a row of {at} and a deletion of 5.75"


def test_a_tombstones_key_that_redshift_cannot_write_anew_is_refused_by_name() -> None:
    wide = (
        Field("id", "id", "decimal(38,2)", widened_from="integer"),
        Field("at", "at", "integer"),
    )
    narrow = {name: target_of({"typeName": "int8"}) for name in ("id", "at")}
    with pytest.raises(ContractError, match=r"column id .* a key of shop\._weir_deleted_orders"):
        tombstone_step(HARD, wide, narrow)
    assert tombstone_step(HARD, wide, {}) is None
    assert not widens_tombstones(changed(HARD, deletes="ignore"), wide)
    assert not widens_tombstones(changed(HARD, keys=("at",)), wide)
    assert widens_tombstones(HARD, wide)


def test_a_load_that_ignores_deletions_makes_no_tombstones(shop: Shop) -> None:
    shop.load(changed(HARD, deletes="ignore"), [(1, "a", 1)], "r1", 1)
    with pytest.raises(SqlError):
        shop.sql(f"SELECT 1 FROM {TOMBSTONES}")


EVENTS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 4), st.booleans()), min_size=1, max_size=5
)
"""Of one landing: key, order, whether it is a deletion."""


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    landings=st.lists(EVENTS, min_size=1, max_size=4),
    ordered=st.booleans(),
    soft=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_any_order_of_loads_with_deletions_ends_as_the_newest_word_on_each_key_says(
    shop: Shop,
    landings: list[list[tuple[int, int, bool]]],
    ordered: bool,
    soft: bool,
    seed: int,
) -> None:
    for table in ("shop.orders", TOMBSTONES):
        shop.sql(f"DROP TABLE IF EXISTS {table}")
    shop.sql(f"DELETE FROM {ledger_name()}")
    load = changed(SOFT if soft else HARD, order_by="at" if ordered else None)
    rows: dict[int, tuple[int, int]] = {}
    deletions: dict[int, tuple[int, int]] = {}
    numbered = []
    for sequence, events in enumerate(landings, 1):
        # Without orderBy a landing's records of one key are as old as each other.
        told = [(key, at if ordered else sequence, kind) for key, at, kind in events]
        for key, at, deleted in told:
            newest = deletions if deleted else rows
            newest[key] = max(newest.get(key, (-1, 0)), (at, sequence))
        numbered.append((sequence, told))
    chance = random.Random(seed)
    order = numbered + chance.sample(numbered, 1)
    chance.shuffle(order)
    for sequence, told in order:
        upserts = [(k, f"{at}.{sequence}", at) for k, at, deleted in told if not deleted]
        shop.load(
            load,
            upserts,
            f"r{sequence}",
            sequence,
            gone=[gone(k, at) for k, at, deleted in told if deleted],
        )
    found = {key: name for key, name, _ in shop.rows()}
    alive = {key for key, age in rows.items() if age > deletions.get(key, (-1, 0))}
    present = set(rows) if soft else alive
    assert found == {k: f"{at}.{n}" for k, (at, n) in rows.items() if k in present}
    if soft:
        unmarked = shop.sql("SELECT id FROM shop.orders WHERE _weir_deleted_at IS NULL")
        assert {key for (key,) in unmarked} == alive
