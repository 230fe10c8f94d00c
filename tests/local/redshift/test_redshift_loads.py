"""COPY and UNLOAD: what fits, what is refused, and where the errors are told."""

from __future__ import annotations

import datetime
import io
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weir_local.redshift.errors import SqlError

ROLE = "arn:aws:iam::000000000000:role/copy"


def parquet(**columns) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


@pytest.fixture
def put(engine):
    def run(key: str, body: bytes | str) -> int:
        data = body.encode() if isinstance(body, str) else body
        engine.objects.write("b", key, data, "")
        return len(data)

    return run


@pytest.fixture
def manifest(put):
    def run(**files) -> None:
        entries = [
            {"url": f"s3://b/{key}", "mandatory": True, "meta": {"content_length": size}}
            for key, size in files.items()
        ]
        put("m.json", json.dumps({"entries": entries}))

    return run


COPY = f"copy t from 's3://b/m.json' iam_role '{ROLE}' format as parquet manifest"
ID, NAME = pa.array([1, 2], pa.int64()), pa.array(["a", "éé"])


def test_parquet_maps_columns_by_position(sql, put, manifest, admin):
    sql("create table t (id bigint, name varchar(4))")
    manifest(f=put("f", parquet(other=ID, names=NAME)))
    assert admin.run(COPY).affected == 2
    assert sql("select * from t order by id") == [(1, "a"), (2, "éé")]
    assert sql("select pg_last_copy_count()") == [(2,)]


def test_all_parquet_types_load(sql, put, manifest):
    sql(
        "create table t (a bigint, b double precision, c boolean, d date, e timestamp, "
        "f decimal(10,2), g varbyte(10), h varchar(10))"
    )
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
    body = parquet(
        a=pa.array([2**60]),
        b=pa.array([0.5]),
        c=pa.array([True]),
        d=pa.array([moment.date()]),
        e=pa.array([moment], pa.timestamp("us")),
        f=pa.array([Decimal("1.25")], pa.decimal128(10, 2)),
        g=pa.array([b"\0\1"]),
        h=pa.array([None], pa.string()),
    )
    manifest(f=put("f", body))
    sql(COPY)
    expected = (2**60, 0.5, True, moment.date(), moment, Decimal("1.25"), b"\0\1", None)
    assert sql("select * from t") == [expected]


@pytest.mark.parametrize(
    ("ddl", "columns", "message"),
    [
        ("id bigint", {"a": ID, "b": NAME}, "Number of columns"),
        ("id int", {"a": ID}, "incompatible Parquet schema"),
        ("id varchar(10)", {"a": ID}, "incompatible Parquet schema"),
        ("name varchar(3)", {"a": NAME}, "longer than the length defined"),
        ("doc super", {"a": NAME}, "incompatible Parquet schema"),
        ("a decimal(10,3)", {"a": pa.array([Decimal("1.25")])}, "incompatible Parquet schema"),
        ("id bigint not null", {"a": pa.array([None], pa.int64())}, "Cannot insert a NULL"),
    ],
)
def test_parquet_that_does_not_fit_is_refused(sql, put, manifest, ddl, columns, message):
    sql(f"create table t ({ddl})")
    manifest(f=put("f", parquet(**columns)))
    with pytest.raises(SqlError) as failure:
        sql(COPY)
    assert message in str(failure.value)
    assert sql("select count(*) from t") == [(0,)]


def test_a_parquet_manifest_needs_the_objects_size(sql, put, manifest):
    sql("create table t (id bigint)")
    size = put("f", parquet(id=ID))
    manifest(f=size + 1)
    with pytest.raises(SqlError, match="does not match the manifest's content_length"):
        sql(COPY)
    put("m.json", json.dumps({"entries": [{"url": "s3://b/f", "mandatory": True}]}))
    with pytest.raises(SqlError, match=r"must contain meta\.content_length"):
        sql(COPY)
    manifest(missing=3)
    with pytest.raises(SqlError, match="Mandatory url is not present"):
        sql(COPY)


def test_copy_needs_an_attached_role(sql):
    sql("create table t (id bigint)")
    with pytest.raises(SqlError, match="not authorized to assume IAM Role"):
        sql(COPY.replace(ROLE, ROLE + "x"))
    with pytest.raises(SqlError, match="CREDENTIALS argument is required"):
        sql("copy t from 's3://b/f' format as parquet")


JSON = f"copy t from 's3://b/f' iam_role '{ROLE}' format json"


def test_json_auto_matches_lower_case_names_exactly(sql, put):
    sql('create table t ("customerId" int, name varchar(10), doc super)')
    put("f", '{"customerId": 1, "name": "a", "doc": {"x": [1]}}\n{"customerid": 2, "NAME": "b"}')
    sql(f"{JSON} 'auto'")
    assert sql("select * from t order by name") == [(None, "a", '{"x": [1]}'), (2, None, None)]
    sql("delete from t")
    sql(f"{JSON} 'auto ignorecase'")
    assert sql("select customerid, name from t order by 1") == [(1, "a"), (2, "b")]


def test_jsonpaths_pick_values(sql, put):
    sql("create table t (a int, b varchar(5))")
    put("paths.json", '{"jsonpaths": ["$.x.y[1]", "$[\'z\']"]}')
    put("f", '{"x": {"y": [1, 2]}, "z": "zz"}')
    sql(f"{JSON} 's3://b/paths.json'")
    assert sql("select * from t") == [(2, "zz")]


def test_load_errors_name_file_line_column_and_reason(sql, put):
    sql("create table t (a int, b varchar(3))")
    put("f", "1,abc\n2,toolong\nx,abc\n")
    copy = f"copy t from 's3://b/f' iam_role '{ROLE}' csv"
    with pytest.raises(SqlError, match="Check 'sys_load_error_detail' system table"):
        sql(copy)
    assert sql(
        "select trim(file_name), line_number, column_name, error_message from sys_load_error_detail"
    ) == [("s3://b/f", 2, "b", "String length exceeds DDL length")]
    sql(f"{copy} maxerror 2")
    assert sql("select * from t") == [(1, "abc")]
    assert sql("select err_reason from stl_load_errors where line_number = 3") == [
        ("Invalid digit, Value 'x', Pos 0, Type: Integer",)
    ]


def test_csv_options(sql, put):
    sql("create table t (a int, b varchar(20), c date)")
    put("f", 'a;b;c\n1;"x;y";03.02.2026\n2;;\n')
    sql(
        f"copy t from 's3://b/f' iam_role '{ROLE}' csv delimiter ';' ignoreheader 1 "
        "dateformat 'DD.MM.YYYY' emptyasnull"
    )
    assert sql("select * from t order by a") == [
        (1, "x;y", datetime.date(2026, 2, 3)),
        (2, None, None),
    ]


def unload(query: str, *options: str) -> str:
    return f"unload ('{query}') to 's3://b/out/' iam_role '{ROLE}' {' '.join(options)}"


def test_unload_refuses_to_overwrite(sql, engine):
    sql(unload("select 1 as a", "format parquet manifest"))
    with pytest.raises(SqlError, match="Specified unload destination on S3 is not empty"):
        sql(unload("select 1 as a", "format parquet"))
    sql(unload("select 2 as a", "format parquet allowoverwrite manifest"))
    body = engine.objects.read("b", "out/0000_part_00.parquet")
    assert pq.read_table(io.BytesIO(body)).to_pylist() == [{"a": 2}]
    (entry,) = json.loads(engine.objects.read("b", "out/manifest"))["entries"]
    assert entry == {
        "url": "s3://b/out/0000_part_00.parquet",
        "meta": {"content_length": len(body), "record_count": 1},
    }
    sql(unload("select 3 as a", "format csv header cleanpath parallel off"))
    assert engine.objects.keys("b", "out/") == ["out/000"]
    assert engine.objects.read("b", "out/000") == b"a\n3\n"


def test_unload_partitions_by_columns(sql, engine):
    query = "select 1 as a, ''x'' as p union all select 2, null"
    sql(unload(query, "format json partition by (p)"))
    assert engine.objects.keys("b", "out/") == [
        "out/p=__HIVE_DEFAULT_PARTITION__/0000_part_00",
        "out/p=x/0000_part_00",
    ]
    assert json.loads(engine.objects.read("b", "out/p=x/0000_part_00")) == {"a": 1}


def test_what_was_unloaded_can_be_copied(sql, engine):
    sql("create table t (a bigint, b varchar(5), c decimal(5,2), d super)")
    sql("""insert into t values (1, 'x', 1.5, json_parse('{"k":1}'))""")
    sql(unload("select a, b, c from t", "format parquet manifest"))
    sql("create table u (a bigint, b varchar(5), c decimal(5,2))")
    sql(f"copy u from 's3://b/out/manifest' iam_role '{ROLE}' format parquet manifest")
    assert sql("select * from u") == [(1, "x", Decimal("1.50"))]
