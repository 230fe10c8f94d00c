"""Python of the user's own, where the Platform grants it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boto3
from pyspark.sql import DataFrame

from weir_glue.common.errors import ScriptRefused
from weir_glue.common.plan import split_uri


def run_script(df: DataFrame, options: Mapping[str, Any], allowed: bool, where: str) -> DataFrame:
    """Run ``transform(df, spark)`` of a script given ``inline`` or as an S3 ``uri``.

    Raises
    ------
    ScriptRefused
        Scripts are not granted, or the text defines no ``transform`` that gives a DataFrame.
    """
    if not allowed:
        raise ScriptRefused(
            f"{where}: scripts are not granted to this namespace; ask for grants[].allow: "
            "[scripts] on the Platform, or write the step in SQL"
        )
    text = options.get("inline") or _read(options["uri"])
    names: dict[str, Any] = {"__name__": "weir_script"}
    exec(compile(text, f"<script of {where}>", "exec"), names)
    transform = names.get("transform")
    if not callable(transform):
        raise ScriptRefused(f"{where}: the script defines no function transform(df, spark)")
    result = transform(df, df.sparkSession)
    if not isinstance(result, DataFrame):
        raise ScriptRefused(f"{where}: transform gave {type(result).__name__}, not a DataFrame")
    return result


def _read(uri: str) -> str:
    bucket, key = split_uri(uri)
    body: bytes = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return body.decode("utf-8")
