"""Policies that mean the same compare equal, however AWS spells them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.aws.documents import decode, policy

NAMES = st.sampled_from(["a", "b", "c", "d"])
ACTIONS = st.lists(NAMES.map(lambda name: f"s3:Get{name}"), min_size=1, max_size=3, unique=True)
RESOURCES = st.lists(
    NAMES.map(lambda name: f"arn:aws:s3:::{name}/*"), min_size=1, max_size=3, unique=True
)
PRINCIPALS = st.lists(
    st.sampled_from(["arn:aws:iam::111122223333:root", "arn:aws:iam::444455556666:role/x"]),
    min_size=1,
    max_size=2,
    unique=True,
)
CONDITIONS = st.dictionaries(
    st.sampled_from(["StringEquals", "ArnLike"]),
    st.dictionaries(st.sampled_from(["aws:SourceAccount", "aws:SourceArn"]), RESOURCES, min_size=1),
    max_size=2,
)
STATEMENTS = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Deny"]),
        "Action": ACTIONS,
        "Resource": RESOURCES,
        "Principal": st.fixed_dictionaries({"AWS": PRINCIPALS}),
        "Condition": CONDITIONS,
    }
)
POLICIES = st.fixed_dictionaries(
    {
        "Version": st.just("2012-10-17"),
        "Statement": st.lists(STATEMENTS, min_size=1, max_size=3),
    }
)


def respelled(draw: Any, value: Any) -> Any:
    """The same document, with keys and lists in another order and lists of one maybe bare."""
    if isinstance(value, dict):
        keys = draw(st.permutations(sorted(value)))
        return {key: respelled(draw, value[key]) for key in keys}
    if isinstance(value, list):
        items = [respelled(draw, item) for item in draw(st.permutations(value))]
        return items[0] if len(items) == 1 and draw(st.booleans()) else items
    if isinstance(value, str) and value.endswith(":root") and draw(st.booleans()):
        return value.split(":")[4]
    return value


@given(st.data(), POLICIES)
def test_a_respelled_policy_is_equal(data: st.DataObject, document: dict[str, Any]) -> None:
    other = respelled(data.draw, document)
    text = json.dumps(other)
    spelling = data.draw(st.sampled_from([other, text, quote(text), quote(text, safe="")]))
    assert policy(spelling) == policy(document)


@given(POLICIES)
def test_the_form_is_a_fixed_point(document: dict[str, Any]) -> None:
    assert policy(policy(document)) == policy(document)


@given(POLICIES, st.sampled_from(["Effect", "Action", "Resource", "Principal"]))
def test_another_meaning_is_not_equal(document: dict[str, Any], field: str) -> None:
    changed = json.loads(json.dumps(document))
    first = changed["Statement"][0]
    others = {
        "Effect": "Deny" if first["Effect"] == "Allow" else "Allow",
        "Action": "kms:Decrypt",
        "Resource": "*",
        "Principal": "*",
    }
    first[field] = others[field]
    assert policy(changed) != policy(document)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"Principal": "*"}, {"Principal": {"AWS": "*"}}),
        ({"Action": "S3:GetObject"}, {"Action": ["s3:getobject"]}),
        (
            {"Condition": {"Bool": {"aws:SecureTransport": False}}},
            {"Condition": {"Bool": {"aws:SecureTransport": ["false"]}}},
        ),
        ({"Sid": "", "Effect": "Allow"}, {"Effect": "Allow"}),
        ({"Effect": "Allow", "Condition": {}}, {"Effect": "Allow"}),
    ],
)
def test_two_spellings_of_a_statement_are_equal(one: Any, other: Any) -> None:
    assert policy({"Statement": one}) == policy({"Statement": [other]})


def test_nothing_is_no_policy() -> None:
    assert policy("") == policy(None) == policy({}) == {}


def test_text_in_percent_signs_is_decoded_and_a_plus_stays() -> None:
    assert decode(quote('{"a": "x+y z"}')) == {"a": "x+y z"}
