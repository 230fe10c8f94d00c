"""STS: whose credentials these are."""

from __future__ import annotations

from weir.aws.calls import Calls
from weir.aws.session import AwsSession


def caller_account(session: AwsSession) -> str:
    """The account id of the session's credentials (no permission is needed to ask)."""
    return str(Calls(session, "sts")("GetCallerIdentity")["Account"])


def caller_arn(session: AwsSession) -> str:
    """The ARN of who the session is."""
    return str(Calls(session, "sts")("GetCallerIdentity")["Arn"])
