"""``weir validate`` says offline what the API server would, with the line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from operator_api import samples
from weir.cli import app
from weir.cli.convert import to_yaml
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
            "    email: {recipients: [a@b.co]}\n    restApi:",
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
