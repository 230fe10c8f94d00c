"""Pieces of SQL that the statements of a load share."""

from __future__ import annotations

from weir_contract.compile import SYSTEM_COLUMNS, literal, quoted
from weir_contract.pipelines import Load

STAGE, FRESH, COUNTS = "weir_stage", "weir_fresh", "weir_counts"
RUN, SEQUENCE = (name for name, _ in SYSTEM_COLUMNS)


def count(step: str, table: str, where: str = "") -> str:
    """Note how many rows a table has."""
    return f"INSERT INTO {COUNTS} SELECT {literal(step)}, COUNT(*) FROM {table}{where}"


def step(name: str) -> str:
    """A count, over the rows of the counts table; 0 where the step was not counted."""
    return f'COALESCE(MAX(CASE WHEN "step" = {literal(name)} THEN "n" END), 0)'


def same_keys(load: Load, left: str, right: str) -> str:
    """Whether rows of two tables, by the names that stand before their columns, have one key."""
    return " AND ".join(f"{left}.{quoted(key)} = {right}.{quoted(key)}" for key in load.keys)


def older(load: Load, mine: str, theirs: str, or_same: bool = False) -> str:
    """Whether a row of ``mine`` is older than one of ``theirs``, or as old where ``or_same``.

    By ``orderBy`` (null is older than all), then by the landing.
    """
    sign = "<=" if or_same else "<"
    text = f"{mine}.{quoted(SEQUENCE)} {sign} {theirs}.{quoted(SEQUENCE)}"
    if load.order_by:
        left, right = f"{mine}.{quoted(load.order_by)}", f"{theirs}.{quoted(load.order_by)}"
        text = (
            f"({left} < {right} OR ({left} IS NULL AND {right} IS NOT NULL) OR "
            f"(({left} = {right} OR ({left} IS NULL AND {right} IS NULL)) AND {text}))"
        )
    return text


def newest_first(load: Load) -> str:
    """The order in which the newest row of a key stands first."""
    order = [f"{quoted(load.order_by)} DESC NULLS LAST"] if load.order_by else []
    return ", ".join([*order, f"{quoted(SEQUENCE)} DESC"])
