"""What WorkMail's message flow needs on AWS: a function that WorkMail may call, and an alarm on it.

Legacy: AWS ends WorkMail on 31 March 2027 (WorkMail Administrator Guide, *End of support*). The rule
that calls the function is made by people in WorkMail's console: there is no API for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from weir.api.v1alpha1.datasource import DataSource
from weir.blueprint import pieces, policies
from weir.blueprint.facts import Arn, PlatformFacts
from weir.resource import Resource

REGIONS = frozenset({"eu-west-1", "us-east-1", "us-west-2"})
"""Where WorkMail is (WorkMail Administrator Guide, *Configuring AWS Lambda for Amazon WorkMail*). A
function and the organization that calls it are in the same region and account."""

FUNCTION, PERMISSION = "workmail", "workmail-permission"
TIMEOUT_SECONDS = 60
"""WorkMail waits 15 seconds for a synchronous rule's answer, and calls again (as before,
*Synchronous Run Lambda action limits*). An asynchronous rule waits for nothing."""

MEMORY = 512
"""MiB. A mail has 29 MB at most (WorkMail Administrator Guide, *WorkMail quotas*)."""


def names_of(source: DataSource, facts: PlatformFacts) -> pieces.Naming:
    """Physical names of a source's resources."""
    return pieces.Naming(facts.cluster, "DataSource", source.namespace, source.name)


def function_arn(source: DataSource, facts: PlatformFacts) -> Arn:
    """The ARN of the function that the rule in WorkMail's console names."""
    return facts.function_arn(names_of(source, facts)("function", FUNCTION))


def organization_arn(organization_id: str, facts: PlatformFacts) -> str:
    """The ARN of an organization: what a Platform grants, and what a call comes on behalf of."""
    return facts.arn("workmail", f"organization/{organization_id}")


def receiving(
    source: DataSource, facts: PlatformFacts, stored: Resource, topics: Sequence[str]
) -> tuple[Resource, ...]:
    """The function that WorkMail calls, with its role, the permission to call it and its alarm;
    nothing for a source that WorkMail brings no mails.

    A suspended source has them still: what comes meanwhile waits.

    Parameters
    ----------
    stored
        The source's configuration in the artifacts bucket.
    topics
        Who is told of failures.
    """
    email = source.spec.source.email
    if email is None or email.workmail is None:
        return ()
    names, organization = names_of(source, facts), email.workmail.organization_id
    name = names("function", FUNCTION)
    role = pieces.role(
        facts,
        "workmail-role",
        names("role", FUNCTION),
        trust=policies.trust(facts, "lambda"),
        policy=policies.workmail(
            facts,
            source=source.id,
            function=name,
            config_key=pieces.object_key(stored),
            organization=organization,
        ),
        description=f"Weir: takes the mails that WorkMail passes to {source.id}",
    )
    code = pieces.function(
        facts,
        FUNCTION,
        name,
        handler="email_processor",
        module="workmail",
        role_name=role.name,
        role_id=role.logical_id,
        environment={"WEIR_CONFIG": stored.name},
        timeout=TIMEOUT_SECONDS,
        memory=MEMORY,
        depends_on=(stored.logical_id,),
    )
    permission = Resource(
        "lambda.Permission",
        PERMISSION,
        f"{name}|AllowWorkMail",
        {
            "Action": "lambda:InvokeFunction",
            "Principal": f"workmail.{facts.region}.amazonaws.com",
            "SourceArn": organization_arn(organization, facts),
        },
        (FUNCTION,),
        tagged=False,
    )
    alarm = pieces.alarm(
        "alarm-workmail",
        names("alarm", FUNCTION),
        f"A mail that WorkMail passed to {source.id} was not stored. Look at the errors of {name}: "
        "WorkMail keeps the mail for a day.",
        ("AWS/Lambda", "Errors", "FunctionName", name),
        topics,
    )
    return role, *code, permission, alarm
