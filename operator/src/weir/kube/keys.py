"""What names a custom resource in a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GROUP = "weir.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

PLURALS = {
    "Platform": "platforms",
    "DataSource": "datasources",
    "DataSchema": "dataschemas",
    "Pipeline": "pipelines",
    "PipelineRun": "pipelineruns",
}
"""Kind -> the plural that its URLs have."""

CLUSTER_SCOPED = frozenset({"Platform"})

FINALIZER = "weir.dev/aws"
"""Put on an object before its first AWS resource exists, taken off when the last is gone."""

PAUSED = "weir.dev/paused"
RECONCILE_AT = "weir.dev/reconcile-at"
ADOPT = "weir.dev/adopt"
SQL_DONE = "weir.dev/sql-done"
"""Says of a Platform without an admin secret that its SQL has been run by hand: the SQL's hash."""
MOVED_FROM = "weir.dev/moved-from"
"""Names the object that this one continues: ``namespace/name``, or ``name`` in the same namespace."""
ABANDON = "weir.dev/abandon"
"""On an object that is being deleted: let it go, and leave on AWS what it has there."""
RECREATE = "weir.dev/recreate"
"""Names data holders that are gone and may be made anew, empty: logical ids with commas."""
ACCOUNT = "weir.dev/account"
"""Says which ``account/region`` is meant where an object's resources are known to be elsewhere."""


@dataclass(frozen=True, order=True)
class Key:
    """Kind, namespace (empty for a Platform) and name of one custom resource."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Key:
        """The key of an object as the API server gives it."""
        meta = obj["metadata"]
        return cls(obj["kind"], meta.get("namespace") or "", meta["name"])

    @property
    def id(self) -> str:
        """``namespace/name``, or the name alone where there is no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


def annotation(obj: Mapping[str, Any], name: str) -> str | None:
    """An annotation's value, or None."""
    value = (obj["metadata"].get("annotations") or {}).get(name)
    return None if value is None else str(value)


def is_paused(obj: Mapping[str, Any]) -> bool:
    """Whether the object says ``weir.dev/paused: "true"``."""
    return annotation(obj, PAUSED) == "true"


def may_adopt(obj: Mapping[str, Any]) -> bool:
    """Whether the object says ``weir.dev/adopt: "true"``."""
    return annotation(obj, ADOPT) == "true"


def is_abandoned(obj: Mapping[str, Any]) -> bool:
    """Whether the object says ``weir.dev/abandon: "true"``."""
    return annotation(obj, ABANDON) == "true"


def moved_from(obj: Mapping[str, Any]) -> Key | None:
    """The object that this one says it continues, or None."""
    said = annotation(obj, MOVED_FROM)
    if not said:
        return None
    key = Key.of(obj)
    namespace, slash, name = said.strip().rpartition("/")
    return Key(key.kind, namespace if slash else key.namespace, name)


def named(obj: Mapping[str, Any], name: str) -> frozenset[str]:
    """The items of an annotation that lists with commas."""
    items = (annotation(obj, name) or "").split(",")
    return frozenset(item.strip() for item in items if item.strip())


def is_deleting(obj: Mapping[str, Any]) -> bool:
    """Whether somebody has asked for the object's deletion."""
    return bool(obj["metadata"].get("deletionTimestamp"))
