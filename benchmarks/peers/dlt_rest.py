"""dlt's ``rest_api`` source: reads the same pages and writes its extract files to a folder."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time

STARTED = time.perf_counter()
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"

import dlt  # noqa: E402
from dlt.sources.helpers.rest_client.client import RESTClient  # noqa: E402
from dlt.sources.rest_api import rest_api_source  # noqa: E402


def main(kind: str, base: str) -> None:
    """Print what was read and how long it took, as JSON."""
    first: list[float] = []
    send = RESTClient._send_request

    def watched(self, *args, **options):  # type: ignore[no-untyped-def]
        first.append(time.perf_counter())
        return send(self, *args, **options)

    RESTClient._send_request = watched  # type: ignore[method-assign]
    config = {
        "client": {
            "base_url": base,
            "paginator": {
                "type": "page_number", "base_page": 1, "page_param": "page", "total_path": "pages",
            },
        },
        "resources": [{"name": "rows", "endpoint": {"path": kind, "data_selector": "data"}}],
    }  # fmt: skip
    before, rows, failed = time.perf_counter(), 0, False
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "bench", pipelines_dir=folder, destination="dummy", dataset_name="bench"
        )
        try:
            pipeline.extract(rest_api_source(config))  # type: ignore[arg-type]
        except Exception as error:
            failed = True
            if kind != "broken":
                raise error
        metrics = pipeline.last_trace.last_extract_info if not failed else None
        if metrics:
            for steps in metrics.metrics.values():
                for table, counts in (
                    (t, c) for one in steps for t, c in one["table_metrics"].items()
                ):
                    rows += 0 if table.startswith("_dlt") else counts.items_count
    seconds = time.perf_counter() - before
    cold = (first[0] - STARTED) * 1000
    print(json.dumps({"rows": rows, "seconds": seconds, "failed": failed, "cold_ms": cold}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
