"""Platform: one AWS account and region, as a platform team hands it out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from weir.api.v1alpha1.common import (
    Arn,
    BucketName,
    CustomResource,
    DeletionPolicy,
    Duration,
    Identifier,
    Model,
    Notifications,
    ObjectName,
    Status,
    cel,
    exactly_one,
    rules,
    string_set,
    unchanging,
)

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=256)]


ExternalId = Annotated[str, StringConstraints(min_length=2, max_length=1224)]


class RoleOnTheWay(Model):
    """A role that is assumed only to assume the next one."""

    role_arn: Arn = Field(description="Role to assume.")
    external_id: ExternalId | None = Field(
        None, description="External id that the role's trust policy asks for."
    )


class AssumeRole(Model):
    """The role through which the operator acts in the account."""

    role_arn: Arn = Field(description="Role to assume.")
    external_id: ExternalId | None = Field(
        None, description="External id that the role's trust policy asks for."
    )
    via: Annotated[list[RoleOnTheWay], Field(max_length=4)] = Field(
        default_factory=list,
        description="Roles to assume before it, in this order: each trusts the one before, the "
        "first trusts the operator's.",
    )
    session_tags: Annotated[
        dict[str, Annotated[str, StringConstraints(max_length=256)]], Field(max_length=20)
    ] = Field(
        default_factory=dict,
        description="Session tags to pass, which the trust policy of each role must let pass "
        "(sts:TagSession).",
    )
    platform_tag: bool = Field(
        False, description="Pass the session tag weir.dev/platform too: this Platform's name."
    )
    source_identity: (
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@-]{2,64}$", max_length=64)]
        | None
    ) = Field(
        None,
        description="Source identity for CloudTrail, which the trust policy of each role must let "
        "pass (sts:SetSourceIdentity).",
    )


class ZoneBucket(Model):
    """One zone's bucket."""

    name: BucketName | None = Field(
        None, description="Bucket name. Default: one made from cluster, platform, zone and account."
    )
    adopt: bool = Field(
        False, description="The bucket exists and stays ours to use, not to delete."
    )
    retention_days: Annotated[int, Field(ge=1, le=3650)] | None = Field(
        None, description="Days after which objects expire. Default: never."
    )


class Buckets(Model):
    """The zones."""

    raw: ZoneBucket = Field(default_factory=ZoneBucket, description="Records as they came.")
    processed: ZoneBucket = Field(
        default_factory=ZoneBucket, description="Parquet, an append log of runs."
    )
    curated: ZoneBucket = Field(default_factory=ZoneBucket, description="What readers query.")
    artifacts: ZoneBucket = Field(
        default_factory=ZoneBucket, description="Code, configurations, plans and results."
    )
    quarantine: ZoneBucket = Field(
        default_factory=ZoneBucket, description="Rows that broke the contract, with the reason."
    )


class Kms(Model):
    """The key that encrypts everything."""

    key_arn: Arn | None = Field(None, description="An existing key. Default: one is created.")
    admin_arns: Annotated[list[Arn], Field(max_length=20)] = Field(
        default_factory=list, description="Principals that may administer a created key."
    )


EndpointService = Literal[
    "s3",
    "dynamodb",
    "events",
    "glue",
    "kinesis-streams",
    "kms",
    "lambda",
    "logs",
    "monitoring",
    "redshift-data",
    "secretsmanager",
    "sns",
    "sqs",
    "states",
    "sts",
]
"""Last part of the name of an AWS service's endpoint: ``com.amazonaws.<region>.<service>``."""
GroupId = Annotated[str, StringConstraints(pattern=r"^sg-[0-9a-f]{8,17}$", max_length=20)]


class Network(Model):
    """The VPC for functions and jobs that need one."""

    vpc_id: Annotated[str, StringConstraints(pattern=r"^vpc-[0-9a-f]{8,17}$", max_length=21)] = (
        Field(description="VPC. Weir makes neither it nor its subnets and routes.")
    )
    subnet_ids: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$", max_length=24)]],
        Field(min_length=1, max_length=16),
    ] = Field(
        description="Subnets of the VPC, best in two availability zones or more. An endpoint takes "
        "the first one of each zone.",
        json_schema_extra=string_set(),
    )
    security_group_ids: Annotated[list[GroupId], Field(max_length=5)] = Field(
        default_factory=list,
        description="Security groups of functions and jobs. Default: one is created that lets "
        "everything out, and in only what is in it itself.",
        json_schema_extra=string_set(),
    )
    functions: Literal["private", "all", "none"] = Field(
        "private",
        description="Which functions run in the VPC. private: those of sources that say network: "
        "vpc, and of REST sources whose URLs hold a private address; all: every function; none: no "
        "function may.",
    )
    jobs: bool = Field(
        False,
        description="Whether Glue jobs run in the VPC, through a connection that Weir creates in the "
        "first subnet, where their pipeline does not say otherwise.",
    )
    endpoints: Annotated[list[EndpointService], Field(max_length=16)] = Field(
        default_factory=list,
        description="AWS services that are reached without leaving the VPC: Weir creates an endpoint "
        "for each that has none. Those of s3 and dynamodb are free, each other one is billed by the "
        "hour and availability zone.",
        json_schema_extra=string_set(),
    )
    endpoint_security_group_ids: Annotated[list[GroupId], Field(max_length=5)] = Field(
        default_factory=list,
        description="Security groups of the endpoints. Default: one is created that lets HTTPS in "
        "from the groups of functions and jobs.",
        json_schema_extra=string_set(),
    )
    endpoint_policy: Literal["account", "platform", "open"] = Field(
        "account",
        description="What may be reached through endpoints that Weir creates. account: everything, "
        "with credentials of this account; platform: beside that, S3 and DynamoDB only as far as the "
        "Platform uses them; open: everything.",
    )


class Redshift(Model):
    """The warehouse."""

    model_config = ConfigDict(
        json_schema_extra=rules(exactly_one("workgroup", "clusterIdentifier"))
    )

    workgroup: (
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{3,64}$", max_length=64)] | None
    ) = Field(None, description="Redshift Serverless workgroup.")
    cluster_identifier: (
        Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$", max_length=63)] | None
    ) = Field(None, description="Provisioned cluster.")
    database: Identifier = Field("dev", description="Database that loads go to.")
    admin_secret_arn: Arn | None = Field(
        None,
        description="Secret with username and password of a Redshift administrator, with which "
        "the operator creates schemas and grants. Without it status prints the SQL to run by hand.",
    )
    copy_role_arn: Arn = Field(
        description="Role attached to the warehouse, with which COPY reads and UNLOAD writes S3."
    )


class Secrets(Model):
    """Which secrets sources may name."""

    prefix: Annotated[
        str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9/_+=.@-]+/$")
    ] = Field(
        "weir/",
        description="${SECRET:name} of a source in namespace ns is the secret <prefix>ns/name.",
    )


class NamespaceSelector(Model):
    """Which namespaces a grant is for: those named, and those with all of these labels."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "has(self.names) || has(self.matchLabels)",
                "name the namespaces, or give labels to match",
            )
        )
    )

    names: Annotated[list[ObjectName], Field(max_length=200, min_length=1)] | None = Field(
        None, description="Namespaces by name.", json_schema_extra=string_set()
    )
    match_labels: (
        Annotated[
            dict[str, Annotated[str, StringConstraints(max_length=63)]],
            Field(max_length=16, min_length=1),
        ]
        | None
    ) = Field(None, description="Labels that a namespace must all carry.")


class EgressGrant(Model):
    """Where outgoing requests may go, beside public addresses."""

    hosts: Annotated[list[Pattern], Field(max_length=100)] | None = Field(
        None, description="Only these hosts; *.example.com covers subdomains. Default: all public."
    )
    allow_private: bool | None = Field(
        None, description="Private ranges too (10/8, 172.16/12, 192.168/16, fc00::/7)."
    )
    allow_loopback: bool | None = Field(None, description="Loopback too: for the local default.")


class RedshiftGrant(Model):
    """Which schemas of the warehouse a namespace may load."""

    schemas: Annotated[list[Pattern], Field(max_length=100)] | None = Field(
        None, description="Schema names or patterns with *. Default: every schema no one claimed."
    )


class Grant(Model):
    """What the objects of some namespaces may do."""

    namespaces: NamespaceSelector = Field(description="Who is granted this.")
    secret_prefixes: Annotated[list[Pattern], Field(max_length=20)] | None = Field(
        None, description="Secrets beside <prefix><namespace>/: names that start so."
    )
    bucket_prefixes: Annotated[list[Pattern], Field(max_length=100)] | None = Field(
        None,
        description="Prefixes in processed and curated that may be written; patterns with *. "
        "Default: every prefix no one claimed.",
    )
    external_arns: Annotated[list[Arn], Field(max_length=100)] | None = Field(
        None,
        description="SNS topics of others that may be notified, buckets, streams, Kafka clusters and "
        "WorkMail organizations of others that may be read; patterns with *.",
    )
    mail_recipients: Annotated[list[Pattern], Field(max_length=100)] | None = Field(
        None,
        description="Recipients whose mails may be received: addresses, domains, or patterns with *. "
        "*@example.com covers addresses, not the domain as a whole. Default: none.",
    )
    redshift: RedshiftGrant | None = Field(None, description="Schemas.")
    egress: EgressGrant | None = Field(None, description="Hosts and addresses.")
    allow: (
        Annotated[list[Literal["adopt", "scripts", "delete", "move"]], Field(max_length=4)] | None
    ) = Field(
        None,
        description="adopt: take over existing AWS resources; scripts: run Python of one's own in "
        "jobs; delete: deletionPolicy Delete; move: continue an object of another namespace "
        "(weir.dev/moved-from), where both namespaces have it.",
    )
    adopt_names: Annotated[list[Pattern], Field(max_length=100)] | None = Field(
        None,
        description="Which names adopt is for: names of AWS resources, Redshift schemas by their "
        "name; patterns with *. Default: every name.",
    )


class Mail(Model):
    """How mails are received, where sources ask for it."""

    create_rule_set: bool = Field(
        False,
        description="Where no receipt rule set of SES is active in the account and region, make one "
        "and activate it. One that is active is never replaced.",
    )
    rule_position: Literal["Last", "First"] = Field(
        "Last",
        description="Where a new rule is put in the rule set. A rule that is there stays where it "
        "is.",
    )


class PlatformSpec(Model):
    """One AWS account and region."""

    model_config = ConfigDict(json_schema_extra=rules(*unchanging("region", "accountId")))

    region: Annotated[
        str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$", max_length=32)
    ] = Field(description="AWS region.")
    account_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$", max_length=12)] = Field(
        description="The account: a guard. The operator refuses to act if STS says another."
    )
    endpoint_url: (
        Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=512)] | None
    ) = Field(None, description="Another endpoint for all AWS calls: an emulator.")
    assume_role: AssumeRole | None = Field(None, description="Role to act through.")
    buckets: Buckets = Field(default_factory=Buckets, description="The zones' buckets.")
    kms: Kms = Field(default_factory=Kms, description="The key.")
    network: Network | None = Field(
        None, description="The VPC for functions and jobs that need one. Default: none."
    )
    redshift: Redshift | None = Field(None, description="The warehouse.")
    mail: Mail = Field(default_factory=Mail, description="Mails that SES receives.")
    secrets: Secrets = Field(default_factory=Secrets, description="Secrets.")
    notifications: Notifications = Field(
        default_factory=Notifications, description="Defaults for all objects."
    )
    permissions_boundary_arn: Arn | None = Field(None, description="Boundary that every role gets.")
    tags: Annotated[
        dict[str, Annotated[str, StringConstraints(max_length=256)]], Field(max_length=30)
    ] = Field(default_factory=dict, description="Tags for every AWS resource, beside Weir's own.")
    log_retention_days: Literal[
        1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653
    ] = Field(30, description="Days that logs are kept.")
    drift_interval: Duration = Field("10m", description="How often AWS is compared with the spec.")
    change_events: bool = Field(
        False,
        description="Hear within seconds of what others change on AWS. Needs a trail of CloudTrail "
        "that logs management events in this account and region.",
    )
    deletion_policy: DeletionPolicy = Field(
        "Retain",
        description="Whether buckets, the key and the state table go when the Platform does. "
        "A bucket that is not empty stays in any case.",
    )
    grants: Annotated[list[Grant], Field(max_length=50)] = Field(
        default_factory=list,
        description="Which namespaces may use the Platform, and for what.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class QuotaStatus(Model):
    """How far one quota of the account is used up."""

    name: Annotated[str, StringConstraints(max_length=64)]
    used: Annotated[int, Field(ge=0)]
    limit: Annotated[int, Field(ge=0)]
    counts: Literal["account", "weir"] = Field(
        description="Whether used is of the whole account, or of what the operator has there."
    )


class TopicStatus(Model):
    """A topic that a test notification has reached."""

    arn: Annotated[str, StringConstraints(max_length=512)]
    mark: Annotated[str, StringConstraints(max_length=64)] = Field(
        description="Changes with the topic and its key."
    )
    proved: Annotated[str, StringConstraints(max_length=40)] = Field(
        description="When it was published to."
    )


class PlatformStatus(Status):
    """Observed state of a Platform."""

    account_id: Annotated[str, StringConstraints(max_length=12)] | None = None
    users: Annotated[int, Field(ge=0)] | None = Field(
        None, description="DataSources and Pipelines that use this Platform."
    )
    sql_done: Annotated[str, StringConstraints(max_length=64)] | None = Field(
        None, description="Hash of the SQL by hand that was seen to have taken effect."
    )
    topics: Annotated[list[TopicStatus], Field(max_length=64)] = Field(
        default_factory=list,
        description="Topics that a test notification has reached.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    quotas: Annotated[list[QuotaStatus], Field(max_length=32)] = Field(
        default_factory=list,
        description="How far AWS's quotas are used up, measured once a day.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    quotas_checked: Annotated[str, StringConstraints(max_length=40)] | None = None


class Platform(CustomResource):
    """One AWS account and region, as a platform team hands it out."""

    kind: Literal["Platform"] = "Platform"
    spec: PlatformSpec
    status: PlatformStatus = Field(default_factory=PlatformStatus)
