"""Single records in Avro's binary encoding (Apache Avro Specification, *Binary encoding*)."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import IO, Any

import fastavro
from fastavro._read_py import schemaless_reader as bounded_reader

from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.landing.avrodecimals import read_exactly
from weir_lambdas.landing.values import json_value
from weir_lambdas.stream_processor.registry import Definition, Schemas, UnknownSchema
from weir_lambdas.stream_processor.rejected import Rejected

_SCHEMA_FAULTS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
    fastavro.schema.SchemaParseException,
)
_RECORD_FAULTS = (ValueError, TypeError, LookupError, EOFError, ArithmeticError, StopIteration)


class Avro:
    """Reads records, each with the schema that it was written with.

    Parameters
    ----------
    given
        The schema of all records (JSON), where no registry has it.
    schemas
        The registry.
    field
        Where the spec has the given schema, for messages.
    """

    def __init__(
        self, given: bytes | None, schemas: Schemas | None, field: str = "avroSchema"
    ) -> None:
        read_exactly()
        self._schemas, self._parsed = schemas, dict[str, Parsed]()
        if given is not None:
            try:
                self._parsed[""] = parsed(Definition(given.decode()))
            except _SCHEMA_FAULTS as error:
                raise ConfigInvalid("is no Avro schema", field) from error

    def read(self, schema: str, payload: bytes) -> dict[str, Any]:
        """A record as JSON values.

        Raises
        ------
        Rejected
            It can't be read, or is a single value; the message holds no content.
        WeirError
            The registry can't be asked.
        """
        row = self.value(schema, payload)
        if not isinstance(row, dict):
            raise Rejected("its Avro schema is of a single value, not of a record")
        return row

    def value(self, schema: str, payload: bytes) -> Any:
        """What was written, a record or a single value, as JSON values.

        Raises
        ------
        Rejected
            It can't be read; the message holds no content.
        WeirError
            The registry can't be asked.
        """
        stream = io.BytesIO(payload)
        found = self._schema(schema)
        try:
            value = found.read(stream)
            row = json_value(value)
        except (*_RECORD_FAULTS, RecursionError, MemoryError) as error:
            raise Rejected("it is not what its Avro schema says") from error
        if stream.read(1):
            raise Rejected("it has bytes left after what its Avro schema says")
        return row

    def _schema(self, schema: str) -> Parsed:
        found = self._parsed.get(schema)
        if found is None:
            assert self._schemas is not None, "without a registry there is a given schema"
            try:
                found = self._parsed[schema] = parsed(self._schemas.find(schema))
            except UnknownSchema as error:
                raise Rejected(str(error)) from error
            except _SCHEMA_FAULTS as error:
                raise Rejected(f"the registry's schema {schema} is no Avro schema") from error
        return found


@dataclass(frozen=True)
class Parsed:
    """A schema as fastavro reads by it.

    Parameters
    ----------
    is_recursive
        Whether a record may hold records of its own kind, to any depth.
    """

    schema: Any
    is_recursive: bool

    def read(self, stream: IO[bytes]) -> Any:
        """What was written by this schema."""
        # The compiled reader takes the process with it where a record is very deep. The one in
        # Python, which is several times slower, ends with an error.
        read = bounded_reader if self.is_recursive else fastavro.schemaless_reader
        return read(stream, self.schema, None)


def parsed(definition: Definition) -> Parsed:
    """A schema with the types of those that it refers to.

    Raises
    ------
    ValueError, RecursionError, fastavro.schema.SchemaParseException
        It is no schema.
    """
    named: dict[str, Any] = {}
    found: Any = None
    is_recursive = False
    for text in (*definition.references, definition.text):
        found = fastavro.parse_schema(json.loads(text), named_schemas=named)
        is_recursive = is_recursive or _is_recursive(found, frozenset())
    return Parsed(found, is_recursive)


def _is_recursive(schema: Any, inside: frozenset[str]) -> bool:
    """Whether a type is within itself.

    Parameters
    ----------
    inside
        Full names of the records around it.
    """
    if isinstance(schema, str):
        return schema in inside
    if isinstance(schema, list):
        return any(_is_recursive(one, inside) for one in schema)
    if "fields" in schema:
        inside |= {schema["name"]}
        return any(_is_recursive(one["type"], inside) for one in schema["fields"])
    within = (schema.get("items"), schema.get("values"), schema["type"])
    return any(_is_recursive(one, inside) for one in within if one is not None)
