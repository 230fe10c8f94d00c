"""What has to be done so that AWS is as wanted. Decides, and does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from weir.reconcile.diff import changes, tag_changes, wanted_tags
from weir.reconcile.graph import waves
from weir.resource import (
    ADOPTED,
    OWNER_TAGS,
    TAG_ADOPTED,
    TAG_CLUSTER,
    TAG_KIND,
    TAG_NAME,
    TAG_NAMESPACE,
    TAGS,
    Change,
    Observed,
    Owner,
    Resource,
    Traits,
    titled,
)

PhysicalKey = tuple[str, str]
"""``(kind, physical name)``."""

Adopt = bool | Callable[[Resource], bool]
"""Whether a resource may be taken over, where it is there and carries nobody's tags."""


def may_take(adopt: Adopt, resource: Resource) -> bool:
    """What an :data:`Adopt` says of one resource."""
    return adopt if isinstance(adopt, bool) else adopt(resource)


class Verb(Enum):
    """What one action does."""

    NONE = "none"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    RETAIN = "retain"
    """No longer wanted, but it holds data: it stays and is Weir's no more."""
    ADOPT = "adopt"
    CONFLICT = "conflict"
    MISSING = "missing"
    """External, required, and not there."""


WRITES = frozenset({Verb.CREATE, Verb.UPDATE, Verb.REPLACE, Verb.DELETE, Verb.ADOPT})


@dataclass(frozen=True)
class Action:
    """One step of a plan.

    Parameters
    ----------
    verb, kind, logical_id, name
        What happens to what.
    resource
        The wanted state with references resolved as far as known; None for a deletion.
    observed
        What is there.
    changes, tag_changes
        What differs.
    tags
        The tags that it should carry afterwards.
    loses_data
        Whether rows or keys could be gone afterwards.
    reason
        Why, for people.
    """

    verb: Verb
    kind: str
    logical_id: str
    name: str
    resource: Resource | None = None
    observed: Observed | None = None
    changes: tuple[Change, ...] = ()
    tag_changes: tuple[Change, ...] = ()
    tags: Mapping[str, str] | None = None
    loses_data: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """All actions for one owner, in the order in which they would be done."""

    owner: Owner
    actions: tuple[Action, ...]

    @property
    def writes(self) -> tuple[Action, ...]:
        """The actions that change AWS."""
        return tuple(action for action in self.actions if action.verb in WRITES)

    @property
    def blocked(self) -> tuple[Action, ...]:
        """The actions that can't be done: conflicts and what is missing."""
        return tuple(
            action for action in self.actions if action.verb in (Verb.CONFLICT, Verb.MISSING)
        )

    @property
    def has_changes(self) -> bool:
        """Whether ``weir plan`` exits with 2."""
        return bool(self.writes or self.blocked)


def is_adopted(observed: Observed) -> bool:
    """Whether it was there before Weir took it over: it stays when its owner goes."""
    return observed.tags.get(TAG_ADOPTED) == ADOPTED


def tagged_owner(tags: Mapping[str, str]) -> str | None:
    """Whom the tags name, for people, or None where they name nobody."""
    if not any(name in tags for name in OWNER_TAGS):
        return None
    place = "/".join(filter(None, (tags.get(TAG_NAMESPACE), tags.get(TAG_NAME))))
    return f"{tags.get(TAG_KIND, 'object')} {place} of cluster {tags.get(TAG_CLUSTER, '?')}"


def decide(
    owner: Owner,
    resource: Resource,
    observed: Observed | None,
    traits: Traits,
    tags: Mapping[str, str],
    adopt: bool = False,
) -> Action:
    """What to do about one resource.

    Parameters
    ----------
    resource
        References resolved as far as they are known.
    observed
        What is there. What it leaves unseen counts as it should be: the caller has a mark for that.
    tags
        The owner's tags and the Platform's.
    adopt
        Whether the object asks for, and the Platform allows, taking over what nobody owns.
    """
    labels = wanted_tags(resource, traits, tags)
    if labels and observed is not None and is_adopted(observed):
        labels[TAG_ADOPTED] = ADOPTED
    action = Action(
        Verb.NONE,
        resource.kind,
        resource.logical_id,
        resource.name,
        resource=resource,
        observed=observed,
        tags=labels,
    )
    if resource.external:
        if observed is None:
            return replace(
                action,
                verb=Verb.MISSING,
                reason=f"{titled(*resource.key)} is needed and does not exist: "
                + (traits.absent or "create it, or correct its name"),
            )
        return action
    if observed is None:
        return replace(action, verb=Verb.CREATE)
    differing = changes(resource, observed, traits)
    tags_differing = tag_changes(labels, observed) if resource.tagged else ()
    fixed = tuple(one for one in differing if one.path.split(".")[0] in traits.immutable)
    action = replace(action, changes=differing, tag_changes=tags_differing)
    if resource.tagged and TAGS not in observed.unseen and not owner.owns(observed.tags):
        return _foreign(action, fixed, adopt)
    if fixed:
        fields = ", ".join(one.path for one in fixed)
        return replace(
            action,
            verb=Verb.REPLACE,
            loses_data=traits.holds_data,
            reason=f"AWS can't change {fields} in place",
        )
    if differing or tags_differing:
        return replace(action, verb=Verb.UPDATE)
    return action


def _foreign(action: Action, fixed: tuple[Change, ...], adopt: bool) -> Action:
    assert action.observed is not None
    other = tagged_owner(action.observed.tags)
    what = titled(action.kind, action.name)
    if other is not None:
        return replace(
            action,
            verb=Verb.CONFLICT,
            reason=(
                f"{what} belongs to {other}, and is left alone: delete that one, or give this one "
                "another name"
            ),
        )
    if not adopt:
        return replace(
            action,
            verb=Verb.CONFLICT,
            reason=(
                f"{what} exists and was not made by Weir; delete it, or take "
                'it over with the annotation weir.dev/adopt: "true" where the Platform\'s grant has '
                "adopt for this name"
            ),
        )
    if fixed:
        fields = ", ".join(one.path for one in fixed)
        return replace(
            action,
            verb=Verb.CONFLICT,
            reason=(
                f"{what} can't be taken over: it has another {fields}, which AWS can't change in "
                "place; delete it, or give this one another name"
            ),
        )
    return replace(action, verb=Verb.ADOPT, tags={**(action.tags or {}), TAG_ADOPTED: ADOPTED})


@dataclass(frozen=True)
class Orphan:
    """A resource that was made for the owner and is no longer wanted.

    ``keep`` says that the object's policy is to leave data in place.
    """

    kind: str
    logical_id: str
    name: str
    observed: Observed
    keep: bool = False


EMPTIED = "no longer wanted; stays if it holds anything"
"""Why a resource goes that is deleted only while it is empty."""


def decide_orphan(owner: Owner, orphan: Orphan, traits: Traits) -> Action:
    """What to do about a resource that is no longer wanted."""
    holds_data = traits.has_data(orphan.observed.properties)
    action = Action(
        Verb.DELETE,
        orphan.kind,
        orphan.logical_id,
        orphan.name,
        observed=orphan.observed,
        loses_data=holds_data,
        reason=EMPTIED if traits.contains else "no longer wanted",
    )
    if tagged_owner(orphan.observed.tags) is not None and not owner.owns(orphan.observed.tags):
        return replace(action, verb=Verb.NONE, reason="belongs to another object by now")
    adopted = is_adopted(orphan.observed)
    if orphan.keep or adopted or holds_data:
        why = "was there before Weir" if adopted else "holds data"
        return replace(
            action, verb=Verb.RETAIN, loses_data=False, reason=f"no longer wanted, but {why}"
        )
    return action


def make_plan(
    owner: Owner,
    resources: Sequence[Resource],
    observed: Mapping[PhysicalKey, Observed],
    traits: Mapping[str, Traits],
    tags: Mapping[str, str],
    orphans: Sequence[Orphan] = (),
    adopt: Adopt = False,
) -> Plan:
    """Compare everything that is wanted with everything that is there.

    What is only known once something is created shows as unknown, and so does all that depends on
    it.

    Raises
    ------
    GraphError
        The resources can't be put in an order.
    """
    attributes: dict[tuple[str, str], str] = {}
    actions: list[Action] = []
    for wave in waves(resources):
        for resource in wave:
            known = resource.resolved(attributes)
            seen = observed.get(resource.key)
            action = decide(
                owner, known, seen, traits[resource.kind], tags, may_take(adopt, resource)
            )
            actions.append(action)
            if seen is not None and action.verb in (Verb.NONE, Verb.UPDATE, Verb.ADOPT):
                attributes |= attributes_of(resource, seen)
    actions += [decide_orphan(owner, orphan, traits[orphan.kind]) for orphan in orphans]
    return Plan(owner, tuple(actions))


def attributes_of(resource: Resource, observed: Observed) -> dict[tuple[str, str], str]:
    """What references to a resource resolve to."""
    return {
        (resource.logical_id, "name"): resource.name,
        **{(resource.logical_id, name): value for name, value in observed.attributes.items()},
    }


def unresolved(resource: Resource, attributes: Collection[tuple[str, str]]) -> list[str]:
    """References that nothing answers yet, as ``logical-id.attribute``."""
    return sorted(
        {
            f"{ref.logical_id}.{ref.attribute}"
            for ref in resource.refs
            if (ref.logical_id, ref.attribute) not in attributes
        }
    )


def shown(value: Any, limit: int = 120) -> str:
    """A property's value for people: JSON, cut to ``limit`` characters."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=repr)
    return text if len(text) <= limit else text[: limit - 1] + "…"
