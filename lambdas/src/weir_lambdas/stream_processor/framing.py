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
GZIP_MAGIC = b"\x1f\x8b"
"""The first bytes of gzip (RFC 1952, 2.3.1), with which no JSON begins."""
GZIP_BITS = 16 + zlib.MAX_WBITS
MAX_MEMBERS = 100
"""Of one record packed with gzip."""
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
        found, _ = _unpacked(payload, zlib.MAX_WBITS, MAX_UNPACKED_BYTES, "its header says")
        return Framed(schema, found)
    raise Rejected(f"the header of the Glue Schema Registry names a compression {data[1]}")


def gunzipped(data: bytes) -> bytes:
    """What is packed with gzip, one member or several.

    Raises
    ------
    Rejected
        It is not, or is too large.
    """
    found = b""
    for _ in range(MAX_MEMBERS):
        left = MAX_UNPACKED_BYTES - len(found)
        member, data = _unpacked(data, GZIP_BITS, left, "it begins")
        found += member
        if not data:
            return found
    raise Rejected(f"it has more than {MAX_MEMBERS} members of gzip")


def _unpacked(payload: bytes, bits: int, most: int, as_told: str) -> tuple[bytes, bytes]:
    """What was packed, and what stands behind it."""
    packed = zlib.decompressobj(bits)
    try:
        # One byte more than may be, since 0 would mean that all may.
        found = packed.decompress(payload, most + 1)
    except zlib.error as error:
        raise Rejected(f"it is not packed as {as_told}") from error
    if len(found) > most:
        raise Rejected(f"it has more than {MAX_UNPACKED_BYTES} bytes unpacked")
    if not packed.eof:
        raise Rejected("it is packed and ends too early")
    return found, packed.unused_data


def _confluent(data: bytes) -> Framed:
    if len(data) < CONFLUENT_BYTES or data[0] != CONFLUENT_MAGIC:
        raise Rejected("it does not begin with the header of a Confluent schema registry")
    return Framed(str(int.from_bytes(data[1:CONFLUENT_BYTES])), data[CONFLUENT_BYTES:])
