"""The objects that one reconcile reads, as models: its Platform, its sources, its schemas."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pydantic import ValidationError

from weir.api.v1alpha1.common import CustomResource
from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.pipelinerun import PipelineRun
from weir.api.v1alpha1.platform import Platform
from weir.api.v1alpha1.schema import DataSchema
from weir.kube.client import Object
from weir.kube.conditions import is_current
from weir.kube.keys import Key, is_deleting
from weir.kube.store import Store

M = TypeVar("M", bound=CustomResource)

MODELS: dict[str, type[CustomResource]] = {
    "Platform": Platform,
    "DataSource": DataSource,
    "DataSchema": DataSchema,
    "Pipeline": Pipeline,
    "PipelineRun": PipelineRun,
}


class Unreadable(ValueError):
    """An object does not fit its model: it was stored by another version of the definitions."""


def parse(model: type[M], obj: Object) -> M:
    """An object as its model.

    Raises
    ------
    Unreadable
        It does not fit; the text names the fields.
    """
    try:
        return model.model_validate(obj)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5]
        )
        raise Unreadable(faults) from error


def ready_name(store: Store, platform: str, logical_id: str) -> str | None:
    """The name of what a Platform has under a logical id, once it is there; else None."""
    obj = store.get(Key("Platform", "", platform))
    lines = ((obj or {}).get("status") or {}).get("resources") or []
    for line in lines:
        if line["id"] == logical_id and line.get("state") == "Ready":
            return str(line["name"])
    return None


@dataclass(frozen=True)
class View:
    """The objects around one object.

    Parameters
    ----------
    get
        An object by key, or None.
    of_kind
        All objects of a kind.
    memo
        Keeps what was computed from all objects' specs, by name.
    of_spec
        Keeps what was computed from one object's spec.
    of_sight
        Keeps what was computed from one object as it is, by name.
    """

    get: Callable[[Key], Object | None]
    of_kind: Callable[[str], Iterable[Object]]
    memo: Callable[[str, Callable[[], Any]], Any] = lambda _name, compute: compute()
    of_spec: Callable[[Object, Callable[[Object], Any]], Any] = lambda obj, compute: compute(obj)
    of_sight: Callable[[Object, Hashable, Callable[[], Any]], Any] = lambda _obj, _name, compute: (
        compute()
    )

    def platform(self, name: str) -> tuple[Platform, Object] | None:
        """A Platform and its object, or None."""
        obj = self.get(Key("Platform", "", name))
        if obj is None:
            return None
        return self.of_sight(obj, "model", partial(parse, Platform, obj)), obj

    def schemas(self, namespace: str) -> dict[str, DataSchema]:
        """The namespace's DataSchemas by name."""
        return {
            str(obj["metadata"]["name"]): parse(DataSchema, obj)
            for obj in self.of_kind("DataSchema")
            if obj["metadata"]["namespace"] == namespace
        }

    def sources(self, namespace: str, names: Iterable[str]) -> dict[str, DataSource]:
        """Those of these DataSources that exist, by name."""
        found = {}
        for name in names:
            obj = self.get(Key("DataSource", namespace, name))
            if obj is not None:
                found[name] = parse(DataSource, obj)
        return found

    def users(self, platform: str) -> list[Object]:
        """DataSources and Pipelines that use a Platform, the oldest first."""

        def keys() -> list[Key]:
            found = [
                obj
                for kind in ("DataSource", "Pipeline")
                for obj in self.of_kind(kind)
                if obj["spec"].get("platform", "default") == platform
            ]
            return [Key.of(obj) for obj in sorted(found, key=age)]

        ordered = self.memo(f"users of {platform}", keys)
        return [obj for key in ordered if (obj := self.get(key)) is not None]


@dataclass(frozen=True)
class Recorded:
    """The AWS resources that stand on an object's status, as ``(kind, name)``.

    ``unmarked`` are those of which it does not say what was last applied.
    """

    owner: Key
    keys: tuple[tuple[str, str], ...]
    unmarked: tuple[tuple[str, str], ...]


def recorded(view: View, platform: str) -> Iterator[Recorded]:
    """What stands on the statuses of a Platform and of its users."""
    own = view.get(Key("Platform", "", platform))
    for obj in (*([own] if own else []), *view.users(platform)):
        lines = (obj.get("status") or {}).get("resources") or []
        if lines:
            yield Recorded(
                Key.of(obj),
                tuple((line["kind"], line["name"]) for line in lines),
                tuple(
                    (line["kind"], line["name"])
                    for line in lines
                    if not line.get("mark") and line.get("state") == "Ready"
                ),
            )


def age(obj: Object) -> tuple[str, Key]:
    """Sorts objects by their creation, the oldest first; equal ones by key."""
    return str(obj["metadata"].get("creationTimestamp", "")), Key.of(obj)


def is_ready(obj: Object) -> bool:
    """Whether an object is Ready for its present spec and stays."""
    return is_current(obj, "Ready") and not is_deleting(obj)
