"""What is known of a Platform when the resources of its users are drawn up.

ARNs follow from names wherever AWS lets them: so a plan is complete before anything exists. What
only AWS can tell (a created key's id, a workgroup's ARN) is given by whoever observed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from weir.blueprint import naming
from weir.resource import Ref

ZONES = ("raw", "processed", "curated", "artifacts", "quarantine")
EVENT_CLASSES = ("failure", "quality", "success")
Arn = str | Ref


@dataclass(frozen=True)
class Artifact:
    """Code of ours in the artifacts bucket, at a key that holds its hash.

    ``sha256`` is in hex, ``code_sha256`` the same in base64 as Lambda reports it; ``file`` is the
    local path that the operator uploads it from.
    """

    bucket: str
    key: str
    sha256: str
    code_sha256: str
    file: str = ""

    @property
    def uri(self) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class WarehouseFacts:
    """The Redshift behind a Platform.

    ``name`` is the workgroup's (serverless) or the cluster's (provisioned). ``arn`` is the
    workgroup's, which holds an id of AWS's; a cluster's follows from its name.
    """

    serverless: bool
    name: str
    database: str
    copy_role_arn: str
    admin_secret_arn: str | None = None
    arn: Arn = ""


@dataclass(frozen=True)
class NetworkFacts:
    """The VPC of a Platform.

    Parameters
    ----------
    subnets, security_groups
        Ids, for what runs in the VPC: functions, jobs, and the pollers of Kafka sources. A group
        that Weir makes is a Ref inside the Platform's own resources while it is not there yet.
    functions
        Which functions run in it: ``private`` (those that ask or must), ``all`` or ``none``.
    jobs
        Whether jobs run in it where their pipeline does not say otherwise.
    connection
        Name of the Glue connection through which they do.
    made
        Logical ids of the Platform's resources that must be there before anything runs in the VPC.
    """

    vpc: str
    subnets: tuple[str, ...]
    security_groups: tuple[Arn, ...]
    functions: str = "private"
    jobs: bool = False
    connection: str = ""
    made: tuple[str, ...] = ()


@dataclass(frozen=True)
class Watched:
    """What a source of files or mails watches."""

    bucket: str
    prefix: str
    pattern: str = ""


@dataclass(frozen=True)
class MailFacts:
    """How mails are received: who may make a rule set, and where a new rule is put (``Last``,
    ``First``)."""

    create_rule_set: bool = False
    rule_position: str = "Last"


@dataclass(frozen=True)
class PlatformFacts:
    """All that the blueprint of a DataSource or Pipeline needs of its Platform.

    Parameters
    ----------
    cluster
        The cluster's id, from the chart.
    buckets
        Zone -> bucket.
    kms_key_arn
        A string, or a Ref inside the Platform's own resources while the key is not there yet.
    artifacts
        ``functions``, ``glue`` and ``glueScript`` (:class:`Artifact`).
    topics
        Event class (``failure``, ``quality``, ``success``) -> topics that hear of it by default.
    secrets_prefix
        What all secrets start with, with a closing ``/``.
    runtime, architecture
        What the functions' code is built for.
    tls
        False where the endpoint is plain HTTP (an emulator), which a TLS-only bucket policy would
        lock out.
    """

    cluster: str
    platform: str
    region: str
    account_id: str
    buckets: Mapping[str, str]
    kms_key_arn: Arn
    artifacts: Mapping[str, Artifact]
    partition: str = "aws"
    topics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warehouse: WarehouseFacts | None = None
    network: NetworkFacts | None = None
    secrets_prefix: str = "weir/"
    permissions_boundary: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    log_retention_days: int = 30
    metrics_namespace: str = "Weir"
    runtime: str = "python3.11"
    architecture: str = "x86_64"
    tls: bool = True
    mail: MailFacts = MailFacts()

    def arn(self, service: str, resource: str) -> str:
        """``arn:<partition>:<service>:<region>:<account>:<resource>``."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account_id}:{resource}"

    def name(self, kind: str, role: str, *parts: str) -> str:
        """The physical name of something of this Platform itself."""
        return naming.physical(kind, self.cluster, self.platform, *parts, role=role)

    def bucket_arn(self, zone: str, key: str | None = None) -> str:
        """A zone's bucket, or objects in it."""
        bucket = f"arn:{self.partition}:s3:::{self.buckets[zone]}"
        return bucket if key is None else f"{bucket}/{key}"

    def role_arn(self, name: str) -> str:
        """A role of this cluster."""
        path = naming.iam_path(self.cluster)
        return f"arn:{self.partition}:iam::{self.account_id}:role{path}{name}"

    def function_arn(self, name: str) -> str:
        """A Lambda function."""
        return self.arn("lambda", f"function:{name}")

    def machine_arn(self, name: str) -> str:
        """A state machine."""
        return self.arn("states", f"stateMachine:{name}")

    def execution_arn(self, name: str) -> str:
        """Every execution of a state machine."""
        return self.arn("states", f"execution:{name}:*")

    def topic_arn(self, name: str) -> str:
        """An SNS topic."""
        return self.arn("sns", name)

    def queue_arn(self, name: str) -> str:
        """An SQS queue."""
        return self.arn("sqs", name)

    def log_group_arn(self, function: str) -> str:
        """The streams of a function's log group."""
        return self.arn("logs", f"log-group:/aws/lambda/{function}:*")

    def secret_arn(self, secret: str) -> str:
        """A secret by name. AWS adds six characters of its own to the ARN."""
        return (
            secret
            if secret.startswith("arn:")
            else self.arn("secretsmanager", f"secret:{secret}-??????")
        )

    @property
    def state_table(self) -> str:
        """The state table's name."""
        return self.name("table", "state")

    @property
    def state_table_arn(self) -> str:
        """The state table's ARN."""
        return self.arn("dynamodb", f"table/{self.state_table}")

    @property
    def trigger_function(self) -> str:
        """The trigger's name."""
        return self.name("function", "trigger")

    @property
    def trigger_arn(self) -> str:
        """The trigger's ARN."""
        return self.function_arn(self.trigger_function)

    @property
    def metadata_function(self) -> str:
        """The metadata extractor's name."""
        return self.name("function", "metadata")

    @property
    def metadata_queue(self) -> str:
        """The queue that it is told through of landings and of crawls that have ended."""
        return self.name("queue", "metadata")

    @property
    def metadata_retry_queue(self) -> str:
        """The queue of what it failed over again and again, which is tried at longer intervals."""
        return self.name("queue", "metadata-retry")

    @property
    def crawlers_arn(self) -> str:
        """What the ARN of every crawler begins with."""
        return self.arn("glue", "crawler/")

    @property
    def scheduler_role(self) -> str:
        """The name of the role that schedules run under."""
        return self.name("role", "scheduler")

    @property
    def scheduler_role_arn(self) -> str:
        """Its ARN."""
        return self.role_arn(self.scheduler_role)

    @property
    def manifests_queue(self) -> str:
        """The queue that manifests' events go through."""
        return self.name("queue", "manifests")

    @property
    def dead_letter_queue(self) -> str:
        """Where events go that could not be handled."""
        return self.name("queue", "dead-letters")

    def own_topic(self, event_class: str) -> str:
        """The Platform's own topic for a class of events."""
        return self.name("topic", f"on-{event_class}")
