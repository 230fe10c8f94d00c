"""Mails that arrive at the local AWS go through the active rule set, as SES receives them.

SES Developer Guide: *Email receiving concepts* (rules in their order, each for the recipients that
match), *Receipt rule actions*, *Service quotas* (40 MB; 150 KB through SNS), *Contents of
notifications*. What SES asks of the world outside is decided here by the mail alone: SPF, DKIM and
DMARC pass unless the sender's domain ends in ``.invalid`` (RFC 2606), spam is what holds the GTUBE
line, a virus the EICAR one.
"""

from __future__ import annotations

import base64
import json
import logging
import secrets
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import default as modern
from email.utils import format_datetime, parseaddr
from typing import Any

from weir_contract.recipients import domain_of, matches, with_parents
from weir_local.aws import workmail
from weir_local.aws.access import service_denial
from weir_local.aws.deliveries import receiver_denial
from weir_local.aws.receiptrules import SES, bucket_denial, put, rule_arn

logger = logging.getLogger("weir.local.aws.receiving")

MAIL_BYTES = 40 * 1024 * 1024
SNS_BYTES = 150 * 1024
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
EICAR = b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE"


class Refused(Exception):
    """SES does not take the mail; the text is its answer, with the SMTP code."""


@dataclass(frozen=True)
class Envelope:
    """How a mail came.

    :param sender: of MAIL FROM, empty for a bounce
    :param recipients: of RCPT TO
    :param helo: the name that the sender's server gave itself
    :param ip: its address
    """

    sender: str
    recipients: tuple[str, ...]
    helo: str = "localhost"
    ip: str = "127.0.0.1"
    tls: bool = False


@dataclass
class Passing:
    """A mail on its way through the rules."""

    envelope: Envelope
    body: bytes
    account: str
    region: str
    number: str = field(
        default_factory=lambda: "".join(
            secrets.choice(string.ascii_lowercase + string.digits) for _ in range(40)
        )
    )
    headers: str = ""
    """What actions have added, on top."""


@contextmanager
def at(account: str, region: str) -> Iterator[None]:
    """Act in an account and region, outside of any request."""
    from ministack.core.responses import request_scope

    with request_scope(account, region):
        yield


def verified(recipient: str) -> bool:
    """Whether the domain of an address, or one above it, is a verified identity."""
    from ministack.services import ses, ses_v2

    for name in with_parents(domain_of(recipient)):
        first, second = ses._identities.get(name) or {}, ses_v2._identities.get(name) or {}
        if first.get("VerificationStatus") == "Success" or second.get("VerifiedForSendingStatus"):
            return True
    return False


def active_rules() -> tuple[str, list[dict[str, Any]]]:
    """The active rule set's name and its rules that are switched on."""
    from ministack.services import ses

    name = ses._active_receipt_rule_set.get("name") or ""
    stored = ses._receipt_rule_sets.get(name) or {}
    return name, [rule for rule in stored.get("Rules", []) if rule.get("Enabled")]


def concerned(rule: dict[str, Any], recipients: Sequence[str]) -> list[str]:
    """Those of a mail's recipients that a rule is for; one without recipients is for all."""
    wanted = rule.get("Recipients") or ()
    return [one for one in recipients if not wanted or any(matches(w, one) for w in wanted)]


def refusal(recipient: str, account: str, region: str) -> str | None:
    """Why SES does not take mails for an address, as an SMTP answer; None where it does."""
    with at(account, region):
        _, rules = active_rules()
        if not verified(recipient) or not any(concerned(rule, [recipient]) for rule in rules):
            return "550 5.1.1 Requested action not taken: mailbox unavailable"
    return None


def receive(envelope: Envelope, body: bytes, account: str, region: str) -> str:
    """Take a mail through the active rule set.

    :param body: as it was sent
    :returns: the message id that SES gave it
    :raises Refused: too large, no rule is for it, or a rule asks for TLS
    """
    if len(body) > MAIL_BYTES:
        raise Refused("552 5.3.4 Message size exceeds the limit of 40 MB")
    mail = Passing(envelope, body, account, region)
    with at(account, region):
        rule_set, rules = active_rules()
        theirs = [rule for rule in rules if concerned(rule, envelope.recipients)]
        if not theirs:
            raise Refused("550 5.1.1 Requested action not taken: mailbox unavailable")
        if not envelope.tls and any(rule.get("TlsPolicy") == "Require" for rule in theirs):
            raise Refused("530 5.7.0 Must issue a STARTTLS command first")
        for rule in theirs:
            if run(rule, rule_set, mail):
                break
    return mail.number


def run(rule: dict[str, Any], rule_set: str, mail: Passing) -> bool:
    """Carry out the actions of a rule, and say whether the evaluation ends with it."""
    source = rule_arn(mail.region, mail.account, rule_set, rule["Name"])
    recipients = concerned(rule, mail.envelope.recipients)
    text = written(mail, recipients[0], bool(rule.get("ScanEnabled")))
    for action in rule.get("Actions") or ():
        ((kind, settings),) = action.items()
        try:
            if kind == "StopAction":
                return True
            if kind == "AddHeaderAction":
                header = f"{settings['HeaderName']}: {settings['HeaderValue']}\r\n"
                mail.headers = header + mail.headers
                text = header.encode() + text
            elif kind == "S3Action":
                store(settings, source, mail, text)
            elif kind == "SNSAction":
                publish(settings, source, mail, recipients, text)
            elif kind == "WorkmailAction":
                organization, sender = settings["OrganizationArn"], mail.envelope.sender
                workmail.deliver(organization, sender, recipients, text, mail.account, mail.region)
            elif kind == "LambdaAction" and (done := call(settings, source, mail, recipients)):
                return done == "STOP_RULE_SET"
            told = settings.get("TopicArn")
            if told and kind != "SNSAction":
                notify(told, source, notification(mail, recipients, kind, settings))
        except Refused as error:
            logger.warning("receipt rule %s: %s: %s", rule["Name"], kind, error)
    return False


def store(settings: dict[str, Any], source: str, mail: Passing, text: bytes) -> None:
    """The S3 action: the mail as an object called by its message id."""
    bucket, key = settings["BucketName"], settings.get("ObjectKeyPrefix", "") + mail.number
    denied = bucket_denial(bucket, key, source, mail.region, mail.account)
    if denied:
        raise Refused(denied)
    put(bucket, key, text)


def publish(
    settings: dict[str, Any], source: str, mail: Passing, recipients: Sequence[str], text: bytes
) -> None:
    """The SNS action: the whole mail, where it is small enough."""
    if len(text) > SNS_BYTES:
        raise Refused(f"the mail has more than {SNS_BYTES} bytes and is bounced")
    told = notification(mail, recipients, "SNSAction", settings)
    encoded = settings.get("Encoding", "UTF-8") == "Base64"
    content = base64.b64encode(text).decode() if encoded else text.decode("utf-8", "replace")
    notify(settings["TopicArn"], source, {**told, "content": content})


def notify(topic: str, source: str, message: dict[str, Any]) -> None:
    """Publish to a topic as SES: one of the same account needs no policy, its key needs one."""
    from ministack.services import sns

    denied = receiver_denial(SES, topic, source)
    if denied and "kms:" in denied:
        raise Refused(denied)
    sns.publish_internal(topic, message, subject="Amazon SES Email Receipt Notification")


def call(
    settings: dict[str, Any], source: str, mail: Passing, recipients: Sequence[str]
) -> str | None:
    """The Lambda action: what the function says of going on (``STOP_RULE``, ``STOP_RULE_SET``)."""
    from weir_local.aws.serviceclient import root_client

    arn = settings["FunctionArn"]
    denied = service_denial(SES, "lambda:InvokeFunction", arn, mail.region, mail.account, source)
    if denied:
        raise Refused(denied)
    told = notification(mail, recipients, "LambdaAction", settings)
    record = {
        "eventSource": "aws:ses",
        "eventVersion": "1.0",
        "ses": {"mail": told["mail"], "receipt": told["receipt"]},
    }
    way = settings.get("InvocationType", "Event")
    answer = root_client("lambda", mail.region).invoke(
        FunctionName=arn, InvocationType=way, Payload=json.dumps({"Records": [record]}).encode()
    )
    if way == "Event" or answer.get("FunctionError"):
        return None
    said = json.loads(answer["Payload"].read() or b"null")
    disposition = said.get("disposition") if isinstance(said, dict) else None
    stops = disposition in ("STOP_RULE", "STOP_RULE_SET")
    return str(disposition) if stops else None


@dataclass(frozen=True)
class Verdicts:
    """What SES finds of a mail."""

    domain: str
    authentic: bool
    spam: str
    virus: str


def verdicts(mail: Passing) -> Verdicts:
    """What is found of a mail, by the mail alone."""
    header = BytesParser(policy=modern).parsebytes(mail.body, headersonly=True)
    sender = parseaddr(str(header.get("From", "")))[1] or mail.envelope.sender
    domain = sender.rpartition("@")[2].lower()
    authentic = bool(domain) and not domain.endswith(".invalid")
    spam = "FAIL" if GTUBE in mail.body else "PASS"
    return Verdicts(domain, authentic, spam, "FAIL" if EICAR in mail.body else "PASS")


def written(mail: Passing, recipient: str, scanned: bool) -> bytes:
    """The mail as SES hands it on: with its own headers on top."""
    envelope, found = mail.envelope, verdicts(mail)
    word = "pass" if found.authentic else "fail"
    when = format_datetime(datetime.now(UTC))
    said = "designates" if found.authentic else "does not designate"
    by = f"inbound-smtp.{mail.region}.amazonaws.com"
    lines = [
        f"Return-Path: <{envelope.sender}>",
        f"Received: from {envelope.helo} ({envelope.helo} [{envelope.ip}])\r\n by {by} with SMTP id "
        f"{mail.number}\r\n for {recipient};\r\n {when} (UTC)",
    ]
    if scanned:
        lines += [f"X-SES-Spam-Verdict: {found.spam}", f"X-SES-Virus-Verdict: {found.virus}"]
    lines += [
        f"Received-SPF: {word} (spfCheck: domain of {found.domain} {said} {envelope.ip} as permitted "
        f"sender) client-ip={envelope.ip}; envelope-from={envelope.sender}; helo={envelope.helo};",
        f"Authentication-Results: amazonses.com;\r\n spf={word} (spfCheck: domain of {found.domain} "
        f"{said} {envelope.ip} as permitted sender) client-ip={envelope.ip}; "
        f"envelope-from={envelope.sender}; helo={envelope.helo};\r\n dkim={word} "
        f"header.i=@{found.domain};\r\n dmarc={word} header.from={found.domain};",
    ]
    return (mail.headers + "\r\n".join(lines) + "\r\n").encode() + mail.body


def notification(
    mail: Passing, recipients: Sequence[str], kind: str, settings: dict[str, Any]
) -> dict[str, Any]:
    """What SES tells of a mail (SES Developer Guide, *Contents of notifications*)."""
    header = BytesParser(policy=modern).parsebytes(mail.body, headersonly=True)
    found = verdicts(mail)
    word = "PASS" if found.authentic else "FAIL"
    when = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    action: dict[str, Any] = {"type": kind.removesuffix("Action"), **_small(settings)}
    if kind == "S3Action":
        prefix = settings.get("ObjectKeyPrefix", "")
        action |= {"bucketName": settings["BucketName"], "objectKeyPrefix": prefix}
        action["objectKey"] = prefix + mail.number
    return {
        "notificationType": "Received",
        "mail": {
            "timestamp": when,
            "source": mail.envelope.sender,
            "messageId": mail.number,
            "destination": list(mail.envelope.recipients),
            "headersTruncated": False,
            "headers": [{"name": name, "value": str(value)} for name, value in header.items()],
            "commonHeaders": {
                "from": [str(header.get("From", ""))],
                "to": [str(header.get("To", ""))],
                "subject": str(header.get("Subject", "")),
                "messageId": str(header.get("Message-ID", "")),
            },
        },
        "receipt": {
            "timestamp": when,
            "processingTimeMillis": 1,
            "recipients": list(recipients),
            "spfVerdict": {"status": word},
            "dkimVerdict": {"status": word},
            "dmarcVerdict": {"status": word},
            "spamVerdict": {"status": found.spam},
            "virusVerdict": {"status": found.virus},
            "action": action,
        },
    }


def _small(settings: dict[str, Any]) -> dict[str, Any]:
    return {name[0].lower() + name[1:]: value for name, value in settings.items()}


def install() -> None:
    """Listen for mails."""
    from weir_local.aws import smtp

    smtp.start()


def uninstall() -> None:
    """Listen no more."""
    from weir_local.aws import smtp

    smtp.stop()
