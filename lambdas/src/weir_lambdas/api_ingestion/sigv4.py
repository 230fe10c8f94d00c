"""AWS Signature Version 4, by botocore, which every Lambda runtime has."""

from __future__ import annotations

from weir_lambdas.common.aws import session
from weir_lambdas.common.egress import Request
from weir_lambdas.common.errors import ConfigInvalid

SIGNED_AT_MOST = ("content-type", "accept")
"""Headers that are signed beside host, date and token: no proxy on the way changes them."""


def sign(
    request: Request, service: str, region: str, keys: tuple[str | None, str | None, str | None]
) -> dict[str, str]:
    """The headers that a signature adds.

    Parameters
    ----------
    keys
        Access key id, secret access key and session token; without the first, the function's own.

    Raises
    ------
    ConfigInvalid
        There are no keys.
    """
    from botocore.auth import S3SigV4Auth, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    access, secret, token = keys
    if access and secret:
        credentials = Credentials(access, secret, token)
    else:
        found = session().get_credentials()
        if found is None:
            raise ConfigInvalid("there are no AWS credentials to sign with", "restApi.auth")
        frozen = found.get_frozen_credentials()
        credentials = Credentials(str(frozen.access_key), str(frozen.secret_key), frozen.token)
    headers = {k: v for k, v in request.headers.items() if k.lower() in SIGNED_AT_MOST}
    prepared = AWSRequest(request.method, request.url, headers=headers, data=request.body or b"")
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    kind(credentials, service, region).add_auth(prepared)
    added = {name: str(value) for name, value in prepared.headers.items()}
    return {name: value for name, value in added.items() if name.lower() not in SIGNED_AT_MOST}
