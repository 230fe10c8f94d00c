"""Which object refers to which, and so: who has to be looked at when one changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from weir.kube.keys import Key


def _platform(obj: Mapping[str, Any]) -> Key:
    return Key("Platform", "", (obj.get("spec") or {}).get("platform") or "default")


def _of_source(obj: Mapping[str, Any], namespace: str) -> Iterable[Key]:
    yield _platform(obj)
    reference = (obj.get("spec") or {}).get("schemaRef")
    if reference:
        yield Key("DataSchema", namespace, reference["name"])


def _of_pipeline(obj: Mapping[str, Any], namespace: str) -> Iterable[Key]:
    yield _platform(obj)
    for source in (obj.get("spec") or {}).get("sources") or []:
        yield Key("DataSource", namespace, source["name"])


def _of_run(obj: Mapping[str, Any], namespace: str) -> Iterable[Key]:
    yield Key("Pipeline", namespace, (obj.get("spec") or {}).get("pipeline", ""))


REFERENCES: dict[str, Callable[[Mapping[str, Any], str], Iterable[Key]]] = {
    "DataSource": _of_source,
    "Pipeline": _of_pipeline,
    "PipelineRun": _of_run,
}
"""Kind -> what its spec refers to."""


def references(obj: Mapping[str, Any]) -> frozenset[Key]:
    """Everything that an object refers to, its owners among our kinds included."""
    key = Key.of(obj)
    of_kind = REFERENCES.get(key.kind)
    found = set(of_kind(obj, key.namespace)) if of_kind else set()
    for owner in obj["metadata"].get("ownerReferences") or []:
        if str(owner.get("apiVersion", "")).startswith("weir.dev/"):
            found.add(Key(owner["kind"], key.namespace, owner["name"]))
    return frozenset(found)


class ReferenceIndex:
    """References, backwards. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._to: dict[Key, frozenset[Key]] = {}
        self._from: dict[Key, set[Key]] = defaultdict(set)

    def put(self, key: Key, targets: frozenset[Key]) -> None:
        """What ``key`` refers to now."""
        for gone in self._to.get(key, frozenset()) - targets:
            self._from[gone].discard(key)
            if not self._from[gone]:
                del self._from[gone]
        for target in targets:
            self._from[target].add(key)
        if targets:
            self._to[key] = targets
        else:
            self._to.pop(key, None)

    def remove(self, key: Key) -> None:
        """``key`` is gone, and with it what it referred to."""
        self.put(key, frozenset())

    def dependents(self, key: Key) -> frozenset[Key]:
        """Who refers to ``key``."""
        return frozenset(self._from.get(key, frozenset()))

    def targets(self, key: Key) -> frozenset[Key]:
        """What ``key`` refers to."""
        return self._to.get(key, frozenset())
