"""WorkMail's message flow: a mail that a receipt rule hands to an organization, and its Run Lambda rule.

WorkMail Administrator Guide, *Configuring AWS Lambda for Amazon WorkMail* (the event; 15 seconds for an
answer; retries until the rule's timeout, then the fallback action), *Retrieving message content with AWS
Lambda* (a message is there for a day), *Managing access to the Amazon WorkMail Message Flow API* (its
ARN). There are no mailboxes here.

On AWS people make the rules in WorkMail's console, which has no API for them. Here the console is the
file ``workmail-rules.json`` of the state directory, read for each mail: ``[{"organizationId",
"lambdaArn", "synchronous", "timeoutMinutes"}]``. What became of a mail stands in ``workmail-mails.jsonl``.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import default as modern
from pathlib import Path
from typing import Any

from weir_local.aws.access import service_denial
from weir_local.aws.wire import Reply, json_error

logger = logging.getLogger("weir.local.aws.workmail")

SERVICE = "workmailmessageflow"
RULES_FILE, MAILS_FILE = "workmail-rules.json", "workmail-mails.jsonl"
KEPT_SECONDS = 86_400
ANSWER_SECONDS = 15.0
FIRST_WAIT_SECONDS = 0.5
ACTIONS = frozenset({"BOUNCE", "DROP", "DEFAULT", "BYPASS_SPAM_CHECK", "MOVE_TO_JUNK"})


@dataclass(frozen=True)
class Message:
    """A mail in transit."""

    organization: str
    body: bytes
    came: float

    @property
    def is_kept(self) -> bool:
        """Whether its content can still be read."""
        return time.monotonic() - self.came < KEPT_SECONDS


MESSAGES: dict[str, Message] = {}
"""Message id -> mail."""


def arn_of(message_id: str, region: str, account: str) -> str:
    """The ARN that a read of a message is authorized on."""
    found = MESSAGES.get(message_id)
    organization = found.organization if found else "none"
    return f"arn:aws:{SERVICE}:{region}:{account}:message/{organization}/incoming/{message_id}"


def state() -> Path:
    """Where the files are."""
    return Path(os.environ["WEIR_LOCAL_STATE"])


def rule_of(organization: str) -> dict[str, Any] | None:
    """The first rule of an organization, or None."""
    try:
        rules = json.loads((state() / RULES_FILE).read_text())
    except FileNotFoundError:
        return None
    return next((one for one in rules if one["organizationId"] == organization), None)


def deliver(
    organization_arn: str,
    sender: str,
    recipients: Sequence[str],
    body: bytes,
    account: str,
    region: str,
) -> str:
    """Take a mail into an organization, and call the function of its rule.

    :param recipients: the organization's own, of the envelope
    :param body: with SES's headers on top
    :returns: the message id
    """
    organization = organization_arn.rpartition("/")[2]
    for known, old in list(MESSAGES.items()):
        if not old.is_kept:
            del MESSAGES[known]
    message = str(uuid.uuid4())
    MESSAGES[message] = Message(organization, body, time.monotonic())
    rule = rule_of(organization)
    if rule is None:
        told(message, organization, "no rule")
        return message
    header = BytesParser(policy=modern).parsebytes(body, headersonly=True)
    event = {
        "summaryVersion": "2018-10-10",
        "envelope": {
            "mailFrom": {"address": sender},
            "recipients": [{"address": one} for one in recipients],
        },
        "sender": None,
        "subject": str(header.get("Subject", ""))[:256],
        "messageId": message,
        "invocationId": uuid.uuid4().hex,
        "flowDirection": "INBOUND",
        "truncated": False,
    }
    threading.Thread(
        target=flow,
        args=(rule, organization_arn, event, account, region),
        name=f"workmail-{message}",
        daemon=True,
    ).start()
    return message


def flow(
    rule: dict[str, Any], organization_arn: str, event: dict[str, Any], account: str, region: str
) -> None:
    """Call the rule's function as often as WorkMail does, and say what became of the mail."""
    from weir_local.aws.receiving import at

    message, organization = event["messageId"], organization_arn.rpartition("/")[2]
    ends = time.monotonic() + 60.0 * float(rule.get("timeoutMinutes", 0))
    wait = FIRST_WAIT_SECONDS
    while True:
        with at(account, region):
            outcome, done = call(rule, organization_arn, event, account, region)
        if done or not rule.get("synchronous") or time.monotonic() + wait > ends:
            break
        time.sleep(wait)
        wait *= 2
    told(message, organization, outcome if done else f"fallback: {outcome}")


def call(
    rule: dict[str, Any], organization_arn: str, event: dict[str, Any], account: str, region: str
) -> tuple[str, bool]:
    """Call the rule's function once: what came of it, and whether that was an answer."""
    from weir_local.aws.serviceclient import root_client

    function = rule["lambdaArn"]
    service = f"workmail.{region}.amazonaws.com"
    action = "lambda:InvokeFunction"
    denied = service_denial(service, action, function, region, account, organization_arn)
    if denied:
        logger.warning("%s", denied)
        return denied, False
    asked = json.dumps(event).encode()
    waits = bool(rule.get("synchronous"))
    way = "RequestResponse" if waits else "Event"
    began = time.monotonic()
    answer = root_client("lambda", region).invoke(
        FunctionName=function, InvocationType=way, Payload=asked
    )
    if not waits:
        return "called", True
    said = answer["Payload"].read().decode()
    if answer.get("FunctionError"):
        return said, False
    if time.monotonic() - began > ANSWER_SECONDS:
        return f"no answer within {ANSWER_SECONDS:.0f} seconds", False
    return judged(said)


def judged(said: str) -> tuple[str, bool]:
    """The actions of a synchronous rule's answer (*Synchronous Run Lambda response schema*)."""
    try:
        kinds = [one["action"]["type"] for one in json.loads(said)["actions"]]
    except (ValueError, KeyError, TypeError):
        return f"no valid answer: {said}", False
    unknown = [kind for kind in kinds if kind not in ACTIONS]
    if not kinds or unknown:
        return f"no valid answer: {said}", False
    return ", ".join(kinds), True


_writing = threading.Lock()


def told(message: str, organization: str, outcome: str) -> None:
    """Write down what became of a mail."""
    line = json.dumps({"messageId": message, "organizationId": organization, "outcome": outcome})
    with _writing, (state() / MAILS_FILE).open("a") as file:
        file.write(f"{line}\n")


async def handle(
    method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
) -> Reply:
    """GetRawMessageContent."""
    del headers, body, query
    head, _, message = path.strip("/").partition("/")
    if method != "GET" or head != "messages":
        return json_error("UnknownOperationException", f"{method} {path} is not served here", 404)
    found = MESSAGES.get(message)
    if found is None or not found.is_kept:
        return json_error("ResourceNotFoundException", f"Message {message} does not exist", 404)
    return 200, {"Content-Type": "application/octet-stream"}, found.body


def install() -> None:
    """Add the service, with its IAM action."""
    from ministack import app
    from ministack.core import iam_actions, router

    app.SERVICE_HANDLERS[SERVICE] = handle
    router.SERVICE_PATTERNS[SERVICE] = {"host_patterns": [rf"^{SERVICE}\."]}
    iam_actions.SERVICE_TO_IAM_NAMESPACE[SERVICE] = SERVICE
    iam_actions._BOTOCORE_SERVICE_MAP[SERVICE] = [SERVICE]
