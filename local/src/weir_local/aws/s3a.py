"""Lets Hadoop's S3 client rename encrypted objects over plain HTTP.

S3A hands the source's KMS key on when it copies, and the AWS SDK for Java refuses to name a KMS
key in a request that is not HTTPS. Told no key on HEAD, it names none, and the copy gets the key of
the bucket's default encryption: the same one, as the Platform's buckets have it. On AWS the
connection is HTTPS and nothing of this is needed.
"""

from __future__ import annotations

from weir_local.aws.kms import S3_KEY_HEADER
from weir_local.aws.wire import Handler, Reply

ALGORITHM_HEADER = "x-amz-server-side-encryption"
HIDDEN = frozenset({S3_KEY_HEADER, ALGORITHM_HEADER})


def install() -> None:
    """Take the encryption headers out of HEAD replies to the SDK for Java."""
    from ministack import app

    inner: Handler = app.SERVICE_HANDLERS["s3"]

    async def served(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Reply:
        status, sent, content = await inner(method, path, headers, body, query)
        if method == "HEAD" and "aws-sdk-java" in headers.get("user-agent", ""):
            sent = {name: value for name, value in sent.items() if name.lower() not in HIDDEN}
        return status, sent, content

    app.SERVICE_HANDLERS["s3"] = served
