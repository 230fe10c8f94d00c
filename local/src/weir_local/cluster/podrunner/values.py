"""What a pod's fields say about its environment and its files, with what they refer to filled in."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Object = dict[str, Any]
_REFERENCE = re.compile(r"\$(\$)|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_SUBSCRIPT = re.compile(r"^(metadata\.(?:labels|annotations))\['([^']+)'\]$")
_SUFFIXES = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip


class NotThere(Exception):
    """The pod refers to something that does not exist (yet); the text names it."""


class Lookup(Protocol):
    """Reads the ConfigMaps and Secrets of the pod's namespace."""

    def __call__(self, kind: str, name: str) -> Object | None:
        """The object ``name`` of ``configmaps`` or ``secrets``; None where there is none."""


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by the variable's value, as a kubelet does.

    ``$$(NAME)`` stands for a literal ``$(NAME)``; an unknown name stays as it is.
    """

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        return environment.get(match[2], match[0])

    return _REFERENCE.sub(value, text)


def field(pod: Object, path: str) -> str:
    """The field of a pod that a ``fieldRef`` names (downward API).

    Raises
    ------
    NotThere
        The downward API has no such field.
    """
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        kind = subscript[1].split(".")[1]
        return str(pod["metadata"].get(kind, {}).get(subscript[2], ""))
    value: Any = pod
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if path == "status.podIPs":
        return ",".join(item["ip"] for item in value or ())
    if value is None:
        raise NotThere(f"the pod has no field {path}")
    if isinstance(value, dict):
        return "\n".join(f'{key}="{item}"' for key, item in sorted(value.items()))
    return str(value)


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: ``250m`` is 0.25, ``1Ki`` is 1024."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if match is None or match[2] not in _SUFFIXES:
        raise NotThere(f"{text!r} is no quantity")
    return float(match[1]) * _SUFFIXES[match[2]]


def contents(kind: str, name: str, optional: bool, lookup: Lookup) -> dict[str, bytes]:
    """The entries of a ConfigMap or Secret as bytes.

    Raises
    ------
    NotThere
        There is no such object, and it is not optional.
    """
    found = lookup(kind, name)
    if found is None:
        if optional:
            return {}
        raise NotThere(f'{kind[:-1]} "{name}" not found')
    if kind == "secrets":
        return {key: base64.b64decode(item) for key, item in (found.get("data") or {}).items()}
    entries = {key: item.encode() for key, item in (found.get("data") or {}).items()}
    binary = found.get("binaryData") or {}
    return entries | {key: base64.b64decode(item) for key, item in binary.items()}


def environment(
    pod: Object, container: Object, base: Mapping[str, str], lookup: Lookup
) -> dict[str, str]:
    """A container's environment.

    Parameters
    ----------
    pod, container
        As the API has them.
    base
        What is there before the pod's own: the image's, and the address of the API server.
    lookup
        For ``configMapKeyRef``, ``secretKeyRef`` and ``envFrom``.

    Raises
    ------
    NotThere
        Something that it refers to, and that is not optional, is missing.
    """
    result = dict(base)
    for source in container.get("envFrom", ()):
        for kind, reference in _references(source, "configMapRef", "secretRef"):
            entries = contents(kind, reference["name"], reference.get("optional", False), lookup)
            for key, item in entries.items():
                result[source.get("prefix", "") + key] = item.decode()
    for entry in container.get("env", ()):
        if "valueFrom" in entry:
            value = _value_from(pod, container, entry["valueFrom"], lookup)
            if value is not None:
                result[entry["name"]] = value
        else:
            result[entry["name"]] = expand(entry.get("value", ""), result)
    return result


def _value_from(pod: Object, container: Object, source: Object, lookup: Lookup) -> str | None:
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        reference = source["resourceFieldRef"]
        group, _, resource = reference["resource"].partition(".")
        amount = container.get("resources", {}).get(group, {}).get(resource)
        if amount is None:
            raise NotThere(f"the container has no {reference['resource']}")
        divisor = quantity(str(reference.get("divisor") or "1")) or 1.0
        return str(-int(-quantity(str(amount)) // divisor))
    for kind, reference in _references(source, "configMapKeyRef", "secretKeyRef"):
        optional = reference.get("optional", False)
        entries = contents(kind, reference["name"], optional, lookup)
        if reference["key"] in entries:
            return entries[reference["key"]].decode()
        if not optional:
            raise NotThere(f'{kind[:-1]} "{reference["name"]}" has no key "{reference["key"]}"')
    return None


def _references(source: Object, configmap: str, secret: str) -> Sequence[tuple[str, Object]]:
    pairs = (("configmaps", configmap), ("secrets", secret))
    return [(kind, source[key]) for kind, key in pairs if key in source]
