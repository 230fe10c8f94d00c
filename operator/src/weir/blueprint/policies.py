"""Who may do what: the IAM documents of every role, function, queue, topic, bucket and key.

Each function, job and state machine has a role of its own with exact ARNs. Where a service takes no
resource in its policies, :data:`UNSCOPED` lists the action and says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weir.blueprint import naming
from weir.blueprint.facts import Arn, PlatformFacts, Watched
from weir.resource import Text
from weir_contract.manifest import LANES, manifest_prefix
from weir_contract.state import FEED, files_pk, pipeline_pk, source_pk, watch_pk

Document = dict[str, Any]
Statement = dict[str, Any]

UNSCOPED: dict[str, str] = {
    "redshift-data:DescribeStatement": "takes no resource (Service Authorization Reference); Redshift "
    "shows a statement to the identity that ran it only",
    "redshift-data:GetStatementResult": "takes no resource; as DescribeStatement",
    **dict.fromkeys(
        (
            "ec2:AssignPrivateIpAddresses",
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeRouteTables",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcAttribute",
            "ec2:DescribeVpcEndpoints",
            "ec2:UnassignPrivateIpAddresses",
        ),
        "Lambda and Glue make network interfaces with the role of what runs in a VPC; their ids come "
        "to be at that moment, and a function's own code is denied them",
    ),
}
"""Actions that stand with ``Resource: "*"``, each with its reason."""

TABLE_READ = ("dynamodb:GetItem", "dynamodb:Query", "dynamodb:BatchGetItem")
TABLE_WRITE = (
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
    "dynamodb:DeleteItem",
    "dynamodb:ConditionCheckItem",
)


def document(*statements: Statement | None) -> Document:
    """A policy of these statements; None stands for one that does not apply."""
    return {"Version": "2012-10-17", "Statement": [item for item in statements if item]}


def allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[Arn | Text],
    condition: Mapping[str, Any] | None = None,
) -> Statement:
    """An Allow statement. Lists are sorted, so that equal policies are equal JSON."""
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": sorted(set(resources), key=str),
    }
    if condition:
        statement["Condition"] = dict(condition)
    return statement


def trust(facts: PlatformFacts, service: str, source: str | None = None) -> Document:
    """A trust policy for one AWS service.

    Parameters
    ----------
    service
        The short name: ``lambda``, ``states``, ``scheduler``, ``glue``.
    source
        ARN pattern that the service states as ``aws:SourceArn``, against the confused deputy. Step
        Functions, EventBridge Scheduler and Glue document that they set it when they assume a
        role; Lambda does not, so that for it neither key can be asked for.
    """
    statement: Statement = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    if source:
        statement["Condition"] = {
            "StringEquals": {"aws:SourceAccount": facts.account_id},
            "ArnLike": {"aws:SourceArn": source},
        }
    return {"Version": "2012-10-17", "Statement": [statement]}


def uses_key(facts: PlatformFacts, *services: str, writes: bool = True) -> Statement:
    """The Platform's key, through these services only."""
    actions = ["kms:Decrypt", "kms:GenerateDataKey"] if writes else ["kms:Decrypt"]
    through = sorted(f"{service}.{facts.region}.amazonaws.com" for service in services)
    return allow(
        "UseKey",
        actions,
        [facts.kms_key_arn],
        {"StringEquals": {"kms:ViaService": through}},
    )


def writes_logs(facts: PlatformFacts, function: str) -> Statement:
    """A function's own log group; the operator creates it, so no CreateLogGroup."""
    return allow(
        "WriteLogs",
        ["logs:CreateLogStream", "logs:PutLogEvents"],
        [facts.log_group_arn(function)],
    )


def lists_bucket(
    facts: PlatformFacts, sid: str, zone: str, prefixes: Sequence[str] | None = None
) -> Statement:
    """ListBucket, below these prefixes or (None) without a condition.

    S3 answers 404 for a missing key only to those who may list the bucket, and a GET or HEAD has no
    ``s3:prefix`` that a condition could match: with one, a missing key is a 403 (S3 API reference,
    *GetObject*, Permissions). So our own code lists without a condition, and sees no more than
    names; code of a tenant's own lists its prefixes alone.
    """
    if prefixes is None:
        return allow(sid, ["s3:ListBucket"], [facts.bucket_arn(zone)])
    patterns = sorted({pattern for prefix in prefixes for pattern in (prefix, f"{prefix}*")})
    return allow(
        sid,
        ["s3:ListBucket"],
        [facts.bucket_arn(zone)],
        {"StringLike": {"s3:prefix": patterns}},
    )


def table_access(
    facts: PlatformFacts, sid: str, keys: Sequence[str], writes: bool = True
) -> Statement:
    """Items of the state table whose partition key is one of these (patterns with ``*``)."""
    return _of_items(facts, sid, [*TABLE_READ, *(TABLE_WRITE if writes else ())], keys)


def _of_items(
    facts: PlatformFacts, sid: str, actions: Sequence[str], keys: Sequence[str]
) -> Statement:
    return allow(
        sid,
        actions,
        [facts.state_table_arn],
        {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": sorted(keys)}},
    )


def publishes(topics: Iterable[str]) -> Statement | None:
    """Publish to these topics; None for none."""
    arns = sorted(set(topics))
    return allow("Notify", ["sns:Publish"], arns) if arns else None


def ingestion(
    facts: PlatformFacts,
    *,
    source: str,
    function: str,
    config_key: str,
    secrets: Sequence[str],
    watched: Watched | None = None,
    rotated: str | None = None,
    objects: Sequence[str] = (),
    mappings: Sequence[Arn | Text] = (),
    given_up: Sequence[Arn | Text] = (),
    registry: bool = False,
    stream: str | None = None,
    brokers: Sequence[Statement] = (),
) -> Document:
    """The role of a source's ingestion function.

    Parameters
    ----------
    source
        ``namespace/name``.
    function
        The function's physical name.
    config_key
        Key of its configuration in the artifacts bucket.
    secrets
        Secrets Manager names or ARNs that the source's references resolve to.
    watched
        What it watches, where it is a source of files or mails.
    rotated
        The secret that a new refresh token is written back into.
    objects
        Keys of schemas in the artifacts bucket.
    mappings
        The event source mappings of a source that is a stream: what their pollers say is looked at.
    given_up
        Where Lambda puts what it gave up on, of such a source.
    registry
        Whether a registry of Glue has its schemas.
    stream
        ARN of the Kinesis stream that it is: a backfill reads it.
    brokers
        What a backfill of Kafka's topics needs.
    """
    return document(
        writes_logs(facts, function),
        allow(
            "ReadConfig",
            ["s3:GetObject"],
            [facts.bucket_arn("artifacts", key) for key in (config_key, *objects)],
        ),
        *(reads_files(facts, source, watched) if watched else ()),
        *(takes_given_up(facts, source, given_up) if given_up else ()),
        allow("HearPollers", ["lambda:GetEventSourceMapping"], mappings) if mappings else None,
        reads_registry() if registry else None,
        *(reads_kinesis(stream, None) if stream else ()),
        *brokers,
        allow(
            "LandRecords",
            ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
            [facts.bucket_arn("raw", f"{source}/*")],
        ),
        lists_bucket(facts, "FindManifests", "raw"),
        *replays(facts, source.partition("/")[0]),
        table_access(
            facts,
            "KeepState",
            [source_pk(source), FEED, *([files_pk(source)] if watched or given_up else [])],
        ),
        allow(
            "ReadSecrets", ["secretsmanager:GetSecretValue"], [facts.secret_arn(s) for s in secrets]
        )
        if secrets
        else None,
        allow(
            "RotateRefreshToken",
            ["secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"],
            [facts.secret_arn(rotated)],
        )
        if rotated
        else None,
        uses_key(
            facts, "s3", "dynamodb", "secretsmanager", "lambda", *(("kinesis",) if stream else ())
        ),
    )


def workmail(
    facts: PlatformFacts, *, source: str, function: str, config_key: str, organization: str
) -> Document:
    """The role of the function that WorkMail calls with a mail.

    Parameters
    ----------
    source
        ``namespace/name``.
    function
        The function's physical name.
    config_key
        Key of the source's configuration in the artifacts bucket.
    organization
        Id of the WorkMail organization: mails that come to it are read, and no others.
    """
    incoming = facts.arn("workmailmessageflow", f"message/{organization}/incoming/*")
    return document(
        writes_logs(facts, function),
        allow("ReadConfig", ["s3:GetObject"], [facts.bucket_arn("artifacts", config_key)]),
        allow("ReadMails", ["workmailmessageflow:GetRawMessageContent"], [incoming]),
        allow(
            "KeepMails",
            ["s3:PutObject"],
            [facts.bucket_arn("raw", f"{source}/{naming.MAIL_FOLDER}/*")],
        ),
        _of_items(facts, "SayThatMailsCome", ["dynamodb:UpdateItem"], [source_pk(source)]),
        uses_key(facts, "s3", "dynamodb", "lambda"),
    )


def replays(facts: PlatformFacts, namespace: str) -> tuple[Statement, ...]:
    """Read what the namespace's pipelines have put into quarantine, to land it again."""
    return (
        allow(
            "ReadQuarantine", ["s3:GetObject"], [facts.bucket_arn("quarantine", f"{namespace}/*")]
        ),
        lists_bucket(facts, "FindQuarantine", "quarantine", [f"{namespace}/"]),
    )


def reads_files(facts: PlatformFacts, source: str, watched: Watched) -> tuple[Statement, ...]:
    """Read what is below a watched prefix, and put what is broken into quarantine."""
    bucket = f"arn:{facts.partition}:s3:::{watched.bucket}"
    prefix = literal(watched.prefix)
    return (
        allow("ReadFiles", ["s3:GetObject", "s3:GetObjectVersion"], [f"{bucket}/{prefix}*"]),
        allow(
            "FindFiles",
            ["s3:ListBucket"],
            [bucket],
            {"StringLike": {"s3:prefix": [f"{prefix}*"]}},
        ),
        allow("KeepRejects", ["s3:PutObject"], [facts.bucket_arn("quarantine", f"{source}/*")]),
    )


def takes_given_up(
    facts: PlatformFacts, source: str, given_up: Sequence[Arn | Text]
) -> tuple[Statement, ...]:
    """Read the batches that Lambda gave up on, quarantine what is broken in them, and remove what
    was received once it is sealed."""
    return (
        allow("TakeGivenUp", ["s3:GetObject"], given_up),
        allow(
            "RemoveSealed", ["s3:DeleteObject"], [facts.bucket_arn("raw", f"{source}/_received/*")]
        ),
        lists_bucket(facts, "FindGivenUp", "quarantine"),
        allow("KeepRejects", ["s3:PutObject"], [facts.bucket_arn("quarantine", f"{source}/*")]),
    )


def receiving(
    facts: PlatformFacts,
    *,
    source: str,
    function: str,
    objects: Sequence[str],
    machine: Arn,
    secrets: Sequence[str],
    services: Sequence[str],
    reads: Sequence[Statement],
) -> Document:
    """The role of a stream's receiving function, under which Lambda reads the stream as well.

    Parameters
    ----------
    source
        ``namespace/name``.
    function
        The function's physical name.
    objects
        Keys of its configuration and schema in the artifacts bucket.
    machine
        The state machine that seals.
    secrets
        Secrets Manager names or ARNs, of its registry and of the brokers.
    services
        Those through which the Platform's key is used.
    reads
        What reading the stream needs.
    """
    # Lambda writes below a mapping's UUID, which nobody knows before the mapping is there.
    given_up = facts.bucket_arn("quarantine", "aws/lambda/*")
    return document(
        writes_logs(facts, function),
        allow(
            "ReadConfig",
            ["s3:GetObject"],
            [facts.bucket_arn("artifacts", key) for key in objects],
        ),
        *reads,
        allow(
            "KeepReceived",
            ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
            [facts.bucket_arn("raw", f"{source}/*")],
        ),
        lists_bucket(facts, "FindReceived", "raw"),
        allow(
            "KeepRejects",
            ["s3:PutObject"],
            [facts.bucket_arn("quarantine", f"{source}/*"), given_up],
        ),
        lists_bucket(facts, "FindRejects", "quarantine"),
        table_access(facts, "KeepPositions", [source_pk(source), files_pk(source), FEED]),
        allow("StartSealing", ["states:StartExecution"], [machine]),
        allow(
            "ReadSecrets", ["secretsmanager:GetSecretValue"], [facts.secret_arn(s) for s in secrets]
        )
        if secrets
        else None,
        uses_key(facts, *services),
    )


def reads_kinesis(stream: str, consumer: str | None) -> tuple[Statement, ...]:
    """Read a stream, and through a consumer of this ARN (AWS Managed Policy Reference,
    *AWSLambdaKinesisExecutionRole*)."""
    actions = (
        "kinesis:DescribeStream",
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
    )
    found = [allow("ReadStream", actions, [stream])]
    if consumer:
        found.append(
            allow(
                "ReadByConsumer",
                ["kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"],
                [consumer],
            )
        )
    return tuple(found)


def reads_msk(cluster: str, topics: Sequence[str], groups: Sequence[str]) -> tuple[Statement, ...]:
    """Find the brokers of an MSK cluster, and read topics of it by IAM.

    Parameters
    ----------
    topics
        Empty where IAM is not the way in.
    groups
        Consumer groups that are joined for that.
    """
    found = [
        allow(
            "FindBrokers",
            ["kafka:DescribeCluster", "kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers"],
            [cluster],
        )
    ]
    if not topics:
        return tuple(found)
    # arn:aws:kafka:region:account:cluster/name/uuid -> topic/name/uuid/topic (MSK Developer Guide,
    # *Authorization policy resources*)
    head, _, rest = cluster.partition(":cluster/")
    found += [
        allow(
            "JoinCluster",
            ["kafka-cluster:Connect", "kafka-cluster:DescribeClusterDynamicConfiguration"],
            [cluster],
        ),
        allow(
            "ReadTopics",
            ["kafka-cluster:DescribeTopic", "kafka-cluster:ReadData"],
            [f"{head}:topic/{rest}/{topic}" for topic in topics],
        ),
    ]
    if groups:
        found.append(
            allow(
                "JoinGroups",
                ["kafka-cluster:AlterGroup", "kafka-cluster:DescribeGroup"],
                [f"{head}:group/{rest}/{literal(group)}" for group in groups],
            )
        )
    return tuple(found)


def reads_registry() -> Statement:
    """Read schemas of Glue by the ids in front of records.

    A request with an id names no registry, so that nothing narrower lets it pass (AWS Glue Developer
    Guide, *IAM examples for deserializers*). The function refuses a schema of another registry than
    the source's.
    """
    return allow("ReadSchemas", ["glue:GetSchemaVersion"], ["*"])


def literal(text: str) -> str:
    """A text within a resource pattern or a StringLike condition, its own ``*``, ``?`` and ``$``
    meaning themselves (IAM User Guide, *Policy variables*, "Where you can use policy variables")."""
    return "".join({"*": "${*}", "?": "${?}", "$": "${$}"}.get(one, one) for one in text)


def trigger(facts: PlatformFacts) -> Document:
    """The role of the Platform's trigger: it starts the machines of every pipeline."""
    machines = naming.prefix(facts.cluster) + "*"
    return document(
        writes_logs(facts, facts.trigger_function),
        allow(
            "TakeEvents",
            [
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
            ],
            [facts.queue_arn(facts.manifests_queue)],
        ),
        allow(
            "ReadManifests",
            ["s3:GetObject"],
            [facts.bucket_arn("raw", manifest_prefix("*/*") + "*")],
        ),
        lists_bucket(facts, "FindManifests", "raw"),
        table_access(
            facts, "KeepFlights", ["SOURCE#*", "PIPELINE#*", files_pk("*"), watch_pk("*"), FEED]
        ),
        allow("FindSubscribers", ["dynamodb:Scan"], [facts.state_table_arn]),
        allow("StartRuns", ["states:StartExecution"], [facts.machine_arn(machines)]),
        allow("WatchRuns", ["states:DescribeExecution"], [facts.execution_arn(machines)]),
        uses_key(facts, "s3", "sqs", "dynamodb", "lambda"),
    )


def metadata_extractor(facts: PlatformFacts) -> Document:
    """The role of the Platform's metadata extractor: it reads what was landed and writes what it
    measured beside it; it starts crawlers of this cluster and reads their tables."""
    catalog = naming.catalog_table("weir", facts.cluster) + "_*"
    return document(
        writes_logs(facts, facts.metadata_function),
        allow(
            "TakeEvents",
            [
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
            ],
            [facts.queue_arn(facts.metadata_queue), facts.queue_arn(facts.metadata_retry_queue)],
        ),
        allow(
            "ReadRecords", ["s3:GetObject", "s3:GetObjectVersion"], [facts.bucket_arn("raw", "*")]
        ),
        allow("KeepMetadata", ["s3:PutObject"], [facts.bucket_arn("raw", "*/*/_metadata/*")]),
        lists_bucket(facts, "FindMetadata", "raw"),
        table_access(facts, "KeepState", ["SOURCE#*", FEED]),
        allow(
            "StartCrawlers",
            ["glue:GetTags", "glue:StartCrawler"],
            [facts.crawlers_arn + naming.prefix(facts.cluster) + "*"],
        ),
        allow(
            "ReadCrawledTables",
            ["glue:GetTables"],
            [
                facts.arn("glue", "catalog"),
                facts.arn("glue", f"database/{catalog}"),
                facts.arn("glue", f"table/{catalog}/*"),
            ],
        ),
        allow("CallTrigger", ["lambda:InvokeFunction"], [facts.trigger_arn]),
        uses_key(facts, "s3", "sqs", "dynamodb", "lambda"),
    )


def crawler(
    facts: PlatformFacts, *, bucket: str, prefix: str, database: str, tables: str
) -> Document:
    """The role of a source's crawler: it reads one folder and writes its own tables.

    Parameters
    ----------
    bucket, prefix
        The folder that it looks through.
    tables
        Pattern of the tables that it writes.
    """
    objects = f"arn:{facts.partition}:s3:::{bucket}"
    folder = literal(prefix)
    return document(
        allow(
            "WriteLogs",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            [facts.arn("logs", "log-group:/aws-glue/*")],
        ),
        allow("ReadObjects", ["s3:GetObject"], [f"{objects}/{folder}*"]),
        allow(
            "FindObjects",
            ["s3:ListBucket"],
            [objects],
            {"StringLike": {"s3:prefix": [f"{folder}*"]}},
        ),
        allow(
            "WriteTables",
            [
                "glue:BatchCreatePartition",
                "glue:BatchGetPartition",
                "glue:CreateTable",
                "glue:GetDatabase",
                "glue:GetPartitions",
                "glue:GetTable",
                "glue:GetTables",
                "glue:UpdatePartition",
                "glue:UpdateTable",
            ],
            [
                facts.arn("glue", "catalog"),
                facts.arn("glue", f"database/{database}"),
                facts.arn("glue", f"table/{database}/{tables}"),
            ],
        ),
        uses_key(facts, "s3", writes=False),
    )


def scheduler(facts: PlatformFacts) -> Document:
    """The role of all schedules: ingest machines of this cluster, and the trigger."""
    machines = naming.prefix(facts.cluster) + "*"
    return document(
        allow("StartRuns", ["states:StartExecution"], [facts.machine_arn(machines)]),
        allow("CallTrigger", ["lambda:InvokeFunction"], [facts.trigger_arn]),
        allow("KeepLost", ["sqs:SendMessage"], [facts.queue_arn(facts.dead_letter_queue)]),
        uses_key(facts, "sqs"),
    )


def run_control(
    facts: PlatformFacts,
    *,
    pipeline: str,
    sources: Sequence[str],
    function: str,
    config_key: str,
    runs_prefix: str,
) -> Document:
    """The role of a pipeline's ``run_control``.

    Parameters
    ----------
    pipeline, sources
        ``namespace/name`` of the pipeline and of what it reads.
    runs_prefix
        Where plans and results of the pipeline's runs stand in the artifacts bucket.
    """
    return document(
        writes_logs(facts, function),
        allow("ReadConfig", ["s3:GetObject"], [facts.bucket_arn("artifacts", config_key)]),
        allow(
            "KeepRuns",
            ["s3:GetObject", "s3:PutObject"],
            [facts.bucket_arn("artifacts", f"{runs_prefix}*")],
        ),
        allow(
            "ReadManifests",
            ["s3:GetObject"],
            [
                facts.bucket_arn("raw", pattern)
                for source in sources
                for pattern in (
                    f"{manifest_prefix(source)}*",
                    f"{source}/{LANES}{pipeline.partition('/')[2]}/*",
                )
            ],
        ),
        lists_bucket(facts, "FindRuns", "artifacts"),
        table_access(
            facts,
            "KeepState",
            [pipeline_pk(pipeline), *(source_pk(source) for source in sources), FEED],
        ),
        uses_key(facts, "s3", "dynamodb", "lambda"),
    )


def loader(
    facts: PlatformFacts,
    *,
    pipeline: str,
    sources: Sequence[str],
    function: str,
    config_key: str,
    runs_prefix: str,
) -> Document:
    """The role of a pipeline's ``redshift_loader``: it writes SQL and reads results, no more."""
    return document(
        writes_logs(facts, function),
        allow("ReadConfig", ["s3:GetObject"], [facts.bucket_arn("artifacts", config_key)]),
        allow(
            "KeepRuns",
            ["s3:GetObject", "s3:PutObject"],
            [facts.bucket_arn("artifacts", f"{runs_prefix}*")],
        ),
        lists_bucket(facts, "FindRuns", "artifacts"),
        table_access(
            facts,
            "ReadContracts",
            [pipeline_pk(pipeline), *(source_pk(source) for source in sources)],
            writes=False,
        ),
        *warehouse_access(facts, pipeline.split("/")[0], LOADER_ACTIONS),
        uses_key(facts, "s3", "dynamodb", "lambda"),
    )


LOADER_ACTIONS = ("redshift-data:DescribeTable",)
"""The loader looks at its target; ``GetStatementResult`` stands in :data:`UNSCOPED`."""
MACHINE_ACTIONS = ("redshift-data:BatchExecuteStatement", "redshift-data:ExecuteStatement")


def warehouse_access(
    facts: PlatformFacts, namespace: str, actions: Sequence[str]
) -> tuple[Statement, ...]:
    """Enter the warehouse as the namespace's loader and do this; nothing without a warehouse."""
    warehouse = facts.warehouse
    if warehouse is None:
        return ()
    unscoped = ["redshift-data:GetStatementResult"]
    if actions == MACHINE_ACTIONS:
        unscoped.append("redshift-data:DescribeStatement")
    statements = [
        allow("UseWarehouse", actions, [warehouse_arn(facts)]),
        allow("ReadStatements", unscoped, ["*"]),
    ]
    if warehouse.serverless:
        entered = allow(
            "BecomeLoader", ["redshift-serverless:GetCredentials"], [warehouse_arn(facts)]
        )
    else:
        user, name = naming.loader_user(namespace), warehouse.name
        resources = [
            facts.arn("redshift", f"dbuser:{name}/{user}"),
            facts.arn("redshift", f"dbname:{name}/{warehouse.database}"),
        ]
        entered = allow("BecomeLoader", ["redshift:GetClusterCredentials"], resources)
    return (*statements, entered)


def warehouse_arn(facts: PlatformFacts) -> Arn:
    """The ARN that Data API policies name: the workgroup's, or the cluster's."""
    if facts.warehouse is None:
        raise ValueError(f"Platform {facts.platform} has no Redshift")
    if facts.warehouse.arn:
        return facts.warehouse.arn
    if facts.warehouse.serverless:
        raise ValueError(f"the ARN of workgroup {facts.warehouse.name} is not known yet")
    return facts.arn("redshift", f"cluster:{facts.warehouse.name}")


def glue_job(
    facts: PlatformFacts,
    *,
    pipeline: str,
    sources: Sequence[str],
    config_key: str,
    runs_prefix: str,
    writes: Sequence[tuple[str, str]],
    tables: Sequence[str],
    iceberg: str | None = None,
    scripts: bool = False,
    script_files: Sequence[str] = (),
    pii_secret: str | None = None,
) -> Document:
    """The role of a pipeline's Glue job.

    Parameters
    ----------
    writes
        Zone and prefix of each output: ``("processed", "customers/")``. The quarantine is implied.
    tables
        Glue tables whose partitions it adds.
    iceberg
        Glue table that it commits to.
    scripts
        Whether it runs Python of a tenant's own.
    script_files
        ``bucket/key`` of each file of it.
    pii_secret
        Secret that holds the key of keyed hashes.
    """
    code = sorted(item.key for name, item in facts.artifacts.items() if name.startswith("glue"))
    database = naming.catalog_database(facts.cluster, pipeline.split("/")[0])
    outputs = [*writes, ("quarantine", f"{pipeline}/")]
    listed: dict[str, list[str]] = {
        "raw": [f"{source}/" for source in sources],
        "artifacts": [runs_prefix, "code/"],
    }
    for zone, prefix in outputs:
        listed.setdefault(zone, []).append(prefix)
    return document(
        allow(
            "WriteLogs",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            [facts.arn("logs", "log-group:/aws-glue/*")],
        ),
        allow(
            "ReadCode",
            ["s3:GetObject"],
            [facts.bucket_arn("artifacts", key) for key in [*code, config_key]],
        ),
        allow(
            "KeepRuns",
            ["s3:GetObject", "s3:PutObject"],
            [facts.bucket_arn("artifacts", f"{runs_prefix}*")],
        ),
        allow(
            "ReadRecords", ["s3:GetObject"], [facts.bucket_arn("raw", f"{s}/*") for s in sources]
        ),
        allow(
            "WriteRows",
            ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
            [facts.bucket_arn(zone, f"{prefix}*") for zone, prefix in outputs],
        ),
        # Hadoop's S3 client asks of every folder above a path whether it is a file.
        allow(
            "SeeFolders",
            ["s3:GetObject"],
            [facts.bucket_arn(zone, key) for zone, prefix in outputs for key in folders(prefix)],
        ),
        *(
            lists_bucket(facts, f"Find{zone.capitalize()}", zone, below if scripts else None)
            for zone, below in sorted(listed.items())
        ),
        allow(
            "RegisterPartitions",
            [
                "glue:BatchCreatePartition",
                "glue:GetTable",
            ],
            [
                facts.arn("glue", "catalog"),
                facts.arn("glue", f"database/{database}"),
                *(facts.arn("glue", f"table/{database}/{table}") for table in tables),
            ],
        )
        if tables
        else None,
        allow(
            "CommitToTable",
            [
                "glue:GetTable",
                "glue:UpdateTable",
            ],
            [
                facts.arn("glue", "catalog"),
                facts.arn("glue", f"database/{database}"),
                facts.arn("glue", f"table/{database}/{iceberg}"),
            ],
        )
        if iceberg
        else None,
        table_access(
            facts,
            "ReadContracts",
            [pipeline_pk(pipeline), *(source_pk(source) for source in sources)],
            writes=False,
        ),
        allow(
            "ReadScripts",
            ["s3:GetObject"],
            [f"arn:{facts.partition}:s3:::{file}" for file in script_files],
        )
        if script_files
        else None,
        allow("ReadSecrets", ["secretsmanager:GetSecretValue"], [facts.secret_arn(pii_secret)])
        if pii_secret
        else None,
        uses_key(facts, "s3", "dynamodb", *(["secretsmanager"] if pii_secret else [])),
    )


def folders(prefix: str) -> list[str]:
    """The keys of a prefix and of all above it, without slashes: ``a/b/`` gives ``a``, ``a/b``."""
    parts = prefix.strip("/").split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def machine(
    facts: PlatformFacts,
    *,
    functions: Sequence[str],
    topics: Sequence[str],
    job: str | None = None,
    itself: str | None = None,
    namespace: str | None = None,
) -> Document:
    """The role of a state machine.

    Parameters
    ----------
    functions, topics
        ARNs that it invokes and publishes to.
    job
        Name of the Glue job that it runs.
    itself
        Its own name, where it hands over to a new execution of itself.
    namespace
        Its namespace, where it runs statements in the warehouse.
    """
    return document(
        allow("CallFunctions", ["lambda:InvokeFunction"], functions),
        publishes(topics),
        allow(
            "RunJob",
            ["glue:BatchStopJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:StartJobRun"],
            [facts.arn("glue", f"job/{job}")],
        )
        if job
        else None,
        allow("HandOver", ["states:StartExecution"], [facts.machine_arn(itself)])
        if itself
        else None,
        *(warehouse_access(facts, namespace, MACHINE_ACTIONS) if namespace else ()),
        uses_key(facts, "sns") if topics else None,
    )


def receipt_rules(facts: PlatformFacts) -> Statement:
    """A condition: SES acts for a receipt rule of this cluster, in whichever rule set is active (SES
    Developer Guide, *Giving permissions to Amazon SES for email receiving*)."""
    rules = f"receipt-rule-set/*:receipt-rule/{naming.prefix(facts.cluster)}*"
    return {
        "StringEquals": {"aws:SourceAccount": facts.account_id},
        "ArnLike": {"aws:SourceArn": facts.arn("ses", rules)},
    }


def key_policy(
    facts: PlatformFacts, admins: Sequence[str] = (), receives: bool = False
) -> Document:
    """The policy of a key that Weir creates.

    ``receives`` lets SES put mails into the raw zone, which is encrypted with the key.

    ``kms:*`` for the account's root is what makes IAM policies count at all (KMS Developer Guide,
    *Default key policy*). The services are those that use the key on their own behalf.
    """
    root = f"arn:{facts.partition}:iam::{facts.account_id}:root"
    account = {"StringEquals": {"aws:SourceAccount": facts.account_id}}
    groups = f"log-group:/aws/lambda/{naming.prefix(facts.cluster)}*"
    services = [
        (
            "Logs",
            f"logs.{facts.region}.amazonaws.com",
            [
                "kms:Decrypt*",
                "kms:Describe*",
                "kms:Encrypt*",
                "kms:GenerateDataKey*",
                "kms:ReEncrypt*",
            ],
            {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": facts.arn("logs", groups)}},
        ),
        ("Events", "events.amazonaws.com", ["kms:Decrypt", "kms:GenerateDataKey*"], account),
        ("Alarms", "cloudwatch.amazonaws.com", ["kms:Decrypt", "kms:GenerateDataKey*"], account),
    ]
    if receives:
        actions = ["kms:Decrypt", "kms:GenerateDataKey*"]
        services.append(("Mails", "ses.amazonaws.com", actions, receipt_rules(facts)))
    statements: list[Statement] = [
        {
            "Sid": "Account",
            "Effect": "Allow",
            "Principal": {"AWS": sorted([root, *admins])},
            "Action": "kms:*",
            "Resource": "*",
        }
    ]
    for sid, principal, actions, condition in services:
        statements.append(
            {
                "Sid": sid,
                "Effect": "Allow",
                "Principal": {"Service": principal},
                "Action": actions,
                "Resource": "*",
                "Condition": condition,
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}


def bucket_policy(facts: PlatformFacts, zone: str, receives: bool = False) -> Document:
    """Our entries in a bucket's policy: TLS only, and where ``receives`` SES may put mails into the
    sources' folders for them."""
    tls = {
        "Sid": "WeirTlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [facts.bucket_arn(zone), facts.bucket_arn(zone, "*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    mails = {
        "Sid": "WeirMails",
        "Effect": "Allow",
        "Principal": {"Service": "ses.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": facts.bucket_arn(zone, f"*/*/{naming.MAIL_FOLDER}/*"),
        "Condition": receipt_rules(facts),
    }
    return document(tls if facts.tls else None, mails if receives else None)


def queue_policy(facts: PlatformFacts, queue: str, rules: Sequence[str]) -> Document:
    """These EventBridge rules may send to the queue."""
    arns = [facts.arn("events", f"rule/{rule}") for rule in rules]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "WeirManifests",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": facts.queue_arn(queue),
                "Condition": {"ArnEquals": {"aws:SourceArn": arns}},
            }
        ],
    }


def topic_policy(facts: PlatformFacts, topic: str) -> Document:
    """CloudWatch alarms of this account may publish; roles may as their own policies say."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "WeirAlarms",
                "Effect": "Allow",
                "Principal": {"Service": "cloudwatch.amazonaws.com"},
                "Action": "sns:Publish",
                "Resource": facts.topic_arn(topic),
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": facts.account_id},
                    "ArnLike": {
                        "aws:SourceArn": facts.arn(
                            "cloudwatch", f"alarm:{naming.prefix(facts.cluster)}*"
                        )
                    },
                },
            }
        ],
    }
