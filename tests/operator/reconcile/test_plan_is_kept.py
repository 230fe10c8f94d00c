"""Applying a plan does what it said and no more, whatever there was before; then the plan is empty."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from fake_cloud import Cloud, Thing, adapters
from hypothesis import given, settings
from hypothesis import strategies as st

from weir.reconcile.apply import Applied, Applier, Entry
from weir.reconcile.inventory import Inventory
from weir.reconcile.plan import Action, Plan, Verb
from weir.reconcile.unknowns import TEXT, has_unknown, united, united_text
from weir.resource import UNKNOWN, Deletion, Owner, Ref, Resource

OWNER = Owner("c1", "DataSource", "team", "orders", "uid-1")
OTHER = Owner("c1", "DataSource", "team", "other", "uid-2")
BLIND = {"function": frozenset({"Env"}), "schedule": frozenset({"Target", "Tags"})}
"""What listings do not tell."""
WRITES = {
    Verb.CREATE: ("create",),
    Verb.UPDATE: ("update",),
    Verb.ADOPT: ("update",),
    Verb.REPLACE: ("delete", "create"),
    Verb.DELETE: ("delete",),
}
POOL = ThreadPoolExecutor(1)


@dataclass
class Account:
    """A cloud with an operator, and somebody who plans beside it."""

    cloud: Cloud = field(default_factory=lambda: Cloud(blind=dict(BLIND)))
    status: list[Entry] = field(default_factory=list)

    def applier(self, resources: list[Resource], deeply: bool) -> Applier:
        """One that knows nothing yet."""
        kinds = adapters(self.cloud)
        inventory = Inventory(kinds, 60, lambda: 0.0)
        keys = [one.key for one in (*resources, *self.status)]
        inventory.expect(keys, deeply=deeply)
        return Applier(kinds, inventory, POOL)

    def plan(self, resources: list[Resource], adopt: bool = False) -> Plan:
        return self.applier(resources, True).plan(OWNER, resources, OWNER.tags, self.status, adopt)

    def apply(self, resources: list[Resource], adopt: bool = False) -> Applied:
        def write_ahead(entries: list[Entry]) -> None:
            self.status = entries

        self.cloud.calls.clear()
        result = self.applier(resources, False).apply(
            OWNER, resources, OWNER.tags, self.status, adopt, write_ahead=write_ahead
        )
        self.status = result.entries
        return result

    @property
    def writes(self) -> list[tuple[str, str, str]]:
        return [call for call in self.cloud.calls if call[0] in ("create", "update", "delete")]


def said(actions: tuple[Action, ...]) -> list[tuple[str, str, str]]:
    """The calls that a plan announces. What would lose data is refused."""
    return [
        (call, action.kind, action.name)
        for action in actions
        for call in WRITES.get(action.verb, ())
        if not (action.verb is Verb.REPLACE and action.loses_data)
    ]


@st.composite
def specs(draw: st.DrawFn) -> list[Resource]:
    """What an object may want: a version of each resource, some of them left out."""
    version = draw(st.sampled_from("123"))
    policies = draw(st.permutations(["a", "b", version]))
    found = [
        Resource("bucket", "data", "data", {"Region": draw(st.sampled_from(["eu", "eu", "us"]))}),
        Resource("object", "config", f"config-{version}", {"Body": version}, tagged=False),
        Resource("role", "role", "role", {"Policies": list(policies)}),
        Resource(
            "function",
            "fn",
            "fn",
            {
                "Role": Ref("role"),
                "Package": draw(st.sampled_from(["Zip", "Image"])),
                "Code": draw(st.sampled_from("ab")),
                "Env": {"C": Ref("config", "id")},
            },
        ),
        Resource("schedule", "tick", "tick", {"Target": Ref("fn", "id"), "Rate": version}),
    ]
    left_out = draw(st.sampled_from([0, 0, 1, 2, 3]))
    return found[: len(found) - left_out]


def drift(account: Account, what: str) -> None:
    """Somebody else does something that a listing shows."""
    things = account.cloud.things
    if what == "gone" and ("role", "role") in things:
        del things["role", "role"]
    elif what == "changed" and ("role", "role") in things:
        things["role", "role"].properties["Policies"] = ["x"]
    elif what == "untagged" and ("function", "fn") in things:
        things["function", "fn"].tags.clear()
    elif what == "foreign" and ("role", "role") not in things:
        things["role", "role"] = Thing({"Policies": ["z"]}, dict(OTHER.tags), 999)
    elif what == "unowned" and ("function", "fn") not in things:
        things["function", "fn"] = Thing({"Package": "Zip"}, {}, 998)


steps = st.lists(
    st.tuples(
        specs(),
        st.sampled_from(["", "", "gone", "changed", "untagged", "foreign", "unowned"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=250, deadline=None)
@given(steps)
def test_apply_writes_what_the_plan_said_and_no_more(history) -> None:
    account = Account()
    for resources, what, adopt in history:
        drift(account, what)
        before = account.cloud.world()
        plan = account.plan(resources, adopt)
        assert account.cloud.world() == before, "a plan changed something"
        result = account.apply(resources, adopt)
        announced = said(plan.actions)
        assert set(account.writes) <= set(announced)
        assert len(account.writes) == len(set(account.writes))
        refused = [one for one in plan.writes if one.verb is Verb.REPLACE and one.loses_data]
        if plan.blocked or refused:
            assert result.problems
            continue
        open_values = {
            (call, one.kind, one.name)
            for one in plan.writes
            if one.verb is Verb.UPDATE and all(has_unknown(x.after) for x in one.changes)
            for call in WRITES[one.verb]
        }
        assert set(announced) - open_values <= set(account.writes)
        assert result.converged
        assert not account.plan(resources, adopt).has_changes


@settings(max_examples=100, deadline=None)
@given(specs(), st.booleans(), st.sampled_from(list(Deletion)))
def test_a_deletion_takes_what_its_plan_said(resources, keep_data, policy) -> None:
    account = Account()
    resources = [
        replace(one, deletion=policy) if one.kind == "bucket" else one for one in resources
    ]
    account.apply(resources)
    planner = account.applier(resources, True)
    actions = planner.plan_delete(OWNER, account.status, resources, keep_data)
    account.cloud.calls.clear()
    account.applier(resources, False).delete(OWNER, account.status, resources, keep_data)
    assert account.writes == said(actions)
    losing = [one.name for one in actions if one.loses_data]
    assert losing == (["data"] if policy is Deletion.DELETE else [])
    kept = [one.name for one in actions if one.verb is Verb.RETAIN]
    assert [name for kind, name in account.cloud.things if kind == "bucket"] == kept


def test_a_plan_keeps_what_was_adopted_as_apply_does() -> None:
    account = Account()
    wanted = [Resource("role", "role", "role", {"Policies": ["a"]})]
    account.apply(wanted)
    account.cloud.things["role", "role"].tags.clear()
    account.apply(wanted, adopt=True)
    (action,) = account.plan([]).actions
    assert (action.verb, action.reason) == (
        Verb.RETAIN,
        "no longer wanted, but was there before Weir",
    )
    account.apply([])
    assert account.writes == [] and ("role", "role") in account.cloud.things


def test_a_plan_looks_where_a_listing_is_blind() -> None:
    """The operator trusts its marks between deep looks; who asks for a plan wants to know."""
    account = Account()
    resources = [Resource("function", "fn", "fn", {"Package": "Zip", "Env": {"A": "1"}})]
    account.apply(resources)
    account.cloud.things["function", "fn"].properties["Env"] = {"A": "2"}
    changes = [one for action in account.plan(resources).writes for one in action.changes]
    assert [(one.path, one.before, one.after) for one in changes] == [("Env.A", "2", "1")]


texts = st.text("ab-/.1", max_size=12)


@given(texts, st.lists(texts, min_size=1, max_size=3), texts)
def test_what_two_drafts_agree_on_is_known_and_the_rest_is_not(head, parts, tail) -> None:
    def draft(filler: str) -> str:
        return head + "/" + filler.join(parts) + "/" + tail

    same = united_text(draft("x"), draft("x"))
    assert same == draft("x")
    other = united_text(draft("x9"), draft("y8"))
    assert has_unknown(other) == (len(parts) > 1)
    if len(parts) > 1:
        start, end = other.split(TEXT)[0], other.split(TEXT)[-1]
        assert draft("x9").startswith(start) and draft("x9").endswith(end)


def test_a_hash_of_something_unknown_is_unknown_wherever_it_stands() -> None:
    def draft(key: str, digest: str) -> list[Resource]:
        name = f"s3://bucket/config/orders-{digest}.json"
        properties = {"Key": key, "Sha256": digest, "Tags": ["a", name], "Size": 3}
        return [Resource("s3.Object", "config", name, properties)]

    one, two = "arn:aws:unknown:::weir-one", "arn:aws:unknown:::weir-two"
    found = united(draft(one, "1a2b"), draft(two, "9f8e"))[0]
    assert found.name == f"s3://bucket/config/orders-{TEXT}.json"
    assert found.properties == {
        "Key": UNKNOWN,
        "Sha256": UNKNOWN,
        "Tags": ["a", f"s3://bucket/config/orders-{TEXT}.json"],
        "Size": 3,
    }
