"""The benchmarks that stand in for AWS still know what the functions ask of it."""

from __future__ import annotations

from benchmarks import ingest_email


def test_a_few_mails_are_measured() -> None:
    assert ingest_email.measure(3)["email_messages_per_s"] > 0
