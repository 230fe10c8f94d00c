"""The Airbyte CDK's low-code source: reads the same pages and serialises every record message."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from pathlib import Path

STARTED = time.perf_counter()
logging.disable(logging.CRITICAL)

import requests  # noqa: E402
from airbyte_cdk.models import (  # noqa: E402
    AirbyteMessageSerializer,
    ConfiguredAirbyteCatalogSerializer,
    Type,
)
from airbyte_cdk.sources.declarative.concurrent_declarative_source import (  # noqa: E402
    ConcurrentDeclarativeSource,
)


def manifest(kind: str, base: str) -> dict[str, object]:
    """A stream of numbered pages."""
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["rows"]},
        "streams": [
            {
                "type": "DeclarativeStream",
                "name": "rows",
                "primary_key": [],
                "retriever": {
                    "type": "SimpleRetriever",
                    "requester": {"type": "HttpRequester", "url_base": base, "path": f"/{kind}"},
                    "record_selector": {
                        "type": "RecordSelector",
                        "extractor": {"type": "DpathExtractor", "field_path": ["data"]},
                    },
                    "paginator": {
                        "type": "DefaultPaginator",
                        "page_token_option": {
                            "type": "RequestOption",
                            "inject_into": "request_parameter",
                            "field_name": "page",
                        },
                        "pagination_strategy": {
                            "type": "CursorPagination",
                            "cursor_value": "{{ response.next }}",
                            "stop_condition": "{{ not response.next }}",
                        },
                    },
                },
                "schema_loader": {
                    "type": "InlineSchemaLoader",
                    "schema": {"type": "object", "additionalProperties": True, "properties": {}},
                },
            }
        ],
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}}},
    }


def main(kind: str, base: str) -> None:
    """Print what was read and how long it took, as JSON."""
    first: list[float] = []
    send = requests.Session.send

    def watched(self, *args, **options):  # type: ignore[no-untyped-def]
        first.append(time.perf_counter())
        return send(self, *args, **options)

    requests.Session.send = watched  # type: ignore[method-assign]
    catalog = ConfiguredAirbyteCatalogSerializer.load(
        {
            "streams": [
                {
                    "stream": {
                        "name": "rows", "json_schema": {}, "supported_sync_modes": ["full_refresh"],
                    },
                    "sync_mode": "full_refresh",
                    "destination_sync_mode": "overwrite",
                }
            ]
        }
    )  # fmt: skip
    before, rows, failed = time.perf_counter(), 0, False
    source = ConcurrentDeclarativeSource(
        catalog=catalog, config={}, state=None, source_config=manifest(kind, base)
    )
    with tempfile.TemporaryDirectory() as folder, Path(folder, "out").open("w") as out:
        try:
            for message in source.read(logging.getLogger("bench"), {}, catalog, []):
                if message.type == Type.RECORD:
                    rows += 1
                    out.write(json.dumps(AirbyteMessageSerializer.dump(message)))
        except Exception as error:
            failed = True
            if kind != "broken":
                raise error
    seconds = time.perf_counter() - before
    cold = (first[0] - STARTED) * 1000
    print(json.dumps({"rows": rows, "seconds": seconds, "failed": failed, "cold_ms": cold}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
