"""What becomes of a batch is decided as Lambda decides it."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir_local.aws.streams import batching
from weir_local.aws.streams.batching import Attempt, Rules


@pytest.mark.parametrize(
    ("answer", "reported"),
    [
        (None, []),
        ({}, []),
        ("", []),
        ({"batchItemFailures": None}, []),
        ({"batchItemFailures": []}, []),
        ({"batchItemFailures": [{"itemIdentifier": "7"}]}, ["7"]),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, None),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, None),
        ({"batchItemFailures": [{"bad": "7"}]}, None),
        ({"batchItemFailures": "7"}, None),
        ("text", None),
    ],
)
def test_an_answer_is_a_success_a_report_or_a_failure(answer: Any, reported: Any) -> None:
    assert batching.identifiers(answer) == reported


def test_the_lowest_identifier_is_the_checkpoint_and_an_unknown_one_fails_all() -> None:
    assert batching.lowest(["c", "b"], "abcd") == 1
    assert batching.lowest(["c", "z"], "abcd") == 0
    assert batching.lowest([], "abcd") is None


def test_a_batch_ends_at_its_size_or_at_its_bytes_but_never_before_one_record() -> None:
    assert batching.cut([10] * 8, 5, 1000) == 5
    assert batching.cut([400] * 8, 5, 1000) == 2
    assert batching.cut([4000, 1], 5, 1000) == 1
    assert batching.cut([], 5) == 0


def test_what_is_too_old_is_given_up_and_the_rest_goes_on() -> None:
    attempt = Attempt((1.0, 2.0, 9.0))
    old, young = batching.outdated(attempt, lambda record: record, 10.0, 5)
    assert (old, young) == (Attempt((1.0, 2.0)), Attempt((9.0,)))
    assert batching.outdated(attempt, lambda record: record, 10.0, -1) == (None, attempt)
    assert batching.outdated(attempt, lambda record: record, 99.0, 5) == (attempt, None)


def drive(size: int, poison: set[int], rules: Rules) -> tuple[list[int], list[list[int]], int]:
    """Take a batch to its end with a function that fails at poison.

    :returns: what was processed in order, what was given up, and the number of invocations
    """
    queue = deque([Attempt(tuple(range(size)))])
    processed: list[int] = []
    given_up: list[list[int]] = []
    calls = 0
    while queue:
        attempt = queue.popleft()
        calls += 1
        bad = next((i for i, each in enumerate(attempt.records) if each in poison), None)
        if bad is not None and not rules.partial:
            step = batching.after_error(attempt, rules)
        else:
            rest = () if bad is None else attempt.records[bad:]
            step = batching.after_success(attempt, rest, rules)
        processed += step.done
        if step.discarded is not None:
            given_up.append(list(step.discarded.records))
        queue.extendleft(reversed(step.again))
    return processed, given_up, calls


@given(
    size=st.integers(1, 60),
    poison=st.sets(st.integers(0, 59), max_size=6),
    retries=st.integers(0, 3),
    partial=st.booleans(),
)
def test_bisecting_loses_nothing_and_gives_up_the_poison_alone(
    size: int, poison: set[int], retries: int, partial: bool
) -> None:
    rules = Rules(retries=retries, bisect=True, partial=partial)
    processed, given_up, _ = drive(size, poison, rules)
    bad = sorted(each for each in poison if each < size)
    assert processed == [each for each in range(size) if each not in poison]
    assert given_up == [[each] for each in bad]


@given(size=st.integers(1, 40), poison=st.integers(0, 39), retries=st.integers(0, 4))
def test_without_bisecting_the_rest_of_the_batch_is_given_up_after_its_retries(
    size: int, poison: int, retries: int
) -> None:
    rules = Rules(retries=retries, partial=True)
    processed, given_up, calls = drive(size, {poison}, rules)
    if poison >= size:
        assert (processed, given_up, calls) == (list(range(size)), [], 1)
    else:
        assert processed == list(range(poison))
        assert given_up == [list(range(poison, size))]
        assert calls == retries + 1
    whole = drive(size, {poison}, replace(rules, partial=False))
    assert whole[1] == ([list(range(size))] if poison < size else [])
