"""Deletions are told from rows, need a key only, and reach the loads whatever stages do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_contract.pipelines import Destination, Load, PipelineConfig, Stage
from weir_contract.rows import DeletionMark, Field, RowContract
from weir_glue.common.errors import DeletionsLost
from weir_glue.common.mapping import extractor
from weir_glue.common.records import map_records
from weir_glue.jobs import deletions
from weir_glue.jobs.deletions import Obeyed

FIELDS = (
    Field("id", "after.id", "integer"),
    Field("name", "after.name", "string", nullable=False, on_misfit="fail"),
    Field("at", "at", "integer"),
)
DEBEZIUM = DeletionMark("op", ("d",), {"ID": "before.id"})
ROWS = Destination("b", "p/")
BY = Obeyed(("id",), "at")


def told(text: str, mark: DeletionMark, *fields: Field) -> list[str | None]:
    return extractor(fields or FIELDS, False, mark)(text)[2:]


@pytest.mark.parametrize(
    ("value", "deletion"),
    [
        ("null", False),
        ("false", False),
        ("0", False),
        ('""', False),
        ('"False"', False),
        ("true", True),
        ("1", True),
        ('"2026-01-02T03:04:05Z"', True),
    ],
)
def test_without_values_a_mark_that_is_there_means_a_deletion(value: str, deletion: bool) -> None:
    assert (told(f'{{"gone":{value}}}', DeletionMark("gone"))[0] == "true") is deletion


@given(st.sampled_from(["D", "d", "I", None]))
def test_with_values_only_those_mean_a_deletion(op: str | None) -> None:
    mark = DeletionMark("Op", ("D", "delete"))
    assert mark.meant_by(op) is (op == "D")


def test_a_deletions_key_may_stand_elsewhere() -> None:
    text = '{"op":"d","before":{"id":7},"after":null,"at":3}'
    assert told(text, DEBEZIUM) == ["true", "7", None, "3"]
    assert told('{"op":"u","before":{"id":7},"after":{"id":8}}', DEBEZIUM)[:2] == [None, "8"]


@pytest.mark.parametrize(
    ("key", "path", "found"),
    [
        ('"42"', "_stream.key", "42"),
        ('"{\\"id\\": 42}"', "_stream.key.id", "42"),
        ('"{\\"payload\\": {\\"id\\": 42}}"', "_stream.key.payload.id", "42"),
        ('"42"', "_stream.key.id", None),
        ('"base64:AAAA"', "_stream.key.id", None),
        ("null", "_stream.key", None),
    ],
)
def test_a_tombstones_key_is_read_from_the_message_key(
    key: str, path: str, found: str | None
) -> None:
    mark = DeletionMark("_stream.tombstone", (), {"id": path})
    text = f'{{"_stream":{{"key":{key},"tombstone":true,"offset":5}}}}'
    assert told(text, mark, Field("id", "id", "integer")) == ["true", found]


def test_the_marks_fields_are_not_new_fields() -> None:
    take = extractor(FIELDS, True, DEBEZIUM)
    assert take('{"op":"d","before":{"id":7},"after":null,"at":3}')[1] is None
    assert take('{"op":"d","more":1}')[1] == "there are new fields"


@pytest.mark.spark
def test_a_deletion_needs_its_key_and_order_alone(landed: Any) -> None:
    rows = map_records(
        landed(
            [
                '{"op":"u","after":{"id":1,"name":"a"},"at":1}',
                '{"op":"d","before":{"id":2},"at":2}',
                '{"op":"d","before":{"id":"x"},"at":2}',
                '{"op":"d","before":{"id":4}}',
            ]
        ),
        RowContract(FIELDS, deletion=DEBEZIUM),
        BY.required,
    )
    found = rows.orderBy("_weir_row").collect()
    assert [(row["_weir_deleted"], row["_weir_reason"]) for row in found] == [
        (False, None),
        (True, None),
        (True, "id: does not fit integer"),
        (True, "at: is missing in a deletion"),
    ]
    assert {row["_weir_stage"] for row in found} == {None, "cast"}


@pytest.mark.spark
def test_among_records_of_one_age_the_last_word_counts(landed: Any) -> None:
    texts = [
        '{"op":"d","before":{"id":1},"at":1}',
        '{"op":"u","after":{"id":1,"name":"again"},"at":1}',
        '{"op":"u","after":{"id":2,"name":"b"},"at":1}',
        '{"op":"d","before":{"id":2},"at":1}',
        '{"op":"d","before":{"id":3},"at":1}',
        '{"op":"u","after":{"id":3,"name":"other age"},"at":2}',
    ]
    rows = map_records(landed(texts), RowContract(FIELDS, deletion=DEBEZIUM), BY.required)
    taken = deletions.take(rows, BY, "test")
    assert sorted(row["id"] for row in taken.collect()) == [2, 3]
    assert sorted(row["id"] for row in deletions.only_rows(rows, ["id"]).collect()) == [1, 3]


@pytest.mark.spark
def test_filters_let_deletions_pass_and_other_steps_change_their_keys(landed: Any) -> None:
    contract = RowContract((Field("id", "id", "string"),), deletion=DeletionMark("gone"))
    rows = map_records(landed(['{"gone":true,"id":" a "}']), contract, ("id",))
    cleaned = deletions.through_clean(
        rows, {"trim": True, "deduplicate": {"keys": ["id"]}}, None, "c"
    )
    steps = {"steps": [{"filter": "id = 'b'"}, {"derive": {"id": "upper(id)"}}]}
    done = deletions.through_transform(cleaned, steps, "t")
    assert [row["id"] for row in done.collect()] == ["A"]
    assert deletions.checked(done, 1, Obeyed(("id",))) is done
    lost = deletions.through_transform(done, {"steps": [{"derive": {"id": "null"}}]}, "t")
    with pytest.raises(DeletionsLost, match="1 of 1 deletions have lost id"):
        deletions.checked(lost, 1, Obeyed(("id",)))
    with pytest.raises(DeletionsLost, match="can't be followed"):
        deletions.through_transform(done, {"steps": [{"sql": "select * from input"}]}, "t")


def test_loads_that_obey_deletions_go_by_one_key() -> None:
    load = Load("s", "t", "merge", keys=("id",), order_by="at", deletes="soft")
    config = PipelineConfig("p", "ns", "n", (), (), ROWS, "r", "q", "a", "t", "g", "us-east-1")

    def by(*loads: Load) -> Obeyed | None:
        stages = tuple(Stage(f"l{n}", "load", load=item) for n, item in enumerate(loads))
        return deletions.obeyed(replace(config, stages=stages))

    assert by(load, replace(load, deletes="ignore", keys=("x",))) == BY
    assert by(replace(load, deletes="ignore")) is None
    with pytest.raises(DeletionsLost):
        by(load, replace(load, keys=("other",)))
