"""One local AWS for all tests of this folder, and workers that live and die on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from crashing import samples
from crashing.lives import Lives
from crashing.workers import Workers
from crashing.world import WorldAws

ADMIN = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""The local AWS's administrator, for boto3's default chain."""


@pytest.fixture(scope="package")
def faults_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldAws]:
    """The local AWS that this folder's tests disturb."""
    with WorldAws(tmp_path_factory.mktemp("faults-aws"), region=samples.REGION) as aws:
        yield aws


@pytest.fixture(scope="package")
def lives(faults_aws: WorldAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    """Lives of samples, on ground that is laid."""
    ground = samples.lay(faults_aws)
    folder = tmp_path_factory.mktemp("lives")
    with Workers(faults_aws, ADMIN, folder) as workers:
        yield Lives(faults_aws, workers, ground, folder)
