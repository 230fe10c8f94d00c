"""The pages' tables name what the code says: reasons, events, metrics, errors, rules, fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from weir.aws import errors as aws_errors
from weir.kube import keys
from weir.reconcile.metrics import ROW_OUTCOMES, Metrics
from weir_contract.dqdl import RULE_TYPES
from weir_contract.rows import TYPE_NAMES
from weir_lambdas.api_ingestion.paginate import STYLES
from weir_lambdas.common.errors import ACTIONS

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "operator/src/weir"


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def unnamed(wanted: set[str], text: str) -> set[str]:
    """Which of these a page does not name in code letters."""
    return {one for one in wanted if f"`{one}" not in text}


def calls(name: str, *folders: str) -> Iterator[ast.Call]:
    """Calls of a function or method of that name in the operator."""
    for folder in folders:
        for path in sorted((SOURCES / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    called = node.func
                    found = called.attr if isinstance(called, ast.Attribute) else None
                    found = called.id if isinstance(called, ast.Name) else found
                    if found == name:
                        yield node


def texts(name: str, place: int, *folders: str) -> set[str]:
    """The literal texts that are given in a place of these calls."""
    return {
        argument.value
        for call in calls(name, *folders)
        for argument in call.args[place : place + 1]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def test_every_reason_of_a_halt_is_in_the_table() -> None:
    reasons = texts("Halt", 0, "reconcile")
    assert len(reasons) > 15
    assert unnamed(reasons, page("operations.md")) == set()


def test_every_reason_of_a_check_is_in_the_table() -> None:
    reasons = texts("Problem", 0, "blueprint")
    assert len(reasons) > 20
    assert unnamed(reasons, page("operations.md")) == set()


def test_every_outcome_of_an_aws_call_is_a_reason_in_the_table() -> None:
    reasons = {
        name
        for name, kind in vars(aws_errors).items()
        if isinstance(kind, type)
        and issubclass(kind, aws_errors.AwsError)
        and kind is not aws_errors.WriteRefused
    }
    assert unnamed(reasons, page("operations.md")) == set()


def test_every_reason_of_flowing_is_in_the_table() -> None:
    reasons = set()
    for name in ("true", "false", "unknown"):
        reasons |= texts(name, 1, "reconcile")
    assert {"Late", "RunFailed"} <= reasons
    assert unnamed(reasons, page("operations.md")) == set()


@pytest.mark.parametrize("method", ["say", "warn"])
def test_every_event_is_in_the_table(method: str) -> None:
    found = texts(method, 1, "reconcile")
    assert found
    assert unnamed(found, page("operations.md")) == set()


def test_every_metric_is_in_the_table() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    names = set()
    for family in registry.collect():
        suffix = "_total" if family.type == "counter" else ""
        names.add(family.name + suffix)
    text = page("metrics.md")
    assert unnamed(names, text) == set()
    assert all(outcome in text for outcome in ROW_OUTCOMES)


def test_annotations_and_the_finalizer_have_their_names() -> None:
    names = {
        value
        for name, value in vars(keys).items()
        if name.isupper() and isinstance(value, str) and value.startswith("weir.dev/")
    }
    names.discard(keys.API_VERSION)
    assert {keys.PAUSED, keys.ABANDON, keys.FINALIZER} <= names
    assert unnamed(names, page("operations.md")) == set()


def test_the_page_of_ownership_names_reasons_and_events_that_there_are() -> None:
    """Its first table says of each case what is said; each of these is in the code, too."""
    text = page("ownership.md")
    table = text[text.index("| what happens") : text.index("Conditions and reasons:")]
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", table))
    reasons = texts("Halt", 0, "reconcile") | {"Conflict"}
    events = texts("say", 1, "reconcile") | texts("warn", 1, "reconcile")
    assert len(named) > 12
    assert named <= reasons | events
    deleting = text[text.index("| waits for | reason") : text.index("## Abandon")]
    outcomes = set(vars(aws_errors))
    waits = set(re.findall(r"^\|[^|]*\| `([A-Z][A-Za-z]+)`", deleting, re.MULTILINE))
    assert len(waits) == 8
    assert waits <= reasons | outcomes


def test_every_link_of_the_page_of_ownership_leads_to_a_heading() -> None:
    text = page("ownership.md")
    headings = {
        line.removeprefix("## ").lower().replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("## ")
    }
    linked = set(re.findall(r"\(#([a-z-]+)\)", text))
    assert len(linked) > 10
    assert linked <= headings


def test_every_error_with_an_action_is_in_the_table() -> None:
    own = {name for name in ACTIONS if "." not in name}
    assert unnamed(own, page("runs.md")) == set()


def fields_of(schema: dict[str, Any]) -> Iterator[str]:
    """Every property's name, at any depth of a schema."""
    for name, inner in schema.get("properties", {}).items():
        yield name
        yield from fields_of(inner)
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield from fields_of(schema[word])


def test_every_field_that_an_error_names_is_in_the_api() -> None:
    """A camelCase word of a message is a field, or one of the few names that are not the API's."""
    known = {"batchItemFailures", "scheduledTime", "stateMachineArn"}
    for path in (ROOT / "crds").glob("*.yaml"):
        for version in yaml.safe_load(path.read_text())["spec"]["versions"]:
            known |= set(fields_of(version["schema"]["openAPIV3Schema"]))
    said = dict.fromkeys(ACTIONS.values(), "errors.py")
    for path in [*ROOT.glob("lambdas/src/**/*.py"), *ROOT.glob("glue/src/**/*.py")]:
        for raised in ast.walk(ast.parse(path.read_text())):
            if isinstance(raised, ast.Raise):
                for node in ast.walk(raised):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        said[node.value] = path.name
    lost = {
        f"{where}: {word}"
        for text, where in said.items()
        for word in re.findall(r"(?<![\w:])[a-z]+(?:[A-Z][a-z]+)+\b", text)
        if word not in known
    }
    assert lost == set()


def test_every_rule_type_is_in_the_table() -> None:
    assert unnamed(set(RULE_TYPES), page("pipelines.md")) == set()


def test_every_type_and_paginator_is_in_the_table() -> None:
    assert unnamed({*TYPE_NAMES, *STYLES}, page("sources.md")) == set()
