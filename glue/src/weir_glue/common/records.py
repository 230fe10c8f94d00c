"""Landed records as a data frame: what the manifests name, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import reduce
from urllib.parse import quote

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, DecimalType, StringType

from weir_contract.manifest import Manifest, Part
from weir_contract.rows import Field, RowContract
from weir_glue.common.casts import Cast, cast_text
from weir_glue.common.columns import (
    CARRIED,
    DELETED,
    LANDED,
    PART,
    REASON,
    RECORD,
    ROW,
    SEQUENCE,
    SOURCE,
    STAGE,
    column,
)
from weir_glue.common.errors import PlanInvalid
from weir_glue.common.mapping import extractor

LAND, CAST, FAIL = "land", "cast", "fail"
_RAW = (
    f"{RECORD} string, {SOURCE} string, {SEQUENCE} long, {PART} int, {ROW} long, {LANDED} timestamp"
)
_PATH_SAFE = "/_-!.~'()*,;:$&+=@"
"""What ``java.net.URI`` leaves as it is in a path: Spark's file_path is such a URI."""
_VALUES = "_weir_values"
_INSTANT = "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"
_LOCAL = "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"


def read_records(spark: SparkSession, manifests: Sequence[Manifest]) -> DataFrame:
    """The raw records of the manifests' parts, one row each, with :data:`CARRIED` columns.

    Raises
    ------
    PlanInvalid
        A part has a format that nobody reads.
    """
    places: list[tuple[Manifest, Part, int]] = []
    for manifest in manifests:
        for part in manifest.parts:
            if part.format not in READERS:
                raise PlanInvalid(f"{manifest.id}: {part.key} is a part of format {part.format!r}")
            places.append((manifest, part, len(places)))
    if not places:
        return spark.createDataFrame([], _RAW)
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for manifest, part, _ in places:
        alike[part.format, part.shape].append(f"s3://{manifest.bucket}/{part.key}")
    texts = [READERS[kind](spark, uris) for (kind, _), uris in sorted(alike.items())]
    return tag_records(
        reduce(DataFrame.unionByName, texts),
        spark.createDataFrame(
            [
                (
                    f"{manifest.bucket}/{quote(part.key, safe=_PATH_SAFE)}",
                    manifest.source,
                    manifest.sequence if part.sequence is None else part.sequence,
                    index,
                    manifest.landed_time,
                )
                for manifest, part, index in places
            ],
            f"_place string, {SOURCE} string, {SEQUENCE} long, {PART} int, _landed string",
        ),
    )


def _json_lines(spark: SparkSession, uris: Sequence[str]) -> DataFrame:
    """Each line (``value``) with the file that it is from (``_path``)."""
    text = spark.read.option("lineSep", "\n").text(list(uris))
    return text.select(F.col("value"), F.col("_metadata.file_path").alias("_path"))


def _parquet(spark: SparkSession, uris: Sequence[str]) -> DataFrame:
    """Each row of files of one shape as the JSON text that its record would have had.

    Texts, numbers and nested values are as JSON has them, times in ISO 8601 with all their
    microseconds, bytes in base64.
    """
    rows = spark.read.parquet(*uris)
    fields = [_exact(column(one.name), one.dataType).alias(one.name) for one in rows.schema]
    return rows.select(
        F.to_json(
            F.struct(*fields), {"timestampFormat": _INSTANT, "timestampNTZFormat": _LOCAL}
        ).alias("value"),
        F.col("_metadata.file_path").alias("_path"),
    )


def _exact(value: Column, kind: DataType) -> Column:
    """A decimal as its digits: Spark writes a small or large one with an exponent."""
    return value.cast("string") if isinstance(kind, DecimalType) else value


READERS: dict[str, Callable[[SparkSession, Sequence[str]], DataFrame]] = {
    "jsonl": _json_lines,
    "parquet": _parquet,
}
"""Format of a part -> who reads it."""


def tag_records(text: DataFrame, places: DataFrame) -> DataFrame:
    """Join each line (``value``, ``_path``) with what its part's manifest says of it."""
    lines = text.select(
        F.col("value").alias(RECORD),
        F.regexp_replace("_path", "^[a-z0-9]+:/+", "").alias("_place"),
        F.monotonically_increasing_id().alias(ROW),
    )
    tagged = lines.join(F.broadcast(places), "_place")
    return tagged.withColumn(LANDED, F.to_timestamp("_landed")).select(*CARRIED)


def map_records(
    records: DataFrame, contract: RowContract, required: Sequence[str] = ()
) -> DataFrame:
    """Raw records as typed rows, in the contract's column order.

    Adds :data:`REASON` (null: the row fits) and :data:`STAGE` (where it failed: ``land`` for text
    that is no record, ``cast`` for a misfit, ``fail`` where the contract stops the run for it).
    Reasons name columns and types, never values.

    Parameters
    ----------
    required
        Columns that a deletion must have; all others may be missing there, and what does not fit
        is null. Where the contract tells deletions, :data:`DELETED` is added too.
    """
    extract = F.udf(
        extractor(contract.fields, contract.on_new_field == "quarantine", contract.deletion),
        ArrayType(StringType()),
    )
    needed = {name.lower() for name in required}
    rows = records.withColumn(_VALUES, extract(F.col(RECORD)))
    faults: list[Column] = []
    fatal: Column = F.lit(False)
    values: list[Column] = []
    deleted = F.element_at(F.col(_VALUES), 3).isNotNull()
    for index, item in enumerate(contract.fields):
        text = F.element_at(F.col(_VALUES), index + 4)
        cast = cast_text(text, item)
        values.append(cast.value.alias(item.name))
        fault, stops = _fault(item, cast, contract.on_type_change == "fail")
        if contract.deletion is not None:
            missing = F.when(cast.misfit, F.lit(f"{item.name}: does not fit {item.type}"))
            missing = missing.when(
                cast.value.isNull(), F.lit(f"{item.name}: is missing in a deletion")
            )
            lacking = missing if item.name.lower() in needed else F.lit(None).cast("string")
            fault = F.when(deleted, lacking).otherwise(fault)
            stops = stops & ~deleted
        faults.append(fault)
        fatal = fatal | stops
    problem = F.element_at(F.col(_VALUES), 1)
    new_fields = F.element_at(F.col(_VALUES), 2)
    misfit = F.concat_ws("; ", new_fields, *faults)
    return rows.select(
        *CARRIED,
        *values,
        F.coalesce(problem, F.when(misfit != "", misfit)).alias(REASON),
        F.when(problem.isNotNull(), F.lit(LAND))
        .when(fatal, F.lit(FAIL))
        .when(misfit != "", F.lit(CAST))
        .alias(STAGE),
        *([deleted.alias(DELETED)] if contract.deletion is not None else []),
    )


def _fault(item: Field, cast: Cast, unchanging: bool) -> tuple[Column, Column]:
    """Why a field takes its row out (null: it does not), and whether that stops the run.

    ``unchanging``: a value that does not fit its column's type stops it, whatever the field says.
    """
    kind = item.type or "string"
    length = f" of {item.max_length} bytes" if item.max_length else ""
    misfit = cast.misfit if unchanging or item.on_misfit != "null" else F.lit(False)
    fault = F.when(misfit, F.lit(f"{item.name}: does not fit {kind}{length}"))
    broken = misfit
    if not item.nullable:
        fault = fault.when(cast.value.isNull(), F.lit(f"{item.name}: is missing"))
        broken = broken | cast.value.isNull()
    if item.on_misfit == "fail":
        return fault, broken
    return fault, misfit if unchanging else F.lit(False)


def union_all(frames: Sequence[DataFrame]) -> DataFrame:
    """All rows of several sources; a column that one lacks is null there."""
    return reduce(lambda left, right: left.unionByName(right, allowMissingColumns=True), frames)


def latest_rows(df: DataFrame, keys: Sequence[str]) -> DataFrame:
    """One row for each key, the last landed: a joined source as it is now."""
    from weir_glue.cleaning.dedupe import deduplicate

    return deduplicate(df, keys, None) if keys else df


def without_carried(df: DataFrame) -> DataFrame:
    """The user's columns alone."""
    return df.select(*[column(name) for name in df.columns if not name.startswith("_weir_")])
