"""AccessDenied names principal, action and resource (IAM User Guide, "Troubleshoot access denied
error messages"); MiniStack's leaves out the resource for most services."""

from __future__ import annotations

from typing import Any

from weir_local.aws.access import denied_message


def install() -> None:
    """Give every denial of an identity policy AWS's whole sentence."""
    from ministack.core import iam_actions

    inner = iam_actions.access_denied_response

    def access_denied_response(
        service: str, action: str, principal_arn: str, request_id: str, **details: Any
    ) -> Any:
        told = details.get("message") or details.get("error_code")
        by_resource = details.get("explicit_deny") and details.get("resource_policy_arn")
        if not told and not by_resource:
            resource = details.get("resource_arn", "*")
            explicit = bool(details.get("explicit_deny"))
            details["message"] = denied_message(action, principal_arn, resource, explicit)
        return inner(service, action, principal_arn, request_id, **details)

    iam_actions.access_denied_response = access_denied_response
