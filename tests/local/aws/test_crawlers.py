"""Crawlers read what is there, as their role may, and say how it went."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aws_makers import allow, eventually, give, make_role, unique
from botocore.exceptions import ClientError

from weir_local.aws.classifiers import classify
from weir_local.aws.server import EndpointSession


class Crawled:
    """A bucket, a database and a crawler over a folder."""

    def __init__(self, admin: EndpointSession, role: str) -> None:
        self.glue, self.s3 = admin.client("glue"), admin.client("s3")
        self.name, self.bucket = unique("crawl"), unique("bucket")
        self.database = self.name.replace("-", "_")
        self.s3.create_bucket(Bucket=self.bucket)
        self.glue.create_database(DatabaseInput={"Name": self.database})
        self.glue.create_crawler(
            Name=self.name,
            Role=role,
            DatabaseName=self.database,
            TablePrefix="c__",
            Targets={
                "S3Targets": [{"Path": f"s3://{self.bucket}/in/orders/", "Exclusions": ["_x/**"]}]
            },
            Configuration=json.dumps({"Version": 1.0, "Grouping": {"TableLevelConfiguration": 3}}),
            Tags={"team": "data"},
        )

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=f"in/orders/{key}", Body=body)

    def crawl(self) -> dict[str, Any]:
        """Crawl to the end; what the last crawl says."""
        self.glue.start_crawler(Name=self.name)

        def ended() -> dict[str, Any] | None:
            crawler = self.glue.get_crawler(Name=self.name)["Crawler"]
            return crawler["LastCrawl"] if crawler["State"] == "READY" else None

        return eventually(ended)

    def table(self) -> dict[str, Any]:
        (table,) = self.glue.get_tables(DatabaseName=self.database)["TableList"]
        return dict(table)

    def columns(self) -> dict[str, str]:
        return {one["Name"]: one["Type"] for one in self.table()["StorageDescriptor"]["Columns"]}


@pytest.fixture
def crawled(admin: EndpointSession) -> Crawled:
    return Crawled(admin, make_role(admin, "glue", allow(["s3:*", "glue:*"])))


def lines(*rows: dict[str, Any]) -> bytes:
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())


def test_json_lines_in_dated_folders_become_one_table_with_partitions_and_versions(
    crawled: Crawled,
) -> None:
    crawled.put("date=2026-01-01/run=a/part-0.jsonl.gz", lines({"Id": 1, "at": {"x": 1.5}}))
    crawled.put("_x/hidden.json", b'{"never": 1}\n')
    assert crawled.crawl()["Status"] == "SUCCEEDED"
    assert crawled.columns() == {"id": "int", "at": "struct<x:double>"}
    table = crawled.table()
    assert table["Name"] == "c__orders"
    assert [key["Name"] for key in table["PartitionKeys"]] == ["date", "run"]
    assert table["Parameters"]["UPDATED_BY_CRAWLER"] == crawled.name
    assert table["StorageDescriptor"]["SerdeInfo"]["Parameters"]["paths"] == "Id,at"
    crawled.put("date=2026-01-02/run=b/part-0.jsonl.gz", lines({"Id": 2**40, "tags": ["a"]}))
    assert crawled.crawl()["Status"] == "SUCCEEDED"
    assert crawled.columns() == {"id": "bigint", "at": "struct<x:double>", "tags": "array<string>"}
    where = {"DatabaseName": crawled.database, "TableName": "c__orders"}
    versions = crawled.glue.get_table_versions(**where)["TableVersions"]
    assert [len(one["Table"]["StorageDescriptor"]["Columns"]) for one in versions] == [3, 2]
    partitions = crawled.glue.get_partitions(**where)["Partitions"]
    assert sorted(one["Values"] for one in partitions) == [["2026-01-01", "a"], ["2026-01-02", "b"]]
    assert crawled.crawl()["Status"] == "SUCCEEDED"
    assert len(crawled.glue.get_table_versions(**where)["TableVersions"]) == 2


def test_a_crawl_fails_with_what_the_role_lacks(admin: EndpointSession) -> None:
    role = make_role(admin, "glue", allow("glue:*"))
    crawled = Crawled(admin, role)
    crawled.put("a.json", b'{"a": 1}\n')
    last = crawled.crawl()
    assert last["Status"] == "FAILED"
    assert "s3:ListBucket" in last["ErrorMessage"]
    assert crawled.glue.get_tables(DatabaseName=crawled.database)["TableList"] == []
    give(admin, role, allow(["glue:*", "s3:ListBucket", "s3:GetObject"]))
    assert crawled.crawl()["Status"] == "SUCCEEDED"
    assert crawled.columns() == {"a": "int"}


def test_a_role_that_glue_may_not_assume_is_refused(admin: EndpointSession) -> None:
    with pytest.raises(ClientError, match="unable to assume"):
        Crawled(admin, make_role(admin, "lambda", allow(["s3:*", "glue:*"])))


def test_a_range_of_a_version_is_that_range(admin: EndpointSession) -> None:
    s3, bucket = admin.client("s3"), unique("versions")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["VersionId"]
    s3.put_object(Bucket=bucket, Key="k", Body=b"other")

    def read(wanted: str) -> tuple[int, bytes]:
        answer = s3.get_object(Bucket=bucket, Key="k", VersionId=version, Range=wanted)
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Body"].read()

    assert read("bytes=2-4") == (206, b"234")
    assert read("bytes=7-") == (206, b"789")
    assert read("bytes=-2") == (206, b"89")


def test_formats_are_told_by_their_content() -> None:
    def columns(body: bytes) -> tuple[str, dict[str, str], bool] | None:
        found = classify(lambda start, end: body[start:end], len(body))
        return (found.classification, found.columns, found.header) if found else None

    sink = io.BytesIO()
    pq.write_table(pa.table({"Id": [1], "name": ["x"]}), sink)
    assert columns(sink.getvalue()) == ("parquet", {"id": "bigint", "name": "string"}, False)
    assert columns(b"id,name,price\n1,a,2.5\n2,b,\n") == (
        "csv",
        {"id": "bigint", "name": "string", "price": "double"},
        True,
    )
    assert columns(b"a,b\nc,d\n") == ("csv", {"col0": "string", "col1": "string"}, False)
    assert columns(b'[{"a": true}, {"a": null, "B": 1}]') == (
        "json",
        {"a": "boolean", "b": "int"},
        False,
    )
    assert columns(b"\x00\x01\xff\xfe binary") is None
    assert columns(b"just a text\n") is None
