"""Where Redshift fails, the local Redshift fails, in Redshift's words."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patience import PATIENCE_SECONDS
from weir_local.redshift.errors import SqlError


def test_varchar_lengths_are_bytes(sql):
    sql("create table t (a varchar(4))")
    sql("insert into t values ('abcd'), ('éé')")
    with pytest.raises(SqlError, match=r"value too long for type character varying\(4\)"):
        sql("insert into t values ('ééé')")
    with pytest.raises(SqlError, match="value too long"):
        sql("update t set a = 'abcde'")
    assert len(sql("select * from t")) == 2


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    text=st.text(
        alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12
    )
)
def test_any_text_is_taken_exactly_if_its_bytes_fit(admin, text):
    admin.run("create table if not exists h (a varchar(10))")
    literal = "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    if len(text.encode()) <= 10:
        admin.run("delete from h")
        admin.run(f"insert into h values ({literal})")
        assert admin.run("select a from h").rows == [(text,)]
    else:
        with pytest.raises(SqlError, match="value too long"):
            admin.run(f"insert into h values ({literal})")


def test_an_explicit_cast_cuts_at_whole_characters(sql):
    assert sql("select 'aéé'::varchar(4)") == [("aé",)]


def test_decimals_out_of_range_are_refused(sql):
    sql("create table t (a decimal(5,2))")
    sql("insert into t values (123.45)")
    with pytest.raises(SqlError, match="Numeric data overflow"):
        sql("insert into t values (1234.5)")


def test_primary_keys_and_unique_are_not_enforced(sql):
    sql("create table t (a int not null primary key, b int unique)")
    sql("insert into t values (1, 1)")
    sql("insert into t values (1, 1)")
    assert sql("select count(*) from t") == [(2,)]


def test_not_null_is_enforced(sql):
    sql("create table t (a int not null, b int)")
    with pytest.raises(SqlError, match="Cannot insert a NULL value into column a"):
        sql("insert into t (b) values (1)")
    sql("insert into t values (1, 2)")
    with pytest.raises(SqlError, match="Cannot insert a NULL value into column a"):
        sql("update t set a = null")


def test_identifiers_fold_to_lower_case_even_when_quoted(sql, admin):
    sql('create table "MyTable" ("customerId" int)')
    sql('insert into MYTABLE ("CUSTOMERID") values (1)')
    result = admin.run('select "customerId" from "mytable"')
    assert [column.name for column in result.columns] == ["customerid"]
    assert sql("select \"column\" from pg_table_def where tablename = 'mytable'") == [
        ("customerid",)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "pragma database_list",
        "attach 'x.db'",
        "select * from read_csv('/etc/passwd')",
        "select read_text('/etc/passwd')",
        "select * from '/etc/passwd'",
        "install httpfs",
        "explode",
        "create index i on t (a)",
        "insert or replace into t values (1)",
        "select 1; select 2",
        "alter table t add column a int, add column b int",
        "alter table t alter column a set not null",
        "create table t (a hugeint)",
        "create table t (a varchar(65536))",
        "create table t (a decimal(39,0))",
        "copy t from 's3://b/k' iam_role 'r' format orc",
        "",
    ],
)
def test_unknown_sql_is_an_error(sql, text):
    with pytest.raises(SqlError):
        sql(text)


def test_only_a_varchar_can_change_its_size_and_only_outside_a_transaction(sql, admin):
    sql("create table t (a varchar(4), b int)")
    sql("alter table t alter column a type varchar(8)")
    sql("insert into t values ('abcdefgh', 1)")
    with pytest.raises(SqlError, match="it holds 8 bytes"):
        sql("alter table t alter column a type varchar(5)")
    with pytest.raises(SqlError, match="only the size of a VARCHAR"):
        sql("alter table t alter column b type bigint")
    sql("begin")
    with pytest.raises(SqlError, match="cannot run inside a transaction block"):
        sql("alter table t alter column a type varchar(10)")
    with pytest.raises(SqlError, match="current transaction is aborted"):
        sql("select 1")
    sql("rollback")


def test_a_column_can_be_added_with_a_default(sql):
    sql("create table t (a int)")
    sql("insert into t values (1)")
    with pytest.raises(SqlError, match="NOT NULL must have a non-null default"):
        sql("alter table t add column b int not null")
    sql("alter table t add column b int not null default 7")
    sql("alter table t add column c varchar(3)")
    assert sql("select * from t") == [(1, 7, None)]
    with pytest.raises(SqlError, match="already exists"):
        sql("alter table t add column c int")


def test_keys_forbid_to_drop_a_column(sql):
    sql("create table t (a int, b int, c int) diststyle key distkey(a) sortkey(b)")
    with pytest.raises(SqlError, match="distkey"):
        sql("alter table t drop column a")
    with pytest.raises(SqlError, match="sortkey"):
        sql("alter table t drop column b")
    sql("alter table t drop column c")
    assert sql("select diststyle, sortkey1 from svv_table_info") == [("KEY(a)", "b")]


def test_a_view_holds_its_table(sql):
    sql("create table t (a int)")
    sql("create view v as select a from t")
    for text in ("drop table t", "alter table t drop column a", "alter table t rename to u"):
        with pytest.raises(SqlError, match="depend"):
            sql(text)
    sql("drop table t cascade")
    with pytest.raises(SqlError, match='relation "v" does not exist'):
        sql("select * from v")


def test_truncate_commits(sql):
    sql("create table t (a int)")
    sql("create table u (a int)")
    sql("insert into t values (1)")
    sql("begin")
    sql("insert into u values (1)")
    sql("truncate t")
    sql("rollback")
    assert sql("select (select count(*) from t), (select count(*) from u)") == [(0, 1)]


def test_a_transaction_rolls_back_tables_rows_grants_and_users(sql):
    sql("begin")
    sql("create schema s")
    sql("create table s.t (a int)")
    sql("insert into s.t values (1)")
    sql("create user bob password disable")
    sql("rollback")
    assert sql("select 1 from svv_all_schemas where schema_name = 's'") == []
    assert sql("select 1 from pg_user where usename = 'bob'") == []


MERGE = (
    "merge into t using s on t.k = s.k when matched then update set v = s.v "
    "when not matched then insert (k, v) values (s.k, s.v)"
)


@pytest.fixture
def merging(sql):
    sql("create table t (k int, v varchar(3))")
    sql("create temp table s (like t)")
    sql("insert into t values (1, 'old'), (2, 'two')")
    return sql


def test_merge_updates_and_inserts(merging, admin):
    merging("insert into s values (1, 'new'), (3, 'thr')")
    assert admin.run(MERGE).affected == 2
    assert merging("select * from t order by k") == [(1, "new"), (2, "two"), (3, "thr")]


def test_merge_fails_on_duplicate_source_rows(merging):
    merging("insert into s values (1, 'a'), (1, 'b')")
    with pytest.raises(SqlError, match="Found multiple matches to update the same tuple"):
        merging(MERGE)


@pytest.mark.parametrize(
    "text",
    [
        MERGE.replace("when matched", "when matched and s.v > t.v"),
        MERGE.replace("when not matched", "when not matched and s.k > 1"),
        MERGE.replace("into t using", "into t as x using"),
        MERGE.replace("using s", "using (select * from s) s"),
        MERGE.replace("t.k = s.k", "t.k > s.k"),
        MERGE.split("when not")[0],
        MERGE.replace("set v", "set t.v"),
    ],
)
def test_merge_takes_what_redshift_takes(merging, text):
    with pytest.raises(SqlError):
        merging(text)


def test_merge_keeps_lengths(merging):
    merging("create table wide (k int, v varchar(10))")
    merging("insert into wide values (9, 'too long')")
    with pytest.raises(SqlError, match="value too long"):
        merging(MERGE.replace("using s on", "using wide s on"))


def test_merge_remove_duplicates(merging):
    merging("insert into s values (1, 'new'), (1, 'new'), (3, 'x')")
    merging("merge into t using s on t.k = s.k remove duplicates")
    assert merging("select * from t order by k") == [(1, "new"), (2, "two"), (3, "x")]


def test_two_transactions_that_read_what_the_other_wrote_fail_with_1023(engine, sql):
    sql("create table t (a int)")
    sql("create table u (a int)")
    sql("insert into t values (1)")
    first, second = engine.session(), engine.session()
    for session in (first, second):
        session.run("begin")
        session.run("select 1")
    first.run("insert into u select a from t")
    second.run("insert into t select a from u")
    first.run("commit")
    with pytest.raises(SqlError, match="1023") as failure:
        second.run("commit")
    assert "Serializable isolation violation on table" in failure.value.detail


def test_a_second_writer_waits_and_then_conflicts_without_a_lock(engine, sql):
    sql("create table ledger (run varchar(10))")
    guarded = (
        "insert into ledger select 'r' where not exists (select 1 from ledger where run = 'r')"
    )
    first, second = engine.session(), engine.session()
    second.run("begin")
    second.run("select 1")
    first.run(guarded)
    with pytest.raises(SqlError, match="1023"):
        second.run(guarded)
    second.run("rollback")
    assert sql("select count(*) from ledger") == [(1,)]


def test_lock_serialises_transactions(engine, sql):
    sql("create table ledger (run varchar(10))")
    guarded = (
        "insert into ledger select 'r' where not exists (select 1 from ledger where run = 'r')"
    )
    first, second = engine.session(), engine.session()
    first.run("begin")
    first.run("lock ledger")
    first.run(guarded)
    counts = []

    def wait() -> None:
        second.run("begin")
        second.run("lock ledger")
        counts.append(second.run(guarded).affected)
        second.run("commit")

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    assert counts == []
    first.run("commit")
    thread.join(PATIENCE_SECONDS)
    assert counts == [0]
    assert sql("select count(*) from ledger") == [(1,)]


def test_a_deadlock_is_noticed(engine, sql):
    sql("create table a (x int)")
    sql("create table b (x int)")
    first, second = engine.session(), engine.session()
    first.run("begin")
    first.run("lock a")
    second.run("begin")
    second.run("lock b")
    told = []

    def lock(session, table) -> None:
        try:
            session.run(f"lock {table}")
        except SqlError as problem:
            told.append(str(problem))

    # Either may be the one that closes the circle; the other gets its table.
    thread = threading.Thread(target=lock, args=(first, "b"))
    thread.start()
    lock(second, "a")
    thread.join(PATIENCE_SECONDS)
    (problem,) = told
    assert "deadlock detected" in problem
    first.run("rollback")


@pytest.fixture
def tenant(engine, sql):
    sql("create schema sales")
    sql("create table sales.t (a int)")
    sql("create user bob password disable")
    sql("create role loaders")
    sql("grant role loaders to bob")
    session = engine.session("bob")
    yield session
    session.close()


def test_rights_come_through_roles(sql, tenant):
    with pytest.raises(SqlError, match="permission denied for schema sales"):
        tenant.run("select * from sales.t")
    sql("grant usage on schema sales to role loaders")
    with pytest.raises(SqlError, match="permission denied for relation t"):
        tenant.run("select * from sales.t")
    sql("grant select, insert on all tables in schema sales to role loaders")
    tenant.run("insert into sales.t values (1)")
    assert tenant.run("select a from sales.t").rows == [(1,)]
    for text in ("update sales.t set a = 2", "delete from sales.t", "truncate sales.t"):
        with pytest.raises(SqlError, match=r"permission denied|must be owner"):
            tenant.run(text)
    with pytest.raises(SqlError, match="must be owner of relation t"):
        tenant.run("drop table sales.t")
    sql("revoke select on sales.t from role loaders")
    with pytest.raises(SqlError, match="permission denied for relation t"):
        tenant.run("select a from sales.t")


def test_a_tenant_makes_nothing_that_it_was_not_granted(sql, tenant):
    for text in (
        "create schema mine",
        "create table sales.mine (a int)",
        "create user eve password disable",
        "create role r",
        "grant role loaders to bob",
        "grant usage on schema sales to bob",
        "alter user admin password 'Passw0rd2'",
    ):
        with pytest.raises(SqlError):
            tenant.run(text)
    sql("grant usage, create on schema sales to role loaders")
    tenant.run("create table sales.mine (a int)")
    tenant.run("create temp table scratch (a int)")
    tenant.run("alter table sales.mine add column b int")


def test_default_privileges_reach_tables_made_later(sql, tenant):
    sql("grant usage on schema sales to role loaders")
    sql("alter default privileges in schema sales grant select on tables to role loaders")
    sql("create table sales.later (a int)")
    assert tenant.run("select * from sales.later").rows == []


def test_an_owner_may_do_everything(sql, tenant):
    sql("grant usage on schema sales to bob")
    sql("alter table sales.t owner to bob")
    tenant.run("alter table sales.t add column b int")
    tenant.run("drop table sales.t")


def test_a_user_with_grants_can_not_be_dropped(sql, tenant):
    sql("grant usage on schema sales to bob")
    with pytest.raises(SqlError, match="cannot be dropped"):
        sql("drop user bob")
    sql("revoke usage on schema sales from bob")
    sql("drop user bob")


def test_super_is_read_by_json_parse_alone(sql):
    sql("create table t (doc super)")
    sql("""insert into t select json_parse('{"a": {"b": [1, 2]}, "s": "x"}')""")
    sql("""insert into t select '{"a": 1}'""")
    assert sql("select t.doc.a.b[1], doc.s::varchar from t where doc.s is not null") == [("2", "x")]
    assert sql("select json_serialize(doc) from t where doc.s is null") == [('"{\\"a\\": 1}"',)]
    with pytest.raises(SqlError, match="Invalid JSON"):
        sql("select json_parse('{')")


def test_functions_have_redshifts_meaning(sql):
    assert sql("select 7 / 2, nvl(null, 3), decode(2, 1, 'a', 2, 'b')") == [(3, 3, "b")]
    assert sql("select current_user, getdate() = sysdate") == [("admin", True)]
    assert sql("select pg_last_copy_count()") == [(0,)]
    assert sql("select dateadd(day, 1, '2020-02-28')::date::varchar(10)") == [("2020-02-29",)]


def test_times_with_a_zone_come_in_utc(sql):
    sql("create table t (a int, b timestamptz)")
    sql("insert into t values (2, '2026-01-01 00:00:00+02'), (1, null)")
    assert sql("select a, b from t order by a") == [(1, None), (2, "2025-12-31 22:00:00+00")]


def test_a_division_by_zero_fails(sql):
    with pytest.raises(SqlError, match="Divide by zero"):
        sql("select 1 / 0")


def test_unqualified_names_are_made_in_the_paths_first_schema(sql):
    sql("create schema sales")
    sql("set search_path to missing, sales, public")
    sql("create table t (a int not null default 5, b varchar(2) default 'zz')")
    sql("insert into t default values")
    sql("insert into t values (default, 'a'), (7, default)")
    assert sql("select * from sales.t order by a, b") == [(5, "a"), (5, "zz"), (7, "zz")]


def test_what_was_committed_survives_a_restart(engine, sql, admin):
    sql("create schema s")
    sql("create table s.t (a varchar(3)) sortkey (a)")
    sql("insert into s.t values ('abc')")
    sql("create user bob password disable")
    admin.close()
    engine.database.close()
    again = type(engine)(engine.path)
    session = again.session()
    assert session.run("select a from s.t").rows == [("abc",)]
    assert "bob" in again.directory.principals.users
    with pytest.raises(SqlError, match="value too long"):
        session.run("insert into s.t values ('abcd')")
    again.database.close()
