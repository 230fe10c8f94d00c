"""Mails that arrive by SMTP go through the active rule set as SES takes them through it."""

from __future__ import annotations

import io
import json
import smtplib
import time
import zipfile
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as modern
from typing import Any

import pytest
from botocore.exceptions import ClientError

from weir_local.aws.receiptrules import SETUP
from weir_local.aws.receiving import GTUBE
from weir_local.aws.server import ACCOUNT, LOOPBACK, REGION, EndpointSession, LocalAws

SET, BUCKET = "mails", "inbox-of-mails"
RULES = f"arn:aws:ses:{REGION}:{ACCOUNT}:receipt-rule-set/{SET}:receipt-rule"


def letter(sender: str = "ann@sender.example", **headers: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, "orders@weir.example"
    for name, text in headers.items():
        mail[name.replace("_", "-")] = text
    mail.set_content("hello")
    return mail


class Inbox:
    """The rule set under test, its bucket, and a way to send."""

    def __init__(self, aws: LocalAws, admin: EndpointSession) -> None:
        self.aws = aws
        self.ses, self.s3 = admin.client("ses"), admin.client("s3")
        self.sns, self.sqs = admin.client("sns"), admin.client("sqs")
        self.session = admin

    def rule(self, name: str, *actions: dict[str, Any], after: str = "", **settings: Any) -> None:
        rule = {"Name": name, "Enabled": True, "Actions": list(actions), **settings}
        place = {"After": after} if after else {}
        self.ses.create_receipt_rule(RuleSetName=SET, Rule=rule, **place)

    def names(self) -> list[str]:
        rules = self.ses.describe_active_receipt_rule_set().get("Rules", [])
        return [rule["Name"] for rule in rules]

    def let_in(self, condition: dict[str, Any] | None = None) -> None:
        """The bucket's policy, as AWS's guide has it."""
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "ses.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::{BUCKET}/*",
            "Condition": condition
            or {
                "StringEquals": {"aws:SourceAccount": ACCOUNT},
                "ArnLike": {"aws:SourceArn": f"{RULES}/*"},
            },
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self.s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))

    def send(self, mail: EmailMessage | bytes, *recipients: str, sender: str = "") -> None:
        body = (
            mail if isinstance(mail, bytes) else mail.as_bytes(policy=modern.clone(linesep="\r\n"))
        )
        with smtplib.SMTP(LOOPBACK, self.aws.smtp_port, timeout=30) as server:
            server.sendmail(
                sender or "ann@sender.example", recipients or ("orders@weir.example",), body
            )

    def stored(self, prefix: str) -> list[EmailMessage]:
        keys = [
            item["Key"]
            for item in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
            if not item["Key"].endswith(SETUP)
        ]
        bodies = (self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys)
        return [BytesParser(policy=modern).parsebytes(body) for body in bodies]  # type: ignore[misc]


@pytest.fixture
def inbox(aws: LocalAws, admin: EndpointSession) -> Iterator[Inbox]:
    found = Inbox(aws, admin)
    found.s3.create_bucket(Bucket=BUCKET)
    found.let_in()
    found.ses.verify_domain_dkim(Domain="weir.example")
    found.ses.create_receipt_rule_set(RuleSetName=SET)
    found.ses.set_active_receipt_rule_set(RuleSetName=SET)
    yield found
    found.ses.set_active_receipt_rule_set()
    found.ses.delete_receipt_rule_set(RuleSetName=SET)
    for item in found.s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        found.s3.delete_object(Bucket=BUCKET, Key=item["Key"])
    found.s3.delete_bucket(Bucket=BUCKET)


def into(prefix: str) -> dict[str, Any]:
    return {"S3Action": {"BucketName": BUCKET, "ObjectKeyPrefix": prefix}}


STOP = {"StopAction": {"Scope": "RuleSet"}}


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as raised:
        call()
    return str(raised.value.response["Error"]["Code"])


def test_a_mail_is_stored_with_the_verdicts_on_top(inbox: Inbox) -> None:
    inbox.rule("store", into("a/"), Recipients=["orders@weir.example"], ScanEnabled=True)
    inbox.send(letter(X_SES_Spam_Verdict="PASS-forged"))
    (mail,) = inbox.stored("a/")
    assert "by inbound-smtp.us-east-1.amazonaws.com" in mail.get_all("Received", [])[0]
    assert "for orders@weir.example" in mail.get_all("Received", [])[0]
    assert mail.get_all("X-SES-Spam-Verdict", []) == ["PASS", "PASS-forged"]
    assert mail["X-SES-Virus-Verdict"] == "PASS"
    assert mail["Authentication-Results"].startswith("amazonses.com; spf=pass")
    assert mail["Received-SPF"].startswith("pass")
    assert mail.get_content() == "hello\r\n"


def test_verdicts_go_by_the_mail(inbox: Inbox) -> None:
    inbox.rule("store", into("b/"), ScanEnabled=True)
    spam = letter("ann@sender.invalid")
    spam.set_content(GTUBE.decode())
    inbox.send(spam)
    (mail,) = inbox.stored("b/")
    assert mail["X-SES-Spam-Verdict"] == "FAIL"
    assert "dkim=fail" in mail["Authentication-Results"]
    assert "dmarc=fail" in mail["Authentication-Results"]


def test_a_rule_that_does_not_scan_says_nothing_of_spam(inbox: Inbox) -> None:
    inbox.rule("store", into("c/"))
    inbox.send(letter())
    (mail,) = inbox.stored("c/")
    assert mail["X-SES-Spam-Verdict"] is None


@pytest.mark.parametrize(
    ("recipient", "address", "taken"),
    [
        ("orders@weir.example", "Orders@Weir.example", True),
        ("orders@weir.example", "orders+july@weir.example", True),
        ("orders@weir.example", "sales@weir.example", False),
        ("weir.example", "anybody@weir.example", True),
        ("weir.example", "anybody@sub.weir.example", False),
        (".weir.example", "anybody@sub.weir.example", True),
        (".weir.example", "anybody@weir.example", False),
    ],
)
def test_recipients_match_as_sess_do(
    inbox: Inbox, recipient: str, address: str, taken: bool
) -> None:
    inbox.rule("store", into("d/"), Recipients=[recipient])
    if taken:
        inbox.send(letter(), address)
    else:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            inbox.send(letter(), address)
    assert len(inbox.stored("d/")) == taken


def test_a_domain_that_is_not_verified_receives_nothing(inbox: Inbox) -> None:
    inbox.rule("store", into("e/"), Recipients=["orders@other.example"])
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        inbox.send(letter(), "orders@other.example")


def test_rules_run_in_their_order_until_one_stops(inbox: Inbox) -> None:
    header = {"AddHeaderAction": {"HeaderName": "X-Team", "HeaderValue": "one"}}
    inbox.rule("first", header, into("f1/"))
    inbox.rule("others", STOP, after="first", Recipients=["sales@weir.example"])
    inbox.rule("second", into("f2/"), STOP, after="others")
    inbox.rule("third", into("f3/"), after="second")
    inbox.send(letter())
    assert [mail["X-Team"] for mail in inbox.stored("f1/")] == ["one"]
    assert [mail["X-Team"] for mail in inbox.stored("f2/")] == ["one"]
    assert inbox.stored("f3/") == []


def test_a_rule_that_is_off_is_passed_over(inbox: Inbox) -> None:
    inbox.rule("off", into("g1/"), STOP, Enabled=False)
    inbox.rule("on", into("g2/"), after="off")
    inbox.send(letter())
    assert (len(inbox.stored("g1/")), len(inbox.stored("g2/"))) == (0, 1)


def test_a_rule_that_asks_for_tls_refuses_what_comes_without(inbox: Inbox) -> None:
    inbox.rule("tls", into("h/"), TlsPolicy="Require")
    with pytest.raises(smtplib.SMTPDataError, match="STARTTLS"):
        inbox.send(letter())


def test_a_mail_of_more_than_40_mb_is_refused(inbox: Inbox) -> None:
    inbox.rule("store", into("i/"))
    line = b"x" * 70 + b"\r\n"
    body = b"From: ann@sender.example\r\n\r\n" + line * (40 * 1024 * 1024 // len(line) + 1)
    with pytest.raises(smtplib.SMTPException, match="552"):
        inbox.send(body)
    assert inbox.stored("i/") == []


def test_a_new_rule_is_tried_out_on_its_bucket(inbox: Inbox) -> None:
    inbox.s3.delete_bucket_policy(Bucket=BUCKET)
    assert code_of(lambda: inbox.rule("store", into("j/"))) == "InvalidS3Configuration"
    inbox.let_in({"ArnLike": {"aws:SourceArn": f"{RULES}/another"}})
    assert code_of(lambda: inbox.rule("store", into("j/"))) == "InvalidS3Configuration"
    inbox.let_in({"ArnLike": {"aws:SourceArn": f"{RULES}/store"}})
    inbox.rule("store", into("j/"))
    assert inbox.s3.head_object(Bucket=BUCKET, Key=f"j/{SETUP}")["ContentLength"] > 0


def test_an_encrypted_bucket_asks_for_its_key(inbox: Inbox, admin: EndpointSession) -> None:
    kms = admin.client("kms")
    root = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    mails = {**root, "Principal": {"Service": "ses.amazonaws.com"}}
    mails["Condition"] = {"ArnLike": {"aws:SourceArn": f"{RULES}/store"}}

    def policy(*statements: dict[str, Any]) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})

    key = kms.create_key(Policy=policy(root))["KeyMetadata"]["Arn"]
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    inbox.s3.put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]
        },
    )
    assert code_of(lambda: inbox.rule("store", into("k/"))) == "InvalidS3Configuration"
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(root, mails))
    inbox.rule("store", into("k/"))
    inbox.send(letter())
    assert len(inbox.stored("k/")) == 1


def test_a_rule_is_written_anew_where_it_stands(inbox: Inbox) -> None:
    inbox.rule("one", into("l1/"))
    inbox.rule("two", into("l2/"), after="one")
    changed = {"Name": "one", "Enabled": True, "Actions": [into("l3/")]}
    inbox.ses.update_receipt_rule(RuleSetName=SET, Rule=changed)
    assert inbox.names() == ["one", "two"]
    inbox.send(letter())
    assert [len(inbox.stored(f"l{number}/")) for number in (1, 2, 3)] == [0, 1, 1]
    absent = {**changed, "Name": "absent"}
    update = inbox.ses.update_receipt_rule
    assert code_of(lambda: update(RuleSetName=SET, Rule=absent)) == "RuleDoesNotExist"
    assert code_of(lambda: update(RuleSetName="none", Rule=changed)) == "RuleSetDoesNotExist"


def test_rules_are_moved_and_sets_copied(inbox: Inbox) -> None:
    inbox.rule("one", into("m/"))
    inbox.rule("two", into("m/"), after="one")
    inbox.rule("three", into("m/"), after="two")
    move = inbox.ses.set_receipt_rule_position
    move(RuleSetName=SET, RuleName="three")
    move(RuleSetName=SET, RuleName="one", After="two")
    assert inbox.names() == ["three", "two", "one"]
    assert code_of(lambda: move(RuleSetName=SET, RuleName="one", After="none")) == (
        "RuleDoesNotExist"
    )
    inbox.ses.reorder_receipt_rule_set(RuleSetName=SET, RuleNames=["one", "two", "three"])
    assert inbox.names() == ["one", "two", "three"]
    inbox.ses.clone_receipt_rule_set(RuleSetName="copy", OriginalRuleSetName=SET)
    copied = inbox.ses.describe_receipt_rule_set(RuleSetName="copy")
    assert [rule["Name"] for rule in copied["Rules"]] == ["one", "two", "three"]
    inbox.ses.delete_receipt_rule_set(RuleSetName="copy")


def test_a_set_has_two_hundred_rules_at_most(inbox: Inbox) -> None:
    for number in range(200):
        inbox.rule(f"rule-{number}", STOP, Enabled=False)
    assert code_of(lambda: inbox.rule("one-more", STOP)) == "LimitExceeded"
    many = [STOP] * 11
    assert code_of(lambda: inbox.rule("large", *many)) in ("LimitExceeded", "InvalidParameterValue")


def test_a_region_without_receiving_says_so(aws: LocalAws, admin: EndpointSession) -> None:
    ses = admin.client("ses", region_name="sa-east-1")
    assert code_of(ses.describe_active_receipt_rule_set) == "InvalidAction"


def test_topics_hear_of_a_mail(inbox: Inbox) -> None:
    topic = inbox.sns.create_topic(Name="mails")["TopicArn"]
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    url = inbox.sqs.create_queue(QueueName="mails", Attributes={"Policy": policy})["QueueUrl"]
    arn = inbox.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    inbox.sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
    )  # fmt: skip
    inbox.rule(
        "tell",
        {"SNSAction": {"TopicArn": topic, "Encoding": "UTF-8"}},
        {"S3Action": {**into("n/")["S3Action"], "TopicArn": topic}},
    )
    inbox.send(letter(Subject="Prices"))
    told: list[dict[str, Any]] = []
    for _ in range(3):
        answer = inbox.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0 if len(told) > 1 else 5)
        told += [json.loads(one["Body"]) for one in answer.get("Messages", [])]
        for one in answer.get("Messages", []):
            inbox.sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
    by_type = {one["receipt"]["action"]["type"]: one for one in told}
    assert "hello" in by_type["SNS"]["content"]
    assert by_type["SNS"]["mail"]["commonHeaders"]["subject"] == "Prices"
    key = by_type["S3"]["receipt"]["action"]["objectKey"]
    assert inbox.s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] > 0


DECIDES = """
def handler(event, context):
    mail = event["Records"][0]["ses"]["mail"]
    return {"disposition": "STOP_RULE_SET" if mail["commonHeaders"]["subject"] == "no" else "CONTINUE"}
"""


def test_a_function_decides_on_going_on(inbox: Inbox, admin: EndpointSession) -> None:
    functions, iam = admin.client("lambda"), admin.client("iam")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("decides.py", DECIDES)
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
    role = iam.create_role(RoleName="decides", AssumeRolePolicyDocument=json.dumps(trust))
    arn = functions.create_function(
        FunctionName="decides",
        Runtime="python3.11",
        Role=role["Role"]["Arn"],
        Handler="decides.handler",
        Code={"ZipFile": archive.getvalue()},
    )["FunctionArn"]
    asked = {"LambdaAction": {"FunctionArn": arn, "InvocationType": "RequestResponse"}}
    assert code_of(lambda: inbox.rule("ask", asked)) == "InvalidLambdaFunction"
    functions.add_permission(
        FunctionName="decides",
        StatementId="ses",
        Action="lambda:InvokeFunction",
        Principal="ses.amazonaws.com",
        SourceAccount=ACCOUNT,
    )
    inbox.rule("ask", asked)
    inbox.rule("store", into("o/"), after="ask")
    inbox.send(letter(Subject="no"))
    inbox.send(letter(Subject="yes"))
    end = time.monotonic() + 10
    while not inbox.stored("o/") and time.monotonic() < end:
        time.sleep(0.05)
    assert [mail["Subject"] for mail in inbox.stored("o/")] == ["yes"]
