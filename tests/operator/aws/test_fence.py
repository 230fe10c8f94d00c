"""What a write passes before it starts: the lease's fence, and the epoch in the state table."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from weir.aws.calls import Calls
from weir.aws.errors import Transient
from weir.aws.session import AwsSession, Target
from weir.kube.election import NotHeld
from weir.reconcile.epoch import Epoch, raise_epoch
from weir_local.aws.server import LocalAws
from weir_local.proxy import Exchange, Forward, Proxy, Reply

pytestmark = pytest.mark.aws

REGION = "eu-central-1"


class Gate:
    """A fence that can be closed."""

    def __init__(self) -> None:
        self.open = True
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1
        if not self.open:
            raise NotHeld("the lease is lost")


@pytest.fixture
def table(session: AwsSession) -> Iterator[str]:
    calls, name = Calls(session, "dynamodb"), f"state-{uuid.uuid4().hex[:8]}"
    calls(
        "CreateTable",
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    )
    yield name
    calls("DeleteTable", TableName=name)


def test_reads_pass_a_closed_fence_and_writes_do_not(adapters_aws: LocalAws) -> None:
    gate = Gate()
    with Proxy(adapters_aws.endpoint) as proxy:
        calls = Calls(AwsSession(Target(REGION, endpoint_url=proxy.endpoint), fence=gate), "sqs")
        gate.open = False
        calls("ListQueues")
        assert gate.asked == 0
        with pytest.raises(NotHeld):
            calls("CreateQueue", QueueName="fenced")
        assert proxy.counts() == {("sqs", "ListQueues"): 1}


def test_the_second_try_of_a_write_does_not_start_once_the_lease_is_lost(
    adapters_aws: LocalAws,
) -> None:
    gate = Gate()

    async def lost_meanwhile(exchange: Exchange, forward: Forward) -> Reply:
        gate.open = False
        return Reply(503, (("content-type", "application/json"),), b"{}")

    with Proxy(adapters_aws.endpoint, lost_meanwhile) as proxy:
        calls = Calls(AwsSession(Target(REGION, endpoint_url=proxy.endpoint), fence=gate), "sqs")
        with pytest.raises(NotHeld):
            calls("CreateQueue", QueueName="fenced")
        assert proxy.total == 1


def test_an_epoch_only_rises(session: AwsSession, table: str) -> None:
    assert raise_epoch(session, table, 3, "one") == 3
    assert raise_epoch(session, table, 3, "one") == 3
    assert raise_epoch(session, table, 5, "two") == 5
    assert raise_epoch(session, table, 4, "one") == 5
    assert raise_epoch(session, table, 5, "one") == 6, "equal numbers: neither is the later"


def test_a_turn_asks_the_table_once_and_one_that_is_surpassed_writes_nothing(
    adapters_aws: LocalAws, session: AwsSession, table: str
) -> None:
    told: list[tuple[str, int]] = []
    with Proxy(adapters_aws.endpoint) as proxy:

        def turn(number: int) -> tuple[Calls, Epoch]:
            made: list[AwsSession] = []
            epoch = Epoch(
                "p",
                number,
                f"replica-{number}",
                lambda: table,
                lambda: made[0],
                lambda platform, found: told.append((platform, found)),
            )
            made.append(AwsSession(Target(REGION, endpoint_url=proxy.endpoint), fence=epoch))
            return Calls(made[0], "sqs"), epoch

        second, _ = turn(2)
        for _ in range(3):
            second("CreateQueue", QueueName=f"epoch-{uuid.uuid4().hex[:8]}")
        assert proxy.counts() == {("dynamodb", "PutItem"): 1, ("sqs", "CreateQueue"): 3}
        proxy.reset()
        first, _ = turn(1)
        with pytest.raises(NotHeld, match="later holder"):
            first("CreateQueue", QueueName="never")
        assert ("sqs", "CreateQueue") not in proxy.counts()
    assert told == [("p", 2)]


def test_a_table_that_cannot_be_written_stops_nothing(
    adapters_aws: LocalAws, session: AwsSession
) -> None:
    """The reconcile that mends the table is a write as well."""
    for name in (None, "state-that-is-gone"):
        epoch = Epoch("p", 1, "one", lambda name=name: name, lambda: session, lambda *_: None)
        epoch()
        epoch()


def test_a_silent_endpoint_is_told_of_by_each_call_without_asking_again(
    credentials: None,
) -> None:
    nowhere = AwsSession(Target(region=REGION, endpoint_url="http://127.0.0.1:9"))
    for service in ("sts", "sqs"):
        with pytest.raises(Transient, match="did not answer") as caught:
            Calls(nowhere, service)("GetCallerIdentity" if service == "sts" else "ListQueues")
    assert caught.value.retry_after
