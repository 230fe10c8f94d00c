"""The function ``metadata_extractor``: landed manifests are measured, ended crawls are read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError

from weir_contract.codec import ContractError, dumps, loads
from weir_contract.manifest import Manifest, manifest_key, parse_manifest_key
from weir_contract.metadata import Discovered, LandingMetadata, Profiling, metadata_key
from weir_contract.moments import iso
from weir_contract.rows import RowContract
from weir_contract.state import source_pk
from weir_lambdas.common.aws import client
from weir_lambdas.common.clock import Clock, SystemClock
from weir_lambdas.common.config import environment
from weir_lambdas.common.entry import entry
from weir_lambdas.common.log import log
from weir_lambdas.common.metrics import emit
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.file_processor.unpack import Unreadable
from weir_lambdas.landing.freeze import freeze
from weir_lambdas.metadata_extractor.book import Book, Busy, described
from weir_lambdas.metadata_extractor.crawls import Crawls, crawled_contract
from weir_lambdas.metadata_extractor.discover import discover, given_up, retaken
from weir_lambdas.metadata_extractor.extract import Extractor

RESERVE_SECONDS = 30.0
"""Kept back for writing down what was measured."""

FRESH_SECONDS = 60.0
"""With less time left no further event is begun: it comes again."""

FAULTS = (
    ClientError,
    BotoCoreError,
    ContractError,
    Unreadable,
    Busy,
    OSError,
    ValueError,
    KeyError,
)
"""What fails one event alone."""

SUBSCRIBER = "SUBSCRIBER#"


@entry
def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Entry point.

    Parameters
    ----------
    event
        An SQS batch of EventBridge events: S3 "Object Created" of manifests, and "Glue Crawler State
        Change".

    Returns
    -------
    dict
        ``{"batchItemFailures": [...]}``: SQS redelivers those alone.
    """
    extractor = MetadataExtractor(
        Table(client("dynamodb"), environment("WEIR_STATE_TABLE")),
        Storage(client("s3"), os.environ.get("WEIR_KMS_KEY_ARN")),
        client,
        environment("WEIR_RAW_BUCKET"),
        environment("WEIR_TRIGGER"),
        SystemClock(),
        lambda: context.get_remaining_time_in_millis() / 1000,
        Retries(
            environment("WEIR_RETRY_QUEUE"),
            int(environment("WEIR_RETRIES")),
            environment("WEIR_METRICS_NAMESPACE"),
        ),
    )
    return extractor.batch(event["Records"])


@dataclass(frozen=True)
class Retries:
    """What failed again and again is in a queue of its own, and tried at longer intervals.

    Parameters
    ----------
    queue
        Its ARN.
    most
        Tries; the queue's own bound (``maxReceiveCount``), after which SQS takes an event away.
    metrics_namespace
        Of the metrics that tell of them.
    """

    queue: str
    most: int
    metrics_namespace: str

    def retried(self, record: Mapping[str, Any]) -> bool:
        """Whether an event comes from there."""
        return bool(record.get("eventSourceARN") == self.queue)

    def last(self, record: Mapping[str, Any]) -> bool:
        """Whether an event is tried for the last time."""
        count = (record.get("attributes") or {}).get("ApproximateReceiveCount", 0)
        return self.retried(record) and int(count) >= self.most


@dataclass
class MetadataExtractor:
    """The function's parts, put together.

    Parameters
    ----------
    clients
        Gives an AWS client by its service.
    raw_bucket
        Bucket of the raw zone: events of others are none of ours.
    trigger
        The function that starts pipelines.
    remaining
        Seconds that the function still may run.
    """

    table: Table
    storage: Storage
    clients: Callable[[str], Any]
    raw_bucket: str
    trigger: str
    clock: Clock
    remaining: Callable[[], float]
    retries: Retries

    def __post_init__(self) -> None:
        self.book = Book(self.table, self.clock)
        self.crawls = Crawls(self.table, self.clients("glue"))

    def batch(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """Take a batch; what fails is named, and comes again."""
        failed = []
        for number, record in enumerate(records):
            try:
                if number and self.remaining() < FRESH_SECONDS:
                    raise Busy("the function's time is nearly over")
                self.take(json.loads(record["body"]))
                if self.retries.retried(record):
                    self._count(record, "EventsRecovered")
            except FAULTS as error:
                log("WARNING", "event not taken", id=record["messageId"], error=_said(error))
                failed.append({"itemIdentifier": record["messageId"]})
                if self.retries.last(record):
                    self._given_up(record)
        return {"batchItemFailures": failed}

    def _given_up(self, record: Mapping[str, Any]) -> None:
        """Tell of an event that is not tried again: SQS moves it to the Platform's dead letters."""
        try:
            self._count(record, "EventsGivenUp")
            detail = json.loads(record["body"])["detail"]
            crawler = detail.get("crawlerName")
            if crawler is not None:
                source = self._source_of(str(crawler))
                why = f"what crawler {crawler} found could not be read, and is not tried again"
                if source is not None:
                    self._crawl_failed(source, why)
                return
            parsed = parse_manifest_key(unquote_plus(detail["object"]["key"]))
            if parsed is not None and self.book.profiling(parsed.source) is not None:
                sequence, now = parsed.sequence, iso(self.clock.now())
                self.book.change(parsed.source, lambda known: given_up(known, sequence, now))
        except FAULTS as error:
            log("ERROR", "nobody could be told", id=record["messageId"], error=_said(error))

    def _count(self, record: Mapping[str, Any], metric: str) -> None:
        """A metric of the Platform's, of events that came from the queue of retries."""
        retries = self.retries
        queue = {"Queue": retries.queue.rpartition(":")[2]}
        emit(retries.metrics_namespace, queue, {metric: 1})
        log("INFO", metric, id=record["messageId"])

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event of EventBridge."""
        detail = event["detail"]
        if event.get("source") == "aws.glue":
            self.crawl_ended(str(detail["crawlerName"]), detail)
            return
        bucket, key = detail["bucket"]["name"], detail["object"]["key"]
        parsed = parse_manifest_key(key) or parse_manifest_key(unquote_plus(key))
        if parsed is None or bucket != self.raw_bucket:
            log("WARNING", "no manifest of ours", bucket=bucket)
            return
        if parsed.lane is not None:
            # What is landed of the past, or again, says nothing of the source's shape from now on.
            log("INFO", "a lane's manifest is not measured", source=parsed.source, lane=parsed.lane)
            return
        self.landed(parsed.source, parsed.sequence)

    def landed(self, source: str, sequence: int) -> None:
        """Measure a landing, once, and take it into what is known of its source."""
        profiling = self.book.profiling(source)
        if profiling is None:
            log("INFO", "the source is gone", source=source, sequence=sequence)
            return
        contract = self.book.contract(source)
        seen = self.metadata(source, sequence, described(contract, profiling.contract))
        before, after = self.book.change(source, lambda known: discover(known, seen, contract))
        self._tell(profiling, before, after)
        if profiling.crawler is None or not seen.rows:
            return
        if after.revision != before.revision or contract is None:
            self.crawls.owe(source, after.revision)
        self.crawls.settle(source, profiling.crawler)

    def metadata(self, source: str, sequence: int, contract: RowContract) -> LandingMetadata:
        """A landing's metadata: as they were written before, or measured and written now."""
        key = metadata_key(source, sequence)
        try:
            return loads(LandingMetadata, self.storage.get(self.raw_bucket, key))
        except FileNotFoundError:
            pass
        text = self.storage.get(self.raw_bucket, manifest_key(source, sequence))
        began = self.clock.monotonic()
        extractor = Extractor(self.clients("s3"), lambda: self.remaining() < RESERVE_SECONDS)
        found = extractor.extract(loads(Manifest, text), contract)
        try:
            self.storage.put_new(self.raw_bucket, key, dumps(found).encode(), "application/json")
        except FileExistsError:
            return loads(LandingMetadata, self.storage.get(self.raw_bucket, key))
        log(
            "INFO",
            "measured",
            source=source,
            sequence=sequence,
            rows=found.rows,
            rows_read=found.rows_read,
            columns=len(found.columns),
            sampled=found.sampled,
            seconds=round(self.clock.monotonic() - began, 3),
        )
        return found

    def crawl_ended(self, crawler: str, detail: Mapping[str, Any]) -> None:
        """A crawler has ended: its table's types freeze in the contract, or its failure is told."""
        source = self._source_of(crawler)
        profiling = self.book.profiling(source) if source else None
        if source is None or profiling is None or profiling.crawler != crawler:
            log("INFO", "a crawler of nobody", crawler=crawler)
            return
        state = str(detail.get("state"))
        if state == "Failed":
            why = detail.get("errorMessage") or detail.get("message") or "Glue does not say why"
            self._crawl_failed(source, f"crawler {crawler} failed: {why}"[:1000])
        elif state == "Succeeded":
            found = self.harvest(source, profiling)
            if found and not self.crawls.settle(source, crawler):
                raise Busy(f"{crawler} has not ended altogether")

    def harvest(self, source: str, profiling: Profiling) -> bool:
        """Take the types that a crawler found into the source's contract.

        Returns
        -------
        bool
            Whether it has found a table.
        """
        table = self.crawls.table(profiling)
        if table is None:
            self._crawl_failed(
                source,
                f"crawler {profiling.crawler} ended without a table: nothing below "
                f"{profiling.location} has a format that Glue knows",
            )
            return False
        known = self.book.known(source)
        columns = (table.get("StorageDescriptor") or {}).get("Columns") or []
        seen = crawled_contract(profiling.contract, known, columns)
        frozen = freeze(self.table, source, profiling.contract, seen)
        contract = self.book.contract(source) or seen

        def become(known: Discovered) -> Discovered:
            found = retaken(replace(known, crawl_failure=""), contract)
            moved = frozen or known.crawl_failure
            if moved and found.revision == known.revision:
                return replace(found, revision=found.revision + 1)
            return found

        self.book.change(source, become)
        if frozen:
            self._wake(source)
        return True

    def _crawl_failed(self, source: str, message: str) -> None:
        def become(known: Discovered) -> Discovered:
            if known.crawl_failure == message:
                return known
            return replace(known, crawl_failure=message, revision=known.revision + 1)

        log("WARNING", "crawl failed", source=source, reason=message)
        self.crawls.failed(source)
        self.book.change(source, become)

    def _source_of(self, crawler: str) -> str | None:
        """``namespace/name`` of the source that a crawler belongs to, by its owner's tags."""
        arn = environment("WEIR_CRAWLERS") + crawler
        tags = self.clients("glue").get_tags(ResourceArn=arn).get("Tags") or {}
        namespace, name = tags.get("weir.dev/namespace"), tags.get("weir.dev/name")
        return f"{namespace}/{name}" if namespace and name else None

    def _wake(self, source: str) -> None:
        """Pipelines whose pass found no contract yet look again."""
        for item in self.table.query(source_pk(source), SUBSCRIBER):
            if item.get("onArrival", True) is False:
                continue
            payload = {
                "pipeline": str(item["sk"]).removeprefix(SUBSCRIBER),
                "stateMachineArn": item["stateMachineArn"],
            }
            self.clients("lambda").invoke(
                FunctionName=self.trigger,
                InvocationType="Event",
                Payload=json.dumps(payload).encode(),
            )

    def _tell(self, profiling: Profiling, before: Discovered, after: Discovered) -> None:
        """Count what has changed. Names and types alone are logged."""
        news = [one for one in after.changes if one.revision > before.revision]
        if not news:
            return
        namespace, _, name = after.source.partition("/")
        emit(
            profiling.metrics_namespace,
            {"Namespace": namespace, "Source": name},
            {"SchemaChanges": len(news)},
        )
        for one in news:
            log(
                "INFO",
                "schema changed",
                source=after.source,
                sequence=one.sequence,
                kind=one.kind,
                column=one.column,
                before=one.before,
                after=one.after,
            )


def _said(error: Exception) -> str:
    """An error for the log: its text where that can't hold a row's content, else its class."""
    plain = (ClientError, BotoCoreError, ContractError, Unreadable, Busy, OSError)
    return f"{type(error).__name__}: {error}" if isinstance(error, plain) else type(error).__name__
