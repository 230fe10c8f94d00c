"""The chart on a real API server: installed, reached, restarted, refused, removed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from patience import PATIENCE_SECONDS, until
from weir_local.cluster import ControlPlane, run
from weir_local.cluster.api import Api

pytestmark = pytest.mark.cluster

CHART = Path(__file__).resolve().parents[2] / "charts" / "weir"
Kubectl = Callable[..., str]
TIMEOUT = f"--timeout={PATIENCE_SECONDS:.0f}s"

# Answers the operator's probes at the operator's address: what is tested is the chart.
STAND_IN = """
import http.server, os, signal, sys
class Probes(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/crash":
            os._exit(7)
        self.send_response(200 if self.path in ("/healthz", "/readyz") else 404)
        self.end_headers()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
host, port = os.environ["WEIR_LISTEN"].rsplit(":", 1)
print("cluster", os.environ["WEIR_CLUSTER_ID"], "as", os.environ["WEIR_POD_NAME"], flush=True)
http.server.ThreadingHTTPServer((host, int(port)), Probes).serve_forever()
"""


def values(directory: Path, **more: Any) -> str:
    file = directory / "values.json"
    file.write_text(json.dumps({
        "clusterId": "demo",
        "command": ["python", "-c", STAND_IN],
        **more,
    }))  # fmt: skip
    return str(file)


@pytest.fixture(scope="module")
def helm(chart_cluster: ControlPlane) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(chart_cluster, "helm", *arguments, check=check)

    return call


@pytest.fixture(scope="module")
def release(
    helm: Callable[..., Any], shared_namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The chart, installed and ready in a namespace that enforces restricted Pod Security."""
    space = shared_namespace
    helm("install", "weir", str(CHART), "--namespace", space, "--wait", TIMEOUT,
         "--take-ownership", "-f", values(tmp_path_factory.mktemp("release")))  # fmt: skip
    yield space
    helm("uninstall", "weir", "--namespace", space, "--ignore-not-found", "--no-hooks", "--wait")


def test_install_waits_for_a_running_pod_with_logs(release: str, kubectl: Kubectl) -> None:
    [line] = kubectl("-n", release, "get", "pods", "--no-headers").splitlines()
    name, ready, status = line.split()[:3]
    assert (ready, status) == ("1/1", "Running")
    assert f"cluster demo as {name}" in kubectl("-n", release, "logs", "deploy/weir")


def test_a_crash_is_mended(release: str, kubectl: Kubectl) -> None:
    import http.client

    port = kubectl("-n", release, "get", "pods", "-o",
                   r"jsonpath={.items[0].metadata.annotations.podrunner\.weir\.dev/ports}")  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", int(port.removeprefix("http=")), timeout=5)
    connection.request("GET", "/crash")
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse()

    def container() -> dict[str, Any]:
        pods = json.loads(kubectl("-n", release, "get", "pods", "-o", "json"))["items"]
        return dict(pods[0]["status"]["containerStatuses"][0])

    status = until(lambda: (now := container())["restartCount"] == 1 and now["ready"] and now)
    assert status["lastState"]["terminated"]["exitCode"] == 7


def test_definitions_are_served(release: str, kubectl: Kubectl) -> None:
    kinds = kubectl("api-resources", "--api-group=weir.dev", "-o", "name").split()
    assert sorted(kinds) == [
        "dataschemas.weir.dev",
        "datasources.weir.dev",
        "pipelineruns.weir.dev",
        "pipelines.weir.dev",
        "platforms.weir.dev",
    ]


def test_an_upgrade_may_not_change_the_cluster_id(
    release: str, helm: Callable[..., Any], tmp_path: Path
) -> None:
    file = values(tmp_path, clusterId="other")
    refused = helm("upgrade", "weir", str(CHART), "--namespace", release, "-f", file, check=False)
    assert refused.returncode != 0
    assert 'clusterId was "demo" and cannot become "other"' in refused.stderr
    helm("upgrade", "weir", str(CHART), "--namespace", release, "--wait", TIMEOUT,
         "-f", values(tmp_path, logLevel="debug"))  # fmt: skip


def operator_user(space: str) -> tuple[str, list[str]]:
    """The operator as the API server knows it: its user, and the groups that come with it."""
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{space}", "system:authenticated"]
    return f"system:serviceaccount:{space}:weir", groups


OURS = ("platforms", "datasources", "dataschemas", "pipelines", "pipelineruns")
OPERATOR = (
    *[(verb, f"{kind}.weir.dev", "", True)
      for kind in OURS for verb in ("get", "list", "watch", "patch", "update")],
    *[(verb, f"{kind}.weir.dev", "status", True) for kind in OURS for verb in ("patch", "update")],
    *[("update", f"{kind}.weir.dev", "finalizers", True) for kind in OURS],
    ("create", "pipelines.weir.dev", "", True),
    ("delete", "pipelines.weir.dev", "", True),
    ("delete", "pipelineruns.weir.dev", "", True),
    ("create", "datasources.weir.dev", "", False),
    ("delete", "datasources.weir.dev", "", False),
    ("delete", "platforms.weir.dev", "", False),
    ("create", "platforms.weir.dev", "", False),
    ("create", "pipelineruns.weir.dev", "", False),
    ("deletecollection", "pipelines.weir.dev", "", False),
    ("watch", "namespaces", "", True),
    ("update", "namespaces", "", False),
    ("delete", "namespaces", "", False),
    ("create", "events.events.k8s.io", "", True),
    ("patch", "events.events.k8s.io", "", True),
    ("list", "events", "", False),
    ("watch", "customresourcedefinitions.apiextensions.k8s.io", "", True),
    ("update", "customresourcedefinitions.apiextensions.k8s.io", "", False),
    ("get", "secrets", "", False),
    ("list", "secrets", "", False),
    ("get", "configmaps", "", False),
    ("list", "pods", "", False),
    ("create", "pods", "", False),
    ("create", "pods", "exec", False),
    ("create", "serviceaccounts", "token", False),
    ("create", "clusterrolebindings.rbac.authorization.k8s.io", "", False),
    ("update", "leases.coordination.k8s.io", "", True),
    ("list", "leases.coordination.k8s.io", "", True),
    ("delete", "leases.coordination.k8s.io", "", True),
    ("deletecollection", "leases.coordination.k8s.io", "", False),
)  # fmt: skip


def can(
    cluster: ControlPlane,
    space: str,
    user: str,
    groups: list[str],
    verb: str,
    kind: str,
    part: str = "",
) -> bool:
    """Whether the API server's authorizers allow it (what ``kubectl auth can-i --as`` asks)."""
    resource, _, group = kind.partition(".")
    attributes = {
        "namespace": space,
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": part,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return bool(Api(cluster.kubeconfig).call("POST", path, review)["status"]["allowed"])


def test_the_operator_may_do_this_and_not_that(release: str, chart_cluster: ControlPlane) -> None:
    user, groups = operator_user(release)
    wrong = [
        (verb, kind, part)
        for verb, kind, part, allowed in OPERATOR
        if can(chart_cluster, release, user, groups, verb, kind, part) != allowed
    ]
    assert wrong == []


def test_leases_elsewhere_are_not_the_operators(release: str, chart_cluster: ControlPlane) -> None:
    user, groups = operator_user(release)
    assert not can(
        chart_cluster, "kube-system", user, groups, "update", "leases.coordination.k8s.io"
    )


PEOPLE = (
    ("view", "get", "datasources.weir.dev", True),
    ("view", "create", "pipelineruns.weir.dev", False),
    ("edit", "create", "datasources.weir.dev", True),
    ("edit", "deletecollection", "pipelineruns.weir.dev", True),
    ("edit", "create", "platforms.weir.dev", False),
    ("edit", "get", "platforms.weir.dev", True),
    ("admin", "patch", "pipelines.weir.dev", True),
    ("admin", "delete", "platforms.weir.dev", False),
)


def test_people_have_it_from_the_built_in_roles(
    release: str, chart_cluster: ControlPlane, kubectl: Kubectl
) -> None:
    for role in ("view", "edit", "admin"):
        kubectl("-n", release, "create", "rolebinding", role, f"--clusterrole={role}",
                f"--user={role}")  # fmt: skip

    def wrong() -> list[tuple[str, str, str]]:
        groups = ["system:authenticated"]
        return [
            (role, verb, kind)
            for role, verb, kind, allowed in PEOPLE
            if can(chart_cluster, release, role, groups, verb, kind) != allowed
        ]

    # A controller aggregates roles some moments after they are there.
    until(lambda: not wrong())


def test_restricted_pod_security_would_refuse_a_lesser_pod(
    restricted_namespace: str, helm: Callable[..., Any], chart_cluster: ControlPlane, tmp_path: Path
) -> None:
    """The namespace of the other tests does enforce what the chart promises to fulfil."""
    rendered = helm("template", "weir", str(CHART), "-f", values(tmp_path),
                    "--show-only=templates/deployment.yaml").stdout  # fmt: skip
    import yaml

    template = yaml.safe_load(rendered)["spec"]["template"]
    spec = {**template["spec"]}
    spec.pop("serviceAccountName")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}

    def dry_run() -> subprocess.CompletedProcess[str]:
        return run(chart_cluster, "kubectl", "-n", restricted_namespace, "create",
                   "--dry-run=server", "-f", "-", text=json.dumps(pod), check=False)  # fmt: skip

    until(lambda: dry_run().returncode == 0)
    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    refused = dry_run()
    assert refused.returncode != 0
    assert 'violates PodSecurity "restricted' in refused.stderr


def test_uninstall_is_refused_while_an_object_exists(
    release: str, helm: Callable[..., Any], kubectl: Kubectl
) -> None:
    """Runs last: it ends the release of the other tests."""
    schema = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "DataSchema",
        "metadata": {"name": "people", "namespace": release},
        "spec": {"fields": [{"name": "id", "type": "string"}]},
    }
    kubectl("apply", "-f", "-", text=json.dumps(schema))
    refused = helm("uninstall", "weir", "--namespace", release, TIMEOUT, check=False)
    assert refused.returncode != 0
    assert f"dataschemas {release}/people" in refused.stdout + refused.stderr
    assert kubectl("-n", release, "get", "deploy", "weir", "-o", "name")
    kubectl("-n", release, "delete", "dataschema", "people")
    helm("uninstall", "weir", "--namespace", release, "--wait", TIMEOUT)
    assert not kubectl("-n", release, "get", "deploy", "-o", "name")
    # The garbage collector takes the Pods after the Deployment has gone; Helm does not wait for it.
    until(lambda: not kubectl("-n", release, "get", "pods", "-o", "name"))
    # The definitions and the cluster's identity stay.
    assert kubectl("get", "crd", "platforms.weir.dev", "-o", "name")
    assert kubectl("-n", release, "get", "configmap", "weir-identity", "-o", "name")
