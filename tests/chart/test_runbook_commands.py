"""What a runbook tells somebody to type at night, kubectl takes as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from shlex import split

import pytest

from weir_local.cluster import ControlPlane, run

pytestmark = pytest.mark.cluster

RUNBOOKS = Path(__file__).resolve().parents[2] / "docs" / "runbooks"
QUERY = re.compile(r"^(kubectl get (?:dsrc|pipe|plat|events)\b.*)$", re.MULTILINE)
COMMANDS = [
    pytest.param(command, id=f"{page.stem}-{number}")
    for page in sorted(RUNBOOKS.glob("*.md"))
    for number, command in enumerate(QUERY.findall(page.read_text()))
    if "NAME" not in split(command)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_its_query_is_taken_by_kubectl(cluster: ControlPlane, command: str) -> None:
    asked, *rest = split(command, comments=True)
    assert asked == "kubectl"
    words = rest[: rest.index("|")] if "|" in rest else rest
    done = run(cluster, "kubectl", *words, check=False)
    assert done.returncode == 0, done.stderr[:500]
