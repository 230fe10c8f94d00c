"""What all adapters share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from weir.aws import tags as tagging
from weir.aws.calls import Calls
from weir.aws.errors import AccessDenied, Conflict, Invalid, NotYet
from weir.aws.session import AwsSession
from weir.aws.tagindex import TagIndex
from weir.resource import (
    EVERYTHING,
    OWNER_TAGS,
    TAGS,
    Adapter,
    Change,
    Observed,
    Resource,
    Traits,
    Unknown,
)

FEW = 3
"""Up to so many names are asked for one by one; more are worth a listing."""


class ServiceAdapter(Adapter):
    """An adapter with the calls of its service.

    A subclass gives ``kind``, ``service`` (botocore's name), ``traits`` and the methods of
    :class:`weir.resource.Adapter`; one whose service can list gives :meth:`listing` too.
    ``tagged_as`` are its resource types in the Resource Groups Tagging API.
    """

    service: ClassVar[str]
    tagged_as: ClassVar[tuple[str, ...]] = ()
    traits: Traits = Traits()

    def __init__(self, session: AwsSession) -> None:
        self.session = session
        self.calls = Calls(session, self.service)
        self.tag_index = TagIndex(session, *self.tagged_as)
        self._listing_pages = 0
        self.traits = replace(self.traits, canonical=self._canonical)

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Wanted properties in the form in which ``observe`` gives them; see ``Traits``."""
        return dict(properties)

    def _canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        # In a plan a whole property may be unknown yet: it differs, whatever its form.
        unknown = {key: value for key, value in properties.items() if isinstance(value, Unknown)}
        known = {key: value for key, value in properties.items() if key not in unknown}
        return {**self.canonical(known), **unknown}

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        """What exists of these names, asked one by one; a kind with a listing does better."""
        found = {name: self.look(name) for name in dict.fromkeys(names)}
        return {name: seen for name, seen in found.items() if seen is not None}

    def survey(self, names: Sequence[str]) -> Iterator[Observed]:
        """What a listing tells of these names, or looks at each where that costs less calls.

        A listing reads the whole account's: the one before tells how many pages that was. Who may
        not list looks at each.
        """
        wanted = list(dict.fromkeys(names))
        if len(wanted) <= max(FEW, self._listing_pages):
            yield from self.observe(wanted).values()
            return
        before = self.calls.pages_read
        told: set[str] = set()
        try:
            for seen in self.listing(wanted):
                told.add(seen.name)
                yield seen
        except AccessDenied:
            yield from self.observe([name for name in wanted if name not in told]).values()
            return
        self._listing_pages = self.calls.pages_read - before

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        """What exists of these names by pages of the service's listing and of the tag index.

        What pages can't tell is in ``Observed.unseen``. A kind without a listing is observed.

        Raises
        ------
        AccessDenied
            Listing is not allowed.
        """
        yield from self.observe(names).values()

    def look(self, name: str) -> Observed | None:
        """One of them, or None where it does not exist."""
        raise NotImplementedError(f"{self.kind} observes in bulk only")

    def must_see(self, name: str) -> Observed:
        """What is there right after it was written, where the answer does not tell.

        A read that does not show it yet gives an unsettled nothing: the engine looks again.
        """
        found = self.observe([name])
        return found.get(name) or Observed(
            name, {}, settled=False, detail="written, not yet readable"
        )

    def tagged(self, names: Iterable[str], listed: Iterable[Observed]) -> Iterator[Observed]:
        """Those of a listing that have one of these names, with their tags from the index.

        The index is read when the first of them comes: nobody asks it of a kind that is not there.
        """
        chosen = set(names)
        tags: Mapping[str, Mapping[str, str]] | None = None
        for seen in listed:
            if seen.name in chosen:
                tags = self.tag_index.read() if tags is None else tags
                yield with_tags(seen, tags.get(seen.attributes["arn"]))

    def taken_back(self, resource: Resource, tags: Mapping[str, str], taken: Conflict) -> Observed:
        """What has the name that a creation found taken, if it is its owner's.

        So it is when a creation happened whose answer was lost, or the operator ended before it
        wrote down what it had made. It is not settled: the engine compares it before it counts.

        Parameters
        ----------
        tags
            Those that it was to be created with.
        taken
            Why it could not be; raised again where it is somebody else's.

        Raises
        ------
        NotYet
            A read does not show it yet.
        """
        seen = self.observe([resource.name]).get(resource.name)
        if seen is None:
            raise NotYet(
                f"{taken}: but a read does not show it",
                service=self.service,
                resource=resource.name,
                retry_after=3.0,
            ) from taken
        if resource.tagged and any(seen.tags.get(key) != tags.get(key) for key in OWNER_TAGS):
            raise taken
        return replace(seen, settled=False, detail="was there already: it is compared next")

    def rewritten(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        """What is there after an update that AWS took: what was seen, with what was written."""
        wanted = self.traits.canonical(resource.properties)
        written = {
            name: wanted[name]
            for name in changed(changes)
            if name in wanted and name not in self.traits.write_only
        }
        if tagging.missing(observed.tags, tags) and "arn" in observed.attributes:
            self.tag_index.touched(observed.attributes["arn"])
        return replace(
            observed,
            properties={**observed.properties, **written},
            tags={**observed.tags, **tags},
            unseen=observed.unseen
            if observed.unseen is EVERYTHING
            else observed.unseen.difference(written),
            settled=True,
            detail="",
            version="",
        )


def changed(changes: Sequence[Change]) -> set[str]:
    """The top-level properties that changes are about."""
    return {change.path.partition(".")[0] for change in changes}


def with_tags(seen: Observed, tags: Mapping[str, str] | None) -> Observed:
    """What was seen with these tags; with ``Tags`` unseen where they are None."""
    return blind(seen, TAGS) if tags is None else replace(seen, tags=dict(tags))


def blind(seen: Observed, *properties: str) -> Observed:
    """What was seen without these properties (or ``Tags``), which it did not tell."""
    rest = {key: value for key, value in seen.properties.items() if key not in properties}
    tags = {} if TAGS in properties else seen.tags
    return replace(seen, properties=rest, tags=tags, unseen=seen.unseen.union(properties))


def picked(properties: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The properties of these names that are given."""
    return {name: properties[name] for name in names if properties.get(name) is not None}


def chunks(items: Sequence[str], size: int) -> list[Sequence[str]]:
    """A sequence in pieces of at most ``size``."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def split_pair(name: str, separator: str, otherwise: str, service: str) -> tuple[str, str]:
    """The two parts of a name.

    Parameters
    ----------
    otherwise
        What is said of one that has not two: ``is no database.table``.
    service
        Whose name it is.

    Raises
    ------
    Invalid
        It has not two parts.
    """
    first, there, second = name.partition(separator)
    if not there or not first or not second:
        raise Invalid(f"{name!r} {otherwise}", service=service, resource=name)
    return first, second


def common_prefix(names: Sequence[str]) -> str:
    """The longest text that all names begin with: what a listing can filter by."""
    if not names:
        return ""
    first, last = min(names), max(names)
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return first[:length]
