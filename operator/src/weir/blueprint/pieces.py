"""The building blocks that more than one kind uses: a role, a function, a schedule, an alarm."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir.api.v1alpha1.common import Notifications, NotificationTarget
from weir.blueprint import naming, policies
from weir.blueprint.facts import EVENT_CLASSES, PlatformFacts
from weir.resource import Deletion, Resource, Text
from weir_contract.codec import dumps

SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
"""EventBridge Scheduler's context attribute for the time that was meant (Scheduler user guide)."""


@dataclass(frozen=True)
class Naming:
    """Physical names of one object's resources.

    The kind is in the hash: a DataSource and its managed Pipeline have the same name.
    """

    cluster: str
    kind: str
    namespace: str
    name: str

    def __call__(self, kind: str, role: str) -> str:
        """The name of the thing of that kind (:data:`weir.blueprint.naming.ALPHABETS`)."""
        return naming.physical(
            kind, self.cluster, self.namespace, self.name, role=role, salt=self.kind
        )


def role(
    facts: PlatformFacts,
    logical_id: str,
    name: str,
    *,
    trust: policies.Document,
    policy: policies.Document,
    description: str,
    tags: Mapping[str, str] | None = None,
) -> Resource:
    """A role under the cluster's path, with one inline policy and the Platform's boundary."""
    properties: dict[str, Any] = {
        "Path": naming.iam_path(facts.cluster),
        "AssumeRolePolicyDocument": trust,
        "Policies": {"weir": policy},
        "Description": description,
    }
    if facts.permissions_boundary:
        properties["PermissionsBoundary"] = facts.permissions_boundary
    if tags:
        properties["Tags"] = dict(tags)
    return Resource("iam.Role", logical_id, name, properties)


def function(
    facts: PlatformFacts,
    logical_id: str,
    name: str,
    *,
    handler: str,
    module: str = "handler",
    role_name: str,
    role_id: str,
    environment: Mapping[str, str | Text],
    timeout: int,
    memory: int,
    depends_on: Sequence[str] = (),
    artifact: str = "functions",
) -> tuple[Resource, Resource]:
    """A Lambda function and its log group.

    Parameters
    ----------
    handler, module
        Package below ``weir_lambdas``, and the module in it that has ``handler``:
        ``api_ingestion``, ``handler``.
    timeout, memory
        Seconds and MiB.
    artifact
        Which of the built archives has the code.
    """
    code = facts.artifacts[artifact]
    logs = Resource(
        "logs.LogGroup",
        f"{logical_id}-logs",
        f"/aws/lambda/{name}",
        {"RetentionInDays": facts.log_retention_days, "KmsKeyId": facts.kms_key_arn},
    )
    properties = {
        "Runtime": facts.runtime,
        "Handler": f"weir_lambdas.{handler}.{module}.handler",
        "Role": facts.role_arn(role_name),
        "Code": {"S3Bucket": code.bucket, "S3Key": code.key},
        "CodeSha256": code.code_sha256,
        "Timeout": timeout,
        "MemorySize": memory,
        "Architectures": [facts.architecture],
        "Environment": {"Variables": dict(environment)},
        "KMSKeyArn": facts.kms_key_arn,
        "LoggingConfig": {"LogGroup": logs.name},
    }
    needs = (role_id, logs.logical_id, *depends_on)
    return logs, Resource("lambda.Function", logical_id, name, properties, needs)


def config_object(facts: PlatformFacts, logical_id: str, prefix: str, message: Any) -> Resource:
    """A configuration in the artifacts bucket, at a key that holds its hash.

    ``prefix`` is such as ``config/ns/source/name``; the key is ``<prefix>-<16 hex digits>.json``.
    """
    body = dumps(message)
    sha = hashlib.sha256(body.encode()).hexdigest()
    return Resource(
        "s3.Object",
        logical_id,
        f"s3://{facts.buckets['artifacts']}/{prefix}-{sha[:16]}.json",
        {
            "Body": body,
            "ContentType": "application/json",
            "Sha256": sha,
            "KmsKeyArn": facts.kms_key_arn,
        },
        tagged=False,
    )


def secret_logical_id(name: str) -> str:
    """The logical id of a secret, by its name as a spec has it."""
    return f"secret-{naming.short_hash(name)}"


def object_key(resource: Resource) -> str:
    """The key of an ``s3.Object``, without the bucket."""
    return resource.name.removeprefix("s3://").partition("/")[2]


def schedule(
    facts: PlatformFacts,
    logical_id: str,
    name: str,
    *,
    expression: str,
    timezone: str,
    target: str,
    message: Mapping[str, Any],
    enabled: bool,
    depends_on: Sequence[str] = (),
) -> Resource:
    """A schedule that starts ``target`` (an ARN) with ``message``; what fails goes to the DLQ."""
    return Resource(
        "scheduler.Schedule",
        logical_id,
        name,
        {
            "ScheduleExpression": expression,
            "ScheduleExpressionTimezone": timezone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": target,
                "RoleArn": facts.scheduler_role_arn,
                "Input": dict(message),
                "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 10},
                "DeadLetterConfig": {"Arn": facts.queue_arn(facts.dead_letter_queue)},
            },
            "State": "ENABLED" if enabled else "DISABLED",
        },
        tuple(depends_on),
        tagged=False,
    )


def alarm(
    logical_id: str,
    name: str,
    description: str,
    metric: tuple[str, str, str, Any],
    topics: Sequence[str],
    *,
    statistic: str = "Sum",
    threshold: float = 1.0,
    period: int = 300,
    periods: int = 1,
    needs: tuple[str, ...] = (),
) -> Resource:
    """An alarm that is raised at a threshold, and not by silence.

    Parameters
    ----------
    description
        What has happened, and where to look.
    metric
        Namespace, metric, and the name and value of its one dimension.
    topics
        Who is told.
    statistic
        Of the metric, over each period.
    threshold
        From which value on, in the metric's unit.
    period
        Seconds.
    periods
        Periods in a row.
    needs
        Logical ids that must be there before.
    """
    namespace, metric_name, dimension, value = metric
    properties = {
        "AlarmDescription": description,
        "Namespace": namespace,
        "MetricName": metric_name,
        "Dimensions": [{"Name": dimension, "Value": value}],
        "Statistic": statistic,
        "Period": period,
        "EvaluationPeriods": periods,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": sorted(topics),
        "ActionsEnabled": True,
    }
    return Resource("cloudwatch.Alarm", logical_id, name, properties, needs)


def machine_alarms(
    facts: PlatformFacts, names: Naming, machine: str, topics: Sequence[str], what: str
) -> tuple[Resource, ...]:
    """Alarms on executions of a state machine that failed or ran out of time.

    The machine itself explains a failure; the alarm also sees what no Catch can: a definition that
    breaks, a timeout, an aborted execution.
    """
    metrics = (
        ("failed", "ExecutionsFailed", "failed"),
        ("timed-out", "ExecutionsTimedOut", "ran out of time"),
    )
    return tuple(
        alarm(
            f"alarm-{suffix}",
            names("alarm", suffix),
            f"{what} {verb}. Look at the object's status, then at the execution of {machine}.",
            ("AWS/States", metric, "StateMachineArn", facts.machine_arn(machine)),
            topics,
        )
        for suffix, metric, verb in metrics
    )


def minutes(seconds: int) -> int:
    """Seconds as whole minutes, rounded up."""
    return math.ceil(seconds / 60)


@dataclass(frozen=True)
class Notified:
    """Who hears of what: ARNs by event class, and the topics that must be made for it."""

    arns: Mapping[str, tuple[str, ...]]
    topics: tuple[Resource, ...] = ()


def notified(facts: PlatformFacts, names: Naming, stated: Notifications | None) -> Notified:
    """An object's own targets where it states some for an event class, else the Platform's.

    Addresses need a topic of the object's own, since a topic's subscribers hear of all it carries.
    """
    arns, topics = {}, []
    for event_class in EVENT_CLASSES:
        targets = targets_of(stated, event_class)
        if not targets:
            arns[event_class] = facts.topics.get(event_class, ())
            continue
        direct = [target.sns for target in targets if target.sns]
        emails = [target.email for target in targets if target.email]
        if emails:
            name = names("topic", f"on-{event_class}")
            topics.append(topic(facts, f"topic-{event_class}", name, emails))
            direct.append(facts.topic_arn(name))
        arns[event_class] = tuple(sorted(direct))
    return Notified(arns, tuple(topics))


def targets_of(stated: Notifications | None, event_class: str) -> Sequence[NotificationTarget]:
    """The targets that a spec states for an event class."""
    if stated is None:
        return ()
    by_class = {
        "failure": stated.on_failure,
        "quality": stated.on_quality,
        "success": stated.on_success,
    }
    return by_class[event_class]


def topic(
    facts: PlatformFacts, logical_id: str, name: str, emails: Sequence[str], *needs: str
) -> Resource:
    """An encrypted topic with these addresses subscribed."""
    return Resource(
        "sns.Topic",
        logical_id,
        name,
        {
            "KmsMasterKeyId": facts.kms_key_arn,
            "Policy": policies.topic_policy(facts, name),
            "Subscriptions": [
                {"Protocol": "email", "Endpoint": email} for email in sorted(set(emails))
            ],
        },
        needs,
    )


def data_deletion(delete: bool) -> Deletion:
    """What becomes of data with its owner: kept unless the policy says Delete."""
    return Deletion.DELETE if delete else Deletion.RETAIN
