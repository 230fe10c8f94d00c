"""The vocabulary between what is wanted and what AWS has.

The blueprint makes :class:`Resource` objects from custom resources, adapters observe and change
their AWS counterparts, and the engine alone compares the two. Neither blueprint nor adapters know
each other; both know this module.

A resource's ``properties`` have the names and shapes of the boto3 call that creates it (say,
``FunctionName``'s siblings in ``CreateFunction``), with JSON documents as plain dicts. A value may be a
:class:`Ref`, or a :class:`Text` with some in it, where only AWS knows it: the engine resolves them
from what it observed, and a plan shows what it can't resolve yet as ``(known after apply)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar, Protocol

TAG_CLUSTER = "weir.dev/cluster"
TAG_KIND = "weir.dev/kind"
TAG_NAMESPACE = "weir.dev/namespace"
TAG_NAME = "weir.dev/name"
TAG_UID = "weir.dev/uid"
TAG_HASH = "weir.dev/hash"
TAG_ADOPTED = "weir.dev/adopted"
"""Its value is :data:`ADOPTED` on what was there before Weir took it over."""
ADOPTED = "true"
OWNER_TAGS = (TAG_CLUSTER, TAG_KIND, TAG_NAMESPACE, TAG_NAME)


@dataclass(frozen=True)
class Owner:
    """The custom resource that an AWS resource belongs to.

    ``cluster`` + ``kind`` + ``namespace`` + ``name`` are the owner; ``uid`` tells incarnations of
    it apart. ``namespace`` is empty for a Platform.
    """

    cluster: str
    kind: str
    namespace: str
    name: str
    uid: str

    @property
    def tags(self) -> dict[str, str]:
        """The tags that every resource of this owner carries."""
        tags = {
            TAG_CLUSTER: self.cluster,
            TAG_KIND: self.kind,
            TAG_NAMESPACE: self.namespace,
            TAG_NAME: self.name,
            TAG_UID: self.uid,
        }
        return {key: value for key, value in tags.items() if value}

    def owns(self, tags: Mapping[str, str]) -> bool:
        """Whether the tags name this owner, of whichever incarnation."""
        return all(tags.get(key, "") == self.tags.get(key, "") for key in OWNER_TAGS)

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


@dataclass(frozen=True)
class Ref:
    """An attribute of another resource of the same owner, known once that exists."""

    logical_id: str
    attribute: str = "arn"


@dataclass(frozen=True)
class Text:
    """A text with references in it: its parts one after the other."""

    parts: tuple[str | Ref, ...]


class Everything(frozenset[str]):
    """The set of all names: in ``Observed.unseen`` it says that no property was told."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return "(everything)"


EVERYTHING = Everything()
TAGS = "Tags"
"""In ``Observed.unseen``: the tags were not told."""


class Unknown:
    """A value that only AWS can give: in a plan, what a :class:`Ref` to something unborn becomes."""

    _only: ClassVar[Unknown | None] = None

    def __new__(cls) -> Unknown:
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "(known after apply)"


UNKNOWN = Unknown()


_BY_SQL = re.compile(r"(serverless|provisioned):([^|]+)\|([^|]+)\|[^|]*\|(.+)")
_WAREHOUSES = {"serverless": "workgroup", "provisioned": "cluster"}


def spoken(name: str) -> str:
    """A physical name for people.

    The name of what only SQL can see begins with how it is reached. People want to know what it is,
    and where, and have no use for the ARN of the secret that the operator signs in with.

    Examples
    --------
    >>> spoken("serverless:main|dev|arn:aws:secretsmanager:...|sales.orders")
    'sales.orders (database dev of workgroup main)'
    >>> spoken("orders")
    'orders'
    """
    found = _BY_SQL.fullmatch(name)
    if found is None:
        return name
    kind, warehouse, database, thing = found.groups()
    return f"{thing} (database {database} of {_WAREHOUSES[kind]} {warehouse})"


def titled(kind: str, name: str) -> str:
    """What a resource is called in events, conditions, plans and errors: kind and name."""
    return f"{kind} {spoken(name)}"


class Deletion(Enum):
    """What deleting the owner does to a resource."""

    DELETE = "delete"
    RETAIN = "retain"
    """It holds data (a bucket, a table, a key): it stays, unless ``deletionPolicy: Delete``."""
    EMPTY_ONLY = "emptyOnly"
    """Delete if it holds nothing; else say so, and stay."""


@dataclass(frozen=True)
class Resource:
    """One AWS resource as it should be.

    Parameters
    ----------
    kind
        The adapter's kind: ``iam.Role``, ``lambda.Function``.
    logical_id
        Unique among the owner's resources, stable over renames of the physical one, kebab-case:
        ``ingest-role``.
    name
        The physical name: what the adapter finds it by.
    properties
        The wanted state, in boto3's names. A key that is absent is not managed.
    depends_on
        Logical ids that must exist first, beside those that ``Ref`` implies.
    deletion
        What becomes of it when its owner goes.
    tagged
        False for what AWS gives no tags (an S3 object, a DynamoDB item).
    external
        Observed and required, never written: a secret, an adopted bucket, the warehouse.
    """

    kind: str
    logical_id: str
    name: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    deletion: Deletion = Deletion.DELETE
    tagged: bool = True
    external: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """``(kind, name)``, unique in an account and region."""
        return self.kind, self.name

    @cached_property
    def refs(self) -> tuple[Ref, ...]:
        """Every :class:`Ref` among its properties."""
        return tuple(refs(self.properties))

    def resolved(self, attributes: Mapping[tuple[str, str], str]) -> Resource:
        """The resource with each reference replaced, as :func:`resolve` does."""
        if not self.refs:
            return self
        return replace(self, properties=resolve(self.properties, attributes))


@dataclass(frozen=True, slots=True)
class Observed:
    """One AWS resource as it is.

    Parameters
    ----------
    name
        Its physical name.
    properties
        In the shape of ``Resource.properties``, so that equal things compare equal: JSON documents
        decoded, sets as sorted lists, AWS's defaults filled in or left out as the adapter's
        ``Traits`` say.
    attributes
        What ``Ref`` may ask for: ``arn`` and others.
    tags
        All its tags.
    settled
        False while AWS is still changing it (a function in ``Pending``): look again soon.
    detail
        What a person would want to know beside that (``LastUpdateStatus: Failed: ...``).
    unseen
        Top-level properties that this look could not tell, though AWS has them: a listing leaves
        them out. ``Tags`` among them means that ``tags`` says nothing. Nobody may take an unseen
        property for one that is absent.
    version
        What AWS changes with every change of the resource, where a listing has such a thing (an
        object's ETag, a schedule's time of modification); empty says nothing. Of two looks with the
        same version the unseen properties are the same; with another one, somebody changed them.
    """

    name: str
    properties: Mapping[str, Any]
    attributes: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    settled: bool = True
    detail: str = ""
    unseen: frozenset[str] = frozenset()
    version: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One property that is not as wanted. ``path`` is dotted: ``Environment.Variables.X``."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Traits:
    """What the engine must know of an AWS kind to compare and to change it.

    Parameters
    ----------
    immutable
        Top-level properties that AWS can't change: a difference means replacement.
    write_only
        Properties that AWS does not give back: the engine compares their hash, kept in the tag
        ``weir.dev/hash``.
    unordered
        Properties whose lists have no order.
    holds_data
        Whether deleting or replacing one loses data: a plan marks it, apply refuses a replace.
    data_in
        The same of one with such properties, for a kind of which only some do.
    contains
        Whether it has resources of other owners in it: one that is no longer wanted goes if it is
        empty, and stays otherwise.
    eventually_consistent
        Whether a read right after a write may be stale (IAM): the engine trusts its own write for
        a while.
    canonical
        Brings wanted properties into the form in which ``observe`` gives them (AWS reorders
        policies, fills in defaults, folds names); what is compared is this form.
    absent
        What to do where one that is looked at only is missing, for people.
    """

    immutable: frozenset[str] = frozenset()
    write_only: frozenset[str] = frozenset()
    unordered: frozenset[str] = frozenset()
    holds_data: bool = False
    data_in: Callable[[Mapping[str, Any]], bool] = lambda _: False
    contains: bool = False
    eventually_consistent: bool = False
    canonical: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    absent: str = ""

    def has_data(self, properties: Mapping[str, Any]) -> bool:
        """Whether deleting one with such properties loses data."""
        return self.holds_data or self.data_in(properties)


class Adapter(Protocol):
    """One kind of AWS resource. All calls are blocking; all are safe to repeat.

    A method raises a subclass of :class:`weir.aws.errors.AwsError` (Throttled, NotYet,
    AccessDenied, Conflict, Invalid, Transient), never a bare ``ClientError``.
    """

    kind: str
    traits: Traits

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        """What exists of these names. A name that is absent from the answer does not exist."""

    def survey(self, names: Sequence[str]) -> Iterable[Observed]:
        """What exists of these names, at the price of a listing: O(account / page) calls for any
        number of names. What the listing can't tell is named in ``Observed.unseen``.

        They come as the pages do, so that nobody holds a whole account at once; errors come with
        the page that fails.
        """

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        """Create it with these tags, idempotently where the API has tokens, and say what is there.

        ``resource.properties`` has every ``Ref`` resolved.
        """

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        """Change what differs (``changes``, and tags where they differ) and say what is there."""

    def delete(self, observed: Observed) -> None:
        """Delete it. One that is gone already is no error."""


LEAVES = frozenset({str, int, bool, float, type(None), bytes})
"""Types without anything inside."""


def refs(value: Any) -> Iterable[Ref]:
    """Every :class:`Ref` in a tree of properties."""
    found: list[Ref] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[Ref]) -> None:
    # Asked of every property of every resource at each look: exact types first, they are quick.
    kind = type(value)
    if kind in LEAVES:
        return
    if kind is Ref:
        found.append(value)
    elif kind is Text:
        found.extend(part for part in value.parts if isinstance(part, Ref))
    elif kind is dict or isinstance(value, Mapping):
        for item in value.values():
            _collect(item, found)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _collect(item, found)


def resolve(value: Any, attributes: Mapping[tuple[str, str], str]) -> Any:
    """The tree with each :class:`Ref` replaced by ``attributes[(logical_id, attribute)]``.

    A reference that ``attributes`` lacks becomes :data:`UNKNOWN`, and so does a text with one in it.
    """
    kind = type(value)
    if kind in LEAVES:
        return value
    if kind is Ref:
        return attributes.get((value.logical_id, value.attribute), UNKNOWN)
    if kind is Text:
        parts = [resolve(part, attributes) for part in value.parts]
        return UNKNOWN if UNKNOWN in parts else "".join(parts)
    if kind is dict or isinstance(value, Mapping):
        return {key: resolve(item, attributes) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, attributes) for item in value]
    return value
