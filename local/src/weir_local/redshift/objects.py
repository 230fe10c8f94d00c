"""S3 as COPY and UNLOAD use it: through the API, with a role's credentials."""

from __future__ import annotations

from typing import Any, Protocol

from botocore.exceptions import ClientError

from weir_local.redshift.errors import SqlError


class ObjectStore(Protocol):
    """Objects in buckets."""

    def read(self, bucket: str, key: str) -> bytes | None:
        """An object's bytes; None if there is none."""

    def size(self, bucket: str, key: str) -> int | None:
        """An object's size in bytes; None if there is none."""

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """The keys that begin with a prefix, in order."""

    def write(self, bucket: str, key: str, body: bytes, kms_key_id: str) -> None:
        """Put an object."""

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""


class S3Store:
    """The objects that a boto3 S3 client may reach; a denial is the statement's error."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def read(self, bucket: str, key: str) -> bytes | None:
        """An object's bytes; None if there is none."""
        answer = self._call("get_object", Bucket=bucket, Key=key)
        return None if answer is None else bytes(answer["Body"].read())

    def size(self, bucket: str, key: str) -> int | None:
        """An object's size in bytes; None if there is none."""
        answer = self._call("head_object", Bucket=bucket, Key=key)
        return None if answer is None else int(answer["ContentLength"])

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """The keys that begin with a prefix, in order."""
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            answer = self._call("list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
            if answer is None:
                raise _refused("The specified bucket does not exist", 404, "NoSuchBucket")
            found += [item["Key"] for item in answer.get("Contents", [])]
            if not answer.get("IsTruncated"):
                return sorted(found)
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    def write(self, bucket: str, key: str, body: bytes, kms_key_id: str) -> None:
        """Put an object."""
        keys = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id} if kms_key_id else {}
        if self._call("put_object", Bucket=bucket, Key=key, Body=body, **keys) is None:
            raise _refused("The specified bucket does not exist", 404, "NoSuchBucket")

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        self._call("delete_object", Bucket=bucket, Key=key)

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(**arguments)
        except ClientError as problem:
            error = problem.response["Error"]
            status = problem.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == 404:
                return None
            message = "Access Denied" if status == 403 else error.get("Message", "")
            code = "AccessDenied" if status == 403 else error["Code"]
            raise _refused(message, status, code) from problem


def _refused(message: str, status: int, code: str) -> SqlError:
    return SqlError(f"S3ServiceException:{message},Status {status},Error {code}")
