"""Tags given at creation need the permission to tag, on the resource that is made.

AWS General Reference and IAM User Guide, "Controlling access to AWS resources using tags", and
the "Dependent actions" columns of the Service Authorization Reference.
"""

from __future__ import annotations

from weir_local.aws.access import denial, refuse
from weir_local.aws.resources import parameters
from weir_local.aws.wire import Reply, Request, guard_service

TAG_ACTIONS: dict[tuple[str, str], str] = {
    ("dynamodb", "CreateTable"): "dynamodb:TagResource",
    ("events", "PutRule"): "events:TagResource",
    ("glue", "CreateConnection"): "glue:TagResource",
    ("glue", "CreateCrawler"): "glue:TagResource",
    ("glue", "CreateDatabase"): "glue:TagResource",
    ("glue", "CreateJob"): "glue:TagResource",
    ("glue", "CreateRegistry"): "glue:TagResource",
    ("glue", "CreateSchema"): "glue:TagResource",
    ("iam", "CreatePolicy"): "iam:TagPolicy",
    ("iam", "CreateRole"): "iam:TagRole",
    ("iam", "CreateUser"): "iam:TagUser",
    ("kinesis", "CreateStream"): "kinesis:AddTagsToStream",
    ("kinesis", "RegisterStreamConsumer"): "kinesis:TagResource",
    ("kms", "CreateKey"): "kms:TagResource",
    ("lambda", "CreateEventSourceMapping"): "lambda:TagResource",
    ("lambda", "CreateFunction"): "lambda:TagResource",
    ("logs", "CreateLogGroup"): "logs:TagResource",
    ("monitoring", "PutMetricAlarm"): "cloudwatch:TagResource",
    ("scheduler", "CreateScheduleGroup"): "scheduler:TagResource",
    ("secretsmanager", "CreateSecret"): "secretsmanager:TagResource",
    ("sns", "CreateTopic"): "sns:TagResource",
    ("sqs", "CreateQueue"): "sqs:TagQueue",
    ("states", "CreateStateMachine"): "states:TagResource",
}
"""Service and operation -> what tags in it need (dependent actions)."""

UNBORN: dict[tuple[str, str], str] = {
    ("kinesis", "RegisterStreamConsumer"): "{stream}/consumer/{consumer}:unborn",
    ("lambda", "CreateEventSourceMapping"): (
        "arn:aws:lambda:{region}:{account}:event-source-mapping:unborn"
    ),
}
"""Service and operation -> the ARN that the tags are judged on, where the call has none itself."""


def guard(request: Request) -> Reply | None:
    """Refuse tags at creation from a caller that may not tag."""
    from ministack.core import iam_actions

    arguments = (request.service, request.method, request.path, request.headers, request.body)
    params = dict(request.query) if not request.form else dict(request.form)
    made = iam_actions.extract_iam_action(*arguments, params) or ""
    needed = TAG_ACTIONS.get((request.service, made.partition(":")[2]))
    given = parameters(request)
    if needed is None or not any(
        name.lower() == "tags" or name.startswith(("Tags.member.", "Tag.")) for name in given
    ):
        return None
    if not (given.get("Tags") or given.get("tags") or request.form):
        return None
    unborn = UNBORN.get((request.service, made.partition(":")[2]))
    resource = (
        unborn.format(
            region=request.region,
            account=request.account,
            stream=given.get("StreamARN"),
            consumer=given.get("ConsumerName"),
        )
        if unborn
        else iam_actions.extract_resource_arn(*arguments, params, request.region, request.account)
    )
    tags = iam_actions.request_tag_context(request.service, made, request.body, params)
    context = {name.lower(): value for name, value in tags.items()}
    message = denial(request.access_key, needed, resource, request.region, context)
    return refuse(request, message) if message else None


def install() -> None:
    """Put the guard before each service of the table."""
    for service in sorted({service for service, _ in TAG_ACTIONS}):
        guard_service(service, guard)
