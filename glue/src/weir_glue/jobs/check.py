"""Is every stage's SQL and every rule allowed? Asked before Spark starts and any row is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from weir_contract.dqdl import check_rule
from weir_contract.expressions import check_expression, check_query
from weir_contract.pipelines import PipelineConfig
from weir_glue.common.errors import ExpressionRefused
from weir_glue.transformation.steps import steps_of


def check_stages(config: PipelineConfig) -> None:
    """Look at all SQL and all rules of a configuration.

    Raises
    ------
    ExpressionRefused
        Something is not allowed; the message has every problem with its stage and step.
    """
    tables = ["input", *(item.name for item in config.inputs)]
    problems: list[str] = []
    for stage in config.stages:
        if stage.kind == "transform":
            for number, step in enumerate(steps_of(stage.options), 1):
                for name, argument in step.items():
                    place = f"stage {stage.name}, step {number} ({name})"
                    problems += [
                        f"{place}{fault}" for fault in _step_problems(name, argument, tables)
                    ]
        elif stage.kind == "validate":
            problems += [
                f"stage {stage.name}, rule {rule!r}: {fault}"
                for rule in stage.options["rules"]
                for fault in check_rule(rule)
            ]
    if problems:
        raise ExpressionRefused("; ".join(problems))


def _step_problems(name: str, argument: Any, tables: list[str]) -> Iterator[str]:
    if name == "sql":
        yield from (f": {fault}" for fault in check_query(argument, tables))
    elif name == "filter":
        yield from (f": {fault}" for fault in check_expression(argument))
    elif name in ("derive", "aggregate"):
        columns: Mapping[str, str] = argument if name == "derive" else argument["measures"]
        for column, text in columns.items():
            yield from (f", column {column}: {fault}" for fault in check_expression(text))
