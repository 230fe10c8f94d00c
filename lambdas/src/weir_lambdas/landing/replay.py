"""Quarantined records as something that can be landed: they go through the present contract again.

A replay's lane stands for the run whose records it takes, whoever asks. What its manifests have taken
is taken for good, so that a second replay of the run finds nothing left.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from weir_contract.codec import digest
from weir_contract.manifest import Part
from weir_contract.sources import SourceConfig
from weir_lambdas.common.log import log
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.batch import Batch, Source, Start
from weir_lambdas.landing.calls import Asked
from weir_lambdas.landing.infer import Inference
from weir_lambdas.landing.parts import CONTENT_TYPE, PartWriter
from weir_lambdas.landing.records import parse

ATTEMPT = re.compile(r"/attempt=(\d+)/")
LINES_AT_ONCE = 5_000
"""Records that are held in memory before they go to their part."""


class Quarantined(Source):
    """The records of one source that a run of a pipeline has put into quarantine.

    Parameters
    ----------
    config
        The source's configuration.
    s3
        An S3 client.
    storage
        Writes parts.
    pipeline
        The name of the pipeline, in the source's namespace.
    run
        The pass. It must have succeeded: a failed one is repeated with all its records.
    """

    def __init__(
        self, config: SourceConfig, s3: Any, storage: Storage, pipeline: str, run: str
    ) -> None:
        self._config, self._s3, self._storage = config, s3, storage
        self._prefix = f"{config.namespace}/{pipeline}/run={run}/"

    @property
    def fingerprint(self) -> str:
        """Stands for the folder: what is in it does not change any more."""
        return digest(self._prefix)[:16]

    @property
    def resume_seconds(self) -> float:
        """Any age: the folder does not change."""
        return float("inf")

    def batches(self, start: Start) -> Generator[Batch]:
        """One object of the quarantine after the other, each as parts of its own.

        Records whose text is not the one that was landed, since a stage made the row anew, stay.
        """
        keys = self._objects()
        done = str((start.position or {}).get("after") or start.cursor or "")
        numbers = itertools.count()
        left = [key for key in keys if key > done]
        for place, key in enumerate(left, 1):
            inference = Inference(self._config.contract)
            parts, stays = self._take(key, start, numbers, inference)
            if stays:
                log("WARNING", "can't be replayed", source=self._config.id, object=key, rows=stays)
            yield Batch(
                position={"after": key} if place < len(left) else None,
                cursor=key,
                parts=parts,
                quarantined=stays,
                inference=inference,
            )
            if start.enough():
                return

    def _objects(self) -> list[str]:
        """The keys of the run's last attempt: earlier ones were repeated with all their records."""
        bucket = self._config.quarantine_bucket
        keys = [key for key in self._storage.keys(bucket, self._prefix) if key.endswith(".gz")]
        attempts = {key: int(found[1]) for key in keys if (found := ATTEMPT.search(key))}
        last = max(attempts.values(), default=0)
        return sorted(key for key, attempt in attempts.items() if attempt == last)

    def _take(
        self, key: str, start: Start, numbers: Iterator[int], inference: Inference
    ) -> tuple[tuple[Part, ...], int]:
        """The parts of one object, a part never holding records of two landings; and how many rows
        of the source stay."""
        writers: dict[int, PartWriter] = {}
        held: dict[int, list[bytes]] = {}
        count = stays = 0
        body = self._s3.get_object(Bucket=self._config.quarantine_bucket, Key=key)["Body"]
        with ExitStack() as stack:

            def flush() -> None:
                for sequence, lines in held.items():
                    if sequence not in writers:
                        writers[sequence] = stack.enter_context(self._writer(start, numbers))
                    writers[sequence].write(lines)
                held.clear()

            for line in gzip.GzipFile(fileobj=body):
                row = json.loads(line)
                if row.get("source") != self._config.id:
                    continue
                if not row.get("replayable") or row.get("sequence") is None:
                    stays += 1
                    continue
                record = str(row["record"]).encode()
                _see(inference, record)
                held.setdefault(int(row["sequence"]), []).append(record + b"\n")
                count += 1
                if count % LINES_AT_ONCE == 0:
                    flush()
            flush()
            return tuple(
                replace(part, sequence=sequence)
                for sequence, writer in sorted(writers.items())
                for part in writer.finish()
            ), stays

    def _writer(self, start: Start, numbers: Iterator[int]) -> PartWriter:
        bucket = self._config.raw_bucket
        return PartWriter(
            lambda _: start.part_key(next(numbers), "replay.jsonl.gz"),
            lambda key, body: self._storage.put_new(bucket, key, body, CONTENT_TYPE),
        )


def _see(inference: Inference, record: bytes) -> None:
    """Take a record into account for types; one that is no JSON object the pipeline refuses again."""
    try:
        found = parse(record)
    except ValueError:
        return
    if isinstance(found, dict):
        inference.see(found)


def quarantined(config: SourceConfig, call: Asked, s3: Any, storage: Storage) -> Quarantined | None:
    """What a call lands where it is a replay, else None."""
    if call.replay is None:
        return None
    return Quarantined(config, s3, storage, call.pipeline, call.replay)
