"""What a Platform wants on AWS, and what is known of it before and after."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from weir.api.v1alpha1.platform import Platform, ZoneBucket
from weir.blueprint import mail, naming, network, pieces, policies, tables
from weir.blueprint.dashboard import dashboard_body
from weir.blueprint.facts import (
    EVENT_CLASSES,
    ZONES,
    Artifact,
    MailFacts,
    PlatformFacts,
    WarehouseFacts,
)
from weir.blueprint.uses import NamespaceUse
from weir.resource import Deletion, Ref, Resource
from weir_contract.compile import quoted
from weir_contract.ledger import LEDGER_SCHEMA, ledger_ddl, ledger_name
from weir_contract.state import EXPIRES, PK, SK

TRIGGER_TIMEOUT_SECONDS = 60
TRIGGER_MEMORY_MB = 256
QUEUE_VISIBILITY_SECONDS = 6 * TRIGGER_TIMEOUT_SECONDS
"""Lambda Developer Guide, *Using Lambda with Amazon SQS*: six times the function's timeout."""
QUEUE_RETENTION_SECONDS = 4 * 86_400
DEAD_LETTER_RETENTION_SECONDS = 14 * 86_400
MAX_RECEIVES = 5
SWEEP = "rate(5 minutes)"
MANIFEST_KEYS = "*/_manifests/_manifest-*.json"
ABORT_UPLOADS_DAYS = 7
KMS_KEY, WAREHOUSE, CLAIM = "kms-key", "warehouse", "ledger-claim"
EXCLUSIVE = ("raw", "artifacts", "quarantine")
"""Zones whose prefixes are made of namespace and name: two Platforms in one bucket would meet."""
CLAIM_KEY = "config/weir-claim.json"
METADATA_TIMEOUT_SECONDS = 300
METADATA_MEMORY_MB = 1024
METADATA_BATCH = 5
"""Landings that one call measures; those for which its time does not suffice come again."""
METADATA_RETRY_SECONDS = 6 * 3600
METADATA_RETRIES = 8
"""What fails :data:`MAX_RECEIVES` times is tried again so often, for two days: longer than a lock, a
key or a limit stays wrong unnoticed."""


def zone_buckets(platform: Platform) -> dict[str, ZoneBucket]:
    """Zone -> what the spec says of its bucket."""
    return {zone: getattr(platform.spec.buckets, zone) for zone in ZONES}


def bucket_names(platform: Platform, cluster: str) -> dict[str, str]:
    """Zone -> bucket. The whole world shares bucket names: account and region are in the hash."""
    spec = platform.spec
    return {
        zone: bucket.name
        or naming.physical(
            "bucket", cluster, platform.name, role=zone, salt=f"{spec.account_id} {spec.region}"
        )
        for zone, bucket in zone_buckets(platform).items()
    }


def artifact_locations(
    index: Mapping[str, Mapping[str, str]], bucket: str, folder: str
) -> dict[str, Artifact]:
    """Where our code goes, from the build's index (``artifacts.json``).

    Parameters
    ----------
    index
        Name -> ``{"file", "sha256" (hex), "codeSha256" (base64)}``.
    bucket
        The artifacts bucket.
    folder
        Local folder of the files.
    """
    return {
        name: Artifact(
            bucket=bucket,
            key=f"code/{name}-{item['sha256'][:16]}.{item['file'].rpartition('.')[2]}",
            sha256=item["sha256"],
            code_sha256=item["codeSha256"],
            file=f"{folder}/{item['file']}",
        )
        for name, item in sorted(index.items())
    }


def partition_of(region: str) -> str:
    """The partition of a region (AWS General Reference: ``aws-cn``, ``aws-us-gov``)."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def platform_facts(
    platform: Platform,
    *,
    cluster: str,
    artifact_index: Mapping[str, Mapping[str, str]],
    artifact_folder: str = "",
    observed: Mapping[tuple[str, str], str] | None = None,
    metrics_namespace: str = "Weir",
    runtime: str = "python3.11",
    architecture: str = "x86_64",
) -> PlatformFacts:
    """All that the blueprint of a Platform's users must know.

    Parameters
    ----------
    cluster
        The cluster's id, from the chart.
    artifact_index, artifact_folder
        The build's ``artifacts.json`` and where its files are.
    observed
        ``(logical id, attribute)`` -> value, of what the engine has observed of the Platform: the
        created key's ARN (``kms-key``) and the workgroup's (``warehouse``). What is missing
        becomes a :class:`~weir.resource.Ref`, which only the Platform's own resources may hold.
    """
    spec, seen = platform.spec, observed or {}
    buckets = bucket_names(platform, cluster)

    def attribute(logical_id: str) -> str | Ref:
        return seen.get((logical_id, "arn")) or Ref(logical_id)

    warehouse = None
    if spec.redshift:
        serverless = spec.redshift.workgroup is not None
        warehouse = WarehouseFacts(
            serverless=serverless,
            name=spec.redshift.workgroup or spec.redshift.cluster_identifier or "",
            database=spec.redshift.database,
            copy_role_arn=spec.redshift.copy_role_arn,
            admin_secret_arn=spec.redshift.admin_secret_arn,
            arn=attribute(WAREHOUSE) if serverless else "",
        )
    facts = PlatformFacts(
        cluster=cluster,
        platform=platform.name,
        region=spec.region,
        account_id=spec.account_id,
        partition=partition_of(spec.region),
        buckets=buckets,
        kms_key_arn=spec.kms.key_arn or attribute(KMS_KEY),
        artifacts=artifact_locations(artifact_index, buckets["artifacts"], artifact_folder),
        warehouse=warehouse,
        network=network.network_facts(platform, cluster, attribute(network.WORKLOADS)),
        secrets_prefix=spec.secrets.prefix,
        permissions_boundary=spec.permissions_boundary_arn,
        tags=spec.tags,
        log_retention_days=spec.log_retention_days,
        metrics_namespace=metrics_namespace,
        runtime=runtime,
        architecture=architecture,
        tls=not (spec.endpoint_url or "").startswith("http://"),
        mail=MailFacts(spec.mail.create_rule_set, spec.mail.rule_position),
    )
    return _with_topics(platform, facts)


def _with_topics(platform: Platform, facts: PlatformFacts) -> PlatformFacts:
    topics = {}
    for event_class in EVENT_CLASSES:
        targets = pieces.targets_of(platform.spec.notifications, event_class)
        arns = {target.sns for target in targets if target.sns}
        if _needs_topic(platform, event_class):
            arns.add(facts.topic_arn(facts.own_topic(event_class)))
        topics[event_class] = tuple(sorted(arns))
    return replace(facts, topics=topics)


def _needs_topic(platform: Platform, event_class: str) -> bool:
    """A topic of the Platform's own: always for failures and quality, so that one can subscribe
    to them by hand; for successes only where someone wants to hear."""
    targets = pieces.targets_of(platform.spec.notifications, event_class)
    return event_class != "success" or any(target.email for target in targets)


def platform_resources(
    platform: Platform,
    facts: PlatformFacts,
    uses: Sequence[NamespaceUse],
    served: Collection[str] = (),
) -> tuple[Resource, ...]:
    """Every AWS resource of a Platform.

    Parameters
    ----------
    facts
        Of :func:`platform_facts`.
    uses
        What namespaces claim (:func:`uses_of`).
    served
        Services for which somebody else's endpoint is in the VPC.
    """
    receives = any(use.receives for use in uses)
    return (
        *_key(platform, facts, receives),
        *_buckets(platform, facts, receives),
        *_code(facts),
        _state_table(platform, facts),
        *_topics(platform, facts),
        *_queues(facts),
        *_arrivals(facts, uses),
        *(_mails(facts) if receives else ()),
        *(_changes(facts) if platform.spec.change_events else ()),
        *network.platform_network(platform, facts, served),
        *network.placed(facts, (*_trigger(facts), *_metadata(facts))),
        *_warehouse(facts, uses),
        *_namespaces(facts, uses),
    )


def _deletion(platform: Platform) -> Deletion:
    return pieces.data_deletion(platform.spec.deletion_policy == "Delete")


def _key(platform: Platform, facts: PlatformFacts, receives: bool) -> tuple[Resource, ...]:
    if platform.spec.kms.key_arn:
        return (Resource("kms.Key", KMS_KEY, platform.spec.kms.key_arn, external=True),)
    properties = {
        "Description": f"Weir: everything of Platform {facts.platform} in cluster {facts.cluster}",
        "KeyPolicy": policies.key_policy(facts, platform.spec.kms.admin_arns, receives),
        "EnableKeyRotation": True,
    }
    name = f"alias/{facts.name('alias', 'key')}"
    return (Resource("kms.Key", KMS_KEY, name, properties, deletion=_deletion(platform)),)


def _buckets(platform: Platform, facts: PlatformFacts, receives: bool) -> Iterable[Resource]:
    claimed: set[str] = set()
    for zone, spec in zone_buckets(platform).items():
        name = facts.buckets[zone]
        if spec.adopt:
            yield Resource("s3.Bucket", f"bucket-{zone}", name, external=True)
            if zone in EXCLUSIVE and name not in claimed:
                claimed.add(name)
                yield Resource(
                    "s3.Claim",
                    f"claim-{zone}",
                    f"s3://{name}/{CLAIM_KEY}",
                    depends_on=(f"bucket-{zone}",),
                )
            continue
        lifecycle: list[dict[str, Any]] = [
            {
                "ID": "weir-abort-uploads",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_UPLOADS_DAYS},
            }
        ]
        if spec.retention_days:
            lifecycle.append(
                {
                    "ID": "weir-retention",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "Expiration": {"Days": spec.retention_days},
                }
            )
        properties: dict[str, Any] = {
            "Encryption": {"KmsKeyArn": facts.kms_key_arn},
            "Versioning": zone in ("raw", "artifacts"),
            "PublicAccessBlock": True,
            "EventBridge": zone == "raw",
            "LifecycleRules": lifecycle,
        }
        if facts.tls or zone == "raw":
            properties["Policy"] = policies.bucket_policy(
                facts, zone, receives=receives and zone == "raw"
            )
        deletion = (
            Deletion.EMPTY_ONLY if platform.spec.deletion_policy == "Delete" else Deletion.RETAIN
        )
        yield Resource(
            "s3.Bucket", f"bucket-{zone}", name, properties, (KMS_KEY,), deletion=deletion
        )


def _code(facts: PlatformFacts) -> Iterable[Resource]:
    for name, artifact in facts.artifacts.items():
        yield Resource(
            "s3.Object",
            f"code-{name.lower()}",
            artifact.uri,
            {
                "File": artifact.file,
                "ContentType": "text/x-python"
                if artifact.key.endswith(".py")
                else "application/zip",
                "Sha256": artifact.sha256,
                "KmsKeyArn": facts.kms_key_arn,
            },
            ("bucket-artifacts",),
            tagged=False,
        )


def _state_table(platform: Platform, facts: PlatformFacts) -> Resource:
    return Resource(
        "dynamodb.Table",
        "state",
        facts.state_table,
        {
            "KeySchema": [
                {"AttributeName": PK, "KeyType": "HASH"},
                {"AttributeName": SK, "KeyType": "RANGE"},
            ],
            "AttributeDefinitions": [
                {"AttributeName": PK, "AttributeType": "S"},
                {"AttributeName": SK, "AttributeType": "S"},
            ],
            "BillingMode": "PAY_PER_REQUEST",
            "SSEKmsKeyArn": facts.kms_key_arn,
            "TtlAttribute": EXPIRES,
            "PointInTimeRecovery": True,
            "DeletionProtection": platform.spec.deletion_policy == "Retain",
        },
        deletion=_deletion(platform),
    )


def _topics(platform: Platform, facts: PlatformFacts) -> Iterable[Resource]:
    for event_class in EVENT_CLASSES:
        if not _needs_topic(platform, event_class):
            continue
        targets = pieces.targets_of(platform.spec.notifications, event_class)
        emails = [target.email for target in targets if target.email]
        name = facts.own_topic(event_class)
        yield pieces.topic(facts, f"topic-{event_class}", name, emails)


def _queues(facts: PlatformFacts) -> tuple[Resource, ...]:
    queue, dead, rule = (
        facts.manifests_queue,
        facts.dead_letter_queue,
        facts.name("rule", "manifests"),
    )
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {
            "bucket": {"name": [facts.buckets["raw"]]},
            "object": {"key": [{"wildcard": MANIFEST_KEYS}]},
        },
    }
    return (
        Resource(
            "sqs.Queue",
            "dead-letters",
            dead,
            {
                "MessageRetentionPeriod": DEAD_LETTER_RETENTION_SECONDS,
                "KmsMasterKeyId": facts.kms_key_arn,
            },
        ),
        Resource(
            "sqs.Queue",
            "manifests",
            queue,
            {
                "VisibilityTimeout": QUEUE_VISIBILITY_SECONDS,
                "MessageRetentionPeriod": QUEUE_RETENTION_SECONDS,
                "KmsMasterKeyId": facts.kms_key_arn,
                "RedrivePolicy": {
                    "deadLetterTargetArn": facts.queue_arn(dead),
                    "maxReceiveCount": MAX_RECEIVES,
                },
                "Policy": policies.queue_policy(
                    facts, queue, [*(facts.name("rule", name) for name in ("files", "mails")), rule]
                ),
            },
            ("dead-letters",),
        ),
        Resource(
            "events.Rule",
            "manifests-rule",
            rule,
            {
                "EventPattern": pattern,
                "State": "ENABLED",
                "Targets": [
                    {"Id": "manifests", "Arn": facts.queue_arn(queue)},
                    {"Id": "metadata", "Arn": facts.queue_arn(facts.metadata_queue)},
                ],
            },
            ("manifests", "metadata-queue", "bucket-raw"),
        ),
        pieces.alarm(
            "alarm-dead-letters",
            facts.name("alarm", "dead-letters"),
            "Events of landed data could not be handled. The sweep finds the data itself; look at "
            "the messages and at the trigger's log.",
            ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", dead),
            facts.topics.get("failure", ()),
            statistic="Maximum",
            needs=("topic-failure",),
        ),
    )


def _arrivals(facts: PlatformFacts, uses: Sequence[NamespaceUse]) -> Iterable[Resource]:
    """One rule for all watched buckets; the trigger tells whose an object is."""
    buckets = sorted({bucket for use in uses for bucket in use.watched})
    if buckets:
        yield Resource(
            "events.Rule",
            "files-rule",
            facts.name("rule", "files"),
            {
                "EventPattern": {
                    "source": ["aws.s3"],
                    "detail-type": ["Object Created"],
                    "detail": {"bucket": {"name": buckets}},
                },
                "State": "ENABLED",
                "Targets": [{"Id": "files", "Arn": facts.queue_arn(facts.manifests_queue)}],
            },
            ("manifests",),
        )


def _mails(facts: PlatformFacts) -> Iterable[Resource]:
    """What tells of mails that SES puts into the sources' own folders; and the rule set, where the
    Platform makes one."""
    yield Resource(
        "events.Rule",
        "mails-rule",
        facts.name("rule", "mails"),
        {
            "EventPattern": {
                "source": ["aws.s3"],
                "detail-type": ["Object Created"],
                "detail": {
                    "bucket": {"name": [facts.buckets["raw"]]},
                    "object": {"key": [{"wildcard": f"*/*/{naming.MAIL_FOLDER}/*"}]},
                },
            },
            "State": "ENABLED",
            "Targets": [{"Id": "mails", "Arn": facts.queue_arn(facts.manifests_queue)}],
        },
        ("manifests", "bucket-raw"),
    )
    if facts.mail.create_rule_set:
        yield mail.rule_set(facts)


CHANGED_SERVICES = (
    "dynamodb", "events", "glue", "iam", "lambda", "logs", "monitoring", "s3", "scheduler", "sns",
    "sqs", "states",
)  # fmt: skip
"""Services whose writes are heard of: first part of CloudTrail's ``eventSource``."""


def _changes(facts: PlatformFacts) -> Iterable[Resource]:
    """CloudTrail's events of writes, in a queue that the operator listens to. What is lost is found
    by the drift rounds, so that an hour is kept and nothing goes to the dead letters."""
    queue, rule = facts.name("queue", "changes"), facts.name("rule", "changes")
    yield Resource(
        "sqs.Queue",
        "changes",
        queue,
        {
            "VisibilityTimeout": 60,
            "MessageRetentionPeriod": 3600,
            "KmsMasterKeyId": facts.kms_key_arn,
            "Policy": policies.queue_policy(facts, queue, [rule]),
        },
    )
    yield Resource(
        "events.Rule",
        "changes-rule",
        rule,
        {
            "EventPattern": {
                "detail-type": ["AWS API Call via CloudTrail"],
                "detail": {
                    "eventSource": [f"{service}.amazonaws.com" for service in CHANGED_SERVICES],
                    "readOnly": [False],
                },
            },
            "State": "ENABLED",
            "Targets": [{"Id": "changes", "Arn": facts.queue_arn(queue)}],
        },
        ("changes",),
    )


def _trigger(facts: PlatformFacts) -> tuple[Resource, ...]:
    trigger_role = pieces.role(
        facts,
        "trigger-role",
        facts.name("role", "trigger"),
        trust=policies.trust(facts, "lambda"),
        policy=policies.trigger(facts),
        description=f"Weir: starts the pipelines of Platform {facts.platform}",
    )
    scheduler_role = pieces.role(
        facts,
        "scheduler-role",
        facts.scheduler_role,
        trust=policies.trust(facts, "scheduler", facts.arn("scheduler", "schedule-group/default")),
        policy=policies.scheduler(facts),
        description=f"Weir: the schedules of Platform {facts.platform}",
    )
    code = pieces.function(
        facts,
        "trigger",
        facts.trigger_function,
        handler="trigger",
        role_name=trigger_role.name,
        role_id=trigger_role.logical_id,
        environment={
            "WEIR_STATE_TABLE": facts.state_table,
            "WEIR_RAW_BUCKET": facts.buckets["raw"],
            "WEIR_STATE_MACHINE_PREFIX": naming.prefix(facts.cluster),
        },
        timeout=TRIGGER_TIMEOUT_SECONDS,
        memory=TRIGGER_MEMORY_MB,
        depends_on=("code-functions", "state"),
    )
    mapping = Resource(
        "lambda.EventSourceMapping",
        "trigger-queue",
        f"{facts.trigger_function}|{facts.queue_arn(facts.manifests_queue)}",
        {
            "FunctionName": facts.trigger_function,
            "EventSourceArn": facts.queue_arn(facts.manifests_queue),
            "BatchSize": 10,
            "MaximumBatchingWindowInSeconds": 0,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "Enabled": True,
        },
        ("trigger", "manifests"),
    )
    sweep = pieces.schedule(
        facts,
        "sweep",
        facts.name("schedule", "sweep"),
        expression=SWEEP,
        timezone="UTC",
        target=facts.trigger_arn,
        message={"sweep": True},
        enabled=True,
        depends_on=("trigger", "scheduler-role", "dead-letters"),
    )
    return (trigger_role, *code, mapping, scheduler_role, sweep)


def _metadata(facts: PlatformFacts) -> tuple[Resource, ...]:
    """What measures landings, beside the data's way: a queue, a function and a rule of its own, so
    that no landing and no pipeline waits for it."""
    queue, retry = facts.metadata_queue, facts.metadata_retry_queue
    rule = facts.name("rule", "crawls")
    function_role = pieces.role(
        facts,
        "metadata-role",
        facts.name("role", "metadata"),
        trust=policies.trust(facts, "lambda"),
        policy=policies.metadata_extractor(facts),
        description=f"Weir: measures the landings of Platform {facts.platform}",
    )
    code = pieces.function(
        facts,
        "metadata",
        facts.metadata_function,
        handler="metadata_extractor",
        role_name=function_role.name,
        role_id=function_role.logical_id,
        environment={
            "WEIR_STATE_TABLE": facts.state_table,
            "WEIR_RAW_BUCKET": facts.buckets["raw"],
            "WEIR_TRIGGER": facts.trigger_function,
            "WEIR_CRAWLERS": facts.crawlers_arn,
            "WEIR_KMS_KEY_ARN": facts.kms_key_arn,  # type: ignore[dict-item]
            "WEIR_RETRY_QUEUE": facts.queue_arn(retry),
            "WEIR_RETRIES": str(METADATA_RETRIES),
            "WEIR_METRICS_NAMESPACE": facts.metrics_namespace,
        },
        timeout=METADATA_TIMEOUT_SECONDS,
        memory=METADATA_MEMORY_MB,
        depends_on=("code-files", "state"),
        artifact="files",
    )

    def mapping(logical_id: str, source: str, queue_id: str) -> Resource:
        return Resource(
            "lambda.EventSourceMapping",
            logical_id,
            f"{facts.metadata_function}|{facts.queue_arn(source)}",
            {
                "FunctionName": facts.metadata_function,
                "EventSourceArn": facts.queue_arn(source),
                "BatchSize": METADATA_BATCH,
                "MaximumBatchingWindowInSeconds": 0,
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "Enabled": True,
            },
            ("metadata", queue_id),
        )

    return (
        Resource(
            "sqs.Queue",
            "metadata-retry",
            retry,
            {
                "VisibilityTimeout": METADATA_RETRY_SECONDS,
                "MessageRetentionPeriod": DEAD_LETTER_RETENTION_SECONDS,
                "KmsMasterKeyId": facts.kms_key_arn,
                "RedrivePolicy": {
                    "deadLetterTargetArn": facts.queue_arn(facts.dead_letter_queue),
                    "maxReceiveCount": METADATA_RETRIES,
                },
            },
            ("dead-letters",),
        ),
        Resource(
            "sqs.Queue",
            "metadata-queue",
            queue,
            {
                "VisibilityTimeout": 6 * METADATA_TIMEOUT_SECONDS,
                "MessageRetentionPeriod": QUEUE_RETENTION_SECONDS,
                "KmsMasterKeyId": facts.kms_key_arn,
                "RedrivePolicy": {
                    "deadLetterTargetArn": facts.queue_arn(retry),
                    "maxReceiveCount": MAX_RECEIVES,
                },
                "Policy": policies.queue_policy(
                    facts, queue, [rule, facts.name("rule", "manifests")]
                ),
            },
            ("metadata-retry",),
        ),
        Resource(
            "events.Rule",
            "crawls-rule",
            rule,
            {
                "EventPattern": {
                    "source": ["aws.glue"],
                    "detail-type": ["Glue Crawler State Change"],
                    "detail": {
                        "crawlerName": [{"prefix": naming.prefix(facts.cluster)}],
                        "state": ["Succeeded", "Failed"],
                    },
                },
                "State": "ENABLED",
                "Targets": [{"Id": "metadata", "Arn": facts.queue_arn(queue)}],
            },
            ("metadata-queue",),
        ),
        function_role,
        *code,
        mapping("metadata-mapping", queue, "metadata-queue"),
        mapping("metadata-retry-mapping", retry, "metadata-retry"),
    )


def _warehouse(facts: PlatformFacts, uses: Sequence[NamespaceUse]) -> Iterable[Resource]:
    warehouse = facts.warehouse
    if warehouse is None:
        return
    name = tables.warehouse_name(warehouse)
    yield Resource(
        "redshift.Warehouse",
        WAREHOUSE,
        name,
        {"Kind": name.partition(":")[0]},
        tagged=False,
        external=True,
    )
    if not warehouse.admin_secret_arn:
        return
    yield Resource(
        "secretsmanager.Secret", "admin-secret", warehouse.admin_secret_arn, external=True
    )
    yield tables.claim(warehouse, CLAIM, (WAREHOUSE, "admin-secret"))
    needs = (CLAIM,)
    namespaces = [use.namespace for use in uses if use.schemas]
    schemas = {LEDGER_SCHEMA: namespaces}
    for use in uses:
        for schema in use.schemas:
            schemas.setdefault(schema, [])
            if use.namespace not in schemas[schema]:
                schemas[schema] = [*schemas[schema], use.namespace]
    for schema, users in sorted(schemas.items()):
        if schema == LEDGER_SCHEMA:
            found = tables.redshift_schema(warehouse, "schema-weir", schema, users)
            yield replace(found, depends_on=needs, deletion=Deletion.RETAIN)
            yield tables.ledger_table(warehouse, ("schema-weir",))
        else:
            logical_id = f"schema-{naming.short_hash(schema)}"
            found = tables.redshift_schema(warehouse, logical_id, schema, users)
            yield replace(found, depends_on=needs)


def _namespaces(facts: PlatformFacts, uses: Sequence[NamespaceUse]) -> Iterable[Resource]:
    for use in uses:
        database = naming.catalog_database(facts.cluster, use.namespace)
        yield Resource(
            "glue.Database",
            f"database-{use.namespace}",
            database,
            {"Description": f"Weir: tables of namespace {use.namespace}"},
            deletion=Deletion.EMPTY_ONLY,
        )
        yield Resource(
            "cloudwatch.Dashboard",
            f"dashboard-{use.namespace}",
            naming.physical(
                "dashboard", facts.cluster, facts.platform, use.namespace, role="dashboard"
            ),
            {"DashboardBody": dashboard_body(facts, use)},
            tagged=False,
        )


def manual_sql(facts: PlatformFacts, uses: Sequence[NamespaceUse]) -> tuple[str, ...]:
    """What an administrator runs by hand where the Platform names no admin secret.

    Empty where there is no warehouse, or the operator does this itself.
    """
    if facts.warehouse is None or facts.warehouse.admin_secret_arn:
        return ()
    statements = [f"CREATE SCHEMA IF NOT EXISTS {quoted(LEDGER_SCHEMA)}", ledger_ddl()]
    for use in uses:
        if not use.schemas:
            continue
        role = quoted(naming.database_role(use.namespace))
        statements.append(f"CREATE ROLE {role}")
        if not facts.warehouse.serverless:
            user = quoted(naming.loader_user(use.namespace))
            statements += [f"CREATE USER {user} PASSWORD DISABLE", f"GRANT ROLE {role} TO {user}"]
        statements.append(f"GRANT USAGE ON SCHEMA {quoted(LEDGER_SCHEMA)} TO ROLE {role}")
        privileges = ", ".join(tables.ROW_PRIVILEGES)
        statements.append(f"GRANT {privileges} ON {ledger_name()} TO ROLE {role}")
        for schema in use.schemas:
            statements.append(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
            privileges = ", ".join(tables.SCHEMA_PRIVILEGES)
            statements.append(f"GRANT {privileges} ON SCHEMA {quoted(schema)} TO ROLE {role}")
    return tuple(statements)
