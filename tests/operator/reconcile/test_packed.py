"""What listings showed and nobody has read yet is kept small, and is read as it was seen."""

from __future__ import annotations

import tracemalloc
from typing import Any

from fake_cloud import Cloud, Thing, adapters
from hypothesis import given
from hypothesis import strategies as st

from weir.reconcile.inventory import Inventory
from weir.reconcile.packed import Packed, plain
from weir.resource import TAGS, Observed

COUNT = 500

texts = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
sights = st.builds(
    Observed,
    name=texts,
    properties=st.dictionaries(texts, values, max_size=6),
    attributes=st.dictionaries(texts, texts, max_size=3),
    tags=st.dictionaries(texts, texts, max_size=6),
    settled=st.booleans(),
    detail=texts,
    unseen=st.frozensets(st.sampled_from([TAGS, "Code", "Role"])),
    version=texts,
)


@given(sights, sights)
def test_a_sight_is_read_as_it_was_seen_whatever_it_was_packed_by(
    seen: Observed, other: Observed
) -> None:
    assert Packed(seen, plain(other)).unpacked() == seen


def test_what_a_listing_showed_takes_a_tenth_of_its_memory_until_it_is_read() -> None:
    def policy(number: int) -> dict[str, Any]:
        statement = {
            f"Statement {at}": {
                "Action": [f"s3:Get{at}", f"s3:Put{at}"],
                "Resource": f"arn:aws:s3:::bucket/source-{number}/{at}/*",
            }
            for at in range(20)
        }
        return {"Policy": statement}

    cloud = Cloud()
    for number in range(COUNT):
        cloud.things["object", f"o-{number}"] = Thing(policy(number), {"name": f"o-{number}"}, 1)
    inventory = Inventory(adapters(cloud), 60, lambda: 0.0)
    keys = [("object", f"o-{number}") for number in range(COUNT)]
    inventory.expect(keys)
    tracemalloc.start()
    try:
        wholes = [policy(number) for number in range(COUNT)]
        whole = tracemalloc.get_traced_memory()[0]
        inventory.see(keys[:1])
        taken = tracemalloc.get_traced_memory()[0] - whole
    finally:
        tracemalloc.stop()
    assert taken < whole / 10
    seen, _ = inventory.look(keys)
    assert [seen[key].properties for key in keys] == wholes
