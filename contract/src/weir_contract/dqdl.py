"""DQDL, the language of Glue Data Quality: text to rules and back.

Source: AWS Glue User Guide, *Data Quality Definition Language (DQDL) reference*. Weir evaluates the
rules with its own Spark code (``weir_glue.validation``); the parser stands here so that the API's
checks and ``weir validate`` read rules exactly as the job does.

A rule is ``Type "column".. [condition] [where "filter"] [with threshold condition]``; rules combine
as ``(rule) and (rule)``, ``(rule) or (rule)``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

from weir_contract.codec import ContractError

Comparison = Literal["=", "!=", ">", ">=", "<", "<=", "between", "in", "matches"]
Unit = Literal["minutes", "hours", "days", "weeks"]
Keyword = Literal["NULL", "EMPTY", "WHITESPACES_ONLY"]


@dataclass(frozen=True)
class Number:
    """A number, exact."""

    value: Decimal

    def __str__(self) -> str:
        return format(self.value, "f")


@dataclass(frozen=True)
class Text:
    """A quoted text; where the column is a date or timestamp, ISO 8601."""

    value: str

    def __str__(self) -> str:
        return quote(self.value)


@dataclass(frozen=True)
class Missing:
    """``NULL``, ``EMPTY`` (the empty text) or ``WHITESPACES_ONLY``."""

    keyword: Keyword

    def __str__(self) -> str:
        return self.keyword


@dataclass(frozen=True)
class Now:
    """``now()``, or ``(now() - 3 days)``: ``amount`` is signed, in ``unit``."""

    amount: int = 0
    unit: Unit = "days"

    def __str__(self) -> str:
        if not self.amount:
            return "now()"
        return f"(now() {'+' if self.amount > 0 else '-'} {abs(self.amount)} {self.unit})"


Operand: TypeAlias = Number | Text | Missing | Now


@dataclass(frozen=True)
class Condition:
    """A comparison with its operands: two for ``between``, any number for ``in``, else one."""

    comparison: Comparison
    operands: tuple[Operand, ...]
    negated: bool = False

    def __str__(self) -> str:
        no = "not " if self.negated else ""
        if self.comparison == "between":
            return f"{no}between {self.operands[0]} and {self.operands[1]}"
        if self.comparison == "in":
            return f"{no}in [{', '.join(map(str, self.operands))}]"
        return f"{no}{self.comparison} {self.operands[0]}"


@dataclass(frozen=True)
class Rule:
    """One rule. ``where`` is a Spark SQL filter: the rule sees only the rows for which it holds."""

    type: str
    parameters: tuple[str, ...] = ()
    condition: Condition | None = None
    where: str | None = None
    threshold: Condition | None = None

    def __str__(self) -> str:
        words = [self.type, *map(quote, self.parameters)]
        if self.condition:
            words.append(str(self.condition))
        if self.where is not None:
            words.append(f"where {quote(self.where)}")
        if self.threshold:
            words.append(f"with threshold {self.threshold}")
        return " ".join(words)


@dataclass(frozen=True)
class Composite:
    """Rules joined by ``and`` or ``or``; mixed ones nest in parentheses."""

    operator: Literal["and", "or"]
    parts: tuple[Rule | Composite, ...]

    def __str__(self) -> str:
        return f" {self.operator} ".join(f"({part})" for part in self.parts)


Node: TypeAlias = Rule | Composite


@dataclass(frozen=True)
class Signature:
    """What a rule type takes. ``columns`` are (least, most); ``rowwise``: rows can be blamed."""

    columns: tuple[int, int]
    condition: Literal["never", "must", "may"]
    rowwise: bool = False


ANY = 64
RULE_TYPES: Mapping[str, Signature] = {
    "IsComplete": Signature((1, 1), "never", True),
    "Completeness": Signature((1, 1), "must", True),
    "IsUnique": Signature((1, ANY), "never", True),
    "Uniqueness": Signature((1, ANY), "must", True),
    "IsPrimaryKey": Signature((1, ANY), "never", True),
    "ColumnValues": Signature((1, 1), "must", True),
    "ColumnLength": Signature((1, 1), "must", True),
    "ColumnDataType": Signature((1, 1), "must", True),
    "ColumnExists": Signature((1, 1), "never"),
    "ColumnCount": Signature((0, 0), "must"),
    "ColumnNamesMatchPattern": Signature((1, 1), "never"),
    "RowCount": Signature((0, 0), "must"),
    "Mean": Signature((1, 1), "must"),
    "Sum": Signature((1, 1), "must"),
    "StandardDeviation": Signature((1, 1), "must"),
    "Min": Signature((1, 1), "must"),
    "Max": Signature((1, 1), "must"),
    "ColumnCorrelation": Signature((2, 2), "must"),
    "DistinctValuesCount": Signature((1, 1), "must"),
    "UniqueValueRatio": Signature((1, 1), "must"),
}
"""The rule types that Weir evaluates. ``Min`` and ``Max`` are Weir's own, beside DQDL's."""

REFUSED_TYPES: Mapping[str, str] = {
    "CustomSql": "write the query as a transform's sql step, then validate its columns",
    "ReferentialIntegrity": "join the other source in a transform, then use IsComplete",
    "DatasetMatch": "join the other source in a transform, then use ColumnValues",
    "RowCountMatch": "Weir validates one data set at a time",
    "AggregateMatch": "Weir validates one data set at a time",
    "SchemaMatch": "the schema of the source is the contract; state it there",
    "DataFreshness": 'use ColumnValues "column" > (now() - 3 days)',
    "DetectAnomalies": "it needs Glue's own statistics; set bounds with Mean, Sum or RowCount",
    "Entropy": "use DistinctValuesCount or Uniqueness",
    "FileFreshness": "files are checked when they land, not here",
    "FileMatch": "files are checked when they land, not here",
    "FileSize": "files are checked when they land, not here",
    "FileUniqueness": "files are checked when they land, not here",
}
"""DQDL's other rule types, each with what to do instead."""

_CANONICAL = {name.lower(): name for name in (*RULE_TYPES, *REFUSED_TYPES)}
_UNITS: Mapping[str, Unit] = {
    "minute": "minutes",
    "minutes": "minutes",
    "hour": "hours",
    "hours": "hours",
    "day": "days",
    "days": "days",
    "week": "weeks",
    "weeks": "weeks",
}
_MISSING: tuple[Keyword, ...] = ("NULL", "EMPTY", "WHITESPACES_ONLY")
_TOKEN = re.compile(
    r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<text>"(?:[^"\\]|\\.)*")
  | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+))
  | (?P<word>[A-Za-z_]\w*)
  | (?P<sign>!=|>=|<=|[=<>()\[\],+-])
    """,
    re.VERBOSE | re.DOTALL,
)


class DqdlError(ContractError):
    """A text is no rule that Weir evaluates; the message says where and what to write."""


def quote(text: str) -> str:
    """A DQDL text literal: double quotes; quotes and backslashes inside are escaped."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_rule(text: str) -> Node:
    """Parse one rule or one composite of rules.

    Raises
    ------
    DqdlError
        It is no rule; the message has the position (characters from 1) and what was expected.
    """
    reader = _Reader(text)
    node = reader.node()
    reader.end()
    return node


def parse_rules(text: str) -> tuple[Node, ...]:
    """Parse a rule set, ``Rules = [ rule, rule, .. ]``, or rules one after the other with commas.

    Raises
    ------
    DqdlError
        It is no rule set.
    """
    reader = _Reader(text)
    bracket = reader.take_word("rules")
    if bracket:
        reader.expect("=")
        reader.expect("[")
    nodes = [reader.node()]
    while reader.take(","):
        nodes.append(reader.node())
    if bracket:
        reader.expect("]")
    reader.end()
    return tuple(nodes)


def check_rule(text: str) -> list[str]:
    """What is wrong with a rule, for people: syntax, and the SQL of its ``where`` filters."""
    from weir_contract.expressions import check_expression

    try:
        node = parse_rule(text)
    except DqdlError as error:
        return [str(error)]
    return [
        f"in where {rule.where!r}: {problem}"
        for rule in leaves(node)
        if rule.where is not None
        for problem in check_expression(rule.where)
    ]


def leaves(node: Node) -> Iterator[Rule]:
    """The rules inside a node, from left to right."""
    if isinstance(node, Rule):
        yield node
    else:
        for part in node.parts:
            yield from leaves(part)


class _Reader:
    """A cursor over a rule's tokens."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, int]] = []
        self.at = 0
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                what = "a quote is not closed" if text[position] == '"' else "unexpected character"
                raise DqdlError(f"at {position + 1}: {what}: {text[position : position + 20]!r}")
            if match.lastgroup != "space":
                self.tokens.append((match.lastgroup or "", match.group(), position + 1))
            position = match.end()
        self.tokens.append(("end", "", len(text) + 1))

    @property
    def kind(self) -> str:
        return self.tokens[self.at][0]

    @property
    def value(self) -> str:
        return self.tokens[self.at][1]

    def fail(self, expected: str) -> DqdlError:
        found = repr(self.value) if self.value else "the end"
        return DqdlError(f"at {self.tokens[self.at][2]}: expected {expected}, found {found}")

    def next(self) -> str:
        value = self.value
        self.at += 1
        return value

    def take(self, sign: str) -> bool:
        if self.kind == "sign" and self.value == sign:
            self.at += 1
            return True
        return False

    def take_word(self, word: str) -> bool:
        if self.kind == "word" and self.value.lower() == word:
            self.at += 1
            return True
        return False

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            raise self.fail(f"{sign!r}")

    def end(self) -> None:
        if self.kind != "end":
            raise self.fail("the end of the rule")

    def node(self) -> Node:
        if not self.take("("):
            return self.rule()
        parts = [self.node()]
        self.expect(")")
        operator: Literal["and", "or"] | None = None
        while self.kind == "word" and self.value.lower() in ("and", "or"):
            found: Literal["and", "or"] = "and" if self.next().lower() == "and" else "or"
            if operator not in (None, found):
                raise self.fail("parentheses around rules that mix 'and' with 'or'")
            operator = found
            self.expect("(")
            parts.append(self.node())
            self.expect(")")
        return Composite(operator, tuple(parts)) if operator else parts[0]

    def rule(self) -> Rule:
        start = self.tokens[self.at][2]
        if self.kind != "word":
            raise self.fail("a rule type such as IsComplete")
        word = self.next()
        name = _CANONICAL.get(word.lower())
        if name is None:
            raise DqdlError(f"at {start}: no rule type {word!r}; there are {', '.join(RULE_TYPES)}")
        if name in REFUSED_TYPES:
            raise DqdlError(f"at {start}: Weir does not evaluate {name}: {REFUSED_TYPES[name]}")
        parameters = []
        while self.kind == "text":
            parameters.append(self.text())
        condition = self.condition() if self.starts_condition() else None
        where = threshold = None
        if self.take_word("where"):
            if self.kind != "text":
                raise self.fail("a filter in double quotes after 'where'")
            where = self.text()
        if self.take_word("with"):
            if not self.take_word("threshold"):
                raise self.fail("'threshold'")
            threshold = self.condition()
            if any(not isinstance(item, Number) for item in threshold.operands):
                raise DqdlError(f"at {start}: a threshold is a number from 0 to 1")
        rule = Rule(name, tuple(parameters), condition, where, threshold)
        self.check(rule, start)
        return rule

    def check(self, rule: Rule, start: int) -> None:
        signature = RULE_TYPES[rule.type]
        least, most = signature.columns
        if not least <= len(rule.parameters) <= most:
            wanted = str(least) if least == most else f"{least} or more"
            raise DqdlError(
                f"at {start}: {rule.type} takes {wanted} names in double quotes, "
                f"found {len(rule.parameters)}"
            )
        if signature.condition == "must" and rule.condition is None:
            raise DqdlError(f"at {start}: {rule.type} needs a condition, such as > 0.9")
        if signature.condition == "never" and rule.condition is not None:
            raise DqdlError(f"at {start}: {rule.type} takes no condition")
        if rule.threshold is not None and not signature.rowwise:
            raise DqdlError(f"at {start}: {rule.type} takes no threshold: it is not about rows")
        measured = rule.type not in ("ColumnValues", "ColumnDataType", "Min", "Max")
        if measured and rule.condition is not None:
            operands = rule.condition.operands
            if rule.condition.comparison == "matches" or any(
                not isinstance(item, Number) for item in operands
            ):
                raise DqdlError(f"at {start}: {rule.type} is compared with numbers")

    def text(self) -> str:
        return re.sub(r'\\(["\\])', r"\1", self.next()[1:-1])

    def starts_condition(self) -> bool:
        if self.kind == "sign":
            return self.value in ("=", "!=", ">", ">=", "<", "<=")
        return self.kind == "word" and self.value.lower() in ("not", "between", "in", "matches")

    def condition(self) -> Condition:
        signs: tuple[Comparison, ...] = ("=", "!=", ">", ">=", "<", "<=")
        for sign in signs:
            if self.take(sign):
                return Condition(sign, (self.operand(),))
        negated = self.take_word("not")
        if self.take_word("between"):
            low = self.operand()
            if not self.take_word("and"):
                raise self.fail("'and' between the two bounds")
            return Condition("between", (low, self.operand()), negated)
        if self.take_word("in"):
            self.expect("[")
            items = [self.operand()]
            while self.take(","):
                items.append(self.operand())
            self.expect("]")
            return Condition("in", tuple(items), negated)
        if self.take_word("matches"):
            if self.kind != "text":
                raise self.fail("a regular expression in double quotes")
            pattern = self.text()
            try:
                re.compile(pattern)
            except re.error as error:
                raise DqdlError(f"the regular expression {pattern!r} is wrong: {error}") from error
            return Condition("matches", (Text(pattern),), negated)
        raise self.fail("a condition: =, !=, >, >=, <, <=, between, in or matches")

    def operand(self) -> Operand:
        if self.kind == "number":
            return Number(Decimal(self.next()))
        if self.kind == "text":
            return Text(self.text())
        for keyword in _MISSING:
            if self.take_word(keyword.lower()):
                return Missing(keyword)
        parenthesis = self.take("(")
        if not self.take_word("now"):
            raise self.fail("a number, a text in double quotes, NULL, EMPTY or now()")
        self.expect("(")
        self.expect(")")
        if not parenthesis:
            return Now()
        now = self.offset()
        self.expect(")")
        return now

    def offset(self) -> Now:
        if self.kind == "number" and self.value[0] in "+-":
            amount = self.next()
        elif self.kind == "sign" and self.value in "+-":
            amount = self.next()
            if self.kind != "number" or not self.value.isdigit():
                raise self.fail("a whole number")
            amount += self.next()
        else:
            return Now()
        if not re.fullmatch(r"[+-]\d+", amount):
            raise self.fail("a whole number before the unit")
        unit = _UNITS.get(self.value.lower()) if self.kind == "word" else None
        if unit is None:
            raise self.fail("minutes, hours, days or weeks")
        self.next()
        return Now(int(amount), unit) if int(amount) else Now()
