"""What registries' serializers put in front of a record: the id of its schema.

Sources: AWS Glue Schema Registry Library (awslabs/aws-glue-schema-registry),
``AWSSchemaRegistryConstants``: a version byte 3, a compression byte 0 (none) or 5 (zlib), the schema
version's UUID in 16 bytes. Confluent Schema Registry, *Wire format*: a byte 0, the schema's id in 4
bytes, big-endian.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Literal, NamedTuple
from uuid import UUID

from weir_lambdas.stream_processor.rejected import Rejected

GLUE_VERSION, GLUE_BYTES = 3, 18
UNPACKED, ZLIB = 0, 5
CONFLUENT_MAGIC, CONFLUENT_BYTES = 0, 5
MAX_UNPACKED_BYTES = 16 * 1024 * 1024
"""Of one packed record: a stream's own limit is 10 MB, and memory has to be bounded."""


class Framed(NamedTuple):
    """A record without its header; ``schema`` is the schema's id, empty where there is no header."""

    schema: str
    payload: bytes


Frame = Callable[[bytes], Framed]
"""Takes the header off. Raises ``Rejected`` where there is none."""


def plain(data: bytes) -> Framed:
    """A record without a header."""
    return Framed("", data)


def unframed(kind: Literal["glue", "confluent"]) -> Frame:
    """What takes a registry's header off."""
    return _glue if kind == "glue" else _confluent


def _glue(data: bytes) -> Framed:
    if len(data) < GLUE_BYTES or data[0] != GLUE_VERSION:
        raise Rejected("it does not begin with the header of the Glue Schema Registry")
    schema, payload = str(UUID(bytes=data[2:GLUE_BYTES])), data[GLUE_BYTES:]
    if data[1] == UNPACKED:
        return Framed(schema, payload)
    if data[1] == ZLIB:
        return Framed(schema, _unpacked(payload))
    raise Rejected(f"the header of the Glue Schema Registry names a compression {data[1]}")


def _unpacked(payload: bytes) -> bytes:
    packed = zlib.decompressobj()
    try:
        found = packed.decompress(payload, MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise Rejected("it is not packed as its header says") from error
    if packed.unconsumed_tail:
        raise Rejected(f"it has more than {MAX_UNPACKED_BYTES} bytes unpacked")
    if not packed.eof:
        raise Rejected("it is packed and ends too early")
    return found


def _confluent(data: bytes) -> Framed:
    if len(data) < CONFLUENT_BYTES or data[0] != CONFLUENT_MAGIC:
        raise Rejected("it does not begin with the header of a Confluent schema registry")
    return Framed(str(int.from_bytes(data[1:CONFLUENT_BYTES])), data[CONFLUENT_BYTES:])
