"""``weir validate`` says offline what the API server would, with the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from operator_api import samples
from weir.cli import app
from weir.cli.convert import to_yaml
from weir.cli.crosscheck import findings
from weir.cli.documents import read_text
from weir.cli.validate import problems

GOOD = """\
apiVersion: weir.dev/v1alpha1
kind: DataSource
metadata: {name: customers}
spec:
  source:
    restApi:
      endpoint: https://api.example.com/customers
      schedule: rate(1 hour)
  schema:
    mapping:
      customerId: id
      lat: 'y'
  destination: {prefix: customers/}
  redshift: {schema: customers, table: customer_data, distkey: customerId}
"""


def messages(text: str) -> list[str]:
    return [str(problem) for document in read_text(text, "f") for problem in problems(document)]


def test_a_sound_file_has_no_problems() -> None:
    assert messages(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("lat: 'y'", "y: lat", "f:12: spec.schema.mapping: the key y is read as true; quote it"),
        (
            "lat: 'y'",
            "customerId: yy",
            "f:12: spec.schema.mapping: the key customerId stands here twice",
        ),
        ("schedule: rate(1 hour)", "schedule: hourly", "f:8: spec.source.restApi.schedule:"),
        (
            "schedule: rate(1 hour)",
            "shedule: rate(1 hour)",
            "f:8: spec.source.restApi.shedule: unknown field shedule",
        ),
        (
            "    restApi:",
            "    email: {bucket: inbox}\n    restApi:",
            "set exactly one of restApi, email, files, stream",
        ),
        ("  destination: {prefix: customers/}\n", "", "redshift needs a destination"),
        (
            "kind: DataSource",
            "kind: DataSink",
            "f:2: kind: weir.dev/v1alpha1 DataSink is not served",
        ),
        ("metadata: {name: customers}", "metadata: {}", "f:3: metadata: metadata.name is missing"),
        ("  source:", "  source: [", "not YAML"),
    ],
)
def test_a_problem_names_the_line_and_the_field(old: str, new: str, expected: str) -> None:
    assert old in GOOD
    assert any(expected in message for message in messages(GOOD.replace(old, new)))


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_what_the_api_server_accepts_is_valid(name: str) -> None:
    assert messages(to_yaml(samples.SAMPLES[name])) == []


def test_objects_of_other_groups_are_left_alone() -> None:
    assert messages("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nnope: 1\n") == []


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    for document in read_text(text):
        problems(document)


def test_the_command_exits_with_1_and_prints_json(tmp_path: Path) -> None:
    file = tmp_path / "source.yaml"
    file.write_text(GOOD.replace("rate(1 hour)", "hourly"))
    result = CliRunner().invoke(app, ["validate", "-f", str(file), "--output", "json"])
    assert result.exit_code == 1
    (problem,) = yaml.safe_load(result.stdout)
    assert (problem["line"], problem["path"]) == (8, "spec.source.restApi.schedule")


def found(text: str) -> list[str]:
    result = findings(list(read_text(text, "f")))
    return [str(problem) for problem in result.problems]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "distkey: customerId",
            "distkey: nobody",
            "f:14: spec.redshift.distkey: distkey 'nobody' is no column that the mapping produces",
        ),
        (
            "schedule: rate(1 hour)",
            "schedule: cron(61 * * * ? *)",
            "f:8: spec.source.restApi.schedule: cron(61 * * * ? *): '61' is no value of minutes",
        ),
        ("rate(1 hour)", "rate(0 minutes)", "f:8: spec.source.restApi.schedule:"),
        ("rate(1 hour)", "rate(30 seconds)", "f:8: spec.source.restApi.schedule:"),
        (
            "      schedule:",
            "      headers: {X-Key: '${SECRT:key}'}\n      schedule:",
            "f:8: spec.source.restApi.headers.X-Key: '${SECRT:key}' is no reference",
        ),
        (
            "lat: 'y'",
            "CUSTOMERID: z",
            "columns 'customerId' and 'CUSTOMERID' are the same for Redshift",
        ),
        ("lat: 'y'", "_weir_run: z", "'_weir_run' is a column of Weir's own"),
        (
            "    mapping:",
            '    rules:\n      - IsComplete "customerId"\n      - RowCount >> 3\n    mapping:',
            "f:12: spec.schema.rules[1]:",
        ),
        ("schema: customers", "schema: pg_catalog", "f:14: spec.redshift.schema:"),
    ],
)
def test_the_operators_own_checks_name_the_line(old: str, new: str, expected: str) -> None:
    assert old in GOOD
    problems_found = found(GOOD.replace(old, new))
    assert any(expected in one for one in problems_found), problems_found


PIPELINE = """\
---
apiVersion: weir.dev/v1alpha1
kind: Pipeline
metadata: {name: cleaned}
spec:
  sources: [{name: customers}]
  destination: {prefix: cleaned/}
  stages:
    - name: shape
      transform:
        - derive:
            upper: upper(customerId)
        - filter: customerId > 0
"""


def test_documents_of_one_call_know_each_other() -> None:
    assert found(GOOD + PIPELINE) == []


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("upper(customerId)", "pg_sleep(10)", "f:26: spec.stages[0].transform[0].derive.upper:"),
        ("customerId > 0", "load_file('x') = 1", "f:27: spec.stages[0].transform[1].filter:"),
    ],
)
def test_functions_that_no_expression_may_call_are_refused(old: str, new: str, line: str) -> None:
    problems_found = found(GOOD + PIPELINE.replace(old, new))
    assert any(one.startswith(line) for one in problems_found), problems_found


def test_what_other_files_hold_is_no_problem_but_is_said() -> None:
    result = findings(list(read_text(PIPELINE.removeprefix("---\n"), "f")))
    assert result.problems == []
    assert "f:5: spec.sources[0]" in result.unchecked[0]


def test_the_command_prints_problems_as_json(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(GOOD.replace("distkey: customerId", "distkey: nobody"))
    result = CliRunner().invoke(app, ["validate", "-f", str(path), "-o", "json"])
    assert result.exit_code == 1
    problem = json.loads(result.stdout)[0]
    assert problem["line"] == 14 and problem["path"] == "spec.redshift.distkey"
