"""Single records in Avro's binary encoding (Apache Avro Specification, *Binary encoding*)."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro

from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.landing.values import json_value
from weir_lambdas.stream_processor.registry import Definition, Schemas, UnknownSchema
from weir_lambdas.stream_processor.rejected import Rejected

_SCHEMA_FAULTS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
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
        self._schemas, self._parsed = schemas, dict[str, Any]()
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
            value = fastavro.schemaless_reader(stream, found, None)
            row = json_value(value)
        except (*_RECORD_FAULTS, RecursionError, MemoryError) as error:
            raise Rejected("it is not what its Avro schema says") from error
        if stream.read(1):
            raise Rejected("it has bytes left after what its Avro schema says")
        return row

    def _schema(self, schema: str) -> Any:
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


def parsed(definition: Definition) -> Any:
    """A schema as fastavro reads by it, with the types of those that it refers to.

    Raises
    ------
    ValueError, fastavro.schema.SchemaParseException
        It is no schema.
    """
    named: dict[str, Any] = {}
    for text in definition.references:
        fastavro.parse_schema(json.loads(text), named_schemas=named)
    return fastavro.parse_schema(json.loads(definition.text), named_schemas=named)
