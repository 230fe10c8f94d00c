"""In which order resources come and go."""

from __future__ import annotations

from collections.abc import Sequence

from weir.resource import Resource


class GraphError(ValueError):
    """The resources can't be put in an order; the text names those that are at fault."""


def dependencies(resource: Resource) -> frozenset[str]:
    """Logical ids that must exist before ``resource``: those it states and those it refers to."""
    return frozenset((*resource.depends_on, *(ref.logical_id for ref in resource.refs)))


def waves(resources: Sequence[Resource]) -> list[list[Resource]]:
    """The resources in waves: each depends on earlier waves alone, and within a wave on nothing.

    Raises
    ------
    GraphError
        Two resources share a logical id or a physical one, one depends on what is not there, or
        some depend on each other in a circle.
    """
    by_id = {resource.logical_id: resource for resource in resources}
    _check_unique(resources)
    missing = {
        resource.logical_id: sorted(dependencies(resource) - by_id.keys()) for resource in resources
    }
    for logical_id, absent in missing.items():
        if absent:
            raise GraphError(f"{logical_id} depends on {', '.join(absent)}, which nobody defines")
    open_ids = {
        resource.logical_id: set(dependencies(resource)) - {resource.logical_id}
        for resource in resources
    }
    result: list[list[Resource]] = []
    while open_ids:
        free = [logical_id for logical_id, needs in open_ids.items() if not needs]
        if not free:
            raise GraphError(
                f"these depend on each other in a circle: {', '.join(_circle(open_ids))}"
            )
        result.append([by_id[logical_id] for logical_id in free])
        for logical_id in free:
            del open_ids[logical_id]
        for needs in open_ids.values():
            needs.difference_update(free)
    return result


def _check_unique(resources: Sequence[Resource]) -> None:
    ids: set[str] = set()
    keys: set[tuple[str, str]] = set()
    for resource in resources:
        if resource.logical_id in ids:
            raise GraphError(f"two resources have the logical id {resource.logical_id}")
        if resource.key in keys:
            raise GraphError(f"two resources are {resource.kind} {resource.name}")
        ids.add(resource.logical_id)
        keys.add(resource.key)


def _circle(open_ids: dict[str, set[str]]) -> list[str]:
    """One circle among nodes that all have open needs."""
    path = [min(open_ids)]
    while True:
        following = min(open_ids[path[-1]])
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)
