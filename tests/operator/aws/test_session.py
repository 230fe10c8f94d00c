"""What a session counts, refuses and shares."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC

import pytest
from botocore.utils import parse_timestamp

from weir import __version__
from weir.api.v1alpha1.platform import Platform
from weir.aws.calls import Calls
from weir.aws.courtesy import be_courteous
from weir.aws.errors import AccessDenied, Invalid, NotFound, Transient, WriteRefused
from weir.aws.registry import adapter_classes
from weir.aws.session import Assume, AwsSession, Call, Target, is_write, reading_sql, timestamp
from weir.reconcile.world import target_of
from weir_local.aws.server import LocalAws
from weir_local.proxy import Exchange, Forward, Proxy, Reply, Rule

pytestmark = pytest.mark.aws

REGION = "eu-central-1"
ACCOUNT = "000000000000"


@pytest.fixture
def target(adapters_aws: LocalAws) -> Target:
    """Where the local AWS is."""
    return Target(region=REGION, endpoint_url=adapters_aws.endpoint)


def test_every_call_is_counted_with_its_outcome(target: Target) -> None:
    seen: list[Call] = []
    calls = Calls(AwsSession(target, observer=seen.append), "sqs")
    calls("ListQueues")
    assert calls.find("GetQueueUrl", QueueName="none-such") is None
    assert [(call.service, call.operation, call.outcome) for call in seen] == [
        ("sqs", "ListQueues", "ok"),
        ("sqs", "GetQueueUrl", "NotFound"),
    ]
    assert all(call.seconds > 0 and call.retries == 0 for call in seen)


def test_every_call_of_a_thread_that_is_to_gives_way_first(target: Target) -> None:
    session, asked = AwsSession(target), list[str]()
    with ThreadPoolExecutor(1, "", be_courteous, (lambda: asked.append("gave way"),)) as pool:
        pool.submit(Calls(session, "sqs"), "ListQueues").result()
    Calls(session, "sqs")("ListQueues")
    assert asked == ["gave way"]


def test_a_call_without_an_answer_is_counted_too(credentials: None) -> None:
    seen: list[Call] = []
    nowhere = Target(region=REGION, endpoint_url="http://127.0.0.1:9")
    with pytest.raises(Transient, match="did not answer"):
        Calls(AwsSession(nowhere, observer=seen.append), "sqs")("ListQueues")
    assert [(call.operation, call.outcome) for call in seen] == [("ListQueues", "Transient")]


def test_a_dry_run_reads_and_refuses_to_write(target: Target) -> None:
    calls = Calls(AwsSession(target, dry_run=True), "sqs")
    calls("ListQueues")
    with pytest.raises(WriteRefused, match="CreateQueue"):
        calls("CreateQueue", QueueName="never")
    assert calls.find("GetQueueUrl", QueueName="never") is None


def test_a_statement_counts_as_a_write_unless_it_is_said_to_read() -> None:
    assert is_write("ExecuteStatement")
    with reading_sql():
        assert not is_write("ExecuteStatement")
    assert is_write("ExecuteStatement")


def test_another_account_is_refused(target: Target) -> None:
    assert AwsSession(target).verify_account() == ACCOUNT
    other = Target(REGION, account_id="111122223333", endpoint_url=target.endpoint_url)
    with pytest.raises(Invalid, match="111122223333"):
        AwsSession(other).verify_account()


def test_threads_share_one_client(target: Target) -> None:
    session = AwsSession(target)
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(session.client("sqs"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(client) for client in found}) == 1


def test_clients_say_who_they_are_and_give_up_in_time(target: Target) -> None:
    config = AwsSession(target).client("sqs").meta.config
    assert f"weir/{__version__}" in config.user_agent_extra
    assert (config.connect_timeout, config.read_timeout) == (5.0, 30.0)
    assert config.retries["mode"] == "standard"


def trust(external_id: str) -> str:
    """A trust policy that asks for an external id."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
                }
            ],
        }
    )


def test_a_chain_of_roles_is_assumed_and_has_what_they_allow(
    target: Target, session: AwsSession
) -> None:
    iam = Calls(session, "iam")
    statements = {
        "chain-first": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"},
        "chain-second": {"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"},
    }
    arns = {}
    for name, statement in statements.items():
        arns[name] = iam("CreateRole", RoleName=name, AssumeRolePolicyDocument=trust(f"{name}-id"))[
            "Role"
        ]["Arn"]
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam("PutRolePolicy", RoleName=name, PolicyName="own", PolicyDocument=document)
    chain = tuple(Assume(arns[name], f"{name}-id") for name in statements)
    assumed = AwsSession(Target(REGION, roles=chain, endpoint_url=target.endpoint_url))
    identity = Calls(assumed, "sts")("GetCallerIdentity")["Arn"]
    assert "assumed-role/chain-second" in identity
    Calls(assumed, "sqs")("ListQueues")
    with pytest.raises(AccessDenied) as denied:
        Calls(assumed, "lambda")("ListFunctions")
    assert denied.value.action == "lambda:ListFunctions"
    assert "chain-second" in str(denied.value)


def test_session_tags_go_with_the_assumed_role(target: Target, session: AwsSession) -> None:
    iam = Calls(session, "iam")
    own = f"arn:aws:iam::{ACCOUNT}:root"
    permitted = {"Effect": "Allow", "Principal": {"AWS": own}}
    actions = ["sts:AssumeRole", "sts:TagSession"]
    document = {"Version": "2012-10-17", "Statement": [{**permitted, "Action": actions}]}
    role = iam("CreateRole", RoleName="tagged", AssumeRolePolicyDocument=json.dumps(document))
    statement = {
        "Effect": "Allow",
        "Action": "sqs:ListQueues",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalTag/team": "data"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam("PutRolePolicy", RoleName="tagged", PolicyName="own", PolicyDocument=policy)
    platform = Platform.model_validate(
        {
            "spec": {
                "region": REGION,
                "accountId": ACCOUNT,
                "endpointUrl": target.endpoint_url,
                "assumeRole": {"roleArn": role["Role"]["Arn"], "sessionTags": {"team": "data"}},
            }
        }
    )
    wanted = target_of(platform)
    Calls(AwsSession(wanted), "sqs")("ListQueues")
    untagged = replace(wanted, roles=(replace(wanted.roles[0], tags=()),))
    with pytest.raises(AccessDenied):
        Calls(AwsSession(untagged), "sqs")("ListQueues")


def test_what_is_not_there_says_what_was_asked_for(session: AwsSession) -> None:
    with pytest.raises(NotFound, match="sqs GetQueueUrl none-such"):
        Calls(session, "sqs")("GetQueueUrl", "none-such", QueueName="none-such")


def test_every_kind_of_the_table_has_an_adapter() -> None:
    assert set(adapter_classes()) == {
        "kms.Key",
        "s3.Bucket",
        "s3.Object",
        "dynamodb.Table",
        "dynamodb.Item",
        "iam.Role",
        "lambda.Function",
        "lambda.EventSourceMapping",
        "lambda.Permission",
        "logs.LogGroup",
        "sns.Topic",
        "sqs.Queue",
        "events.Rule",
        "scheduler.Schedule",
        "states.StateMachine",
        "glue.Database",
        "glue.Table",
        "glue.Job",
        "glue.Crawler",
        "cloudwatch.Alarm",
        "cloudwatch.Dashboard",
        "secretsmanager.Secret",
        "redshift.Warehouse",
        "redshift.Claim",
        "redshift.Schema",
        "redshift.Table",
        "s3.Claim",
        "ec2.Vpc",
        "ec2.Subnets",
        "ec2.SecurityGroup",
        "ec2.VpcEndpoint",
        "glue.Connection",
        "ses.Identity",
        "ses.ReceiptRule",
        "ses.RuleSet",
        "kinesis.Consumer",
        "kinesis.Stream",
    }


def throttled(until: int) -> Rule:
    """The first ``until`` calls of ListQueues are one too many."""

    async def rule(exchange: Exchange, forward: Forward) -> Reply:
        if exchange.operation == "ListQueues" and exchange.nth <= until:
            body = {"__type": "ThrottlingException", "message": "Rate exceeded"}
            headers = {"content-type": "application/x-amz-json-1.0"}
            return Reply(400, headers, json.dumps(body).encode())
        return await forward()

    return rule


def test_a_throttled_call_says_how_often_and_how_long_it_was_held_back(
    adapters_aws: LocalAws, target: Target
) -> None:
    seen: list[Call] = []
    with Proxy(adapters_aws.endpoint, throttled(2)) as proxy:
        session = AwsSession(replace(target, endpoint_url=proxy.endpoint), observer=seen.append)
        Calls(session, "sqs")("ListQueues")
        Calls(session, "sqs").find("GetQueueUrl", QueueName="none-such")
    first, second = seen
    assert (first.outcome, first.throttles, first.retries) == ("ok", 2, 2)
    assert 0.001 < first.held <= first.seconds
    assert second.throttles == 0


def test_the_fence_is_asked_after_the_rate_limiter_has_held_a_try_back(
    adapters_aws: LocalAws, target: Target
) -> None:
    asked: list[float] = []
    with Proxy(adapters_aws.endpoint) as proxy:
        session = AwsSession(
            replace(target, endpoint_url=proxy.endpoint),
            fence=lambda: asked.append(time.monotonic()),
        )
        client = session.client("sqs")
        client.meta.events.register_last("before-send", lambda **_: asked.append(-1.0))
        limited: list[float] = []
        client.meta.events.register("before-send", lambda **_: limited.append(time.monotonic()))
        client.create_queue(QueueName="fenced")
        client.delete_queue(QueueUrl=client.get_queue_url(QueueName="fenced")["QueueUrl"])
    before, at_send, last = asked[:3]
    assert before <= limited[0] <= at_send
    assert last == -1.0


def test_sessions_that_lead_to_one_place_are_slowed_together_and_others_are_not(
    adapters_aws: LocalAws, target: Target
) -> None:
    with Proxy(adapters_aws.endpoint, throttled(1)) as proxy:
        here = replace(target, endpoint_url=proxy.endpoint, account_id=ACCOUNT)

        def held(place: Target, throttles: int = 0) -> float:
            seen: list[Call] = []
            calls = Calls(AwsSession(place, observer=seen.append), "sqs")
            for _ in range(2):
                calls("ListQueues")
            assert sum(call.throttles for call in seen) == throttles
            return sum(call.held for call in seen)

        held(here, throttles=1)
        assert held(replace(here, roles=())) > 0.2
        other = replace(here, account_id="111122223333")
        # A busy machine holds one call or another up; a limiter would hold up every one.
        assert min(held(other) for _ in range(5)) < 0.1


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.678Z",
        "2026-01-02T03:04:05+02:00",
        "2026-01-02T03:04:05.123456+00:00",
        "Fri, 02 Jan 2026 03:04:05 GMT",
        1767323045,
        1767323045.678,
        "1767323045",
    ],
)
def test_a_time_is_read_as_botocore_reads_it(text: str | float) -> None:
    assert timestamp(text) == parse_timestamp(text)
    assert timestamp(text).tzinfo is not None


def test_answers_are_read_with_it(session: AwsSession) -> None:
    iam = session.client("iam")
    trust = {"Version": "2012-10-17", "Statement": []}
    role = iam.create_role(RoleName="dated", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    iam.delete_role(RoleName="dated")
    assert role["CreateDate"].tzinfo is UTC
