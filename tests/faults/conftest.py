"""One local AWS for all tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir_local.aws.server import LocalAws

sys.path.insert(0, str(Path(__file__).parent))

REGION = "eu-central-1"


@pytest.fixture(scope="session")
def faults_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """The local AWS that this folder's tests disturb."""
    with LocalAws(tmp_path_factory.mktemp("faults-aws"), region=REGION) as aws:
        yield aws
