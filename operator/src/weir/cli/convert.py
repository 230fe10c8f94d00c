"""``weir convert``: a source of another format as DataSources.

The pipeline template's own format is here; dlt's and Airbyte's have modules of their own.

The template's file (YAML or JSON) has ``source: {name, type, config, schema, destination,
redshift}``. What can't be carried over is named, never dropped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from weir.api.v1alpha1.common import API_VERSION
from weir.cli.convert_airbyte import convert_manifest, is_manifest
from weir.cli.convert_dlt import convert_config, from_python, is_config
from weir.cli.convert_shared import CannotConvert as CannotConvert
from weir.cli.convert_shared import Converted as Converted
from weir.cli.convert_shared import Notes, object_name
from weir.cli.documents import read_text
from weir.cli.validate import problems

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


def convert_file(path: Path, platform: str = "default") -> tuple[Converted, ...]:
    """Convert a file of any of the formats: the template's, dlt's or Airbyte's.

    Parameters
    ----------
    path
        YAML or JSON; a dlt configuration may also stand in a .py file, which is read and not run.

    Raises
    ------
    CannotConvert
        It is none of them, or has a part without a counterpart.
    """
    return tuple(_judged(item) for item in _converted(path, platform))


def _judged(item: Converted) -> Converted:
    """A result with a note for each thing that ``weir validate`` has against it."""
    (document,) = read_text(to_yaml(item.resource))
    found = Notes(list(item.notes))
    for problem in problems(document):
        found.add(problem.path, f"is to be mended by hand: {problem.message}")
    return Converted(item.resource, tuple(found.found))


def _converted(path: Path, platform: str) -> tuple[Converted, ...]:
    notes = Notes()
    text = path.read_text()
    if path.suffix == ".py":
        return tuple(_each_named(_of_python(text, platform, notes)))
    data = yaml.safe_load(text)
    if is_config(data):
        return tuple(_each_named(convert_config(data, platform, notes)))
    if is_manifest(data):
        name = path.parent.name if path.stem == "manifest" else path.stem
        return tuple(_each_named(convert_manifest(data, object_name(name), platform)))
    return (convert(data, platform),)


def _of_python(text: str, platform: str, notes: Notes) -> Iterator[Converted]:
    """The resources of all configurations in a file; one without any is named beside the others'."""
    found, empty = list[Converted](), list[str]()
    for data, own in from_python(text, notes):
        try:
            found += convert_config(data, platform, own)
        except CannotConvert as error:
            empty.append(f"a configuration is left out: {error}")
    if not found:
        raise CannotConvert("; ".join(empty))
    for number, item in enumerate(found):
        yield item if number else Converted(item.resource, (*empty, *notes.found, *item.notes))


def _each_named(items: Iterable[Converted]) -> Iterator[Converted]:
    """Results of several configurations: a name that is there already gets a number."""
    taken: set[str] = set()
    for item in items:
        name = item.resource["metadata"]["name"]
        tried = (name, *(f"{name[:60]}-{number}" for number in range(2, 1000)))
        free = next(one for one in tried if one not in taken)
        taken.add(free)
        notes = item.notes if free == name else (*item.notes, f"name: {name!r} is {free!r} here")
        yield Converted({**item.resource, "metadata": {"name": free}}, notes)


def convert(data: Any, platform: str = "default") -> Converted:
    """Convert one source of the template.

    Raises
    ------
    CannotConvert
        The data is no such source; the message says what is missing.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("source"), Mapping):
        raise CannotConvert(
            "no source: the file needs a mapping source with name, type, config; or client and "
            "resources (dlt); or version and streams (Airbyte)"
        )
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
    elif member == "email":
        config, missing = _mails(source["type"], config)
        notes += missing
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


RECEIVING = ("bucket", "receive", "workmail")
"""Members of ``spec.source.email``, of which exactly one says where mails come from."""


def _mails(kind: str, config: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Where a template's mails come from, and what is to be stated by hand."""
    found = _camel_keys(config)
    organization = found.pop("organizationId", None)
    if kind == "workmail" and organization:
        found["workmail"] = {"organizationId": organization}
    if any(name in found for name in RECEIVING):
        return found, []
    wanted = "workmail.organizationId" if kind == "workmail" else "receive.recipients, or bucket"
    return found, [
        f"source.config: does not say where mails come from; state spec.source.email.{wanted}"
    ]


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


def all_to_yaml(resources: Iterable[Mapping[str, Any]]) -> str:
    """Resources as one file of YAML documents."""
    return "---\n".join(to_yaml(resource) for resource in resources)
