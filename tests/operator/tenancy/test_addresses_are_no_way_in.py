"""A literal address in a spec is judged by what it leads to, however it is spelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from weir.blueprint import check

API = {"schedule": "rate(1 hour)"}


def reasons(make_world: Callable[..., Any], url: str, **egress: Any) -> set[str]:
    return {one.reason for one in problems(make_world, url, **egress)}


def problems(make_world: Callable[..., Any], url: str, **egress: Any) -> list[Any]:
    grants = [{"namespaces": {"names": ["default"]}, "egress": egress}]
    world = make_world({"grants": grants}, {"source": {"restApi": {"endpoint": url, **API}}})
    known = check.Known("default", {}, {}, world.facts, world.grant)
    return list(check.datasource_problems(world.source, known))


INSIDE = {
    "private": "http://10.1.2.3/",
    "private in an IPv6 address": "http://[::ffff:192.168.0.1]/",
    "private behind 6to4": "http://[2002:0a01:0203::]/",
    "private behind NAT64": "http://[64:ff9b::10.1.2.3]/",
    "unique local": "http://[fd12::1]/",
}
NEVER = {
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "metadata in an IPv6 address": "http://[::ffff:169.254.169.254]/",
    "metadata behind NAT64": "http://[64:ff9b::169.254.169.254]/",
    "metadata over IPv6": "http://[fd00:ec2::254]/",
    "pod identity over IPv6": "http://[fd00:ec2::23]/",
    "container credentials": "http://169.254.170.2/",
    "link-local": "http://[fe80::1]/",
    "no host's address": "http://0.0.0.0/",
    "no host's address, IPv6": "http://[::]/",
    "everybody's": "http://224.0.0.1/",
}


@pytest.mark.parametrize("url", INSIDE.values(), ids=INSIDE)
def test_the_inner_network_needs_a_grant(make_world: Callable[..., Any], url: str) -> None:
    assert "EgressNotGranted" in reasons(make_world, url)
    assert "EgressNotGranted" not in reasons(make_world, url, allowPrivate=True)


@pytest.mark.parametrize("url", NEVER.values(), ids=NEVER)
def test_no_grant_lets_credentials_be_asked_for(make_world: Callable[..., Any], url: str) -> None:
    assert "EgressNotGranted" in reasons(make_world, url, allowPrivate=True, allowLoopback=True)
    assert "ask" not in " ".join(str(one) for one in problems(make_world, url))


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://[::1]/", "http://localhost/"])
def test_loopback_needs_a_grant_of_its_own(make_world: Callable[..., Any], url: str) -> None:
    assert "EgressNotGranted" in reasons(make_world, url, allowPrivate=True)
    assert "EgressNotGranted" not in reasons(make_world, url, allowLoopback=True)
