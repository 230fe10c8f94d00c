"""boto3 clients that an AWS service uses under a role, kept while the session lives."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import boto3
from botocore.config import Config

from weir_local.aws.access import SESSION_SECONDS, RoleSession, assume_role

RENEW_SECONDS = 300
"""How long before its end a session is renewed."""

_lock = threading.RLock()
_sessions: dict[tuple[str, str, str], tuple[float, RoleSession]] = {}
_clients: dict[tuple[str, str, str], Any] = {}


def role_session(role_arn: str, service: str, source_arn: str, region: str) -> RoleSession:
    """A session of a role for a service, renewed in time; the trust policy is checked each time.

    :raises RoleRefused: the role does not exist or does not trust the service
    """
    from weir_local.aws.access import check_trust

    check_trust(role_arn, service, source_arn, region)
    key = (role_arn, service, source_arn)
    with _lock:
        ends, session = _sessions.get(key, (0.0, None))
        if session is None or time.monotonic() > ends - RENEW_SECONDS:
            name = source_arn.rsplit(":", 1)[-1].rsplit("/", 1)[-1] or "session"
            session = assume_role(role_arn, service, source_arn, region, name)
            _sessions[key] = (time.monotonic() + SESSION_SECONDS, session)
        return session


def root_client(boto_service: str, region: str) -> Any:
    """A client of the local AWS as the account's root: for a service that acts by itself, after its
    permission by the receiver's policy was looked at.

    :param boto_service: boto3's name of the service
    """
    key = ("root", boto_service, region)
    with _lock:
        if key not in _clients:
            _clients[key] = boto3.session.Session().client(  # type: ignore[call-overload]
                boto_service,
                region_name=region,
                endpoint_url=os.environ["AWS_ENDPOINT_URL"],
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=Config(retries={"max_attempts": 1}, read_timeout=910),
            )
        return _clients[key]


def client(session: RoleSession, boto_service: str, region: str) -> Any:
    """A client of the local AWS under a role's session.

    :param boto_service: boto3's name of the service
    """
    key = (session.access_key, boto_service, region)
    with _lock:
        if key not in _clients:
            _clients[key] = boto3.session.Session().client(  # type: ignore[call-overload]
                boto_service,
                region_name=region,
                endpoint_url=os.environ["AWS_ENDPOINT_URL"],
                config=Config(
                    retries={"max_attempts": 1},
                    read_timeout=910,
                    max_pool_connections=64,
                    s3={"addressing_style": "path"},
                ),
                **session.boto(),
            )
        return _clients[key]
