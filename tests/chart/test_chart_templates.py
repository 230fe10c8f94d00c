"""What the chart makes of its values, with no cluster."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "weir"

Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_chart", ROOT / "charts" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def only(objects: list[dict[str, Any]], kind: str, suffix: str = "") -> dict[str, Any]:
    found = [
        item
        for item in objects
        if item["kind"] == kind and item["metadata"]["name"].endswith(suffix)
    ]
    assert len(found) == 1, [(item["kind"], item["metadata"]["name"]) for item in objects]
    return found[0]


def operator(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0])


def environment(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {item["name"]: item.get("value") for item in operator(objects)["env"]}


def test_helm_finds_nothing_to_complain_about(helm: Callable[..., Any]) -> None:
    result = helm("lint", "--strict", str(CHART), "--set", "clusterId=demo")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_pod_is_restricted_and_says_what_it_runs(render: Render) -> None:
    objects = render()
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    container = operator(objects)
    assert container["command"] == ["python", "-m", "weir"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    probes = {
        name: container[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert probes == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert container["resources"]["limits"]["memory"]


def test_values_reach_the_operators_environment(render: Render) -> None:
    objects = render(
        clusterId="prod-1",
        driftInterval="30s",
        logLevel="debug",
        aws={"region": "eu-central-1", "endpointUrl": "http://127.0.0.1:4566"},
        extraEnv=[{"name": "EXTRA", "value": "1"}],
        metrics={"port": 9090},
    )
    found = environment(objects)
    assert found["WEIR_CLUSTER_ID"] == "prod-1"
    assert found["WEIR_DRIFT_INTERVAL"] == "30s"
    assert found["WEIR_LOG_LEVEL"] == "debug"
    assert found["WEIR_LISTEN"] == "0.0.0.0:9090"
    assert found["AWS_DEFAULT_REGION"] == "eu-central-1"
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert found["EXTRA"] == "1"
    assert only(objects, "ConfigMap", "-identity")["data"] == {"clusterId": "prod-1"}


def test_the_operator_understands_every_setting_that_the_chart_gives(render: Render) -> None:
    from weir import settings
    from weir.kube.election import Terms

    found = environment(
        render(
            watchNamespaces=["a", "b"],
            workers=3,
            awsWorkers=5,
            logFormat="text",
            driftInterval="2h",
            stuckAfter="5m",
            stopAfter="40s",
            dnsResolver="127.0.0.1:5353",
            election={"leaseDuration": 30, "renewDeadline": 20, "retryPeriod": 4},
            functions={"runtime": "python3.12", "architecture": "arm64"},
            metrics={"perObject": False, "port": 9000},
        )
    )
    read = settings.read([], {key: value or "" for key, value in found.items()})
    assert read == settings.Settings(
        cluster="demo",
        artifacts=read.artifacts,
        identity=read.identity,
        stuck_seconds=300.0,
        stop_seconds=40.0,
        dns_resolver=("127.0.0.1", 5353),
        terms=Terms(30.0, 20.0, 4.0),
        namespaces=("a", "b"),
        workers=3,
        aws_workers=5,
        drift_interval=7200.0,
        bind="0.0.0.0",
        port=9000,
        log_format="text",
        per_object_metrics=False,
        instance="",
        runtime="python3.12",
        architecture="arm64",
    )


def test_without_an_endpoint_aws_itself_is_asked(render: Render) -> None:
    assert (
        not {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"} & environment(render()).keys()
    )


def test_credentials_come_from_a_role_or_a_named_secret(render: Render) -> None:
    arn = "arn:aws:iam::111122223333:role/weir"
    objects = render(serviceAccount={"annotations": {"eks.amazonaws.com/role-arn": arn}})
    account = only(objects, "ServiceAccount")
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": arn}
    assert "envFrom" not in operator(objects)
    objects = render(aws={"credentialsSecret": "keys"})
    assert operator(objects)["envFrom"] == [{"secretRef": {"name": "keys"}}]


def test_definitions_are_those_of_crds_with_their_switches(render: Render) -> None:
    wanted = {
        path.name: yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")
    }
    found = [item for item in render() if item["kind"] == "CustomResourceDefinition"]
    by_name = {item["metadata"]["name"]: item for item in wanted.values()}
    assert len(by_name) == 5
    assert {item["metadata"]["name"]: item["spec"] for item in found} == {
        name: item["spec"] for name, item in by_name.items()
    }
    assert all(
        item["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for item in found
    )
    gone = [item for item in render(crds={"keep": False}) if "CustomRes" in item["kind"]]
    assert len(gone) == 5
    assert not any("annotations" in item["metadata"] for item in gone)
    assert not [item for item in render(crds={"enabled": False}) if "CustomRes" in item["kind"]]


def test_the_charts_copies_are_fresh(generate: ModuleType) -> None:
    assert generate.stale() == []


def test_braces_of_a_definition_do_not_become_helms(
    generate: ModuleType, tmp_path: Path, helm: Callable[..., Any]
) -> None:
    crd = (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
        "metadata:\n  name: braces.example.com\nspec:\n  description: 'a {{ b }} c'\n"
    )
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: weir\nversion: 0.1.0\n")
    (tmp_path / "values.yaml").write_text("crds: {enabled: true, keep: true}\n")
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    (tmp_path / "templates" / "_helpers.tpl").write_text(helpers)
    (tmp_path / "templates" / "crd.yaml").write_text(generate.template(crd))
    result = helm("template", "weir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert yaml.safe_load(result.stdout)["spec"]["description"] == "a {{ b }} c"


def test_a_definition_with_more_metadata_is_refused(generate: ModuleType) -> None:
    with pytest.raises(ValueError, match="metadata with a name and nothing else"):
        generate.template("metadata:\n  name: a\n  labels: {a: b}\nspec: {}\n")


def test_the_operator_may_read_no_secret(render: Render) -> None:
    roles = [item for item in render() if item["kind"] in ("Role", "ClusterRole")]
    rules = [rule for role in roles for rule in role["rules"]]
    assert not [rule for rule in rules if "secrets" in rule["resources"]]
    assert not [
        rule for rule in rules if "*" in rule["verbs"] + rule["resources"] + rule["apiGroups"]
    ]


def test_metrics_budget_and_monitor_have_switches(render: Render) -> None:
    kinds = {item["kind"] for item in render()}
    assert "Service" in kinds
    assert not kinds & {"ServiceMonitor", "PodDisruptionBudget"}
    objects = render(
        metrics={"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
        replicas=2,
    )
    monitor = only(objects, "ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    service = only(objects, "Service")
    selector = monitor["spec"]["selector"]["matchLabels"]
    assert selector.items() <= service["metadata"]["labels"].items()
    labels = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert only(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert not [item for item in render(metrics={"enabled": False}) if item["kind"] == "Service"]


def test_replicas_are_spread_and_one_goes_at_a_time(render: Render) -> None:
    one = only(render(), "Deployment")["spec"]
    assert "topologySpreadConstraints" not in one["template"]["spec"]
    assert one["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    objects = render(replicas=3)
    spec = only(objects, "Deployment")["spec"]
    assert spec["replicas"] == 3
    spread = spec["template"]["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    labels = spec["template"]["metadata"]["labels"]
    for chosen in (
        *spread,
        {"labelSelector": only(objects, "PodDisruptionBudget")["spec"]["selector"]},
    ):
        assert chosen["labelSelector"]["matchLabels"].items() <= labels.items()
    off = render(replicas=3, podDisruptionBudget={"enabled": False})
    assert not [item for item in off if item["kind"] == "PodDisruptionBudget"]
    own = [{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}]
    given = render(replicas=3, topologySpreadConstraints=own)
    assert only(given, "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"] == own


def test_the_operator_is_told_who_it_is(render: Render) -> None:
    env = {each["name"]: each for each in operator(render())["env"]}
    fields = {
        name: env[name]["valueFrom"]["fieldRef"]["fieldPath"]
        for name in ("WEIR_POD_NAME", "WEIR_POD_UID", "WEIR_LEASE_NAMESPACE")
    }
    assert list(fields.values()) == ["metadata.name", "metadata.uid", "metadata.namespace"]


def test_hooks_pods_are_not_behind_the_metrics_service(render: Render) -> None:
    objects = render()
    selector = only(objects, "Service")["spec"]["selector"]
    hook = only(objects, "Job")["spec"]["template"]["metadata"]["labels"]
    assert not selector.items() <= hook.items()
    assert not [
        item
        for item in render(uninstall={"refuseWhileObjectsExist": False})
        if item["kind"] == "Job"
    ]


def test_scheduling_values_reach_the_pod(render: Render) -> None:
    objects = render(
        nodeSelector={"disk": "ssd"},
        tolerations=[{"key": "a", "operator": "Exists"}],
        priorityClassName="high",
        image={"repository": "example.com/weir", "digest": "sha256:" + "a" * 64},
        commonLabels={"team": "data"},
        podAnnotations={"a": "b"},
    )
    template = only(objects, "Deployment")["spec"]["template"]
    assert template["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert template["spec"]["tolerations"] == [{"key": "a", "operator": "Exists"}]
    assert template["spec"]["priorityClassName"] == "high"
    assert template["metadata"]["annotations"]["a"] == "b"
    assert operator(objects)["image"] == "example.com/weir@sha256:" + "a" * 64
    assert all(item["metadata"]["labels"]["team"] == "data" for item in objects)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "clusterId is needed"),
        ({"clusterId": "Demo"}, "/clusterId"),
        ({"clusterId": "a" * 17}, "/clusterId"),
        ({"clusterId": "-a"}, "/clusterId"),
        ({"replicas": -1}, "/replicas"),
        ({"replicas": 17}, "/replicas"),
        ({"election": {"leaseDuration": 0}}, "/election/leaseDuration"),
        ({"stuckAfter": "never"}, "/stuckAfter"),
        ({"driftInterval": "often"}, "/driftInterval"),
        ({"driftInterval": 600}, "/driftInterval"),
        ({"logLevel": "chatty"}, "/logLevel"),
        ({"aws": {"endpointUrl": "localhost"}}, "/aws/endpointUrl"),
        ({"aws": {"regoin": "eu-central-1"}}, "regoin"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        ({"metrics": {"port": 80}}, "/metrics/port"),
        ({"serviceAccount": {"annotations": {"a": 1}}}, "/serviceAccount/annotations"),
        ({"unknown": True}, "unknown"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_bad_values_are_refused_by_name(
    helm: Callable[..., Any], tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values if not values else {"clusterId": "demo", **values}))
    result = helm("template", "weir", str(CHART), "-f", str(file))
    assert result.returncode != 0
    assert message in result.stderr


def test_every_value_is_known_to_the_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values: dict[str, Any], part: dict[str, Any], path: str) -> None:
        if part.get("additionalProperties") is not False:
            return
        assert values.keys() <= part["properties"].keys(), path
        for key, value in values.items():
            if isinstance(value, dict):
                compare(value, part["properties"][key], f"{path}.{key}")

    compare(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "")


def test_the_cluster_ids_rule_is_the_operators() -> None:
    from weir.blueprint.naming import CLUSTER_ID

    schema = json.loads((CHART / "values.schema.json").read_text())
    pattern = re.compile(schema["properties"]["clusterId"]["pattern"])
    for text in ("a", "prod", "a-b", "0", "a" * 16, "a" * 17, "-a", "a-", "A", "a_b", "a.b"):
        assert bool(pattern.match(text)) == bool(CLUSTER_ID.match(text)), text
