"""One local AWS for all tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir_local.aws import sparkjars
from weir_local.aws.server import EndpointSession, LocalAws

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """The local AWS, with Spark's jars resolved."""
    list(sparkjars.warm())
    with LocalAws(tmp_path_factory.mktemp("aws")) as local:
        yield local


@pytest.fixture(scope="session")
def admin(aws: LocalAws) -> EndpointSession:
    """A session that may do everything."""
    return aws.admin_session()
