"""Items as DynamoDB is told them: what boto3 would have written, and read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from weir_lambdas.common.attributes import from_attribute, from_item, to_attribute, to_item

SCALARS = (
    st.none()
    | st.booleans()
    | st.text()
    | st.integers(-(10**37), 10**37)
    | st.binary(min_size=1)
    | st.sets(st.text(), min_size=1)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


def whole(value: Any) -> Any:
    """A value as boto3 reads it, its Decimals as int and its Binary as bytes."""
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, list):
        return [whole(one) for one in value]
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    return bytes(value) if type(value).__name__ == "Binary" else value


def in_order(value: Any) -> Any:
    """An attribute value whose sets are in one order."""
    if isinstance(value, list):
        return [in_order(one) for one in value]
    if isinstance(value, dict):
        return {
            name: sorted(one) if name == "SS" and isinstance(one, list) else in_order(one)
            for name, one in value.items()
        }
    return value


@given(st.dictionaries(st.text(min_size=1), VALUES))
def test_an_item_is_written_as_boto3_writes_it_and_read_back(values: dict[str, Any]) -> None:
    item = to_item(values)
    theirs = {name: TypeSerializer().serialize(value) for name, value in values.items()}
    assert in_order(item) == in_order(theirs)
    assert from_item(item) == values
    assert {
        name: whole(TypeDeserializer().deserialize(one)) for name, one in item.items()
    } == values


def test_a_tuple_is_a_list() -> None:
    assert from_attribute(to_attribute((1, "a"))) == [1, "a"]


@pytest.mark.parametrize("value", [1.5, object(), {"a": [2.5]}, set(), {1}])
def test_what_dynamodb_would_not_keep_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="DynamoDB has no attribute value for"):
        to_attribute(value)


def test_a_fraction_is_not_cut() -> None:
    with pytest.raises(ValueError, match=r"1\.5"):
        from_attribute({"N": "1.5"})
