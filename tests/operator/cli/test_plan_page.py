"""docs/plan.md names what the command has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import typer
import yaml

from weir.cli import app
from weir.cli.plan_report import SIGNS, WORDS
from weir.reconcile.plan import Verb
from weir.reconcile.unknowns import TEXT

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "plan.md").read_text()


def options() -> set[str]:
    command: Any = typer.main.get_command(app)
    return {name for one in command.commands["plan"].params for name in one.opts}


def test_every_option_that_the_page_uses_exists_and_every_one_is_told() -> None:
    lines = re.findall(r"weir plan ([^`\n]*)", PAGE)
    used = {word for line in lines for word in line.split() if re.fullmatch(r"--?[a-z]+", word)}
    assert used and used <= options() | {"-e"}
    assert {name for name in options() if name.startswith("--") and f"`{name}" not in PAGE} <= {
        "--file", "--namespace", "--output",
    }  # fmt: skip


def test_every_sign_has_its_row() -> None:
    for verb in set(Verb) - {Verb.NONE}:
        assert re.search(rf"^\| `{re.escape(SIGNS[verb])}` \| {WORDS[verb]}", PAGE, re.MULTILINE)
    assert TEXT in PAGE


def test_every_field_of_the_json_is_named() -> None:
    schema = json.loads((DOCS / "plan.schema.json").read_text())
    fields = set(schema["properties"]) | set(schema["$defs"]["object"]["properties"])
    for name in ("action", "change", "interruption"):
        fields |= set(schema["$defs"][name]["properties"])
    assert {name for name in fields if f"`{name}" not in PAGE} == {"objects", "actions"} - {
        name for name in ("objects", "actions") if f"`{name}" in PAGE
    }
    assert schema["properties"]["schema"]["const"] in PAGE


def test_the_workflow_is_yaml_and_fetches_what_diff_needs() -> None:
    block = re.search(r"```yaml\n(name: plan.*?)```", PAGE, re.DOTALL)
    assert block
    workflow = yaml.safe_load(block[1])
    steps = workflow["jobs"]["plan"]["steps"]
    assert steps[0]["with"]["fetch-depth"] == 0
    assert any("weir plan --diff" in step.get("run", "") for step in steps)
