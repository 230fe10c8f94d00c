"""Each REST example, as the operator would hand it to its function, against a server of its kind."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from rest_examples import SECRETS, WANTED, Rows, Server, answering, at, documents
from weir.api.v1alpha1.datasource import DataSource
from weir.blueprint import rest
from weir.blueprint.config import source_secrets, stated_contract
from weir_contract.manifest import manifest_key
from weir_contract.sources import SourceConfig


@dataclass
class Landed:
    """What a landing of an example came to."""

    rows: Rows
    calls: list[Any]
    refresh_token: str


@pytest.fixture
def land(api: Any, aws: Any, source: Any, lander: Any) -> Iterator[Callable[[str], Landed]]:
    secrets, made = aws("secretsmanager"), list[str]()

    def run(name: str) -> Landed:
        document = at(api.url, name)
        document["metadata"]["namespace"] = "shop"
        written = DataSource.model_validate(document)
        spec = written.spec.source.rest_api
        assert spec is not None and list(rest.faults(spec)) == []
        ids = {}
        for ref in {ref.name for ref in source_secrets(written)}:
            ids[ref] = f"{ref}-{uuid.uuid4().hex[:8]}"
            made.append(ids[ref])
            secrets.create_secret(Name=ids[ref], SecretString=SECRETS[ref]())
        config: SourceConfig = source(
            rest.rest_api(spec), secrets=ids, contract=stated_contract(written, {})
        )
        api.answer = answering(Server(api.url), name.replace("-", "_"))
        landing = lander(config).land("run-1", "2026-03-01T12:00:00Z", None)
        assert landing.complete
        kept = (
            json.loads(secrets.get_secret_value(SecretId=ids["books"])["SecretString"])[
                "refresh_token"
            ]
            if "books" in ids
            else ""
        )
        return Landed(rows_of(aws("s3"), config, landing.sequence), api.calls, kept)

    yield run
    for name in made:
        secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def rows_of(s3: Any, config: SourceConfig, last: int) -> Rows:
    """The rows of committed manifests, in order."""
    rows: Rows = []
    for sequence in range(1, last + 1):
        key = manifest_key(config.id, sequence)
        found = s3.get_object(Bucket=config.raw_bucket, Key=key)["Body"].read()
        for part in json.loads(found)["parts"]:
            body = s3.get_object(Bucket=config.raw_bucket, Key=part["key"])["Body"].read()
            rows += [json.loads(line) for line in gzip.decompress(body).splitlines()]
    return rows


@pytest.mark.parametrize("name", WANTED)
def test_an_example_lands_every_row(land: Callable[[str], Landed], name: str) -> None:
    landed = land(name)
    assert landed.rows == WANTED[name]
    if name == "invoices":
        assert landed.refresh_token == "refresh-1"


def test_an_example_with_windows_asks_for_each_week_once(land: Callable[[str], Landed]) -> None:
    landed = land("events")
    starts = sorted({call.query["from"] for call in landed.calls})
    ends = sorted({call.query["to"] for call in landed.calls})
    assert starts[0] == "2025-01-01T00:00:00Z" and starts[1:] == ends[:-1]
    assert len(landed.rows) == 2 * len(starts) == len(landed.calls) == 122


def test_every_example_is_read_here() -> None:
    assert set(documents()) == {*WANTED, "events"}
