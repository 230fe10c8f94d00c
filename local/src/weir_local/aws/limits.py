"""AWS's quotas where the emulator takes more.

IAM User Guide, "IAM and AWS STS quotas": the inline policies of a role together at most 10,240
characters without white space, of a user 2,048, a managed policy 6,144.
"""

from __future__ import annotations

import json
import re
from typing import Any

from weir_local.aws.wire import Reply, Request, guard_service, xml_error

ROLE_INLINE = 10_240
MANAGED = 6_144
WHITE = re.compile(r"\s+")


def size(document: Any) -> int:
    """How many characters of a policy document count."""
    text = document if isinstance(document, str) else json.dumps(document)
    return len(WHITE.sub("", text))


def guard(request: Request) -> Reply | None:
    """Refuse policies that are larger than IAM takes."""
    from ministack.services import iam

    form = request.form
    if request.operation == "PutRolePolicy":
        role = iam._roles.get(form.get("RoleName", "")) or {}
        others = {**(role.get("InlinePolicies") or {})}
        others.pop(form.get("PolicyName", ""), None)
        total = size(form.get("PolicyDocument", "")) + sum(size(doc) for doc in others.values())
        if total > ROLE_INLINE:
            return xml_error(
                "LimitExceeded",
                f"Maximum policy size of {ROLE_INLINE} bytes exceeded for role "
                f"{form.get('RoleName')}",
                409,
            )
    managed = request.operation in ("CreatePolicy", "CreatePolicyVersion")
    if managed and size(form.get("PolicyDocument", "")) > MANAGED:
        return xml_error("LimitExceeded", f"Cannot exceed quota for PolicySize: {MANAGED}", 409)
    return None


def install() -> None:
    """Put the guard before IAM."""
    guard_service("iam", guard)
