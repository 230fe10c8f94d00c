"""A local AWS of the functions' own tests, and an HTTP server that a test scripts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from http_api import Api, serving
from keyed_tables import KEYED
from weir_contract.rows import RowContract
from weir_contract.sources import Egress, RestApi, SourceConfig
from weir_lambdas.api_ingestion.source import RestSource
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.land import Lander

REGION = "us-east-1"


class FakeClock:
    """Time that moves by ``sleep`` and ``pass_time`` alone."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint of a MiniStack process that ends with the session."""
    port, folder = _free_port(), tmp_path_factory.mktemp("ministack")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    environment |= {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "TMPDIR": str(folder)}
    with Path(folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env=environment, stdout=log, stderr=log, cwd=folder
        )
    try:
        until = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"MiniStack did not start:\n{(folder / 'log').read_text()}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def aws(ministack: str) -> Callable[[str], Any]:
    """Clients of the local AWS by service name."""

    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=ministack,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 2}, s3={"addressing_style": "path"}),
        )

    return client


@pytest.fixture
def new_bucket(aws: Callable[[str], Any]) -> Callable[[], str]:
    """Makes a new bucket at each call."""

    def make() -> str:
        name = f"raw-{uuid.uuid4().hex[:12]}"
        aws("s3").create_bucket(Bucket=name)
        return name

    return make


@pytest.fixture
def bucket(new_bucket: Callable[[], str]) -> str:
    """A new bucket."""
    return new_bucket()


@pytest.fixture
def table(aws: Callable[[str], Any]) -> Table:
    """A new state table."""
    name = f"state-{uuid.uuid4().hex[:12]}"
    db = aws("dynamodb")
    db.create_table(
        TableName=name,
        **KEYED,
    )
    return Table(db, name)


@pytest.fixture
def storage(aws: Callable[[str], Any]) -> Storage:
    return Storage(aws("s3"))


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as found:
        yield found


@pytest.fixture
def other_api() -> Iterator[Api]:
    with serving() as found:
        yield found


@pytest.fixture
def source(bucket: str, table: Table) -> Callable[..., SourceConfig]:
    """Makes a source's configuration around a REST API."""

    def make(api: RestApi, **more: Any) -> SourceConfig:
        return SourceConfig(
            platform="default",
            namespace="shop",
            name="orders",
            raw_bucket=bucket,
            state_table=table.name,
            rest_api=api,
            **({"egress": Egress(allow_loopback=True), "contract": RowContract()} | more),
        )

    return make


@pytest.fixture
def lander(
    aws: Callable[[str], Any], table: Table, storage: Storage, clock: FakeClock
) -> Callable[..., Lander]:
    """Makes a Lander; ``remaining`` defaults to a quarter of an hour."""

    def make(
        config: SourceConfig, remaining: Callable[[], float] = lambda: 900.0, **more: Any
    ) -> Lander:
        secrets = Secrets(aws("secretsmanager"), config.secrets, clock)
        source = RestSource(config, secrets, clock)
        return Lander(config, source, table, storage, clock, remaining, **more)

    return make
