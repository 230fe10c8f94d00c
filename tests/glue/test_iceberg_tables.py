"""Iceberg tables: written by real Spark into a catalog on disk, and compared with a model."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from weir_contract.pipelines import Destination, IcebergTable
from weir_contract.rows import Field, PartitionField
from weir_contract.runs import StageAccount
from weir_glue.common.account import measure
from weir_glue.common.errors import TableConflict, TableRefused
from weir_glue.common.output import Commit
from weir_glue.iceberg import commit, upkeep
from weir_glue.iceberg.commit import marked, write
from weir_glue.iceberg.output import account, columns_of
from weir_glue.iceberg.shape import changes, partitions
from weir_glue.iceberg.table import Table, partition_changes, prepare, table_of

pytestmark = pytest.mark.spark

FIELDS = (
    Field("Id", "Id", "integer"),
    Field("at", "at", "timestamp"),
    Field("amount", "amount", "decimal(10,2)"),
)
NAMES = (f"t{number}" for number in itertools.count())
LANDED = "2024-03-05T06:07:08Z"


@pytest.fixture(scope="session")
def catalog(spark: SparkSession) -> SparkSession:
    spark.sql("CREATE NAMESPACE IF NOT EXISTS glue_catalog.ns")
    return spark


def target(parts: Sequence[PartitionField] = (), **options: Any) -> Destination:
    name = next(NAMES)
    return Destination(
        "processed", f"{name}/", tuple(parts), glue_table=name, iceberg=IcebergTable(**options)
    )


def table_for(spark: SparkSession, to: Destination) -> Table:
    """The destination's table, where a catalog on disk has it."""
    warehouse = spark.conf.get("spark.sql.catalog.glue_catalog.warehouse")
    return replace(table_of(spark, "ns", to), location=f"{warehouse}/ns/{to.glue_table}")


def frame(spark: SparkSession, rows: Sequence[tuple[Any, ...]], sequence: int) -> DataFrame:
    """Rows of (id, moment in minutes or None, amount), as one landing's."""
    shape = "Id long, minute long, amount string, _weir_sequence long"
    made = spark.createDataFrame([(*row[:3], sequence) for row in rows], shape)
    # What a stage made by chance or in Python may not come out the same twice, as far as Spark knows.
    made = made.withColumn("Id", F.when(F.rand() >= 0, F.col("Id")))
    return made.selectExpr(
        "Id",
        "timestamp_seconds(1700000000 + minute * 60) as at",
        "cast(amount as decimal(10,2)) as amount",
        "_weir_sequence",
    )


def run(
    spark: SparkSession,
    to: Destination,
    name: str,
    rows: Sequence[tuple[Any, ...]],
    sequence: int,
    keep_from: int = 0,
    fields: Sequence[Field] = FIELDS,
) -> StageAccount:
    """What a job does with a run's rows once the catalog has the table's entry."""
    table = table_for(spark, to)
    prepare(table, to, fields)
    this = Commit(name, 1, sequence, LANDED)
    gone = [row for row in rows if row[3:] == (True,)]
    rows = [row for row in rows if row[3:] != (True,)]
    made = columns_of(frame(spark, rows, sequence), table, this, fields)
    if gone:
        marks = columns_of(frame(spark, gone, sequence), table, this, fields, deleted=True)
        made = made.unionByName(marks)
    deletions = len(gone) if table.options.takes_deletions else None
    found = account(write(table, made, name, keep_from), len(rows), deletions, 0.0)
    assert found.imbalance() is None
    return found


def counts(found: StageAccount) -> tuple[int | None, ...]:
    return found.inserted, found.updated, found.stale, found.deleted, found.deduplicated


def stored(spark: SparkSession, to: Destination) -> list[tuple[Any, ...]]:
    """(id, minute, amount, landing, whether it is marked as deleted) of every row."""
    df = spark.table(table_for(spark, to).sql)
    rows = df.select(
        "id",
        ((F.unix_timestamp(F.col("at").cast("timestamp")) - 1700000000) / 60).cast("long"),
        F.col("amount").cast("string"),
        "_weir_sequence",
        marked(df),
    ).collect()
    return sorted((tuple(row) for row in rows), key=repr)


def test_an_append_is_applied_once_however_often_its_run_is_repeated(
    catalog: SparkSession,
) -> None:
    to = target([PartitionField("at_day", "at", "day")], mode="append")
    assert counts(run(catalog, to, "r1", [(1, 1, "1.00"), (1, 1, "1.00")], 1)) == (2, 0, 0, 0, 0)
    assert counts(run(catalog, to, "r2", [(2, 2, "2.00")], 2)) == (1, 0, 0, 0, 0)
    assert counts(run(catalog, to, "r1", [(1, 1, "1.00"), (1, 1, "1.00")], 1)) == (2, 0, 0, 0, 0)
    assert stored(catalog, to) == [
        (1, 1, "1.00", 1, False),
        (1, 1, "1.00", 1, False),
        (2, 2, "2.00", 2, False),
    ]

    table = table_for(catalog, to)
    kinds = table.columns()
    assert (kinds["at"], kinds["_weir_landed"]) == ("timestamp_ntz", "timestamp")
    assert table.load().properties().get("write.merge.mode") == "copy-on-write"


def test_a_replace_takes_the_newest_picture_within_its_guards(
    catalog: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = target(mode="replace", keys=("Id",), max_shrink=0.5)
    assert counts(run(catalog, to, "r1", [(1, 1, "1"), (2, 1, "1"), (2, 2, "2")], 1)) == (
        *(2, 0, 0, 0),
        1,
    )
    looks: list[dict[str, int]] = []
    newer: list[StageAccount] = []
    waited: list[float] = []

    def overtaken(df: DataFrame, **columns: Column) -> dict[str, int]:
        found = measure(df, **columns)
        looks.append(found)
        # The second look is at the table: what is committed after it was not compared with.
        if len(looks) == 2:
            newer.append(run(catalog, to, "r3", [(1, 3, "4")], 3))
        return found

    monkeypatch.setattr(commit, "measure", overtaken)
    monkeypatch.setattr(commit, "time", SimpleNamespace(sleep=waited.append))
    assert counts(run(catalog, to, "r2", [(5, 9, "9"), (6, 9, "9")], 2)) == (0, 0, 2, 0, 0)
    assert [counts(found) for found in newer] == [(1, 0, 0, 2, 0)]
    assert waited == [2.0]
    with pytest.raises(TableRefused, match="replacing 1 rows by 0 is against the guards"):
        run(catalog, to, "r5", [(7, 9, "9")], 5, keep_from=6)
    assert stored(catalog, to) == [(1, 3, "4.00", 3, False)]


ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(1, 30)),
        st.one_of(st.none(), st.integers(0, 5)),
        st.sampled_from(["1.00", "2.00"]),
        st.booleans(),
    ),
    min_size=20,
    max_size=60,
    unique_by=lambda row: row[:2],
)
"""Of a landing: id, minute, amount and whether it is a deletion."""


@settings(max_examples=1, deadline=None)
@given(landings=st.lists(ROWS, min_size=3, max_size=3), data=st.data())
def test_merges_in_any_order_leave_the_newest_word_on_each_key(
    catalog: SparkSession, landings: list[list[tuple[Any, ...]]], data: st.DataObject
) -> None:
    to = target(mode="merge", keys=("Id",), order_by="at", deletes="soft")
    numbered = list(enumerate(landings, 1))
    order = data.draw(st.permutations([*numbered, numbered[0]]))

    model: dict[Any, tuple[Any, ...]] = {}
    written = set()
    for sequence, rows in order:
        found = run(catalog, to, f"r{sequence}", rows, sequence)
        expected = Counter(deduplicated=len(rows))
        newest: dict[Any, tuple[Any, ...]] = {}
        for key, minute, amount, gone in rows:
            row = (key, minute, amount, sequence, gone)
            if key not in newest or age(row) > age(newest[key]):
                newest[key] = row
        for key, row in newest.items():
            expected["deduplicated"] -= 1
            there = model.get(key)
            newer = there is None or age(row) >= age(there)
            alive = there is not None and not there[4]
            if row[4]:
                expected["deleted" if newer and alive else "stale"] += 1
            else:
                expected["inserted" if there is None else "updated" if newer else "stale"] += 1
            if newer:
                kept = there[2] if row[4] and there is not None else row[2]
                model[key] = (key, row[1], kept, sequence, row[4])
        if sequence not in written:
            names = ("inserted", "updated", "stale", "deleted", "deduplicated")
            assert counts(found) == tuple(expected[name] for name in names)
        written.add(sequence)
    assert stored(catalog, to) == sorted(model.values(), key=repr)


def age(row: tuple[Any, ...]) -> tuple[int, int, bool]:
    return (-1 if row[1] is None else row[1], row[3], row[4])


def test_columns_join_decimals_widen_and_other_types_are_refused(catalog: SparkSession) -> None:
    to = target(mode="merge", keys=("id",))
    run(catalog, to, "r1", [(1, 1, "1"), (2, 2, "2")], 1)
    by_day = replace(to, partition_by=(PartitionField("at_day", "at", "day"),))
    wider = (*FIELDS[:2], Field("amount", "amount", "decimal(20,2)"))
    table = table_for(catalog, by_day)
    prepare(table, by_day, (*wider, Field("note", "note", "string")))
    kinds = table.columns()
    assert (kinds["amount"], kinds["note"]) == ("decimal(20,2)", "string")
    assert counts(run(catalog, by_day, "r2", [(1, 3, "3")], 2)) == (0, 1, 0, 0, 0)
    assert counts(run(catalog, by_day, "r0", [(1, 1, "9")], 0)) == (0, 0, 1, 0, 0)
    assert stored(catalog, to) == [(1, 3, "3.00", 2, False), (2, 2, "2.00", 1, False)]

    for kind in ("number", "decimal(21,3)"):
        other = (*FIELDS[:2], Field("amount", "amount", kind))
        with pytest.raises(TableConflict, match=r"column amount: it holds decimal\(20,2\)"):
            prepare(table, by_day, other)


def test_small_files_are_joined_and_old_snapshots_expire(
    catalog: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = target(mode="append")
    for number in (1, 2):
        run(catalog, to, f"r{number}", [(number, number, "1")], number)
    table = table_for(catalog, to)
    before = stored(catalog, to)
    assert not upkeep.compact(table)
    assert not upkeep.expire(table)

    monkeypatch.setattr(upkeep, "MANY", 2)
    impatient = Table(
        catalog, "ns", table.name, table.location, replace(table.options, keep_seconds=0)
    )
    upkeep.keep_up(impatient)
    assert len(list(table.load().snapshots())) == 1
    files = catalog.table(f"{table.sql}.files").where("content = 0").count()
    assert files == 1
    assert stored(catalog, to) == before
    assert counts(run(catalog, to, "r1", [(1, 1, "1")], 1)) == (1, 0, 0, 0, 0)
    assert stored(catalog, to) == before


def test_of_time_parts_of_one_column_the_finest_is_the_partition() -> None:
    landed = [PartitionField(name, None, name) for name in ("year", "month", "day")]
    mixed = [
        PartitionField("country", "Country"),
        PartitionField("at_hour", "at", "hour"),
        PartitionField("at_year", "at", "year"),
    ]
    assert partitions([*landed, *mixed]) == ["days(`_weir_landed`)", "`country`", "hours(`at`)"]
    assert partition_changes(["`a`", "days(`at`)"], ["days(`at`)", "`b`"]) == [
        "DROP PARTITION FIELD `a`",
        "ADD PARTITION FIELD `b`",
    ]


def test_a_table_that_fits_is_not_altered() -> None:
    assert changes({"a": "bigint", "gone": "string"}, {"a": "bigint"}, "ns.t") == []
