"""DQDL rules over a data frame: all of them measured in one pass.

Each rule becomes a few aggregates. Rules about uniqueness add one window column for each set of
columns. A rule about rows also gives a column that says whether a row breaks it, so that a failed
rule's rows can be taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import reduce
from operator import and_, or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    FractionalType,
    IntegralType,
    StringType,
    TimestampType,
)
from pyspark.sql.window import Window

from weir_contract.dqdl import (
    Composite,
    Condition,
    Missing,
    Node,
    Now,
    Number,
    Rule,
    Text,
    leaves,
    parse_rule,
)
from weir_contract.rows import Field
from weir_contract.runs import QualityResult
from weir_glue.common.account import count_where
from weir_glue.common.casts import cast_text
from weir_glue.common.columns import REASON, column, data_columns, find
from weir_glue.transformation.sql import expression

TYPES = {
    "integer": (IntegralType,),
    "long": (IntegralType,),
    "decimal": (DecimalType, IntegralType),
    "double": (FractionalType, IntegralType),
    "boolean": (BooleanType,),
    "date": (DateType,),
    "timestamp": (TimestampType,),
    "string": (StringType,),
}
"""DQDL's type names (lower case) -> Spark types that satisfy them as they are."""
_TEXT_TYPES = {
    "integer": "integer",
    "long": "integer",
    "decimal": "decimal(38,10)",
    "double": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}
"""DQDL's type names -> type expressions that a text column's values are tried against."""


@dataclass
class Check:
    """One rule, compiled: what to aggregate, and which rows break it."""

    rule: Rule
    measures: dict[str, Column] = field(default_factory=dict)
    broken: Column | None = None
    constant: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """Results by rule, in the rules' order, and the rows that broke a failed rule.

    ``broken`` has, for each failed rule about rows, its text and the condition that finds them in
    ``rows`` (the input with helper columns).
    """

    results: tuple[QualityResult, ...]
    rows: DataFrame
    broken: tuple[tuple[str, Column], ...]

    @property
    def passed(self) -> bool:
        """Whether every rule holds."""
        return all(item.passed for item in self.results)


def evaluate(df: DataFrame, rules: Sequence[str], where: str = "validate") -> Evaluation:
    """Measure every rule in one pass over the rows.

    Raises
    ------
    DqdlError
        A text is no rule.
    ColumnMissing
        A rule names a column that is not there (``ColumnExists`` asks, and does not raise).
    """
    nodes = [parse_rule(text) for text in rules]
    builder = _Builder(df, where)
    checks = [[builder.check(rule) for rule in leaves(node)] for node in nodes]
    measures: dict[str, Column] = {"_rows": F.count(F.lit(1))}
    for group in checks:
        for check in group:
            measures.update(check.measures)
    row = builder.rows.agg(*[value.alias(key) for key, value in measures.items()]).first()
    measured = row.asDict() if row is not None else {}
    results, broken = [], []
    for text, node, group in zip(rules, nodes, checks, strict=True):
        outcomes = {id(check.rule): _outcome(check, measured) for check in group}
        by_rule = [(check, *outcomes[id(check.rule)]) for check in group]
        passed = _verdict(node, {id(check.rule): ok for check, ok, _ in by_rule})
        values = ", ".join(value for _, _, value in by_rule)
        results.append(QualityResult(text, passed, values))
        condition = None if passed else _blame(node, {id(c.rule): c for c in group})
        if condition is not None:
            broken.append((text, condition))
    return Evaluation(tuple(results), builder.rows, tuple(broken))


def flag(evaluation: Evaluation) -> DataFrame:
    """The rows with :data:`REASON`: the failed rules that each breaks, or null."""
    faults = [F.when(condition, F.lit(f"breaks {text}")) for text, condition in evaluation.broken]
    reason = F.concat_ws("; ", *faults)
    helpers = [name for name in evaluation.rows.columns if name.startswith("_weir_n")]
    return evaluation.rows.withColumn(REASON, F.when(reason != "", reason)).drop(*helpers)


class _Builder:
    """Compiles rules; collects the helper columns that they need."""

    def __init__(self, df: DataFrame, where: str) -> None:
        self.df = df
        self.rows = df
        self.where = where
        self.count = 0
        self.windows: dict[tuple[tuple[str, ...], str | None], str] = {}

    def check(self, rule: Rule) -> Check:
        self.count += 1
        key = f"m{self.count}"
        if rule.type in ("ColumnExists", "ColumnCount", "ColumnNamesMatchPattern"):
            return Check(rule, constant=self.about_columns(rule))
        scope = expression(rule.where, f"{self.where}, {rule.type}") if rule.where else F.lit(True)
        scope = F.coalesce(scope, F.lit(False))
        if rule.type == "RowCount":
            return Check(rule, {f"{key}_value": count_where(scope)})
        names = find(self.df, rule.parameters, f"stage {self.where}, rule {rule.type}")
        if rule.type in _STATISTICS:
            value = _STATISTICS[rule.type](*[F.when(scope, column(name)) for name in names])
            return Check(rule, {f"{key}_value": value})
        if rule.type in ("UniqueValueRatio",):
            times = self.times(names, rule.where, scope)
            single = F.sum(F.when(scope & (F.col(times) == 1), 1).otherwise(0))
            value = single / F.count_distinct(F.when(scope, column(names[0])))
            return Check(rule, {f"{key}_value": value})
        bad, among = self.row_condition(rule, names, scope)
        broken = scope & among & F.coalesce(bad, F.lit(True))
        measures = {
            f"{key}_bad": count_where(broken),
            f"{key}_of": count_where(scope & among),
        }
        return Check(rule, measures, broken)

    def about_columns(self, rule: Rule) -> float:
        names = data_columns(self.df)
        if rule.type == "ColumnCount":
            return len(names)
        if rule.type == "ColumnExists":
            return float(rule.parameters[0].lower() in {name.lower() for name in names})
        import re

        return float(all(re.fullmatch(rule.parameters[0], name) for name in names))

    def times(self, names: Sequence[str], where: str | None, scope: Column) -> str:
        """A column that says how often a row's values occur (null: they are not complete)."""
        key = (tuple(names), where)
        if key not in self.windows:
            helper = f"_weir_n{len(self.windows)}"
            counted = scope & reduce(and_, [column(name).isNotNull() for name in names])
            window = Window.partitionBy(*[column(name) for name in names])
            self.rows = self.rows.withColumn(
                helper, F.when(counted, F.sum(F.when(counted, 1)).over(window))
            )
            self.windows[key] = helper
        return self.windows[key]

    def row_condition(
        self, rule: Rule, names: Sequence[str], scope: Column
    ) -> tuple[Column, Column]:
        """Which rows break the rule, and among which rows it is measured."""
        everywhere = F.lit(True)
        value = column(names[0])
        kind = self.df.schema[names[0]].dataType
        if rule.type in ("IsComplete", "Completeness"):
            return value.isNull(), everywhere
        if rule.type in ("IsUnique", "Uniqueness", "IsPrimaryKey"):
            times = F.col(self.times(names, rule.where, scope))
            if rule.type == "IsPrimaryKey":
                return F.coalesce(times != 1, F.lit(True)), everywhere
            return times != 1, times.isNotNull()
        assert rule.condition is not None
        if rule.type == "ColumnLength":
            held = _holds(F.length(value.cast("string")), rule.condition, _INT)
            return ~held, everywhere
        if rule.type == "ColumnDataType":
            return self.wrong_type(rule, value, kind), value.isNotNull()
        return ~_holds(value, rule.condition, kind), everywhere

    def wrong_type(self, rule: Rule, value: Column, kind: DataType) -> Column:
        assert rule.condition is not None
        fits = F.lit(False)
        for operand in rule.condition.operands:
            name = operand.value.lower() if isinstance(operand, Text) else str(operand).lower()
            if isinstance(kind, TYPES.get(name, ())):
                fits = F.lit(True)
            elif isinstance(kind, StringType) and name in _TEXT_TYPES:
                fits = fits | ~cast_text(value, Field("value", "value", _TEXT_TYPES[name])).misfit
        negated = rule.condition.negated != (rule.condition.comparison == "!=")
        return fits if negated else ~fits


_INT = IntegralType()
_STATISTICS = {
    "Mean": F.avg,
    "Sum": F.sum,
    "StandardDeviation": F.stddev_pop,
    "Min": F.min,
    "Max": F.max,
    "ColumnCorrelation": F.corr,
    "DistinctValuesCount": F.count_distinct,
}


def _outcome(check: Check, measured: dict[str, object]) -> tuple[bool, str]:
    """Whether a rule holds, and what was measured, as text without row content."""
    rule = check.rule
    if check.constant is not None:
        if rule.condition is None:
            return bool(check.constant), "yes" if check.constant else "no"
        return compare(Decimal(str(check.constant)), rule.condition), f"{check.constant:g}"
    key = next(iter(check.measures)).rsplit("_", 1)[0]
    if f"{key}_value" in measured:
        value = measured[f"{key}_value"]
        if value is None:
            return False, "no values"
        assert rule.condition is not None
        shown = "" if rule.type in ("Min", "Max") else f"{value}"
        if isinstance(value, (int, float, Decimal)):
            return compare(Decimal(str(value)), rule.condition), shown
        return _compare_value(value, rule.condition), shown
    bad, total = int(str(measured[f"{key}_bad"])), int(str(measured[f"{key}_of"]))
    ratio = Decimal(total - bad) / Decimal(total) if total else Decimal(1)
    shown = f"{bad} of {total} rows break it"
    if rule.threshold is not None:
        return compare(ratio, rule.threshold), shown
    if rule.type in ("Completeness", "Uniqueness"):
        assert rule.condition is not None
        return compare(ratio, rule.condition), f"{ratio:.6f}"
    return bad == 0, shown


def _verdict(node: Node, passed: dict[int, bool]) -> bool:
    if isinstance(node, Rule):
        return passed[id(node)]
    parts = [_verdict(part, passed) for part in node.parts]
    return all(parts) if node.operator == "and" else any(parts)


def _blame(node: Node, checks: dict[int, Check]) -> Column | None:
    """The rows that break a node: of ``and`` any part's, of ``or`` those that break every part."""
    if isinstance(node, Rule):
        return checks[id(node)].broken
    assert isinstance(node, Composite)
    parts = [found for part in node.parts if (found := _blame(part, checks)) is not None]
    if not parts or (node.operator == "or" and len(parts) < len(node.parts)):
        return None
    return reduce(or_ if node.operator == "and" else and_, parts)


def compare(value: Decimal, condition: Condition) -> bool:
    """Whether a number meets a condition."""
    numbers = [item.value for item in condition.operands if isinstance(item, Number)]
    if condition.comparison == "in":
        found = value in numbers
    elif condition.comparison == "between":
        found = numbers[0] < value < numbers[1]
    else:
        found = _SIGNS[condition.comparison](value, numbers[0])
    return found != condition.negated


_SIGNS = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
}


def _compare_value(value: object, condition: Condition) -> bool:
    """Whether a text, date or time meets a condition; compared as ISO 8601 text."""
    text = str(value)
    operands = [item.value for item in condition.operands if isinstance(item, Text)]
    if condition.comparison == "in":
        return (text in operands) != condition.negated
    if condition.comparison == "between":
        return (operands[0] < text < operands[1]) != condition.negated
    return bool(operands) and bool(_SIGNS[condition.comparison](text, operands[0]))


def _holds(value: Column, condition: Condition, kind: DataType) -> Column:
    """Whether a row's value meets a condition; never null. A null value meets ``NULL`` only."""
    if condition.comparison == "in":
        found = reduce(or_, [_equals(value, item, kind) for item in condition.operands])
    elif condition.comparison == "between":
        low, high = (_literal(item, kind) for item in condition.operands)
        found = (value > low) & (value < high)
    elif condition.comparison == "matches":
        operand = condition.operands[0]
        pattern = operand.value if isinstance(operand, Text) else str(operand)
        found = value.cast("string").rlike(f"^(?:{pattern})$")
    elif condition.comparison in ("=", "!="):
        found = _equals(value, condition.operands[0], kind)
        if condition.comparison == "!=":
            found = ~found
    else:
        found = _SIGNS[condition.comparison](value, _literal(condition.operands[0], kind))
    if condition.negated:
        found = ~found
    return F.coalesce(found, F.lit(False))


def _equals(value: Column, operand: object, kind: DataType) -> Column:
    if isinstance(operand, Missing):
        return {
            "NULL": value.isNull(),
            "EMPTY": F.coalesce(value.cast("string") == "", F.lit(False)),
            "WHITESPACES_ONLY": F.coalesce(value.cast("string").rlike(r"^\s+$"), F.lit(False)),
        }[operand.keyword]
    return F.coalesce(value == _literal(operand, kind), F.lit(False))


def _literal(operand: object, kind: DataType) -> Column:
    if isinstance(operand, Number):
        if isinstance(kind, StringType):
            return F.lit(str(operand))
        return F.lit(operand.value)
    if isinstance(operand, Now):
        shifted = F.expr(f"current_timestamp() + interval {operand.amount} {operand.unit}")
        return shifted.cast("date") if isinstance(kind, DateType) else shifted
    assert isinstance(operand, Text), "the parser gives numbers, texts, times and NULL"
    text = F.lit(operand.value)
    return text.cast(kind) if not isinstance(kind, StringType) else text
