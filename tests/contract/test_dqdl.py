"""DQDL: what is a rule, what is refused, and that text and rules say the same."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_contract.compile import contract_rules
from weir_contract.dqdl import (
    RULE_TYPES,
    Composite,
    Condition,
    DqdlError,
    Missing,
    Node,
    Now,
    Number,
    Rule,
    Text,
    check_rule,
    leaves,
    parse_rule,
    parse_rules,
)
from weir_contract.rows import Field

numbers = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-9999).map(
    lambda value: Number(Decimal(format(value, "f")))
)
texts = st.text(max_size=12).map(Text)
moments = st.builds(
    Now, st.integers(-500, 500).filter(bool), st.sampled_from(["minutes", "hours", "days", "weeks"])
) | st.just(Now())
missing = st.sampled_from(["NULL", "EMPTY", "WHITESPACES_ONLY"]).map(Missing)


def conditions(operands: st.SearchStrategy) -> st.SearchStrategy[Condition]:
    one = st.builds(
        Condition, st.sampled_from(["=", "!=", ">", ">=", "<", "<="]), st.tuples(operands)
    )
    two = st.builds(Condition, st.just("between"), st.tuples(operands, operands), st.booleans())
    many = st.builds(
        Condition,
        st.just("in"),
        st.lists(operands, min_size=1, max_size=4).map(tuple),
        st.booleans(),
    )
    return one | two | many


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    name = draw(st.sampled_from(sorted(RULE_TYPES)))
    signature = RULE_TYPES[name]
    least, most = signature.columns
    count = draw(st.integers(least, min(most, 3)))
    any_operand = name in ("ColumnValues", "ColumnDataType", "Min", "Max")
    condition = None
    if signature.condition == "must":
        condition = draw(
            conditions(numbers | texts | moments | missing if any_operand else numbers)
        )
    threshold = draw(st.none() | conditions(numbers)) if signature.rowwise else None
    return Rule(
        name,
        tuple(draw(st.lists(st.text(max_size=8), min_size=count, max_size=count))),
        condition,
        draw(st.none() | st.text(max_size=12)),
        threshold,
    )


def composites(parts: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.builds(
        Composite,
        st.sampled_from(["and", "or"]),
        st.lists(parts, min_size=2, max_size=3).map(tuple),
    )


@given(st.recursive(rules(), composites, max_leaves=5))
def test_a_rule_written_out_reads_back_the_same(node: Node) -> None:
    assert parse_rule(str(node)) == node


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_a_readable_error(text: str) -> None:
    try:
        parse_rule(text)
    except DqdlError as error:
        assert str(error)


def test_the_forms_of_the_reference_are_read() -> None:
    text = """
    Rules = [
        IsComplete "id",  # a comment
        Uniqueness "a" "b" > 0.9,
        ColumnValues "day" > (now() - 3 days),
        ColumnValues "c" in ["x", NULL] where "n > 1" with threshold > 0.98,
        (RowCount between 1 and 10) or (isunique "id")
    ]
    """
    parsed = parse_rules(text)
    assert [leaf.type for node in parsed for leaf in leaves(node)] == [
        "IsComplete",
        "Uniqueness",
        "ColumnValues",
        "ColumnValues",
        "RowCount",
        "IsUnique",
    ]
    assert parsed[2] == Rule("ColumnValues", ("day",), Condition(">", (Now(-3, "days"),)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a rule type"),
        ('IsCompleet "a"', "no rule type 'IsCompleet'"),
        ("IsComplete", "takes 1 names"),
        ('IsComplete "a" > 1', "takes no condition"),
        ('Completeness "a"', "needs a condition"),
        ('Completeness "a" > "x"', "compared with numbers"),
        ("RowCount > 1 with threshold > 0.5", "no threshold"),
        ('CustomSql "select 1" > 1', "sql step"),
        ('IsComplete "a', "not closed"),
        ('(IsComplete "a") and (IsComplete "b") or (IsComplete "c")', "mix"),
        ('ColumnValues "a" matches "("', "regular expression"),
        ('IsComplete "a" IsComplete "b"', "the end"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(DqdlError, match=says.replace("(", r"\(")):
        parse_rule(text)


def test_the_filter_of_a_rule_goes_through_the_same_check_as_all_sql() -> None:
    assert "reflect" in check_rule("""RowCount > 1 where "reflect('a', 'b')" """)[0]
    assert check_rule('RowCount > 1 where "a > 1"') == []


def test_the_rules_that_a_contract_implies_can_be_read() -> None:
    fields = [Field("id", "id", "integer", nullable=False), Field("b", "b", "string")]
    for rule in contract_rules(fields, ["id", "b"]):
        parse_rule(rule)
