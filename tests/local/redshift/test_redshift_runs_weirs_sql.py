"""The SQL that Weir sends is SQL that the engine knows: the loader's and the operator's."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weir_contract.ledger import LEDGER_COLUMNS, ledger_ddl
from weir_contract.pipelines import Load, Unload
from weir_contract.rows import Field
from weir_lambdas.redshift_loader.sql import LoadPlan, load_statements
from weir_lambdas.redshift_loader.unload import UnloadPlan, unload_statements

ROLE = "arn:aws:iam::000000000000:role/copy"
FIELDS = (
    Field("customerId", "$.customerId", "integer"),
    Field("name", "$.name", "string", True, 20),
    Field("updated", "$.updated", "timestamptz"),
    Field("doc", "$.doc", "json"),
)


class Loads:
    """Runs loads as a tenant's user, each in a session and a transaction of its own."""

    def __init__(self, engine, admin, mode: str, **options) -> None:
        self.engine = engine
        self.load = Load("customers", "Data", mode, ("customerId",), "updated", **options)
        for text in (
            "create schema weir",
            ledger_ddl(),
            "create schema customers",
            "create role weir_ns",
            "create user loader password disable",
            "grant role weir_ns to loader",
            "grant usage on schema weir to role weir_ns",
            "grant select, insert, update, delete on weir.load_ledger to role weir_ns",
            "grant usage, create on schema customers to role weir_ns",
        ):
            admin.run(text)

    def __call__(self, run: str, sequence: int, rows: list[tuple], **plan) -> dict:
        moment = pa.timestamp("us", tz="UTC")
        table = pa.table(
            {
                "customerId": pa.array([x[0] for x in rows], pa.int64()),
                "name": pa.array([x[1] for x in rows], pa.string()),
                "updated": pa.array([x[2] for x in rows], pa.int64()).cast(moment),
                "doc": pa.array(['{"k": 1}' for _ in rows], pa.string()),
                "_weir_run": pa.array([run for _ in rows], pa.string()),
                "_weir_sequence": pa.array([sequence for _ in rows], pa.int64()),
            }
        )
        body = io.BytesIO()
        pq.write_table(table, body)
        data = body.getvalue()
        self.engine.objects.write("b", f"{run}.parquet", data, "")
        entry = {
            "url": f"s3://b/{run}.parquet",
            "mandatory": True,
            "meta": {"content_length": len(data)},
        }
        text = json.dumps({"entries": [entry]}).encode()
        self.engine.objects.write("b", f"{run}.json", text, "")
        made = LoadPlan(
            run,
            "ns/pipe",
            self.load,
            FIELDS,
            tuple(table.schema.names),
            f"s3://b/{run}.json",
            first_sequence=sequence,
            last_sequence=sequence,
            copy_role_arn=ROLE,
            **plan,
        )
        session = self.engine.session("loader")
        session.run("begin")
        for statement in load_statements(made):
            result = session.run(statement)
        session.run("commit")
        session.close()
        names = [column.name for column in result.columns]
        return dict(zip(names, result.rows[0], strict=True))


def test_a_merge_load_counts_and_twice_is_once(engine, admin):
    loads = Loads(engine, admin, "merge")
    first = loads("r1", 1, [(1, "a", 10), (2, "b", 10), (2, "b2", 11)])
    assert (first["rows_in"], first["deduplicated"], first["inserted"]) == (3, 1, 2)
    second = loads("r2", 2, [(2, "newer", 20), (1, "old", 5), (3, "c", 20)])
    assert (second["inserted"], second["updated"], second["stale"]) == (1, 1, 1)
    again = loads("r2", 2, [(2, "newer", 20), (1, "old", 5), (3, "c", 20)])
    assert again["loaded"] == 1
    assert (again["inserted"], again["updated"]) == (1, 1)
    rows = admin.run("select customerid, name, json_serialize(doc) from customers.data order by 1")
    assert rows.rows == [(1, "a", '{"k":1}'), (2, "newer", '{"k":1}'), (3, "c", '{"k":1}')]
    assert admin.run("select count(*) from weir.load_ledger").rows == [(2,)]


@pytest.mark.parametrize(("mode", "expected"), [("append", 3), ("replace", 1)])
def test_other_modes_load_too(engine, admin, mode, expected):
    loads = Loads(engine, admin, mode, max_shrink=0.9)
    loads("r1", 1, [(1, "a", 10), (2, "b", 10)])
    loads("r2", 2, [(1, "a", 20)])
    assert admin.run("select count(*) from customers.data").rows == [(expected,)]


def test_the_unload_statement_runs(engine, admin):
    plan = UnloadPlan("r1", Unload("select 'it''s' as a;", "b", "exports"), ROLE)
    for statement in unload_statements(plan):
        assert admin.run(statement).affected == 1
    assert engine.objects.keys("b", "exports/run=r1/") == [
        "exports/run=r1/0000_part_00.parquet",
        "exports/run=r1/manifest",
    ]


def test_the_ledgers_columns_are_in_the_catalog(admin):
    admin.run("create schema weir")
    admin.run(ledger_ddl())
    admin.run(ledger_ddl())
    found = admin.run(
        "SELECT table_name, column_name, data_type, is_nullable, distkey, sortkey "
        "FROM svv_redshift_columns WHERE database_name = 'dev' AND schema_name = 'weir' "
        "AND table_name IN ('load_ledger') ORDER BY table_name, ordinal_position"
    )
    assert [row[1] for row in found.rows] == [name for name, _, _ in LEDGER_COLUMNS]


def test_the_operators_questions_are_answered(admin):
    admin.run("create schema sales")
    admin.run("create role weir_ns")
    admin.run("create user weir_u password disable")
    admin.run("grant role weir_ns to weir_u")
    admin.run("grant usage on schema sales to role weir_ns")
    admin.run("alter default privileges in schema sales grant select on tables to role weir_ns")
    granted = admin.run(
        "SELECT namespace_name AS schema_name, privilege_type, identity_name AS role_name "
        "FROM svv_schema_privileges WHERE namespace_name IN ('sales') AND identity_type = 'role' "
        "UNION ALL SELECT schema_name, privilege_type, grantee_name AS role_name "
        "FROM svv_default_privileges WHERE schema_name IN ('sales') AND grantee_type = 'role'"
    )
    assert sorted(granted.rows) == [("sales", "SELECT", "weir_ns"), ("sales", "USAGE", "weir_ns")]
    assert admin.run("SELECT user_name, role_name FROM svv_user_grants").rows == [
        ("weir_u", "weir_ns")
    ]
    assert admin.run("SELECT role_name FROM svv_roles WHERE role_name IN ('weir_ns')").rows
    assert admin.run("SELECT user_name FROM svv_user_info WHERE user_name IN ('x')").rows == []
    assert admin.run(
        "SELECT schema_name FROM svv_all_schemas WHERE database_name = 'dev' "
        "AND schema_name IN ('sales')"
    ).rows == [("sales",)]
