"""Writes the generated pages of docs/, or with ``--check`` says which are stale.

docs/reference.md comes from the models, docs/iam/ from the operator's own policy, docs/metrics.md from
its registry.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from alerts_page import page as alerts_page
from metrics_page import page as metrics_page
from reference import reference

from weir.blueprint import operator_policy

ROOT = Path(__file__).parents[1]


def wanted() -> Iterator[tuple[Path, str]]:
    """Every generated page with its text."""
    yield ROOT / "docs" / "reference.md", reference()
    yield ROOT / "docs" / "metrics.md", metrics_page()
    yield ROOT / "docs" / "alerts.md", alerts_page()
    for name, text in operator_policy.files().items():
        yield ROOT / "docs" / "iam" / name, text


def main() -> int:
    """Write, or compare with ``--check``; 1 where something is stale."""
    check = "--check" in sys.argv[1:]
    stale = []
    for path, text in wanted():
        if path.exists() and path.read_text() == text:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if stale and check:
        sys.stderr.write(f"stale: {', '.join(stale)}; run make generate and commit\n")
        return 1
    if stale:
        sys.stdout.write("written: " + ", ".join(stale) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
