"""Generates crds/ from the models: ``python -m weir.api.crd``.

The converter is strict: a JSON Schema construct that it does not know how to say in a structural
schema raises, so that no constraint is lost on the way. The target is the Kubernetes page
*Extend the Kubernetes API with CustomResourceDefinitions*, section *Specifying a structural schema*.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from weir.api.v1alpha1 import DataSchema, DataSource, Pipeline, PipelineRun, Platform
from weir.api.v1alpha1.common import GROUP, VERSION, CustomResource

COPIED = frozenset(
    {
        "description",
        "enum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "pattern",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    }
)
DROPPED = frozenset({"title"})
"""Keywords that carry nothing: pydantic makes titles of names."""


class CannotExpress(ValueError):
    """A model says something that a structural schema can't."""


@dataclass(frozen=True)
class Column:
    """One printer column; ``priority`` 1 shows with ``-o wide`` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


def condition(kind: str) -> str:
    """JSONPath of a condition's status."""
    return f'.status.conditions[?(@.type=="{kind}")].status'


def reason(kind: str) -> str:
    """JSONPath of a condition's reason."""
    return f'.status.conditions[?(@.type=="{kind}")].reason'


@dataclass(frozen=True)
class Kind:
    """How a model is served."""

    model: type[CustomResource]
    plural: str
    short: str
    scope: str
    columns: tuple[Column, ...]


AGE = Column("Age", ".metadata.creationTimestamp", "date")
READY = (Column("Ready", condition("Ready")), Column("Reason", reason("Ready")))

SERVED = (
    Kind(
        Platform,
        "platforms",
        "plat",
        "Cluster",
        (
            *READY,
            Column("Account", ".spec.accountId"),
            Column("Region", ".spec.region"),
            Column("Users", ".status.users", "integer"),
            AGE,
        ),
    ),
    Kind(
        DataSource,
        "datasources",
        "dsrc",
        "Namespaced",
        (
            *READY,
            Column("Flowing", condition("Flowing")),
            Column("Rows", ".status.lastRun.rows", "integer"),
            Column("Last success", ".status.lastSuccessTime", "date"),
            Column("Platform", ".spec.platform", priority=1),
            Column("Sequence", ".status.sequence", "integer", 1),
            AGE,
        ),
    ),
    Kind(
        DataSchema,
        "dataschemas",
        "dsch",
        "Namespaced",
        (
            *READY,
            Column("Type", ".spec.type"),
            Column("Users", ".status.users", "integer"),
            AGE,
        ),
    ),
    Kind(
        Pipeline,
        "pipelines",
        "pipe",
        "Namespaced",
        (
            *READY,
            Column("Flowing", condition("Flowing")),
            Column("Last run", ".status.lastRun.state"),
            Column("Rows", ".status.lastRun.rows", "integer"),
            Column("Quarantined", ".status.lastRun.quarantined", "integer"),
            Column("Last success", ".status.lastSuccessTime", "date"),
            AGE,
        ),
    ),
    Kind(
        PipelineRun,
        "pipelineruns",
        "prun",
        "Namespaced",
        (
            Column("Pipeline", ".spec.pipeline"),
            Column("Ready", condition("Ready")),
            Column("State", ".status.lastRun.state"),
            Column("Rows", ".status.lastRun.rows", "integer"),
            Column("Parts", ".status.progress.parts", "integer"),
            Column("Landed", ".status.progress.landed", "integer"),
            AGE,
        ),
    ),
)


def structural(model: type[CustomResource]) -> dict[str, Any]:
    """The structural schema of a model: spec and status, references inlined.

    Raises
    ------
    CannotExpress
        The model uses a construct that has no structural form; the message names its path.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    definitions = schema.get("$defs", {})
    root: dict[str, Any] = {
        "type": "object",
        "description": schema["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
        },
    }
    for part in ("spec", "status"):
        root["properties"][part] = _convert(schema["properties"][part], definitions, part, False)
    return root


def _convert(
    node: Mapping[str, Any], definitions: Mapping[str, Any], path: str, in_list: bool
) -> dict[str, Any]:
    node = _flatten(node, definitions, path)
    out: dict[str, Any] = {}
    for keyword, value in node.items():
        if keyword in COPIED:
            out[keyword] = value
        elif keyword in DROPPED:
            continue
        elif keyword == "type":
            out["type"] = value
            if value == "integer":
                out["format"] = "int64"
        elif keyword == "const":
            out["enum"] = [value]
        elif keyword == "default":
            # A default that the server writes inside a list item leaves Argo CD out of sync.
            if not in_list and value is not None:
                out["default"] = value
        elif keyword == "required":
            out["required"] = sorted(value)
        elif keyword == "properties":
            out["properties"] = {
                name: _convert(child, definitions, f"{path}.{name}", in_list)
                for name, child in value.items()
            }
        elif keyword == "items":
            out["items"] = _convert(value, definitions, f"{path}[]", True)
        elif keyword == "additionalProperties":
            if isinstance(value, Mapping):
                out["additionalProperties"] = _convert(value, definitions, f"{path}.*", in_list)
            elif value is True and not node.get("x-kubernetes-preserve-unknown-fields"):
                raise CannotExpress(f"{path}: an open object; bound it or preserve it")
        else:
            raise CannotExpress(f"{path}: {keyword}")
    _demand_bounds(out, path)
    return out


def _flatten(node: Mapping[str, Any], definitions: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Inline ``$ref`` and take null out of ``anyOf``: absent and null are one to Kubernetes."""
    merged = dict(node)
    while True:
        if "$ref" in merged:
            target = dict(definitions[merged.pop("$ref").removeprefix("#/$defs/")])
            target.update(merged)
            merged = target
        elif "anyOf" in merged:
            options = [option for option in merged.pop("anyOf") if option.get("type") != "null"]
            if len(options) != 1:
                raise CannotExpress(f"{path}: a union of {len(options)} types")
            merged = {**options[0], **merged}
        elif "allOf" in merged:
            options = merged.pop("allOf")
            if len(options) != 1:
                raise CannotExpress(f"{path}: allOf")
            merged = {**options[0], **merged}
        else:
            break
    if "enum" in merged and "type" not in merged:
        raise CannotExpress(f"{path}: an enum without a type")
    return merged


def _demand_bounds(node: Mapping[str, Any], path: str) -> None:
    """Every string, list and map says how large it may be: etcd and CEL's budget need it."""
    kind = node.get("type")
    if kind == "string" and not ({"maxLength", "enum"} & set(node)) and path != "kind":
        raise CannotExpress(f"{path}: a string without maxLength")
    if kind == "array" and "maxItems" not in node:
        raise CannotExpress(f"{path}: a list without maxItems")
    if (
        kind == "object"
        and isinstance(node.get("additionalProperties"), Mapping)
        and "maxProperties" not in node
    ):
        raise CannotExpress(f"{path}: a map without maxProperties")


def definition(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    name = kind.model.model_fields["kind"].default
    columns: list[dict[str, Any]] = []
    for column in kind.columns:
        entry: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
        if column.priority:
            entry["priority"] = column.priority
        columns.append(entry)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": kind.scope,
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": kind.plural,
                "singular": name.lower(),
                "shortNames": [kind.short],
                "categories": ["weir"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": structural(kind.model)},
                }
            ],
        },
    }


def render(kind: Kind) -> str:
    """A CustomResourceDefinition as YAML text."""
    return yaml.safe_dump(definition(kind), sort_keys=False, width=100, allow_unicode=True)


def files() -> dict[str, str]:
    """File name -> text of every CustomResourceDefinition."""
    return {f"{GROUP}_{kind.plural}.yaml": render(kind) for kind in SERVED}


def main(arguments: list[str] | None = None) -> int:
    """Write crds/, or with ``--check`` say which file is stale (exit 1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("crds"))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    options.out.mkdir(exist_ok=True)
    stale = []
    for name, text in files().items():
        target = options.out / name
        if options.check:
            if not target.exists() or target.read_text() != text:
                stale.append(str(target))
        else:
            target.write_text(text)
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run make generate\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
