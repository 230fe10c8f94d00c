"""The example with every kind of stage does to the airports what its page says."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import DataFrame, SparkSession

from weir_glue.cleaning.clean import clean
from weir_glue.transformation.steps import Context, transform
from weir_glue.validation.evaluate import evaluate

pytestmark = pytest.mark.spark

EXAMPLES = Path(__file__).parents[2] / "examples/stages"
COLUMNS = (
    "iata string, name string, city string, state string, country string, "
    "latitude decimal(11,8), longitude decimal(11,8)"
)


@pytest.fixture(scope="module")
def airports(spark: SparkSession) -> DataFrame:
    text = files("vega_datasets").joinpath("_data/airports.csv").read_text(encoding="utf-8")
    rows = spark.createDataFrame(list(csv.DictReader(text.splitlines())))
    types = [part.split(" ") for part in COLUMNS.split(", ")]
    return rows.selectExpr(*[f"cast({name} as {kind}) as {name}" for name, kind in types])


def stages(file: str) -> dict[str, Any]:
    """The stages of the Pipeline in a file, by name."""
    documents = yaml.safe_load_all((EXAMPLES / file).read_text())
    pipeline = next(one for one in documents if one["kind"] == "Pipeline")
    return {stage["name"]: stage for stage in pipeline["spec"]["stages"]}


def test_the_airports_go_through_every_stage(airports: DataFrame) -> None:
    found = stages("pipeline.yaml")
    tidy = clean(airports, found["tidy"]["clean"])
    rows = transform(tidy, found["enrich"]["transform"], Context(), "enrich")
    assert rows.columns == found["enrich"]["transform"][-1]["select"]
    assert rows.count() > 3000
    assert {row[0] for row in rows.select("hemisphere").distinct().collect()} <= {"north", "south"}
    outcome = evaluate(rows, found["check"]["validate"]["rules"], "check")
    assert [item for item in outcome.results if not item.passed] == []


def test_the_summary_has_a_row_for_each_state(airports: DataFrame) -> None:
    found = stages("summary.yaml")
    rows = transform(airports, found["group"]["transform"], Context(), "group")
    assert rows.columns == ["state", "airports", "northernmost"]
    outcome = evaluate(rows, found["check"]["validate"]["rules"], "check")
    assert [item for item in outcome.results if not item.passed] == []
