"""The table of mends: where the emulator is kinder than AWS, and what AWS does.

Each mend is one module that goes through MiniStack's dictionaries and module attributes; the
package itself is never edited.
"""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass

from weir_local.aws import policies, stores

logger = logging.getLogger("weir.local.aws")


@dataclass(frozen=True)
class Mend:
    """One mended gap.

    :param module: its module in this package, with ``install()`` and maybe ``uninstall()``
    :param aws: what AWS does
    :param page: the AWS documentation page that says so
    """

    module: str
    aws: str
    page: str


MENDS: tuple[Mend, ...] = (
    Mend(
        "messages",
        "AccessDenied names principal, action and resource",
        "IAM User Guide: Troubleshoot access denied error messages",
    ),
    Mend(
        "boundary",
        "iam:PermissionsBoundary and iam:PolicyARN are condition keys of role and user writes; the "
        "account's listing has each role's boundary",
        "Service Authorization Reference: AWS Identity and Access Management; IAM API: RoleDetail",
    ),
    Mend(
        "conditions",
        "aws:ResourceTag of KMS keys and lambda:FunctionArn are condition keys",
        "AWS KMS Developer Guide: ABAC for AWS KMS; Service Authorization Reference: AWS Lambda",
    ),
    Mend(
        "resources",
        "A call is authorized on the ARN of what it makes or changes, role paths included",
        "Service Authorization Reference: Actions, resources, and condition keys",
    ),
    Mend(
        "tagging",
        "Tags given at creation need the permission to tag",
        "Service Authorization Reference: Dependent actions",
    ),
    Mend(
        "listings",
        "Listings come in pages of AWS's size, ListFunctions has no states, and the tagging API "
        "knows state machines, alarms, log groups, secrets and event source mappings",
        "Lambda API: ListFunctions; IAM API: ListRoles; Resource Groups Tagging API: GetResources",
    ),
    Mend(
        "chains",
        "Transitive session tags and the source identity stay through a chain of roles, each of "
        "which must let them pass; a chained session lives for an hour at most",
        "IAM User Guide: Pass session tags in AWS STS; Monitor and control actions taken with "
        "assumed roles",
    ),
    Mend(
        "passrole",
        "Handing a role to a service needs iam:PassRole, and the role must trust the service",
        "IAM User Guide: Grant a user permissions to pass a role to an AWS service",
    ),
    Mend(
        "warehouse",
        "Redshift, Redshift Serverless and the Redshift Data API exist",
        "Amazon Redshift Management Guide: Using the Amazon Redshift Data API",
    ),
    Mend(
        "stepfunctions",
        "Tasks run under the machine's role; 256 KiB of payload, 25,000 events; .sync waits",
        "Step Functions Developer Guide: Integrating services; Quotas",
    ),
    Mend(
        "sparkjobs",
        "Glue job runs run their script on Spark under the job's role",
        "Glue Developer Guide: Using job parameters in AWS Glue jobs; Glue API: StartJobRun",
    ),
    Mend(
        "crawlers",
        "Crawlers read their targets under their role and say on the event bus how it went; tables "
        "have versions",
        "Glue Developer Guide: How crawlers work; Automating AWS Glue with EventBridge; Glue API: "
        "GetTableVersions",
    ),
    Mend(
        "kms",
        "What is encrypted with a customer's key needs the key, in S3, Secrets, SQS, SNS, DynamoDB",
        "Amazon S3 User Guide: Using server-side encryption with AWS KMS keys; and others",
    ),
    Mend(
        "ranges",
        "A range of an object's version is that range",
        "Amazon S3 API: GetObject",
    ),
    Mend(
        "s3a",
        "Spark renames encrypted objects (over HTTPS, which the loopback endpoint is not)",
        "Amazon S3 User Guide: Specifying server-side encryption with AWS KMS",
    ),
    Mend(
        "deliveries",
        "Rules and alarms reach only what lets them in, by policy, role and key",
        "EventBridge User Guide: Using resource-based policies for Amazon EventBridge",
    ),
    Mend(
        "receiptrules",
        "Receipt rules are changed, moved, copied and limited; SES tries what they lead to",
        "SES API Reference: UpdateReceiptRule; SES Developer Guide: Giving permissions to Amazon SES "
        "for email receiving; Service quotas",
    ),
    Mend(
        "receiving",
        "Mails come in by SMTP, get SES's verdicts, and go through the active rule set",
        "SES Developer Guide: Email receiving concepts; Receipt rule actions",
    ),
    Mend(
        "workmail",
        "WorkMail hands mails to the function of a rule, and their content to who may read it",
        "WorkMail Administrator Guide: Configuring AWS Lambda for Amazon WorkMail; Managing access to "
        "the Amazon WorkMail Message Flow API",
    ),
    Mend(
        "scheduler",
        "Schedules know time zones and context attributes, and call under their role with retries",
        "EventBridge Scheduler User Guide: Schedule types; Adding context attributes",
    ),
    Mend(
        "functions",
        "Errors carry the exception's class; logs and pollers need the role; only the runtime's "
        "packages are there; a source is mapped to a function once",
        "Lambda Developer Guide: Python function errors; Execution role; Lambda API: "
        "CreateEventSourceMapping (ResourceConflictException)",
    ),
    Mend(
        "streams.registry",
        "Glue has a schema registry, which checks compatibility",
        "AWS Glue Developer Guide: AWS Glue Schema Registry",
    ),
    Mend(
        "streams.shards",
        "Closed shards stay, with their records; changes of a stream take time; records' limits",
        "Kinesis Data Streams Developer Guide: Resharding a stream; Quotas and limits",
    ),
    Mend(
        "streams.msk",
        "MSK has V2, and clusters with a real broker behind them",
        "Amazon MSK API Reference V2: Clusters",
    ),
    Mend(
        "streams.mappings",
        "Mappings of streams retry, split, report parts and give up, in order, from checkpoints",
        "Lambda Developer Guide: Using Lambda to process records from Amazon Kinesis Data Streams",
    ),
    Mend(
        "networks",
        "VPC endpoints have states, filters, tokens and one name each; what is used can't be deleted; "
        "groups and endpoints are judged by tag and VPC; functions in a VPC hold interfaces there",
        "EC2 API reference: CreateVpcEndpoint; Error codes; Service Authorization Reference: Amazon "
        "EC2; Lambda Developer Guide: Giving Lambda functions access to resources in an Amazon VPC",
    ),
    Mend(
        "connections",
        "Glue connections are made once, changed in place, and have tags",
        "Glue API: CreateConnection; UpdateConnection",
    ),
    Mend(
        "metrics",
        "Embedded metric format makes metrics, Step Functions counts, alarms look by dimension",
        "CloudWatch User Guide: Specification: Embedded metric format; Evaluating an alarm",
    ),
    Mend(
        "limits",
        "Inline policies of a role 10,240 characters, a managed policy 6,144",
        "IAM User Guide: IAM and AWS STS quotas",
    ),
)


def install() -> None:
    """Install every mend, in the table's order, into the imported MiniStack."""
    # Not mends themselves: what they stand on, and what keeps it quick where there is much.
    stores.install()
    policies.install()
    for mend in MENDS:
        importlib.import_module(f"weir_local.aws.{mend.module}").install()


def uninstall() -> None:
    """End what mends started: job processes, threads, pools."""
    for mend in reversed(MENDS):
        stop = getattr(importlib.import_module(f"weir_local.aws.{mend.module}"), "uninstall", None)
        if stop is None:
            continue
        try:
            stop()
        except Exception:  # what the others hold must still end
            logger.exception("could not end the mend %s", mend.module)
