"""Who holds what only one may hold: a table of the warehouse, a prefix of a zone.

The oldest claim wins. A younger one is a Conflict until the older is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from weir.kube.client import Object
from weir.kube.keys import Key, is_deleting
from weir.reconcile.view import age


@dataclass(frozen=True)
class Claim:
    """``what`` is ``table`` or ``prefix``; ``place`` is the table, or bucket and prefix."""

    what: str
    place: str

    def meets(self, other: Claim) -> bool:
        """Whether both can't be held by two: equal tables, prefixes one inside the other."""
        if self.what != other.what:
            return False
        if self.what == "table":
            return self.place == other.place
        return self.place.startswith(other.place) or other.place.startswith(self.place)


def claims_of(pipeline: Object, sources: Mapping[Key, Object]) -> Iterator[Claim]:
    """What a Pipeline writes to, by its spec.

    Parameters
    ----------
    sources
        DataSources by key: a Pipeline without a destination writes to its first source's.
    """
    spec = pipeline["spec"]
    destination = spec.get("destination") or _sources_destination(pipeline, sources)
    if destination:
        bucket = destination.get("bucket", "${BUCKET:processed}")
        yield Claim("prefix", f"{bucket}/{destination['prefix']}")
    for stage in spec.get("stages") or []:
        write = stage.get("write")
        if write:
            zone = write.get("zone", "curated")
            yield Claim("prefix", f"${{BUCKET:{zone}}}/{write['prefix']}")
        target = (stage.get("load") or {}).get("redshift")
        if target:
            # Redshift folds identifiers to lower case.
            yield Claim("table", f"{target['schema']}.{target['table']}".lower())


def _sources_destination(
    pipeline: Object, sources: Mapping[Key, Object]
) -> Mapping[str, Any] | None:
    refs = pipeline["spec"]["sources"]
    first = next((ref["name"] for ref in refs if ref.get("primary")), refs[0]["name"])
    source = sources.get(Key("DataSource", pipeline["metadata"]["namespace"], first))
    return (source["spec"].get("destination") or None) if source else None


def lost_claims(
    pipeline: Object, users: Iterable[Object], sources: Mapping[Key, Object]
) -> list[tuple[Claim, Key]]:
    """Claims of a Pipeline that an older one holds, with who it is.

    Parameters
    ----------
    users
        All objects of the Platform.
    """
    mine = list(claims_of(pipeline, sources))
    found = []
    for other in users:
        if other["kind"] != "Pipeline" or is_deleting(other) or age(other) >= age(pipeline):
            continue
        theirs = list(claims_of(other, sources))
        found += [
            (claim, Key.of(other)) for claim in mine if any(claim.meets(one) for one in theirs)
        ]
    return found
