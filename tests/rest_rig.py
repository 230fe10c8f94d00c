"""Reads a REST source without AWS: records as they would be landed, and secrets in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from weir_contract.rest import RestApi
from weir_contract.rows import RowContract
from weir_contract.sources import Egress, SourceConfig
from weir_lambdas.api_ingestion.source import RestSource
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.errors import WeirError
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.landing.batch import Start

LOGICAL = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class SecretStore:
    """The part of Secrets Manager that a source uses: versions, and stages that point at them."""

    values: dict[str, str] = field(default_factory=dict)
    current: dict[str, str] = field(default_factory=dict)
    versions: dict[tuple[str, str], str] = field(default_factory=dict)
    writes: int = 0

    def get_secret_value(self, SecretId: str) -> dict[str, Any]:
        if SecretId not in self.values:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSecretValue")
        version = self.current.setdefault(SecretId, "v1")
        return {"SecretString": self.values[SecretId], "VersionId": version}

    def put_secret_value(self, SecretId: str, SecretString: str, **options: Any) -> None:
        assert "AWSCURRENT" not in options["VersionStages"]
        self.versions[SecretId, options["ClientRequestToken"]] = SecretString

    def update_secret_version_stage(self, SecretId: str, **options: Any) -> None:
        assert options["VersionStage"] == "AWSCURRENT"
        if options["RemoveFromVersionId"] != self.current.get(SecretId):
            raise ClientError({"Error": {"Code": "InvalidParameterException"}}, "Update")
        self.current[SecretId] = options["MoveToVersionId"]
        self.values[SecretId] = self.versions[SecretId, options["MoveToVersionId"]]
        self.writes += 1


@dataclass
class Read:
    """What a source gave: records, and what the landing would keep."""

    rows: list[dict[str, Any]]
    position: dict[str, Any] | None
    cursor: str | None
    state: dict[str, Any]


def source_of(
    api: RestApi,
    clock: Clock,
    secrets: SecretStore | None = None,
    egress: Egress | None = None,
    troubled: Callable[[WeirError], None] = lambda _error: None,
) -> RestSource:
    """A REST source whose secrets ``${SECRET:name}`` are in the store under that name."""
    store = secrets or SecretStore()
    config = SourceConfig(
        platform="default",
        namespace="shop",
        name="orders",
        raw_bucket="raw",
        state_table="state",
        contract=RowContract(),
        egress=egress or Egress(allow_loopback=True),
        secrets={name: name for name in store.values},
        rest_api=api,
    )
    secrets_of = Secrets(store, config.secrets, clock)
    return RestSource(config, secrets_of, clock, troubled=troubled)


def read(
    api: RestApi,
    clock: Clock,
    secrets: SecretStore | None = None,
    *,
    after: Read | None = None,
    logical: datetime = LOGICAL,
    enough: Callable[[], bool] = lambda: False,
    into: list[dict[str, Any]] | None = None,
    egress: Egress | None = None,
    run: str = "run-1",
    source: RestSource | None = None,
    left: list[Read] | None = None,
) -> Read:
    """Read a source as a landing does.

    Parameters
    ----------
    after
        What an earlier read gave: it is gone on with, or followed by a new extraction.
    into
        Takes the records as they come, for a source that fails on the way.
    run
        Who reads.
    source
        Read it; else one of ``api``.
    left
        Takes what the landing would keep, likewise.
    """
    rows = into if into is not None else []
    found = Read(rows, None, after.cursor if after else None, {})
    start = Start(
        run=run,
        scheduled=logical,
        cursor=after.cursor if after else None,
        state=after.state if after else {},
        position=after.position if after else None,
        remaining=lambda: 900.0,
        enough=enough,
        part_key=lambda number, suffix: f"{number}.{suffix}",
    )
    reader = source or source_of(api, clock, secrets, egress)
    for batch in reader.batches(start):
        lines = b"".join(batch.lines).splitlines()
        assert len(lines) == (len(batch.lines) if batch.count is None else batch.count)
        rows += [json.loads(line) for line in lines]
        found.position = json.loads(json.dumps(batch.position))
        if left is not None:
            left[:] = [replace(found, rows=[])]
        if batch.position is None:
            found.cursor = batch.cursor if batch.cursor is not None else found.cursor
            found.state = dict(batch.state)
        else:
            found.state = dict(start.state)
    return found
