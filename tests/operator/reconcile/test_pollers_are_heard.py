"""What keeps Lambda's pollers from reading a stream stands on the object, without any run."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from fake_cloud import Cloud, FakeAdapter
from rig import Rig, source
from structlog.testing import capture_logs

from patience import until
from weir.aws.mappings import EventSourceMapping
from weir.kube.keys import Key
from weir.reconcile.inventory import Finding, Inventory
from weir.reconcile.pollers import PollerWatcher
from weir.reconcile.queue import Lane
from weir.resource import Traits

STREAM: dict[str, Any] = {
    "stream": {"kinesis": {"create": {"mode": "provisioned", "shards": 1}}, "format": "json"}
}


def role_policy(rig: Rig, key: Key) -> dict[str, Any]:
    """The policy of the receiving function's role, as ``put_role_policy`` takes it."""
    iam, role = rig.aws.admin_session().client("iam"), rig.resources(key)["receive-role"]["name"]
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    found = iam.get_role_policy(RoleName=role, PolicyName=name)
    return {"RoleName": role, "PolicyName": name, "PolicyDocument": found["PolicyDocument"]}


def put(rig: Rig, policy: dict[str, Any], document: dict[str, Any]) -> None:
    iam = rig.aws.admin_session().client("iam")
    iam.put_role_policy(**{**policy, "PolicyDocument": json.dumps(document)})


@pytest.mark.cluster
@pytest.mark.aws
def test_it_stands_there_with_lambdas_words_and_goes_once_they_read_again(rig: Rig) -> None:
    key = source(rig, "clicks", source=STREAM, suspend=False, pipeline={"managed": False})
    rig.settle(key)
    world = rig.services.worlds.known()[rig.platform_name]
    woken: list[tuple[Key, Lane]] = []
    found: list[Finding] = []
    watcher = PollerWatcher(
        rig.services.worlds, lambda owner, lane: woken.append((owner, lane)), found.extend
    )
    client = rig.aws.admin_session().client("lambda")
    function = rig.resources(key)["receive"]["name"]

    def denied() -> bool:
        listed = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        return any("PROBLEM" in str(one.get("LastProcessingResult")) for one in listed)

    def heard() -> bool:
        return watcher.hear(world) == {key}

    before = rig.condition(key, "Flowing")
    assert watcher.hear(world) == set()
    policy = role_policy(rig, key)
    reading = [one for one in policy["PolicyDocument"]["Statement"] if "kinesis:" in str(one)]
    left = [one for one in policy["PolicyDocument"]["Statement"] if one not in reading]
    put(rig, policy, {**policy["PolicyDocument"], "Statement": left})
    until(denied)
    until(heard)
    assert woken == [(key, Lane.DEPENDENT)]
    assert {one.what for one in found} == {"told"}, "nobody has changed the mapping"
    rig.silence()
    rig.look(key)
    flowing = rig.condition(key, "Flowing")
    assert (flowing["status"], flowing["reason"]) == ("False", "SourceUnread")
    assert "Lambda's pollers say: " in flowing["message"] and "kinesis:" in flowing["message"]
    assert "Check who reads" in flowing["message"]
    assert [reason for who, reason, _ in rig.told.said if who == str(key)] == ["SourceUnread"]
    assert rig.condition(key)["status"] == "True", "AWS is as the spec says"
    rig.silence()
    rig.look(key)
    assert rig.told.said == [], "it is told once"

    put(rig, policy, policy["PolicyDocument"])
    until(lambda: not denied())
    until(heard)
    rig.look(key)
    assert rig.condition(key, "Flowing")["reason"] == before["reason"]
    assert "SourceRead" in [reason for who, reason, _ in rig.told.said if who == str(key)]
    rig.delete(key)


def test_a_platform_without_mappings_is_not_asked() -> None:
    cloud = Cloud()
    adapter = FakeAdapter(cloud, EventSourceMapping.kind, Traits())
    inventory = Inventory({adapter.kind: adapter}, 600.0, time.monotonic)
    world: Any = SimpleNamespace(inventory=inventory)
    worlds: Any = SimpleNamespace(known=lambda: {"p": world})
    watcher = PollerWatcher(worlds, lambda *_: None)
    assert watcher.hear(world) == set()
    assert cloud.calls == []
    inventory.own(Key("DataSource", "team", "clicks"), [(adapter.kind, "fn|stream")])
    watcher.hear(world)
    assert [operation for operation, *_ in cloud.calls] == ["survey"]


def test_nobody_is_asked_before_all_objects_have_been_looked_at() -> None:
    worlds: Any = SimpleNamespace(known=dict)
    world: Any = None  # Whoever asked it would fail, and say so.
    left = [1]
    watcher = PollerWatcher(worlds, lambda *_: None, opening=lambda: left[0] > 0)
    with capture_logs() as logs:
        watcher.ask("p", world)
        assert logs == []
        left[0] = 0
        watcher.ask("p", world)
    assert [line["event"] for line in logs] == ["fault"]
