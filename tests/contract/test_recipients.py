"""Recipients of receipt rules: whom one stands for, and whether two meet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_contract.recipients import domain_of, matches, meet, with_parents

LABELS = st.sampled_from(["a", "b", "mail"])
DOMAINS = st.lists(LABELS, min_size=1, max_size=3).map(lambda parts: ".".join([*parts, "example"]))
NAMES = st.sampled_from(["orders", "sales"])
ADDRESSES = st.builds(lambda name, domain: f"{name}@{domain}", NAMES, DOMAINS)
RECIPIENTS = st.one_of(DOMAINS, ADDRESSES, DOMAINS.map(lambda domain: f".{domain}"))


@given(RECIPIENTS, RECIPIENTS, ADDRESSES)
def test_two_that_match_one_address_meet(one: str, other: str, address: str) -> None:
    if matches(one, address) and matches(other, address):
        assert meet(one, other) and meet(other, one)


@given(RECIPIENTS, RECIPIENTS)
def test_meeting_is_mutual_and_letters_do_not_count(one: str, other: str) -> None:
    assert meet(one, other) == meet(other, one) == meet(one.upper(), other)
    assert meet(one, one)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("orders@x.example", "orders+a@x.example", True),
        ("orders+a@x.example", "orders+b@x.example", False),
        ("orders@x.example", "x.example", True),
        ("orders@x.example", ".x.example", False),
        ("orders@a.x.example", ".x.example", True),
        ("a.x.example", ".x.example", True),
        (".a.x.example", ".x.example", True),
        ("x.example", ".x.example", False),
        ("ax.example", ".x.example", False),
    ],
)
def test_whether_two_recipients_meet(one: str, other: str, both: bool) -> None:
    assert meet(one, other) is both


def test_domains_of_recipients_and_those_above() -> None:
    assert domain_of("Orders@A.Example") == "a.example"
    assert domain_of(".a.example") == "a.example"
    assert with_parents("a.b.example") == ("a.b.example", "b.example")
    assert with_parents("b.example") == ("b.example",)
    assert with_parents("localhost") == ("localhost",)
