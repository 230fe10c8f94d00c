"""Resources hang together, and AWS would take their properties."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from weir.aws.redshift_data import Connection
from weir.aws.registry import adapter_classes
from weir.blueprint import datasource, platform
from weir.blueprint.grants import NamespaceGrant
from weir.blueprint.uses import by_namespace, use_of
from weir.resource import Deletion, Resource, refs, resolve

KEY_ARN = "arn:aws:kms:eu-central-1:111122223333:key/0f0e0d0c-0b0a-4908-8706-050403020100"
GROUPS = ("platform_resources", "source_resources", "pipeline_resources")


def text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def drop(properties: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in properties.items() if key not in names}


def role_call(name: str, p: dict[str, Any]) -> dict[str, Any]:
    call = drop(p, "Policies", "Tags")
    return call | {
        "RoleName": name,
        "AssumeRolePolicyDocument": text(p["AssumeRolePolicyDocument"]),
    }


def schedule_call(name: str, p: dict[str, Any]) -> dict[str, Any]:
    target = p["Target"] | {"Input": text(p["Target"]["Input"])}
    return p | {"Name": name, "Target": target}


CALLS: dict[str, tuple[str, str, Any]] = {
    "iam.Role": ("iam", "CreateRole", role_call),
    "lambda.Function": (
        "lambda",
        "CreateFunction",
        lambda n, p: drop(p, "CodeSha256") | {"FunctionName": n},
    ),
    "lambda.EventSourceMapping": ("lambda", "CreateEventSourceMapping", lambda n, p: p),
    "lambda.Permission": (
        "lambda",
        "AddPermission",
        lambda n, p: {**p, "FunctionName": n.split("|")[0], "StatementId": n.split("|")[1]},
    ),
    "scheduler.Schedule": ("scheduler", "CreateSchedule", schedule_call),
    "states.StateMachine": (
        "stepfunctions",
        "CreateStateMachine",
        lambda n, p: p | {"name": n, "definition": text(p["definition"])},
    ),
    "glue.Job": ("glue", "CreateJob", lambda n, p: p | {"Name": n}),
    "glue.Crawler": (
        "glue",
        "CreateCrawler",
        lambda n, p: p | {"Name": n, "Configuration": text(p["Configuration"])},
    ),
    "glue.Table": (
        "glue",
        "CreateTable",
        lambda n, p: {
            "DatabaseName": n.split(".")[0],
            "TableInput": p | {"Name": n.split(".")[1]},
        },
    ),
    "glue.Database": ("glue", "CreateDatabase", lambda n, p: {"DatabaseInput": p | {"Name": n}}),
    "cloudwatch.Alarm": ("cloudwatch", "PutMetricAlarm", lambda n, p: p | {"AlarmName": n}),
    "cloudwatch.Dashboard": (
        "cloudwatch",
        "PutDashboard",
        lambda n, p: {"DashboardName": n, "DashboardBody": text(p["DashboardBody"])},
    ),
    "dynamodb.Table": (
        "dynamodb",
        "CreateTable",
        lambda n, p: (
            drop(p, "SSEKmsKeyArn", "TtlAttribute", "PointInTimeRecovery", "DeletionProtection")
            | {"TableName": n, "DeletionProtectionEnabled": p["DeletionProtection"]}
        ),
    ),
    "events.Rule": (
        "events",
        "PutRule",
        lambda n, p: {"Name": n, "EventPattern": text(p["EventPattern"]), "State": p["State"]},
    ),
    "kms.Key": (
        "kms",
        "CreateKey",
        lambda n, p: {"Description": p["Description"], "Policy": text(p["KeyPolicy"])},
    ),
    "s3.Bucket": (
        "s3",
        "PutBucketLifecycleConfiguration",
        lambda n, p: {"Bucket": n, "LifecycleConfiguration": {"Rules": p["LifecycleRules"]}},
    ),
}


@pytest.mark.parametrize("group", GROUPS)
def test_logical_ids_are_unique_and_every_dependency_is_of_the_same_owner(
    world: Any, group: str
) -> None:
    found: tuple[Resource, ...] = getattr(world, group)()
    ids = [item.logical_id for item in found]
    assert len(ids) == len(set(ids))
    for item in found:
        needs = {*item.depends_on, *(ref.logical_id for ref in refs(item.properties))}
        assert needs <= set(ids), item.logical_id


def test_no_two_resources_have_the_same_kind_and_name(world: Any) -> None:
    keys = [item.key for item in world.resources() if not item.external]
    assert len(keys) == len(set(keys))


def test_only_the_platforms_own_resources_refer_to_what_aws_alone_knows(worlds: Any) -> None:
    world = worlds()
    for item in (*world.source_resources(), *world.pipeline_resources()):
        assert not list(refs(item.properties)), item.logical_id


def test_a_platform_that_nothing_is_known_of_yet_still_has_a_complete_plan(world: Any) -> None:
    index = {
        name: {"file": f"{name}.zip", "sha256": "ab" * 32, "codeSha256": "q6s="}
        for name in ("functions", "files")
    }
    facts = platform.platform_facts(world.platform, cluster="prod", artifact_index=index)
    found = platform.platform_resources(world.platform, facts, ())
    unknown = {ref.logical_id for item in found for ref in refs(item.properties)}
    assert unknown == {"kms-key"}


def test_boto_takes_the_properties_of_every_kind(world: Any, worlds: Any) -> None:
    session = botocore.session.Session()
    checked = set()
    crawled = worlds(source_spec={"schema": {"discovery": "crawler"}})
    others = (*crawled.source_resources(), *worlds(source_spec=OFFICE).source_resources())
    for item in (*world.resources(), *others):
        if item.external or item.kind not in CALLS:
            continue
        service, operation, call = CALLS[item.kind]
        properties = resolve(item.properties, {("kms-key", "arn"): KEY_ARN})
        shape = session.get_service_model(service).operation_model(operation).input_shape
        report = ParamValidator().validate(call(item.name, properties), shape)
        assert not report.has_errors(), f"{item.logical_id}: {report.generate_report()}"
        checked.add(item.kind)
    assert checked == set(CALLS)


def test_the_example_merges_columns_into_the_table_once_types_are_frozen(worlds: Any) -> None:
    status = {
        "schema": {
            "fields": [
                {"name": "customerId", "type": "integer", "path": "id"},
                {"name": "customerName", "type": "string", "path": "name"},
                {"name": "customerEmail", "type": "string", "path": "email"},
            ]
        }
    }
    world = worlds(status=status)
    by_kind = {item.kind: item for item in world.pipeline_resources()}
    table = by_kind["redshift.Table"]
    secret = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:admin-AbCdEf"
    assert table.name == f"serverless:analytics|dev|{secret}|customers.customer_data"
    assert [column["name"] for column in table.properties["Columns"]] == [
        "customerid",
        "customername",
        "customeremail",
        "_weir_run",
        "_weir_sequence",
    ]
    assert table.properties["DistKey"] == "customerid"
    assert table.properties["SortKey"] == ["customername"]
    storage = by_kind["glue.Table"].properties["StorageDescriptor"]
    assert storage["Location"].endswith("/customers/")
    assert storage["Columns"][0] == {"Name": "customerid", "Type": "bigint"}


def test_names_of_what_only_sql_sees_tell_the_adapter_where_to_ask(world: Any) -> None:
    things = {}
    for item in world.platform_resources():
        if item.kind in ("redshift.Schema", "redshift.Table"):
            connection, thing = Connection.parse(item.name)
            things[thing] = connection.parameters
    assert set(things) == {"weir", "weir.load_ledger", "customers"}
    assert things["weir"] == {
        "WorkgroupName": "analytics",
        "Database": "dev",
        "SecretArn": "arn:aws:secretsmanager:eu-central-1:111122223333:secret:admin-AbCdEf",
    }


def test_every_kind_has_an_adapter(world: Any) -> None:
    classes = adapter_classes()
    assert {item.kind for item in world.resources()} <= set(classes)


def test_an_ingestion_functions_configuration_does_not_change_when_types_are_frozen(
    worlds: Any,
) -> None:
    status = {"schema": {"fields": [{"name": "customerId", "type": "integer", "path": "id"}]}}
    before = {item.name for item in worlds().source_resources()}
    after = {item.name for item in worlds(status=status).source_resources()}
    assert before == after


def test_a_suspended_source_keeps_everything_and_stops_its_schedule(worlds: Any) -> None:
    world = worlds(source_spec={"suspend": True})
    schedule = next(i for i in world.source_resources() if i.kind == "scheduler.Schedule")
    assert schedule.properties["State"] == "DISABLED"
    item = next(i for i in world.pipeline_resources() if i.kind == "dynamodb.Item")
    assert item.properties["Item"]["onArrival"] is False


FILES = {"source": {"files": {"bucket": "uploads", "prefix": "in/", "pattern": "*.csv"}}}


def test_a_source_of_files_is_found_by_its_bucket_and_reads_nothing_else(worlds: Any) -> None:
    world = worlds(source_spec=FILES)
    found = {one.logical_id: one for one in world.source_resources()}
    assert found["watched"].name == "uploads" and found["watched"].external
    entry = found["watch"].properties["Item"]
    assert (entry["pk"], entry["prefix"], entry["pattern"]) == ("WATCH#uploads", "in/", "*.csv")
    assert found["ingest"].properties["Handler"] == "weir_lambdas.file_processor.handler.handler"
    policy = found["ingest-role"].properties["Policies"]["weir"]["Statement"]
    reads = next(one for one in policy if one["Sid"] == "ReadFiles")
    assert reads["Resource"] == ["arn:aws:s3:::uploads/in/*"]
    assert found["schedule"].properties["ScheduleExpression"] == "rate(1 hour)"


def test_a_suspended_source_of_files_is_not_told_of_arrivals(worlds: Any) -> None:
    resources = worlds(source_spec=FILES | {"suspend": True}).source_resources()
    assert "watch" not in {one.logical_id for one in resources}


def test_addresses_of_an_object_get_a_topic_of_its_own(worlds: Any) -> None:
    spec = {"notifications": {"onFailure": [{"email": "team@example.com"}]}}
    world = worlds(source_spec=spec)
    topic = next(i for i in world.source_resources() if i.kind == "sns.Topic")
    assert topic.properties["Subscriptions"] == [
        {"Protocol": "email", "Endpoint": "team@example.com"}
    ]
    alarm = next(i for i in world.source_resources() if i.kind == "cloudwatch.Alarm")
    assert alarm.properties["AlarmActions"] == [world.facts.topic_arn(topic.name)]


def test_a_plain_http_endpoint_gets_no_tls_only_bucket_policy(worlds: Any) -> None:
    for url, present in (("http://127.0.0.1:4566", False), ("https://aws.internal", True)):
        world = worlds({"endpointUrl": url})
        buckets = [i for i in world.platform_resources() if i.kind == "s3.Bucket"]
        statements = [item.properties.get("Policy", {}).get("Statement") for item in buckets]
        assert all(bool(found) is present for found in statements)


def test_without_an_admin_secret_the_sql_to_run_by_hand_is_given(worlds: Any) -> None:
    redshift = {
        "workgroup": "analytics",
        "copyRoleArn": "arn:aws:iam::111122223333:role/redshift-copy",
    }
    world = worlds({"redshift": redshift})
    uses = by_namespace([use_of(world.source), use_of(world.pipeline)], {"default": world.grant})
    statements = platform.manual_sql(world.facts, uses)
    assert 'CREATE SCHEMA IF NOT EXISTS "customers"' in statements
    assert not [i for i in world.platform_resources() if i.kind == "redshift.Schema"]


def test_a_source_without_redshift_or_with_a_pipeline_of_ones_own_has_no_child(
    world: Any,
) -> None:
    manifest = world.source.model_dump(by_alias=True, exclude_none=True)
    manifest["spec"]["pipeline"] = {"managed": False}
    own = type(world.source).model_validate(manifest)
    assert datasource.managed_pipeline(own) is None
    del manifest["spec"]["redshift"]
    manifest["spec"]["pipeline"] = {"managed": True}
    assert datasource.managed_pipeline(type(own).model_validate(manifest)) is None


@pytest.mark.parametrize(
    ("schemas", "users"),
    [
        ((None, None), {"a"}),
        ((None, ["customers"]), {"a", "b"}),
        ((["customers"], None), {"a"}),
        ((["sales"], None), {"b"}),
        ((["sales"], ["sales"]), set()),
    ],
)
def test_a_schema_is_its_first_namespaces_but_for_those_granted_it_by_name(
    world: Any, schemas: tuple[list[str] | None, list[str] | None], users: set[str]
) -> None:
    sources, grants = [], {}
    for day, (namespace, granted) in enumerate(zip("ab", schemas, strict=True), 1):
        metadata = {"namespace": namespace, "creationTimestamp": f"2026-01-0{day}T00:00:00Z"}
        sources.append(
            world.source.model_copy(update={"metadata": {**world.source.metadata, **metadata}})
        )
        limit = None if granted is None else tuple(granted)
        grants[namespace] = NamespaceGrant(namespace, granted=True, schemas=limit)
    uses = by_namespace(map(use_of, sources[::-1]), grants)
    assert {use.namespace for use in uses if "customers" in use.schemas} == users
    resources = platform.platform_resources(world.platform, world.facts, uses)
    roles = {
        role
        for item in resources
        if item.kind == "redshift.Schema" and item.name.endswith("|customers")
        for role in item.properties["Roles"]
    }
    assert roles == {f"weir_{namespace}" for namespace in users}


@pytest.mark.parametrize("schema", ["weir", "pg_catalog", "information_schema"])
def test_no_namespace_is_granted_a_schema_of_redshifts_or_weirs_own(
    worlds: Any, schema: str
) -> None:
    target = {"schema": schema, "table": "t"}
    world = worlds(source_spec={"redshift": target})
    uses = by_namespace([use_of(world.source)], {"default": world.grant})
    assert [use.schemas for use in uses] == [()]


RECEIVES = {
    "source": {"email": {"receive": {"recipients": ["Orders@example.com", "a.example.com"]}}},
    "redshift": {"schema": "customers", "table": "t"},
}


def by_id(resources: Any) -> dict[str, Any]:
    return {item.logical_id: item for item in resources}


def test_a_source_that_receives_mails_has_a_rule_a_domain_each_and_no_bucket(worlds: Any) -> None:
    world = worlds({"mail": {"rulePosition": "First"}}, source_spec=RECEIVES)
    found = by_id(world.source_resources())
    rule = found["receipt-rule"]
    assert not rule.tagged
    assert rule.properties == {
        "Recipients": ["a.example.com", "orders@example.com"],
        "Enabled": True,
        "ScanEnabled": True,
        "TlsPolicy": "Optional",
        "Actions": [
            {
                "S3Action": {
                    "BucketName": world.facts.buckets["raw"],
                    "ObjectKeyPrefix": "default/customer-data-api/_mail/",
                }
            }
        ],
        "Position": "First",
    }
    domains = [item for item in found.values() if item.kind == "ses.Identity"]
    assert sorted(item.name for item in domains) == ["a.example.com", "example.com"]
    assert all(item.external for item in domains)
    assert "watched" not in found
    watch = found["watch"].properties["Item"]
    assert watch["prefix"] == "default/customer-data-api/_mail/"


OFFICE = {
    "source": {"email": {"workmail": {"organizationId": "m-" + "0a" * 16}}},
    "redshift": {"schema": "customers", "table": "t"},
}


def test_a_source_of_workmail_has_a_function_that_its_organization_alone_may_call(
    worlds: Any,
) -> None:
    world = worlds(source_spec=OFFICE)
    found = by_id(world.source_resources())
    function, permission = found["workmail"], found["workmail-permission"]
    assert function.properties["Handler"] == "weir_lambdas.email_processor.workmail.handler"
    assert permission.name == f"{function.name}|AllowWorkMail" and not permission.tagged
    assert permission.properties == {
        "Action": "lambda:InvokeFunction",
        "Principal": "workmail.eu-central-1.amazonaws.com",
        "SourceArn": "arn:aws:workmail:eu-central-1:111122223333:organization/m-" + "0a" * 16,
    }
    (policy,) = found["workmail-role"].properties["Policies"].values()
    allowed = {one["Sid"]: one for one in policy["Statement"]}
    assert allowed["ReadMails"]["Resource"] == [
        "arn:aws:workmailmessageflow:eu-central-1:111122223333:message/m-"
        + "0a" * 16
        + "/incoming/*"
    ]
    (kept,) = allowed["KeepMails"]["Resource"]
    assert kept.endswith("/default/customer-data-api/_mail/*")
    alarm = found["alarm-workmail"].properties
    assert alarm["Dimensions"] == [{"Name": "FunctionName", "Value": function.name}]
    watch = found["watch"].properties["Item"]
    assert watch["prefix"] == "default/customer-data-api/_mail/"
    assert "watched" not in found and "receipt-rule" not in found
    suspended = by_id(worlds(source_spec={**OFFICE, "suspend": True}).source_resources())
    assert "workmail-permission" in suspended and "watch" not in suspended
    assert "ses.amazonaws.com" not in str(world.platform_resources())


def test_ses_is_let_in_only_while_a_source_receives_and_for_rules_of_the_cluster_alone(
    worlds: Any,
) -> None:
    quiet = by_id(worlds().platform_resources())
    assert "mails-rule" not in quiet and "rule-set" not in quiet
    assert "ses.amazonaws.com" not in str(list(quiet.values()))
    world = worlds({"mail": {"createRuleSet": True}}, source_spec=RECEIVES)
    found = by_id(world.platform_resources())
    assert found["rule-set"].kind == "ses.RuleSet"
    rules = "arn:aws:ses:eu-central-1:111122223333:receipt-rule-set/*:receipt-rule/weir-prod-*"
    documents = {
        "WeirMails": found["bucket-raw"].properties["Policy"],
        "Mails": found["kms-key"].properties["KeyPolicy"],
    }
    for sid, document in documents.items():
        (statement,) = [one for one in document["Statement"] if one["Sid"] == sid]
        assert statement["Principal"] == {"Service": "ses.amazonaws.com"}
        assert statement["Condition"] == {
            "StringEquals": {"aws:SourceAccount": "111122223333"},
            "ArnLike": {"aws:SourceArn": rules},
        }
    for zone in ("processed", "curated", "artifacts", "quarantine"):
        assert "ses.amazonaws.com" not in str(found[f"bucket-{zone}"].properties["Policy"])


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_an_iceberg_table_is_an_entry_that_the_job_alone_commits_to(
    worlds: Any, policy: str
) -> None:
    place = {"prefix": "customers/", "format": "iceberg", "partitionBy": ["year"]}
    world = worlds(
        source_spec={"destination": place, "deletionPolicy": policy},
    )
    found = {item.logical_id: item for item in world.pipeline_resources()}
    table = found["table-processed"]
    bucket = world.facts.buckets["processed"]
    assert table.deletion is (Deletion.DELETE if policy == "Delete" else Deletion.RETAIN)
    assert table.properties == {
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"table_type": "ICEBERG"},
        "StorageDescriptor": {"Location": f"s3://{bucket}/customers/table"},
    }
    arguments = found["process"].properties["DefaultArguments"]
    assert arguments["--datalake-formats"] == "iceberg"
    assert f"glue_catalog.warehouse=s3://{bucket}/customers/table" in arguments["--conf"]
    statements = {
        one["Sid"]: one for one in found["process-role"].properties["Policies"]["weir"]["Statement"]
    }
    assert "RegisterPartitions" not in statements
    commits = statements["CommitToTable"]
    assert commits["Action"] == ["glue:GetTable", "glue:UpdateTable"]
    assert commits["Resource"][-1].endswith(f"table/{table.name.replace('.', '/')}")
