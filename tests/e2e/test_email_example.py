"""Attachments of trusted mails end as rows in the warehouse; other mails end in quarantine."""

from __future__ import annotations

import gzip
import io
import json
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

import pytest
import pyzipper
import yaml

from e2e.running import Object, Running, condition, is_ready, until
from lambdas.files.letters import stored
from weir_local.aws.server import ACCOUNT, LOOPBACK, REGION, SMTP_PORT_FILE
from weir_local.aws.workmail import MAILS_FILE, RULES_FILE
from weir_local.stack import ROOT

pytestmark = pytest.mark.e2e

NAME, BUCKET, TABLE = "supplier-mails", "weir-example-inbox", "suppliers.prices"


def locked(text: str) -> bytes:
    """A zip archive with a file, encrypted."""
    file = io.BytesIO()
    with pyzipper.AESZipFile(file, "w", encryption=pyzipper.WZ_AES) as archive:
        archive.setpassword(b"of-the-archives")
        archive.writestr("more.csv", text)
    return file.getvalue()


def mail(number: int, **attached: bytes) -> EmailMessage:
    found = EmailMessage()
    found["From"], found["To"] = "Sue <sue@supplier.example>", "prices@example.com"
    found["Subject"], found["Message-ID"] = "Prices", f"<{number}@supplier.example>"
    found.set_content("see the file")
    for name, body in attached.items():
        found.add_attachment(body, maintype="application", subtype="octet-stream", filename=name)
    return found


def deliver(running: Running, number: int, body: bytes) -> None:
    """As SES stores a mail that it has received."""
    received = body.replace(b"orders@weir.example", b"prices@example.com", 1)
    running.aws("s3").put_object(Bucket=BUCKET, Key=f"inbox/{number}", Body=received)


def send(
    running: Running,
    found: EmailMessage,
    recipient: str,
    sender: str = "sue@supplier.example",
) -> None:
    """By SMTP, to the local AWS."""
    port = int((running.stack.state / "aws" / SMTP_PORT_FILE).read_text())
    with smtplib.SMTP(LOOPBACK, port, timeout=30) as server:
        server.send_message(found, sender, [recipient])


@contextmanager
def calls_from_workmail(running: Running, organization: str, function: str) -> Iterator[None]:
    """As people make the rule in WorkMail's console, for mails that SES hands to the organization;
    and as they take it away, since nobody deletes a rule set that has rules of others."""
    rules = running.stack.state / "aws" / RULES_FILE
    rule = {"organizationId": organization, "lambdaArn": function, "synchronous": True}
    rules.write_text(json.dumps([rule | {"timeoutMinutes": 1}]))
    ses, place = running.aws("ses"), f"arn:aws:workmail:{REGION}:{ACCOUNT}:organization"
    ses.verify_domain_dkim(Domain="office.example")
    rule_set = ses.describe_active_receipt_rule_set()["Metadata"]["Name"]
    ses.create_receipt_rule(
        RuleSetName=rule_set,
        Rule={
            "Name": organization,
            "Enabled": True,
            "ScanEnabled": True,
            "Recipients": ["office.example"],
            "Actions": [{"WorkmailAction": {"OrganizationArn": f"{place}/{organization}"}}],
        },
    )
    try:
        yield
    finally:
        ses.delete_receipt_rule(RuleSetName=rule_set, RuleName=organization)
        rules.unlink()


def table(running: Running) -> list[tuple[object, ...]]:
    rows = running.query(f"select article, price from {TABLE} order by article")
    return [(row["article"], str(row["price"])) for row in rows]


@pytest.fixture(scope="module")
def landed(running: Running) -> Object:
    """The Pipeline after the first mails, a trusted and a forged one."""
    s3 = running.aws("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    running.secret("supplier_archives", "of-the-archives")
    deliver(running, 1, stored(mail(1, **{"prices.csv": b"article,price\na1,1.50\na2,2.00\n"})))
    forged = mail(2, **{"prices.csv": b"article,price\na1,0.01\n"})
    deliver(running, 2, stored(forged, dmarc="fail"))
    running.apply(yaml.safe_load((ROOT / "examples/email/datasource.yaml").read_text()))
    return running.wait_run("pipe", NAME)


def test_attachments_of_a_trusted_mail_are_loaded(running: Running, landed: Object) -> None:
    assert table(running) == [("a1", "1.50"), ("a2", "2.00")]
    source = running.get("dsrc", NAME)
    assert is_ready(source), condition(source, "Ready")


def test_a_mail_that_is_not_trusted_is_in_quarantine(running: Running, landed: Object) -> None:
    (key,) = running.keys("quarantine", f"default/{NAME}/")
    body = running.aws("s3").get_object(Bucket=running.bucket("quarantine"), Key=key)["Body"].read()
    (row,) = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    assert row["reason"] == "inbox/2: dmarc is fail (trust.dmarc)"


def test_an_encrypted_archive_in_the_next_mail_is_opened(running: Running, landed: Object) -> None:
    archive = locked("article,price\na2,2.25\na3,3.00\n")
    deliver(running, 3, stored(mail(3, **{"more.zip": archive})))
    expected = [("a1", "1.50"), ("a2", "2.25"), ("a3", "3.00")]
    until(lambda: table(running) == expected, "the third mail is not in the table", 180)


def test_a_mail_to_an_address_of_the_sources_own_is_received_and_loaded(running: Running) -> None:
    running.aws("ses").verify_domain_dkim(Domain="weir.example")
    running.apply(yaml.safe_load((ROOT / "examples/email/receive.yaml").read_text()))
    until(
        lambda: is_ready(running.get("dsrc", "order-mails")),
        "the source with a receipt rule is not ready",
        120,
    )
    attached = {"orders.csv": b"article,price\nb1,4.50\n"}
    send(running, mail(11, **attached), "orders+july@weir.example")
    forged = mail(12, **{"orders.csv": b"article,price\nb2,0.01\n"})
    forged.replace_header("From", "sue@supplier.invalid")
    send(running, forged, "orders@weir.example")
    running.wait_run("pipe", "order-mails")
    rows = running.query("select article, price from suppliers.orders")
    assert [(row["article"], str(row["price"])) for row in rows] == [("b1", "4.50")]
    until(
        lambda: bool(running.keys("quarantine", "default/order-mails/")),
        "the forged mail is not in quarantine",
        60,
    )


def test_a_mail_that_workmail_passes_on_is_loaded(running: Running) -> None:
    source = yaml.safe_load((ROOT / "examples/email/workmail.yaml").read_text())
    organization = source["spec"]["source"]["email"]["workmail"]["organizationId"]
    running.apply(source)
    until(
        lambda: is_ready(running.get("dsrc", "office-mails")),
        "the source of WorkMail's mails is not ready",
        120,
    )
    routed = condition(running.get("dsrc", "office-mails"), "MailRouted")
    assert (routed["status"], routed["reason"]) == ("Unknown", "WaitingForRule")
    function = routed["message"].split()[-1]
    name = running.resource("dsrc", "office-mails", "workmail")["name"]
    assert function == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    trusted, inside = (
        mail(number, **{"invoices.csv": f"article,price\nc{number},7.50\n".encode()})
        for number in (21, 22)
    )
    inside.replace_header("From", "eve@office.example")
    with calls_from_workmail(running, organization, function):
        send(running, trusted, "invoices@office.example")
        send(running, inside, "invoices@office.example", "eve@office.example")
        running.wait_run("pipe", "office-mails")
        until(
            lambda: bool(running.keys("quarantine", "default/office-mails/")),
            "the mail from within the organization is not in quarantine",
            60,
        )
    rows = running.query("select article, price from suppliers.invoices")
    assert [(row["article"], str(row["price"])) for row in rows] == [("c21", "7.50")]
    told = (running.stack.state / "aws" / MAILS_FILE).read_text().splitlines()
    assert [json.loads(line)["outcome"] for line in told] == ["DEFAULT", "DEFAULT"]
    running.look_again("dsrc", "office-mails")
    until(
        lambda: condition(running.get("dsrc", "office-mails"), "MailRouted")["status"] == "True",
        "the source does not say that mails come from WorkMail",
        60,
    )
