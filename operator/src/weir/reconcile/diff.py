"""What is not as wanted, property by property."""

from __future__ import annotations

import hashlib
import json
import marshal
from collections.abc import Iterator, Mapping
from typing import Any

from weir.resource import (
    LEAVES,
    TAG_HASH,
    TAGS,
    UNKNOWN,
    Change,
    Observed,
    Resource,
    Traits,
    Unknown,
)

HIDDEN = "(write-only)"
"""Stands for a value that AWS does not give back, so that it is in no plan and no log."""


def contains_unknown(value: Any) -> bool:
    """Whether a tree of properties has a value that is known after apply only."""
    if type(value) in LEAVES:
        return False
    if isinstance(value, Unknown):
        return True
    if isinstance(value, Mapping):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(contains_unknown(item) for item in value)
    return False


def write_only_hash(resource: Resource, traits: Traits) -> str | None:
    """The tag value that stands for the write-only properties: 32 hexadecimal digits.

    None where there are none, where the kind takes no tags, or where a value is still unknown.
    """
    hidden = {
        name: resource.properties[name]
        for name in sorted(traits.write_only)
        if name in resource.properties
    }
    if not hidden or not resource.tagged or contains_unknown(hidden):
        return None
    return hashlib.sha256(_canonical(hidden).encode()).hexdigest()[:32]


def canonical_form(resource: Resource, traits: Traits) -> Mapping[str, Any]:
    """The wanted properties in the form in which they are observed; worked out once a resource."""
    known = resource.__dict__.get("_form")
    if known is None or known[0] is not traits:
        known = (traits, traits.canonical(resource.properties))
        # Beside the fields of the frozen class, as its cached properties are.
        resource.__dict__["_form"] = known
    form: Mapping[str, Any] = known[1]
    return form


def mark_of(resource: Resource, traits: Traits, tags: Mapping[str, str]) -> str:
    """Twelve hexadecimal digits that stand for the wanted state of a resource.

    Parameters
    ----------
    resource
        With every reference resolved.
    tags
        All that it should carry.
    """
    wanted = [dict(canonical_form(resource, traits)), dict(tags)]
    return hashlib.blake2b(_canonical(wanted).encode(), digest_size=6).hexdigest()


def hides(resource: Resource, observed: Observed, traits: Traits) -> bool:
    """Whether a look leaves something unseen that the resource cares for."""
    unseen = observed.unseen
    if not unseen or resource.external:
        return False
    if resource.tagged and TAGS in unseen:
        return True
    return any(name in unseen for name in canonical_form(resource, traits))


def wanted_tags(resource: Resource, traits: Traits, tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that a resource should carry: its owner's and the hash of what AWS hides."""
    if not resource.tagged:
        return {}
    digest = write_only_hash(resource, traits)
    return {**tags, TAG_HASH: digest} if digest else dict(tags)


def tag_changes(wanted: Mapping[str, str], observed: Observed) -> tuple[Change, ...]:
    """Tags that are missing or differ. Tags that others put there are theirs."""
    if TAGS in observed.unseen:
        return ()
    return tuple(
        Change(f"Tags.{name}", observed.tags.get(name), value)
        for name, value in sorted(wanted.items())
        if observed.tags.get(name) != value
    )


def changes(resource: Resource, observed: Observed, traits: Traits) -> tuple[Change, ...]:
    """Every property of ``resource`` that ``observed`` has otherwise.

    A top-level property that the resource does not name is not managed, and one that the look could
    not tell (``Observed.unseen``) is no difference; below that, documents are
    compared whole, so that a statement that someone adds to a policy shows. ``None`` is wanted
    means that the property should be absent.

    Parameters
    ----------
    resource
        With references resolved as far as they can be; :data:`~weir.resource.UNKNOWN` differs from
        everything.
    """
    found: list[Change] = []
    for name, value in canonical_form(resource, traits).items():
        if name in traits.write_only or name in observed.unseen:
            continue
        unordered = {
            tuple(path.split(".")) for path in traits.unordered if path.split(".")[0] == name
        }
        found += _compare((name,), value, observed.properties.get(name), unordered)
    digest = write_only_hash(resource, traits)
    hidden = [name for name in sorted(traits.write_only) if name in resource.properties]
    if TAGS in observed.unseen:
        return tuple(found)
    if digest is not None and observed.tags.get(TAG_HASH) != digest:
        found += [Change(name, HIDDEN, HIDDEN) for name in hidden]
    elif any(contains_unknown(resource.properties[name]) for name in hidden):
        found += [Change(name, HIDDEN, UNKNOWN) for name in hidden]
    return tuple(found)


def _compare(
    path: tuple[str, ...], wanted: Any, seen: Any, unordered: set[tuple[str, ...]]
) -> Iterator[Change]:
    if _identical(wanted, seen):
        return
    if isinstance(wanted, Mapping) and isinstance(seen, Mapping):
        for name in sorted({*wanted, *seen}, key=str):
            yield from _compare((*path, str(name)), wanted.get(name), seen.get(name), unordered)
        return
    loose = any(path[: len(prefix)] == prefix for prefix in unordered)
    if not _equal(wanted, seen, loose):
        yield Change(".".join(path), seen, wanted)


def _identical(wanted: Any, seen: Any) -> bool:
    """Whether two trees are the same in every value, type and order: mostly nothing has changed,
    and that is told at once. False says nothing."""
    try:
        # True equals 1: what the trees are written as tells them apart.
        return wanted == seen and (
            type(wanted) is str or marshal.dumps(wanted, 1) == marshal.dumps(seen, 1)
        )
    except ValueError:
        return False  # A value that is known after apply only.


def _equal(one: Any, other: Any, loose: bool) -> bool:
    if type(one) is str or one is None:
        return bool(one == other)
    if isinstance(one, Unknown) or isinstance(other, Unknown):
        return False
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_equal(one.get(name), other.get(name), loose) for name in {*one, *other})
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) != len(other):
            return False
        if loose:
            return _canonical_sorted(one) == _canonical_sorted(other)
        return all(_equal(a, b, loose) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _canonical(value: Any) -> str:
    return _ENCODER.encode(value)


def _canonical_sorted(items: Any) -> list[str]:
    if contains_unknown(list(items)):
        return [repr(object())]
    return sorted(_canonical(_loosely(item)) for item in items)


def _loosely(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _loosely(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return _canonical_sorted(value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        return value.hex()
    return repr(value)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain)
