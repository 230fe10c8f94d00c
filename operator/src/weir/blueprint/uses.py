"""What objects use of their Platform, and what that comes to for each namespace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Pipeline
from weir.blueprint import config, tables
from weir.blueprint.grants import NamespaceGrant


@dataclass(frozen=True)
class NamespaceUse:
    """What a namespace uses of a Platform: the claims of its objects.

    ``sources`` and ``pipelines`` are names; ``schemas`` are those of the warehouse that they load,
    folded to lower case; ``watched`` the buckets from which files are taken; ``receives`` says that
    receipt rules are made for some of its sources; ``streams`` are those sources that are streams.
    """

    namespace: str
    sources: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()
    schemas: tuple[str, ...] = field(default=())
    watched: tuple[str, ...] = ()
    receives: bool = False
    streams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectUse:
    """What one object uses of its Platform. Thousands of them are kept: it holds nothing else.

    Parameters
    ----------
    kind
        ``DataSource`` or ``Pipeline``.
    created
        When the API server took the object; empty before.
    schemas
        Of the warehouse, as the object spells them.
    bucket
        That files are taken from; None where there is none.
    receives
        Whether a receipt rule is made for it.
    stream
        Whether it is a stream.
    """

    kind: str
    namespace: str
    name: str
    created: str
    schemas: tuple[str, ...] = ()
    bucket: str | None = None
    receives: bool = False
    stream: bool = False


def use_of(found: DataSource | Pipeline) -> ObjectUse:
    """What an object uses of its Platform."""
    created = str(found.metadata.get("creationTimestamp") or "")
    if isinstance(found, Pipeline):
        loads = [stage.load.redshift.schema_name for stage in found.spec.stages if stage.load]
        return ObjectUse("Pipeline", found.namespace, found.name, created, tuple(loads))
    target, watched = found.spec.redshift, config.watched(found)
    return ObjectUse(
        "DataSource",
        found.namespace,
        found.name,
        created,
        (target.schema_name,) if target else (),
        watched.bucket if watched else None,
        config.receives(found),
        found.spec.source.stream is not None,
    )


def by_namespace(
    uses: Iterable[ObjectUse], grants: Mapping[str, NamespaceGrant]
) -> tuple[NamespaceUse, ...]:
    """What each namespace claims of a Platform, in order of the namespaces' names.

    Parameters
    ----------
    uses
        Of all objects that name the Platform and are granted it.
    grants
        Namespace -> what it is granted.
    """
    objects = list(uses)
    users = _schema_users(
        ((one.created, one.namespace, schema) for one in objects for schema in one.schemas), grants
    )
    of_namespace: dict[str, list[ObjectUse]] = {}
    for one in objects:
        of_namespace.setdefault(one.namespace, []).append(one)
    return tuple(
        NamespaceUse(
            namespace,
            tuple(sorted({one.name for one in mine if one.kind == "DataSource"})),
            tuple(sorted({one.name for one in mine if one.kind == "Pipeline"})),
            tuple(sorted(schema for schema, held in users.items() if namespace in held)),
            tuple(sorted({one.bucket for one in mine if one.bucket is not None})),
            any(one.receives for one in mine),
            tuple(sorted({one.name for one in mine if one.stream})),
        )
        for namespace, mine in sorted(of_namespace.items())
    )


def _schema_users(
    claims: Iterable[tuple[str, str, str]], grants: Mapping[str, NamespaceGrant]
) -> dict[str, set[str]]:
    """Schema -> the namespaces that may use it, of claims (time, namespace, schema).

    A role that may use a schema may read all its tables. So the first namespace to claim it has
    it alone, but for those whose grant says by name that they may load it.
    """
    holders: dict[str, str] = {}
    users: dict[str, set[str]] = {}
    for _, namespace, name in sorted(claims):
        schema, grant = name.lower(), grants.get(namespace)
        if grant is None or tables.is_reserved(schema) or not grant.may_load(schema):
            continue
        holder = holders.setdefault(schema, namespace)
        if namespace == holder or grant.schemas is not None:
            users.setdefault(schema, set()).add(namespace)
    return users
