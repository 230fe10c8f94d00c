"""What the examples and the pages show is what the API server takes, and links lead somewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from weir.api.v1alpha1.common import API_VERSION
from weir.cli.crosscheck import findings
from weir.cli.documents import read_files, read_text
from weir.cli.validate import problems
from weir_local.cluster import ControlPlane, run

ROOT = Path(__file__).parents[2]
PLURALS = {
    "DataSource": "datasources",
    "DataSchema": "dataschemas",
    "Pipeline": "pipelines",
    "PipelineRun": "pipelineruns",
    "Platform": "platforms",
}
TEMPLATES = {ROOT / "examples/reference/new_source.yaml"}
"""Files that `weir convert` reads: no objects."""

EXAMPLES = sorted(set((ROOT / "examples").rglob("*.yaml")) - TEMPLATES)
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```ya?ml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def page_objects() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of our group in a page's YAML blocks, with a name that says where it stands."""
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text()):
            line = page.read_text()[: match.start()].count("\n") + 1
            for document in yaml.safe_load_all(match.group(1)):
                if isinstance(document, dict) and document.get("apiVersion") == API_VERSION:
                    yield f"{name_of(page)}:{line}", document


def accepted(api: client.ApiClient, namespace: str, body: dict[str, Any]) -> None:
    """Create the object on the server, as a dry run, and refuse fields that it does not know."""
    objects = client.CustomObjectsApi(api)
    group, version = API_VERSION.split("/")
    plural = PLURALS[str(body["kind"])]
    options = {"dry_run": "All", "field_validation": "Strict"}
    body = {**body, "metadata": {**body["metadata"], "namespace": namespace}}
    if body["kind"] == "Platform":
        body["metadata"].pop("namespace")
        objects.create_cluster_custom_object(group, version, plural, body, **options)
    else:
        objects.create_namespaced_custom_object(group, version, namespace, plural, body, **options)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = FENCED.sub("", page.read_text())
    plain = (re.sub(r"[`*]", "", heading).lower() for heading in HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_begins_by_saying_what_it_shows(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ") and len(first) > 20


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_passes_weir_validate(path: Path) -> None:
    documents = list(read_files([path]))
    assert documents
    assert [str(problem) for document in documents for problem in problems(document)] == []


def test_the_operator_finds_nothing_wrong_with_the_examples() -> None:
    """Columns through the stages, schedules, rules, SQL: what CEL can't see."""
    found = findings(list(read_files(EXAMPLES)))
    assert [str(problem) for problem in found.problems] == []
    assert found.unchecked == []


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_the_api_server_accepts_an_example(
    path: Path, kube_api: client.ApiClient, kube_namespace: str
) -> None:
    for body in yaml.safe_load_all(path.read_text()):
        accepted(kube_api, kube_namespace, body)


@pytest.mark.parametrize(("place", "body"), [pytest.param(*o, id=o[0]) for o in page_objects()])
def test_the_api_server_accepts_what_a_page_shows(
    place: str, body: dict[str, Any], kube_api: client.ApiClient, kube_namespace: str
) -> None:
    text = json.dumps(body)
    assert [str(problem) for problem in findings(list(read_text(text, place))).problems] == []
    accepted(kube_api, kube_namespace, body)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_pages_links_lead_somewhere(page: Path) -> None:
    text = FENCED.sub("", page.read_text())
    lost = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        found = target.exists()
        if found and anchor and target.suffix == ".md":
            found = anchor in anchors(target)
        if not found:
            lost.append(link)
    assert lost == []


def test_a_wrong_example_is_refused(kube_api: client.ApiClient, kube_namespace: str) -> None:
    """The check itself: a field that no kind has does not pass the server."""
    body = yaml.safe_load((ROOT / "examples/runs/now.yaml").read_text())
    body["spec"]["nowhere"] = 1
    with pytest.raises(client.ApiException, match="unknown field"):
        accepted(kube_api, kube_namespace, body)


def test_a_join_names_keys_and_nothing_that_yaml_reads_as_true(
    cluster: ControlPlane, tmp_path: Path
) -> None:
    """SQL's word for it, ``on``, is a boolean of YAML 1.1: no field may be called so."""
    text = (ROOT / "examples/stages/pipeline.yaml").read_text().partition("---\n")[2]
    step = "transform:\n        - join: {source: airports-staged, %s: [iata]}\n"
    options = ("--dry-run=server", "--validate=strict", "-n", "default")
    for key in ("keys", '"on"', "on"):
        file = tmp_path / f"{key.strip(chr(34))}{len(key)}.yaml"
        file.write_text(text.replace("transform:\n", step % key))
        command = ("kubectl", "create", *options, "-f", str(file))
        if key == "keys":
            run(cluster, *command)
        else:
            with pytest.raises(Exception, match=r'unknown field "[^"]*join\.(on|true)"'):
                run(cluster, *command)
