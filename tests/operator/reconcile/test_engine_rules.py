"""Rules of the engine that need no cluster: intervals, restarts, echoes, words, keys, listings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_cloud import TRAITS, Cloud, adapters

from weir.api.v1alpha1.platform import Platform
from weir.aws.documents import policy
from weir.aws.errors import AccessDenied, Conflict, Transient
from weir.blueprint.policies import key_policy
from weir.kube.keys import Key
from weir.reconcile import keypolicy
from weir.reconcile.apply import ECHO_SECONDS, Applier
from weir.reconcile.inventory import Inventory
from weir.reconcile.look import halt_of
from weir.reconcile.oversight import split
from weir.reconcile.view import View, recorded
from weir.reconcile.world import Worlds, drift_seconds
from weir.resource import Owner, Resource


def platform(interval: str = "10m") -> Platform:
    return Platform.model_validate(
        {
            "metadata": {"name": "p"},
            "spec": {
                "region": "eu-central-1",
                "accountId": "111122223333",
                "driftInterval": interval,
            },
        }
    )


@pytest.mark.parametrize(
    ("interval", "bound", "expected"),
    [("1m", 600, 60), ("1h", 600, 600), (None, 600, 600), ("0s", 600, 1), ("1m", 0, 0)],
)
def test_the_platforms_drift_interval_rules_below_the_operators(interval, bound, expected):
    assert drift_seconds(interval, bound) == expected


def test_a_changed_drift_interval_counts_without_a_restart():
    with ThreadPoolExecutor(1) as pool:
        worlds = Worlds(pool, lambda: 0.0, 600, make_adapters=lambda _s: {})
        assert worlds.of(platform("5m")).inventory.ttl == 300
        assert worlds.of(platform("1m")).inventory.ttl == 60
        assert len(worlds.known()) == 1


def test_a_restart_with_many_objects_looks_once_at_each_kind():
    """A thousand objects of five resources cost five looks, not five thousand."""
    cloud = Cloud()
    count = 1000
    owners = [Owner("c", "DataSource", "team", f"s{i}", f"u{i}") for i in range(count)]
    made = {
        owner: [Resource(kind, kind, f"{kind}-{owner.name}", {}) for kind in TRAITS]
        for owner in owners
    }
    objects = {
        Key("DataSource", "team", owner.name): {
            "kind": "DataSource",
            "metadata": {"namespace": "team", "name": owner.name},
            "spec": {"platform": "p"},
            "status": {
                "resources": [
                    {"kind": one.kind, "id": one.logical_id, "name": one.name} for one in resources
                ]
            },
        }
        for owner, resources in made.items()
    }
    with ThreadPoolExecutor(1) as pool:
        first = Inventory(adapters(cloud), 600, lambda: 0.0)
        for owner, resources in made.items():
            Applier(adapters(cloud), first, pool).apply(owner, resources, owner.tags)
        cloud.calls.clear()
        view = View(objects.get, lambda kind: objects.values() if kind == "DataSource" else ())
        worlds = Worlds(
            pool,
            lambda: 0.0,
            600,
            make_adapters=lambda _session: adapters(cloud),
            expected=lambda name: recorded(view, name),
        )
        world = worlds.of(platform())
        for owner, resources in made.items():
            assert world.applier.apply(owner, resources, owner.tags).converged
    assert len(cloud.calls) == len(TRAITS)
    assert not cloud.writes


def test_what_nobody_asks_for_any_more_is_looked_at_no_more():
    cloud, now = Cloud(), [0.0]
    inventory = Inventory(adapters(cloud), 60, lambda: now[0])
    inventory.get([("role", "gone"), ("role", "kept")])
    for _ in range(10):
        now[0] += 60
        inventory.get([("role", "kept")])
    assert cloud.calls[-1] == ("survey", "role", "kept")


def test_a_difference_right_after_our_own_write_is_an_echo_and_later_it_is_drift():
    cloud, now = Cloud(), [0.0]
    owner = Owner("c", "DataSource", "team", "s", "u")
    wanted = [Resource("schedule", "tick", "tick", {"Rate": "1"})]
    with ThreadPoolExecutor(1) as pool:
        inventory = Inventory(adapters(cloud), 1, lambda: now[0])
        applier = Applier(adapters(cloud), inventory, pool)
        assert not applier.apply(owner, wanted, owner.tags).echoes
        for moment, echoes in ((5.0, 1), (6.0 + 2 * ECHO_SECONDS, 0)):
            now[0] = moment
            cloud.things["schedule", "tick"].properties["Rate"] = "other"
            result = applier.apply(owner, wanted, owner.tags)
            assert [action.name for action in result.done] == ["tick"]
            assert len(result.echoes) == echoes


def denied(text: str) -> AccessDenied:
    return AccessDenied(text, action="a:B", target="*")


def test_the_text_of_several_failures_begins_with_what_the_reason_says():
    halt = halt_of([denied("a role is missing"), Conflict("the bucket belongs to x")])
    assert halt.reason == "Conflict"
    assert halt.message == "the bucket belongs to x; AccessDenied: a role is missing"


def test_equal_failures_are_told_once_and_many_are_counted():
    halt = halt_of([Transient("a"), Transient("a"), *(Transient(f"b{i}") for i in range(5))])
    assert halt.message == "a; b0; b1; and 3 more"


def facts():
    from weir.blueprint.platform import platform_facts

    return platform_facts(platform(), cluster="c", artifact_index={})


def test_the_policy_of_a_key_of_our_own_lacks_nothing():
    document = policy(key_policy(facts(), []))
    assert keypolicy.missing(document, "111122223333", "eu-central-1") == []


def test_an_adopted_key_lets_ses_in_only_where_mails_are_received():
    place = ("111122223333", "eu-central-1")
    silent, receiving = (policy(key_policy(facts(), [], one)) for one in (False, True))
    assert keypolicy.missing(silent, *place) == []
    (lacking,) = keypolicy.missing(silent, *place, receives=True)
    assert str(lacking) == "ses.amazonaws.com lacks kms:Decrypt, kms:GenerateDataKey"
    assert keypolicy.missing(receiving, *place, receives=True) == []


@pytest.mark.parametrize("sid", ["Account", "Logs", "Events", "Alarms"])
def test_each_statement_that_a_key_lacks_is_named(sid):
    document = key_policy(facts(), [])
    document["Statement"] = [one for one in document["Statement"] if one["Sid"] != sid]
    (lacking,) = keypolicy.missing(policy(document), "111122223333", "eu-central-1")
    named = {"Account": "111122223333", "Logs": "logs.eu", "Events": "events.", "Alarms": "cloudw"}
    assert named[sid] in str(lacking)
    assert "kms:Decrypt" in str(lacking)
    document["Statement"].append(lacking.statement)
    assert keypolicy.missing(policy(document), "111122223333", "eu-central-1") == []


def test_a_listing_tells_what_is_gone_and_what_is_behind_but_not_what_came_later():
    key = {name: Key("Pipeline", "n", name) for name in "abcd"}
    gone, behind = split(
        listed={key["a"]: 5, key["b"]: 9},
        brought={key["a"]: 5, key["b"]: 7, key["c"]: 6, key["d"]: 12},
        at=10,
    )
    assert gone == [key["c"]]
    assert behind == {key["b"]: 9}
