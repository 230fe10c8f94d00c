"""Users' SQL: checked, then given to Spark."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from weir_contract.expressions import check_expression, check_query
from weir_glue.common.errors import ExpressionRefused


def expression(text: str, where: str) -> Column:
    """A checked expression as a column.

    Raises
    ------
    ExpressionRefused
        The text is not allowed or does not parse; the message names the stage.
    """
    problems = check_expression(text)
    if problems:
        raise ExpressionRefused(f"{where}: {text!r}: {'; '.join(problems)}")
    try:
        return F.expr(text)
    except ParseException as error:
        raise ExpressionRefused(f"{where}: {text!r} does not parse: {_short(error)}") from error


def query(df: DataFrame, text: str, tables: Mapping[str, DataFrame], where: str) -> DataFrame:
    """A checked query over ``input`` (the data frame) and the declared sources.

    Raises
    ------
    ExpressionRefused
        The text is not allowed, or does not fit the tables.
    """
    views = {**tables, "input": df}
    problems = check_query(text, list(views))
    if problems:
        raise ExpressionRefused(f"{where}: {'; '.join(problems)}")
    spark = df.sparkSession
    for name, table in views.items():
        table.createOrReplaceTempView(f"`{name}`")
    try:
        return spark.sql(text)
    except (AnalysisException, ParseException) as error:
        raise ExpressionRefused(f"{where}: {_short(error)}") from error
    finally:
        for name in views:
            spark.catalog.dropTempView(name)


def _short(error: Exception) -> str:
    """The first line of Spark's message: what follows is the query's plan."""
    return str(error).strip().splitlines()[0]
