"""What others change on AWS is heard of in seconds, where the Platform says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig import Rig

from weir.aws.registry import adapter_classes
from weir.aws.sts import caller_arn
from weir.blueprint.platform import CHANGED_SERVICES
from weir.kube.keys import Key
from weir.reconcile.changes import QUEUE, SERVICES, ChangeWatcher, named
from weir.reconcile.queue import Lane
from weir.reconcile.view import ready_name

ARN = "arn:aws:{}:eu-central-1:111122223333:{}"


@pytest.mark.parametrize(
    ("source", "parameters", "expected"),
    [
        ("lambda", {"functionName": "weir-a-b"}, ("lambda.Function", "weir-a-b")),
        (
            "lambda",
            {"functionName": ARN.format("lambda", "function:weir-a-b")},
            ("lambda.Function", "weir-a-b"),
        ),
        ("lambda", {"resource": ARN.format("lambda", "function:x")}, ("lambda.Function", "x")),
        ("iam", {"roleName": "r", "policyName": "weir"}, ("iam.Role", "r")),
        (
            "states",
            {"stateMachineArn": ARN.format("states", "stateMachine:m"), "definition": "{}"},
            ("states.StateMachine", "m"),
        ),
        ("sqs", {"queueUrl": "https://sqs.eu.amazonaws.com/1/q"}, ("sqs.Queue", "q")),
        ("sns", {"topicArn": ARN.format("sns", "t")}, ("sns.Topic", "t")),
        (
            "logs",
            {"resourceArn": ARN.format("logs", "log-group:/aws/lambda/x:*")},
            ("logs.LogGroup", "/aws/lambda/x"),
        ),
        ("monitoring", {"alarmNames": ["a", "b"]}, ("cloudwatch.Alarm", "b")),
        ("dynamodb", {"resourceArn": ARN.format("dynamodb", "table/t")}, ("dynamodb.Table", "t")),
        ("events", {"resourceARN": ARN.format("events", "rule/r")}, ("events.Rule", "r")),
        ("s3", {"bucketName": "b"}, ("s3.Bucket", "b")),
        ("scheduler", {"name": "s", "groupName": "default"}, ("scheduler.Schedule", "s")),
        ("glue", {"jobName": "j"}, ("glue.Job", "j")),
        ("glue", {"name": "c"}, ("glue.Crawler", "c")),
    ],
)
def test_an_event_names_its_resource_however_the_service_spells_it(
    source: str, parameters: dict[str, Any], expected: tuple[str, str]
) -> None:
    detail = {"eventSource": f"{source}.amazonaws.com", "requestParameters": parameters}
    assert expected in named(detail)


def test_every_service_is_asked_for_and_every_kind_exists() -> None:
    assert {f"{one}.amazonaws.com" for one in CHANGED_SERVICES} == set(SERVICES)
    kinds = {one.kind for namings in SERVICES.values() for one in namings}
    assert kinds <= set(adapter_classes())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(st.sampled_from([*SERVICES, "other.amazonaws.com"]), json_values)
def test_no_event_breaks_the_reader(source: str, parameters: Any) -> None:
    assert all(name for _, name in named({"eventSource": source, "requestParameters": parameters}))


@pytest.mark.cluster
@pytest.mark.aws
def test_a_change_by_others_wakes_its_owner_who_mends_it(rig: Rig) -> None:
    key = Key("Platform", "", rig.platform_name)
    spec = rig.get(key)["spec"]
    rig.apply("Platform", rig.platform_name, {**spec, "changeEvents": True})
    rig.settle(key, until=lambda: "changes-rule" in rig.resources(key))
    rig.settle(key)
    rig.refresh()
    queue = ready_name(rig.services.store, rig.platform_name, QUEUE)
    assert queue is not None
    woken: list[tuple[Key, Lane]] = []
    worlds = rig.services.worlds
    watcher = ChangeWatcher(
        rig.services.store, worlds, lambda owner, lane: woken.append((owner, lane))
    )
    world = worlds.known()[rig.platform_name]
    topic = rig.resources(key)["topic-failure"]
    admin = rig.aws.admin_session()
    sqs = admin.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]

    def tell(who: str, arn: str) -> None:
        detail = {
            "eventSource": "sns.amazonaws.com",
            "eventName": "SetTopicAttributes",
            "readOnly": False,
            "userIdentity": {"type": "IAMUser", "arn": who},
            "requestParameters": {"topicArn": arn, "attributeName": "Policy"},
        }
        body = {"detail-type": "AWS API Call via CloudTrail", "source": "aws.sns", "detail": detail}
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))

    world.inventory.own(key, [("sns.Topic", topic["name"])])
    tell(caller_arn(world.session), topic["arn"])
    tell("arn:aws:iam::000000000000:user/somebody", topic["arn"] + "-of-nobody")
    assert watcher.hear(world, queue, 1) == set()
    admin.client("sns").set_topic_attributes(
        TopicArn=topic["arn"],
        AttributeName="Policy",
        AttributeValue='{"Version":"2012-10-17","Statement":[]}',
    )
    tell("arn:aws:iam::000000000000:user/somebody", topic["arn"])
    assert watcher.hear(world, queue, 1) == {key}
    assert woken == [(key, Lane.DEPENDENT)]
    rig.silence()
    rig.look(key)
    assert "sns:SetTopicAttributes" in rig.aws_writes()
    assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0).get("Messages") is None


@pytest.mark.cluster
@pytest.mark.aws
def test_a_message_that_is_no_event_is_thrown_away(rig: Rig) -> None:
    queue = ready_name(rig.services.store, rig.platform_name, QUEUE)
    assert queue is not None
    sqs = rig.aws.admin_session().client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    details = ("null", '"x"', "[1]", '{"eventSource": 1}', '{"userIdentity": 1}')
    for body in ("no json", "[]", *(f'{{"detail": {detail}}}' for detail in details)):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    watcher = ChangeWatcher(rig.services.store, rig.services.worlds, lambda *_: None)
    world = rig.services.worlds.known()[rig.platform_name]
    assert watcher.hear(world, queue, 1) == set()
    assert sqs.receive_message(QueueUrl=url).get("Messages") is None
