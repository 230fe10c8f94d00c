"""What is this thing called on AWS? Deterministic names, within each service's length and alphabet.

A name is ``weir-<cluster>-<namespace>-<name>-<role>-<hash>``. The hash is over the untruncated
identity, so that what truncation makes alike stays apart; the cluster and the role are never
truncated, so that policies can name ``weir-<cluster>-*``.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache

CLUSTER_ID = re.compile(r"^[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?\Z")
"""A cluster's id: short, since it stands whole in every name."""

HASH_CHARACTERS = 8
"""Characters of RFC 4648 base32: 40 bits, on top of the readable part."""

MAIL_FOLDER = "_mail"
"""Where SES, or the function that WorkMail calls, puts a source's mails, below the source's own folder
in the raw zone: no part of a manifest, so that pipelines never read it."""


@dataclass(frozen=True)
class Alphabet:
    """What a service takes as a name: ``limit`` in characters, the separator, what is forbidden."""

    limit: int
    separator: str = "-"
    forbidden: str = r"[^a-z0-9-]"


ALPHABETS = {
    "role": Alphabet(64),
    "function": Alphabet(64),
    "queue": Alphabet(80),
    "topic": Alphabet(256),
    "rule": Alphabet(64),
    "receipt": Alphabet(64),
    "schedule": Alphabet(64),
    "machine": Alphabet(80),
    "job": Alphabet(255),
    "crawler": Alphabet(255),
    "alarm": Alphabet(255),
    "dashboard": Alphabet(255),
    "table": Alphabet(255),
    "bucket": Alphabet(63),
    "alias": Alphabet(250),
    "mapping": Alphabet(128),
    "stream": Alphabet(128),
    "consumer": Alphabet(128),
    "kafka-group": Alphabet(128),
    "group": Alphabet(255),
    "connection": Alphabet(255),
    "endpoint": Alphabet(255),
    "catalog": Alphabet(255, "_", r"[^a-z0-9_]"),
    "database-role": Alphabet(63, "_", r"[^a-z0-9_]"),
}
"""Kind of name -> limits, from each service's API reference (IAM CreateRole: 64; Lambda
CreateFunction: 64; SQS CreateQueue: 80; SNS CreateTopic: 256; EventBridge PutRule: 64; SES
ReceiptRule: 64; Scheduler
CreateSchedule: 64; Step Functions CreateStateMachine: 80; Glue: 255; CloudWatch: 255; DynamoDB
CreateTable: 255; S3 bucket naming rules: 63; EC2 CreateSecurityGroup: 255; Kinesis
CreateStream and RegisterStreamConsumer: 128). KMS alias: 256 with ``alias/``. A consumer group of Kafka
gets a topic's name behind it."""


@lru_cache(maxsize=1024)
def physical(kind: str, cluster: str, *parts: str, role: str, salt: str = "") -> str:
    """The physical name of one thing.

    Parameters
    ----------
    kind
        A key of :data:`ALPHABETS`.
    cluster
        The cluster's id (:data:`CLUSTER_ID`).
    parts
        What it belongs to: a platform, or namespace and name. They are truncated where need be.
    role
        What it is for: ``ingest``. At most 20 characters; never truncated.
    salt
        More identity that the reader need not see: account and region, for a bucket, whose name
        the whole world shares.

    Raises
    ------
    ValueError
        The cluster id or the role is malformed.
    """
    if not CLUSTER_ID.match(cluster):
        raise ValueError(
            f"cluster id {cluster!r}: use 1 to 16 of a-z, 0-9 and -, starting and ending with a "
            "letter or digit"
        )
    if not re.fullmatch(r"[a-z0-9-]{1,20}", role):
        raise ValueError(f"role {role!r}: use 1 to 20 of a-z, 0-9 and -")
    alphabet = ALPHABETS[kind]
    sep = alphabet.separator

    def clean(text: str) -> str:
        return re.sub(alphabet.forbidden, sep, text.lower())

    head = f"weir{sep}{clean(cluster)}{sep}"
    tail = f"{sep}{clean(role)}{sep}{short_hash(cluster, *parts, role, salt)}"
    room = alphabet.limit - len(head) - len(tail)
    middle = sep.join(clean(part) for part in parts)[:room].strip(sep)
    return head + (middle + tail if middle else tail.lstrip(sep))


def short_hash(*identity: str) -> str:
    """Eight characters of ``a-z2-7`` that stand for the identity."""
    digest = hashlib.sha256("\0".join(identity).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:HASH_CHARACTERS]


def prefix(cluster: str) -> str:
    """What every name of this cluster starts with."""
    return f"weir-{cluster}-"


def iam_path(cluster: str) -> str:
    """The path of every role of this cluster."""
    return f"/weir/{cluster}/"


def database_role(namespace: str) -> str:
    """The Redshift database role of a namespace, that its loaders hold: ``weir_<namespace>``.

    Redshift identifiers have at most 127 bytes; a namespace has at most 63 characters. Kubernetes
    names have no ``_``, so that two namespaces never share a role.
    """
    return "weir_" + namespace.replace("-", "_").lower()


def loader_user(namespace: str) -> str:
    """The database user of a namespace on a provisioned cluster."""
    return database_role(namespace) + "_loader"


def catalog_database(cluster: str, namespace: str) -> str:
    """The Glue database of a namespace; readable, since people query it."""
    return catalog_table("weir", cluster, namespace)


def column_name(key: str, taken: Container[str]) -> str:
    """A record's key as a column's name in the Glue catalog: a-z, 0-9 and ``_``, unlike any taken."""
    name = re.sub(r"[^a-z0-9_]", "_", key.lower())[:120] or "_"
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def catalog_table(*parts: str) -> str:
    """The name of a Glue table: its parts joined with ``_``; Glue takes a-z, 0-9 and ``_``."""
    return re.sub(r"[^a-z0-9_]", "_", "_".join(parts).lower())[:255]
