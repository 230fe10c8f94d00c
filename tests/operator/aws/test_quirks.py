"""Where AWS is odd, and what the adapters make of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from weir.aws import tags as tagging
from weir.aws.calls import Calls, wait_for
from weir.aws.dynamodb import Item
from weir.aws.errors import Conflict, Invalid
from weir.aws.glue import Database
from weir.aws.kms import TAG_ALIAS, Key
from weir.aws.logs import LogGroup
from weir.aws.mappings import EventSourceMapping
from weir.aws.s3 import Bucket, Object
from weir.aws.secretsmanager import Secret
from weir.aws.session import AwsSession
from weir.reconcile.diff import changes
from weir.resource import UNKNOWN, Change, Resource

pytestmark = pytest.mark.aws

TAGS = {"weir.dev/cluster": "tests"}


def own_policy(bucket: str, sid: str = "WeirTlsOnly") -> dict[str, Any]:
    """A statement of a bucket policy."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": sid,
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": f"arn:aws:s3:::{bucket}/*",
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def rule(name: str, days: int) -> dict[str, Any]:
    """A lifecycle rule."""
    return {
        "ID": name,
        "Status": "Enabled",
        "Filter": {"Prefix": name},
        "Expiration": {"Days": days},
    }


def test_a_bucket_that_is_not_empty_is_never_emptied(session: AwsSession) -> None:
    adapter, s3 = Bucket(session), Calls(session, "s3")
    made = adapter.create(Resource("s3.Bucket", "b", "weir-full", {}), TAGS)
    s3("PutObject", Bucket="weir-full", Key="row", Body=b"1")
    with pytest.raises(Conflict, match="not empty, and is never emptied"):
        adapter.delete(made)
    assert s3("GetObject", Bucket="weir-full", Key="row")["Body"].read() == b"1"


def test_what_others_put_into_a_bucket_stays(session: AwsSession) -> None:
    adapter, s3 = Bucket(session), Calls(session, "s3")
    name = "weir-shared"
    place = {"LocationConstraint": session.region}
    s3("CreateBucket", Bucket=name, CreateBucketConfiguration=place)
    s3("PutBucketPolicy", Bucket=name, Policy=json.dumps(own_policy(name, "theirs")))
    s3(
        "PutBucketLifecycleConfiguration",
        Bucket=name,
        LifecycleConfiguration={"Rules": [rule("theirs", 3)]},
    )
    queue = Calls(session, "sqs")("CreateQueue", QueueName="bucket-events")["QueueUrl"]
    arn = session.arn("sqs", "bucket-events")
    allow = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "s3.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }
        ],
    }
    Calls(session, "sqs")(
        "SetQueueAttributes", QueueUrl=queue, Attributes={"Policy": json.dumps(allow)}
    )
    s3(
        "PutBucketNotificationConfiguration",
        Bucket=name,
        NotificationConfiguration={
            "QueueConfigurations": [
                {"Id": "theirs", "QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
            ]
        },
    )
    s3("PutBucketTagging", Bucket=name, Tagging={"TagSet": [{"Key": "cost", "Value": "7"}]})
    wanted = Resource(
        "s3.Bucket",
        "b",
        name,
        {
            "Policy": own_policy(name),
            "LifecycleRules": [rule("weir-old", 9)],
            "EventBridge": True,
        },
    )
    seen = adapter.observe([name])[name]
    assert seen.properties["Policy"] == {}
    assert seen.properties["LifecycleRules"] == []

    def drift(now: Any) -> Any:
        form = replace(wanted, properties=adapter.traits.canonical(wanted.properties))
        return changes(form, now, adapter.traits)

    seen = adapter.update(wanted, seen, drift(seen), TAGS)
    assert drift(seen) == ()
    assert seen.tags == {"cost": "7", **TAGS}
    policy = json.loads(s3("GetBucketPolicy", Bucket=name)["Policy"])
    assert {item["Sid"] for item in policy["Statement"]} == {"theirs", "WeirTlsOnly"}
    rules = s3("GetBucketLifecycleConfiguration", Bucket=name)["Rules"]
    assert {item["ID"] for item in rules} == {"theirs", "weir-old"}
    events = s3("GetBucketNotificationConfiguration", Bucket=name)
    assert [item["Id"] for item in events["QueueConfigurations"]] == ["theirs"]

    nothing = replace(wanted, properties={"Policy": {}, "LifecycleRules": []})
    seen = adapter.update(nothing, seen, drift_of(adapter, nothing, seen), TAGS)
    policy = json.loads(s3("GetBucketPolicy", Bucket=name)["Policy"])
    assert [item["Sid"] for item in policy["Statement"]] == ["theirs"]
    rules = s3("GetBucketLifecycleConfiguration", Bucket=name)["Rules"]
    assert [item["ID"] for item in rules] == ["theirs"]


def drift_of(adapter: Bucket, wanted: Resource, seen: Any) -> Any:
    """What differs."""
    form = replace(wanted, properties=adapter.traits.canonical(wanted.properties))
    return changes(form, seen, adapter.traits)


def test_a_statement_that_does_not_say_that_it_is_ours_is_refused(session: AwsSession) -> None:
    with pytest.raises(Invalid, match="begins with 'weir'"):
        Bucket(session).canonical({"Policy": own_policy("b", "tls")})


def test_an_artifact_with_another_hash_is_not_uploaded(session: AwsSession) -> None:
    Calls(session, "s3")(
        "CreateBucket",
        Bucket="weir-artifacts",
        CreateBucketConfiguration={"LocationConstraint": session.region},
    )
    name = "s3://weir-artifacts/code/functions.zip"
    wrong = Resource("s3.Object", "code", name, {"Body": "x", "Sha256": "00"}, tagged=False)
    with pytest.raises(Invalid, match="build the artifacts again"):
        Object(session).create(wrong, {})
    lost = Resource("s3.Object", "code", name, {"File": "/none/such.zip"}, tagged=False)
    with pytest.raises(Invalid, match="can't read the artifact"):
        Object(session).create(lost, {})
    assert Object(session).observe([name]) == {}


def test_a_key_whose_alias_was_not_made_is_found_again(session: AwsSession) -> None:
    kms = Calls(session, "kms")
    born = kms(
        "CreateKey",
        Tags=tagging.pairs({TAG_ALIAS: "alias/weir-crash", **TAGS}, "TagKey", "TagValue"),
    )["KeyMetadata"]["KeyId"]
    made = Key(session).create(Resource("kms.Key", "key", "alias/weir-crash", {}), TAGS)
    assert made.attributes["keyId"] == born


def test_a_key_on_its_way_out_is_called_back(session: AwsSession) -> None:
    kms, adapter = Calls(session, "kms"), Key(session)
    wanted = Resource("kms.Key", "key", "alias/weir-back", {"Description": "d"})
    made = adapter.create(wanted, TAGS)
    kms("ScheduleKeyDeletion", KeyId=made.attributes["keyId"], PendingWindowInDays=7)
    seen = adapter.observe([wanted.name])[wanted.name]
    form = replace(wanted, properties=adapter.traits.canonical(wanted.properties))
    drift = changes(form, seen, adapter.traits)
    assert [change.path for change in drift] == ["Enabled"]
    assert changes(form, adapter.update(wanted, seen, drift, TAGS), adapter.traits) == ()


def test_a_catalog_database_with_tables_stays(session: AwsSession) -> None:
    adapter = Database(session)
    made = adapter.create(Resource("glue.Database", "db", "weir_full", {}), TAGS)
    Calls(session, "glue")("CreateTable", DatabaseName="weir_full", TableInput={"Name": "rows"})
    with pytest.raises(Conflict, match=r"still has tables \(rows\)"):
        adapter.delete(made)
    assert adapter.observe(["weir_full"])


def test_a_secret_is_seen_and_its_value_never_asked_for(session: AwsSession) -> None:
    secrets = Calls(session, "secretsmanager")
    for index in range(5):
        secrets("CreateSecret", Name=f"weir/team/key{index}", SecretString="hush")
    asked: list[str] = []
    watching = AwsSession(session.target, observer=lambda call: asked.append(call.operation))
    adapter = Secret(watching)
    names = [f"weir/team/key{index}" for index in range(5)]
    found = adapter.observe([*names, "weir/team/none"])
    assert sorted(found) == names
    arn = found[names[0]].attributes["arn"]
    assert adapter.observe([arn])[arn].attributes["name"] == names[0]
    assert set(asked) <= {"ListSecrets", "DescribeSecret"}
    secrets("DeleteSecret", SecretId=names[0], RecoveryWindowInDays=7)
    leaving = adapter.observe([names[0]])[names[0]]
    assert not leaving.settled
    assert "restore it" in leaving.detail
    adapter.delete(leaving)
    assert adapter.observe([names[1]])


def test_items_of_tables_that_are_not_there_do_not_exist(session: AwsSession) -> None:
    assert Item(session).observe(["none-such|a|b", "none-such|a|c", "other|a|b"]) == {}
    with pytest.raises(Invalid, match=r"no table\|pk\|sk"):
        Item(session).observe(["table|pk"])


def test_a_mapping_of_a_function_that_is_not_there_does_not_exist(session: AwsSession) -> None:
    name = f"no-such-function|{session.arn('sqs', 'none')}"
    assert EventSourceMapping(session).observe([name]) == {}


def test_an_unknown_property_has_any_form(session: AwsSession) -> None:
    form = Bucket(session).traits.canonical({"Policy": UNKNOWN, "Versioning": True})
    assert form == {"Policy": UNKNOWN, "Versioning": True}


def test_waiting_ends_with_what_was_seen_last() -> None:
    looks = iter(range(1000))
    assert wait_for(lambda: next(looks), lambda seen: seen == 2, first=0.001) == 2
    assert wait_for(lambda: next(looks), lambda seen: False, seconds=0.01, first=0.001) > 2


def test_a_log_group_gets_its_key_and_loses_it(session: AwsSession) -> None:
    adapter = LogGroup(session)
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": f"logs.{session.region}.amazonaws.com"},
                "Action": "kms:*",
                "Resource": "*",
            }
        ],
    }
    key = Calls(session, "kms")("CreateKey", Policy=json.dumps(policy))["KeyMetadata"]["Arn"]
    plain = Resource("logs.LogGroup", "logs", "/aws/lambda/weir-keys", {"KmsKeyId": None})
    made = adapter.create(plain, {})
    for wanted in (key, None):
        resource = replace(plain, properties={"KmsKeyId": wanted})
        made = adapter.update(resource, made, (Change("KmsKeyId", None, wanted),), {})
        assert made.properties["KmsKeyId"] == wanted
