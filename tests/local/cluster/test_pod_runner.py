"""Pods of a real API server, run as processes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patience import until
from weir_local.cluster import ControlPlane, run
from weir_local.cluster.api import Api
from weir_local.cluster.images import read
from weir_local.cluster.podrunner.pod import Pod
from weir_local.cluster.processes import Processes, start_time

pytestmark = pytest.mark.cluster

Kubectl = Callable[..., str]

SERVER = """
import http.server, os, sys
print("started", sys.argv[1:], flush=True)
host, port = os.environ["LISTEN"].split(":")
os.chdir("/tmp")
open("/tmp/healthz", "w").write("ok")
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(port), bind=host)
"""


def pod(name: str, script: str, **spec: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "weir:test",
        "command": ["python", "-u", "-c", script],
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": spec.pop("annotations", {})},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": [container], **spec},
    }


def apply(kubectl: Kubectl, namespace: str, *objects: dict[str, Any]) -> None:
    listing = {"apiVersion": "v1", "kind": "List", "items": objects}
    kubectl("-n", namespace, "apply", "-f", "-", text=json.dumps(listing))


def get(kubectl: Kubectl, namespace: str, name: str) -> dict[str, Any]:
    return dict(json.loads(kubectl("-n", namespace, "get", "pod", name, "-o", "json")))


def phase(kubectl: Kubectl, namespace: str, name: str, wanted: str) -> None:
    kubectl("-n", namespace, "wait", f"--for=jsonpath={{.status.phase}}={wanted}",
            f"pod/{name}", "--timeout=20s")  # fmt: skip


def test_a_server_becomes_ready_and_its_port_is_its_own(
    kubectl: Kubectl, namespace: str, pod_cluster: ControlPlane
) -> None:
    labels = {"app": "web"}
    container = {
        "name": "web",
        "image": "example.com/weir:1",
        "command": ["python", "-u", "-c", SERVER],
        "args": ["$(GREETING)", "$(UNKNOWN)"],
        "env": [
            {"name": "LISTEN", "value": "0.0.0.0:8080"},
            {"name": "GREETING", "value": "hello"},
        ],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "terminationGracePeriodSeconds": 1,
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    apply(kubectl, namespace, deployment, service)
    kubectl("-n", namespace, "rollout", "status", "deploy/web", "--timeout=30s")

    table = kubectl("-n", namespace, "get", "pods", "--no-headers")
    assert [line.split()[1:3] for line in table.splitlines()] == [["1/1", "Running"]] * 2
    ports = kubectl("-n", namespace, "get", "pods", "-o",
                    r"jsonpath={.items[*].metadata.annotations.podrunner\.weir\.dev/ports}").split()  # fmt: skip
    assert len(set(ports)) == 2
    log = kubectl("-n", namespace, "logs", "deploy/web", "--tail=1000")
    assert "started ['hello', '$(UNKNOWN)']" in log
    slices = until(lambda: [
        endpoint["addresses"]
        for item in json.loads(
            kubectl("-n", namespace, "get", "endpointslices", "-o", "json"))["items"]
        for endpoint in item["endpoints"] or ()
        if endpoint["conditions"]["ready"]
    ])  # fmt: skip
    assert len(slices) == 2

    kubectl("-n", namespace, "delete", "deploy/web")
    until(lambda: not kubectl("-n", namespace, "get", "pods", "-o", "name"))
    assert not list((pod_cluster.state / "pods").glob("*/processes/web.json"))


def test_a_pod_speaks_to_the_api_as_its_service_account(kubectl: Kubectl, namespace: str) -> None:
    script = (
        "from kubernetes import client, config; config.load_incluster_config();"
        "user = client.AuthenticationV1Api().create_self_subject_review({}).status.user_info;"
        "print(user.username, user.extra['authentication.kubernetes.io/pod-name'][0])"
    )
    apply(kubectl, namespace, pod("who", script, restartPolicy="Never"))
    phase(kubectl, namespace, "who", "Succeeded")
    assert kubectl("-n", namespace, "logs", "who") == (
        f"system:serviceaccount:{namespace}:default who"
    )


def test_environment_and_files_come_from_fields_maps_and_secrets(
    kubectl: Kubectl, namespace: str
) -> None:
    script = (
        "import os, json; e = os.environ;"
        "print(json.dumps([e['NAME'], e['NOTE'], e['MAP'], e['SECRET'], e['P_more'],"
        " e['CPU'], e['FROM_IMAGE'], open('/etc/weir-test/file').read(),"
        " open('/run/one/only').read(), 'MISSING' in e]))"
    )
    container = {
        "resources": {"limits": {"cpu": "1500m"}},
        "env": [
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "NOTE",
             "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['note']"}}},
            {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "file"}}},
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MISSING",
             "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": True}}},
        ],
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}],
        "volumeMounts": [
            {"name": "map", "mountPath": "/etc/weir-test", "readOnly": True},
            {"name": "map", "mountPath": "/run/one/only", "subPath": "file"},
        ],
    }  # fmt: skip
    apply(
        kubectl,
        namespace,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"},
         "data": {"file": "text", "more": "more"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
         "stringData": {"k": "hidden"}},
        pod("env", script, container=container, restartPolicy="Never",
            annotations={"note": "noted"},
            volumes=[{"name": "map", "configMap": {"name": "m"}}]),
    )  # fmt: skip
    phase(kubectl, namespace, "env", "Succeeded")
    assert json.loads(kubectl("-n", namespace, "logs", "env")) == [
        "env", "noted", "text", "hidden", "more", "2", "yes", "text", "text", False,
    ]  # fmt: skip


def test_a_pod_waits_for_what_it_refers_to_and_says_so(kubectl: Kubectl, namespace: str) -> None:
    container = {"env": [{"name": "A", "valueFrom": {
        "configMapKeyRef": {"name": "late", "key": "a"}}}]}  # fmt: skip
    apply(kubectl, namespace, pod("waits", "print(1)", container=container, restartPolicy="Never"))

    def reason() -> dict[str, Any]:
        status = get(kubectl, namespace, "waits").get("status", {})
        states = [each["state"] for each in status.get("containerStatuses", [])]
        return dict(states[0].get("waiting", {})) if states else {}

    until(lambda: reason().get("reason") == "CreateContainerConfigError")
    assert reason()["message"] == 'configmap "late" not found'
    kubectl("-n", namespace, "create", "configmap", "late", "--from-literal=a=b")
    phase(kubectl, namespace, "waits", "Succeeded")


def test_a_crash_restarts_the_container_with_back_off_and_keeps_the_previous_log(
    kubectl: Kubectl, namespace: str
) -> None:
    script = (
        "import time, os; print('life of', os.getpid(), flush=True); time.sleep(0.3); os._exit(3)"
    )
    apply(kubectl, namespace, pod("crash", script))
    status = until(lambda: next(
        (each for each in get(kubectl, namespace, "crash")
         .get("status", {}).get("containerStatuses", [])
         if each["restartCount"] >= 2), None))  # fmt: skip
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert kubectl("-n", namespace, "logs", "crash", "--previous").startswith("life of")
    events = kubectl("-n", namespace, "get", "events", "-o", "jsonpath={.items[*].reason}")
    assert "BackOff" in events
    until(lambda: "CrashLoopBackOff" in kubectl("-n", namespace, "get", "pod", "crash"))


def test_a_container_that_stops_answering_is_restarted(kubectl: Kubectl, namespace: str) -> None:
    script = "import time; open('/tmp/alive', 'w').close(); time.sleep(60)"
    probe = {"exec": {"command": ["sh", "-c", "kill -0 $$ && test -e $FLAG"]},
             "periodSeconds": 1, "failureThreshold": 1,
             "terminationGracePeriodSeconds": 1}  # fmt: skip
    container = {"livenessProbe": probe, "env": [{"name": "FLAG", "value": "/not/there"}]}
    apply(kubectl, namespace, pod("sick", script, container=container))
    until(lambda: get(kubectl, namespace, "sick")["status"].get("containerStatuses", [{}])[0]
          .get("restartCount"))  # fmt: skip
    assert "livenessProbe failed" in kubectl(
        "-n", namespace, "get", "events", "-o", "jsonpath={.items[*].message}"
    )


def test_deleting_a_pod_asks_first_and_then_kills(
    kubectl: Kubectl, namespace: str, pod_cluster: ControlPlane
) -> None:
    polite = "import signal, time, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('up', flush=True); time.sleep(60)"
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    apply(kubectl, namespace, pod("polite", polite, terminationGracePeriodSeconds=30),
          pod("stubborn", stubborn, terminationGracePeriodSeconds=1))  # fmt: skip
    for name in ("polite", "stubborn"):
        until(lambda name=name: run(
            pod_cluster, "kubectl", "-n", namespace, "logs", name, check=False).stdout)  # fmt: skip
    started = time.monotonic()
    kubectl("-n", namespace, "delete", "pod", "polite", "stubborn", "--timeout=20s")
    assert time.monotonic() - started < 10
    assert not kubectl("-n", namespace, "get", "pods", "-o", "name")


def test_jobs_complete_and_fail(kubectl: Kubectl, namespace: str) -> None:
    def job(name: str, script: str) -> dict[str, Any]:
        spec = {**pod(name, script)["spec"], "restartPolicy": "Never"}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": {"backoffLimit": 0, "template": {"spec": spec}},
        }

    apply(kubectl, namespace, job("good", "print('done')"), job("bad", "raise SystemExit('no')"))
    kubectl("-n", namespace, "wait", "--for=condition=complete", "job/good", "--timeout=20s")
    kubectl("-n", namespace, "wait", "--for=condition=failed", "job/bad", "--timeout=20s")
    assert kubectl("-n", namespace, "logs", "job/good") == "done"
    assert kubectl("-n", namespace, "logs", "job/bad") == "no"


def test_init_containers_run_before_the_others(kubectl: Kubectl, namespace: str) -> None:
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/run/work"}]}
    first = {"name": "first", "image": "weir:test",
             "command": ["sh", "-c", "echo prepared > /run/work/file"], **mount}  # fmt: skip
    apply(kubectl, namespace, pod(
        "init", "print(open('/run/work/file').read().strip())", container=mount,
        restartPolicy="Never", initContainers=[first], volumes=[{"name": "work", "emptyDir": {}}],
    ))  # fmt: skip
    phase(kubectl, namespace, "init", "Succeeded")
    assert kubectl("-n", namespace, "logs", "init", "-c", "main") == "prepared"


def test_logs_follow_until_the_end_and_have_a_tail(kubectl: Kubectl, namespace: str) -> None:
    script = "import time\nfor i in range(5): print('line', i, flush=True); time.sleep(0.2)"
    apply(kubectl, namespace, pod("talks", script, restartPolicy="Never"))
    until(lambda: get(kubectl, namespace, "talks")["status"].get("phase") == "Running")
    assert kubectl("-n", namespace, "logs", "talks", "-f").splitlines() == [
        f"line {number}" for number in range(5)
    ]
    assert kubectl("-n", namespace, "logs", "talks", "--tail=2").splitlines() == [
        "line 3", "line 4",
    ]  # fmt: skip


def test_an_image_that_nothing_stands_for_is_named(kubectl: Kubectl, namespace: str) -> None:
    apply(kubectl, namespace, pod("other", "", container={"image": "nginx:1"}))
    message = until(lambda: next(
        (each["state"]["waiting"].get("message")
         for each in get(kubectl, namespace, "other")["status"].get("containerStatuses", [])),
        None))  # fmt: skip
    assert message == "this runner has programs for *weir*, not for nginx:1"


def test_a_killed_runner_comes_back_without_leaving_its_processes(
    kubectl: Kubectl, namespace: str, pod_cluster: ControlPlane
) -> None:
    apply(kubectl, namespace, pod("stays", "import time; time.sleep(600)"))
    phase(kubectl, namespace, "stays", "Running")
    uid = get(kubectl, namespace, "stays")["metadata"]["uid"]
    processes = Processes(pod_cluster.state / "pods" / uid / "processes")
    before = processes.record("main")
    runner = pod_cluster.processes.record("podrunner")
    assert before is not None and runner is not None
    os.kill(runner.pid, signal.SIGKILL)
    until(lambda: not pod_cluster.processes.running("podrunner"))
    pod_cluster.start()
    after = until(lambda: (record := processes.record("main")) != before and record)
    assert after.pid != before.pid
    assert processes.running("main")
    assert start_time(before.pid) != before.started


def test_where_mounts_are_forbidden_a_kubeconfig_stands_in_for_the_token(
    kubectl: Kubectl, namespace: str, pod_cluster: ControlPlane, tmp_path: Path
) -> None:
    script = (
        "import os; from kubernetes import client, config; config.load_kube_config();"
        "user = client.AuthenticationV1Api().create_self_subject_review({}).status.user_info;"
        "print(user.username, os.path.isdir(os.environ['TMPDIR']))"
    )
    container = {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
    # Bound elsewhere, so that the cluster's own runner leaves it to this one.
    apply(kubectl, namespace, pod("bare", script, container=container, restartPolicy="Never",
                                  nodeName="elsewhere",
                                  volumes=[{"name": "tmp", "emptyDir": {}}]))  # fmt: skip
    running = Pod(
        Api(pod_cluster.kubeconfig),
        get(kubectl, namespace, "bare"),
        read(pod_cluster.state / "images.json"),
        tmp_path / "pod",
        "10.244.9.9",
        namespaces=False,
    )
    try:
        phase(kubectl, namespace, "bare", "Succeeded")
        found = running.log("main", False)
        assert found is not None
        assert found[0].read_text().strip() == f"system:serviceaccount:{namespace}:default True"
    finally:
        running.gone()
        running.join()


def test_a_node_that_was_lost_comes_back(kubectl: Kubectl, pod_cluster: ControlPlane) -> None:
    kubectl("delete", "node", "weir-local")
    until(lambda: kubectl("get", "node", "weir-local", "--ignore-not-found", "-o", "name"))
    kubectl("wait", "--for=condition=Ready", "node/weir-local", "--timeout=10s")
