"""What a Kafka mapping's secrets say, read under the function's role.

Lambda Developer Guide, "Configuring cluster authentication methods in Lambda" (Amazon MSK and
self-managed Apache Kafka): the secrets' forms.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import botocore.exceptions

from weir_local.aws.access import RoleRefused
from weir_local.aws.serviceclient import client, role_session

MECHANISMS = {
    "BASIC_AUTH": "PLAIN",
    "SASL_SCRAM_256_AUTH": "SCRAM-SHA-256",
    "SASL_SCRAM_512_AUTH": "SCRAM-SHA-512",
}
CLIENT_CERTIFICATE = "CLIENT_CERTIFICATE_TLS_AUTH"
ROOT_CA = "SERVER_ROOT_CA_CERTIFICATE"
SECRETS = frozenset({*MECHANISMS, CLIENT_CERTIFICATE, ROOT_CA})
"""The types of SourceAccessConfigurations that name a secret."""


class SecretUnusable(Exception):
    """A secret cannot be read or has not the form that Lambda wants; no value is told."""


def value(arn: str, role_arn: str, function_arn: str, region: str) -> dict[str, Any]:
    """A secret's JSON.

    :raises SecretUnusable: the role may not read it, or it is no JSON object
    """
    try:
        session = role_session(role_arn, "lambda.amazonaws.com", function_arn, region)
        caller = client(session, "secretsmanager", region)
        text = caller.get_secret_value(SecretId=arn)["SecretString"]
    except (RoleRefused, botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as no:
        raise SecretUnusable(f"{arn} cannot be read: {no}") from no
    try:
        found = json.loads(text)
    except ValueError as broken:
        raise SecretUnusable(f"{arn} is no JSON document") from broken
    if not isinstance(found, dict):
        raise SecretUnusable(f"{arn} is no JSON object")
    return found


def field(arn: str, found: dict[str, Any], name: str) -> str:
    """A text of a secret.

    :raises SecretUnusable: it is not there
    """
    if not isinstance(found.get(name), str):
        raise SecretUnusable(f"{arn} has no text {name!r}")
    return str(found[name])


def settings(
    accesses: Iterable[dict[str, str]], role_arn: str, function_arn: str, region: str
) -> dict[str, Any]:
    """librdkafka's security settings of a mapping's SourceAccessConfigurations.

    :raises SecretUnusable: a secret cannot be used
    """
    found: dict[str, Any] = {"security.protocol": "SSL"}
    for access in accesses:
        kind, arn = access["Type"], access["URI"]
        if kind not in SECRETS:
            continue
        secret = value(arn, role_arn, function_arn, region)
        if kind in MECHANISMS:
            found |= {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": MECHANISMS[kind],
                "sasl.username": field(arn, secret, "username"),
                "sasl.password": field(arn, secret, "password"),
            }
        elif kind == ROOT_CA:
            found["ssl.ca.pem"] = field(arn, secret, "certificate")
        else:
            found["ssl.certificate.pem"] = field(arn, secret, "certificate")
            found["ssl.key.pem"] = field(arn, secret, "privateKey")
            if secret.get("privateKeyPassword"):
                found["ssl.key.password"] = field(arn, secret, "privateKeyPassword")
    return found
