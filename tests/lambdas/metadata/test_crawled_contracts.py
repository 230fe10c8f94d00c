"""What a crawler finds becomes the source's contract: once, with the keys as records spell them."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from lambdas.metadata.conftest import ID, Landings
from weir_contract.metadata import Discovered, SeenColumn
from weir_contract.rows import Field, RowContract
from weir_contract.state import CRAWL, source_pk, subscriber_sk
from weir_lambdas.common.state import read_contract
from weir_lambdas.metadata_extractor.crawls import crawled_contract
from weir_lambdas.metadata_extractor.handler import MetadataExtractor

OPEN = RowContract(discovery="crawler")


class Crawler:
    """A crawler and its table, as Glue has them; a crawl runs until the test ends it."""

    def __init__(self, landings: Landings, monkeypatch: pytest.MonkeyPatch, contract: Any) -> None:
        self.landings, self.glue = landings, landings.aws("glue")
        self.name, self.database = f"weir-t-{uuid4().hex[:8]}", f"weir_t_{uuid4().hex[:8]}"
        prefix = "arn:aws:glue:us-east-1:000000000000:crawler/"
        monkeypatch.setenv("WEIR_CRAWLERS", prefix)
        self.glue.create_database(DatabaseInput={"Name": self.database})
        self.glue.create_crawler(
            Name=self.name,
            Role="arn:aws:iam::000000000000:role/r",
            DatabaseName=self.database,
            Targets={"S3Targets": [{"Path": f"s3://{landings.bucket}/{ID}/"}]},
        )
        tags = {"weir.dev/namespace": "shop", "weir.dev/name": "orders"}
        self.glue.tag_resource(ResourceArn=prefix + self.name, TagsToAdd=tags)
        landings.describe(
            contract,
            crawler=self.name,
            database=self.database,
            table_prefix="crawled__",
            location=f"s3://{landings.bucket}/{ID}/",
        )

    @property
    def running(self) -> bool:
        return bool(self.glue.get_crawler(Name=self.name)["Crawler"]["State"] == "RUNNING")

    def end(self, **columns: str) -> list[dict[str, Any]]:
        """The crawl ends with a table of these columns."""
        self.glue.stop_crawler(Name=self.name)
        table = {
            "Name": "crawled__orders",
            "Parameters": {"UPDATED_BY_CRAWLER": self.name},
            "StorageDescriptor": {
                "Columns": [{"Name": name, "Type": kind} for name, kind in columns.items()],
                "Location": f"s3://{self.landings.bucket}/{ID}/",
            },
        }
        try:
            self.glue.create_table(DatabaseName=self.database, TableInput=table)
        except self.glue.exceptions.AlreadyExistsException:
            self.glue.update_table(DatabaseName=self.database, TableInput=table)
        return self.tell("Succeeded")

    def tell(self, state: str, **more: str) -> list[dict[str, Any]]:
        """The event of a crawl's end, handed to the function; what failed comes back."""
        detail = {"crawlerName": self.name, "state": state, **more}
        record = {
            "messageId": "crawl",
            "body": json.dumps({"source": "aws.glue", "detail": detail}),
        }
        function: MetadataExtractor = self.landings.function()
        return list(function.batch([record])["batchItemFailures"])


def types(landings: Landings) -> dict[str, tuple[str, str | None]]:
    contract = read_contract(landings.table, ID)
    assert contract is not None
    return {item.name: (item.path, item.type) for item in contract.fields}


def test_the_first_landing_starts_the_crawler_and_its_table_freezes_the_contract(
    landings: Landings, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawler = Crawler(landings, monkeypatch, OPEN)
    machine = "arn:aws:states:us-east-1:000000000000:stateMachine:m"
    landings.table.put(source_pk(ID), subscriber_sk("shop/p"), {"stateMachineArn": machine})
    landings.land(1, [{"customerId": 1, "at": {"city": "x"}, "ok": True}])
    assert landings.take(1, 1) == []
    assert crawler.running
    assert landings.invoked == []
    assert crawler.end(customerid="bigint", at="struct<city:string>", ok="boolean") == []
    assert types(landings) == {
        "customerId": ("customerId", "integer"),
        "at": ("at", "json"),
        "ok": ("ok", "boolean"),
    }
    assert landings.invoked == [{"pipeline": "shop/p", "stateMachineArn": machine}]
    assert not crawler.running
    landings.land(2, [{"customerId": 2, "at": {"city": "y"}, "ok": False}])
    assert landings.take(2) == []
    assert not crawler.running


def test_a_frozen_type_stays_whatever_later_crawls_find(
    landings: Landings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = RowContract(
        fields=(
            Field("id", "id"),
            Field("city", "at.city"),
            Field("price", "price", "decimal(10,2)"),
        ),
        discovery="crawler",
    )
    crawler = Crawler(landings, monkeypatch, stated)
    landings.land(1, [{"id": 1, "at": {"city": "x"}, "price": "1.50"}])
    assert landings.take(1) == []
    assert crawler.end(id="int", at="struct<City:string>", price="string") == []
    frozen = {
        "id": ("id", "integer"),
        "city": ("at.city", "string"),
        "price": ("price", "decimal(10,2)"),
    }
    assert types(landings) == frozen
    landings.land(2, [{"id": "x", "at": {"city": "x"}, "price": "1.50", "new": 1}])
    assert landings.take(2) == []
    assert crawler.running
    assert crawler.end(id="string", at="struct<city:string>", price="string", new="int") == []
    assert types(landings) == frozen
    known = {one.name: one.taken for one in landings.known().columns}
    assert known == {"id": True, "at": True, "at.city": True, "price": True, "new": False}


def test_a_landing_that_comes_while_the_crawler_runs_is_crawled_after_it(
    landings: Landings, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawler = Crawler(landings, monkeypatch, OPEN)
    landings.land(1, [{"id": 1}])
    landings.land(2, [{"id": 1, "more": 2}])
    assert landings.take(1, 2) == []
    assert crawler.end(id="int") == []
    assert crawler.running
    assert crawler.end(id="int", more="int") == []
    assert not crawler.running


def test_a_crawl_that_failed_is_told_once_and_tried_again_with_the_next_landing(
    landings: Landings, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawler = Crawler(landings, monkeypatch, OPEN)
    landings.land(1, [{"id": 1}])
    landings.land(2, [{"id": 2}])
    assert landings.take(1) == []
    landings.aws("glue").stop_crawler(Name=crawler.name)
    assert crawler.tell("Failed", errorMessage="AccessDenied on s3:ListBucket") == []
    known = landings.known()
    assert "AccessDenied on s3:ListBucket" in known.crawl_failure
    assert crawler.tell("Failed", errorMessage="AccessDenied on s3:ListBucket") == []
    assert landings.known().revision == known.revision
    assert not crawler.running
    assert landings.take(2) == []
    assert crawler.running
    assert crawler.end(id="int") == []
    assert landings.known().crawl_failure == ""
    assert int((landings.table.get(source_pk(ID), CRAWL) or {})["begun"]) > 0


def test_a_crawl_without_a_table_says_that_there_is_nothing_that_glue_knows(
    landings: Landings, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawler = Crawler(landings, monkeypatch, OPEN)
    landings.land(1, [{"id": 1}])
    assert landings.take(1) == []
    landings.aws("glue").stop_crawler(Name=crawler.name)
    assert crawler.tell("Succeeded") == []
    assert "without a table" in landings.known().crawl_failure
    assert read_contract(landings.table, ID) is None


def test_columns_that_no_record_has_shown_keep_the_crawlers_spelling() -> None:
    known = Discovered(ID, columns=(SeenColumn("Order Id", 1, "string"),))
    columns = [{"Name": "order id", "Type": "bigint"}, {"Name": "date", "Type": "date"}]
    found = crawled_contract(OPEN, known, columns)
    assert [(one.name, one.path, one.type) for one in found.fields] == [
        ("Order_Id", "Order Id", "integer"),
        ("date", "date", "date"),
    ]
