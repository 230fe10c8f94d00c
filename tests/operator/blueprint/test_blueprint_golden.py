"""The reference example's AWS resources, whole: a change of ours shows as a diff of these files.

Write them anew with ``WEIR_UPDATE_GOLDEN=1 pytest tests/operator/blueprint``.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from weir.resource import Ref, Resource, Text

GOLDEN = Path(__file__).parent / "golden"

FULL_STAGES = {
    "stages": [
        {
            "name": "tidy",
            "clean": {
                "trim": True,
                "nullValues": ["", "N/A"],
                "deduplicate": {"keys": ["customerId"]},
                "pii": [{"column": "customerEmail", "action": "hash"}],
            },
        },
        {"name": "enrich", "transform": [{"derive": {"domain": "split(customerEmail, '@')[1]"}}]},
        {"name": "check", "validate": {"rules": ['IsComplete "customerId"']}},
        {
            "name": "publish",
            "write": {"zone": "curated", "prefix": "customers/", "partitionBy": ["domain"]},
        },
        {
            "name": "warehouse",
            "load": {
                "redshift": {
                    "schema": "customers",
                    "table": "customer_data",
                    "mode": "merge",
                    "keys": ["customerId"],
                }
            },
        },
        {
            "name": "export",
            "unload": {"query": "select 1", "to": "${BUCKET:curated}/exports/"},
        },
    ],
    "trigger": {"schedule": {"expression": "cron(0 6 * * ? *)", "timezone": "Europe/Berlin"}},
}


def plain(value: Any) -> Any:
    if isinstance(value, Ref):
        return {"$ref": f"{value.logical_id}.{value.attribute}"}
    if isinstance(value, Text):
        return {"$text": [plain(part) for part in value.parts]}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def canonical(resources: tuple[Resource, ...]) -> str:
    found = []
    for resource in resources:
        entry = dataclasses.asdict(dataclasses.replace(resource, properties={}))
        entry["properties"] = plain(resource.properties)
        entry["deletion"] = resource.deletion.value
        found.append(entry)
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


STREAMS = {
    "kinesis": {
        "stream": {
            "kinesis": {
                "create": {"mode": "provisioned", "shards": 2},
                "enhancedFanOut": True,
                "startingPosition": "AT_TIMESTAMP",
                "startingTimestamp": "2026-01-31T00:00:00Z",
            },
            "format": "avro",
            "avroSchema": '{"type": "record", "name": "click", "fields": []}',
        }
    },
    "kafka": {
        "stream": {
            "kafka": {
                "bootstrapServers": ["b-2.example.com:9096", "b-1.example.com:9096"],
                "topics": ["orders", "payments"],
                "auth": {"scramSha512": "kafka"},
                "caSecret": "kafka-ca",
                "pollers": {},
                "key": {"format": "avro", "avroSchema": '"long"'},
            },
            "format": "avro",
            "metadata": True,
            "registry": {
                "confluent": {"url": "https://registry.example.com", "secret": "registry"}
            },
        }
    },
    "msk": {
        "stream": {
            "kafka": {
                "clusterArn": "arn:aws:kafka:eu-central-1:111122223333:cluster/shop/0f0e-1",
                "topics": ["orders"],
                "auth": {"iam": {}},
                "key": {"format": "protobuf", "protobuf": {"message": "shop.v1.Order"}},
            },
            "format": "protobuf",
            "metadata": True,
            "protobuf": {"descriptors": "CgVPcmRlcg==", "message": "shop.v1.Order"},
            "registry": {"glue": {"name": "shop"}},
        }
    },
}


def test_a_source_of_workmail_wants_exactly_the_golden_resources(worlds: Any) -> None:
    mails = {"email": {"workmail": {"organizationId": "m-" + "0a" * 16}}}
    text = canonical(worlds(source_spec={"source": mails}).source_resources())
    path = GOLDEN / "source-workmail.json"
    if os.environ.get("WEIR_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("kind", list(STREAMS))
def test_a_stream_wants_exactly_the_golden_resources(worlds: Any, kind: str) -> None:
    text = canonical(worlds(source_spec={"source": STREAMS[kind]}).source_resources())
    path = GOLDEN / f"source-{kind}.json"
    if os.environ.get("WEIR_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("kind", ["platform", "source", "pipeline", "pipeline-full"])
def test_the_reference_example_wants_exactly_the_golden_resources(worlds: Any, kind: str) -> None:
    world = worlds(pipeline_spec=FULL_STAGES if kind == "pipeline-full" else None)
    resources = {
        "platform": world.platform_resources,
        "source": world.source_resources,
        "pipeline": world.pipeline_resources,
        "pipeline-full": world.pipeline_resources,
    }[kind]()
    text = canonical(resources)
    path = GOLDEN / f"{kind}.json"
    if os.environ.get("WEIR_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


SHOWN = ("ec2.VpcEndpoint", "glue.Connection", "glue.Job", "iam.Role", "lambda.Function")
"""What a VPC changes."""


@pytest.mark.parametrize("kind", ["platform", "source", "pipeline"])
def test_a_platform_in_a_vpc_wants_exactly_the_golden_resources(worlds: Any, kind: str) -> None:
    world = worlds(
        platform_spec={
            "network": {
                "vpcId": "vpc-0a1b2c3d",
                "subnetIds": ["subnet-0a1b2c3d", "subnet-1a1b2c3d"],
                "functions": "all",
                "jobs": True,
                "endpoints": ["s3", "secretsmanager"],
                "endpointPolicy": "platform",
            }
        }
    )
    resources = {
        "platform": world.platform_resources,
        "source": world.source_resources,
        "pipeline": world.pipeline_resources,
    }[kind]()
    inside = tuple(item for item in resources if item.kind in SHOWN or "network" in item.logical_id)
    text = canonical(inside)
    path = GOLDEN / f"{kind}-network.json"
    if os.environ.get("WEIR_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text
