"""``weir validate``: what the API server and the operator would say, offline and with line numbers."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from weir.api.crd import SERVED, structural
from weir.api.v1alpha1.common import API_VERSION, CustomResource
from weir.cli.documents import Document, Problem, dotted

MODELS = {kind.model.model_fields["kind"].default: kind.model for kind in SERVED}


def problems(document: Document) -> list[Problem]:
    """Everything wrong with one document, in the order of its lines.

    A document of another API group is left alone.
    """
    found = list(document.problems)
    body = document.body
    if body is None:
        return found
    if not isinstance(body, dict) or "kind" not in body or "apiVersion" not in body:
        line = document.line(())
        return [
            *found,
            Problem(document.file, line, "", "not a Kubernetes object: apiVersion or kind missing"),
        ]
    if not str(body["apiVersion"]).startswith("weir.dev/"):
        return found
    model = MODELS.get(str(body["kind"]))
    if model is None or body["apiVersion"] != API_VERSION:
        found.append(
            Problem(
                document.file,
                document.line(("kind",)),
                "kind",
                f"{body['apiVersion']} {body['kind']} is not served; there are "
                f"{', '.join(sorted(MODELS))} of {API_VERSION}",
            )
        )
        return found
    found += _metadata(document, body)
    found += [_problem(document, path, text) for path, text in _shape(model, body)]
    if len(found) == 0:
        found += [_problem(document, path, text) for path, text in _rules(model, body)]
    return sorted(set(found), key=lambda problem: (problem.line, problem.path))


def parsed(document: Document) -> CustomResource | None:
    """The object of a sound document, or None for one of another group."""
    body = document.body
    if not isinstance(body, dict) or body.get("apiVersion") != API_VERSION:
        return None
    model = MODELS.get(str(body.get("kind")))
    return model.model_validate(body) if model else None


def defaulted(body: Mapping[str, Any]) -> dict[str, Any]:
    """A sound object with the defaults that the server fills in."""
    schema = _schema(MODELS[str(body["kind"])])["properties"]["spec"]
    return {**body, "spec": _defaulted(schema, body.get("spec") or {})}


def _problem(document: Document, path: tuple[str | int, ...], message: str) -> Problem:
    return Problem(document.file, document.line(path), dotted(path), message)


def _metadata(document: Document, body: Mapping[str, Any]) -> Iterator[Problem]:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        yield _problem(document, ("metadata",), "metadata.name is missing")


def _shape(
    model: type[CustomResource], body: Mapping[str, Any]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What the model says, in Kubernetes' words."""
    for key in body:
        if key not in {"apiVersion", "kind", "metadata", "spec", "status"}:
            yield (key,), f"unknown field {key}"
    try:
        model.model_validate(body)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            path = tuple(part for part in item["loc"] if part != "[key]")
            if item["type"] == "extra_forbidden":
                yield path, f"unknown field {path[-1]}"
            elif item["type"] == "missing":
                yield path[:-1], f"{path[-1]} is missing"
            else:
                yield path, item["msg"][:1].lower() + item["msg"][1:]


@functools.cache
def _schema(model: type[CustomResource]) -> dict[str, Any]:
    return structural(model)


@functools.cache
def _program(rule: str) -> Any:
    # Takes a second to load, and a plan against a server does without it.
    import cel

    return cel.compile(rule)


def _rules(
    model: type[CustomResource], body: Mapping[str, Any]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What the CEL rules of the CRD say of the spec, with the server's defaults filled in."""
    schema = _schema(model)["properties"]["spec"]
    spec = _defaulted(schema, body.get("spec") or {})
    yield from _walk(schema, spec, ("spec",))


def _defaulted(schema: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, Mapping) and "properties" in schema:
        filled = {
            name: child["default"]
            for name, child in schema["properties"].items()
            if "default" in child
        } | dict(value)
        return {
            name: _defaulted(schema["properties"].get(name, {}), item)
            for name, item in filled.items()
            if item is not None
        }
    if isinstance(value, list):
        return [_defaulted(schema.get("items", {}), item) for item in value]
    return value


def _walk(
    schema: Mapping[str, Any], value: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" not in rule["rule"] and not _program(rule["rule"]).execute({"self": value}):
            yield path, rule["message"]
    keys = schema.get("x-kubernetes-list-map-keys", ())
    if keys and isinstance(value, list):
        seen = set()
        for i, item in enumerate(value):
            identity = tuple(str(item.get(key)) for key in keys)
            if identity in seen:
                yield (*path, i), f"a second item named {', '.join(identity)}"
            seen.add(identity)
    for key, child, item in _children(schema, value):
        yield from _walk(child, item, (*path, key))


def _children(
    schema: Mapping[str, Any], value: Any
) -> Iterable[tuple[str | int, Mapping[str, Any], Any]]:
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        for key, item in value.items():
            child = properties.get(key) or schema.get("additionalProperties")
            if isinstance(child, Mapping):
                yield key, child, item
    elif isinstance(value, list):
        yield from ((i, schema.get("items", {}), item) for i, item in enumerate(value))
