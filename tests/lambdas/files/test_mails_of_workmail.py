"""Mails that WorkMail's message flow passes on: stored once, and believed as far as SES has checked them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from lambdas.files.letters import letter, stored
from weir_contract.rows import RowContract
from weir_contract.sources import Email, SourceConfig, Trust
from weir_contract.state import source_pk, workmail_sk
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.email_processor.envelope import Envelope, of_mail, written
from weir_lambdas.email_processor.mail import read
from weir_lambdas.email_processor.trust import distrust
from weir_lambdas.email_processor.workmail import Receiver

ORGANIZATION = "m-" + "0a" * 16
MESSAGE = "d1234567-8e90-1f23-456a-bcdef0123456"
CONFIG = Email("raw", "shop/orders/_mail/", workmail=ORGANIZATION)
OUTSIDE = Envelope(ORGANIZATION, "ann@example.com", ("orders@weir.example", "ops@weir.example"))


def passed_on(body: bytes, envelope: Envelope = OUTSIDE) -> EmailMessage:
    """A mail as it is stored."""
    return read(written(envelope) + body)


@pytest.mark.parametrize(
    ("body", "envelope", "config", "reason"),
    [
        (stored(letter()), OUTSIDE, CONFIG, None),
        (stored(letter(), spf="fail"), OUTSIDE, CONFIG, "spf is fail (trust.spf)"),
        # What no SES has looked at has no verdicts, whatever its writer says.
        (letter().as_bytes(), OUTSIDE, CONFIG, "spf is not known (trust.spf)"),
        (
            stored(letter()),
            replace(OUTSIDE, sender="insider@WEIR.example"),
            CONFIG,
            "spf is not known (trust.spf): it may be of the organization's own users, whom SES does "
            "not check",
        ),
        (stored(letter()), replace(OUTSIDE, sender=""), CONFIG, "spf is not known (trust.spf): it"),
        (
            stored(letter()),
            replace(OUTSIDE, sender="insider@weir.example"),
            replace(CONFIG, trust=Trust(False, False, False, False, False)),
            None,
        ),
        (
            stored(letter()),
            replace(OUTSIDE, organization="m-" + "0b" * 16),
            CONFIG,
            f"it did not come through the message flow of WorkMail organization {ORGANIZATION}",
        ),
        (stored(letter()), OUTSIDE, replace(CONFIG, recipients=("ops@weir.example",)), None),
        (stored(letter()), OUTSIDE, replace(CONFIG, recipients=("weir.example",)), None),
        (
            stored(letter()),
            replace(OUTSIDE, recipients=("ops@weir.example",)),
            # SES's own header says that it was for orders@; WorkMail's envelope is what counts.
            replace(CONFIG, recipients=("orders@weir.example",)),
            "it was sent to none of recipients",
        ),
    ],
)
def test_a_mail_is_believed_as_far_as_ses_has_checked_it(
    body: bytes, envelope: Envelope, config: Email, reason: str | None
) -> None:
    found = distrust(passed_on(body, envelope), config)
    assert found == reason or (reason and (found or "").startswith(reason))


def test_an_envelope_that_the_sender_has_written_is_none() -> None:
    forged = written(OUTSIDE) + stored(letter())
    config = replace(CONFIG, recipients=("ops@weir.example",))
    real = replace(OUTSIDE, recipients=("orders@weir.example",))
    assert distrust(passed_on(forged, real), config) == "it was sent to none of recipients"
    # One that did not go through the function has nobody's envelope on top.
    below = read(b"Received: by mail.example.com\r\n" + forged)
    assert str(distrust(below, CONFIG)).startswith("it did not come through the message flow")


ADDRESSES = st.text(min_size=1, max_size=40).map(str.strip).filter(bool)


@given(sender=st.one_of(st.just(""), ADDRESSES), recipients=st.lists(ADDRESSES, max_size=20))
def test_an_envelope_is_read_as_it_was_written_whatever_its_addresses_hold(
    sender: str, recipients: list[str]
) -> None:
    wanted = Envelope(ORGANIZATION, sender, tuple(recipients))
    mail = read(written(wanted) + b"Subject: x\r\n\r\nbody\r\n")
    assert of_mail(mail) == wanted
    assert mail["Subject"] == "x"


class Flow:
    """WorkMail's messages in transit."""

    def __init__(self, messages: Mapping[str, bytes]) -> None:
        self.messages = messages

    def get_raw_message_content(self, messageId: str) -> dict[str, Any]:
        if messageId not in self.messages:
            error = {"Error": {"Code": "ResourceNotFoundException"}}
            raise ClientError(error, "GetRawMessageContent")  # type: ignore[arg-type]
        return {"messageContent": io.BytesIO(self.messages[messageId])}


def event(**changed: Any) -> dict[str, Any]:
    """As WorkMail calls a function."""
    return {
        "summaryVersion": "2018-10-10",
        "envelope": {
            "mailFrom": {"address": "ann@example.com"},
            "recipients": [{"address": "orders@weir.example"}],
        },
        "sender": None,
        "subject": "Orders",
        "messageId": MESSAGE,
        "invocationId": "0" * 32,
        "flowDirection": "INBOUND",
        "truncated": False,
        **changed,
    }


@pytest.fixture
def receiver(aws: Callable[[str], Any], new_bucket: Callable[[], str], table: Table) -> Receiver:
    raw = new_bucket()
    config = SourceConfig(
        platform="default",
        namespace="shop",
        name="orders",
        raw_bucket=raw,
        state_table=table.name,
        contract=RowContract(),
        email=replace(CONFIG, bucket=raw),
    )
    mails = {MESSAGE: stored(letter())}
    return Receiver(config, Flow(mails), Storage(aws("s3")), table, SystemClock())


def test_a_mail_that_is_passed_on_twice_is_one_object_and_says_that_mails_come(
    receiver: Receiver, aws: Callable[[str], Any]
) -> None:
    assert receiver.take(event()) is True
    once = receiver.table.get(source_pk("shop/orders"), workmail_sk(ORGANIZATION))
    assert receiver.take(event()) is False
    twice = receiver.table.get(source_pk("shop/orders"), workmail_sk(ORGANIZATION))
    assert once and twice and once["firstAt"] == twice["firstAt"] <= twice["lastAt"]
    listed = aws("s3").list_objects_v2(Bucket=receiver.config.raw_bucket)["Contents"]
    assert [item["Key"] for item in listed] == [f"shop/orders/_mail/{MESSAGE}"]
    body = aws("s3").get_object(Bucket=receiver.config.raw_bucket, Key=listed[0]["Key"])["Body"]
    mail = read(body.read())
    assert of_mail(mail) == replace(OUTSIDE, recipients=("orders@weir.example",))
    assert receiver.config.email and distrust(mail, receiver.config.email) is None


def test_what_goes_out_is_not_taken(receiver: Receiver) -> None:
    assert receiver.take(event(flowDirection="OUTBOUND")) is False
    assert receiver.table.get(source_pk("shop/orders"), workmail_sk(ORGANIZATION)) is None


def test_a_mail_that_can_not_be_read_is_an_error_and_not_lost_silently(receiver: Receiver) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        receiver.take(event(messageId="gone"))


@pytest.mark.parametrize("message", ["", None, "../orders", "UPPER", "a" * 121])
def test_a_call_that_is_none_of_workmail_is_refused(receiver: Receiver, message: Any) -> None:
    with pytest.raises(ConfigInvalid, match="no event of a WorkMail rule"):
        receiver.take(event(messageId=message))
