"""Parquet out: written aside by Spark, then copied to names that carry run and attempt.

A reader never sees half a run: files come to their place by server-side copies, after Spark has
written all of them, and the result that lists them is the commit.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import boto3
from botocore.exceptions import ClientError
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from weir_contract.compile import glue_columns
from weir_contract.pipelines import Destination
from weir_contract.rows import Field, PartitionField
from weir_contract.runs import OutputFile
from weir_glue.common.columns import LANDED, RUN, SEQUENCE, column, data_columns, find
from weir_glue.common.errors import OutputRefused

STAGING = "_weir_staging"
SYSTEM = (Field(RUN, RUN, "string"), Field(SEQUENCE, SEQUENCE, "integer"))
"""Weir's own columns in every file."""
TARGET_BYTES = 128 * 1024 * 1024
"""Size that a file should have, in bytes of the landed (compressed) records behind it."""
MAX_PARTITIONS_A_CALL = 100
"""BatchCreatePartition takes 100 (AWS Glue API reference)."""
_DIRECTORY = "_weir_p"
_PATTERNS = {"year": "yyyy", "month": "MM", "day": "dd", "hour": "HH"}
"""Transform -> Spark datetime pattern: always with leading zeros, so that names sort by time."""


@dataclass(frozen=True)
class Commit:
    """Whose files these are."""

    run: str
    attempt: int
    sequence: int
    """For rows that SQL made anew: the greatest manifest sequence of the run."""
    landed: str
    """For such rows: the last landing time, ISO 8601."""
    bytes: int = 0


@dataclass(frozen=True)
class Written:
    """What one write left: files with exact rows and bytes, and the new partitions' values."""

    files: tuple[OutputFile, ...]
    partitions: tuple[tuple[str, ...], ...] = ()

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(item.rows for item in self.files)


def output_columns(df: DataFrame, commit: Commit, partitions: Sequence[Column] = ()) -> DataFrame:
    """The user's columns in order, then ``_weir_run``, ``_weir_sequence`` and partition copies."""
    sequence = F.lit(commit.sequence).cast("long")
    if SEQUENCE in df.columns:
        sequence = F.coalesce(F.col(SEQUENCE), sequence)
    return df.select(
        *[column(name) for name in data_columns(df)],
        F.lit(commit.run).alias(RUN),
        sequence.alias(SEQUENCE),
        *partitions,
    )


def partition_column(df: DataFrame, item: PartitionField, commit: Commit) -> Column:
    """A partition's directory value as text: a copy, so that the data column stays in the file.

    Raises
    ------
    ColumnMissing
        The partition is of a field that the rows lack.
    """
    if item.field is None:
        landed = F.to_timestamp(F.lit(commit.landed))
        value = F.coalesce(F.col(LANDED), landed) if LANDED in df.columns else landed
    else:
        value = column(find(df, [item.field], f"partition {item.name}")[0])
    if item.transform == "identity":
        return value.cast("string")
    moment = value.cast("timestamp")
    if item.timezone != "UTC":
        moment = F.from_utc_timestamp(moment, item.timezone)
    return F.date_format(moment, _PATTERNS[item.transform])


def write_output(df: DataFrame, rows: int, to: Destination, commit: Commit) -> Written:
    """Write rows as Parquet under a destination and say exactly what was written.

    Parameters
    ----------
    rows
        How many rows the data frame has; none leave no file.
    to
        Bucket, prefix, partitions and mode. ``append`` leaves every other run's files alone;
        ``overwritePartitions`` replaces what stood in the partitions that this run writes.

    Raises
    ------
    OutputRefused
        The Glue table is missing.
    """
    if not rows:
        return Written(())
    s3 = boto3.client("s3")
    staging = f"{to.prefix}{STAGING}/{commit.run}/{commit.attempt}/"
    _delete(s3, to.bucket, _keys(s3, to.bucket, staging))
    _write_staging(df, to, commit, f"s3://{to.bucket}/{staging}")
    try:
        counts = _count_rows(df, f"s3://{to.bucket}/{staging}")
        moves = list(_moves(s3, to, commit, staging))
        with ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(lambda move: _copy(s3, to.bucket, *move), moves))
        files = tuple(
            OutputFile(f"s3://{to.bucket}/{target}", counts.get(source, 0), size)
            for (source, target), size in zip(moves, sizes, strict=True)
        )
        _sweep(s3, to, commit, {target for _, target in moves})
    finally:
        _delete(s3, to.bucket, _keys(s3, to.bucket, staging))
    values = tuple(dict.fromkeys(_values(to, target) for _, target in moves))
    return Written(files, values if to.partition_by else ())


def _write_staging(df: DataFrame, to: Destination, commit: Commit, uri: str) -> None:
    directories = [f"{_DIRECTORY}{index}" for index in range(len(to.partition_by))]
    partitions = [
        partition_column(df, item, commit).alias(name)
        for item, name in zip(to.partition_by, directories, strict=True)
    ]
    frame = output_columns(df, commit, partitions)
    count = max(1, math.ceil(commit.bytes / TARGET_BYTES))
    spread = [F.col(name) for name in directories] if count > 1 else []
    writer = frame.repartition(count, *spread).write.mode("overwrite")
    if directories:
        writer = writer.partitionBy(*directories)
    writer.parquet(uri)


def _count_rows(df: DataFrame, uri: str) -> dict[str, int]:
    """Rows a file by key, from the Parquet footers that Spark reads for a count."""
    found = (
        df.sparkSession.read.option("recursiveFileLookup", "true")
        .parquet(uri)
        .groupBy(F.col("_metadata.file_path").alias("path"))
        .count()
        .collect()
    )
    return {_key(row["path"]): int(row["count"]) for row in found}


def _key(path: str) -> str:
    """The object key of a Spark file path (a URI, with or without a host)."""
    rest = unquote(path).partition(":")[2].lstrip("/")
    return rest.partition("/")[2]


def _moves(s3: Any, to: Destination, commit: Commit, staging: str) -> Iterator[tuple[str, str]]:
    """From the key in staging to the key where it belongs, numbered in order of the first."""
    number = 0
    for key in sorted(_keys(s3, to.bucket, staging)):
        if not key.endswith(".parquet"):
            continue
        folders = posixpath.dirname(key.removeprefix(staging)).split("/")
        path = to.prefix
        for item, folder in zip(to.partition_by, folders, strict=False):
            path += f"{item.name}={folder.partition('=')[2]}/"
        yield key, f"{path}{commit.run}-{commit.attempt}-{number:05d}.parquet"
        number += 1


def _values(to: Destination, key: str) -> tuple[str, ...]:
    folders = posixpath.dirname(key.removeprefix(to.prefix)).split("/")
    return tuple(unquote(folder.partition("=")[2]) for folder in folders)


def _copy(s3: Any, bucket: str, source: str, target: str) -> int:
    """Copy inside S3 (in parts above 5 GB, by boto3) and give the copy's size in bytes."""
    s3.copy({"Bucket": bucket, "Key": source}, bucket, target)
    size: int = s3.head_object(Bucket=bucket, Key=target)["ContentLength"]
    return size


def _sweep(s3: Any, to: Destination, commit: Commit, written: set[str]) -> None:
    """Delete what failed attempts of this run left, and, when overwriting, what stood before.

    Only partitions that this run writes are looked at; in append mode only its own run's files.
    """
    for folder in {posixpath.dirname(key) + "/" for key in written}:
        old = []
        for key in _keys(s3, to.bucket, folder):
            name = key.removeprefix(folder)
            if key in written or "/" in name:
                continue
            if to.mode == "overwritePartitions" or _is_of(name, commit.run):
                old.append(key)
        _delete(s3, to.bucket, old)


def _is_of(name: str, run: str) -> bool:
    """Whether a file name is ``<run>-<attempt>-<number>.parquet`` of exactly this run."""
    head, _, tail = name.removesuffix(".parquet").rpartition("-")
    owner, _, attempt = head.rpartition("-")
    return owner == run and tail.isdigit() and attempt.isdigit()


def _keys(s3: Any, bucket: str, prefix: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def _delete(s3: Any, bucket: str, keys: Sequence[str]) -> None:
    for batch in _batches(keys, 1000):
        answer = s3.delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
        )
        if answer.get("Errors"):
            first = answer["Errors"][0]
            raise OutputRefused(
                f"can't delete s3://{bucket}/{first.get('Key')}: {first.get('Code')}; check the "
                "job role's s3:DeleteObject"
            )


def register_partitions(
    to: Destination,
    database: str,
    partitions: Iterable[Sequence[str]],
    fields: Sequence[Field],
) -> None:
    """Make partitions known to the Glue catalog; those that it knows already stay.

    A partition's columns are those of its files: the table may say string still for a type that
    this very run has inferred, and readers would fail on the files.

    Parameters
    ----------
    fields
        The columns that were written, Weir's own aside.

    Raises
    ------
    OutputRefused
        The table is missing, or the catalog refuses a partition.
    """
    values = [list(item) for item in partitions]
    if not to.glue_table or not values:
        return
    glue = boto3.client("glue")
    try:
        table = glue.get_table(DatabaseName=database, Name=to.glue_table)["Table"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise OutputRefused(
            f"Glue table {database}.{to.glue_table}: {code}; it is made by the Pipeline's "
            "reconciliation, look at its Synced condition"
        ) from error
    taken = {key["Name"].lower() for key in table.get("PartitionKeys", [])}
    columns = [item for item in glue_columns([*fields, *SYSTEM]) if item["Name"] not in taken]
    storage = {**table["StorageDescriptor"], "Columns": columns}
    inputs = []
    for item in values:
        folders = "".join(
            f"{part.name}={_escaped(value)}/"
            for part, value in zip(to.partition_by, item, strict=True)
        )
        location = f"s3://{to.bucket}/{to.prefix}{folders}"
        inputs.append({"Values": item, "StorageDescriptor": {**storage, "Location": location}})
    for batch in _batches(inputs, MAX_PARTITIONS_A_CALL):
        answer = glue.batch_create_partition(
            DatabaseName=database, TableName=to.glue_table, PartitionInputList=list(batch)
        )
        for fault in answer.get("Errors", []):
            detail = fault.get("ErrorDetail", {})
            if detail.get("ErrorCode") != "AlreadyExistsException":
                raise OutputRefused(
                    f"Glue table {database}.{to.glue_table}, partition "
                    f"{fault.get('PartitionValues')}: {detail.get('ErrorCode')}: "
                    f"{detail.get('ErrorMessage')}"
                )


_HIVE_ESCAPED = frozenset("\"#%'*/:=?\\{[]^\x7f") | {chr(code) for code in range(1, 32)}
"""What Hive and Spark write as %XX in a partition's directory (ExternalCatalogUtils)."""


def _escaped(value: str) -> str:
    return "".join(f"%{ord(char):02X}" if char in _HIVE_ESCAPED else char for char in value)


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
