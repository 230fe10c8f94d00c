"""The stages: what they keep, what they take out, and that rows are never lost between them."""

from __future__ import annotations

import hashlib
import hmac
import random
from typing import Any

import pytest
from pyspark.sql import SparkSession

from weir_glue.cleaning.clean import clean
from weir_glue.cleaning.dedupe import deduplicate
from weir_glue.common.errors import ColumnMissing, ExpressionRefused, ScriptRefused
from weir_glue.transformation.steps import Context, transform
from weir_glue.validation.evaluate import evaluate, flag

pytestmark = pytest.mark.spark


def test_the_kept_row_does_not_depend_on_the_rows_order(spark: SparkSession) -> None:
    schema = "k int, v int, t int, _weir_sequence long, _weir_part int, _weir_row long"
    rows = [(n % 3 if n % 7 else None, n, n % 2, n % 4, 0, n) for n in range(40)]
    answers = []
    for seed in (1, 2):
        mixed = random.Random(seed).sample(rows, len(rows))
        kept = deduplicate(spark.createDataFrame(mixed, schema), ["K"], "t").collect()
        answers.append(sorted((row["k"] is None, row["k"] or 0, row["v"]) for row in kept))
    assert answers[0] == answers[1]
    whole = [row for row in rows if row[0] is not None]
    best = {
        k: max((r for r in whole if r[0] == k), key=lambda r: (r[2], r[3], r[5]))[1]
        for k in (0, 1, 2)
    }
    assert [item[2] for item in answers[0] if not item[0]] == [best[0], best[1], best[2]]
    assert sum(item[0] for item in answers[0]) == sum(row[0] is None for row in rows)


def test_personal_data_is_hashed_with_the_key_masked_tokenised_and_dropped(
    spark: SparkSession,
) -> None:
    rows = spark.createDataFrame(
        [("ä@x.org", "1234567890", "ab", "z", 5)], "h string, m string, n string, d string, t int"
    )
    actions = {"h": "hash", "m": "mask", "n": "mask", "d": "drop", "t": "tokenise"}
    options = {"pii": [{"column": name, "action": action} for name, action in actions.items()]}
    cleaned = clean(rows, options, b"secret key 12345")
    assert "secret" not in cleaned._jdf.queryExecution().toString()
    [row] = cleaned.collect()
    digest = hmac.new(b"secret key 12345", "ä@x.org".encode(), hashlib.sha256).hexdigest()
    token = hmac.new(b"secret key 12345", b"t\x005", hashlib.sha256).hexdigest()[:32]
    assert row.asDict() == {"h": digest, "m": "******7890", "n": "**", "t": f"tok_{token}"}


def test_a_transform_goes_through_its_steps(spark: SparkSession) -> None:
    countries = spark.createDataFrame([("de", "Germany")], "country string, title string")
    rows = spark.createDataFrame(
        [(1, "de", '["a","b"]', '{"x":1}'), (2, "fr", "[]", "{}")],
        "id int, country string, tags string, extra string",
    )
    steps = [
        {"derive": {"twice": "id * 2"}},
        {"cast": {"twice": "string"}},
        {"join": {"source": "countries", "keys": ["country"], "how": "left"}},
        {"explode": {"column": "tags", "into": "tag"}},
        {"flatten": {"column": "extra"}},
        {"sql": "select id, title, tag, twice, extra_x from input"},
        {"rename": {"title": "name"}},
    ]
    result = transform(rows, {"steps": steps}, Context({"countries": countries}))
    assert sorted(map(tuple, result.drop("_weir_reason").collect()), key=str) == [
        (1, "Germany", "a", "2", "1"),
        (1, "Germany", "b", "2", "1"),
        (2, None, None, "4", None),
    ]


@pytest.mark.parametrize(
    ("step", "error", "says"),
    [
        ({"filter": "nothing > 1"}, ExpressionRefused, "nothing"),
        ({"filter": "java_method('a', 'b')"}, ExpressionRefused, "java_method"),
        ({"sql": "select * from parquet.`/etc`"}, ExpressionRefused, "files"),
        ({"select": ["nothing"]}, ColumnMissing, "nothing"),
        ({"union": {"source": "nowhere"}}, ColumnMissing, "nowhere"),
        ({"script": {"inline": "def transform(df, spark): return df"}}, ScriptRefused, "granted"),
    ],
)
def test_a_step_that_can_not_be_done_names_its_stage_and_what_is_wrong(
    spark: SparkSession, step: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=f"stage mine, step 1.*{says}"):
        transform(spark.range(1), [step], Context(), "mine")


RULES = {
    'IsComplete "a"': False,
    'Completeness "a" > 0.7': True,
    'Uniqueness "b" >= 0.5': True,
    'IsUnique "b"': False,
    'IsPrimaryKey "id"': True,
    'ColumnValues "a" in ["x", NULL]': False,
    'ColumnValues "a" in ["x", "y", NULL]': True,
    'ColumnValues "a" matches "[xy]" where "a is not null"': True,
    'ColumnValues "n" between 0 and 10': True,
    'ColumnValues "n" > 1.5 with threshold > 0.7': True,
    'ColumnValues "d" < now()': True,
    'ColumnValues "d" > "2024-01-01"': False,
    'ColumnLength "b" <= 2': True,
    'ColumnDataType "b" = "INTEGER"': False,
    'ColumnDataType "id" = "Integer"': True,
    "ColumnCount = 5": True,
    'ColumnExists "zz"': False,
    "RowCount between 3 and 5": True,
    'Sum "n" = 10': True,
    'Mean "n" = 2.5': True,
    'StandardDeviation "n" < 2': True,
    'Max "n" = 4': True,
    'Min "d" = "2024-01-01"': True,
    'DistinctValuesCount "b" = 3': True,
    'UniqueValueRatio "b" > 0.6': True,
    '(IsComplete "a") or (RowCount = 4)': True,
    '(IsComplete "a") and (RowCount = 4)': False,
}


def test_every_rule_is_measured_and_only_broken_rows_are_taken_out(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [(1, "x", "1", 1.0), (2, "y", "2", 2.0), (3, None, "z", 3.0), (4, "x", "z", 4.0)],
        "id int, a string, b string, n double",
    ).selectExpr("*", "date_add(date'2024-01-01', id - 1) as d")
    evaluation = evaluate(rows, list(RULES))
    assert {item.rule: item.passed for item in evaluation.results} == RULES
    flagged = flag(evaluation)
    assert set(flagged.columns) == {*rows.columns, "_weir_reason"}

    only = flag(evaluate(rows, ['IsComplete "a"', "RowCount > 9"])).orderBy("id").collect()
    assert [row["_weir_reason"] for row in only] == [None, None, 'breaks IsComplete "a"', None]
