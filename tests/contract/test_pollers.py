"""What Lambda's pollers say of a source, and what of it concerns the source."""

from __future__ import annotations

import pytest

from weir_contract.pollers import advised, trouble

ARN = "arn:aws:kinesis:eu-central-1:111122223333:stream/clicks"
SAID = {
    "OK": "",
    "No records processed": "",
    "PROBLEM: Function call failed": "",
    "PROBLEM: SASL authentication failed.": "SASL authentication failed.",
    "PROBLEM: Cluster failed to authorize Lambda.": "Cluster failed to authorize Lambda.",
}


@pytest.mark.parametrize(
    ("source", "place"),
    [({"Topics": ["orders"]}, "the topic orders"), ({"EventSourceArn": ARN}, ARN)],
)
@pytest.mark.parametrize("said", SAID)
def test_what_keeps_them_from_reading_is_told_what_they_say_of_functions_is_not(
    said: str, source: dict[str, str], place: str
) -> None:
    mapping = {"State": "Enabled", "LastProcessingResult": said, **source}
    words = SAID[said]
    assert trouble(mapping) == (f"{place}: Lambda's pollers say: {words}" if words else "")


def test_a_mapping_that_is_switched_off_or_has_not_polled_yet_has_no_problem() -> None:
    problem = {"State": "Disabled", "LastProcessingResult": "PROBLEM: SASL authentication failed."}
    assert trouble(problem) == ""
    assert trouble({"State": "Enabled"}) == ""


def test_a_problem_is_told_with_what_to_do() -> None:
    assert advised("the topic a: no.").startswith("the topic a: no. Check who reads")
