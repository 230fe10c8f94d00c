"""Weir's REST source on its own: reads, cuts out, types, compresses and writes parts to a folder.

What a landing does beside that is a handful of AWS calls, whatever the number of rows.
"""

from __future__ import annotations

import json
import sys
import time

STARTED = time.perf_counter()

import tempfile  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import weir_lambdas.api_ingestion.handler  # noqa: E402, F401  (what a cold start imports)
from weir_contract.rest import Paginator, RequestLimits, RestApi  # noqa: E402
from weir_contract.rows import RowContract  # noqa: E402
from weir_contract.sources import Egress, SourceConfig  # noqa: E402
from weir_lambdas.api_ingestion.source import RestSource  # noqa: E402
from weir_lambdas.common.clock import SystemClock  # noqa: E402
from weir_lambdas.common.egress import EgressClient  # noqa: E402
from weir_lambdas.common.errors import SourceForbidden  # noqa: E402
from weir_lambdas.common.secrets import Secrets  # noqa: E402
from weir_lambdas.landing.batch import Start  # noqa: E402
from weir_lambdas.landing.infer import Inference  # noqa: E402
from weir_lambdas.landing.parts import PartWriter  # noqa: E402


def land(url: str, position: Any, folder: Path) -> dict[str, Any]:
    """Read a source into parts in a folder, from a position; says where it stopped."""
    api = RestApi(
        url,
        data_selector="data",
        paginator=Paginator("pageNumber", total_path="pages"),
        limits=RequestLimits(),
    )
    config = SourceConfig(
        "p", "n", "s", "raw", "state", RowContract(), egress=Egress(allow_loopback=True),
        rest_api=api,
    )  # fmt: skip
    clock = SystemClock()
    source = RestSource(config, Secrets(None, {}, clock), clock)
    inference, rows, failed = Inference(config.contract), 0, False
    start = Start(
        "run", datetime.now(UTC), None, {}, position, lambda: 900.0, lambda: False,
        lambda number, suffix: f"part-{number}.{suffix}",
    )  # fmt: skip

    def put(key: str, body: bytes) -> None:
        (folder / key).write_bytes(body)

    with PartWriter(lambda number: f"part-{number}.jsonl.gz", put) as writer:
        position = None
        try:
            for batch in source.batches(start):
                writer.write(batch.lines, batch.count)
                inference.see_all(batch.rows)
                rows += batch.count or 0
                position = batch.position
        except SourceForbidden:
            failed = True
        writer.finish()
    return {"rows": rows, "columns": len(inference.types), "failed": failed, "position": position}


def main(kind: str, base: str, saved: str) -> None:
    """Print what was read and how long it took, as JSON."""
    first: list[float] = []
    send = EgressClient.send

    def watched(self: EgressClient, request: Any) -> Any:
        first.append(time.perf_counter())
        return send(self, request)

    EgressClient.send = watched  # type: ignore[method-assign]
    before = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = land(f"{base}/{kind}", json.loads(saved), Path(folder))
    seconds = time.perf_counter() - before
    print(json.dumps(found | {"seconds": seconds, "cold_ms": (first[0] - STARTED) * 1000}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "null")
