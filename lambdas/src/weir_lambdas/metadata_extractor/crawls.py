"""Glue crawlers: started when a source's shape has changed, and their tables read when they end.

One crawl is owed for each revision that was not crawled yet; the item ``CRAWL`` in the source's
partition says which ``due`` revision is the newest and which one the last crawl had ``begun`` with.
So a landing that comes while the crawler runs is crawled after it, and an event twice starts none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from weir_contract.metadata import Discovered, Profiling
from weir_contract.rows import Field, RowContract
from weir_contract.state import CRAWL, source_pk
from weir_lambdas.common.aws import error_code
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table, Update
from weir_lambdas.landing.infer import column_name
from weir_lambdas.landing.paths import steps
from weir_lambdas.metadata_extractor.hive import contract_type, type_at

CRAWLED_BY = "UPDATED_BY_CRAWLER"
"""Parameter of a table that a crawler writes: the crawler's name (Glue Developer Guide, *Parameters
set on Data Catalog tables by crawler*)."""

RUNNING = ("CrawlerRunningException", "CrawlerStoppingException")
"""What StartCrawler answers while a crawl has not ended altogether (Glue API, *StartCrawler*)."""


class Crawls:
    """The crawls of sources."""

    def __init__(self, table: Table, glue: Any) -> None:
        self._table, self._glue = table, glue

    def owe(self, source: str, revision: int) -> None:
        """A revision has to be crawled."""
        update = Update(
            "SET due = :revision",
            {"revision": revision},
            "attribute_not_exists(due) OR due < :revision",
        )
        self._table.update(source_pk(source), CRAWL, update)

    def settle(self, source: str, crawler: str) -> bool:
        """Start the crawler if a crawl is owed. Returns whether none is owed any more.

        One that runs already is started again when it ends.
        """
        item = self._table.get(source_pk(source), CRAWL) or {}
        due = int(item.get("due", 0))
        if due <= int(item.get("begun", 0)):
            return True
        try:
            self._glue.start_crawler(Name=crawler)
        except ClientError as error:
            if error_code(error) in RUNNING:
                return False
            raise
        update = Update("SET begun = :due", {"due": due})
        self._table.update(source_pk(source), CRAWL, update)
        log("INFO", "crawler started", source=source, crawler=crawler, revision=due)
        return True

    def failed(self, source: str) -> None:
        """The last crawl came to nothing: the next landing starts another."""
        self._table.update(source_pk(source), CRAWL, Update("SET begun = :none", {"none": 0}))

    def table(self, profiling: Profiling) -> Mapping[str, Any] | None:
        """The table that a crawler wrote of a source; None where it found nothing.

        Where files of several shapes made it write several tables, the one over the whole folder,
        else the one with the most records.
        """
        pages = self._glue.get_paginator("get_tables").paginate(
            DatabaseName=profiling.database, Expression=f"{profiling.table_prefix}*"
        )
        found = [
            table
            for page in pages
            for table in page["TableList"]
            if (table.get("Parameters") or {}).get(CRAWLED_BY) == profiling.crawler
        ]
        if len(found) > 1:
            log("WARNING", "the crawler wrote several tables", tables=[t["Name"] for t in found])
        return max(found, key=lambda one: _rank(one, profiling.location or ""), default=None)


def _rank(table: Mapping[str, Any], location: str) -> tuple[bool, int]:
    at = str((table.get("StorageDescriptor") or {}).get("Location") or "").rstrip("/")
    records = (table.get("Parameters") or {}).get("recordCount", "0")
    return at == location.rstrip("/"), int(records) if str(records).isdigit() else 0


def crawled_contract(
    stated: RowContract, known: Discovered, columns: Iterable[Mapping[str, Any]]
) -> RowContract:
    """The contract with the types that a crawler found, frozen.

    Parameters
    ----------
    stated
        As it was written; its types stay.
    known
        What landings have shown: how keys are spelled, which the catalog folds to lower case, and
        the types of columns that the crawler did not see.
    columns
        ``Columns`` of the crawler's table.
    """
    found = {str(one["Name"]).lower(): str(one.get("Type") or "string") for one in columns}
    shown = {one.name: one.type for one in known.columns if not one.missing}
    if stated.fields:
        types = {
            item.name: _type_of(item, found) or shown.get(item.path) or "string"
            for item in stated.fields
            if item.type is None
        }
        return stated.frozen(types)
    spelled = {key.lower(): key for key in shown}
    keys = [spelled.get(name, name) for name in found]
    keys += [key for key in shown if key.lower() not in found]
    names: dict[str, str] = {}
    for key in keys:
        names[column_name(key, names)] = key
    types = {
        name: contract_type(found[key.lower()])
        if key.lower() in found
        else shown.get(key) or "string"
        for name, key in names.items()
    }
    return stated.frozen(types, names)


def _type_of(item: Field, found: Mapping[str, str]) -> str | None:
    head, *rest = steps(item.path)
    kind = found.get(str(head).lower())
    inner = type_at(kind, rest) if kind else None
    return contract_type(inner) if inner else None
