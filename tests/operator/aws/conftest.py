"""A MiniStack of its own for the adapters: one process on a free loopback port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir.aws.session import AwsSession, Target

REGION = "eu-central-1"


@pytest.fixture(scope="session")
def credentials() -> Iterator[None]:
    """Credentials of MiniStack's own account, for boto3's default chain."""
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.delenv("AWS_PROFILE", raising=False)
    yield
    patch.undo()


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory, credentials: None) -> Iterator[str]:
    """Its endpoint."""
    home: Path = tmp_path_factory.mktemp("ministack")
    port = free_port()
    environment = {
        **os.environ,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "EDGE_PORT": str(port),
        "PERSIST_STATE": "0",
        "TMPDIR": str(home),
        "MINISTACK_HOST": "127.0.0.1",
        "LOG_LEVEL": "WARNING",
    }
    log = (home / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "ministack"], cwd=home, env=environment, stdout=log, stderr=log
    )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=2).read()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                assert process.poll() is None, (home / "log").read_text()
                assert time.monotonic() < deadline, (home / "log").read_text()
                time.sleep(0.1)
        yield endpoint
    finally:
        process.terminate()
        process.wait(10)
        log.close()


@pytest.fixture(scope="session")
def session(ministack: str) -> AwsSession:
    """A session into it."""
    return AwsSession(Target(region=REGION, endpoint_url=ministack))
