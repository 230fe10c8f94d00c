"""Personal data: hash with a key, mask, tokenise, drop."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from weir_glue.common.columns import RECORD, column, find
from weir_glue.common.errors import JobError

_INNER, _OUTER = "_weir_inner", "_weir_outer"
_BLOCK = 64
"""Block length of SHA-256 in bytes (FIPS 180-4)."""


class PiiKeyMissing(JobError):
    """A pipeline hashes or tokenises, but no key is configured."""


def protect(
    df: DataFrame, rules: Sequence[Mapping[str, Any]], key: bytes | None, where: str = "pii"
) -> DataFrame:
    """Apply pii rules ``{column, action}``.

    ``hash`` is HMAC-SHA256 in hex, the same value giving the same hash in every column, so that
    tables still join. ``tokenise`` gives ``tok_`` and 32 hex digits that differ by column. ``mask``
    keeps the last four characters of values longer than eight. ``drop`` takes the column out. The
    raw record, which holds the value too, is no longer carried: what a later stage quarantines is
    the protected row.

    Raises
    ------
    PiiKeyMissing
        ``hash`` or ``tokenise`` without a key.
    ColumnMissing
        A rule names a column that is not there.
    """
    if not rules:
        return df
    names = find(df, [rule["column"] for rule in rules], where)
    actions = dict(zip(names, (rule["action"] for rule in rules), strict=True))
    keyed = {"hash", "tokenise"} & set(actions.values())
    if keyed and key is None:
        raise PiiKeyMissing(
            f"{where}: {' and '.join(sorted(keyed))} need a key; create the secret "
            "<prefix><namespace>/pii-key with at least 16 random bytes, where prefix is "
            "secrets.prefix of the Platform"
        )
    df = df.drop(RECORD)
    if key is not None and keyed:
        df = _with_key(df, key)
    out = []
    for name in df.columns:
        action = actions.get(name)
        if name in (_INNER, _OUTER) or action == "drop":
            continue
        out.append(_protected(name, action).alias(name))
    return df.select(*out)


def _protected(name: str, action: str | None) -> Column:
    value = column(name)
    if action is None:
        return value
    text = value.cast("string")
    if action == "hash":
        return _hmac(F.encode(text, "UTF-8"))
    if action == "tokenise":
        labelled = F.encode(F.concat(F.lit(name.lower() + "\x00"), text), "UTF-8")
        return F.concat(F.lit("tok_"), F.substring(_hmac(labelled), 1, 32))
    stars = F.regexp_replace(text, "(?s).", "*")
    kept = F.concat(F.expr("repeat('*', 0)"), F.substring(text, -4, 4))
    long = F.concat(F.expr(f"repeat('*', length(cast({_sql(name)} as string)) - 4)"), kept)
    return F.when(F.length(text) > 8, long).otherwise(stars)


def _sql(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _hmac(message: Column) -> Column:
    """HMAC-SHA256 (RFC 2104) of a binary column, in hex."""
    inner = F.unhex(F.sha2(F.concat(F.col(_INNER), message), 256))
    return F.sha2(F.concat(F.col(_OUTER), inner), 256)


def _with_key(df: DataFrame, key: bytes) -> DataFrame:
    """The rows with the key's two pads as columns.

    They come from a broadcast one-row data frame, not from literals: a query plan, which Spark
    shows in its UI, event log and error messages, then has their names alone.
    """
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    pads = df.sparkSession.createDataFrame(
        [(bytearray(b ^ 0x36 for b in block), bytearray(b ^ 0x5C for b in block))],
        f"{_INNER} binary, {_OUTER} binary",
    )
    return df.crossJoin(F.broadcast(pads))
