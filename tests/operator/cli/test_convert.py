"""``weir convert`` carries a template's source over, and names what it can't."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from operator_api import samples
from weir.cli import app
from weir.cli.convert import CannotConvert, convert, to_yaml
from weir.cli.documents import read_text
from weir.cli.validate import problems

EXAMPLES = Path(__file__).parents[3] / "examples" / "reference"


def template() -> dict[str, object]:
    data: dict[str, object] = yaml.safe_load((EXAMPLES / "new_source.yaml").read_text())
    return data


def test_the_templates_example_becomes_the_designs_example() -> None:
    assert convert(template()).resource == samples.REFERENCE


def test_the_committed_example_is_what_convert_writes() -> None:
    written = yaml.safe_load((EXAMPLES / "datasource.yaml").read_text())
    assert written == convert(template()).resource


def test_json_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "source.json"
    file.write_text(json.dumps(template()))
    result = CliRunner().invoke(app, ["convert", str(file), "--output", "json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == samples.REFERENCE


def test_what_has_no_counterpart_is_named() -> None:
    data = template()
    data["source"]["owner"] = "me"  # type: ignore[index]
    data["version"] = 1
    notes = convert(data).notes
    assert any("source.owner" in note for note in notes)
    assert any(note.startswith("version:") for note in notes)


ORGANIZATION = "m-" + "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("kind", "config", "email"),
    [
        (
            "workmail",
            {"organization_id": ORGANIZATION, "recipients": ["orders@example.com"]},
            {"workmail": {"organizationId": ORGANIZATION}, "recipients": ["orders@example.com"]},
        ),
        ("ses", {"bucket": "mails-of-acme"}, {"bucket": "mails-of-acme"}),
    ],
)
def test_mails_are_carried_over_to_where_they_come_from(
    kind: str, config: dict[str, object], email: dict[str, object]
) -> None:
    converted = convert({"source": {"name": "orders", "type": kind, "config": config}})
    assert converted.resource["spec"]["source"] == {"email": email}
    assert converted.notes == ()
    (document,) = read_text(to_yaml(converted.resource))
    assert [one.message for one in problems(document)] == []


@pytest.mark.parametrize(("kind", "wanted"), [("workmail", "organizationId"), ("ses", "receive")])
def test_mails_from_nowhere_are_named(kind: str, wanted: str) -> None:
    notes = convert({"source": {"name": "orders", "type": kind, "config": {}}}).notes
    assert len(notes) == 1 and wanted in notes[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no source"),
        ({"source": {"type": "rest_api"}}, "source.name is missing"),
        ({"source": {"name": "a", "type": "ftp"}}, "source.type 'ftp' is not known"),
        ({"source": {"name": "__", "type": "rest_api"}}, "no letter or digit"),
    ],
)
def test_what_is_no_source_is_refused(data: object, message: str) -> None:
    with pytest.raises(CannotConvert, match=message):
        convert(data)


def test_keys_that_yaml_takes_for_booleans_are_quoted() -> None:
    data = template()
    data["source"]["schema"]["mapping"] = {"y": "lat", "n": "cnt", "on": "z"}  # type: ignore[index]
    (document,) = read_text(to_yaml(convert(data).resource))
    assert document.body["spec"]["schema"]["mapping"] == {"y": "lat", "n": "cnt", "on": "z"}
    assert document.problems == ()
    assert [p.message for p in problems(document)] == []
