"""The transform stage: one function a step, and a table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import MapType, StringType, StructType

from weir_contract.rows import Field
from weir_glue.common.casts import cast_text
from weir_glue.common.columns import (
    REASON,
    carried,
    column,
    data_columns,
    find,
)
from weir_glue.common.errors import ColumnMissing, ExpressionRefused
from weir_glue.transformation.script import run_script
from weir_glue.transformation.sql import expression, query

Effect = Literal["keeps", "filters", "changes", "quarantines"]
"""What a step does to the number of rows."""


@dataclass(frozen=True)
class Context:
    """What steps may use: the declared sources, and whether scripts are granted."""

    tables: Mapping[str, DataFrame] = field(default_factory=dict)
    allow_scripts: bool = False


def _select(df: DataFrame, names: list[str], _: Context, where: str) -> DataFrame:
    kept = find(df, names, where)
    return df.select(*[column(name) for name in kept], *_system(df))


def _rename(df: DataFrame, names: Mapping[str, str], _: Context, where: str) -> DataFrame:
    new = dict(zip(find(df, list(names), where), names.values(), strict=True))
    return df.select(*[column(name).alias(new.get(name, name)) for name in df.columns])


def _cast(df: DataFrame, types: Mapping[str, str], _: Context, where: str) -> DataFrame:
    """Cast by way of text, as at landing; a row with a misfit gets a reason."""
    wanted = dict(zip(find(df, list(types), where), types.values(), strict=True))
    faults: list[Column] = []
    out = []
    for name in df.columns:
        if name not in wanted:
            out.append(column(name))
            continue
        cast = cast_text(column(name).cast("string"), Field(name, name, wanted[name]))
        out.append(cast.value.alias(name))
        faults.append(F.when(cast.misfit, F.lit(f"{name}: does not fit {wanted[name]}")))
    old = [F.col(REASON)] if REASON in df.columns else []
    reason = F.concat_ws("; ", *old, *faults)
    marked = df.select(*out, F.when(reason != "", reason).alias("_weir_new_reason"))
    return marked.drop(REASON).withColumnRenamed("_weir_new_reason", REASON)


def _derive(df: DataFrame, columns: Mapping[str, str], _: Context, where: str) -> DataFrame:
    for name, text in columns.items():
        spelled = {known.lower(): known for known in data_columns(df)}.get(name.lower(), name)
        df = df.withColumn(spelled, expression(text, f"{where}, column {name}"))
    return df


def _filter(df: DataFrame, text: str, _: Context, where: str) -> DataFrame:
    return df.where(expression(text, where))


def _join(df: DataFrame, options: Mapping[str, Any], context: Context, where: str) -> DataFrame:
    other = _table(context, options["source"], where)
    keys = find(df, options["keys"], where)
    theirs = find(other, options["keys"], f"{where}, source {options['source']}")
    for mine, their in zip(keys, theirs, strict=True):
        other = other.withColumnRenamed(their, mine)
    how = {"leftSemi": "left_semi", "leftAnti": "left_anti"}.get(
        options.get("how") or "inner", options.get("how") or "inner"
    )
    if how not in ("left_semi", "left_anti"):
        taken = {name.lower() for name in data_columns(df)} - {key.lower() for key in keys}
        clash = [name for name in data_columns(other) if name.lower() in taken]
        if clash:
            raise ExpressionRefused(
                f"{where}: both sides have {', '.join(clash)}; rename one side before the join"
            )
    return df.join(other, keys, how)


def _union(df: DataFrame, options: Mapping[str, Any], context: Context, where: str) -> DataFrame:
    other = _table(context, options["source"], where)
    return df.unionByName(other, allowMissingColumns=True)


def _explode(df: DataFrame, options: Mapping[str, Any], _: Context, where: str) -> DataFrame:
    """One row an item; rows without items stay, with null. JSON text is read as a list."""
    name = find(df, [options["column"]], where)[0]
    into = options.get("into") or name
    value = column(name)
    if isinstance(df.schema[name].dataType, StringType):
        value = F.from_json(value, "array<string>")
    rest = [column(other) for other in df.columns if other not in (name, into)]
    keep = [column(name)] if into != name else []
    return df.select(*rest, *keep, F.explode_outer(value).alias(into))


def _flatten(df: DataFrame, options: Mapping[str, Any], _: Context, where: str) -> DataFrame:
    """A struct's members, or a JSON object's keys as found in the rows, as columns."""
    name = find(df, [options["column"]], where)[0]
    separator = options.get("separator") or "_"
    kind = df.schema[name].dataType
    if isinstance(kind, StructType):
        members = {item: column(name)[item] for item in kind.names}
    else:
        value = (
            column(name)
            if isinstance(kind, MapType)
            else F.from_json(column(name), "map<string,string>")
        )
        keys = df.select(F.explode(F.map_keys(value)).alias("k")).distinct().collect()
        members = {row["k"]: value[row["k"]] for row in sorted(keys, key=lambda row: str(row["k"]))}
    out = []
    for other in df.columns:
        if other == name:
            out += [v.alias(f"{name}{separator}{key}") for key, v in members.items()]
        else:
            out.append(column(other))
    return df.select(*out)


def _aggregate(df: DataFrame, options: Mapping[str, Any], _: Context, where: str) -> DataFrame:
    keys = find(df, options.get("groupBy") or [], where)
    measures = [
        expression(text, f"{where}, column {name}").alias(name)
        for name, text in options["measures"].items()
    ]
    return df.groupBy(*[column(key) for key in keys]).agg(*measures)


def _sql(df: DataFrame, text: str, context: Context, where: str) -> DataFrame:
    return query(df, text, context.tables, where)


def _script(df: DataFrame, options: Mapping[str, Any], context: Context, where: str) -> DataFrame:
    return run_script(df, options, context.allow_scripts, where)


STEPS: Mapping[str, tuple[Effect, Callable[[DataFrame, Any, Context, str], DataFrame]]] = {
    "select": ("keeps", _select),
    "rename": ("keeps", _rename),
    "cast": ("quarantines", _cast),
    "derive": ("keeps", _derive),
    "filter": ("filters", _filter),
    "join": ("changes", _join),
    "union": ("changes", _union),
    "explode": ("changes", _explode),
    "flatten": ("keeps", _flatten),
    "aggregate": ("changes", _aggregate),
    "sql": ("changes", _sql),
    "script": ("changes", _script),
}


def steps_of(options: Any) -> list[Mapping[str, Any]]:
    """A transform stage's steps, given as a list or under ``steps``."""
    if isinstance(options, Mapping):
        options = options.get("steps") or options.get("transform") or []
    return [{name: value for name, value in step.items() if value is not None} for step in options]


def effects(options: Any) -> set[Effect]:
    """What a transform stage's steps do to the number of rows."""
    return {STEPS[name][0] for step in steps_of(options) for name in step}


def transform(df: DataFrame, options: Any, context: Context, where: str = "transform") -> DataFrame:
    """Apply a transform stage's steps in order.

    Rows that a ``cast`` can't take carry a reason (:data:`weir_glue.common.columns.REASON`); a
    step that changes the number of rows comes to see those without one only.

    Raises
    ------
    ExpressionRefused, ColumnMissing, ScriptRefused
        A step can't be done; the message names stage and step.
    """
    for number, step in enumerate(steps_of(options), 1):
        for name, argument in step.items():
            place = f"stage {where}, step {number} ({name})"
            try:
                df = STEPS[name][1](df, argument, context, place)
                df.schema  # noqa: B018 - Spark resolves columns here, not when rows are computed
            except AnalysisException as error:
                first = str(error).strip().splitlines()[0]
                raise ExpressionRefused(f"{place}: {first}") from error
    return df


def _table(context: Context, name: str, where: str) -> DataFrame:
    if name not in context.tables:
        raise ColumnMissing(
            f"{where}: no source {name!r}; declared are {', '.join(context.tables) or 'none'}"
        )
    return context.tables[name]


def _system(df: DataFrame) -> list[Column]:
    kept = [*carried(df), *([REASON] if REASON in df.columns else [])]
    return [F.col(name) for name in kept]
