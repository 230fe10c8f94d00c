"""The Glue Schema Registry of the local AWS."""

from __future__ import annotations

import json
import uuid

import pytest
from aws_makers import allow, refused, unique

from weir_local.aws.server import EndpointSession, LocalAws
from weir_local.aws.streams import avro


def record(*fields: dict[str, object]) -> str:
    """An Avro record schema."""
    return json.dumps({"type": "record", "name": "Order", "fields": list(fields)})


ID = {"name": "id", "type": "long"}
NOTE = {"name": "note", "type": ["null", "string"], "default": None}


def test_versions_are_found_by_id_number_and_definition(admin: EndpointSession) -> None:
    glue = admin.client("glue")
    registry, name = unique("registry"), unique("schema")
    glue.create_registry(RegistryName=registry, Tags={"team": "data"})
    made = glue.create_schema(
        RegistryId={"RegistryName": registry},
        SchemaName=name,
        DataFormat="AVRO",
        Compatibility="BACKWARD",
        SchemaDefinition=record(ID),
    )
    assert str(uuid.UUID(made["SchemaVersionId"])) == made["SchemaVersionId"]
    which = {"SchemaArn": made["SchemaArn"]}
    second = glue.register_schema_version(SchemaId=which, SchemaDefinition=record(ID, NOTE))
    assert (second["VersionNumber"], second["Status"]) == (2, "AVAILABLE")
    again = glue.register_schema_version(SchemaId=which, SchemaDefinition=record(ID, NOTE))
    assert again["SchemaVersionId"] == second["SchemaVersionId"]
    found = glue.get_schema_version(SchemaVersionId=second["SchemaVersionId"])
    assert json.loads(found["SchemaDefinition"]) == json.loads(record(ID, NOTE))
    assert (found["DataFormat"], found["SchemaArn"]) == ("AVRO", made["SchemaArn"])
    first = glue.get_schema_version(SchemaId=which, SchemaVersionNumber={"VersionNumber": 1})
    assert first["SchemaVersionId"] == made["SchemaVersionId"]
    spaced = json.dumps(json.loads(record(ID)), indent=2)
    by_definition = glue.get_schema_by_definition(SchemaId=which, SchemaDefinition=spaced)
    assert by_definition["SchemaVersionId"] == made["SchemaVersionId"]
    bad = glue.register_schema_version(
        SchemaId=which, SchemaDefinition=record(ID, {"name": "new", "type": "int"})
    )
    assert bad["Status"] == "FAILURE"
    latest = glue.get_schema_version(SchemaId=which, SchemaVersionNumber={"LatestVersion": True})
    assert latest["VersionNumber"] == 2
    assert "invalid" in refused(
        glue.register_schema_version, SchemaId=which, SchemaDefinition='{"type": "nothing"}'
    )
    glue.delete_registry(RegistryId={"RegistryName": registry})
    assert "EntityNotFoundException" in refused(glue.get_schema, SchemaId=which)


def test_reading_a_version_by_its_id_is_judged_on_everything(
    aws: LocalAws, admin: EndpointSession
) -> None:
    name = unique("schema")
    made = admin.client("glue").create_schema(
        SchemaName=name, DataFormat="JSON", SchemaDefinition="{}"
    )
    which = {"SchemaArn": made["SchemaArn"]}
    narrow = {"Statement": [allow("glue:GetSchemaVersion", made["SchemaArn"])]}
    glue = aws.session(aws.principal(narrow)).client("glue")
    latest = glue.get_schema_version(SchemaId=which, SchemaVersionNumber={"LatestVersion": True})
    assert latest["SchemaVersionId"] == made["SchemaVersionId"]
    message = refused(glue.get_schema_version, SchemaVersionId=made["SchemaVersionId"])
    assert "glue:GetSchemaVersion on resource: *" in message


@pytest.mark.parametrize(
    ("reader", "writer", "words"),
    [
        ('"long"', '"int"', ""),
        ('"int"', '"long"', "long cannot be read as int"),
        ('["null", "string"]', '"string"', ""),
        ('"string"', '["null", "string"]', "null cannot be read as string"),
        (record(ID, NOTE), record(ID), ""),
        (record(ID, {**ID, "name": "other"}), record(ID), "$.other: new, without a default"),
        (record({**ID, "name": "key", "aliases": ["id"]}), record(ID), ""),
        (
            '{"type": "enum", "name": "E", "symbols": ["A"]}',
            '{"type": "enum", "name": "E", "symbols": ["A", "B"]}',
            "lacks B",
        ),
        ('{"type": "array", "items": "int"}', '{"type": "array", "items": "long"}', "$[]"),
        (
            record({"name": "next", "type": ["null", "Order"]}),
            record({"name": "next", "type": ["null", "Order"]}),
            "",
        ),
    ],
)
def test_schema_resolution_is_avros(reader: str, writer: str, words: str) -> None:
    found = avro.incompatible(reader, writer)
    assert bool(found) == bool(words)
    assert words in " ".join(found)
