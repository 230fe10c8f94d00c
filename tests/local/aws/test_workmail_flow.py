"""A receipt rule hands a mail to WorkMail, whose rule calls a function, which reads the mail."""

from __future__ import annotations

import io
import json
import smtplib
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from weir_local.aws.server import ACCOUNT, LOOPBACK, REGION, EndpointSession, LocalAws
from weir_local.aws.workmail import MAILS_FILE, RULES_FILE, judged

ORGANIZATION = "m-" + "0c" * 16
ARN = f"arn:aws:workmail:{REGION}:{ACCOUNT}:organization/{ORGANIZATION}"
FUNCTION = """
import boto3

def handler(event, context):
    flow = boto3.client("workmailmessageflow")
    body = flow.get_raw_message_content(messageId=event["messageId"])["messageContent"].read()
    assert event["flowDirection"] == "INBOUND" and event["subject"] == "Hello"
    (recipient,) = event["envelope"]["recipients"]
    assert recipient["address"] == "office@office.example"
    kind = "DROP" if body.startswith(b"Return-Path: <ann@sender.example>") else "BOUNCE"
    return {"actions": [{"action": {"type": kind}, "allRecipients": True}]}
"""


class Office:
    """An organization that a receipt rule hands its mails to, and a function that takes them."""

    def __init__(self, aws: LocalAws, admin: EndpointSession) -> None:
        self.aws = aws
        self.iam, self.functions = admin.client("iam"), admin.client("lambda")
        self.flow = admin.client("workmailmessageflow")
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        role = self.iam.create_role(RoleName="office", AssumeRolePolicyDocument=json.dumps(trust))[
            "Role"
        ]["Arn"]
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("office.py", FUNCTION)
        self.function = self.functions.create_function(
            FunctionName="office",
            Runtime="python3.11",
            Role=role,
            Handler="office.handler",
            Code={"ZipFile": archive.getvalue()},
        )["FunctionArn"]

    def may_read(self, organization: str) -> None:
        """What the function's role reads."""
        resource = (
            f"arn:aws:workmailmessageflow:{REGION}:{ACCOUNT}:message/{organization}/incoming/*"
        )
        statement = {
            "Effect": "Allow",
            "Action": "workmailmessageflow:GetRawMessageContent",
            "Resource": resource,
        }
        document = {"Version": "2012-10-17", "Statement": [statement]}
        self.iam.put_role_policy(
            RoleName="office", PolicyName="flow", PolicyDocument=json.dumps(document)
        )

    def let_call(self, source: str) -> None:
        """Let WorkMail call the function for one organization."""
        self.functions.add_permission(
            FunctionName="office",
            StatementId=source[-6:],
            Action="lambda:InvokeFunction",
            Principal=f"workmail.{REGION}.amazonaws.com",
            SourceArn=source,
        )

    def outcome(self) -> dict[str, Any]:
        """Send a mail, and wait for what becomes of it."""
        file = self.aws.state / MAILS_FILE
        before = file.read_text().splitlines() if file.exists() else []
        with smtplib.SMTP(LOOPBACK, self.aws.smtp_port, timeout=30) as server:
            server.sendmail("ann@sender.example", ["office@office.example"], "Subject: Hello\n\nhi")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            now = file.read_text().splitlines() if file.exists() else []
            if len(now) > len(before):
                found: dict[str, Any] = json.loads(now[-1])
                return found
            time.sleep(0.02)
        raise AssertionError("nothing became of the mail")


@pytest.fixture
def office(aws: LocalAws, admin: EndpointSession) -> Iterator[Office]:
    ses = admin.client("ses")
    ses.verify_domain_dkim(Domain="office.example")
    active = ses.describe_active_receipt_rule_set().get("Metadata", {}).get("Name")
    ses.create_receipt_rule_set(RuleSetName="INBOUND_MAIL")
    rule = {
        "Name": ORGANIZATION,
        "Enabled": True,
        "Recipients": ["office.example"],
        "ScanEnabled": True,
        "Actions": [{"WorkmailAction": {"OrganizationArn": ARN}}],
    }
    ses.create_receipt_rule(RuleSetName="INBOUND_MAIL", Rule=rule)
    ses.set_active_receipt_rule_set(RuleSetName="INBOUND_MAIL")
    yield Office(aws, admin)
    ses.set_active_receipt_rule_set(**({"RuleSetName": active} if active else {}))
    ses.delete_receipt_rule_set(RuleSetName="INBOUND_MAIL")


def test_a_rule_calls_only_a_function_that_lets_the_organization_in_and_may_read_its_mails(
    office: Office,
) -> None:
    assert office.outcome()["outcome"] == "no rule"
    rule = {"organizationId": ORGANIZATION, "lambdaArn": office.function, "synchronous": True}
    (office.aws.state / RULES_FILE).write_text(json.dumps([rule]))
    office.let_call(ARN.replace("0c", "0d"))
    found = office.outcome()
    assert f"workmail.{REGION}.amazonaws.com is not authorized" in found["outcome"]
    assert ARN in found["outcome"]
    office.let_call(ARN)
    office.may_read("m-" + "0d" * 16)
    refused = office.outcome()
    assert refused["outcome"].startswith("fallback: ")
    wanted = f"message/{ORGANIZATION}/incoming/{refused['messageId']}"
    assert "workmailmessageflow:GetRawMessageContent" in refused["outcome"]
    assert wanted in refused["outcome"]
    office.may_read(ORGANIZATION)
    taken = office.outcome()
    assert taken["outcome"] == "DROP"
    body = office.flow.get_raw_message_content(messageId=taken["messageId"])["messageContent"]
    text = body.read()
    assert b"X-SES-Spam-Verdict: PASS" in text and text.rstrip().endswith(b"hi")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        office.flow.get_raw_message_content(messageId="none")


@pytest.mark.parametrize(
    ("said", "answers"),
    [
        ('{"actions": [{"action": {"type": "DEFAULT"}, "allRecipients": true}]}', True),
        ('{"actions": [{"action": {"type": "KEEP"}}]}', False),
        ('{"actions": []}', False),
        ("null", False),
        ("", False),
    ],
)
def test_an_answer_that_is_none_counts_as_a_failure(said: str, answers: bool) -> None:
    assert judged(said)[1] is answers
