"""Does a notification get through? One test notification to each of a Platform's topics says so.

A topic is encrypted with a key whose policy somebody else may write, and has a policy of its own: where
either refuses, SNS refuses to publish, and says it to nobody but the publisher. So the operator publishes
once: when a topic is new to the Platform, and again when the topic or its key is another. That alarms
arrive it can't prove: they come from CloudWatch, for whom :mod:`weir.reconcile.keypolicy` reads the key's
policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from weir.api.v1alpha1.platform import Platform
from weir.aws.calls import Calls
from weir.aws.errors import AccessDenied, AwsError
from weir.blueprint.facts import PlatformFacts
from weir.reconcile.look import Halt, Look
from weir.reconcile.world import World
from weir_contract.codec import digest
from weir_contract.moments import iso


def topics_of(facts: PlatformFacts) -> Iterator[tuple[str, str]]:
    """Every topic of a Platform, its own and declared ones, with the classes of events that it gets,
    in words."""
    heard: dict[str, list[str]] = {}
    for event_class, arns in sorted(facts.topics.items()):
        for arn in arns:
            heard.setdefault(arn, []).append(event_class)
    for arn, classes in sorted(heard.items()):
        yield arn, " and ".join(classes)


def text_of(facts: PlatformFacts, classes: str) -> tuple[str, str]:
    """Subject and text of the test notification. SNS takes 100 characters of subject."""
    subject = f"Weir: test notification of Platform {facts.platform}"
    text = (
        f"This is a test: nothing has happened, and nothing has to be done. Platform {facts.platform} of "
        f"cluster {facts.cluster} (account {facts.account_id}, {facts.region}) tells this topic of "
        f"{classes}. It is sent once, and again when the topic or its key is changed."
    )
    return subject[:100], text


def prove(look: Look, world: World, platform: Platform, facts: PlatformFacts) -> Halt | None:
    """Publish to the topics that have not been proved since they or their key were changed.

    What was proved stands in ``status.topics``, also where another one fails.

    Returns
    -------
    Halt or None
        The first topic that can't be published to, and why.
    """
    known = {item["arn"]: item for item in look.status.get("topics") or ()}
    proved: list[dict[str, Any]] = []
    failed: Halt | None = None
    publish = Calls(world.session, "sns")
    # A key that Weir makes for the Platform is another where its ARN is.
    key = platform.spec.kms.key_arn or next(
        (entry.arn for entry in look.entries if entry.kind == "kms.Key"), ""
    )
    for arn, classes in topics_of(facts):
        mark = digest({"topic": arn, "key": key})[:16]
        before = known.get(arn)
        if before is not None and before.get("mark") == mark:
            proved.append(before)
            continue
        subject, text = text_of(facts, classes)
        try:
            publish("Publish", arn, TopicArn=arn, Subject=subject, Message=text)
        except AwsError as error:
            failed = failed or _failure(arn, classes, error)
            continue
        proved.append({"arn": arn, "mark": mark, "proved": iso(look.services.now())})
    look.status["topics"] = proved
    return failed


def _failure(arn: str, classes: str, error: AwsError) -> Halt:
    """Why nobody would hear: the missing statement is in the error's own words."""
    where = ""
    if isinstance(error, AccessDenied):
        where = (
            ". The key's policy must leave it to IAM, or allow it"
            if error.action.startswith("kms:")
            else ". The topic's policy, or the operator's, must allow it"
        )
    return Halt(
        "TopicNotProved",
        f"a test notification to {arn} was refused, so that nobody would hear of {classes}: {error}"
        f"{where}. It is tried again by itself",
        after=60.0,
        synced=True,
    )
