"""Condition keys that MiniStack does not feed: of KMS keys and of event source mappings.

AWS KMS Developer Guide, "ABAC for AWS KMS": ``aws:ResourceTag/<key>``. Service Authorization
Reference, "Actions, resources, and condition keys for AWS Lambda": ``lambda:FunctionArn``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def key_tags(key_id: str | None) -> dict[str, str]:
    """``aws:ResourceTag/<key>`` of a customer's KMS key, by id, ARN or alias.

    The evaluator looks keys up in lower case, as IAM's own are not case-sensitive.
    """
    from ministack.services import kms

    record = kms._resolve_key(key_id or "")
    if not record:
        return {}
    return {
        f"aws:resourcetag/{tag['TagKey'].lower()}": tag["TagValue"]
        for tag in record.get("Tags", [])
    }


def of_key(given: dict[str, Any]) -> dict[str, str]:
    """The keys of a KMS call."""
    return key_tags(given.get("KeyId") or given.get("TargetKeyId"))


def of_mapping(given: dict[str, Any]) -> dict[str, str]:
    """The keys of a call that makes an event source mapping."""
    from ministack.core.responses import get_account_id, get_region

    name = given.get("FunctionName")
    if not name or "EventSourceArn" not in given:
        return {}
    arn = f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{name}"
    return {"lambda:functionarn": name if name.startswith("arn:") else arn}


FED: dict[str, Callable[[dict[str, Any]], dict[str, str]]] = {"kms": of_key, "lambda": of_mapping}
"""Service -> the condition keys of a call, from its JSON body."""


def install() -> None:
    """Feed the keys into the evaluation of every call of those services."""
    from ministack.core import iam_actions

    inner = iam_actions.request_tag_context

    def request_tag_context(
        service: str, iam_action: str, body: bytes, params: dict[str, Any]
    ) -> dict[str, Any]:
        context: dict[str, Any] = inner(service, iam_action, body, params)
        feed = FED.get(service)
        if feed is None:
            return context
        try:
            given = json.loads(body or b"{}")
        except ValueError:
            return context
        return {**context, **feed(given)} if isinstance(given, dict) else context

    iam_actions.request_tag_context = request_tag_context
