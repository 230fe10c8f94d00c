from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

sys.path.insert(0, str(Path(__file__).parent))

from rig import CountingKube, Rig, Told

from weir.aws.session import Call
from weir.kube.client import load_config
from weir.kube.keys import Key
from weir.kube.store import Store
from weir.reconcile.metrics import Metrics
from weir.reconcile.runs import RunBooks
from weir.reconcile.services import Options, Services
from weir.reconcile.world import Worlds
from weir_local.aws import bootstrap
from weir_local.aws.server import ACCOUNT, LocalAws
from weir_local.cluster import ControlPlane
from weir_local.stack import BOUNDARY, BOUNDARY_FILE, CLUSTER_ID, REGION, published_policies

PLATFORM = "rigged"


@pytest.fixture(scope="module")
def operators_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalAws, dict]]:
    """A local AWS where the operator may do what docs/iam says, and what bootstrap wrote down."""
    folder = tmp_path_factory.mktemp("operators-aws")
    with LocalAws(folder, region=REGION) as aws:
        policies = published_policies(ACCOUNT, REGION)
        boundary = policies.pop(BOUNDARY_FILE)
        path = bootstrap.bootstrap(aws.endpoint, REGION, folder, policies, {BOUNDARY: boundary})
        yield aws, json.loads(path.read_text())


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build's folder: the code does nothing, but is there."""
    folder = tmp_path_factory.mktemp("artifacts")
    index = {}
    for name, file in (
        ("functions", "functions.zip"),
        ("glue", "glue.zip"),
        ("glueScript", "process.py"),
    ):
        content = f"# {name}\n".encode()
        if file.endswith(".zip"):
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                archive.writestr(zipfile.ZipInfo("weir_lambdas/__init__.py"), content)
            content = buffer.getvalue()
        (folder / file).write_bytes(content)
        digest = hashlib.sha256(content)
        code = base64.b64encode(digest.digest()).decode()
        index[name] = {"file": file, "sha256": digest.hexdigest(), "codeSha256": code}
    (folder / "artifacts.json").write_text(json.dumps(index))
    return folder


def platform_spec(aws: LocalAws, found: dict[str, Any], namespace: str) -> dict[str, Any]:
    """A Platform with a warehouse, granted to one namespace."""
    redshift = found["redshift"]
    return {
        "region": REGION,
        "accountId": ACCOUNT,
        "endpointUrl": aws.endpoint,
        "permissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/{BOUNDARY}",
        "redshift": {
            "workgroup": redshift["workgroupName"],
            "database": redshift["database"],
            "adminSecretArn": redshift["adminSecretArn"],
            "copyRoleArn": redshift["copyRoleArn"],
        },
        "grants": [{"namespaces": {"names": [namespace]}, "allow": ["adopt", "delete"]}],
    }


@pytest.fixture(scope="module")
def rig(
    cluster: ControlPlane,
    kube_namespace: str,
    operators_aws: tuple[LocalAws, dict],
    artifacts: Path,
) -> Iterator[Rig]:
    """The engine with one Platform that is ready."""
    aws, found = operators_aws
    kube = CountingKube(load_config(str(cluster.kubeconfig)))
    store, told, calls, clock = Store(), Told(), list[Call](), [timedelta()]
    with ThreadPoolExecutor(8) as pool, pytest.MonkeyPatch.context() as patch:
        for name, value in found["operator"].items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        services = Services(
            kube=kube,
            store=store,
            worlds=Worlds(pool, time.monotonic, 600.0, observer=calls.append),
            books=RunBooks(lambda _platform: datetime.now(UTC)),
            events=told,
            metrics=Metrics(CollectorRegistry(), per_object=False),
            options=Options(CLUSTER_ID, str(artifacts), drain_seconds=1.0),
            now=lambda: datetime.now(UTC) + clock[0],
            saved=lambda obj: store.put(obj) and None,
        )
        found_rig = Rig(kube, services, told, calls, kube_namespace, PLATFORM, clock, aws)
        key = found_rig.apply("Platform", PLATFORM, platform_spec(aws, found, kube_namespace))
        found_rig.settle(key)
        yield found_rig
        for kind in ("PipelineRun", "Pipeline", "DataSource", "Platform"):
            for obj in kube.all_of(kind):
                kube.set_finalizers(obj, [])
                kube.delete(obj)
        assert kube.get(Key("Platform", "", PLATFORM)) is None
