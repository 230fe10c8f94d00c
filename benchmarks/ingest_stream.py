"""A stream's worker on its own: JSON records of about 200 bytes, as Lambda delivers them.

``python -m benchmarks.ingest_stream``

One process takes events of Kinesis one after another, each as large as Lambda sends one (10,000
records, or 6 MB of event), from the event's JSON text to committed objects: as the Lambda runtime
does, the text is parsed first. What a call does beside that is a handful of AWS calls, whatever the
number of records; they go to clients that keep what is written in memory, so that the worker's own
work is measured and not the emulator's. Prints one JSON line:

``stream_records_per_s``
    Records committed, by wall clock.
``stream_records_per_cpu_s``
    The same by processor time, for machines that do other work beside.
``stream_seal_records_per_s``
    The same records sealed into parts, their types told.
``stream_receive_cold_ms``, ``stream_ingest_cold_ms``
    Import of each handler in a fresh process, boto3 among it.
"""

from __future__ import annotations

import base64
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weir_contract.rows import RowContract
from weir_contract.sources import SourceConfig, Stream
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.batch import Start
from weir_lambdas.landing.infer import Inference
from weir_lambdas.stream_processor.backlog import Backlog
from weir_lambdas.stream_processor.decode import json_objects
from weir_lambdas.stream_processor.intake import Intake
from weir_lambdas.stream_processor.loads import Loads
from weir_lambdas.stream_processor.positions import Positions
from weir_lambdas.stream_processor.receive import receive
from weir_lambdas.stream_processor.sealing import SealSource
from weir_lambdas.stream_processor.waits import Waits

RECORDS = int(os.environ.get("RECORDS", "200000"))
BATCH = 10_000
EVENT_BYTES = 6 * 1024 * 1024
"""A synchronous call's payload (Lambda quotas)."""

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SHARD = "shardId-000000000000"
BASE = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898


class Items:
    """A DynamoDB table in memory, as far as a stream asks it: by key, in order, without conditions
    other than that an item is new. One worker alone writes to it."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}

    def get_item(self, **asked: Any) -> dict[str, Any]:
        """The item of a key, if there is one."""
        found = self.items.get(_key(asked["Key"]))
        return {"Item": found} if found else {}

    def update_item(self, **asked: Any) -> dict[str, Any]:
        """Set attributes to given values, or add to numbers."""
        key = _key(asked["Key"])
        item = self.items.setdefault(key, dict(asked["Key"]))
        names = asked.get("ExpressionAttributeNames", {})
        verb, _, rest = asked["UpdateExpression"].partition(" ")
        for one in rest.split(", "):
            name, _, value = one.replace(" = ", " ").partition(" ")
            name, given = names.get(name, name), asked["ExpressionAttributeValues"][value]
            if verb == "ADD":
                given = {"N": str(int(item.get(name, {"N": "0"})["N"]) + int(given["N"]))}
            item[name] = given
        return {"Attributes": item}

    def transact_write_items(self, **asked: Any) -> None:
        """Write each item."""
        for action in asked["TransactItems"]:
            if "Put" in action:
                item = action["Put"]["Item"]
                self.items[_key(item)] = item
            else:
                self.update_item(**action["Update"])

    def query(self, **asked: Any) -> dict[str, Any]:
        """The items of a partition whose sort key begins with a prefix, in order."""
        values = asked["ExpressionAttributeValues"]
        partition, prefix = values[":pk"]["S"], values[":sk"]["S"]
        found = [key for key in self.items if key[0] == partition and key[1].startswith(prefix)]
        return {"Items": [self.items[key] for key in sorted(found)]}


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


class Objects:
    """S3 in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(self, **asked: Any) -> dict[str, Any]:
        """Write an object."""
        self.objects[asked["Key"]] = asked["Body"]
        return {}

    def get_object(self, **asked: Any) -> dict[str, Any]:
        """Read an object."""
        body = self.objects[asked["Key"]]

        class Body:
            def read(self) -> bytes:
                return body

        return {"Body": Body()}


def record(chance: random.Random, number: int) -> bytes:
    """About 200 bytes of JSON."""
    row = {
        "orderId": number,
        "customerId": f"c-{chance.randrange(10**8):08}",
        "amount": round(chance.uniform(1, 999), 2),
        "currency": chance.choice(["EUR", "USD", "GBP"]),
        "placedAt": f"2026-03-01T12:{chance.randrange(60):02}:{chance.randrange(60):02}Z",
        "items": [{"sku": f"s{chance.randrange(10**6):06}", "quantity": chance.randrange(1, 9)}],
        "note": "x" * chance.randrange(20),
    }
    return json.dumps(row).encode()


def events() -> list[str]:
    """The events as the Lambda runtime receives them: texts."""
    chance, found, some, size = random.Random(1), list[str](), list[str](), 0
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
    for number in range(RECORDS):
        text = json.dumps(
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": f"k{number % 100}",
                    "sequenceNumber": str(BASE + number),
                    "data": base64.b64encode(record(chance, number)).decode(),
                    "approximateArrivalTimestamp": 1_772_366_400.5,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"{SHARD}:{BASE + number}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::000000000000:role/weir/receive",
                "awsRegion": "us-east-1",
                "eventSourceARN": arn,
            }
        )
        if len(some) == BATCH or size + len(text) > EVENT_BYTES:
            found.append(f'{{"Records": [{",".join(some)}]}}')
            some, size = [], 0
        some.append(text)
        size += len(text) + 1
    found.append(f'{{"Records": [{",".join(some)}]}}')
    return found


def run(texts: list[str]) -> tuple[float, float, float]:
    """Seconds to receive all events, by the clock and of the processor, and to seal what came."""
    config = SourceConfig(
        "p", "n", "s", "raw", "state", RowContract(), stream=Stream("kinesis", "orders")
    )  # fmt: skip
    clock, s3 = SystemClock(), Objects()
    table, storage = Table(Items(), "state"), Storage(s3)
    positions, backlog = Positions(table, config.id), Backlog(table, config.id, clock)
    waits = Waits(table, config.id, clock)
    loads = Loads(json_objects, metadata=False, remaining=lambda: 900.0)
    intake = Intake(config, positions, storage, clock, loads)
    before, worked = time.perf_counter(), time.process_time()
    for text in texts:
        answer = receive(
            config, json.loads(text), intake, backlog, waits, clock, lambda _machine: None
        )
        if answer["batchItemFailures"]:
            raise SystemExit(f"records failed: {answer}")
    received, worked = time.perf_counter() - before, time.process_time() - worked
    time.sleep(0.01)
    source = SealSource(config, table, storage, positions, backlog, clock)
    start = Start(
        "run", datetime.now(UTC), None, {}, None, lambda: 900.0, lambda: False,
        lambda number, suffix: f"part-{number}.{suffix}",
    )  # fmt: skip
    inference, rows, before = Inference(config.contract), 0, time.perf_counter()
    for batch in source.batches(start):
        rows += sum(part.rows for part in batch.parts)
        if batch.inference is not None:
            inference.merge(batch.inference)
    sealed = time.perf_counter() - before
    if rows != RECORDS or len(inference.types) != 7:
        raise SystemExit(f"{rows} rows with {len(inference.types)} columns were sealed")
    return received, worked, sealed


def cold(module: str) -> float:
    """Milliseconds that the import of a handler takes in a fresh process, boto3's clients aside."""
    script = (
        "import time; before = time.perf_counter()\n"
        f"import weir_lambdas.stream_processor.{module}\n"
        "print((time.perf_counter() - before) * 1000)"
    )
    times = []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        times.append(float(done.stdout))
    return round(min(times))


def measure() -> dict[str, float]:
    """All keys of this bench; the best of some rounds."""
    texts = events()
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        rounds = [run(texts) for _ in range(ROUNDS)]
    return {
        "stream_records_per_s": round(RECORDS / min(one[0] for one in rounds)),
        "stream_records_per_cpu_s": round(RECORDS / min(one[1] for one in rounds)),
        "stream_seal_records_per_s": round(RECORDS / min(one[2] for one in rounds)),
        "stream_receive_cold_ms": cold("receive"),
        "stream_ingest_cold_ms": cold("handler"),
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
