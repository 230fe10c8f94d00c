"""Pause: nothing is looked at. Force: everything is, deeply."""

from __future__ import annotations

import pytest
from rig import Rig, child_of, loaded, source

from weir.kube.keys import Key

pytestmark = [pytest.mark.cluster, pytest.mark.aws]


def function_of(rig: Rig, key: Key) -> str:
    lines = rig.resources(key).values()
    return next(line["name"] for line in lines if line["kind"] == "lambda.Function")


def test_a_paused_object_stays_as_it_is_until_it_is_unpaused_and_can_be_deleted(rig: Rig) -> None:
    key = source(rig, "resting")
    rig.settle(key)
    functions = rig.aws.admin_session().client("lambda")
    name = function_of(rig, key)
    rig.annotate(key, **{"weir.dev/paused": "true"})
    functions.update_function_configuration(FunctionName=name, Timeout=9)
    rig.silence()
    rig.look(key)
    assert rig.calls == []
    assert rig.condition(key, "Suspended")["status"] == "True"
    assert rig.condition(key)["status"] == "True"
    rig.annotate(key, **{"weir.dev/reconcile-at": "unpaused"})
    rig.settle(key)
    assert functions.get_function_configuration(FunctionName=name)["Timeout"] != 9
    rig.annotate(key, **{"weir.dev/paused": "true"})
    rig.delete(key)
    assert rig.kube.get(key) is None


def test_what_is_edited_during_a_pause_waits_and_is_not_told_as_done(rig: Rig) -> None:
    key = source(rig, "edited")
    rig.settle(key)
    rig.annotate(key, **{"weir.dev/paused": "true"})
    rig.look(key)
    assert rig.condition(key)["status"] == "True"
    rest = {"endpoint": "https://api.example.com/rows", "schedule": "rate(2 hours)"}
    source(rig, "edited", source={"restApi": rest})
    rig.annotate(key, **{"weir.dev/paused": "true"})
    rig.look(key)
    for kind in ("Ready", "Synced"):
        assert rig.condition(key, kind)["status"] == "False"
        assert rig.condition(key, kind)["reason"] == "Paused"
        assert "weir.dev/paused" in rig.condition(key, kind)["message"]
    rig.annotate(key)
    rig.settle(key)
    rig.delete(key)


def test_a_forced_look_reads_everything_deeply_the_warehouse_too(rig: Rig) -> None:
    key = source(rig, "looked", **loaded("looked"))
    rig.settle(key, child_of(key))
    rig.look(child_of(key))
    rig.silence()
    rig.look(child_of(key))
    assert not [call for call in rig.calls if call.service == "redshift-data"]
    rig.annotate(child_of(key), **{"weir.dev/reconcile-at": "now"})
    rig.look(child_of(key))
    asked = {f"{call.service}:{call.operation}" for call in rig.calls}
    assert {"redshift-data:ExecuteStatement", "lambda:GetFunction", "iam:GetRole"} <= asked
    assert rig.aws_writes() == []
    assert rig.get(child_of(key))["status"]["reconcileAt"] == "now"
    rig.delete(key, child_of(key))
