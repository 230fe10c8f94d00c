"""What Flowing says of a run that succeeded."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from weir.reconcile.runs import flowing

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rows", "quarantined", "parts"),
    [
        (3, 0, ["brought 3 rows"]),
        (3, 2, ["brought 3 rows", "2 went to quarantine"]),
        (0, 0, ["no rows", "stays as it is"]),
        (0, 2, ["no rows that keep the contract", "2 went to quarantine"]),
    ],
)
def test_it_says_what_came_and_what_did_not(rows: int, quarantined: int, parts: list[str]) -> None:
    last = {"run": "r", "state": "Succeeded", "rows": rows, "quarantined": quarantined}
    found = flowing(last, "2026-03-01T11:59:00Z", NOW, "rate(1 hour)", False, NOW)
    assert found.status == "True"
    assert all(part in found.message for part in parts)


def test_an_error_that_is_tried_again_is_told_at_once() -> None:
    last = {"run": "r", "state": "Running", "message": "run r, land: SourceUnavailable: 500."}
    found = flowing(last, "2026-03-01T11:59:00Z", NOW, "rate(1 hour)", False, NOW)
    assert (found.status, found.reason) == ("False", "Retrying")
    assert found.message == "run r, land: SourceUnavailable: 500. It is being tried again."
    begun = {"run": "r", "state": "Running"}
    assert flowing(begun, None, NOW, "rate(1 hour)", False, NOW).reason == "NotDue"
