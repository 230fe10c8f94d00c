"""``weir convert``: a source of the pipeline template's own format, as a DataSource.

The template's file (YAML or JSON) has ``source: {name, type, config, schema, destination,
redshift}``. What can't be carried over is named, never dropped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from weir.api.v1alpha1.common import API_VERSION

TYPES = {
    "rest_api": "restApi",
    "rest": "restApi",
    "api": "restApi",
    "email": "email",
    "ses": "email",
    "workmail": "email",
    "s3": "files",
    "file": "files",
    "files": "files",
    "s3_upload": "files",
    "kinesis": "stream",
    "kafka": "stream",
    "stream": "stream",
}
"""The template's source types -> members of ``spec.source``."""

CARRIED = ("name", "type", "config", "schema", "destination", "redshift")


class CannotConvert(ValueError):
    """The file is no source of the template, or a part of it has no counterpart."""


@dataclass(frozen=True)
class Converted:
    """A DataSource, and what a person should know of the conversion."""

    resource: dict[str, Any]
    notes: tuple[str, ...]


def convert(data: Any, platform: str = "default") -> Converted:
    """Convert one source of the template.

    Raises
    ------
    CannotConvert
        The data is no such source; the message says what is missing.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("source"), Mapping):
        raise CannotConvert("no source: the file needs a mapping source with name, type, config")
    source = data["source"]
    for key in ("name", "type"):
        if not isinstance(source.get(key), str):
            raise CannotConvert(f"source.{key} is missing")
    member = TYPES.get(source["type"])
    if member is None:
        raise CannotConvert(
            f"source.type {source['type']!r} is not known; known are {', '.join(sorted(TYPES))}"
        )
    notes = [f"{key}: not carried over, there is no such field" for key in data if key != "source"]
    notes += [
        f"source.{key}: not carried over, there is no such field"
        for key in source
        if key not in CARRIED
    ]
    name = object_name(source["name"])
    if name != source["name"]:
        notes.append(f"source.name {source['name']!r} is {name!r} as a Kubernetes name")
    config = dict(source.get("config") or {})
    if member == "stream" and source["type"] in {"kinesis", "kafka"}:
        config = {source["type"]: _camel_keys(config)}
    elif member == "email" and source["type"] in {"ses", "workmail"}:
        config = {"provider": source["type"], **config}
    spec: dict[str, Any] = {}
    if platform != "default":
        spec["platform"] = platform
    spec["source"] = {member: _camel_keys(config)}
    for part in ("schema", "destination", "redshift"):
        if source.get(part) is not None:
            spec[part] = _camel_keys(source[part])
    return Converted(
        {
            "apiVersion": API_VERSION,
            "kind": "DataSource",
            "metadata": {"name": name},
            "spec": spec,
        },
        tuple(notes),
    )


def object_name(text: str) -> str:
    """A Kubernetes name from a template's name: ``customer_data_api`` is ``customer-data-api``.

    Raises
    ------
    CannotConvert
        Nothing is left of it.
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-")
    if not name:
        raise CannotConvert(f"source.name {text!r} has no letter or digit")
    return name


KEPT_KEYS = {"headers", "params", "mapping", "body"}
"""Maps whose keys are the user's own and stay as they are."""


def _camel_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            _camel(str(key)): item if key in KEPT_KEYS else _camel_keys(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_camel_keys(item) for item in value]
    return value


def _camel(key: str) -> str:
    head, *tail = key.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in tail)


class _Quoting(yaml.SafeDumper):
    """Quotes what a YAML 1.1 reader would take for a boolean."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if re.fullmatch(r"(?i)y|n|yes|no|on|off|true|false|null|~", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Quoting.add_representer(str, _text)


def to_yaml(resource: Mapping[str, Any]) -> str:
    """The resource as YAML that kubectl reads as it is meant."""
    return yaml.dump(
        dict(resource), Dumper=_Quoting, sort_keys=False, allow_unicode=True, width=100
    )
