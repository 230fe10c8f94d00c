"""Receipt rules are changed, moved and limited as SES does it, and tried out when they are written.

SES API Reference: UpdateReceiptRule, SetReceiptRulePosition, ReorderReceiptRuleSet,
CloneReceiptRuleSet, CreateReceiptRule (its errors); SES Developer Guide, *Service quotas* and
*Giving permissions to Amazon SES for email receiving*.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from weir_contract.recipients import RECEIVING_REGIONS
from weir_local.aws import kms
from weir_local.aws.access import service_denial
from weir_local.aws.wire import Reply, Request, guard_service, xml_error

SES = "ses.amazonaws.com"
SETUP = "AMAZON_SES_SETUP_NOTIFICATION"
SETUP_MAIL = (
    b"From: Amazon Web Services <no-reply-aws@amazon.com>\r\n"
    b"Subject: Amazon SES Setup Notification\r\n\r\n"
    b"Hello,\r\n\r\nYou received this message because you attempted to set up Amazon SES to deliver "
    b"emails to this S3 bucket.\r\n"
)
RULE_SETS, RULES, ACTIONS, RECIPIENTS = 40, 200, 10, 500
"""Of an account; of a set; of a rule; of a rule."""

Params = dict[str, list[str]]


def now() -> str:
    """The moment, as SES spells it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rule_arn(region: str, account: str, rule_set: str, rule: str) -> str:
    """The ARN for which SES acts (aws:SourceArn)."""
    return f"arn:aws:ses:{region}:{account}:receipt-rule-set/{rule_set}:receipt-rule/{rule}"


def bucket_denial(bucket: str, key: str, source: str, region: str, account: str) -> str | None:
    """Why SES may not put an object into a bucket, or None where it may.

    :param source: the rule's ARN
    """
    from ministack.services import s3

    if s3._ensure_bucket(bucket) is None:
        return f"Could not write to bucket: {bucket}: it does not exist"
    target = f"arn:aws:s3:::{bucket}/{key}"
    denied = service_denial(SES, "s3:PutObject", target, region, account, source)
    if denied:
        return denied
    written, _ = s3._resolve_sse_write_headers({}, bucket)
    found = kms.key_arn((written or {}).get(kms.S3_KEY_HEADER))
    if found is None:
        return None
    context = {"kms:viaservice": f"s3.{region}.amazonaws.com"}
    for action in ("kms:GenerateDataKey", "kms:Decrypt"):
        denied = service_denial(SES, action, found, region, account, source, context)
        if denied:
            return denied
    return None


def put(bucket: str, key: str, body: bytes) -> None:
    """Put an object that SES may put."""
    from ministack.services import s3

    status, _, answer = s3._put_object(bucket, key, body, {})
    if status >= 300:
        raise RuntimeError(f"s3://{bucket}/{key} was not written: {answer!r}")


def try_actions(rule: dict[str, Any], source: str, region: str, account: str) -> Reply | None:
    """Try what a new rule's actions lead to, as SES does before it takes the rule."""
    from ministack.services import lambda_svc, sns

    for action in rule["Actions"]:
        for body in action.values():
            topic = body.get("TopicArn")
            if topic and sns._topic_by_arn_any_scope(topic) is None:
                return xml_error("InvalidSnsTopic", f"Invalid SNS topic: {topic}")
        if stored := action.get("S3Action"):
            bucket = stored.get("BucketName", "")
            key = f"{stored.get('ObjectKeyPrefix', '')}{SETUP}"
            denied = bucket_denial(bucket, key, source, region, account)
            if denied:
                message = f"Could not write to bucket: {bucket} ({denied})"
                return xml_error("InvalidS3Configuration", message)
            put(bucket, key, SETUP_MAIL)
        if called := action.get("LambdaAction"):
            function = called.get("FunctionArn", "")
            known = function.split(":function:")[-1].split(":")[0] in lambda_svc._functions
            if not known or service_denial(
                SES, "lambda:InvokeFunction", function, region, account, source
            ):
                return xml_error("InvalidLambdaFunction", f"Invalid Lambda function: {function}")
    return None


def missing(kind: str, name: str) -> Reply:
    """The error for a set or a rule that is not there."""
    return xml_error(f"{kind}DoesNotExist", f"{kind} does not exist: {name}")


def first(params: Params, name: str) -> str:
    """A parameter, empty where it is not given."""
    return (params.get(name) or [""])[0]


def place_of(rules: list[dict[str, Any]], name: str) -> int | None:
    """Where a rule stands in its set, or None."""
    return next((place for place, rule in enumerate(rules) if rule["Name"] == name), None)


def update(params: Params, rules: list[dict[str, Any]], request: Request) -> Reply | None:
    """UpdateReceiptRule: the whole rule anew, where it stands."""
    from ministack.services import ses

    rule = ses._receipt_rule_from_params(params)
    place = place_of(rules, rule["Name"])
    if place is None:
        return missing("Rule", rule["Name"])
    refused: Reply | None = ses._receipt_rule_error(rule) or beyond_limits(rule)
    source = rule_arn(request.region, request.account, first(params, "RuleSetName"), rule["Name"])
    refused = refused or try_actions(rule, source, request.region, request.account)
    if refused is None:
        rules[place] = rule
    return refused


def beyond_limits(rule: dict[str, Any]) -> Reply | None:
    """The error of a rule that is too large."""
    if len(rule["Actions"]) > ACTIONS or len(rule.get("Recipients") or ()) > RECIPIENTS:
        return xml_error(
            "LimitExceeded",
            f"A rule has at most {ACTIONS} actions and {RECIPIENTS} recipients: {rule['Name']}",
        )
    return None


def move(params: Params, rules: list[dict[str, Any]], _: Request) -> Reply | None:
    """SetReceiptRulePosition: behind another, or first."""
    place = place_of(rules, first(params, "RuleName"))
    if place is None:
        return missing("Rule", first(params, "RuleName"))
    after = first(params, "After")
    if after and (place_of(rules, after) is None or after == first(params, "RuleName")):
        return missing("Rule", after)
    rule = rules.pop(place)
    behind = place_of(rules, after) if after else None
    rules.insert(0 if behind is None else behind + 1, rule)
    return None


def reorder(params: Params, rules: list[dict[str, Any]], _: Request) -> Reply | None:
    """ReorderReceiptRuleSet: all of them, in the order given."""
    numbers = sorted(
        int(found.group(1))
        for name in params
        if (found := re.fullmatch(r"RuleNames\.member\.(\d+)", name))
    )
    names = [first(params, f"RuleNames.member.{number}") for number in numbers]
    if sorted(names) != sorted(rule["Name"] for rule in rules):
        return missing("Rule", ", ".join(names))
    by_name = {rule["Name"]: rule for rule in rules}
    rules[:] = [by_name[name] for name in names]
    return None


WITHIN: dict[str, Callable[[Params, list[dict[str, Any]], Request], Reply | None]] = {
    "UpdateReceiptRule": update,
    "SetReceiptRulePosition": move,
    "ReorderReceiptRuleSet": reorder,
}
"""Operations within a set that MiniStack lacks; each gives an error, or None."""


def clone(params: Params) -> Reply | None:
    """CloneReceiptRuleSet."""
    from ministack.services import ses

    name, original = first(params, "RuleSetName"), first(params, "OriginalRuleSetName")
    if original not in ses._receipt_rule_sets:
        return missing("RuleSet", original)
    if name in ses._receipt_rule_sets:
        return xml_error("AlreadyExists", f"Rule set already exists: {name}")
    copied = copy.deepcopy(ses._receipt_rule_sets[original])
    copied["Metadata"] = {**copied["Metadata"], "Name": name, "CreatedTimestamp": now()}
    ses._receipt_rule_sets[name] = copied
    return None


def created(params: Params, request: Request) -> Reply | None:
    """What SES asks of a new rule beside what MiniStack does."""
    from ministack.services import ses

    rule_set = first(params, "RuleSetName")
    stored = ses._receipt_rule_sets.get(rule_set)
    rule = ses._receipt_rule_from_params(params)
    after = first(params, "After")
    unknown = stored is None or (after and place_of(stored["Rules"], after) is None)
    if unknown or place_of(stored["Rules"], rule["Name"]) is not None:
        return None  # MiniStack says so itself.
    if ses._receipt_rule_error(copy.deepcopy(rule)):
        return None
    if len(stored["Rules"]) >= RULES:
        return xml_error("LimitExceeded", f"A rule set has at most {RULES} rules: {rule_set}")
    source = rule_arn(request.region, request.account, rule_set, rule["Name"])
    return beyond_limits(rule) or try_actions(rule, source, request.region, request.account)


def guard(request: Request) -> Reply | None:
    """Serve what MiniStack lacks, and refuse what SES refuses."""
    from ministack.services import ses

    if "Receipt" not in request.operation:
        return None
    if request.region not in RECEIVING_REGIONS:
        return xml_error(
            "InvalidAction",
            f"Could not find operation {request.operation}: email receiving is not available in "
            f"{request.region}",
        )
    params: Params = {**request.query, **parse_qs(request.body.decode(), keep_blank_values=True)}
    operation = request.operation
    if operation == "CreateReceiptRule":
        return created(params, request)
    if operation == "CreateReceiptRuleSet" and len(ses._receipt_rule_sets) >= RULE_SETS:
        return xml_error("LimitExceeded", f"An account has at most {RULE_SETS} rule sets")
    if operation == "CloneReceiptRuleSet":
        return clone(params) or ses._receipt_result(operation)
    serve = WITHIN.get(operation)
    if serve is None:
        return None
    rule_set = first(params, "RuleSetName")
    if rule_set not in ses._receipt_rule_sets:
        return missing("RuleSet", rule_set)
    refused = serve(params, ses._receipt_rule_sets[rule_set]["Rules"], request)
    return refused or ses._receipt_result(operation)


def install() -> None:
    """Put the guard before SES."""
    guard_service("ses", guard)
