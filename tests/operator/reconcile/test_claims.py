"""One place has one owner, however it is spelled."""

from __future__ import annotations

from typing import Any

import pytest

from weir.kube.keys import Key
from weir.reconcile.claims import lost_claims

BUCKETS = {zone: f"weir-{zone}" for zone in ("processed", "curated")}


def pipeline(namespace: str, name: str, created: int, **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Pipeline",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "creationTimestamp": f"2026-01-0{created}T00:00:00Z",
        },
        "spec": {"sources": [{"name": "s"}], **spec},
    }


def destination(prefix: str, bucket: str = "${BUCKET:processed}") -> dict[str, Any]:
    return {"destination": {"bucket": bucket, "prefix": prefix}}


def stage(**kind: Any) -> dict[str, Any]:
    return {"stages": [{"name": "s", **kind}]}


MEET = {
    "one folder inside the other": (destination("customers/eu/"), destination("customers/")),
    "the bucket by its name": (destination("c/"), destination("c/", "weir-processed")),
    "the place of a pipeline that states none": ({}, destination("a/")),
    "an unload into a written prefix": (
        stage(write={"prefix": "c/"}),
        stage(unload={"to": "${BUCKET:curated}/c/d/", "query": "select 1"}),
    ),
    "an unload by the bucket's name": (
        stage(unload={"to": "s3://weir-curated/c/", "query": "select 1"}),
        stage(write={"prefix": "c/"}),
    ),
    "a table in other letters": (
        stage(load={"redshift": {"schema": "C", "table": "T"}}),
        stage(load={"redshift": {"schema": "c", "table": "t"}}),
    ),
}


@pytest.mark.parametrize("name", MEET)
def test_the_younger_loses_what_both_claim(name: str) -> None:
    first, second = MEET[name]
    old, young = pipeline("a", "one", 1, **first), pipeline("b", "two", 2, **second)
    lost = lost_claims(young, [old, young], {}, BUCKETS)
    assert [holder for _, holder in lost] == [Key("Pipeline", "a", "one")]
    assert lost_claims(old, [old, young], {}, BUCKETS) == []


@pytest.mark.parametrize(
    "second",
    [destination("customers-eu/"), destination("customers/", "${BUCKET:curated}"), {}],
)
def test_places_apart_are_no_conflict(second: dict[str, Any]) -> None:
    old = pipeline("a", "one", 1, **destination("customers/"))
    young = pipeline("b", "two", 2, **second)
    assert lost_claims(young, [old, young], {}, BUCKETS) == []
