"""Whether data written with one Avro schema can be read with another.

Apache Avro specification, "Schema Resolution": fields match by name, a reader's field that the
writer lacks needs a default, numbers and texts are promoted, enums and unions are resolved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import fastavro

Named = dict[str, Any]

PROMOTED: dict[str, frozenset[str]] = {
    "int": frozenset({"int", "long", "float", "double"}),
    "long": frozenset({"long", "float", "double"}),
    "float": frozenset({"float", "double"}),
    "string": frozenset({"string", "bytes"}),
    "bytes": frozenset({"bytes", "string"}),
}
"""A writer's type -> the readers' types that take it."""


class AvroInvalid(ValueError):
    """A text is no Avro schema; the message says where."""


def parse(text: str) -> tuple[Any, Named]:
    """A schema and its named types.

    :raises AvroInvalid: it is none
    """
    names: Named = {}
    try:
        schema = fastavro.parse_schema(json.loads(text), names, _write_hint=False)
    except (ValueError, KeyError, TypeError, fastavro.schema.SchemaParseException) as wrong:
        raise AvroInvalid(f"{type(wrong).__name__}: {wrong}") from wrong
    except fastavro.schema.UnknownType as unknown:
        raise AvroInvalid(f"unknown type {unknown}") from unknown
    return schema, names


def kind(schema: Any) -> str:
    """A schema's type."""
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def problems(
    reader: Any, writer: Any, named: tuple[Named, Named], path: str, seen: frozenset[Any]
) -> Iterator[str]:
    """Why a reader cannot read what a writer wrote.

    :param named: the named types of the reader and of the writer
    :param path: where in the schema
    :param seen: pairs of names being compared, for recursive types
    """
    reader = named[0].get(reader, reader) if isinstance(reader, str) else reader
    writer = named[1].get(writer, writer) if isinstance(writer, str) else writer
    wanted, given = kind(reader), kind(writer)
    if given == "union":
        for branch in writer:
            yield from problems(reader, branch, named, path, seen)
    elif wanted == "union":
        tried = [list(problems(branch, writer, named, path, seen)) for branch in reader]
        if all(tried):
            yield f"{path}: no branch of the union takes {given}"
    elif wanted not in PROMOTED.get(given, frozenset({given})):
        yield f"{path}: {given} cannot be read as {wanted}"
    elif wanted == "record":
        pair = (reader["name"], writer["name"])
        if pair not in seen:
            yield from fields(reader, writer, named, path, seen | {pair})
    elif wanted == "array":
        yield from problems(reader["items"], writer["items"], named, f"{path}[]", seen)
    elif wanted == "map":
        yield from problems(reader["values"], writer["values"], named, f"{path}{{}}", seen)
    elif wanted == "enum":
        unknown = sorted(set(writer["symbols"]) - set(reader["symbols"]))
        if unknown and "default" not in reader:
            yield f"{path}: the enum lacks {', '.join(unknown)}"
    elif wanted == "fixed" and reader["size"] != writer["size"]:
        yield f"{path}: fixed({writer['size']}) cannot be read as fixed({reader['size']})"


def fields(
    reader: Any, writer: Any, named: tuple[Named, Named], path: str, seen: frozenset[Any]
) -> Iterator[str]:
    """Why the fields of a record cannot be read."""
    written = {field["name"]: field for field in writer["fields"]}
    for field in reader["fields"]:
        names = [field["name"], *field.get("aliases", [])]
        source = next((written[name] for name in names if name in written), None)
        where = f"{path}.{field['name']}"
        if source is not None:
            yield from problems(field["type"], source["type"], named, where, seen)
        elif "default" not in field:
            yield f"{where}: new, without a default"


def incompatible(reader: str, writer: str) -> list[str]:
    """Why data of one schema cannot be read with another; empty when it can.

    :raises AvroInvalid: one is no schema
    """
    (reading, reader_names), (writing, writer_names) = parse(reader), parse(writer)
    return list(problems(reading, writing, (reader_names, writer_names), "$", frozenset()))
