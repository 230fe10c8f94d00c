"""Glue: the partitions that a table's folder has on S3, registered with a table that is made anew.

A job registers what it writes. A table that is created over a folder with data (its source was
deleted and came back, moved to another namespace, or somebody dropped the table) would show none of
it: so the folders are listed, level by level, and registered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from weir.aws.calls import Calls
from weir.aws.errors import Transient
from weir.aws.session import AwsSession

A_CALL = 100
"""Partitions that one BatchCreatePartition takes (AWS Glue API reference)."""
OPEN = "weir.partitions"
"""A table's parameter while its partitions are being registered: who finds it goes on."""


class Partitions:
    """Lists and registers the partitions of a table by its folder."""

    def __init__(self, session: AwsSession) -> None:
        self._s3 = Calls(session, "s3")
        self._glue = Calls(session, "glue")

    def found(self, table: Mapping[str, Any]) -> list[list[str]]:
        """The partitions' values, as ``key=value`` folders below the table's location say.

        Parameters
        ----------
        table
            ``TableInput``: ``PartitionKeys`` and ``StorageDescriptor.Location``.
        """
        keys = [key["Name"].lower() for key in table.get("PartitionKeys") or ()]
        location = str((table.get("StorageDescriptor") or {}).get("Location") or "")
        if not keys or not location.startswith("s3://"):
            return []
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        return list(self._below(bucket, prefix.rstrip("/") + "/", keys))

    def register(
        self, database: str, table: Mapping[str, Any], partitions: Sequence[Sequence[str]]
    ) -> None:
        """Make partitions known to the catalog; those that it knows already stay.

        Raises
        ------
        Transient
            The catalog refuses one; the next try goes on.
        """
        storage = table["StorageDescriptor"]
        location = str(storage["Location"]).rstrip("/") + "/"
        names = [key["Name"] for key in table["PartitionKeys"]]
        inputs = [
            {
                "Values": [unquote(value) for value in values],
                "StorageDescriptor": {
                    **storage,
                    "Location": location
                    + "".join(
                        f"{name}={value}/" for name, value in zip(names, values, strict=True)
                    ),
                },
            }
            for values in partitions
        ]
        about = f"{database}.{table['Name']}"
        for start in range(0, len(inputs), A_CALL):
            answer = self._glue(
                "BatchCreatePartition",
                about,
                DatabaseName=database,
                TableName=table["Name"],
                PartitionInputList=inputs[start : start + A_CALL],
            )
            for fault in answer.get("Errors", []):
                detail = fault.get("ErrorDetail", {})
                if detail.get("ErrorCode") != "AlreadyExistsException":
                    raise Transient(
                        f"glue BatchCreatePartition {about} {fault.get('PartitionValues')}: "
                        f"{detail.get('ErrorCode')}: {detail.get('ErrorMessage')}",
                        service="glue",
                        operation="BatchCreatePartition",
                        resource=about,
                    )

    def _below(self, bucket: str, prefix: str, keys: Sequence[str]) -> Iterator[list[str]]:
        if not keys:
            yield []
            return
        wanted = f"{keys[0]}="
        for page in self._pages(bucket, prefix):
            for one in page.get("CommonPrefixes") or ():
                folder = str(one["Prefix"])
                name = folder.removeprefix(prefix).rstrip("/")
                if not name.lower().startswith(wanted):
                    continue
                value = name.partition("=")[2]
                yield from ([value, *rest] for rest in self._below(bucket, folder, keys[1:]))

    def _pages(self, bucket: str, prefix: str) -> Iterator[Mapping[str, Any]]:
        token: dict[str, str] = {}
        while True:
            page = self._s3.find(
                "ListObjectsV2", bucket, Bucket=bucket, Prefix=prefix, Delimiter="/", **token
            )
            if page is None:
                return
            yield page
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": str(page["NextContinuationToken"])}
