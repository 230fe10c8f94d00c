"""Objects in S3: written once, read whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from weir_lambdas.common.aws import error_code
from weir_lambdas.common.errors import ConfigInvalid

PRECONDITION_CODES = {"PreconditionFailed", "412", "ConditionalRequestConflict"}
"""What S3 answers to ``If-None-Match: *`` when the key is taken, or is being written right now."""

MISSING_CODES = {"NoSuchKey", "404", "NotFound"}


def split_uri(uri: str) -> tuple[str, str]:
    """``(bucket, key)`` of an ``s3://`` URI.

    Raises
    ------
    ConfigInvalid
        It is no such URI.
    """
    bucket, slash, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not slash:
        raise ConfigInvalid("is no s3://bucket/key URI", repr(uri))
    return bucket, key


COPY_BYTES = 5 * 1024**3
"""The largest object that one CopyObject copies."""

PIECE_BYTES = 512 * 1024**2
"""Bytes of one piece of a larger one; at most 10,000 pieces make an object."""

MAX_DELETED = 1_000
"""Objects of one DeleteObjects (S3 API Reference)."""


@dataclass(frozen=True)
class Copied:
    """A copy: its version id, and its content's SHA-256 in base64 where S3 has told it."""

    version_id: str | None
    sha256: str | None


class Storage:
    """A thin wrap of an S3 client: conditional writes, and the Platform's key on each write."""

    def __init__(self, s3: Any, kms_key_arn: str | None = None) -> None:
        self._s3 = s3
        self._encryption: dict[str, Any] = {}
        if kms_key_arn:
            self._encryption = {
                "ServerSideEncryption": "aws:kms",
                "SSEKMSKeyId": kms_key_arn,
                "BucketKeyEnabled": True,
            }

    def put(self, bucket: str, key: str, body: bytes, content_type: str) -> str | None:
        """Write an object; returns its version id where the bucket keeps versions."""
        answer = self._s3.put_object(
            Bucket=bucket, Key=key, Body=body, ContentType=content_type, **self._encryption
        )
        return _version(answer)

    def put_new(self, bucket: str, key: str, body: bytes, content_type: str) -> str | None:
        """Write an object that must not exist yet (``If-None-Match: *``); returns its version id.

        Raises
        ------
        FileExistsError
            The key is taken: somebody else committed first.
        """
        try:
            answer = self._s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=body,
                ContentType=content_type,
                IfNoneMatch="*",
                **self._encryption,
            )
        except ClientError as error:
            if error_code(error) in PRECONDITION_CODES:
                raise FileExistsError(f"s3://{bucket}/{key}") from error
            raise
        return _version(answer)

    def copy(
        self,
        source: tuple[str, str, str | None],
        etag: str,
        size: int,
        bucket: str,
        key: str,
    ) -> Copied:
        """Copy an object within S3, if it still is the one that is meant.

        Parameters
        ----------
        source
            Bucket, key and version id.
        etag
            What it must have, without quotes.
        size
            Its bytes: above 5 GiB it is copied in pieces (S3 API Reference, *CopyObject*).

        Raises
        ------
        FileNotFoundError
            It was overwritten or deleted.
        """
        from_bucket, from_key, version = source
        origin = {"Bucket": from_bucket, "Key": from_key}
        if version:
            origin["VersionId"] = version
        try:
            if size <= COPY_BYTES:
                answer = self._s3.copy_object(
                    Bucket=bucket,
                    Key=key,
                    CopySource=origin,
                    CopySourceIfMatch=etag,
                    ChecksumAlgorithm="SHA256",
                    **self._encryption,
                )
                digest = (answer.get("CopyObjectResult") or {}).get("ChecksumSHA256")
                return Copied(_version(answer), digest)
            return Copied(self._copy_in_pieces(origin, etag, size, bucket, key), None)
        except ClientError as error:
            if error_code(error) in PRECONDITION_CODES | MISSING_CODES:
                raise FileNotFoundError(f"s3://{from_bucket}/{from_key}") from error
            raise

    def _copy_in_pieces(
        self, origin: dict[str, str], etag: str, size: int, bucket: str, key: str
    ) -> str | None:
        upload = self._s3.create_multipart_upload(Bucket=bucket, Key=key, **self._encryption)
        where = {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}
        try:
            pieces = []
            for number, start in enumerate(range(0, size, PIECE_BYTES), 1):
                end = min(start + PIECE_BYTES, size) - 1
                answer = self._s3.upload_part_copy(
                    **where,
                    PartNumber=number,
                    CopySource=origin,
                    CopySourceIfMatch=etag,
                    CopySourceRange=f"bytes={start}-{end}",
                )
                pieces.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
            done = self._s3.complete_multipart_upload(**where, MultipartUpload={"Parts": pieces})
        except BaseException:
            self._s3.abort_multipart_upload(**where)
            raise
        return _version(done)

    def get(self, bucket: str, key: str) -> bytes:
        """Read an object.

        Raises
        ------
        FileNotFoundError
            There is none under the key.
        """
        try:
            return bytes(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error_code(error) in MISSING_CODES:
                raise FileNotFoundError(f"s3://{bucket}/{key}") from error
            raise

    def get_uri(self, uri: str) -> bytes:
        """Read the object at an ``s3://`` URI; raises FileNotFoundError where there is none."""
        return self.get(*split_uri(uri))

    def keys(self, bucket: str, prefix: str, after: str = "") -> Iterator[str]:
        """Keys under a prefix in order, those after ``after`` only."""
        for key, _ in self.aged(bucket, prefix, after):
            yield key

    def aged(self, bucket: str, prefix: str, after: str = "") -> Iterator[tuple[str, datetime]]:
        """Keys as of :meth:`keys`, each with the time at which it was written."""
        more: dict[str, str] = {"StartAfter": after} if after else {}
        while True:
            page = self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix, **more)
            for item in page.get("Contents", []):
                yield item["Key"], item["LastModified"]
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete objects, as far as they are there.

        Raises
        ------
        PermissionError
            S3 refuses some.
        """
        for at in range(0, len(keys), MAX_DELETED):
            wanted = [{"Key": key} for key in keys[at : at + MAX_DELETED]]
            answer = self._s3.delete_objects(
                Bucket=bucket, Delete={"Objects": wanted, "Quiet": True}
            )
            if refused := answer.get("Errors"):
                one = refused[0]
                raise PermissionError(f"s3://{bucket}/{one.get('Key')}: {one.get('Code')}")

    def folders(self, bucket: str, prefix: str = "") -> Iterator[str]:
        """The folders right under a prefix, each ending in ``/``, in order."""
        more: dict[str, str] = {}
        while True:
            page = self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/", **more)
            for item in page.get("CommonPrefixes", []):
                yield item["Prefix"]
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}


def _version(answer: dict[str, Any]) -> str | None:
    version = answer.get("VersionId")
    return version if version and version != "null" else None
