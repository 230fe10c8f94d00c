from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from weir.kube.client import Kube, load_config
from weir_local.aws import bootstrap
from weir_local.aws.server import ACCOUNT, LocalAws
from weir_local.cluster import ControlPlane
from weir_local.stack import BOUNDARY, BOUNDARY_FILE, REGION, published_policies


@pytest.fixture(scope="package")
def process_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalAws, dict]]:
    folder = tmp_path_factory.mktemp("process-aws")
    with LocalAws(folder, region=REGION) as aws:
        policies = published_policies(ACCOUNT, REGION)
        boundary = policies.pop(BOUNDARY_FILE)
        path = bootstrap.bootstrap(aws.endpoint, REGION, folder, policies, {BOUNDARY: boundary})
        yield aws, json.loads(path.read_text())


@pytest.fixture(scope="module")
def kube(cluster: ControlPlane) -> Iterator[Kube]:
    found = Kube(load_config(str(cluster.kubeconfig)))
    yield found
    for kind in ("Pipeline", "DataSource", "Platform"):
        for obj in found.all_of(kind):
            found.set_finalizers(obj, [])
            found.delete(obj)
