"""What an AWS service delivers must be let in by the receiver, and encrypted with its key.

EventBridge User Guide, "Using resource-based policies for Amazon EventBridge" and "Encrypting
Amazon SQS queues ...": rules reach queues, topics and functions by their policies, state machines
by the target's role. CloudWatch User Guide, "Notifying users on alarm changes": an encrypted
topic's key must let cloudwatch.amazonaws.com use it. A refused delivery is dropped, as on AWS,
and said in the log.
"""

from __future__ import annotations

import logging
from typing import Any

from weir_local.aws import kms
from weir_local.aws.access import (
    RoleRefused,
    check_trust,
    role_denial,
    service_denial,
)

logger = logging.getLogger("weir.local.aws.deliveries")

RECEIVERS = {"sqs": "sqs:SendMessage", "sns": "sns:Publish", "lambda": "lambda:InvokeFunction"}
"""Service of a receiver -> what its policy must allow the sender."""


def key_of(service: str, arn: str) -> str | None:
    """The key with which a queue or topic is encrypted, None for AWS's own or none."""
    from ministack.services import sns, sqs

    if service == "sqs":
        attributes = (sqs._queue_by_arn(arn) or {}).get("attributes") or {}
    elif service == "sns":
        attributes = (sns._topic_by_arn_any_scope(arn) or {}).get("attributes") or {}
    else:
        return None
    return kms.key_arn(attributes.get("KmsMasterKeyId"))


def receiver_denial(sender: str, receiver: str, source_arn: str) -> str | None:
    """Why a service's delivery to a queue, topic or function is refused, or None.

    :param sender: the service principal
    :param receiver: the receiver's ARN
    :param source_arn: the rule or alarm for which it is sent
    """
    from ministack.core.responses import get_account_id, get_region

    service = receiver.split(":")[2]
    account, region = str(get_account_id()), str(get_region())
    by_owner = {"aws:sourceowner": account}
    action = RECEIVERS[service]
    denied = service_denial(sender, action, receiver, region, account, source_arn, by_owner)
    if denied and service == "sns" and sender == "cloudwatch.amazonaws.com":
        denied = None if owner_may_publish(receiver, region, account) else denied
    key = key_of(service, receiver)
    if denied or key is None:
        return denied
    for needed in ("kms:GenerateDataKey", "kms:Decrypt"):
        denied = service_denial(sender, needed, key, region, account, source_arn, by_owner)
        if denied:
            return denied
    return None


def owner_may_publish(topic: str, region: str, account: str) -> bool:
    """Whether a topic's policy is the default one, which lets the owner's alarms publish."""
    from ministack.core import iam_evaluator as iam

    context = iam.EvalContext(
        principal_arn=f"arn:aws:iam::{account}:root",
        principal_type="Root",
        principal_account=account,
        action="sns:Publish",
        resource_arn=topic,
        region=region,
        service_context={"aws:sourceowner": account, "aws:sourceaccount": account},
    )
    found = iam._resource_policy("sns", topic)
    if not found:
        return False
    return not found[0] or iam.evaluate_resource_policy(found[0], context).decision == "Allow"


def machine_denial(target: dict[str, Any], rule_arn: str) -> str | None:
    """Why a rule may not start a state machine under its target's role, or None."""
    from ministack.core.responses import get_region

    role = target.get("RoleArn", "")
    region = str(get_region())
    try:
        check_trust(role, "events.amazonaws.com", rule_arn, region)
    except RoleRefused as refused:
        return str(refused)
    return role_denial(role, "states:StartExecution", target["Arn"], region)


def install() -> None:
    """Check every delivery of EventBridge rules and CloudWatch alarms."""
    from ministack.services import cloudwatch, eventbridge

    invoke_target = eventbridge._invoke_target
    dispatch_alarm = cloudwatch._dispatch_alarm_actions

    def target(spec: dict[str, Any], event: Any, rule: dict[str, Any], view: Any = None) -> Any:
        arn, rule_arn = spec.get("Arn", ""), rule.get("Arn", "")
        service = arn.split(":")[2] if arn.count(":") >= 5 else ""
        denied = None
        if service in RECEIVERS:
            denied = receiver_denial("events.amazonaws.com", arn, rule_arn)
        elif service == "states":
            denied = machine_denial(spec, rule_arn)
        if denied:
            logger.warning("EventBridge rule %s: not delivered: %s", rule.get("Name"), denied)
            return None
        return invoke_target(spec, event, rule, view)

    def alarm(record: dict[str, Any], old: str, new: str, reason: str) -> Any:
        allowed = dict(record)
        for field in ("AlarmActions", "OKActions", "InsufficientDataActions"):
            allowed[field] = []
            for arn in record.get(field) or []:
                denied = (
                    receiver_denial("cloudwatch.amazonaws.com", arn, record.get("AlarmArn", ""))
                    if arn.split(":")[2:3] == ["sns"]
                    else None
                )
                if denied:
                    logger.warning("alarm %s: not notified: %s", record.get("AlarmName"), denied)
                else:
                    allowed[field].append(arn)
        return dispatch_alarm(allowed, old, new, reason)

    eventbridge._invoke_target = target
    cloudwatch._dispatch_alarm_actions = alarm
