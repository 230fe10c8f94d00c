"""A policy's text is parsed once, and not for each call that it is asked about."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

REMEMBERED = 4096
"""Texts of policies whose statements are kept."""


def install() -> None:
    """Remember what texts say; nobody changes parsed statements."""
    from ministack.core import iam_evaluator

    inner = iam_evaluator.parse_policy_document
    parsed = lru_cache(REMEMBERED)(inner)

    def parse_policy_document(document: str | dict[str, Any]) -> list[Any]:
        found: list[Any] = parsed(document) if isinstance(document, str) else inner(document)
        return found

    iam_evaluator.parse_policy_document = parse_policy_document
