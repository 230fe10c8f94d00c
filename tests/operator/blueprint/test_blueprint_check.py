"""What CEL can't say: each mistake gives its reason, its place, and what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from weir.api.v1alpha1 import DataSource
from weir.blueprint import check, schedules
from weir.blueprint.grants import namespace_grant

REST = {
    "endpoint": "https://api.example.com/customers",
    "headers": {"Authorization": "${SECRET:customer_api_key}"},
    "schedule": "rate(1 hour)",
}
REDSHIFT = {"schema": "customers", "table": "customer_data"}
MERGE = {**REDSHIFT, "mode": "merge", "keys": ["customerId"]}


def rest(**changes: Any) -> dict[str, Any]:
    return {"source": {"restApi": {**REST, **changes}}}


def mapping(*columns: str, **more: Any) -> dict[str, Any]:
    return {"schema": {"mapping": {name: name for name in columns}, **more}}


def destination(**changes: Any) -> dict[str, Any]:
    return {"destination": {"prefix": "customers/", **changes}}


def known(world: Any) -> check.Known:
    return check.Known("default", {}, {world.source.name: world.source}, world.facts, world.grant)


def reasons(found: tuple[check.Problem, ...]) -> set[str]:
    return {problem.reason for problem in found}


MARKED = {"fields": [{"name": "a", "type": "string"}], "deletion": {"path": "gone"}}

SOURCE_FAULTS = {
    "a distkey that the mapping does not produce": (
        {"redshift": {**REDSHIFT, "distkey": "customerID2"}},
        "UnknownColumn",
    ),
    "a sortkey that the mapping does not produce": (
        {"redshift": {**REDSHIFT, "sortkey": "customerName, nope"}},
        "UnknownColumn",
    ),
    "merge keys that the mapping does not produce": (
        {"redshift": {**REDSHIFT, "mode": "merge", "keys": ["nope"]}},
        "UnknownColumn",
    ),
    "a distkey of type json": (
        {
            "schema": {"mapping": {"a": "a"}, "fields": [{"name": "a", "type": "json"}]},
            "redshift": {**REDSHIFT, "distkey": "a"},
        },
        "InvalidKeyColumn",
    ),
    "a secret of another namespace": (
        rest(headers={"Authorization": "${SECRET:weir/other/key}"}),
        "SecretNotGranted",
    ),
    "a secret anywhere in the account": (
        rest(params={"key": "${SECRET:prod/database}"}),
        "SecretNotGranted",
    ),
    "a malformed reference": (
        rest(headers={"Authorization": "${SECRET customer}"}),
        "MalformedReference",
    ),
    "an unclosed reference in the body": (
        rest(method="POST", body={"a": [{"key": "${SECRET:customer"}]}),
        "MalformedReference",
    ),
    "a reference in the endpoint": (
        rest(endpoint="https://api.example.com/${SECRET:key}", headers={}),
        "MalformedReference",
    ),
    "loopback without a grant": (rest(endpoint="https://127.0.0.1:8080/x"), "EgressNotGranted"),
    "localhost without a grant": (rest(endpoint="https://localhost/x"), "EgressNotGranted"),
    "a private address": (rest(endpoint="https://10.1.2.3/x"), "EgressNotGranted"),
    "the metadata address": (rest(endpoint="http://169.254.169.254/x"), "EgressNotGranted"),
    "the metadata address in IPv6": (
        rest(endpoint="https://[fd00:ec2::254]/x"),
        "EgressNotGranted",
    ),
    "a mapped loopback address": (
        rest(endpoint="https://[::ffff:127.0.0.1]/x"),
        "EgressNotGranted",
    ),
    "a secret over plain http": (rest(endpoint="http://api.example.com/x"), "InsecureEndpoint"),
    "a secret over plain http to an address": (
        rest(endpoint="http://93.184.215.14/x"),
        "InsecureEndpoint",
    ),
    "a rate with the wrong plural": (rest(schedule="rate(1 hours)"), "InvalidSchedule"),
    "a cron of five fields": (rest(schedule="cron(0 6 * * ?)"), "InvalidSchedule"),
    "a cron with an impossible hour": (rest(schedule="cron(0 25 * * ? *)"), "InvalidSchedule"),
    "a cron with both days": (rest(schedule="cron(0 6 * * * *)"), "InvalidSchedule"),
    "an unknown time zone": (rest(timezone="Europe/Berlim"), "InvalidTimezone"),
    "columns that fold to the same": (mapping("customerId", "CustomerID"), "DuplicateColumn"),
    "a column of Weir's own": (mapping("_weir_run"), "ReservedColumn"),
    "keys that are no columns": (mapping("a", keys=["b"]), "UnknownColumn"),
    "a rule that is not DQDL": (mapping("a", rules=["IsFine 'a'"]), "InvalidRule"),
    "a decimal with more scale than digits": (
        {"schema": {"fields": [{"name": "a", "type": "decimal(3,5)"}]}},
        "InvalidType",
    ),
    "another's bucket": (destination(bucket="somebody-elses"), "BucketNotAllowed"),
    "the raw zone": (destination(bucket="${BUCKET:raw}"), "BucketNotAllowed"),
    "a hidden partition in a zone": (
        {
            "schema": {"fields": [{"name": "at", "type": "timestamp"}]},
            **destination(format="iceberg", partitionBy=["day(at, Europe/Berlin)"]),
        },
        "InvalidPartition",
    ),
    "an hour of a date in an Iceberg table": (
        {
            "schema": {"fields": [{"name": "on", "type": "date"}]},
            **destination(format="iceberg", partitionBy=["hour(on)"]),
        },
        "InvalidPartition",
    ),
    "an Iceberg key that is no column": (
        {
            "schema": {"fields": [{"name": "a", "type": "string"}]},
            **destination(format="iceberg", iceberg={"keys": ["b"]}),
        },
        "UnknownColumn",
    ),
    "a snapshot that a query can not finish with": (
        destination(format="iceberg", iceberg={"keepSnapshots": "5m"}),
        "InvalidDuration",
    ),
    "an Iceberg table beside a load that forgets rows": (
        {
            "schema": {**MARKED, "keys": ["a"]},
            "redshift": {**REDSHIFT, "deletes": "hard"},
            **destination(format="iceberg"),
        },
        "DeletionsLost",
    ),
    "soft deletions in an Iceberg table that is replaced": (
        {"schema": MARKED, **destination(format="iceberg", iceberg={"deletes": "soft"})},
        "InvalidMode",
    ),
    "soft deletions in an Iceberg table of a source that reports none": (
        {
            "schema": {"fields": [{"name": "a", "type": "string"}]},
            **destination(format="iceberg", iceberg={"keys": ["a"], "deletes": "soft"}),
        },
        "NoDeletions",
    ),
    "an Iceberg table that keeps what is new only": (
        {
            **rest(incremental={"cursorPath": "at", "startParam": "since"}),
            **destination(format="iceberg", iceberg={"mode": "replace"}),
        },
        "InvalidMode",
    ),
    "a partition that is no column": (destination(partitionBy=["country"]), "UnknownColumn"),
    "a partition twice": (destination(partitionBy=["year", "year"]), "DuplicatePartition"),
    "a day of a number": (
        {
            "schema": {"fields": [{"name": "n", "type": "integer"}]},
            **destination(partitionBy=["day(n)"]),
        },
        "InvalidPartition",
    ),
    "Weir's own schema": ({"redshift": {**REDSHIFT, "schema": "weir"}}, "ReservedSchema"),
    "a catalog's schema": ({"redshift": {**REDSHIFT, "schema": "pg_catalog"}}, "ReservedSchema"),
    "deletes of a source that reports none": (
        {"redshift": {**MERGE, "deletes": "soft"}},
        "NoDeletions",
    ),
    "deletes without keys": (
        {
            **mapping("customerId", "customerName", deletion={"path": "gone"}),
            "redshift": {**REDSHIFT, "deletes": "hard"},
        },
        "InvalidMode",
    ),
    "deletes of a table with too long a name": (
        {
            **mapping("customerId", deletion={"path": "gone"}),
            "redshift": {**MERGE, "table": "t" * 114, "deletes": "hard"},
        },
        "NameTooLong",
    ),
    "a table that is Weir's own": (
        {"redshift": {**REDSHIFT, "table": "_weir_deleted_orders"}},
        "ReservedTable",
    ),
    "a deletion's column that is none": (
        mapping("a", deletion={"path": "gone", "mapping": {"b": "before.b"}}),
        "UnknownColumn",
    ),
    "a deletion told by a stream's metadata, of no stream": (
        mapping("a", deletion={"path": "_stream.tombstone"}),
        "NoMetadata",
    ),
    "deletion without a grant": ({"deletionPolicy": "Delete"}, "DeleteNotGranted"),
    "an unknown schema": ({"schema": None, "schemaRef": {"name": "nope"}}, "UnknownSchema"),
    "replace of an increment": (
        {
            **rest(incremental={"cursorPath": "id", "startParam": "since"}),
            "redshift": {**REDSHIFT, "mode": "replace"},
        },
        "InvalidMode",
    ),
}


def test_the_reference_example_has_no_problem(world: Any) -> None:
    assert check.datasource_problems(world.source, known(world)) == ()
    assert check.pipeline_problems(world.pipeline, known(world)) == ()


@pytest.mark.parametrize("name", SOURCE_FAULTS)
def test_a_source_with_a_mistake_says_so(worlds: Any, name: str) -> None:
    spec, reason = SOURCE_FAULTS[name]
    base = worlds()
    manifest = base.source.model_dump(by_alias=True, exclude_none=True)
    if "schema" in spec and "redshift" not in spec:
        manifest["spec"].pop("redshift")
    manifest["spec"].update(spec)
    source = DataSource.model_validate(manifest)
    around = check.Known("default", {}, {}, base.facts, base.grant)
    found = check.datasource_problems(source, around)
    assert reasons(found) == {reason}, [str(problem) for problem in found]
    assert all(problem.path and problem.message for problem in found)


@pytest.mark.parametrize(
    ("grant", "spec"),
    [
        (
            {"secretPrefixes": ["shared/"]},
            rest(headers={"Authorization": "${SECRET:shared/key}"}),
        ),
        ({"egress": {"allowLoopback": True}}, rest(endpoint="http://127.0.0.1:8080/x")),
        ({"egress": {"allowPrivate": True}}, rest(endpoint="https://10.1.2.3/x")),
        ({"egress": {"hosts": ["*.example.com"]}}, {}),
        ({"redshift": {"schemas": ["cust*"]}}, {}),
        ({"bucketPrefixes": ["customers/*"]}, {}),
        ({"allow": ["delete"]}, {"deletionPolicy": "Delete"}),
    ],
)
def test_what_a_grant_allows_is_no_problem(
    worlds: Any, grant: dict[str, Any], spec: dict[str, Any]
) -> None:
    grants = [{"namespaces": {"names": ["default"]}, **grant}]
    world = worlds({"grants": grants}, spec)
    assert check.datasource_problems(world.source, known(world)) == ()


@pytest.mark.parametrize(
    ("grant", "reason"),
    [
        ({"egress": {"hosts": ["*.example.org"]}}, "EgressNotGranted"),
        ({"redshift": {"schemas": ["sales"]}}, "SchemaNotGranted"),
        ({"bucketPrefixes": ["sales/*"]}, "PrefixNotGranted"),
    ],
)
def test_what_a_grant_limits_is_a_problem(worlds: Any, grant: dict[str, Any], reason: str) -> None:
    grants = [{"namespaces": {"names": ["default"]}, **grant}]
    world = worlds({"grants": grants})
    assert reasons(check.datasource_problems(world.source, known(world))) == {reason}


TOPIC = "arn:aws:sns:eu-central-1:111122223333:"

TENANT_REACHES = {
    "a topic of the account": (
        {"notifications": {"onFailure": [{"sns": TOPIC + "billing"}]}},
        "ExternalNotGranted",
    ),
    "every topic of the account": (
        {"notifications": {"onSuccess": [{"sns": TOPIC + "*"}]}},
        "InvalidArn",
    ),
    "a topic by a policy variable": (
        {"notifications": {"onQuality": [{"sns": TOPIC + "${aws:username}"}]}},
        "InvalidArn",
    ),
    "every prefix of the zone": (destination(prefix="*/"), "InvalidPrefix"),
    "a pattern below a prefix": (destination(prefix="a/b*/"), "InvalidPrefix"),
    "a way up": (destination(prefix="customers/../orders/"), "InvalidPrefix"),
    "an empty folder": (destination(prefix="customers//"), "InvalidPrefix"),
    "where jobs stage": (destination(prefix="customers/_weir_staging/"), "InvalidPrefix"),
    "where manifests stand": (destination(prefix="_manifests/"), "InvalidPrefix"),
    "a quote": (destination(prefix="it's/"), "InvalidPrefix"),
    "the raw zone": (destination(bucket="${BUCKET:raw}"), "BucketNotAllowed"),
    "code and configurations": (destination(bucket="${BUCKET:artifacts}"), "BucketNotAllowed"),
    "a bucket of others": (
        {"source": {"files": {"bucket": "somebody-elses"}}},
        "ExternalNotGranted",
    ),
    "a stream of others": (
        {
            "source": {
                "stream": {
                    "kinesis": {
                        "streamArn": "arn:aws:kinesis:eu-central-1:111122223333:stream/clicks"
                    }
                }
            }
        },
        "ExternalNotGranted",
    ),
    "brokers inside": (
        {
            "source": {
                "stream": {"kafka": {"bootstrapServers": ["10.0.0.1:9092"], "topics": ["tt"]}}
            }
        },
        "EgressNotGranted",
    ),
    "a password of others": (
        {
            "source": {
                "email": {
                    "bucket": "uploads",
                    "attachments": {"passwordSecret": "prod/zip"},
                }
            }
        },
        "SecretNotGranted",
    ),
    "instance metadata by allowedHosts": (
        rest(allowedHosts=["169.254.169.254"]),
        "EgressNotGranted",
    ),
}


@pytest.mark.parametrize("name", TENANT_REACHES)
def test_a_tenant_reaches_nothing_beyond_its_namespace(worlds: Any, name: str) -> None:
    spec, reason = TENANT_REACHES[name]
    world = worlds(source_spec=spec)
    found = check.datasource_problems(world.source, known(world))
    # The mails' bucket is nobody's here: its own refusal comes beside the password's.
    beside = {"ExternalNotGranted"} if "email" in spec.get("source", {}) else set()
    assert reasons(found) == {reason} | beside, [str(problem) for problem in found]


@pytest.mark.parametrize(
    "spec",
    [
        {"notifications": {"onFailure": [{"sns": TOPIC + "billing"}]}},
        {"source": {"files": {"bucket": "somebody-elses"}}},
    ],
)
def test_what_externalArns_grant_may_be_used(worlds: Any, spec: dict[str, Any]) -> None:
    arns = [TOPIC + "bill*", "arn:aws:s3:::somebody-elses"]
    grants = [{"namespaces": {"names": ["default"]}, "externalArns": arns}]
    world = worlds({"grants": grants}, source_spec=spec)
    assert check.datasource_problems(world.source, known(world)) == ()


def test_the_platforms_own_topics_need_no_grant(worlds: Any) -> None:
    topic = TOPIC + "ops"
    world = worlds(
        {"notifications": {"onFailure": [{"sns": topic}]}},
        source_spec={"notifications": {"onSuccess": [{"sns": topic}]}},
    )
    assert check.datasource_problems(world.source, known(world)) == ()


def test_an_address_is_no_way_around_granted_hosts(worlds: Any) -> None:
    grants = [{"namespaces": {"names": ["default"]}, "egress": {"hosts": ["api.example.com"]}}]
    world = worlds({"grants": grants}, source_spec=rest(endpoint="https://93.184.215.14/customers"))
    assert reasons(check.datasource_problems(world.source, known(world))) == {"EgressNotGranted"}


def test_offline_the_platforms_limits_are_not_checked(worlds: Any) -> None:
    world = worlds(source_spec=rest(headers={"Authorization": "${SECRET:prod/database}"}))
    around = check.Known("default", {}, {world.source.name: world.source})
    assert check.datasource_problems(world.source, around) == ()


def stage(**kind: Any) -> dict[str, Any]:
    load = {"name": "out", "write": {"prefix": "customers/"}}
    return {"stages": [{"name": "s", **kind}, load]}


PIPELINE_FAULTS = {
    "an unknown source": ({"sources": [{"name": "nope"}]}, "UnknownSource"),
    "another platform": ({"platform": "other"}, "PlatformMismatch"),
    "reflect": (
        stage(transform=[{"derive": {"x": "reflect('java.lang.Runtime', 'getRuntime')"}}]),
        "InvalidExpression",
    ),
    "java_method in a filter": (
        stage(transform=[{"filter": "java_method('a', 'b') = 1"}]),
        "InvalidExpression",
    ),
    "a file in a query": (
        stage(transform=[{"sql": "select * from parquet.`s3://other/`"}]),
        "InvalidExpression",
    ),
    "a query of an undeclared table": (
        stage(transform=[{"sql": "select * from secrets"}]),
        "InvalidExpression",
    ),
    "a join of an undeclared source": (
        stage(transform=[{"join": {"source": "countries", "keys": ["customerId"]}}]),
        "UnknownSource",
    ),
    "a script without a grant": (
        stage(transform=[{"script": {"inline": "def transform(df, spark): return df"}}]),
        "ScriptsNotGranted",
    ),
    "a script file without a grant": (
        stage(transform=[{"script": {"uri": "s3://somebody-elses/x.py"}}]),
        "ScriptsNotGranted",
    ),
    "a column named like SQL": (
        stage(transform=[{"derive": {'a"; drop table t; --': "1"}}]),
        "InvalidColumn",
    ),
    "an unload over a prefix that is a pattern": (
        stage(unload={"query": "select 1", "to": "${BUCKET:curated}/*/"}),
        "InvalidPrefix",
    ),
    "an unload into a written prefix": (
        stage(unload={"query": "select 1", "to": "${BUCKET:curated}/customers/eu/"}),
        "DuplicateTarget",
    ),
    "a topic of the account": (
        {"notifications": {"onFailure": [{"sns": TOPIC + "billing"}]}},
        "ExternalNotGranted",
    ),
    "a column that was not selected": (
        stage(transform=[{"select": ["customerId"]}, {"rename": {"customerName": "n"}}]),
        "UnknownColumn",
    ),
    "a personal column that is none": (
        stage(clean={"pii": [{"column": "nope", "action": "drop"}]}),
        "UnknownColumn",
    ),
    "a rule that is not DQDL": (stage(validate={"rules": ["nonsense"]}), "InvalidRule"),
    "a bad cron": (
        {"trigger": {"schedule": {"expression": "cron(61 * * * ? *)"}}},
        "InvalidSchedule",
    ),
    "an unload that writes": (
        stage(unload={"query": "delete from t", "to": "${BUCKET:curated}/x/"}),
        "InvalidExpression",
    ),
    "an unload of everybody's ledger": (
        stage(unload={"query": 'select * from "WEIR".load_ledger', "to": "${BUCKET:curated}/x/"}),
        "InvalidExpression",
    ),
    "an unload of two statements": (
        stage(unload={"query": "select 1; drop table t", "to": "${BUCKET:curated}/x/"}),
        "InvalidExpression",
    ),
    "an unload into another's bucket": (
        stage(unload={"query": "select 1", "to": "s3://somebody-elses/x/"}),
        "BucketNotAllowed",
    ),
    "two stages that load one table": (
        {
            "stages": [
                {"name": "a", "load": {"redshift": REDSHIFT}},
                {"name": "b", "load": {"redshift": {**REDSHIFT, "table": "CUSTOMER_DATA"}}},
            ]
        },
        "DuplicateTarget",
    ),
    "a key that a stage dropped": (
        {
            "stages": [
                {"name": "a", "clean": {"pii": [{"column": "customerId", "action": "drop"}]}},
                {"name": "b", "load": {"redshift": {**REDSHIFT, "distkey": "customerId"}}},
            ]
        },
        "UnknownColumn",
    ),
}


@pytest.mark.parametrize("name", PIPELINE_FAULTS)
def test_a_pipeline_with_a_mistake_says_so(worlds: Any, name: str) -> None:
    spec, reason = PIPELINE_FAULTS[name]
    world = worlds(pipeline_spec=spec)
    found = check.pipeline_problems(world.pipeline, known(world))
    assert reasons(found) == {reason}, [str(problem) for problem in found]


def test_a_script_file_of_others_needs_its_own_grant(worlds: Any) -> None:
    grants = [{"namespaces": {"names": ["default"]}, "allow": ["scripts"]}]
    spec = stage(transform=[{"script": {"uri": "s3://somebody-elses/x.py"}}])
    world = worlds({"grants": grants}, pipeline_spec=spec)
    found = check.pipeline_problems(world.pipeline, known(world))
    assert reasons(found) == {"ExternalNotGranted"}


def test_columns_are_followed_through_the_stages(worlds: Any) -> None:
    steps = [
        {"rename": {"customerId": "id"}},
        {"derive": {"domain": "split(customerEmail, '@')[1]"}},
        {"select": ["id", "domain"]},
        {"aggregate": {"groupBy": ["domain"], "measures": {"n": "count(id)"}}},
    ]
    stages = [
        {"name": "shape", "transform": steps},
        {"name": "out", "load": {"redshift": {**REDSHIFT, "distkey": "domain", "sortkey": "n"}}},
    ]
    world = worlds(pipeline_spec={"stages": stages, "destination": {"prefix": "customers/"}})
    assert check.pipeline_problems(world.pipeline, known(world)) == ()


def test_a_schema_can_be_matched_by_labels(worlds: Any) -> None:
    world = worlds({"grants": [{"namespaces": {"matchLabels": {"team": "crm"}}}]})
    assert not namespace_grant(world.platform, "default", {"team": "sales"}).granted
    assert namespace_grant(world.platform, "default", {"team": "crm", "x": "y"}).granted


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minute)",
        "rate(5 minutes)",
        "rate(2 days)",
        "cron(0 6 * * ? *)",
        "cron(0/15 8-18 ? * MON-FRI *)",
        "cron(0 6 L * ? *)",
        "cron(0 6 ? * 6L *)",
        "cron(0 6 ? * 2#1 2026-2030)",
        "cron(0 6 1,15 JAN,JUL ? *)",
        "cron(0 6 15W * ? *)",
    ],
)
def test_a_schedule_that_aws_takes_is_taken(expression: str) -> None:
    assert schedules.schedule_fault(expression) is None


def test_a_pipeline_needs_a_warehouse_to_load(world: Any) -> None:
    around = replace(known(world), facts=replace(world.facts, warehouse=None))
    found = check.pipeline_problems(world.pipeline, around)
    assert reasons(found) == {"NoWarehouse"}


def of_deletions(worlds: Any, *stages: dict[str, Any], **spec: Any) -> tuple[check.Problem, ...]:
    """What is wrong with a pipeline of a source that reports deletions."""
    names = ("customerId", "customerName")
    world = worlds(
        source_spec=mapping(*names, deletion={"path": "op", "values": ["D"]}),
        pipeline_spec={
            "stages": [{"name": f"s{number}", **one} for number, one in enumerate(stages)],
            **spec,
        },
    )
    return check.pipeline_problems(world.pipeline, known(world))


def load_of(**changes: Any) -> dict[str, Any]:
    return {"load": {"redshift": {**MERGE, "deletes": "hard", **changes}}}


def test_deletions_pass_filters_and_cleaning_and_no_step_that_makes_other_rows(
    worlds: Any,
) -> None:
    tidy = {"clean": {"trim": True, "deduplicate": {"keys": ["customerId"]}}}
    passing = {"transform": [{"filter": "customerName <> 'x'"}, {"derive": {"a": "1"}}]}
    assert of_deletions(worlds, tidy, passing, load_of()) == ()
    for step in ({"sql": "select * from input"}, {"cast": {"customerId": "integer"}}):
        found = of_deletions(worlds, {"transform": [step]}, load_of())
        assert reasons(found) == {"DeletionsLost"}
        assert found[0].path == "spec.stages[1].load.redshift.deletes"
    renamed = {"transform": [{"rename": {"customerId": "id"}}]}
    assert reasons(of_deletions(worlds, renamed, load_of(keys=["id"]))) == {"DeletionsLost"}
    assert of_deletions(worlds, renamed, load_of(keys=["id"], deletes="ignore")) == ()


def test_loads_of_one_pipeline_obey_deletions_by_one_key(worlds: Any) -> None:
    other = load_of(table="other", keys=["customerName"])
    found = of_deletions(worlds, load_of(), other)
    assert reasons(found) == {"DeletionsLost"} and found[0].path == "spec.stages[1]"
    assert of_deletions(worlds, load_of(), load_of(table="other", deletes="soft")) == ()


def test_an_iceberg_table_obeys_deletions_by_the_loads_key(worlds: Any) -> None:
    place = {"prefix": "lake/", "format": "iceberg", "iceberg": {"deletes": "soft"}}
    assert of_deletions(worlds, load_of(), destination=place) == ()
    joined = {"transform": [{"sql": "select * from input"}]}
    paths = {one.path for one in of_deletions(worlds, joined, load_of(), destination=place)}
    assert "spec.destination.iceberg.deletes" in paths
    other = {**place, "iceberg": {"deletes": "soft", "keys": ["customerName"]}}
    (found,) = of_deletions(worlds, load_of(), destination=other)
    assert found.reason == "DeletionsLost"
    assert "spec.stages[0] and spec.destination.iceberg obey deletions" in found.message
