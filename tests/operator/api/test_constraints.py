"""Each constraint of the CRDs, accepted and rejected by the real API server."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from operator_api import bounds, samples
from weir.api.crd import SERVED, structural
from weir.api.v1alpha1.common import GROUP, VERSION

pytestmark = pytest.mark.cluster

KINDS = {kind.model.model_fields["kind"].default: kind for kind in SERVED}
SCHEMAS = {name: structural(kind.model)["properties"]["spec"] for name, kind in KINDS.items()}


class Server:
    """Creates and updates objects on the real API server with strict field validation."""

    def __init__(self, api: client.CustomObjectsApi, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def _method(self, verb: str, body: Mapping[str, Any]) -> Any:
        kind = KINDS[body["kind"]]
        cluster = kind.scope == "Cluster"
        method = getattr(self.api, f"{verb}_{'cluster' if cluster else 'namespaced'}_custom_object")
        place = () if cluster else (self.namespace,)
        return functools.partial(method, GROUP, VERSION, *place, kind.plural)

    def create(self, body: Mapping[str, Any], dry_run: bool = True) -> str | None:
        """None where the server takes the object, else its message."""
        options = {"dry_run": "All"} if dry_run else {}
        return self._try(self._method("create", body), body, field_validation="Strict", **options)

    def replace(self, body: Mapping[str, Any]) -> str | None:
        """None where the server takes the change, else its message."""
        name = body["metadata"]["name"]
        current = self._method("get", body)(name)
        changed = {**body, "metadata": current["metadata"]}
        return self._try(self._method("replace", body), name, changed, field_validation="Strict")

    def delete(self, body: Mapping[str, Any]) -> None:
        self._method("delete", body)(body["metadata"]["name"])

    def _try(self, method: Any, *rest: Any, **options: Any) -> str | None:
        try:
            method(*rest, **options)
        except ApiException as error:
            if error.status not in {400, 422}:
                raise
            return str(json.loads(error.body)["message"])
        return None


@pytest.fixture(scope="module")
def server(kube_api: client.ApiClient, kube_namespace: str) -> Server:
    return Server(client.CustomObjectsApi(kube_api), kube_namespace)


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_accepts_a_complete_object(server: Server, name: str) -> None:
    assert server.create(samples.SAMPLES[name]) is None


def test_accepts_the_reference_documents_example_as_it_stands(server: Server) -> None:
    assert server.create(samples.REFERENCE) is None


@pytest.mark.parametrize("kind", SCHEMAS)
def test_samples_reach_every_field(kind: str) -> None:
    schema = SCHEMAS[kind]
    reached: set[int] = set()
    for body in samples.SAMPLES.values():
        if body["kind"] == kind:
            reached |= bounds.reached(schema, body["spec"])
    # cursorHeader, nextPath and inline scripts' uri exclude what the samples already show.
    excluded = {"cursorHeader", "nextPath", "uri", "manual", "clusterIdentifier", "tokenise"}
    missed = [
        path
        for path, node in bounds.nodes(schema)
        if id(node) not in reached and path.rsplit(".", 1)[-1] not in excluded
    ]
    assert missed == []


def every_breach() -> Iterator[Any]:
    seen: set[tuple[str, str, str]] = set()
    for name, body in samples.SAMPLES.items():
        for breach in bounds.breaches(SCHEMAS[body["kind"]], body["spec"]):
            shape = ".".join("*" if isinstance(part, int) else part for part in breach.path)
            identity = (body["kind"], shape, breach.keyword)
            if identity not in seen:
                seen.add(identity)
                yield pytest.param(body, breach, id=f"{name}-{breach}")


@pytest.mark.parametrize(("body", "breach"), list(every_breach()))
def test_rejects_what_breaks_a_bound(
    server: Server, body: Mapping[str, Any], breach: bounds.Breach
) -> None:
    message = server.create(breach.apply(body))
    assert message is not None
    assert str(breach.path[-1]) in message or str(breach.path[-2]) in message


def changed(sample: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The sample with one dotted path set, or removed where the value is None."""
    body: Any = copy.deepcopy(dict(sample))
    at: Any = body["spec"]
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    for part in parents:
        at = at[part]
    if value is None:
        at.pop(last, None)
    elif isinstance(at, list) and last == len(at):
        at.append(value)
    else:
        at[last] = value
    return dict(body)


SOURCE = samples.data_source()
PAGING = "source.restApi.paginator"
KEY = "source.stream.kafka.key"
STEP = "stages.1.transform.0"
REJECTED = [
    # (sample, path in spec, value, part of the message)
    (samples.PLATFORM, "redshift.clusterIdentifier", "c", "set exactly one of workgroup"),
    (SOURCE, "destination.iceberg", {"mode": "append"}, "iceberg is for format: iceberg"),
    (samples.ICEBERG_SOURCE, "destination.iceberg", {"mode": "merge"}, "mode merge needs keys"),
    (
        samples.ICEBERG_SOURCE,
        "destination.iceberg",
        {"mode": "append", "deletes": "soft"},
        "deletes: soft needs mode merge",
    ),
    (samples.PLATFORM, "redshift.workgroup", None, "set exactly one of workgroup"),
    (samples.PLATFORM, "grants.0.namespaces", {}, "name the namespaces, or give labels"),
    (
        samples.PLATFORM,
        "notifications.onFailure.0.email",
        "a@b.co",
        "set exactly one of sns, email",
    ),
    (samples.PLATFORM, "notifications.onFailure.0", {}, "set exactly one of sns, email"),
    (SOURCE, "source.email", {"bucket": "inbox"}, "set exactly one of restApi, email"),
    (SOURCE, "source", {}, "set exactly one of restApi, email"),
    (samples.RECEIVED, "source.email.bucket", "inbox", "set exactly one of bucket, receive"),
    (samples.EMAIL, "source.email.bucket", None, "set exactly one of bucket, receive"),
    (samples.RECEIVED, "source.email.prefix", "in/", "prefix belongs to bucket"),
    (samples.RECEIVED, "source.email.recipients", ["a@b.c"], "recipients belongs to bucket"),
    *(
        (sample, f"{place}.{field}", value, message)
        for sample, place in (
            (samples.EMAIL, "source.email.attachments"),
            (samples.FILES, "source.files"),
        )
        for field, value, message in (
            ("format", "fixedWidth", "format fixedWidth needs columns"),
            ("recordPath", "a.b", "recordPath belongs to formats json and xml"),
            ("sheet", "Data", "sheet belongs to format xlsx"),
        )
    ),
    (SOURCE, "schemaRef", {"name": "shared"}, "set schema or schemaRef, not both"),
    (SOURCE, "destination", None, "redshift needs a destination"),
    (SOURCE, "redshift.keys", None, "mode merge needs keys"),
    (SOURCE, "redshift.mode", "append", "deletes: soft and hard need mode merge"),
    (SOURCE, "schema.mapping", {"customerName": "n"}, "in mapping or in fields, not in both"),
    (SOURCE, "schema.mapping", {"true": "lat"}, "quote it"),
    (SOURCE, "schema.mapping", {"a-b": "lat"}, "a column's name has letters"),
    (SOURCE, "source.restApi.headers", {"a b": "c"}, "a header's name has letters"),
    (SOURCE, f"{PAGING}.cursorPath", None, "a cursor paginator needs cursorPath or cursorHeader"),
    (SOURCE, f"{PAGING}.cursorHeader", "X-Next", "needs cursorPath or cursorHeader, one of them"),
    (SOURCE, f"{PAGING}.type", "offset", "cursorPath and cursorHeader belong to type cursor"),
    (SOURCE, f"{PAGING}.nextPath", "next", "nextPath belongs to type link"),
    (samples.FORM, "source.restApi.body", {"a": 1}, "a body or a form, not both"),
    (samples.FORM, "source.restApi.method", "GET", "a GET has no body"),
    (SOURCE, "source.restApi.auth", {}, "set exactly one of bearer, apiKey"),
    (
        SOURCE,
        "source.restApi.auth.httpBasic",
        {"username": "a", "password": "b"},
        "set exactly one of bearer, apiKey",
    ),
    (
        samples.SIGNED,
        "source.restApi.auth.awsSigV4.secretAccessKey",
        None,
        "accessKeyId and secretAccessKey belong together",
    ),
    (SOURCE, "source.restApi.incremental.initialValue", None, "step needs an initialValue"),
    (SOURCE, "source.restApi.incremental.lagNumber", 5, "lag is for moments and lagNumber"),
    (SOURCE, "source.restApi.parents.0.include", {"a-b": "c"}, "a field's name has letters"),
    (
        SOURCE,
        "source.restApi.responseActions.0",
        {"action": "ignore"},
        "state status, content or both",
    ),
    (
        samples.KINESIS,
        "source.stream.kafka",
        {"clusterArn": samples.ARN, "topics": ["t"]},
        "set exactly one of kinesis, kafka",
    ),
    (
        samples.KAFKA,
        "source.stream.kafka.clusterArn",
        samples.ARN,
        "set exactly one of clusterArn, bootstrapServers",
    ),
    *(
        (samples.KAFKA, f"source.stream.kafka.{field}", value, message)
        for field, value, message in (
            ("auth", {}, "set exactly one of iam, scramSha512, scramSha256, plain, mtls"),
            ("auth", {"iam": {}}, "auth.iam is for MSK: it needs clusterArn"),
            ("pollers.min", 3, "min can't be above max"),
            ("startingTimestamp", None, "belongs to startingPosition AT_TIMESTAMP"),
        )
    ),
    *(
        (samples.MSK, f"source.stream.kafka.{field}", value, message)
        for field, value, message in (
            (
                "auth",
                {"plain": "kafka"},
                "auth.plain and auth.scramSha256 are for bootstrapServers",
            ),
            ("caSecret", "kafka-ca", "caSecret is for bootstrapServers"),
        )
    ),
    *(
        (samples.CONSUMED, f"source.stream.kinesis.{field}", value, message)
        for field, value, message in (
            ("enhancedFanOut", True, "set one of them"),
            (
                "consumerArn",
                "arn:aws:kinesis:eu-central-1:1:stream/clicks2/consumer/a:1",
                "consumerArn is of a consumer of streamArn",
            ),
        )
    ),
    *(
        (samples.CREATED_STREAM, f"source.stream.{field}", value, message)
        for field, value, message in (
            (
                "kinesis.streamArn",
                "arn:aws:kinesis:eu-central-1:1:stream/a",
                "set exactly one of streamArn, create",
            ),
            ("kinesis.create.shards", None, "shards belongs to mode provisioned"),
            ("kinesis.create.mode", "onDemand", "shards belongs to mode provisioned"),
            ("kinesis.startingPosition", "AT_TIMESTAMP", "startingTimestamp belongs to"),
            ("avroSchema", None, "format avro needs registry or avroSchema"),
            ("format", "json", "avroSchema belongs to format avro"),
            ("registry", {"glue": {"name": "a"}}, "needs registry or avroSchema, one of them"),
            ("registry", {}, "set exactly one of glue, confluent"),
        )
    ),
    (samples.KAFKA, "source.stream.protobuf", None, "format protobuf needs protobuf"),
    (
        samples.KAFKA,
        "source.stream",
        {
            "kafka": {
                "bootstrapServers": ["b:9092"],
                "topics": ["clicks"],
                "key": {"format": "protobuf", "protobuf": {"message": "a.Key"}},
            },
            "metadata": True,
        },
        "needs its descriptors, where protobuf has",
    ),
    (samples.KAFKA, "source.stream.metadata", False, "kafka.key needs metadata: true"),
    (samples.KAFKA, f"{KEY}.protobuf", None, "protobuf.message belongs to format protobuf"),
    (samples.KAFKA, f"{KEY}.format", "json", "protobuf.message belongs to format protobuf"),
    (samples.KAFKA, f"{KEY}.avroSchema", '"long"', "avroSchema belongs to format avro"),
    (samples.KAFKA, KEY, {"format": "avro"}, "needs its avroSchema, or registry"),
    (samples.KAFKA, "source.stream.format", "json", "protobuf belongs to format protobuf"),
    (samples.PIPELINE, "trigger.manual", {}, "set exactly one of onArrival, schedule, manual"),
    (samples.PIPELINE, "trigger", {}, "set exactly one of onArrival, schedule, manual"),
    (samples.PIPELINE, "stages.0.load", {"redshift": samples.TARGET}, "set exactly one of clean"),
    (samples.PIPELINE, "stages.0", {"name": "nothing"}, "set exactly one of clean"),
    (samples.PIPELINE, f"{STEP}.filter", "a > 1", "set exactly one of select"),
    (samples.PIPELINE, STEP, {}, "set exactly one of select"),
    (
        samples.PIPELINE,
        "stages.1.transform.11.script.uri",
        "s3://b/a.py",
        "set exactly one of inline, uri",
    ),
    (samples.PIPELINE, "resources.min", 30, "min exceeds max"),
    (changed(samples.PIPELINE, "destination", None), "stages", [], "nothing would come out"),
    (samples.RUN_NOW, "replay", {"runs": ["r"]}, "set exactly one of now, backfill, replay"),
    (samples.RUN_NOW, "now", None, "set exactly one of now, backfill, replay"),
]


@pytest.mark.parametrize(
    ("sample", "path", "value", "message"),
    [pytest.param(*case, id=f"{case[0]['kind']}-{case[1]}-{i}") for i, case in enumerate(REJECTED)],
)
def test_rejects_what_breaks_a_rule(
    server: Server, sample: Mapping[str, Any], path: str, value: Any, message: str
) -> None:
    assert message in str(server.create(changed(sample, path, value)))


ACCEPTED = [
    (samples.KAFKA, KEY, {"format": "json"}),
    (samples.KAFKA, KEY, {"format": "protobuf", "protobuf": {"message": "shop.v1.ClickKey"}}),
    (samples.MSK, KEY, {"format": "avro"}),
    (
        samples.MSK,
        KEY,
        {"format": "protobuf", "protobuf": {"descriptors": "CgVjbGljaw==", "message": "a.Key"}},
    ),
    (SOURCE, PAGING, {"type": "link", "nextPath": "links.next"}),
    (SOURCE, PAGING, {"type": "cursor", "cursorHeader": "X-Next"}),
    (SOURCE, PAGING, {"type": "offset", "limitParam": "limit"}),
    (SOURCE, "redshift", {"schema": "shop", "table": "orders", "mode": "append"}),
    (SOURCE, "redshift.deletes", "hard"),
    (SOURCE, "redshift", None),
    (samples.ICEBERG_SOURCE, "destination.iceberg", None),
    (samples.ICEBERG_SOURCE, "destination.iceberg.mode", None),
    (SOURCE, "schema.mapping", {"y": "lat", "on": "z"}),
    (SOURCE, "schema", None),
    (samples.PIPELINE, "trigger", {"manual": {}}),
    (samples.PIPELINE, "stages", []),
    (samples.PIPELINE, "stages.1.transform.11", {"script": {"uri": "s3://bucket/a.py"}}),
    (samples.PLATFORM, "redshift", {"clusterIdentifier": "main", "copyRoleArn": samples.ARN}),
]


@pytest.mark.parametrize(
    ("sample", "path", "value"),
    [pytest.param(*case, id=f"{case[0]['kind']}-{case[1]}-{i}") for i, case in enumerate(ACCEPTED)],
)
def test_accepts_what_keeps_the_rules(
    server: Server, sample: Mapping[str, Any], path: str, value: Any
) -> None:
    assert server.create(changed(sample, path, value)) is None


IMMUTABLE = [
    (samples.PLATFORM, "region", "us-east-1", "region can't be changed"),
    (samples.PLATFORM, "accountId", "210987654321", "accountId can't be changed"),
    (SOURCE, "platform", "other", "platform can't be changed"),
    (SOURCE, "redshift.schema", "other", "schema can't be changed"),
    (SOURCE, "redshift.table", "other", "table can't be changed"),
    (SOURCE, "destination.format", "iceberg", "format can't be changed"),
    (samples.ICEBERG_SOURCE, "destination.prefix", "b/", "the place of an Iceberg table"),
    (samples.ICEBERG_SOURCE, "destination.bucket", "other-bucket", "the place of an Iceberg table"),
    (
        samples.CREATED_STREAM,
        "source.stream.kinesis.startingPosition",
        "TRIM_HORIZON",
        "startingPosition can't be changed",
    ),
    (
        samples.KAFKA,
        "source.stream.kafka.startingTimestamp",
        "2026-02-01T00:00:00Z",
        "startingTimestamp can't be changed",
    ),
    (samples.PIPELINE, "platform", "other", "platform can't be changed"),
    (samples.PIPELINE, "stages.4.load.redshift.table", "other", "table can't be changed"),
    (samples.RUN_NOW, "pipeline", "other", "a run's spec can't be changed"),
    (samples.RUN_NOW, "ttl", None, "a run's spec can't be changed"),
]


@pytest.mark.parametrize(
    ("sample", "path", "value", "message"),
    [pytest.param(*case, id=f"{case[0]['kind']}-{case[1]}") for case in IMMUTABLE],
)
def test_rejects_a_change_of_what_is_immutable(
    server: Server, sample: Mapping[str, Any], path: str, value: Any, message: str
) -> None:
    assert server.create(sample, dry_run=False) is None
    try:
        assert message in str(server.replace(changed(sample, path, value)))
    finally:
        server.delete(sample)


def test_removing_an_immutable_field_and_adding_it_again_changes_nothing(server: Server) -> None:
    sample = changed(SOURCE, "platform", "elsewhere")
    assert server.create(sample, dry_run=False) is None
    try:
        # Removed, the server's default takes its place, which is a change too.
        message = server.replace(changed(sample, "platform", None))
        assert "platform can't be changed" in str(message)
    finally:
        server.delete(sample)


def every_rule() -> Iterator[Any]:
    for kind, schema in SCHEMAS.items():
        seen = set()
        for path, node in bounds.nodes(schema):
            for rule in node.get("x-kubernetes-validations", ()):
                if rule["message"] not in seen:
                    seen.add(rule["message"])
                    yield pytest.param(rule["message"], id=f"{kind}-{path}-{rule['message'][:30]}")


@pytest.mark.parametrize("message", list(every_rule()))
def test_every_rule_has_a_case_that_breaks_it(message: str) -> None:
    texts = [case[3] for case in [*REJECTED, *IMMUTABLE]]
    assert any(text in message for text in texts)
