"""What a DataSource wants on AWS, and the Pipeline that it wants in Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir.api.v1alpha1.common import API_VERSION
from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.schema import DataSchema
from weir.blueprint import (
    config,
    discovery,
    machines,
    mail,
    network,
    pieces,
    policies,
    rest,
    streams,
    workmail,
)
from weir.blueprint.facts import PlatformFacts
from weir.blueprint.grants import NamespaceGrant
from weir.resource import Resource
from weir_contract.state import watch_pk


@dataclass(frozen=True)
class Ingestion:
    """How one kind of source is landed.

    Parameters
    ----------
    handler
        Module below ``weir_lambdas``.
    artifact
        The built archive that has it.
    memory
        MiB; Lambda gives processors by it (1,769 MB is one, Lambda Developer Guide, *Memory*).
    schedule, timezone
        When the source is asked, or looked through.
    """

    handler: str
    artifact: str
    memory: int
    schedule: str
    timezone: str = "UTC"


def ingestion_of(source: DataSource) -> Ingestion:
    """How a source is landed."""
    found = source.spec.source
    if found.rest_api:
        api = found.rest_api
        return Ingestion("api_ingestion", "functions", 512, api.schedule, api.timezone)
    if found.files:
        return Ingestion("file_processor", "files", 2048, found.files.sweep)
    if found.email:
        return Ingestion("email_processor", "files", 1024, found.email.sweep)
    assert found.stream is not None
    return Ingestion("stream_processor", "streams", 1024, streams.seal_schedule(found.stream))


def names_of(source: DataSource, facts: PlatformFacts) -> pieces.Naming:
    """Physical names of a source's resources."""
    return streams.names_of(facts, source.namespace, source.name)


def ingest_machine_arn(source: DataSource, facts: PlatformFacts) -> str:
    """The ARN of the state machine that lands the source: what a requested run starts."""
    return facts.machine_arn(names_of(source, facts)("machine", "ingest"))


def datasource_resources(
    source: DataSource,
    facts: PlatformFacts,
    grant: NamespaceGrant,
    schemas: Mapping[str, DataSchema],
) -> tuple[Resource, ...]:
    """Every AWS resource of a source.

    Parameters
    ----------
    schemas
        The namespace's DataSchemas by name.

    Raises
    ------
    KeyError
        ``schemaRef`` names no DataSchema; the check says so in words.
    """
    ingestion = ingestion_of(source)
    names = names_of(source, facts)
    message = config.source_config(source, facts, grant, schemas)
    stored = pieces.config_object(
        facts, "config", f"config/{source.namespace}/source/{source.name}", message
    )
    hears = pieces.notified(facts, names, source.spec.notifications)
    failure = hears.arns["failure"]
    function, machine = names("function", "ingest"), names("machine", "ingest")
    stream = source.spec.source.stream
    secrets = _secrets(message.secrets)
    received = streams.parts(source, facts, stored, secrets=secrets) if stream else None
    api = source.spec.source.rest_api
    rotated = rest.rotated_secret(api) if api else None
    function_role = pieces.role(
        facts,
        "ingest-role",
        names("role", "ingest"),
        trust=policies.trust(facts, "lambda"),
        policy=policies.ingestion(
            facts,
            source=source.id,
            function=function,
            config_key=pieces.object_key(stored),
            secrets=[secret.name for secret in secrets],
            watched=config.arrivals(source, facts),
            rotated=message.secrets.get(rotated) if rotated else None,
            objects=received.objects if received else (),
            mappings=received.mappings if received else (),
            given_up=received.given_up if received else (),
            registry=stream is not None and streams.uses_glue_registry(stream),
            stream=message.stream.arn or None if message.stream else None,
            brokers=streams.reads_past(stream) if stream else (),
        ),
        description=f"Weir: lands {source.id}",
    )
    machine_role = pieces.role(
        facts,
        "machine-role",
        names("role", "machine"),
        trust=policies.trust(facts, "states", facts.machine_arn(machine)),
        policy=policies.machine(facts, functions=[facts.function_arn(function)], topics=failure),
        description=f"Weir: orchestrates the landing of {source.id}",
    )
    code = pieces.function(
        facts,
        "ingest",
        function,
        handler=ingestion.handler,
        role_name=function_role.name,
        role_id=function_role.logical_id,
        environment={
            "WEIR_CONFIG": stored.name,
            **({"WEIR_MAPPINGS": received.uuids} if received else {}),
        },
        timeout=machines.FUNCTION_TIMEOUT_SECONDS,
        memory=ingestion.memory,
        depends_on=(stored.logical_id,),
        artifact=ingestion.artifact,
    )
    states = Resource(
        "states.StateMachine",
        "machine",
        machine,
        {
            "definition": machines.ingest_machine(
                facts, source=source.id, function=facts.function_arn(function), topics=failure
            ),
            "roleArn": facts.role_arn(machine_role.name),
            "type": "STANDARD",
        },
        ("machine-role", "ingest", *(topic.logical_id for topic in hears.topics)),
    )
    timer = pieces.schedule(
        facts,
        "schedule",
        names("schedule", "ingest"),
        expression=ingestion.schedule,
        timezone=ingestion.timezone,
        target=facts.machine_arn(machine),
        message={"scheduledTime": pieces.SCHEDULED_TIME},
        enabled=not source.spec.suspend,
        depends_on=("machine",),
    )
    alarms = pieces.machine_alarms(facts, names, machine, failure, f"The landing of {source.id}")
    if stream:
        alarms += streams.lag_alarm(source, facts, failure)
    found = (
        *secrets,
        *hears.topics,
        stored,
        *(received.resources if received else ()),
        function_role,
        *code,
        machine_role,
        states,
        timer,
        *_watch(source, facts, machine),
        *mail.receiving(source, facts),
        *workmail.receiving(source, facts, stored, failure),
        *discovery.discovery_resources(source, facts, schemas),
        *alarms,
    )
    return network.placed(facts, found, functions=network.needs_vpc(source))


def _secrets(found: Mapping[str, str]) -> tuple[Resource, ...]:
    """Secrets that must be there, by the names that a spec has for them."""
    return tuple(
        Resource("secretsmanager.Secret", pieces.secret_logical_id(name), secret, external=True)
        for name, secret in sorted(found.items())
    )


def _watch(source: DataSource, facts: PlatformFacts, machine: str) -> tuple[Resource, ...]:
    """The bucket that a source of files or mails watches, and the entry by which the trigger finds
    the source when an object arrives there. A suspended source has none: the sweep finds its files
    later."""
    watched = config.arrivals(source, facts)
    if watched is None:
        return ()
    own = config.has_mail_folder(source)
    buckets = () if own else (Resource("s3.Bucket", "watched", watched.bucket, external=True),)
    if source.spec.suspend:
        return buckets
    pk, sk = watch_pk(watched.bucket), source.id
    item = {
        "pk": pk,
        "sk": sk,
        "prefix": watched.prefix,
        "pattern": watched.pattern,
        "stateMachineArn": facts.machine_arn(machine),
    }
    entry = Resource(
        "dynamodb.Item",
        "watch",
        f"{facts.state_table}|{pk}|{sk}",
        {"Item": item},
        ("machine", *(one.logical_id for one in buckets)),
        tagged=False,
    )
    return *buckets, entry


def managed_pipeline(source: DataSource) -> dict[str, Any] | None:
    """The child Pipeline of a source as a manifest, or None where it has none.

    The source alone decides: ``redshift`` set, and not ``pipeline: {managed: false}``.

    It has the source's name; its controller is the source, so that Kubernetes collects it with
    the source, and the source's finalizer waits for it.
    """
    target = source.spec.redshift
    if target is None or not source.spec.pipeline.managed:
        return None
    load = target.model_dump(by_alias=True, exclude_none=True, exclude_unset=True)
    spec: dict[str, Any] = {
        "platform": source.spec.platform,
        "sources": [{"name": source.name}],
        "trigger": {"onArrival": {}},
        "stages": [{"name": "warehouse", "load": {"redshift": load}}],
        "suspend": source.spec.suspend,
    }
    if source.spec.destination:
        spec["destination"] = source.spec.destination.model_dump(
            by_alias=True, exclude_none=True, exclude_unset=True
        )
    if source.spec.notifications:
        spec["notifications"] = source.spec.notifications.model_dump(
            by_alias=True, exclude_none=True, exclude_unset=True
        )
    return {
        "apiVersion": API_VERSION,
        "kind": "Pipeline",
        "metadata": {
            "name": source.name,
            "namespace": source.namespace,
            "labels": {
                "app.kubernetes.io/managed-by": "weir",
                "weir.dev/source": source.name,
            },
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "DataSource",
                    "name": source.name,
                    "uid": source.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": spec,
    }
