"""docs/reference.md from the structural schemas: a table a kind, a row a field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from weir.api.crd import SERVED, Kind, structural

HEAD = """# Resource reference

Generated from the models by `make generate`. Group `weir.dev`, version `v1alpha1`, category `weir`
(`kubectl get weir`). Use the short names with kubectl: other groups serve a kind `pipelines` too.
`kubectl explain dsrc.spec.source.restApi` says the same.
"""


def reference() -> str:
    """The page's text."""
    return HEAD + "".join(_kind(kind) for kind in SERVED)


def _kind(kind: Kind) -> str:
    schema = structural(kind.model)
    name = kind.model.model_fields["kind"].default
    lines = [
        f"\n## {name}\n",
        f"`{kind.short}`, {kind.scope.lower()}. {schema['description']}\n",
        "### Spec\n",
        "| field | type | meaning |",
        "|---|---|---|",
        *_rows(schema["properties"]["spec"], ""),
        "",
    ]
    rules = list(dict.fromkeys(_rules(schema["properties"]["spec"], "spec")))
    if rules:
        lines += ["### Rules\n", *[f"- `{path}`: {message}" for path, message in rules], ""]
    lines += [
        "### Status\n",
        "| field | type | meaning |",
        "|---|---|---|",
        *_rows(schema["properties"]["status"], ""),
        "",
    ]
    return "\n".join(lines)


def _rows(schema: Mapping[str, Any], prefix: str) -> Iterator[str]:
    required = set(schema.get("required", ()))
    for name, child in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        text = child.get("description", "").replace("\n", " ").replace("|", "\\|")
        notes = [_bounds(child)]
        if name in required:
            notes.append("required")
        if "default" in child:
            notes.append(f"default `{_plain(child['default'])}`")
        detail = ", ".join(note for note in notes if note)
        yield f"| `{path}` | {_type(child)} | {text}{f' ({detail})' if detail else ''} |"
        yield from _children(child, path)


def _children(child: Mapping[str, Any], path: str) -> Iterator[str]:
    if "properties" in child:
        yield from _rows(child, f"{path}.")
    items = child.get("items")
    if isinstance(items, Mapping) and "properties" in items:
        yield from _rows(items, f"{path}[].")


def _type(schema: Mapping[str, Any]) -> str:
    kind = str(schema.get("type", "any"))
    if "enum" in schema:
        return " \\| ".join(f"`{_plain(value)}`" for value in schema["enum"])
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"map to {_type(schema['additionalProperties'])}"
    return kind


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    if low is not None:
        return f"at least {low}"
    for keyword, unit in (
        ("maxLength", "characters"),
        ("maxItems", "items"),
        ("maxProperties", "entries"),
    ):
        if keyword in schema and schema.get("type") != "string":
            return f"at most {schema[keyword]} {unit}"
    return ""


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rules(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path, rule["message"]
    for name, child in schema.get("properties", {}).items():
        yield from _rules(child, f"{path}.{name}")
    if isinstance(schema.get("items"), Mapping):
        yield from _rules(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from _rules(schema["additionalProperties"], f"{path}.*")
