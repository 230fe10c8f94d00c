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
from weir_contract.secrets import substitute_buckets


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


def claims_of(
    pipeline: Object, sources: Mapping[Key, Object], buckets: Mapping[str, str]
) -> Iterator[Claim]:
    """What a Pipeline writes to, by its spec.

    Parameters
    ----------
    sources
        DataSources by key: a Pipeline without a destination writes to its first source's, and
        without that below its own name.
    buckets
        Zone -> bucket, so that a bucket's name and its zone are one place.
    """
    spec, metadata = pipeline["spec"], pipeline["metadata"]
    destination = spec.get("destination") or _sources_destination(pipeline, sources)
    own = {"prefix": f"{metadata['namespace']}/{metadata['name']}/"}
    places = [destination or own]
    for stage in spec.get("stages") or []:
        if write := stage.get("write"):
            zone = write.get("zone", "curated")
            places.append({"bucket": f"${{BUCKET:{zone}}}", "prefix": write["prefix"]})
        if unload := stage.get("unload"):
            bucket, _, prefix = unload["to"].removeprefix("s3://").partition("/")
            places.append({"bucket": bucket, "prefix": prefix})
        if target := (stage.get("load") or {}).get("redshift"):
            # Redshift folds identifiers to lower case.
            yield Claim("table", f"{target['schema']}.{target['table']}".lower())
    for place in places:
        bucket = substitute_buckets(place.get("bucket", "${BUCKET:processed}"), dict(buckets))
        yield Claim("prefix", f"s3://{bucket}/{place['prefix']}")


def _sources_destination(
    pipeline: Object, sources: Mapping[Key, Object]
) -> Mapping[str, Any] | None:
    refs = pipeline["spec"]["sources"]
    first = next((ref["name"] for ref in refs if ref.get("primary")), refs[0]["name"])
    source = sources.get(Key("DataSource", pipeline["metadata"]["namespace"], first))
    return (source["spec"].get("destination") or None) if source else None


def lost_claims(
    pipeline: Object,
    users: Iterable[Object],
    sources: Mapping[Key, Object],
    buckets: Mapping[str, str],
) -> list[tuple[Claim, Key]]:
    """Claims of a Pipeline that an older one holds, with who it is.

    Parameters
    ----------
    users
        All objects of the Platform.
    sources, buckets
        As for :func:`claims_of`.
    """
    mine = list(claims_of(pipeline, sources, buckets))
    found = []
    for other in users:
        if other["kind"] != "Pipeline" or is_deleting(other) or age(other) >= age(pipeline):
            continue
        theirs = list(claims_of(other, sources, buckets))
        found += [
            (claim, Key.of(other)) for claim in mine if any(claim.meets(one) for one in theirs)
        ]
    return found
