"""Where requests may go, judged by the address that is connected to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from weir_contract.sources import Egress
from weir_lambdas.common.egress import EgressClient, Request, host_allowed, refusal
from weir_lambdas.common.errors import EgressRefused

LOOPBACK = Egress(allow_loopback=True)
EVERYTHING = Egress(allow_loopback=True, allow_private=True)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.1.1",
        "169.254.169.254",
        "169.254.170.2",
        "fd00:ec2::254",
        "fe80::1%eth0",
        "fc00::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "255.255.255.255",
        "192.0.2.1",
        "::127.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b:1::a00:1",
        "64:ff9b:1:2::1",
        "2001:0:a9fe:a9fe::1",
        "fec0::1",
        "192.0.0.192",
    ],
)
def test_only_public_addresses_are_allowed_by_default(address: str) -> None:
    assert refusal(address, Egress()) is not None


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert refusal(address, Egress()) is None


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "169.254.170.2",
        "::169.254.169.254",
        "::ffff:0:a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
    ],
)
def test_metadata_services_are_refused_whatever_is_allowed(address: str) -> None:
    assert refusal(address, EVERYTHING) is not None


def test_private_addresses_can_be_switched_on() -> None:
    assert refusal("10.0.0.1", EVERYTHING) is None
    assert refusal("127.0.0.1", Egress(allow_private=True)) is not None


def test_patterns_need_a_subdomain() -> None:
    assert host_allowed("api.example.com", ["*.example.com"])
    assert not host_allowed("example.com", ["*.example.com"])
    assert not host_allowed("badexample.com", ["*.example.com"])


def test_a_name_is_judged_by_every_address_it_resolves_to() -> None:
    client = EgressClient(
        Egress(), "http://api.example.com/", resolver=lambda host, port: ["1.1.1.1", "10.0.0.1"]
    )
    with pytest.raises(EgressRefused, match=r"resolves to 10\.0\.0\.1"):
        client.send(Request("http://api.example.com/"))


def test_the_judged_address_is_the_one_connected_to(api: Any) -> None:
    """A name that answers differently the second time gains nothing: it is asked once."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    port = api.url.rpartition(":")[2]
    client = EgressClient(
        LOOPBACK, f"http://rebind.example:{port}/", resolver=lambda host, _port: next(answers)
    )
    answer, _ = client.send(Request(f"http://rebind.example:{port}/x"))
    assert json.loads(answer.read()) == []
    assert api.calls[0].headers["Host"] == f"rebind.example:{port}"


def test_a_redirect_to_a_refused_address_is_not_followed(api: Any) -> None:
    api.answer = lambda call, http: (302, {"Location": "http://169.254.169.254/latest"}, b"")
    client = EgressClient(EVERYTHING, api.url)
    with pytest.raises(EgressRefused, match="metadata"):
        client.send(Request(api.url + "/a"))


def test_credentials_do_not_follow_a_redirect_to_another_origin(api: Any, other_api: Any) -> None:
    api.answer = lambda call, http: (307, {"Location": f"{other_api.url}/there"}, b"")
    client = EgressClient(LOOPBACK, api.url)
    client.send(
        Request(api.url, headers={"Authorization": "Bearer x", "X-Key": "y", "Accept": "a"})
    )
    seen = {name.lower() for name in other_api.calls[0].headers}
    assert "accept" in seen
    assert not seen & {"authorization", "x-key"}


def test_credentials_follow_to_allowed_hosts(api: Any, other_api: Any) -> None:
    api.answer = lambda call, http: (307, {"Location": f"{other_api.url}/there"}, b"")
    client = EgressClient(LOOPBACK, api.url, allowed_hosts=["127.0.0.1"])
    client.send(Request(api.url, headers={"Authorization": "Bearer x"}))
    assert other_api.calls[0].headers["Authorization"] == "Bearer x"


def test_a_body_is_not_carried_to_another_origin(api: Any, other_api: Any) -> None:
    api.answer = lambda call, http: (308, {"Location": other_api.url}, b"")
    with pytest.raises(EgressRefused, match="body"):
        EgressClient(LOOPBACK, api.url).send(Request(api.url, "POST", {}, b"{}"))
    assert not other_api.calls


def test_a_platform_with_a_host_list_allows_no_other(api: Any) -> None:
    client = EgressClient(Egress(allow_loopback=True, hosts=("*.example.com",)), api.url)
    with pytest.raises(EgressRefused, match="none of the hosts"):
        client.send(Request(api.url))


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/", "http://user:pw@x/", "http://", "http://x:99999/"]
)
def test_odd_urls_are_refused_without_showing_credentials(url: str) -> None:
    with pytest.raises(EgressRefused) as caught:
        EgressClient(EVERYTHING, "http://x/").send(Request(url))
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("host", ["a..example.com", "x" * 64 + ".example.com"])
def test_a_name_that_no_host_can_have_is_refused_in_words(host: str) -> None:
    with pytest.raises(EgressRefused, match="no name that a host can have"):
        EgressClient(EVERYTHING, f"http://{host}/").send(Request(f"http://{host}/"))


def test_https_goes_through_the_same_guard() -> None:
    client = EgressClient(Egress(), "https://api.example.com/", resolver=lambda h, p: ["10.1.1.1"])
    with pytest.raises(EgressRefused, match="private"):
        client.send(Request("https://api.example.com/"))
