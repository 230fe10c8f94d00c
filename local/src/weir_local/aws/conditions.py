"""Condition keys that MiniStack does not feed: of KMS keys, event source mappings and EC2's networks.

AWS KMS Developer Guide, "ABAC for AWS KMS": ``aws:ResourceTag/<key>``. Service Authorization
Reference, "Actions, resources, and condition keys for AWS Lambda": ``lambda:FunctionArn``,
``lambda:Principal``; the same of Amazon EC2: ``aws:ResourceTag``, ``aws:RequestTag``, ``ec2:Vpc``.
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


def of_function(given: dict[str, Any]) -> dict[str, str]:
    """The keys of a call that makes an event source mapping, or lets somebody call a function."""
    from ministack.core.responses import get_account_id, get_region

    if "StatementId" in given and "Principal" in given:
        return {"lambda:principal": str(given["Principal"])}
    name = given.get("FunctionName")
    if not name or not {"EventSourceArn", "SelfManagedEventSource"}.intersection(given):
        return {}
    arn = f"arn:aws:lambda:{get_region()}:{get_account_id()}:function:{name}"
    return {"lambda:functionarn": name if name.startswith("arn:") else arn}


def of_network(given: dict[str, Any]) -> dict[str, Any]:
    """The keys of a call of EC2."""
    from weir_local.aws import networks

    return networks.context(given)


FED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "kms": of_key,
    "lambda": of_function,
    "ec2": of_network,
}
"""Service -> the condition keys of a call, from its JSON body or its parameters."""


FORMS = frozenset({"ec2"})
"""Services whose calls have parameters instead of a JSON body."""


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
        if service in FORMS:
            first = {name: v[0] if isinstance(v, list) else v for name, v in params.items()}
            return {**context, **feed(first)}
        try:
            given = json.loads(body or b"{}")
        except ValueError:
            return context
        return {**context, **feed(given)} if isinstance(given, dict) else context

    iam_actions.request_tag_context = request_tag_context
