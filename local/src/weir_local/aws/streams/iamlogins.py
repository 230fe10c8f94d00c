"""Brokers ask what a login by IAM is worth, and what its principal may do: the other half of ``Iam.java``.

Amazon MSK Developer Guide, "IAM access control" and "Semantics of IAM authorization policy actions
and resources". A login is a request that is signed and never sent: ``GET /?Action=kafka-cluster:Connect``,
as JSON (aws-msk-iam-auth, mechanism AWS_MSK_IAM) or as a URL in base64 (aws-msk-iam-sasl-signer,
mechanism OAUTHBEARER).
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from weir_local.aws.access import denial

SERVICE = "kafka-cluster"
ACTION = f"{SERVICE}:Connect"
LONGEST = 900
"""Seconds that a login may be good for."""
SKEW = timedelta(minutes=5)
MOMENT = "%Y%m%dT%H%M%SZ"
UNSIGNED = "User-Agent"
"""What the signer appends to the URL after it was signed."""

Fields = dict[str, str]


class Refused(Exception):
    """A login is worth nothing; the text says why, and holds nothing of it."""


def fields(shown: bytes) -> tuple[str, Fields]:
    """The host and the query of the request that a login is.

    :param shown: as the client sent it
    :raises Refused: it is no such request
    """
    try:
        if shown.startswith(b"{"):
            told = {str(name).lower(): str(value) for name, value in json.loads(shown).items()}
            names = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
            query = {f"X-Amz-{name}": told[f"x-amz-{name.lower()}"] for name in names}
            if token := told.get("x-amz-security-token"):
                query["X-Amz-Security-Token"] = token
            return told["host"], {"Action": told["action"], **query}
        url = urlsplit(base64.urlsafe_b64decode(shown + b"=" * (-len(shown) % 4)).decode())
    except (AttributeError, KeyError, UnicodeDecodeError, ValueError, binascii.Error) as broken:
        raise Refused("the login is no signed request") from broken
    query = dict(parse_qsl(url.query))
    query.pop(UNSIGNED, None)
    return url.netloc, query


def signature(secret: str, host: str, query: Fields, region: str) -> str:
    """The signature that a login must have.

    :param secret: of the access key
    :param query: of the request, with the signature that it has
    """
    signer = SigV4QueryAuth(Credentials("", secret), SERVICE, region)
    request = AWSRequest(
        "GET",
        f"https://{host}/",
        params={name: value for name, value in query.items() if name != "X-Amz-Signature"},
    )
    request.context["timestamp"] = query["X-Amz-Date"]
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(text, request))


def enter(shown: bytes, cluster: str, now: datetime) -> tuple[str, datetime]:
    """Whose login it is, and until when it is good.

    :param shown: as the client sent it
    :param cluster: the ARN of the cluster that it is shown to
    :param now: the time
    :returns: the access key, and the login's end
    :raises Refused: it is wrong, over, of another region, or its principal may not connect
    """
    import hmac

    from ministack.core import iam_evaluator as iam

    region, account = cluster.split(":")[3:5]
    host, query = fields(shown)
    if query.get("Action") != ACTION:
        raise Refused(f"the login is signed for another action than {ACTION}")
    key, _, scope = query.get("X-Amz-Credential", "").partition("/")
    date = query.get("X-Amz-Date", "")
    if scope != f"{date[:8]}/{region}/{SERVICE}/aws4_request":
        raise Refused(f"the login is not signed for {SERVICE} in {region}")
    try:
        begin = datetime.strptime(date, MOMENT).replace(tzinfo=UTC)
        end = begin + timedelta(seconds=min(int(query.get("X-Amz-Expires", "")), LONGEST))
    except ValueError as broken:
        raise Refused("the login's time is none") from broken
    if not begin - SKEW <= now <= end:
        raise Refused(f"the login was good from {begin} to {end}")
    token = query.get("X-Amz-Security-Token", "")
    owner = iam.resolve_credential(key, iam.find_iam_access_key_account(key) or account, token)
    if isinstance(owner, iam.CredentialResolutionError):
        raise Refused(owner.message)
    if not hmac.compare_digest(
        signature(owner.secret_access_key, host, query, region),
        query.get("X-Amz-Signature", ""),
    ):
        raise Refused("the login's signature is wrong")
    denied = denial(key, ACTION, cluster, region)
    if denied:
        raise Refused(denied)
    return key, end


def access_denial(key: str, action: str, kind: str, name: str, cluster: str) -> str | None:
    """Why a principal may not do something in a cluster, or None when it may.

    :param key: the access key by which it entered
    :param action: such as ``kafka-cluster:ReadData``
    :param kind: ``cluster``, ``topic``, ``group`` or ``transactional-id``
    :param name: the topic's or group's
    :param cluster: the cluster's ARN
    """
    place = cluster if kind == "cluster" else f"{cluster.replace(':cluster/', f':{kind}/')}/{name}"
    return denial(key, action, place, cluster.split(":")[3])


def signed(region: str, credentials: Credentials) -> tuple[str, float]:
    """A login as aws-msk-iam-sasl-signer makes it.

    :param region: the cluster's
    :param credentials: those of the principal
    :returns: the token of OAUTHBEARER, and its end in seconds since 1970
    """
    request = AWSRequest("GET", f"https://kafka.{region}.amazonaws.com/", params={"Action": ACTION})
    SigV4QueryAuth(credentials, SERVICE, region, expires=LONGEST).add_auth(request)
    url = f"{request.prepare().url}&{UNSIGNED}=weir-local"
    token = base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
    end = datetime.now(UTC) + timedelta(seconds=LONGEST)
    return token, end.timestamp()
