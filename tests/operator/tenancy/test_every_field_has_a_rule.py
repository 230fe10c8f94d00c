"""Every field of the API that can hold text either names nothing outside of its own object, or has a
rule that refuses what the namespace was not granted.

The fields come from the models: one that is added without a line here fails the first test.
"""

from __future__ import annotations

import copy
import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tenancy_world import NARROW

from weir.api import crd
from weir.api.v1alpha1 import DataSchema, DataSource, Pipeline, PipelineRun
from weir.blueprint import check
from weir.blueprint.grants import NamespaceGrant

PAGE = Path(__file__).parents[3] / "docs" / "tenancy.md"
KINDS = (DataSource, Pipeline, PipelineRun, DataSchema)
OTHERS = "other"
ACCOUNT = "111122223333"
TOPIC = f"arn:aws:sns:eu-central-1:{ACCOUNT}:not-ours"
SECRET = "${SECRET:weir/other/key}"


@dataclass(frozen=True)
class Refused:
    """A value that names something of others, where it stands, and the reason that it meets."""

    spec: dict[str, Any]
    reason: str
    at: str = ""
    """The problem's place where it is not the field itself."""


def rest(**api: Any) -> dict[str, Any]:
    """A REST source's spec."""
    base = {"endpoint": "https://api.example.com/customers", "schedule": "rate(1 hour)"}
    return {"source": {"restApi": {**base, **api}}}


def auth(**member: Any) -> dict[str, Any]:
    """A REST source with credentials."""
    return rest(auth=member)


def kafka(**more: Any) -> dict[str, Any]:
    """A source of Kafka topics on brokers that are granted."""
    brokers = {"bootstrapServers": ["api.example.com:9092"], "topics": ["topic"]}
    return {"source": {"stream": {"kafka": {**brokers, **more}}}}


def registered(**registry: Any) -> dict[str, Any]:
    """The same with a schema registry."""
    stream = kafka()["source"]["stream"]
    return {"source": {"stream": {**stream, "format": "avro", "registry": registry}}}


def step(**one: Any) -> dict[str, Any]:
    """A Pipeline with one step."""
    return {"stages": [{"name": "tidy", "transform": [one]}]}


PRIVATE = "https://10.0.0.7/x"
ELSEWHERE = "https://elsewhere.example.org/token"
CLIENT = {"clientId": "id", "clientSecret": "${SECRET:client}"}
SESSION = {"loginUrl": "https://api.example.com/login", "tokenPath": "token"}
JWT = {"key": "${SECRET:jwt}"}
SIGV4 = {"service": "execute-api", "region": "eu-central-1"}
KEYS = {"accessKeyId": "${SECRET:id}", "secretAccessKey": "${SECRET:key}"}
JOB = {
    "statusUrl": "https://api.example.com/jobs/{job.id}",
    "statusPath": "state",
    "completed": ["done"],
    "failed": ["failed"],
    "downloadUrl": "https://api.example.com/jobs/{job.id}/rows",
}
PARENT = {"name": "shops", "endpoint": "https://api.example.com/shops"}
REFRESH = {"tokenUrl": "https://api.example.com/token", **CLIENT, "secret": "refresh"}
CLIENTS = {"tokenUrl": "https://api.example.com/token", **CLIENT}
LOAD = {"schema": "payroll", "table": "people"}

NOT_GRANTED = "SecretNotGranted"
NO_EGRESS = "EgressNotGranted"
EXTERNAL = "ExternalNotGranted"

NAMES: dict[str, dict[str, Refused]] = {
    "DataSource": {
        "spec.source.restApi.endpoint": Refused(rest(endpoint=PRIVATE), NO_EGRESS),
        "spec.source.restApi.allowedHosts[]": Refused(
            rest(allowedHosts=["elsewhere.example.org"]), NO_EGRESS
        ),
        "spec.source.restApi.headers.*": Refused(rest(headers={"X-Key": SECRET}), NOT_GRANTED),
        "spec.source.restApi.params.*": Refused(rest(params={"key": SECRET}), NOT_GRANTED),
        "spec.source.restApi.body": Refused(
            rest(method="POST", body={"deep": [{"er": SECRET}]}), NOT_GRANTED
        ),
        "spec.source.restApi.form.*": Refused(
            rest(method="POST", form={"key": SECRET}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.bearer.token": Refused(
            auth(bearer={"token": SECRET}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.apiKey.value": Refused(
            auth(apiKey={"name": "X-Key", "value": SECRET}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.httpBasic.username": Refused(
            auth(httpBasic={"username": SECRET, "password": "${SECRET:own}"}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.httpBasic.password": Refused(
            auth(httpBasic={"username": "me", "password": SECRET}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.oauth2ClientCredentials.tokenUrl": Refused(
            auth(oauth2ClientCredentials={**CLIENTS, "tokenUrl": ELSEWHERE}), NO_EGRESS
        ),
        "spec.source.restApi.auth.oauth2ClientCredentials.clientId": Refused(
            auth(oauth2ClientCredentials={**CLIENTS, "clientId": SECRET}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.oauth2ClientCredentials.clientSecret": Refused(
            auth(oauth2ClientCredentials={**CLIENTS, "clientSecret": SECRET}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.oauth2ClientCredentials.params.*": Refused(
            auth(oauth2ClientCredentials={**CLIENTS, "params": {"a": SECRET}}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.oauth2RefreshToken.tokenUrl": Refused(
            auth(oauth2RefreshToken={**REFRESH, "tokenUrl": ELSEWHERE}), NO_EGRESS
        ),
        "spec.source.restApi.auth.oauth2RefreshToken.secret": Refused(
            auth(oauth2RefreshToken={**REFRESH, "secret": "weir/other/key"}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.oauth2RefreshToken.clientId": Refused(
            auth(oauth2RefreshToken={**REFRESH, "clientId": SECRET}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.oauth2RefreshToken.clientSecret": Refused(
            auth(oauth2RefreshToken={**REFRESH, "clientSecret": SECRET}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.oauth2RefreshToken.params.*": Refused(
            auth(oauth2RefreshToken={**REFRESH, "params": {"a": SECRET}}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.jwt.key": Refused(auth(jwt={**JWT, "key": SECRET}), NOT_GRANTED),
        "spec.source.restApi.auth.jwt.claims": Refused(
            auth(jwt={**JWT, "claims": {"iss": SECRET}}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.jwt.tokenUrl": Refused(
            auth(jwt={**JWT, "tokenUrl": ELSEWHERE}), NO_EGRESS
        ),
        "spec.source.restApi.auth.sessionToken.loginUrl": Refused(
            auth(sessionToken={**SESSION, "loginUrl": ELSEWHERE}), NO_EGRESS
        ),
        "spec.source.restApi.auth.sessionToken.headers.*": Refused(
            auth(sessionToken={**SESSION, "headers": {"A": SECRET}}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.sessionToken.params.*": Refused(
            auth(sessionToken={**SESSION, "params": {"a": SECRET}}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.sessionToken.body": Refused(
            auth(sessionToken={**SESSION, "body": {"a": SECRET}}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.sessionToken.form.*": Refused(
            auth(sessionToken={**SESSION, "form": {"a": SECRET}}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.awsSigV4.accessKeyId": Refused(
            auth(awsSigV4={**SIGV4, **KEYS, "accessKeyId": SECRET}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.awsSigV4.secretAccessKey": Refused(
            auth(awsSigV4={**SIGV4, **KEYS, "secretAccessKey": SECRET}), NOT_GRANTED
        ),
        "spec.source.restApi.auth.awsSigV4.sessionToken": Refused(
            auth(awsSigV4={**SIGV4, **KEYS, "sessionToken": SECRET}), NOT_GRANTED
        ),
        "spec.source.restApi.parents[].endpoint": Refused(
            rest(parents=[{**PARENT, "endpoint": PRIVATE}]),
            NO_EGRESS,
            "spec.source.restApi.parents[0].endpoint",
        ),
        "spec.source.restApi.parents[].headers.*": Refused(
            rest(parents=[{**PARENT, "headers": {"A": SECRET}}]), NOT_GRANTED
        ),
        "spec.source.restApi.parents[].params.*": Refused(
            rest(parents=[{**PARENT, "params": {"a": SECRET}}]), NOT_GRANTED
        ),
        "spec.source.restApi.parents[].body": Refused(
            rest(parents=[{**PARENT, "method": "POST", "body": {"a": SECRET}}]), NOT_GRANTED
        ),
        "spec.source.restApi.parents[].form.*": Refused(
            rest(parents=[{**PARENT, "method": "POST", "form": {"a": SECRET}}]), NOT_GRANTED
        ),
        "spec.source.restApi.asyncJob.statusUrl": Refused(
            rest(asyncJob={**JOB, "statusUrl": ELSEWHERE}), NO_EGRESS
        ),
        "spec.source.restApi.asyncJob.downloadUrl": Refused(
            rest(asyncJob={**JOB, "downloadUrl": ELSEWHERE}), NO_EGRESS
        ),
        "spec.source.email.attachments.passwordSecret": Refused(
            {
                "source": {
                    "email": {
                        "bucket": "somebody-elses",
                        "attachments": {"passwordSecret": "weir/other/zip"},
                    }
                }
            },
            NOT_GRANTED,
        ),
        "spec.source.email.bucket": Refused(
            {"source": {"email": {"bucket": "somebody-elses", "prefix": "in/"}}}, EXTERNAL
        ),
        "spec.source.email.receive.recipients[]": Refused(
            {"source": {"email": {"receive": {"recipients": ["payroll@example.com"]}}}},
            "RecipientNotGranted",
            "spec.source.email.receive.recipients[0]",
        ),
        "spec.source.email.workmail.organizationId": Refused(
            {"source": {"email": {"workmail": {"organizationId": "m-" + "0b" * 16}}}}, EXTERNAL
        ),
        "spec.source.files.bucket": Refused(
            {"source": {"files": {"bucket": "somebody-elses", "prefix": "in/"}}}, EXTERNAL
        ),
        "spec.source.stream.kinesis.streamArn": Refused(
            {
                "source": {
                    "stream": {
                        "kinesis": {
                            "streamArn": f"arn:aws:kinesis:eu-central-1:{ACCOUNT}:stream/others"
                        }
                    }
                }
            },
            EXTERNAL,
        ),
        # It is of the stream, by the API's own rule.
        "spec.source.stream.kinesis.consumerArn": Refused(
            {
                "source": {
                    "stream": {
                        "kinesis": {
                            "streamArn": f"arn:aws:kinesis:eu-central-1:{ACCOUNT}:stream/others",
                            "consumerArn": f"arn:aws:kinesis:eu-central-1:{ACCOUNT}:stream/others"
                            "/consumer/a:1",
                        }
                    }
                }
            },
            EXTERNAL,
            "spec.source.stream.kinesis.streamArn",
        ),
        "spec.source.stream.kafka.clusterArn": Refused(
            {
                "source": {
                    "stream": {
                        "kafka": {
                            "clusterArn": f"arn:aws:kafka:eu-central-1:{ACCOUNT}:cluster/others/1",
                            "topics": ["tt"],
                        }
                    }
                }
            },
            EXTERNAL,
        ),
        "spec.source.stream.kafka.bootstrapServers[]": Refused(
            {
                "source": {
                    "stream": {"kafka": {"bootstrapServers": ["10.0.0.9:9092"], "topics": ["tt"]}}
                }
            },
            NO_EGRESS,
        ),
        **{
            f"spec.source.stream.kafka.auth.{way}": Refused(
                kafka(auth={way: "weir/other/kafka"}), NOT_GRANTED
            )
            for way in ("scramSha512", "scramSha256", "plain", "mtls")
        },
        "spec.source.stream.kafka.caSecret": Refused(kafka(caSecret="weir/other/ca"), NOT_GRANTED),
        "spec.source.stream.registry.glue.name": Refused(
            registered(glue={"name": "others"}), EXTERNAL
        ),
        "spec.source.stream.registry.confluent.url": Refused(
            registered(confluent={"url": "https://registry.elsewhere.example.org"}), NO_EGRESS
        ),
        "spec.source.stream.registry.confluent.secret": Refused(
            registered(
                confluent={"url": "https://api.example.com", "secret": "weir/other/registry"}
            ),
            NOT_GRANTED,
        ),
        "spec.destination.bucket": Refused(
            {"destination": {"bucket": "${BUCKET:artifacts}", "prefix": "customers/"}},
            "BucketNotAllowed",
        ),
        "spec.destination.prefix": Refused(
            {"destination": {"prefix": "payroll/"}}, "PrefixNotGranted"
        ),
        "spec.redshift.schema": Refused({"redshift": LOAD}, "SchemaNotGranted"),
        **{
            f"spec.notifications.on{event}[].sns": Refused(
                {"notifications": {f"on{event}": [{"sns": TOPIC}]}},
                EXTERNAL,
                f"spec.notifications.on{event}[0].sns",
            )
            for event in ("Failure", "Quality", "Success")
        },
    },
    "Pipeline": {
        "spec.sources[].name": Refused(
            {"sources": [{"name": "of-another-namespace"}]}, "UnknownSource", "spec.sources[0]"
        ),
        "spec.destination.bucket": Refused(
            {"destination": {"bucket": "${BUCKET:raw}", "prefix": "customers/"}}, "BucketNotAllowed"
        ),
        "spec.destination.prefix": Refused(
            {"destination": {"prefix": "payroll/"}}, "PrefixNotGranted"
        ),
        "spec.stages[].transform[].join.source": Refused(
            step(join={"source": OTHERS, "keys": ["customerId"]}), "UnknownSource"
        ),
        "spec.stages[].transform[].union.source": Refused(
            step(union={"source": OTHERS}), "UnknownSource"
        ),
        "spec.stages[].transform[].sql": Refused(
            step(sql="select * from payroll.people"), "InvalidExpression"
        ),
        "spec.stages[].transform[].filter": Refused(
            step(filter="reflect('java.lang.System', 'getenv') = 'x'"), "InvalidExpression"
        ),
        "spec.stages[].transform[].derive.*": Refused(
            step(derive={"a": "java_method('java.lang.System', 'getenv')"}), "InvalidExpression"
        ),
        "spec.stages[].transform[].aggregate.measures.*": Refused(
            step(
                aggregate={
                    "groupBy": ["customerId"],
                    "measures": {"a": "max((select secret from payroll.people))"},
                }
            ),
            "InvalidExpression",
        ),
        "spec.stages[].transform[].script.inline": Refused(
            step(script={"inline": "def transform(df, spark): return df"}),
            "ScriptsNotGranted",
            "spec.stages[0].transform[0].script",
        ),
        "spec.stages[].transform[].script.uri": Refused(
            step(script={"uri": "s3://somebody-elses/code.py"}),
            "ScriptsNotGranted",
            "spec.stages[0].transform[0].script",
        ),
        "spec.stages[].write.prefix": Refused(
            {"stages": [{"name": "out", "write": {"prefix": "payroll/"}}]}, "PrefixNotGranted"
        ),
        "spec.stages[].load.redshift.schema": Refused(
            {"stages": [{"name": "in", "load": {"redshift": LOAD}}]}, "SchemaNotGranted"
        ),
        "spec.stages[].unload.to": Refused(
            {
                "stages": [
                    {
                        "name": "out",
                        "unload": {"query": "select 1", "to": "s3://somebody-elses/x/"},
                    }
                ]
            },
            "BucketNotAllowed",
        ),
        "spec.stages[].unload.query": Refused(
            {
                "stages": [
                    {
                        "name": "out",
                        "unload": {
                            "query": "select * from weir.load_ledger",
                            "to": "${BUCKET:curated}/customers/",
                        },
                    }
                ]
            },
            "InvalidExpression",
        ),
        **{
            f"spec.notifications.on{event}[].sns": Refused(
                {"notifications": {f"on{event}": [{"sns": TOPIC}]}},
                EXTERNAL,
                f"spec.notifications.on{event}[0].sns",
            )
            for event in ("Failure", "Quality", "Success")
        },
    },
}
"""Fields that can name something of others."""

ELSEWHERE_TESTED: dict[str, dict[str, str]] = {
    "DataSource": {
        "spec.platform": "NotGranted: test_a_namespace_without_a_grant_is_told_so_on_the_object",
        "spec.redshift.table": "Conflict: claims; the table is the first object's that names it",
    },
    "Pipeline": {
        "spec.platform": "NotGranted: test_a_namespace_without_a_grant_is_told_so_on_the_object",
        "spec.stages[].load.redshift.table": "Conflict: claims",
    },
}
"""Fields that name something of others and are refused by what knows other objects."""

SHAPE = "columns, paths and formats of the object's own rows"
REQUEST = "a word of a request to a host that is granted"
TIME = "a time"
MAIL = "an address that AWS asks to confirm before anything is sent there"

INERT: dict[str, dict[str, str]] = {
    "DataSource": {
        "spec.source.restApi.auth.apiKey.name": REQUEST,
        "spec.source.restApi.auth.*.scopes[]": REQUEST,
        "spec.source.restApi.auth.*.params.<key>": REQUEST,
        "spec.source.restApi.auth.*.tokenPath": SHAPE,
        "spec.source.restApi.auth.*.expiresPath": SHAPE,
        "spec.source.restApi.auth.oauth2RefreshToken.refreshTokenKey": "a key within the secret",
        "spec.source.restApi.auth.jwt.keyId": REQUEST,
        "spec.source.restApi.auth.jwt.lifetime": TIME,
        "spec.source.restApi.auth.*.header": REQUEST,
        "spec.source.restApi.auth.*.scheme": REQUEST,
        "spec.source.restApi.auth.sessionToken.headers.<key>": REQUEST,
        "spec.source.restApi.auth.sessionToken.form.<key>": REQUEST,
        "spec.source.restApi.auth.sessionToken.lifetime": TIME,
        "spec.source.restApi.auth.awsSigV4.service": "what a signature is for; the host is granted",
        "spec.source.restApi.auth.awsSigV4.region": "what a signature is for; the host is granted",
        "spec.source.restApi.headers.<key>": REQUEST,
        "spec.source.restApi.params.<key>": REQUEST,
        "spec.source.restApi.form.<key>": REQUEST,
        "spec.source.restApi.schedule": TIME,
        "spec.source.restApi.timezone": TIME,
        "spec.source.restApi.dataSelector": SHAPE,
        "spec.source.restApi.format.*": SHAPE,
        "spec.source.restApi.paginator.*": REQUEST,
        "spec.source.restApi.incremental.*": REQUEST,
        "spec.source.restApi.parents[].name": "a name within the object",
        "spec.source.restApi.parents[].headers.<key>": REQUEST,
        "spec.source.restApi.parents[].params.<key>": REQUEST,
        "spec.source.restApi.parents[].form.<key>": REQUEST,
        "spec.source.restApi.parents[].dataSelector": SHAPE,
        "spec.source.restApi.parents[].paginator.*": REQUEST,
        "spec.source.restApi.parents[].include.*": SHAPE,
        "spec.source.restApi.asyncJob.statusPath": SHAPE,
        "spec.source.restApi.asyncJob.completed[]": SHAPE,
        "spec.source.restApi.asyncJob.failed[]": SHAPE,
        "spec.source.restApi.asyncJob.interval": TIME,
        "spec.source.restApi.asyncJob.timeout": TIME,
        "spec.source.restApi.responseActions[].*": SHAPE,
        "spec.source.restApi.limits.timeout": TIME,
        "spec.source.email.prefix": "below the bucket; what is granted is bucket and prefix together",
        "spec.source.email.sweep": TIME,
        "spec.source.email.recipients[]": "who is listened for, never whom something is sent to",
        "spec.source.email.allowedSenders[]": "who is listened to, never whom something is sent to",
        "spec.source.email.attachments.patterns[]": SHAPE,
        "spec.source.email.attachments.csv.*": SHAPE,
        "spec.source.email.attachments.recordPath": SHAPE,
        "spec.source.email.attachments.columns[].name": SHAPE,
        "spec.source.email.attachments.sheet": SHAPE,
        "spec.source.files.prefix": "below the bucket; what is granted is bucket and prefix together",
        "spec.source.files.pattern": "narrows what is read",
        "spec.source.files.sweep": TIME,
        "spec.source.files.csv.*": SHAPE,
        "spec.source.files.recordPath": SHAPE,
        "spec.source.files.columns[].name": SHAPE,
        "spec.source.files.sheet": SHAPE,
        "spec.source.stream.kinesis.startingTimestamp": TIME,
        "spec.source.stream.kinesis.lagAlarm": TIME,
        "spec.source.stream.kafka.topics[]": "within the cluster that is granted",
        "spec.source.stream.kafka.consumerGroup": "within the cluster that is granted",
        "spec.source.stream.kafka.startingTimestamp": TIME,
        "spec.source.stream.kafka.key.*": SHAPE,
        "spec.source.stream.avroSchema": SHAPE,
        "spec.source.stream.protobuf.*": SHAPE,
        "spec.source.stream.sealEvery": TIME,
        "spec.source.stream.batch.*": TIME,
        "spec.schema.*": SHAPE,
        "spec.schemaRef.name": "an object of the same namespace",
        "spec.destination.partitionBy[]": SHAPE,
        "spec.destination.iceberg.keys[]": SHAPE,
        "spec.destination.iceberg.orderBy": SHAPE,
        "spec.destination.iceberg.keepSnapshots": TIME,
        "spec.redshift.distkey": SHAPE,
        "spec.redshift.sortkey": SHAPE,
        "spec.redshift.keys[]": SHAPE,
        "spec.redshift.orderBy": SHAPE,
        "spec.redshift.tombstoneRetention": TIME,
        "spec.notifications.on*[].email": MAIL,
    },
    "Pipeline": {
        "spec.trigger.onArrival.*": TIME,
        "spec.trigger.schedule.*": TIME,
        "spec.destination.partitionBy[]": SHAPE,
        "spec.destination.iceberg.keys[]": SHAPE,
        "spec.destination.iceberg.orderBy": SHAPE,
        "spec.destination.iceberg.keepSnapshots": TIME,
        "spec.stages[].name": "a name within the object",
        "spec.stages[].clean.*": SHAPE,
        "spec.stages[].transform[].select[]": SHAPE,
        "spec.stages[].transform[].rename.*": SHAPE,
        "spec.stages[].transform[].cast.*": SHAPE,
        "spec.stages[].transform[].derive.<key>": SHAPE,
        "spec.stages[].transform[].join.keys[]": SHAPE,
        "spec.stages[].transform[].explode.*": SHAPE,
        "spec.stages[].transform[].flatten.*": SHAPE,
        "spec.stages[].transform[].aggregate.groupBy[]": SHAPE,
        "spec.stages[].transform[].aggregate.measures.<key>": SHAPE,
        "spec.stages[].validate.rules[]": "DQDL over the object's own rows, parsed by our grammar",
        "spec.stages[].write.partitionBy[]": SHAPE,
        "spec.stages[].load.redshift.distkey": SHAPE,
        "spec.stages[].load.redshift.sortkey": SHAPE,
        "spec.stages[].load.redshift.keys[]": SHAPE,
        "spec.stages[].load.redshift.orderBy": SHAPE,
        "spec.stages[].load.redshift.tombstoneRetention": TIME,
        "spec.resources.timeout": TIME,
        "spec.retry.interval": TIME,
        "spec.notifications.on*[].email": MAIL,
    },
    "PipelineRun": {
        "spec.pipeline": "an object of the same namespace",
        "spec.backfill.from": TIME,
        "spec.backfill.to": TIME,
        "spec.backfill.timezone": TIME,
        "spec.backfill.step": TIME,
        "spec.backfill.sources[]": "objects of the same namespace, which the Pipeline names",
        "spec.replay.runs[]": "a folder below the quarantine of the object's own pipeline",
        "spec.ttl": TIME,
    },
    "DataSchema": {"spec.*": SHAPE},
}
"""Fields whose text leads nowhere, each with why. ``*`` stands for any rest of the path."""


def texts(node: Mapping[str, Any], path: str) -> Iterator[str]:
    """Paths of everything in a schema that can hold free text."""
    if node.get("x-kubernetes-preserve-unknown-fields"):
        yield path
    elif node.get("type") == "object":
        for name, inner in (node.get("properties") or {}).items():
            yield from texts(inner, f"{path}.{name}")
        values = node.get("additionalProperties")
        if isinstance(values, Mapping):
            yield f"{path}.<key>"
            yield from texts(values, f"{path}.*")
    elif node.get("type") == "array":
        yield from texts(node["items"], f"{path}[]")
    elif node.get("type") == "string" and "enum" not in node:
        yield path


def fields(kind: Any) -> set[str]:
    """Paths of a kind's spec that can hold free text."""
    return set(texts(crd.structural(kind)["properties"]["spec"], "spec"))


def matches(path: str, pattern: str) -> bool:
    """Whether a pattern of :data:`INERT` covers a path."""
    escaped = pattern.replace("[", "[[]")
    return fnmatch.fnmatchcase(path, escaped)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_every_field_that_holds_text_names_nothing_or_has_a_rule(kind: Any) -> None:
    ruled = {*NAMES.get(kind.__name__, {}), *ELSEWHERE_TESTED.get(kind.__name__, {})}
    inert = INERT.get(kind.__name__, {})
    open_ones = {
        path
        for path in fields(kind) - ruled
        if not any(matches(path, pattern) for pattern in inert)
    }
    assert open_ones == set(), "say what these can name, and what refuses it"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_no_rule_is_left_of_a_field_that_is_gone(kind: Any) -> None:
    there = fields(kind)
    assert set(NAMES.get(kind.__name__, {})) <= there
    assert set(ELSEWHERE_TESTED.get(kind.__name__, {})) <= there
    for pattern in INERT.get(kind.__name__, {}):
        assert any(matches(path, pattern) for path in there), pattern


CASES = [
    pytest.param(kind, path, case, id=f"{kind}-{path}")
    for kind, cases in NAMES.items()
    for path, case in cases.items()
]


def problems(make_world: Callable[..., Any], kind: str, spec: dict[str, Any]) -> Any:
    """What the check says to an object of a namespace that is granted very little."""
    platform = {"grants": [copy.deepcopy(NARROW)]}
    world = (
        make_world(platform, source_spec=spec)
        if kind == "DataSource"
        else make_world(platform, pipeline_spec=spec)
    )
    sources = {world.source.name: world.source}
    known = check.Known("default", {}, sources, world.facts, world.grant)
    if kind == "DataSource":
        return check.datasource_problems(world.source, known)
    return check.pipeline_problems(world.pipeline, known)


@pytest.mark.parametrize(("kind", "path", "case"), CASES)
def test_what_is_of_others_is_refused_with_the_reason(
    make_world: Callable[..., Any], kind: str, path: str, case: Refused
) -> None:
    found = problems(make_world, kind, case.spec)
    place = case.at or path.partition("[")[0].removesuffix(".*")
    hits = [one for one in found if one.reason == case.reason and one.path.startswith(place)]
    assert hits, [str(one) for one in found]
    assert len(hits[0].message) > 20


@pytest.mark.parametrize(("kind", "path", "case"), CASES)
def test_the_page_tells_the_rule_of_each_field(kind: str, path: str, case: Refused) -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    last = re.sub(r"\.\*$|\[\]$", "", path).rpartition(".")[2].removesuffix("[]")
    assert any(f"`{case.reason}`" in row and f"`{last}`" in row for row in rows), (
        path,
        case.reason,
    )


def test_what_is_granted_meets_no_rule(make_world: Callable[..., Any]) -> None:
    assert problems(make_world, "DataSource", {}) == ()
    assert problems(make_world, "Pipeline", {}) == ()


def test_a_grant_that_is_silent_on_others_grants_none_of_them() -> None:
    grant = NamespaceGrant("default", granted=True)
    assert not grant.may_use(TOPIC)
    assert not grant.allow
    assert not grant.allow_private and not grant.allow_loopback
