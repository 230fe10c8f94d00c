"""What the operator itself may do: the policies that docs/iam.md publishes and the local AWS enforces.

Five managed policies, since IAM allows 6,144 characters each (IAM User Guide, *IAM and AWS STS
quotas*); one is needed where a Platform names a VPC, one where sources have SES or WorkMail
receive mails.
Everything is bounded by the cluster's names; what AWS gives no resource for stands in
:data:`UNSCOPED` with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from weir.blueprint import naming

Document = dict[str, Any]

UNSCOPED = {
    "cloudwatch:DescribeAlarms": "a listing",
    "cloudwatch:ListDashboards": "a listing",
    "dynamodb:ListTables": "a listing",
    **dict.fromkeys(
        (
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeRouteTables",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcAttribute",
            "ec2:DescribeVpcEndpoints",
            "ec2:DescribeVpcs",
        ),
        "a listing: EC2 takes no resource for it",
    ),
    "events:ListRules": "a listing",
    "glue:GetCrawlers": "a listing",
    "glue:GetDatabases": "a listing",
    "glue:GetJobs": "a listing",
    "iam:GetAccountAuthorizationDetails": "a listing, one call for all roles",
    "iam:ListRoles": "a listing",
    "kinesis:ListStreams": "a listing",
    "kms:CreateKey": "a key has no ARN before it exists; the request must carry the cluster's tag",
    "kms:ListAliases": "a listing",
    "kms:TagResource": "with CreateKey; the request must carry the cluster's tag",
    "lambda:CreateEventSourceMapping": "bounded by lambda:FunctionArn",
    "lambda:GetAccountSettings": "account-wide: whether any function has concurrency reserved",
    "lambda:ListEventSourceMappings": "a listing",
    "lambda:ListFunctions": "a listing",
    "logs:DescribeLogGroups": "a listing",
    "redshift-data:DescribeStatement": "statements have no ARN; Redshift shows one's own only",
    "redshift-data:GetStatementResult": "statements have no ARN; Redshift shows one's own only",
    "redshift:DescribeClusters": "a listing",
    "s3:ListAllMyBuckets": "a listing",
    "scheduler:ListSchedules": "a listing",
    "secretsmanager:ListSecrets": "a listing; names and tags, never values",
    "ses:CreateReceiptRule": "receipt rules and their sets are no resources of IAM",
    "ses:CreateReceiptRuleSet": "as CreateReceiptRule",
    "ses:DeleteReceiptRule": "as CreateReceiptRule",
    "ses:DeleteReceiptRuleSet": "as CreateReceiptRule",
    "ses:DescribeActiveReceiptRuleSet": "as CreateReceiptRule",
    "ses:DescribeReceiptRuleSet": "as CreateReceiptRule",
    "ses:GetIdentityVerificationAttributes": "a listing",
    "ses:ListReceiptRuleSets": "a listing",
    "ses:SetActiveReceiptRuleSet": "as CreateReceiptRule",
    "ses:UpdateReceiptRule": "as CreateReceiptRule",
    "sns:ListTopics": "a listing",
    "sqs:ListQueues": "a listing",
    "states:ListStateMachines": "a listing",
    "tag:GetResources": "a listing",
}
"""Actions that stand with ``Resource: "*"`` -> why."""

KEPT_BY_BOUNDARY = ("iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy")
"""Role writes that the published policy ties to the permissions boundary."""


def documents(
    cluster: str,
    region: str,
    account: str,
    *,
    partition: str = "aws",
    boundary: str | None = None,
    buckets: Sequence[str] = (),
    admin_secrets: Sequence[str] = (),
    vpcs: Sequence[str] = ("*",),
) -> dict[str, Document]:
    """The operator's policies.

    Parameters
    ----------
    cluster
        The cluster id, which all names start with (``weir-<cluster>-``).
    boundary
        ARN of the permissions boundary that every role must carry; None leaves the demand out.
    buckets
        Adopted buckets, beside those named after the cluster.
    admin_secrets
        ARNs of the secrets that Platforms name as ``redshift.adminSecretArn``: the Data API reads
        them with the operator's permissions. The operator itself never does.
    vpcs
        Ids of the VPCs that Platforms name.

    Returns
    -------
    dict
        ``identity``, ``storage``, ``compute``, ``network``, ``mail`` -> policy document.
    """
    names = naming.prefix(cluster)
    catalog = naming.catalog_table("weir", cluster) + "_*"
    path = naming.iam_path(cluster)

    def arn(service: str, resource: str) -> str:
        return f"arn:{partition}:{service}:{region}:{account}:{resource}"

    def s3(suffix: str = "") -> list[str]:
        return [f"arn:{partition}:s3:::{name}{suffix}" for name in (f"{names}*", *buckets)]

    roles = [f"arn:{partition}:iam::{account}:role{path}*"]
    tagged = {"StringEquals": {"aws:ResourceTag/weir.dev/cluster": cluster}}
    bound = {"StringEquals": {"iam:PermissionsBoundary": boundary}} if boundary else None
    identity = [
        _allow("WriteRoles", KEPT_BY_BOUNDARY, roles, bound),
        _allow(
            "KeepRoles",
            (
                "iam:DeleteRole",
                "iam:DeleteRolePolicy",
                "iam:DetachRolePolicy",
                "iam:GetRole",
                "iam:GetRolePolicy",
                "iam:ListAttachedRolePolicies",
                "iam:ListRolePolicies",
                "iam:TagRole",
                "iam:UpdateAssumeRolePolicy",
                "iam:UpdateRole",
            ),
            roles,
        ),
        # IAM authorizes a call about a role that does not exist on its name alone, without a path.
        _allow("FindRoles", ("iam:GetRole",), [f"arn:{partition}:iam::{account}:role/{names}*"]),
        _allow(
            "PassRoles",
            ("iam:PassRole",),
            roles,
            {
                "StringEquals": {
                    "iam:PassedToService": [
                        f"{service}.amazonaws.com"
                        for service in ("glue", "lambda", "scheduler", "states")
                    ]
                }
            },
        ),
        _allow(
            "ListRoles",
            ("iam:GetAccountAuthorizationDetails", "iam:GetAccountSummary", "iam:ListRoles"),
            ["*"],
        ),
        _allow(
            "CreateKey",
            ("kms:CreateKey", "kms:TagResource"),
            ["*"],
            {"StringEquals": {"aws:RequestTag/weir.dev/cluster": cluster}},
        ),
        _allow(
            "KeepKeys",
            (
                "kms:CancelKeyDeletion",
                "kms:CreateAlias",
                "kms:CreateGrant",
                "kms:Decrypt",
                "kms:DeleteAlias",
                "kms:DescribeKey",
                "kms:DisableKeyRotation",
                "kms:EnableKey",
                "kms:EnableKeyRotation",
                "kms:Encrypt",
                "kms:GenerateDataKey",
                "kms:GetKeyPolicy",
                "kms:GetKeyRotationStatus",
                "kms:ListResourceTags",
                "kms:PutKeyPolicy",
                "kms:ScheduleKeyDeletion",
                "kms:TagResource",
                "kms:UpdateKeyDescription",
            ),
            [arn("kms", "key/*")],
            tagged,
        ),
        _allow(
            "NameKeys",
            ("kms:CreateAlias", "kms:DeleteAlias", "kms:DescribeKey"),
            [arn("kms", f"alias/{names}*")],
        ),
        _allow(
            "FindSecrets", ("secretsmanager:DescribeSecret",), [arn("secretsmanager", "secret:*")]
        ),
        _allow("ListKeys", ("kms:ListAliases",), ["*"]),
        _allow("ListSecrets", ("secretsmanager:ListSecrets",), ["*"]),
        _allow("ListTagged", ("tag:GetResources",), ["*"]),
    ]
    storage = [
        _allow(
            "KeepBuckets",
            (
                "s3:CreateBucket",
                "s3:DeleteBucket",
                "s3:DeleteBucketPolicy",
                "s3:GetBucketNotification",
                "s3:GetBucketPolicy",
                "s3:GetBucketPublicAccessBlock",
                "s3:GetBucketTagging",
                "s3:GetBucketVersioning",
                "s3:GetEncryptionConfiguration",
                "s3:GetLifecycleConfiguration",
                "s3:ListBucket",
                "s3:PutBucketNotification",
                "s3:PutBucketPolicy",
                "s3:PutBucketPublicAccessBlock",
                "s3:PutBucketTagging",
                "s3:PutBucketVersioning",
                "s3:PutEncryptionConfiguration",
                "s3:PutLifecycleConfiguration",
                "s3:TagResource",
            ),
            s3(),
        ),
        _allow(
            "KeepCode",
            ("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"),
            [*s3("/code/*"), *s3("/config/*")],
        ),
        _allow(
            "KeepTables",
            (
                "dynamodb:BatchGetItem",
                "dynamodb:CreateTable",
                "dynamodb:DeleteItem",
                "dynamodb:DeleteTable",
                "dynamodb:DescribeContinuousBackups",
                "dynamodb:DescribeTable",
                "dynamodb:DescribeTimeToLive",
                "dynamodb:GetItem",
                "dynamodb:ListTagsOfResource",
                "dynamodb:PutItem",
                "dynamodb:Query",
                "dynamodb:TagResource",
                "dynamodb:UpdateContinuousBackups",
                "dynamodb:UpdateTable",
                "dynamodb:UpdateTimeToLive",
            ),
            [arn("dynamodb", f"table/{names}*")],
        ),
        _allow(
            "KeepLogs",
            (
                "logs:AssociateKmsKey",
                "logs:CreateLogGroup",
                "logs:DeleteLogGroup",
                "logs:DeleteRetentionPolicy",
                "logs:DisassociateKmsKey",
                "logs:ListTagsForResource",
                "logs:PutRetentionPolicy",
                "logs:TagResource",
            ),
            [arn("logs", f"log-group:/aws/{part}{names}*") for part in ("lambda/", "states/")],
        ),
        _allow(
            "KeepQueues",
            (
                "sqs:CreateQueue",
                "sqs:DeleteQueue",
                "sqs:GetQueueAttributes",
                "sqs:GetQueueUrl",
                "sqs:ListQueueTags",
                "sqs:SetQueueAttributes",
                "sqs:TagQueue",
            ),
            [arn("sqs", f"{names}*")],
        ),
        _allow(
            "HearChanges",
            ("sqs:DeleteMessage", "sqs:ReceiveMessage"),
            [arn("sqs", f"{names}*-changes-*")],
        ),
        _allow(
            "KeepTopics",
            (
                "sns:CreateTopic",
                "sns:DeleteTopic",
                "sns:GetTopicAttributes",
                "sns:ListSubscriptionsByTopic",
                "sns:ListTagsForResource",
                "sns:Publish",
                "sns:SetTopicAttributes",
                "sns:Subscribe",
                "sns:TagResource",
                "sns:Unsubscribe",
            ),
            [arn("sns", f"{names}*")],
        ),
        _allow(
            "KeepRules",
            (
                "events:DeleteRule",
                "events:DescribeRule",
                "events:ListTagsForResource",
                "events:ListTargetsByRule",
                "events:PutRule",
                "events:PutTargets",
                "events:RemoveTargets",
                "events:TagResource",
            ),
            [arn("events", f"rule/{names}*")],
        ),
        _allow(
            "KeepStreams",
            (
                "kinesis:AddTagsToStream",
                "kinesis:CreateStream",
                "kinesis:DecreaseStreamRetentionPeriod",
                "kinesis:DeleteStream",
                "kinesis:IncreaseStreamRetentionPeriod",
                "kinesis:ListTagsForResource",
                "kinesis:StartStreamEncryption",
                "kinesis:TagResource",
                "kinesis:UpdateShardCount",
                "kinesis:UpdateStreamMode",
            ),
            [arn("kinesis", f"stream/{names}*")],
        ),
        # Of others they are read by consumers of our own, where a Platform grants them.
        _allow(
            "ReadStreams",
            (
                "kinesis:DescribeStreamConsumer",
                "kinesis:DescribeStreamSummary",
                "kinesis:RegisterStreamConsumer",
            ),
            [arn("kinesis", "stream/*")],
        ),
        _allow(
            "KeepConsumers",
            (
                "kinesis:DeregisterStreamConsumer",
                "kinesis:ListTagsForResource",
                "kinesis:TagResource",
            ),
            [arn("kinesis", f"stream/*/consumer/{names}*")],
        ),
        _allow(
            "KeepSchedules",
            (
                "scheduler:CreateSchedule",
                "scheduler:DeleteSchedule",
                "scheduler:GetSchedule",
                "scheduler:UpdateSchedule",
            ),
            [arn("scheduler", f"schedule/default/{names}*")],
        ),
        _allow("FindLogs", ("logs:DescribeLogGroups",), ["*"]),
        _allow(
            "ListAll",
            (
                "dynamodb:ListTables",
                "events:ListRules",
                "kinesis:ListStreams",
                "s3:ListAllMyBuckets",
                "scheduler:ListSchedules",
                "sns:ListTopics",
                "sqs:ListQueues",
            ),
            ["*"],
        ),
    ]
    functions = [arn("lambda", f"function:{names}*")]
    compute = [
        _allow(
            "KeepFunctions",
            (
                "lambda:CreateFunction",
                "lambda:DeleteFunction",
                "lambda:DeleteFunctionConcurrency",
                "lambda:GetFunction",
                "lambda:InvokeFunction",
                "lambda:ListTags",
                "lambda:PutFunctionConcurrency",
                "lambda:TagResource",
                "lambda:UpdateFunctionCode",
                "lambda:UpdateFunctionConfiguration",
            ),
            functions,
        ),
        _allow(
            "ListFunctions",
            (
                "lambda:GetAccountSettings",
                "lambda:ListEventSourceMappings",
                "lambda:ListFunctions",
            ),
            ["*"],
        ),
        _allow(
            "CreateMappings",
            ("lambda:CreateEventSourceMapping",),
            ["*"],
            {"ArnLike": {"lambda:FunctionArn": functions}},
        ),
        _allow(
            "KeepMappings",
            (
                "lambda:DeleteEventSourceMapping",
                "lambda:GetEventSourceMapping",
                "lambda:ListTags",
                "lambda:TagResource",
                "lambda:UpdateEventSourceMapping",
            ),
            [arn("lambda", "event-source-mapping:*")],
        ),
        _allow(
            "KeepMachines",
            (
                "states:CreateStateMachine",
                "states:DeleteStateMachine",
                "states:DescribeStateMachine",
                "states:ListExecutions",
                "states:ListTagsForResource",
                "states:StartExecution",
                "states:TagResource",
                "states:UpdateStateMachine",
            ),
            [arn("states", f"stateMachine:{names}*")],
        ),
        _allow(
            "WatchRuns",
            ("states:DescribeExecution",),
            [arn("states", f"execution:{names}*")],
        ),
        _allow("ListMachines", ("states:ListStateMachines",), ["*"]),
        _allow(
            "KeepJobs",
            (
                "glue:CreateJob",
                "glue:DeleteJob",
                "glue:GetJob",
                "glue:GetTags",
                "glue:TagResource",
                "glue:UpdateJob",
            ),
            [arn("glue", f"job/{names}*")],
        ),
        _allow(
            "KeepCrawlers",
            (
                "glue:CreateCrawler",
                "glue:DeleteCrawler",
                "glue:GetCrawler",
                "glue:GetTags",
                "glue:StopCrawler",
                "glue:TagResource",
                "glue:UpdateCrawler",
            ),
            [arn("glue", f"crawler/{names}*")],
        ),
        _allow("ListJobs", ("glue:GetCrawlers", "glue:GetDatabases", "glue:GetJobs"), ["*"]),
        _allow(
            "KeepCatalog",
            (
                "glue:BatchCreatePartition",
                "glue:CreateDatabase",
                "glue:CreateTable",
                "glue:DeleteDatabase",
                "glue:DeleteTable",
                "glue:GetDatabase",
                "glue:GetTable",
                "glue:GetTables",
                "glue:GetTags",
                "glue:TagResource",
                "glue:UpdateDatabase",
                "glue:UpdateTable",
            ),
            [
                arn("glue", "catalog"),
                arn("glue", f"database/{catalog}"),
                arn("glue", f"table/{catalog}/*"),
            ],
        ),
        _allow(
            "KeepAlarms",
            (
                "cloudwatch:DeleteAlarms",
                "cloudwatch:ListTagsForResource",
                "cloudwatch:PutMetricAlarm",
                "cloudwatch:TagResource",
            ),
            [arn("cloudwatch", f"alarm:{names}*")],
        ),
        _allow("ListAlarms", ("cloudwatch:DescribeAlarms", "cloudwatch:ListDashboards"), ["*"]),
        _allow(
            "KeepDashboards",
            ("cloudwatch:DeleteDashboards", "cloudwatch:GetDashboard", "cloudwatch:PutDashboard"),
            [f"arn:{partition}:cloudwatch::{account}:dashboard/{names}*"],
        ),
        _allow(
            "FindWarehouse",
            ("redshift:DescribeClusters",),
            ["*"],
        ),
        _allow(
            "KeepWarehouse",
            (
                "redshift-data:BatchExecuteStatement",
                "redshift-data:ExecuteStatement",
                "redshift-serverless:GetNamespace",
                "redshift-serverless:GetWorkgroup",
            ),
            [
                arn("redshift", "cluster:*"),
                arn("redshift-serverless", "namespace/*"),
                arn("redshift-serverless", "workgroup/*"),
            ],
        ),
        _allow(
            "ReadStatements",
            (
                "redshift-data:DescribeStatement",
                "redshift-data:GetStatementResult",
            ),
            ["*"],
        ),
        *(
            [_allow("SignInToWarehouse", ("secretsmanager:GetSecretValue",), admin_secrets)]
            if admin_secrets
            else []
        ),
    ]
    mail = [
        _allow(
            "KeepReceiptRules",
            (
                "ses:CreateReceiptRule",
                "ses:DeleteReceiptRule",
                "ses:DescribeActiveReceiptRuleSet",
                "ses:ListReceiptRuleSets",
                "ses:UpdateReceiptRule",
            ),
            ["*"],
        ),
        _allow("SeeDomains", ("ses:GetIdentityVerificationAttributes",), ["*"]),
        # For sources that WorkMail brings mails: nobody else may be let in to call a function.
        _allow(
            "LetWorkMailCall",
            ("lambda:AddPermission",),
            functions,
            {"StringEquals": {"lambda:Principal": f"workmail.{region}.amazonaws.com"}},
        ),
        _allow("KeepCallers", ("lambda:GetPolicy", "lambda:RemovePermission"), functions),
        # For spec.mail.createRuleSet of a Platform alone.
        _allow(
            "MakeRuleSet",
            (
                "ses:CreateReceiptRuleSet",
                "ses:DeleteReceiptRuleSet",
                "ses:DescribeReceiptRuleSet",
                "ses:SetActiveReceiptRuleSet",
            ),
            ["*"],
        ),
    ]
    return {
        name: {"Version": "2012-10-17", "Statement": statements}
        for name, statements in (
            ("mail", mail),
            ("identity", identity),
            ("storage", storage),
            ("compute", compute),
            ("network", _network(names, tagged, vpcs, arn)),
        )
    }


def _network(
    names: str,
    tagged: Mapping[str, Any],
    vpcs: Sequence[str],
    arn: Callable[[str, str], str],
) -> list[Document]:
    """Groups and endpoints in these VPCs, by the cluster's tag, and connections by name."""
    inside = [arn("ec2", f"vpc/{vpc}") for vpc in vpcs]
    born = {
        key.replace("ResourceTag", "RequestTag"): v for key, v in tagged["StringEquals"].items()
    }
    made = [arn("ec2", "security-group/*"), arn("ec2", "vpc-endpoint/*")]
    return [
        _allow(
            "FindNetworks",
            (
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeRouteTables",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcAttribute",
                "ec2:DescribeVpcEndpoints",
                "ec2:DescribeVpcs",
            ),
            ["*"],
        ),
        _allow(
            "MakeInNetworks",
            ("ec2:CreateSecurityGroup", "ec2:CreateVpcEndpoint"),
            made,
            {"StringEquals": born},
        ),
        _allow("EnterVpcs", ("ec2:CreateSecurityGroup", "ec2:CreateVpcEndpoint"), inside),
        _allow(
            "JoinEndpoints",
            ("ec2:CreateVpcEndpoint", "ec2:ModifyVpcEndpoint"),
            [arn("ec2", f"{kind}/*") for kind in ("route-table", "security-group", "subnet")],
            {"ArnLike": {"ec2:Vpc": inside}},
        ),
        _allow(
            "TagAtBirth",
            ("ec2:CreateTags",),
            made,
            {"StringEquals": {"ec2:CreateAction": ["CreateSecurityGroup", "CreateVpcEndpoint"]}},
        ),
        _allow(
            "KeepNetworks",
            (
                "ec2:AuthorizeSecurityGroupEgress",
                "ec2:AuthorizeSecurityGroupIngress",
                "ec2:CreateTags",
                "ec2:DeleteSecurityGroup",
                "ec2:DeleteVpcEndpoints",
                "ec2:ModifyVpcEndpoint",
                "ec2:RevokeSecurityGroupEgress",
                "ec2:RevokeSecurityGroupIngress",
            ),
            made,
            tagged,
        ),
        _allow(
            "KeepConnections",
            (
                "glue:CreateConnection",
                "glue:DeleteConnection",
                "glue:GetConnection",
                "glue:GetTags",
                "glue:TagResource",
                "glue:UpdateConnection",
            ),
            [arn("glue", "catalog"), arn("glue", f"connection/{names}*")],
        ),
        _allow(
            "ListConnections",
            ("glue:GetConnections",),
            [arn("glue", "catalog"), arn("glue", "connection/*")],
        ),
    ]


def boundary() -> Document:
    """The permissions boundary: the most that any role of the operator's may ever do.

    A role's policies are exact; the boundary is what stays true were they not. No IAM, no role
    assumption, no account or organisation administration.
    """
    used = (
        "cloudwatch:PutMetricData", "dynamodb:*Item", "dynamodb:BatchGetItem",
        "dynamodb:ConditionCheckItem", "dynamodb:Query", "dynamodb:Scan", "ec2:*NetworkInterface*",
        "ec2:*PrivateIpAddresses", "ec2:CreateTags", "ec2:DeleteTags", "ec2:Describe*",
        "glue:BatchCreatePartition", "glue:BatchGetPartition", "glue:BatchStopJobRun",
        "glue:CreateTable", "glue:Get*", "glue:StartCrawler", "glue:StartJobRun",
        "glue:UpdatePartition", "glue:UpdateTable", "kafka-cluster:AlterGroup",
        "kafka-cluster:Connect", "kafka-cluster:Describe*", "kafka-cluster:ReadData",
        "kafka:DescribeCluster*", "kafka:GetBootstrapBrokers", "kinesis:Describe*",
        "kinesis:Get*", "kinesis:ListShards", "kinesis:SubscribeToShard", "kms:Decrypt",
        "kms:GenerateDataKey", "lambda:GetEventSourceMapping", "lambda:InvokeFunction",
        "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "redshift-data:*",
        "redshift-serverless:GetCredentials", "redshift:GetClusterCredentials", "s3:*Object*",
        "s3:AbortMultipartUpload", "s3:GetBucketLocation", "s3:ListBucket",
        "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue",
        "secretsmanager:UpdateSecretVersionStage", "sns:Publish", "sqs:*Message*",
        "sqs:GetQueueAttributes", "states:DescribeExecution", "states:StartExecution",
        "states:StopExecution", "events:DescribeRule", "events:PutRule", "events:PutTargets",
        "workmailmessageflow:GetRawMessageContent", "xray:Put*",
    )  # fmt: skip
    return {
        "Version": "2012-10-17",
        "Statement": [_allow("WhatPipelinesDo", used, ["*"])],
    }


def _allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    condition: Mapping[str, Any] | None = None,
) -> Document:
    statement: Document = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions),
        "Resource": list(resources),
    }
    if condition:
        statement["Condition"] = dict(condition)
    return statement


def files() -> dict[str, str]:
    """File name -> text of the published policies, with placeholders in capital letters."""
    published = documents(
        "example",
        "REGION",
        "ACCOUNT_ID",
        boundary="arn:aws:iam::ACCOUNT_ID:policy/WEIR_BOUNDARY",
        admin_secrets=["arn:aws:secretsmanager:REGION:ACCOUNT_ID:secret:REDSHIFT_ADMIN_SECRET"],
        vpcs=["VPC_ID"],
    )
    texts = {
        f"operator-{name}.json": _with_placeholder(json.dumps(document, indent=2)) + "\n"
        for name, document in published.items()
    }
    return {**texts, "boundary.json": json.dumps(boundary(), indent=2) + "\n"}


def _with_placeholder(text: str) -> str:
    for name in ("weir-example-", "/weir/example/", "weir_example_", '"example"'):
        text = text.replace(name, name.replace("example", "CLUSTER_ID"))
    return text
