"""Landings that are committed by hand, and the function that measures them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weir_contract.codec import dumps, loads
from weir_contract.manifest import Manifest, Part, manifest_key, part_key
from weir_contract.metadata import Discovered, LandingMetadata, Profiling, metadata_key
from weir_contract.rows import RowContract
from weir_contract.state import BODY, CONTRACT, DISCOVERED, PROFILE, source_pk
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.infer import Inference
from weir_lambdas.metadata_extractor.handler import MetadataExtractor, Retries

ID = "shop/orders"
RETRY_QUEUE = "arn:aws:sqs:us-east-1:000000000000:weir-c-metadata-retry"


@dataclass
class Landings:
    """A source whose manifests a test writes."""

    aws: Callable[[str], Any]
    table: Table
    storage: Storage
    bucket: str
    clock: Any
    remaining: float = 900.0
    invoked: list[dict[str, Any]] = field(default_factory=list)

    def describe(self, contract: RowContract, **more: Any) -> None:
        """Say what is to be measured, and freeze what is typed."""
        self.table.put(source_pk(ID), PROFILE, {BODY: dumps(Profiling(contract, **more))})

    def freeze(self, contract: RowContract) -> None:
        self.table.put(source_pk(ID), CONTRACT, {BODY: dumps(contract)})

    def land(
        self, sequence: int, *parts: Sequence[Mapping[str, Any]] | pa.Table, **more: Any
    ) -> Manifest:
        """Commit a landing of these parts."""
        inference = Inference(RowContract())
        written = []
        for number, rows in enumerate(parts):
            if isinstance(rows, pa.Table):
                sink = io.BytesIO()
                pq.write_table(rows, sink, row_group_size=max(1, rows.num_rows // 3))
                body, suffix, kind = sink.getvalue(), "parquet", "parquet"
            else:
                inference.see_all(rows)
                text = "".join(json.dumps(row) + "\n" for row in rows).encode()
                body, suffix, kind = gzip.compress(text, mtime=0), "jsonl.gz", "jsonl"
            key = part_key(ID, "2026-03-01", f"run-{sequence}", number, suffix)
            version = self.storage.put(self.bucket, key, body, "application/octet-stream")
            digest = hashlib.sha256(body).hexdigest()
            written.append(Part(key, len(rows), len(body), digest, version, kind))  # type: ignore[arg-type]
        manifest = Manifest(
            ID,
            sequence,
            1,
            f"run-{sequence}",
            "2026-03-01T00:00:00Z",
            "2026-03-01T00:00:01Z",
            self.bucket,
            tuple(written),
            fingerprint=inference.fingerprint,
        )
        manifest = replace(manifest, **more)
        self.storage.put_new(
            self.bucket, manifest.key, dumps(manifest).encode(), "application/json"
        )
        return manifest

    def event(self, sequence: int) -> dict[str, Any]:
        """The event of a manifest, as EventBridge hands it to a queue."""
        detail = {
            "bucket": {"name": self.bucket},
            "object": {"key": manifest_key(ID, sequence)},
        }
        body = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
        return {"messageId": f"m-{sequence}", "body": json.dumps(body)}

    def function(self) -> MetadataExtractor:
        return MetadataExtractor(
            self.table,
            self.storage,
            self.client,
            self.bucket,
            "trigger",
            self.clock,
            lambda: self.remaining,
            Retries(RETRY_QUEUE, 8, "Weir"),
        )

    def client(self, service: str) -> Any:
        return self if service == "lambda" else self.aws(service)

    def invoke(self, **call: Any) -> None:
        """The trigger, as far as this function calls it."""
        self.invoked.append(json.loads(call["Payload"]))

    def take(self, *sequences: int) -> list[dict[str, Any]]:
        """Hand these manifests' events to the function; what failed comes back."""
        answer = self.function().batch([self.event(one) for one in sequences])
        return list(answer["batchItemFailures"])

    def metadata(self, sequence: int) -> LandingMetadata:
        return loads(LandingMetadata, self.storage.get(self.bucket, metadata_key(ID, sequence)))

    def known(self) -> Discovered:
        item = self.table.get(source_pk(ID), DISCOVERED)
        return loads(Discovered, item[BODY]) if item else Discovered(ID)


@pytest.fixture
def landings(aws: Any, table: Table, storage: Storage, bucket: str, clock: Any) -> Landings:
    return Landings(aws, table, storage, bucket, clock)
