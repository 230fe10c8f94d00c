"""May everybody use an adopted KMS key who has to? Where not, alarms and events are lost silently.

S3, DynamoDB, SQS and Lambda use the key with the permissions of who calls them: for these the key
has to leave it to the account's IAM policies. S3's events come by EventBridge, which is a service
that uses the key by itself, like CloudWatch Logs and CloudWatch's alarms.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from weir.blueprint.platform import partition_of

LOGS = ("Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "DescribeKey")
"""CloudWatch Logs User Guide, *Encrypt log data using AWS KMS*."""
MESSAGES = ("Decrypt", "GenerateDataKey")
"""SQS Developer Guide, *Key management*; SNS Developer Guide, *Securing with SSE*."""
ACCOUNT = ("Encrypt", "Decrypt", "GenerateDataKey", "DescribeKey")


@dataclass(frozen=True)
class Lack:
    """Who may not do what with the key, and the statement that allows it."""

    who: str
    actions: tuple[str, ...]
    principal: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.who} lacks {', '.join(self.actions)}"

    @property
    def statement(self) -> dict[str, Any]:
        """What to add to the key's policy."""
        return {
            "Effect": "Allow",
            "Principal": dict(self.principal),
            "Action": list(self.actions),
            "Resource": "*",
        }


def statements(lacks: list[Lack]) -> str:
    """The missing statements, as they are to be pasted into the key's policy."""
    return json.dumps([one.statement for one in lacks], separators=(",", ":"))


def missing(
    document: Mapping[str, Any], account: str, region: str, receives: bool = False
) -> list[Lack]:
    """Who may not do what with the key; empty where all is well.

    Conditions are not judged: whoever wrote one has thought of the service.

    Parameters
    ----------
    document
        The key's policy as :func:`weir.aws.documents.policy` brings it into form.
    account
        The account that uses the key, 12 digits.
    region
        Region of the log groups.
    receives
        Whether SES puts mails into the raw zone.
    """
    needs = (
        ("AWS", account, ACCOUNT, f"account {account} (for s3, dynamodb, sqs and lambda)"),
        ("Service", f"logs.{region}.amazonaws.com", LOGS, ""),
        ("Service", "events.amazonaws.com", MESSAGES, ""),
        ("Service", "cloudwatch.amazonaws.com", MESSAGES, ""),
        *((("Service", "ses.amazonaws.com", MESSAGES, ""),) if receives else ()),
    )
    found: list[Lack] = []
    partition = partition_of(region)
    for kind, principal, actions, title in needs:
        allowed = list(_allowed(document, kind, principal))
        lacking = tuple(
            f"kms:{action}"
            for action in actions
            if not any(fnmatchcase(f"kms:{action}".lower(), one) for one in allowed)
        )
        if lacking:
            named = {kind: f"arn:{partition}:iam::{account}:root" if kind == "AWS" else principal}
            found.append(Lack(title or principal, lacking, named))
    return found


def _allowed(document: Mapping[str, Any], kind: str, principal: str) -> Iterator[str]:
    """Patterns of actions, lower case, that a policy allows a principal on the key."""
    for statement in document.get("Statement", []):
        named = (statement.get("Principal") or {}).get(kind, [])
        anybody = "*" in (statement.get("Principal") or {}).get("AWS", [])
        if statement.get("Effect") == "Allow" and (principal in named or anybody):
            yield from (str(action).lower() for action in statement.get("Action", []))
