"""Where the mails of a domain are sent, asked of a name server on the loopback."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from name_server import NameServer, serving
from rig import Told

from weir.api.v1alpha1.platform import Platform
from weir.kube.conditions import Condition, merged
from weir.reconcile import mx
from weir.reconcile.look import Look
from weir.reconcile.mail import follow_route
from weir.reconcile.mx import Exchangers, routed

REGION = "eu-west-1"
SES = f"inbound-smtp.{REGION}.amazonaws.com"


def asked(server: NameServer, *domains: str) -> Condition:
    with serving(server) as address:
        return routed(REGION, Exchangers(address).of(domains))


@pytest.mark.parametrize(
    ("records", "status", "says"),
    [
        ([f"10 {SES}."], "True", f"lead to {SES}"),
        (["5 mx.example.org.", f"10 {SES.upper()}."], "True", f"lead to {SES}"),
        (
            ["20 b.example.org.", "5 a.example.org."],
            "False",
            "lead to a.example.org, b.example.org",
        ),
        ([], "False", "shop.example has no MX record"),
        (["0 ."], "False", "shop.example has no MX record"),
        (["10 inbound-smtp.us-east-1.amazonaws.com."], "False", "inbound-smtp.us-east-1"),
    ],
)
def test_where_a_domains_mails_go_is_told(records: list[str], status: str, says: str) -> None:
    found = asked(NameServer({"shop.example": records}), "shop.example")
    assert (found.type, found.status) == ("MailRouted", status)
    assert says in found.message
    assert (f"publish the MX record 10 {SES}" in found.message) == (status == "False")


def test_one_domain_that_goes_elsewhere_is_named_among_others() -> None:
    server = NameServer({"good.example": [f"10 {SES}."]})
    found = asked(server, "gone.example", "good.example")
    assert found.reason == "MailGoesElsewhere"
    assert "gone.example has no MX record" in found.message
    assert "good.example" not in found.message


def test_a_silent_resolver_is_waited_for_once_a_look_and_what_was_known_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mx, "LOOKUP_SECONDS", 0.2)
    now = [0.0]
    server = NameServer({"a.example": [f"10 {SES}."]})
    with serving(server) as address:
        exchangers = Exchangers(address, lambda: now[0])
        assert routed(REGION, exchangers.of(["a.example"])).status == "True"
        assert exchangers.of(["a.example"]) and server.asked == ["a.example"]
        server.silent = True
        now[0] = mx.FRESH_SECONDS + 1
        found = exchangers.of(["a.example", "b.example", "c.example"])
        assert found == {"a.example": (SES,), "b.example": None, "c.example": None}
        verdict = routed(REGION, found)
        assert (verdict.status, verdict.reason) == ("Unknown", "NotLookedUp")
        assert "b.example, c.example" in verdict.message
        server.silent = False
        assert exchangers.of(["b.example"]) == {"b.example": ()}


def test_a_machine_without_resolvers_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.resolver

    def unconfigured(*_: object, **__: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", unconfigured)
    assert Exchangers().of(["a.example"]) == {"a.example": None}


@pytest.mark.parametrize(
    ("endpoint", "stated", "says"),
    [
        (None, True, "False"),
        ("http://127.0.0.1:1", True, "False"),
        ("http://127.0.0.1:1", False, ""),
    ],
)
def test_a_source_is_told_of_once_and_not_on_an_aws_of_ones_own(
    endpoint: str | None, stated: bool, says: str
) -> None:
    told = Told()
    server = NameServer({"shop.example": ["10 mx.elsewhere.example."]})
    spec: dict[str, Any] = {"region": REGION, "accountId": "000000000000"}
    platform = Platform.model_validate(
        {
            "metadata": {"name": "default"},
            "spec": spec | ({"endpointUrl": endpoint} if endpoint else {}),
        }
    )
    recipients = ["orders@shop.example", "shop.example", ".shop.example"]
    obj: dict[str, Any] = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "DataSource",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "1", "generation": 1},
        "spec": {"source": {"email": {"receive": {"recipients": recipients}}}},
    }
    with serving(server) as address:
        exchangers = Exchangers(address)
        exchangers.stated = stated
        services: Any = SimpleNamespace(exchangers=exchangers, events=told)
        for _ in range(2):
            look = Look(services, obj)
            follow_route(look, platform)
            found = look.routed
            assert (found.status if found else "") == says
            if found:
                lines = merged([], [found], 1, "2026-01-01T00:00:00Z")
                obj["status"] = {"conditions": lines}
    expected = ["MailGoesElsewhere"] if says else []
    assert [reason for _, reason, _ in told.said] == expected
    assert server.asked == (["shop.example"] if says else [])
