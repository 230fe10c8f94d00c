"""What tests of ``weir convert`` ask of its results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weir.cli.convert import convert_file, to_yaml
from weir.cli.documents import read_text
from weir.cli.validate import problems


def converted(tmp_path: Path, name: str, text: str) -> dict[str, Any]:
    """What a file of this text comes to, by the name of the DataSource."""
    file = tmp_path / name
    file.write_text(text)
    return {item.resource["metadata"]["name"]: item for item in convert_file(file)}


def api_of(item: Any) -> dict[str, Any]:
    """``spec.source.restApi`` of a result."""
    found: dict[str, Any] = item.resource["spec"]["source"]["restApi"]
    return found


def assert_valid(item: Any) -> None:
    """A result is a document that ``weir validate`` has nothing against."""
    (document,) = read_text(to_yaml(item.resource))
    assert [problem.message for problem in problems(document)] == []
