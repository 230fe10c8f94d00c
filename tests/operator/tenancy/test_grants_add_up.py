"""What several grants come to for one namespace, and what none comes to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.api.v1alpha1 import Platform
from weir.blueprint.grants import NamespaceGrant, namespace_grant


def platform(*grants: dict[str, Any]) -> Platform:
    return Platform.model_validate(
        {
            "metadata": {"name": "default"},
            "spec": {"region": "eu-central-1", "accountId": "111122223333", "grants": list(grants)},
        }
    )


def of(names: list[str] | None = None, labels: dict[str, str] | None = None, **more: Any) -> Any:
    selector: dict[str, Any] = {}
    if names:
        selector["names"] = names
    if labels:
        selector["matchLabels"] = labels
    return {"namespaces": selector, **more}


def test_a_namespace_that_no_grant_selects_is_granted_nothing() -> None:
    found = namespace_grant(platform(of(["a"])), "b", {"team": "x"})
    assert not found.granted
    assert not found.allow and not found.external_arns and not found.secret_prefixes


def test_all_labels_must_match() -> None:
    owner = platform(of(labels={"team": "x", "stage": "prod"}))
    assert namespace_grant(owner, "a", {"team": "x", "stage": "prod", "more": "y"}).granted
    assert not namespace_grant(owner, "a", {"team": "x"}).granted
    assert not namespace_grant(owner, "a", {"team": "x", "stage": "test"}).granted
    assert not namespace_grant(owner, "a", None).granted


def test_grants_add_up_and_a_silent_one_widens_no_limit() -> None:
    found = namespace_grant(
        platform(
            of(["a"], egress={"hosts": ["one.example.com"]}, redshift={"schemas": ["sales"]}),
            of(["a"], egress={"hosts": ["two.example.com"]}, allow=["delete"]),
            of(["a"]),
            of(["b"], egress={"hosts": ["three.example.com"]}, allow=["scripts"]),
        ),
        "a",
    )
    assert found.may_call("one.example.com") and found.may_call("two.example.com")
    assert not found.may_call("three.example.com")
    assert found.may_load("SALES") and not found.may_load("payroll")
    assert found.allow == {"delete"}


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "notexample.com", False),
        ("*.example.com", "example.com.evil.org", False),
        ("api.example.com", "API.example.COM", True),
        ("api.example.com", "api.example.com.evil.org", False),
    ],
)
def test_a_host_pattern_covers_what_it_says(pattern: str, host: str, covered: bool) -> None:
    grant = NamespaceGrant("a", True, hosts=(pattern,))
    assert grant.may_call(host) is covered


@given(text=st.text(max_size=60), granted=st.text("abc:/-", min_size=1, max_size=20))
def test_what_a_tenant_writes_is_never_a_pattern(text: str, granted: str) -> None:
    """Only the owner's side is one: a tenant's ``*`` matches itself."""
    grant = NamespaceGrant("a", True, external_arns=(granted,), bucket_prefixes=(granted,))
    assert grant.may_use(text) is (text == granted)
    assert grant.may_write(text) is (text == granted)
