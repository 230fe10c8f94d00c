"""Every kind, reconciled against the real API server and the local AWS under the published policy."""

from __future__ import annotations

import pytest
from rig import Rig, child_of, loaded, pipeline_spec, source, source_spec

from weir.kube.client import Gone
from weir.kube.keys import FINALIZER, Key

pytestmark = [pytest.mark.cluster, pytest.mark.aws]


def test_everything_becomes_ready_and_then_nothing_is_written_any_more(rig: Rig) -> None:
    key = source(rig, "orders", **loaded("orders"))
    rig.settle(key, child_of(key))
    platform = Key("Platform", "", rig.platform_name)
    rig.look(platform)
    assert FINALIZER in rig.get(key)["metadata"]["finalizers"]
    owner = rig.get(child_of(key))["metadata"]["ownerReferences"][0]
    assert owner["uid"] == rig.get(key)["metadata"]["uid"]
    for one in (platform, key, child_of(key)):
        rig.look(one)
        rig.silence()
        result = rig.look(one)
        assert result.outcome in ("converged", "suspended"), (one, rig.get(one)["status"])
        assert (rig.aws_writes(), rig.kube.writes, rig.told.said) == ([], [], [])
        assert rig.condition(one)["message"]
    assert rig.condition(key, "Suspended")["status"] == "True"
    assert rig.condition(key, "Flowing")["reason"] == "Suspended"
    rig.delete(key, child_of(key))
    assert rig.kube.get(child_of(key)) is None


def test_a_forced_look_after_a_change_by_hand_puts_it_right(rig: Rig) -> None:
    key = source(rig, "byhand")
    rig.settle(key)
    function = next(
        line for line in rig.resources(key).values() if line["kind"] == "lambda.Function"
    )
    functions = rig.aws.admin_session().client("lambda")
    functions.update_function_configuration(FunctionName=function["name"], Timeout=7)
    rig.annotate(key, **{"weir.dev/reconcile-at": "1"})
    rig.settle(key, until=lambda: (rig.get(key)["status"] or {}).get("reconcileAt") == "1")
    found = functions.get_function_configuration(FunctionName=function["name"])
    assert found["Timeout"] != 7
    assert "DriftCorrected" not in [reason for _, reason, _ in rig.told.said]
    rig.delete(key)


def test_a_source_that_is_paused_is_not_looked_at(rig: Rig) -> None:
    key = source(rig, "paused")
    rig.annotate(key, **{"weir.dev/paused": "true"})
    rig.silence()
    rig.look(key)
    assert rig.aws_writes() == []
    assert rig.condition(key)["reason"] == "Paused"
    assert rig.condition(key, "Suspended")["status"] == "True"
    rig.annotate(key)
    rig.settle(key)
    rig.delete(key)


def test_the_managed_pipeline_follows_its_source_and_goes_when_it_is_not_wanted(rig: Rig) -> None:
    key = source(rig, "managed", **loaded("managed"))
    rig.settle(key, child_of(key))
    edited = rig.get(child_of(key))
    edited["spec"]["suspend"] = False
    rig.kube.replace(edited)
    rig.settle(key, child_of(key), until=lambda: rig.get(child_of(key))["spec"]["suspend"])
    source(rig, "managed", **loaded("managed"), pipeline={"managed": False})
    rig.settle(key, child_of(key), until=lambda: rig.kube.get(child_of(key)) is None)
    rig.settle(key)
    assert not rig.get(key)["status"].get("pipeline")
    rig.delete(key)


def test_a_pipeline_of_ones_own_in_the_managed_ones_place_is_a_conflict(rig: Rig) -> None:
    other = source(rig, "unmanaged")
    rig.settle(other)
    taken = rig.apply("Pipeline", "taken", pipeline_spec(rig, "unmanaged"))
    key = source(rig, "taken", **loaded("taken"))
    rig.settle(key, taken, until=lambda: rig.condition(key)["reason"] == "Conflict")
    assert "pipeline.managed" in rig.condition(key)["message"]
    assert rig.condition(key, "Synced")["status"] == "True"
    for one in (taken, key, other):
        rig.delete(one)


def test_a_pipeline_on_a_managed_source_is_told_how_to_hand_over_and_a_join_is_fine(
    rig: Rig,
) -> None:
    key = source(rig, "driven", **loaded("driven"))
    rig.settle(key, child_of(key))
    second = rig.apply("Pipeline", "second", pipeline_spec(rig, "driven"))
    rig.look(second)
    said = rig.condition(second)
    assert said["reason"] == "Conflict"
    assert "managed: false" in said["message"]
    assert "joining" in said["message"]
    assert rig.condition(second, "Stalled")["status"] == "True"
    lone = source(rig, "lone")
    joined = rig.apply("Pipeline", "joined", pipeline_spec(rig, "lone", "driven"))
    rig.settle(joined, lone)
    for one in (joined, second, lone):
        rig.delete(one)
    rig.delete(key, child_of(key))


@pytest.mark.parametrize("place", ["table", "prefix"])
def test_of_two_that_write_to_one_place_the_older_keeps_it(rig: Rig, place: str) -> None:
    first, second = (source(rig, f"{place}-{n}", pipeline={"managed": False}) for n in "ab")
    same = {"table": f"shared_{place}"} if place == "table" else {"prefix": "shared/"}
    older = rig.apply("Pipeline", f"{place}-old", pipeline_spec(rig, first.name, **same))
    rig.settle(older, first, second)
    if place == "prefix":
        same = {"prefix": "shared/below/"}
    # Creation times count whole seconds; within one the name decides.
    younger = rig.apply("Pipeline", f"{place}-young", pipeline_spec(rig, second.name, **same))
    rig.look(younger)
    assert rig.condition(younger)["reason"] == "Conflict"
    assert str(older) in rig.condition(younger)["message"]
    rig.look(older)
    assert rig.condition(older)["status"] == "True"
    rig.delete(older)
    rig.settle(younger)
    for one in (younger, first, second):
        rig.delete(one)


def test_deletion_stops_the_schedule_first_and_keeps_nothing(rig: Rig) -> None:
    key = source(rig, "leaving")
    rig.settle(key)
    kinds = [line["kind"] for line in rig.resources(key).values()]
    assert "scheduler.Schedule" in kinds
    rig.silence()
    rig.delete(key)
    deletions = [one for one in rig.aws_writes() if ":Delete" in one]
    assert deletions[0] == "scheduler:DeleteSchedule"
    roles = rig.aws.admin_session().client("iam").list_roles(PathPrefix="/weir/")["Roles"]
    assert not [one for one in roles if "leaving" in one["RoleName"]]


def test_what_somebody_else_made_is_a_conflict_until_it_may_be_taken_over(rig: Rig) -> None:
    """The name's owner is nobody: without the annotation it stays, with it and the grant it is ours."""
    key = source(rig, "adopting")
    rig.settle(key)
    groups = [line for line in rig.resources(key).values() if line["kind"] == "logs.LogGroup"]
    name = groups[0]["name"]
    rig.delete(key)
    logs = rig.aws.admin_session().client("logs")
    logs.create_log_group(logGroupName=name)
    source(rig, "adopting")
    rig.settle(key, until=lambda: "weir.dev/adopt" in rig.condition(key)["message"])
    assert rig.condition(key)["reason"] == "Conflict"
    rig.annotate(key, **{"weir.dev/adopt": "true"})
    rig.settle(key)
    rig.delete(key)


def test_a_namespace_without_a_grant_gets_nothing(rig: Rig) -> None:
    other = f"{rig.namespace}-other"
    rig.kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": other}})
    key = rig.apply("DataSource", "stranger", source_spec(rig), namespace=other)
    rig.silence()
    rig.look(key)
    assert rig.condition(key)["reason"] == "NotGranted"
    assert rig.aws_writes() == []
    rig.delete(key)


def test_what_an_object_needs_and_is_not_there_is_named(rig: Rig) -> None:
    lost = rig.apply("DataSource", "lost", source_spec(rig, platform="nowhere"))
    rig.look(lost)
    assert rig.condition(lost)["reason"] == "PlatformNotFound"
    pipe = rig.apply("Pipeline", "sourceless", pipeline_spec(rig, "nobody"))
    rig.look(pipe)
    assert rig.condition(pipe)["reason"] == "SourceNotFound"
    assert "nobody" in rig.condition(pipe)["message"]
    for one in (lost, pipe):
        rig.delete(one)


def test_an_object_that_is_gone_from_the_server_is_gone_from_the_store(rig: Rig) -> None:
    key = source(rig, "vanished")
    rig.refresh()
    obj = rig.get(key)
    rig.kube.delete(obj)
    from weir.reconcile.engine import Reconciler

    with pytest.raises(Gone):
        rig.kube.put_status(obj, {})
    assert Reconciler(rig.services).reconcile(key).outcome == "gone"
    assert rig.services.store.get(key) is None
