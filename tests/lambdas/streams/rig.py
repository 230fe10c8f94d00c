"""One stream source on the local AWS: what Lambda delivers, received and sealed."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from weir_contract.codec import loads
from weir_contract.manifest import Manifest, manifest_prefix
from weir_contract.sources import SourceConfig
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.land import Lander, Landing
from weir_lambdas.stream_processor.backlog import Backlog
from weir_lambdas.stream_processor.decode import decoder
from weir_lambdas.stream_processor.givenup import GivenUp, Taken
from weir_lambdas.stream_processor.intake import Counts, Intake
from weir_lambdas.stream_processor.keys import key_reader
from weir_lambdas.stream_processor.loads import OBJECT_BYTES, Loads
from weir_lambdas.stream_processor.positions import Positions
from weir_lambdas.stream_processor.receive import receive
from weir_lambdas.stream_processor.registry import Schemas
from weir_lambdas.stream_processor.sealing import SealSource
from weir_lambdas.stream_processor.waits import Waits

STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/clicks"
MAPPING = "11111111-2222-3333-4444-555555555555"
BASE = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
"""A sequence number as Kinesis gives them."""


def kinesis(
    records: Sequence[tuple[int, bytes]], shard: str = "shardId-000000000000", at: float = 1e9
) -> dict[str, Any]:
    """An event of Kinesis: numbers of records (added to :data:`BASE`) and their bytes."""
    return {
        "Records": [
            {
                "eventSource": "aws:kinesis",
                "eventSourceARN": STREAM,
                "eventID": f"{shard}:{BASE + number}",
                "kinesis": {
                    "partitionKey": "k",
                    "sequenceNumber": str(BASE + number),
                    "data": base64.b64encode(data).decode(),
                    "approximateArrivalTimestamp": at,
                },
            }
            for number, data in records
        ]
    }


def kafka(
    records: Sequence[tuple[int, bytes | None]],
    topic: str = "clicks",
    partition: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """An event of self-managed Kafka: offsets and values."""
    return {
        "eventSource": "SelfManagedKafka",
        "bootstrapServers": "b:9092",
        "records": {
            f"{topic}-{partition}": [
                {
                    "topic": topic,
                    "partition": partition,
                    "offset": offset,
                    "timestamp": 1_700_000_000_000 + offset,
                    "timestampType": "CREATE_TIME",
                    "headers": [],
                }
                | ({} if value is None else {"value": base64.b64encode(value).decode()})
                | more
                for offset, value in records
            ]
        },
    }


@dataclass
class Rig:
    """One source."""

    s3: Any
    table: Table
    config: SourceConfig
    clock: Clock
    schemas: Schemas | None = None
    started: list[str] = field(default_factory=list)
    object_bytes: int = OBJECT_BYTES

    @property
    def positions(self) -> Positions:
        return Positions(self.table, self.config.id)

    @property
    def backlog(self) -> Backlog:
        return Backlog(self.table, self.config.id, self.clock)

    def restate(self, **settings: Any) -> None:
        """Change settings of the stream."""
        assert self.config.stream is not None
        self.config = replace(self.config, stream=replace(self.config.stream, **settings))

    def intake(self, s3: Any = None, table: Table | None = None) -> Intake:
        return Intake(
            self.config,
            Positions(table or self.table, self.config.id),
            Storage(s3 or self.s3),
            self.clock,
            self.loads(),
        )

    def loads(self) -> Loads:
        assert self.config.stream is not None
        decode = decoder(self.config, Storage(self.s3), self.schemas)
        return Loads(
            decode,
            self.config.stream.metadata,
            lambda: 600.0,
            self.object_bytes,
            key_reader(self.config, Storage(self.s3), self.schemas),
        )

    def receive(self, event: Mapping[str, Any], s3: Any = None, table: Table | None = None) -> Any:
        backlog = Backlog(table or self.table, self.config.id, self.clock)
        intake = self.intake(s3, table)
        waits = Waits(table or self.table, self.config.id, self.clock)
        return receive(self.config, event, intake, backlog, waits, self.clock, self.started.append)

    @property
    def waits(self) -> Waits:
        return Waits(self.table, self.config.id, self.clock)

    def seal(self, run: str, s3: Any = None, table: Table | None = None, **more: Any) -> Landing:
        storage, table = Storage(s3 or self.s3), table or self.table
        source = SealSource(
            self.config,
            table,
            storage,
            Positions(table, self.config.id),
            Backlog(table, self.config.id, self.clock),
            self.clock,
            **more,
        )
        lander = Lander(self.config, source, table, storage, self.clock, lambda: 600.0)
        return lander.land(run, None, None)

    def look(self, s3: Any = None, table: Table | None = None) -> Taken:
        """Take what Lambda gave up on."""
        given_up = GivenUp(
            self.config,
            table or self.table,
            Storage(s3 or self.s3),
            self.clock,
            self.intake(s3, table),
            [MAPPING],
        )
        return given_up.take(Counts(), lambda: False)

    def give_up(self, event: Mapping[str, Any], name: str, **more: Any) -> str:
        """Lambda gives up on a batch: writes it whole into the quarantine bucket."""
        key = f"aws/lambda/{MAPPING}/shard/2026/03/01/{name}"
        document = {
            "requestContext": {"condition": "RetryAttemptsExhausted"},
            "version": "1.0",
            "timestamp": "2026-03-01T11:00:00.000Z",
            "payload": json.dumps(event),
        } | more
        body = json.dumps(document).encode()
        self.s3.put_object(Bucket=self.config.quarantine_bucket, Key=key, Body=body)
        return key

    def manifests(self, lane: str | None = None) -> list[Manifest]:
        storage = Storage(self.s3)
        bucket = self.config.raw_bucket
        keys = storage.keys(bucket, manifest_prefix(self.config.id, lane))
        return [loads(Manifest, storage.get(bucket, key)) for key in keys]

    def records(self, lane: str | None = None) -> list[dict[str, Any]]:
        """Every record of the committed manifests, in their order."""
        found: list[dict[str, Any]] = []
        for manifest in self.manifests(lane):
            for part in manifest.parts:
                lines = gzip.decompress(Storage(self.s3).get(manifest.bucket, part.key))
                rows = [json.loads(line) for line in lines.splitlines()]
                assert len(rows) == part.rows
                found += rows
        return found

    def quarantined(self) -> list[dict[str, Any]]:
        storage, bucket = Storage(self.s3), self.config.quarantine_bucket
        return [
            json.loads(line)
            for key in storage.keys(bucket, f"{self.config.id}/")
            for line in gzip.decompress(storage.get(bucket, key)).splitlines()
        ]
