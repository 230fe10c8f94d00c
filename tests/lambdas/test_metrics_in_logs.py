"""Metrics are lines of the log that CloudWatch reads."""

from __future__ import annotations

import json
import time

import pytest

from told_metrics import metrics_in
from weir_lambdas.common.metrics import emit

SOURCE = {"Namespace": "shop", "Source": "orders"}


def test_a_metric_has_its_value_its_unit_and_all_dimensions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    emit("Weir", SOURCE, {"RowsLanded": 3, "LandedBytes": 2_000, "LandSeconds": 0.25})
    (line,) = capsys.readouterr().out.splitlines()
    assert [datum[:5] for datum in metrics_in(line)] == [
        ("Weir", "RowsLanded", SOURCE, 3.0, "Count"),
        ("Weir", "LandedBytes", SOURCE, 2_000.0, "Bytes"),
        ("Weir", "LandSeconds", SOURCE, 0.25, "Seconds"),
    ]


def test_a_metric_has_the_time_at_which_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    before = time.time()
    emit("Weir", SOURCE, {"Landings": 1})
    ((*_, moment),) = metrics_in(capsys.readouterr().out)
    assert before - 0.001 <= moment <= time.time()


def test_a_line_has_no_dimension_of_the_line_before(capsys: pytest.CaptureFixture[str]) -> None:
    emit("Weir", SOURCE, {"Landings": 1})
    emit("Other", {"Queue": "retry"}, {"EventsRecovered": 1})
    first, second = capsys.readouterr().out.splitlines()
    assert [datum[:3] for datum in metrics_in(first)] == [("Weir", "Landings", SOURCE)]
    assert [datum[:3] for datum in metrics_in(second)] == [
        ("Other", "EventsRecovered", {"Queue": "retry"})
    ]
    assert set(json.loads(second)) == {"_aws", "Queue", "EventsRecovered"}
