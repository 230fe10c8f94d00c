"""Which SQL a pipeline's author may write."""

from __future__ import annotations

import pytest

from weir_contract.expressions import check_expression, check_query, columns_of

TABLES = ["input", "countries"]

ALLOWED_EXPRESSIONS = [
    "split(customerEmail, '@')[1]",
    "a + b > 3 and c in ('x')",
    "cast(a as decimal(10,2))",
    "case when (a > 1) then (b) else null end",
    "sum(x) over (partition by y order by z)",
    "transform(a, x -> x + 1)",
    "date '2020-01-01' + interval 1 day",
    "a.b[0].c",
    "'it''s (fine)'",
    "to_date(a, 'yyyy') between date'2020-01-01' and now()",
    "substring(a from 2)",
    "user",
    "`current_user`",
    "s.current_user",
]

REFUSED_EXPRESSIONS = [
    ("reflect('java.lang.System', 'exit', 1)", "reflect"),
    ("Reflect ('java.lang.System', 'exit', 1)", "reflect"),
    ("`reflect`('java.lang.System', 'exit', 1)", "reflect"),
    ("system.builtin.java_method('a', 'b')", "qualifier"),
    ("identifier('reflect')('a')", "identifier"),
    ("input_file_name()", "input_file_name"),
    ("current_database()", "current_database"),
    ("current_user", "current_user"),
    ("rand()", "rand"),
    ("(select max(a) from t)", "statement"),
    ("a in (select b from t)", "subqueries"),
    ("a as b", "AS"),
    ("'${env:AWS_SECRET_ACCESS_KEY}'", "${...}"),
    ("a -- b", "comments"),
    ("a /* b */", "comments"),
    ("drop table x", "statement"),
    ("a; b", "one statement"),
    (":p", "parameters"),
    ("1 =", "not valid SQL"),
    ("'open", "not valid SQL"),
    ("  ", "empty"),
    ("a" * 32_769, "32768 are allowed"),
    ("a\x00", "control characters"),
]

ALLOWED_QUERIES = [
    "select * from input where domain <> 'example.com'",
    "with a as (select * from input) select * from a join countries using (country)",
    "with a (x) as (select 1) select * from a",
    "select a, row_number() over (order by x) from input lateral view explode(xs) t as y",
    "select a, count(*) filter (where b > 1) from input group by rollup (a)",
    "select * from input union all select * from COUNTRIES",
]

REFUSED_QUERIES = [
    ("select * from parquet.`s3://x/y`", "files, paths"),
    ("select * from `text`.`/etc/passwd`", "files, paths"),
    ("select * from other", "'other' is not known"),
    ("select * from input where exists (select 1 from secrets)", "'secrets' is not known"),
    ("select transform(a) using 'cat' as (b) from input", "program"),
    ("from input map a using 'cat'", "program"),
    ("insert into x select * from input", "only queries"),
    ("create table x as select 1", "only queries"),
    ("select input_file_name() from input", "input_file_name"),
    ("select * from range(1000000000000)", "range"),
    ("select /*+ broadcast(x) */ * from input x", "hints"),
    ("set spark.sql.session.timeZone = CET", "only queries"),
]


@pytest.mark.parametrize("text", ALLOWED_EXPRESSIONS)
def test_a_pure_expression_may_run(text: str) -> None:
    assert check_expression(text) == []


@pytest.mark.parametrize(("text", "says"), REFUSED_EXPRESSIONS)
def test_an_expression_that_reaches_out_is_refused_with_the_reason(text: str, says: str) -> None:
    assert says in " ".join(check_expression(text))


@pytest.mark.parametrize("text", ALLOWED_QUERIES)
def test_a_query_over_declared_tables_may_run(text: str) -> None:
    assert check_query(text, TABLES) == []


@pytest.mark.parametrize(("text", "says"), REFUSED_QUERIES)
def test_a_query_that_reaches_out_is_refused_with_the_reason(text: str, says: str) -> None:
    assert says in " ".join(check_query(text, TABLES))


def test_the_columns_of_an_expression_are_named_once_in_order() -> None:
    assert columns_of("b + a * b") == ["b", "a"]
