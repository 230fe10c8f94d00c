from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fake_cloud import TRAITS, Cloud, Crash, NthCall, Thing, adapters, throttled

from weir.aws.errors import Conflict, Transient
from weir.reconcile.apply import Applied, Applier, Entry, NotConverging
from weir.reconcile.inventory import Inventory
from weir.reconcile.plan import Verb, make_plan
from weir.resource import TAG_NAME, UNKNOWN, Observed, Owner, Ref, Resource, Traits

OWNER = Owner("c1", "DataSource", "team", "orders", "uid-1")


def wanted(version: str = "1") -> list[Resource]:
    return [
        Resource("bucket", "data", "data", {"Region": "eu"}),
        Resource("object", "config", f"config-{version}", {"Body": version}, tagged=False),
        Resource("role", "role", "role", {"Policies": ["a", "b"]}),
        Resource(
            "function",
            "fn",
            "fn",
            {"Role": Ref("role"), "Package": "Zip", "Code": version, "Env": {"C": Ref("config")}},
        ),
        Resource("schedule", "tick", "tick", {"Target": Ref("fn"), "Rate": version}),
    ]


class Operator:
    """What the engine does around apply: it keeps status, and a crash loses all but that."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.status: list[Entry] = []
        self.time = 0.0
        self.pool = ThreadPoolExecutor(1)
        self.restart()

    def restart(self) -> None:
        kinds = adapters(self.cloud)
        self.inventory = Inventory(kinds, 60, lambda: self.time)
        self.applier = Applier(kinds, self.inventory, self.pool)

    def apply(self, resources: list[Resource], **more) -> Applied:
        def write_ahead(entries: list[Entry]) -> None:
            self.status = entries

        result = self.applier.apply(
            OWNER, resources, OWNER.tags, self.status, write_ahead=write_ahead, **more
        )
        self.status = result.entries
        return result

    def delete(self, **more) -> Applied:
        result = self.applier.delete(OWNER, self.status, **more)
        self.status = result.entries
        return result


@pytest.fixture
def cloud():
    return Cloud()


@pytest.fixture
def operator(cloud):
    return Operator(cloud)


def test_everything_is_created_in_order_with_its_owners_tags(operator, cloud):
    result = operator.apply(wanted())
    assert result.converged
    assert [entry.state for entry in result.entries] == ["Ready"] * 5
    assert cloud.things["function", "fn"].properties["Role"] == "arn:role:role"
    assert cloud.things["schedule", "tick"].tags[TAG_NAME] == "orders"
    created = [name for verb, _, name in cloud.writes]
    assert created.index("role") < created.index("fn") < created.index("tick")


def test_a_converged_object_causes_no_write_and_within_the_interval_no_read(operator, cloud):
    operator.apply(wanted())
    cloud.calls.clear()
    assert operator.apply(wanted()).done == []
    assert cloud.calls == []
    operator.time += 61
    operator.apply(wanted())
    assert cloud.writes == [] and len(cloud.calls) == len(TRAITS)


def test_drift_is_put_right_and_named(operator, cloud):
    operator.apply(wanted())
    cloud.things["function", "fn"].properties["Env"] = {"C": "else", "X": "1"}
    operator.time += 61
    (action,) = operator.apply(wanted()).done
    assert action.verb is Verb.UPDATE
    assert {one.path for one in action.changes} == {"Env.C", "Env.X"}
    assert cloud.things["function", "fn"].properties["Env"] == {"C": "arn:object:config-1"}


def test_what_someone_deleted_comes_back(operator, cloud):
    operator.apply(wanted())
    del cloud.things["schedule", "tick"]
    operator.time += 61
    assert [action.verb for action in operator.apply(wanted()).done] == [Verb.CREATE]


def test_a_new_content_addressed_object_replaces_the_old_one_after_its_users_changed(
    operator, cloud
):
    operator.apply(wanted("1"))
    cloud.calls.clear()
    operator.apply(wanted("2"))
    assert ("object", "config-2") in cloud.things
    assert ("object", "config-1") not in cloud.things
    assert cloud.writes[-1] == ("delete", "object", "config-1")


def test_changed_write_only_code_is_updated_once(operator, cloud):
    operator.apply(wanted("1"))
    operator.apply(wanted("2"))
    cloud.calls.clear()
    operator.apply(wanted("2"))
    assert cloud.writes == []


def test_an_immutable_property_means_replacement(operator, cloud):
    operator.apply(wanted())
    birth = cloud.things["function", "fn"].birth
    changed = [
        replace(one, properties={**one.properties, "Package": "Image"})
        if one.kind == "function"
        else one
        for one in wanted()
    ]
    result = operator.apply(changed)
    assert [action.verb for action in result.done] == [Verb.REPLACE]
    assert cloud.things["function", "fn"].birth > birth


def test_what_holds_data_is_never_replaced(operator, cloud):
    operator.apply(wanted())
    changed = [
        replace(one, properties={"Region": "us"}) if one.kind == "bucket" else one
        for one in wanted()
    ]
    (problem,) = operator.apply(changed).problems
    assert isinstance(problem.error, Conflict) and "lose its data" in str(problem.error)
    assert cloud.things["bucket", "data"].properties == {"Region": "eu"}


def test_a_name_that_another_owner_holds_is_a_conflict_and_is_left_alone(operator, cloud):
    other = Owner("c1", "DataSource", "team", "else", "u")
    cloud.things["role", "role"] = Thing({"Policies": []}, other.tags, 0)
    result = operator.apply(wanted())
    (problem,) = result.problems
    assert "belongs to DataSource team/else" in str(problem.error)
    assert cloud.things["role", "role"].properties == {"Policies": []}
    assert operator.delete().problems == []
    assert ("role", "role") in cloud.things


def test_the_same_owner_of_a_dead_incarnation_is_taken_back(operator, cloud):
    dead = replace(OWNER, uid="uid-0")
    cloud.things["role", "role"] = Thing({"Policies": ["a", "b"]}, dead.tags, 0)
    result = operator.apply(wanted())
    assert result.converged
    assert cloud.things["role", "role"].tags == OWNER.tags


def test_what_nobody_owns_is_a_conflict_until_adopted(operator, cloud):
    cloud.things["role", "role"] = Thing({"Policies": []}, {"cost": "x"}, 0)
    assert "weir.dev/adopt" in str(operator.apply(wanted()).problems[0].error)
    operator.time += 61
    result = operator.apply(wanted(), adopt=lambda _resource: True)
    assert Verb.ADOPT in [action.verb for action in result.done]
    assert cloud.things["role", "role"].tags == {
        "cost": "x",
        "weir.dev/adopted": "true",
        **OWNER.tags,
    }
    operator.time += 61
    assert [one.verb for one in operator.delete().done].count(Verb.RETAIN) == 2
    assert ("role", "role") in cloud.things


def test_a_difference_that_always_comes_back_stops_with_the_fields_names(operator, cloud):
    operator.apply(wanted())
    for _ in range(4):
        cloud.things["role", "role"].properties["Policies"] = ["evil"]
        operator.time += 61
        result = operator.apply(wanted())
    (problem,) = result.problems
    assert isinstance(problem.error, NotConverging) and "Policies" in str(problem.error)


def test_updates_that_aws_refuses_are_told_as_what_they_are(operator, cloud):
    operator.apply(wanted())
    cloud.things["role", "role"].properties["Policies"] = ["evil"]

    def fault(op: str, kind: str, name: str, done: bool) -> None:
        if (op, kind) == ("update", "role"):
            raise throttled()

    cloud.fault = fault
    for _ in range(5):
        operator.time += 61
        (problem,) = operator.apply(wanted()).problems
        assert not isinstance(problem.error, NotConverging)


def test_a_failure_blocks_only_what_depends_on_it(operator, cloud):
    cloud.fault = lambda op, kind, name, done: fail(op, kind)

    def fail(op: str, kind: str) -> None:
        if (op, kind) == ("create", "role"):
            raise throttled()

    result = operator.apply(wanted())
    states = {entry.id: entry.state for entry in result.entries}
    assert states == {
        "data": "Ready",
        "config": "Ready",
        "role": "Creating",
        "fn": "Waiting",
        "tick": "Waiting",
    }
    cloud.fault = None
    assert operator.apply(wanted()).converged


def test_deletion_takes_everything_in_reverse_order_and_leaves_data(operator, cloud):
    operator.apply(wanted())
    cloud.calls.clear()
    result = operator.delete()
    assert result.entries == [] and result.problems == []
    gone = [name for _, _, name in cloud.writes]
    assert gone.index("tick") < gone.index("fn") < gone.index("role")
    assert set(cloud.things) == {("bucket", "data")}


def test_deletion_takes_data_too_where_the_policy_says_so(operator, cloud):
    operator.apply(wanted())
    operator.delete(keep_data=False)
    assert cloud.things == {}


def test_what_is_no_longer_wanted_stays_while_it_has_things_of_others(operator, cloud, monkeypatch):
    monkeypatch.setitem(TRAITS, "object", Traits(contains=True))
    operator.restart()
    folder = Resource("object", "folder", "folder", {})
    operator.apply([folder])

    def full(operation: str, kind: str, name: str, done: bool) -> None:
        if operation == "delete":
            raise Conflict("folder still has tables (orders)")

    cloud.fault = full
    result = operator.apply([])
    assert result.problems == [] and result.entries == []
    (action,) = result.done
    assert action.verb is Verb.RETAIN and "still has tables (orders)" in action.reason
    assert set(cloud.things) == {("object", "folder")}

    cloud.fault = None
    assert operator.apply([folder]).converged
    operator.apply([])
    assert cloud.things == {}


def test_one_that_has_data_stays_whatever_others_of_its_kind_have(operator, cloud, monkeypatch):
    traits = Traits(data_in=lambda properties: properties.get("Format") == "table")
    monkeypatch.setitem(TRAITS, "object", traits)
    operator.restart()
    operator.apply(
        [
            Resource("object", "table", "table", {"Format": "table"}),
            Resource("object", "files", "files", {"Format": "files"}),
        ]
    )
    operator.delete()
    assert set(cloud.things) == {("object", "table")}


def test_an_external_resource_is_required_and_never_written(operator, cloud):
    secret = Resource("object", "secret", "theirs", external=True)
    user = Resource("role", "role", "role", {"Policies": [Ref("secret")]})
    result = operator.apply([secret, user])
    assert "is needed and does not exist" in str(result.problems[0].error)
    cloud.things["object", "theirs"] = Thing({}, {}, 0)
    assert operator.apply([secret, user]).converged
    operator.delete()
    assert set(cloud.things) == {("object", "theirs")}


def test_while_something_new_is_made_what_is_of_others_stays_known(operator, cloud):
    """Whoever reads the status meanwhile refers to it: pipelines do to their Platform's warehouse."""
    cloud.things["object", "theirs"] = Thing({}, {}, 0)
    theirs = Resource("object", "secret", "theirs", external=True)
    operator.apply([theirs])
    before = operator.status
    assert before[0].arn
    meanwhile: list[Entry] = []
    more = [theirs, Resource("role", "role", "role", {"Policies": []})]
    operator.applier.apply(OWNER, more, OWNER.tags, before, write_ahead=meanwhile.extend)
    assert [(one.id, one.state) for one in meanwhile] == [
        ("secret", "External"),
        ("role", "Creating"),
    ]
    assert meanwhile[0] == before[0]


def test_what_is_of_others_is_of_use_to_nobody_before_its_arn_is_known(operator, cloud):
    cloud.things["object", "theirs"] = Thing({}, {}, 0)
    theirs = Resource("object", "secret", "theirs", external=True)
    meanwhile: list[Entry] = []
    more = [theirs, Resource("role", "role", "role", {"Policies": []})]
    operator.applier.apply(OWNER, more, OWNER.tags, [], write_ahead=meanwhile.extend)
    assert [one.state for one in meanwhile] == ["Unseen", "Creating"]


def final_world() -> dict:
    operator = Operator(Cloud())
    operator.apply(wanted("1"))
    operator.apply(wanted("2"))
    return operator.cloud.world()


def calls_needed() -> int:
    operator = Operator(Cloud())
    operator.apply(wanted("1"))
    operator.apply(wanted("2"))
    return len(operator.cloud.calls)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_crash_at_any_call_and_a_restart_give_the_same_world(done):
    expected = final_world()
    for number in range(calls_needed() + 1):
        operator = Operator(Cloud())
        operator.cloud.fault = NthCall(number, Crash(), done)
        for version in ("1", "2", "2"):
            try:
                operator.apply(wanted(version))
            except Crash:
                operator.restart()
        operator.cloud.fault = None
        operator.apply(wanted("2"))
        assert operator.cloud.world() == expected, f"call {number}"
        operator.delete(keep_data=False)
        assert operator.cloud.things == {}, f"call {number}"


@pytest.mark.parametrize("error", [throttled, lambda: Transient("lost")], ids=["throttled", "lost"])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_an_error_at_any_write_heals_without_orphan_or_duplicate(error, done):
    expected = final_world()
    for number in range(calls_needed() + 1):
        operator = Operator(Cloud())
        operator.cloud.fault = NthCall(number, error(), done)
        for version in ("1", "2", "2", "2"):
            try:
                operator.apply(wanted(version))
            except (Transient, type(error())):
                operator.time += 5
        assert operator.cloud.world() == expected, f"call {number}"


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_crash_at_any_call_of_a_deletion_leaves_nothing_behind(done):
    for number in range(12):
        operator = Operator(Cloud())
        operator.apply(wanted())
        operator.cloud.fault = NthCall(number, Crash(), done)
        try:
            operator.delete(keep_data=False)
        except Crash:
            operator.restart()
            operator.cloud.fault = None
            operator.delete(keep_data=False)
        assert operator.cloud.things == {}


def test_one_look_serves_all_objects(cloud):
    kinds = adapters(cloud)
    for number in range(50):
        cloud.things["role", f"r{number}"] = Thing({}, {}, number)
    inventory = Inventory(kinds, 60, lambda: 0.0)
    inventory.expect(("role", f"r{number}") for number in range(50))
    for number in range(50):
        assert ("role", f"r{number}") in inventory.get([("role", f"r{number}")])
    assert len(cloud.calls) == 1


def test_a_look_that_began_before_a_write_does_not_cover_it(cloud):
    time = [0.0]
    kinds = adapters(cloud)
    inventory = Inventory(kinds, 60, lambda: time[0])
    stale = []

    def slow(names):
        time[0] += 5
        inventory.wrote("object", "b", Observed("b", {"new": True}))
        time[0] += 5
        return stale

    inventory.get([("object", "b")])
    time[0] = 100
    kinds["object"].survey = slow
    inventory.get([("object", "a")])
    assert inventory.get([("object", "b")])["object", "b"].properties == {"new": True}


def test_a_stale_read_after_a_write_of_a_lagging_kind_is_not_believed(cloud):
    time = [0.0]
    inventory = Inventory(adapters(cloud), 60, lambda: time[0])
    inventory.wrote("role", "r", Observed("r", {}))
    time[0] = 3
    assert inventory.fresh("role", "r") is not None
    time[0] = 30
    assert inventory.fresh("role", "r") is None


def test_a_plan_says_what_is_known_only_after_apply_and_what_loses_data(cloud):
    plan = make_plan(OWNER, wanted(), {}, TRAITS, OWNER.tags)
    fn = next(action for action in plan.actions if action.logical_id == "fn")
    assert fn.resource.properties["Role"] is UNKNOWN
    assert plan.has_changes
    seen = {("bucket", "data"): Observed("data", {"Region": "us"}, tags=OWNER.tags)}
    plan = make_plan(OWNER, wanted(), seen, TRAITS, OWNER.tags)
    first = plan.actions[0]
    assert (first.verb, first.name, first.loses_data) == (Verb.REPLACE, "data", True)
    assert [one.verb for one in plan.actions[1:]] == [Verb.CREATE] * 4


def test_a_plan_and_the_apply_that_follows_agree(operator, cloud):
    operator.apply(wanted("1"))
    cloud.things["role", "role"].properties["Policies"] = ["x"]
    operator.time += 61
    plan = operator.applier.plan(OWNER, wanted("2"), OWNER.tags, operator.status)
    cloud.calls.clear()
    done = operator.apply(wanted("2")).done
    assert {(one.verb, one.name) for one in plan.writes} == {(one.verb, one.name) for one in done}
    assert (
        operator.applier.plan(OWNER, wanted("2"), OWNER.tags, operator.status).has_changes is False
    )


def test_conflicts_are_plan_changes_too(operator, cloud):
    cloud.things["role", "role"] = Thing({}, {}, 0)
    plan = operator.applier.plan(OWNER, wanted(), OWNER.tags)
    assert [one.verb for one in plan.blocked] == [Verb.CONFLICT]
