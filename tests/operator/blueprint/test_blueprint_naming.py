"""Names fit each service, and different things have different names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.blueprint import naming

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
CLUSTER = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?", fullmatch=True)
ROLE = st.sampled_from(["ingest", "machine", "process", "dead-letters", "on-failure"])
KIND = st.sampled_from(sorted(naming.ALPHABETS))
IDENTITY = st.tuples(CLUSTER, LABEL, LABEL, ROLE)


@given(KIND, IDENTITY)
def test_a_name_has_the_length_and_alphabet_of_its_service(
    kind: str, identity: tuple[str, str, str, str]
) -> None:
    cluster, namespace, name, role = identity
    found = naming.physical(kind, cluster, namespace, name, role=role)
    alphabet = naming.ALPHABETS[kind]
    assert len(found) <= alphabet.limit
    assert not re.search(alphabet.forbidden, found)
    assert re.match(r"[a-z]", found) and re.search(r"[a-z0-9]$", found)


@given(KIND, IDENTITY, IDENTITY)
def test_different_things_have_different_names(
    kind: str, one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    names = {naming.physical(kind, c, ns, n, role=r) for c, ns, n, r in {one, other}}
    assert len(names) == len({one, other})


@given(IDENTITY)
def test_a_name_starts_with_its_clusters_prefix_whatever_is_truncated(
    identity: tuple[str, str, str, str],
) -> None:
    cluster, namespace, name, role = identity
    found = naming.physical("machine", cluster, namespace, name, role=role)
    assert found.startswith(naming.prefix(cluster))
    assert f"-{role}-" in found


def test_moving_a_dash_between_namespace_and_name_gives_another_name() -> None:
    one = naming.physical("role", "c", "a-b", "c", role="ingest")
    other = naming.physical("role", "c", "a", "b-c", role="ingest")
    assert one != other


def test_a_name_never_changes() -> None:
    found = naming.physical("role", "prod", "default", "customer-data-api", role="ingest")
    assert found == "weir-prod-default-customer-data-api-ingest-hw33ifbh"


@pytest.mark.parametrize("cluster", ["", "Prod", "a_b", "x" * 17, "-a", "a-"])
def test_a_malformed_cluster_id_is_refused_with_the_rule(cluster: str) -> None:
    with pytest.raises(ValueError, match="1 to 16"):
        naming.physical("role", cluster, "ns", "name", role="ingest")


@given(LABEL, LABEL)
def test_namespaces_never_share_a_database_role(one: str, other: str) -> None:
    assert (naming.database_role(one) == naming.database_role(other)) == (one == other)
