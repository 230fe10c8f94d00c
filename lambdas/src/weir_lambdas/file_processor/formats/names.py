"""Names of columns, as a header has them."""

from __future__ import annotations

from collections.abc import Iterable


def column_names(found: Iterable[str]) -> list[str]:
    """Names as a header has them, trimmed; an empty one becomes ``column3``, and each is another
    one (:func:`distinct`)."""
    return distinct(text.strip() or f"column{place}" for place, text in enumerate(found, 1))


def distinct(found: Iterable[str]) -> list[str]:
    """Names of which no two are the same: a second ``id`` becomes ``id_2``, and so does ``ID``, since
    neither Spark nor Redshift tells them apart."""
    names: dict[str, str] = {}
    for name in found:
        candidate, number = name, 2
        while candidate.lower() in names:
            candidate, number = f"{name}_{number}", number + 1
        names[candidate.lower()] = candidate
    return list(names.values())
