"""A local AWS of its own for the adapters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir.aws.registry import adapters
from weir.aws.session import AwsSession, Target
from weir.resource import Adapter
from weir_local.aws.server import LocalAws

sys.path.insert(0, str(Path(__file__).parent))

from adapters_world import World

REGION = "eu-central-1"


@pytest.fixture(scope="session")
def credentials() -> Iterator[None]:
    """The local AWS's administrator, for boto3's default chain."""
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.delenv("AWS_PROFILE", raising=False)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def adapters_aws(tmp_path_factory: pytest.TempPathFactory, credentials: None) -> Iterator[LocalAws]:
    """One process for all tests of this folder."""
    with LocalAws(tmp_path_factory.mktemp("aws"), region=REGION) as aws:
        yield aws


@pytest.fixture(scope="session")
def session(adapters_aws: LocalAws) -> AwsSession:
    """A session into it."""
    return AwsSession(Target(region=REGION, endpoint_url=adapters_aws.endpoint))


@pytest.fixture(scope="session")
def world(session: AwsSession) -> World:
    """What the cases lean on: a role, a bucket with code, a queue, a VPC."""
    return World.build(session)


@pytest.fixture(scope="session")
def every(session: AwsSession) -> dict[str, Adapter]:
    """All adapters."""
    return adapters(session)
