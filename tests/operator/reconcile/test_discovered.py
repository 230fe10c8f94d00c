"""What landings have shown becomes status, events and gauges: each change once, names and types only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from prometheus_client import CollectorRegistry

from weir.kube.keys import Key
from weir.reconcile.discovered import (
    EVENTS,
    WORDS,
    described,
    discovered_status,
    follow_discovered,
)
from weir.reconcile.metrics import Metrics
from weir.reconcile.runs import RunBooks
from weir_contract.metadata import (
    ChangeKind,
    Discovered,
    SchemaChange,
    SchemaNotice,
    SeenColumn,
)

KEY = Key("DataSource", "shop", "orders")
CREATED, BEFORE, AFTER = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"


def change(revision: int, at: str = AFTER, **more: Any) -> SchemaChange:
    given = {"kind": "columnAdded", "column": f"c{revision}", "after": "string", **more}
    return SchemaChange(revision, revision, at=at, **given)


class Told:
    """A ledger with one source, and the events that are sent about it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.books = RunBooks(lambda _: datetime(2026, 1, 1, tzinfo=UTC))
        self.said: list[tuple[str, str]] = []
        self.found: Discovered | None = None
        self.asked = 0
        self.status: dict[str, Any] = {}
        self.notices: list[SchemaNotice] = []

    def feed(self, _table: str, _since: str) -> Iterator[tuple[str, SchemaNotice]]:
        for one in self.notices:
            yield f"{one.at}#{one.source}#schema-{one.revision}", one

    def discovered(self, _table: str, source: str) -> Discovered | None:
        self.asked += 1
        assert source == "shop/orders"
        return self.found

    def show(self, found: Discovered) -> None:
        self.found = found
        self.notices.append(SchemaNotice("shop/orders", found.revision, 1, AFTER))
        assert [key for key, _ in self.books.look("p", self, "t")] == [KEY]  # type: ignore[arg-type]

    def warn(self, _obj: Any, reason: str, note: str, _action: str) -> None:
        self.said.append((reason, note))

    say = warn

    def look(self) -> bool:
        services = SimpleNamespace(books=self.books, events=self, metrics=self.metrics)
        look: Any = SimpleNamespace(
            services=services,
            key=KEY,
            status=self.status,
            obj={"metadata": {"creationTimestamp": CREATED}},
        )
        return follow_discovered(look, "p", "t", SimpleNamespace(ledger=self))  # type: ignore[arg-type]


@pytest.fixture
def told() -> Told:
    return Told()


def shown(*changes: SchemaChange, **more: Any) -> Discovered:
    columns = (
        SeenColumn("id", 1, "integer"),
        SeenColumn("extra", 1, None, taken=False, missing=True),
    )
    revision = max((one.revision for one in changes), default=1)
    return Discovered("shop/orders", revision, 4, columns, changes, **more)


def test_each_change_is_told_once_and_the_table_is_asked_only_where_the_feed_tells(
    told: Told,
) -> None:
    assert not told.look()
    assert told.asked == 0
    told.show(shown(change(1), change(2)))
    assert told.look()
    assert not told.look()
    assert told.asked == 1
    assert [reason for reason, _ in told.said] == ["ColumnAdded", "ColumnAdded"]
    told.show(shown(change(1), change(2), change(3, kind="typeChanged", before="integer")))
    assert told.look()
    assert [reason for reason, _ in told.said][2:] == ["ColumnTypeChanged"]


def test_what_happened_to_a_former_object_of_the_name_is_not_told_again(told: Told) -> None:
    told.show(shown(change(1, BEFORE), change(2, AFTER)))
    assert told.look()
    assert [note for _, note in told.said] == [described(change(2))]


def test_the_status_leaves_out_what_is_as_one_expects(told: Told) -> None:
    assert discovered_status(shown(change(2), crawl_failure="crawler x failed: no")) == {
        "revision": 2,
        "sequence": 4,
        "format": "jsonl",
        "untaken": 1,
        "missing": 1,
        "crawler": "crawler x failed: no",
        "columns": [
            {"name": "id", "type": "integer"},
            {"name": "extra", "taken": False, "missing": True},
        ],
    }


def test_a_failed_crawl_is_an_event_with_glues_words(told: Told) -> None:
    told.show(shown(change(1, BEFORE), crawl_failure="crawler x failed: no s3:ListBucket"))
    assert told.look()
    assert told.said == [("CrawlFailed", "crawler x failed: no s3:ListBucket")]


def test_gauges_say_what_the_schema_lacks_and_go_with_the_object(told: Told) -> None:
    told.show(shown(change(3)))
    told.look()
    labels = {"namespace": "shop", "name": "orders"}

    def gauge(name: str) -> float | None:
        return told.registry.get_sample_value(name, labels)

    assert gauge("weir_source_schema_revision") == 3
    assert gauge("weir_source_columns_untaken") == 1
    assert gauge("weir_source_columns_missing") == 1
    told.metrics.forget(KEY)
    assert gauge("weir_source_schema_revision") is None


def test_a_change_that_the_contract_went_along_with_says_so() -> None:
    added = change(7, column="city", contract="string", evolved=True)
    assert "it is added as string, from this landing on" in described(added)
    wide = change(7, kind="typeChanged", before="integer", contract="decimal(38,2)", evolved=True)
    assert "the schema takes decimal(38,2) from now on" in described(wide)


@pytest.mark.parametrize("kind", get_args(ChangeKind))
@pytest.mark.parametrize("contract", [None, "integer"])
def test_every_kind_of_change_has_an_event_and_words(kind: Any, contract: str | None) -> None:
    assert kind in EVENTS and kind in WORDS
    text = described(change(7, kind=kind, column="price", before="integer", contract=contract))
    assert text.startswith("landing 7: ")
    assert ("price" in text) == (kind != "notMeasured"), "that one is of no column"
