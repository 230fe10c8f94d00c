"""The clean stage: tidy, deduplicate, protect, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame

from weir_glue.cleaning.dedupe import deduplicate
from weir_glue.cleaning.pii import protect
from weir_glue.cleaning.tidy import tidy


def clean(
    df: DataFrame, options: Mapping[str, Any], key: bytes | None = None, where: str = "clean"
) -> DataFrame:
    """Apply a clean stage's options as the API spells them.

    Parameters
    ----------
    options
        ``trim``, ``nullValues``, ``deduplicate: {keys, keepLatestBy}``, ``pii: [{column, action}]``.
    key
        The key for ``hash`` and ``tokenise``.
    where
        The stage's name, for errors.
    """
    df = tidy(df, bool(options.get("trim")), options.get("nullValues") or [])
    dedupe = options.get("deduplicate")
    if dedupe:
        df = deduplicate(df, dedupe["keys"], dedupe.get("keepLatestBy"), where)
    return protect(df, options.get("pii") or [], key, where)
