"""Records of the Kinesis Producer Library: many user records packed into one.

Source: awslabs/amazon-kinesis-producer, *KPL Aggregated Record Format*: four bytes, a protocol
buffers message ``AggregatedRecord``, and the message's MD5. As the Kinesis Client Library does,
what has the four bytes but not the sum is taken for a record of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import md5

MAGIC = b"\xf3\x89\x9a\xc2"
DIGEST_BYTES = 16
KEYS, RECORDS = 1, 3
"""Field numbers of ``AggregatedRecord.partition_key_table`` and ``records``."""

KEY_INDEX, DATA = 1, 3
"""Field numbers of ``Record.partition_key_index`` and ``data``."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types (Protocol Buffers, *Encoding*)."""


def user_records(data: bytes) -> list[tuple[str | None, bytes]]:
    """The user records in a Kinesis record, each with its partition key; itself, and None for the
    key, where it is not aggregated.

    Raises
    ------
    ValueError
        It is aggregated, but its message can't be read.
    """
    if not data.startswith(MAGIC) or len(data) < len(MAGIC) + DIGEST_BYTES:
        return [(None, data)]
    message, digest = data[len(MAGIC) : -DIGEST_BYTES], data[-DIGEST_BYTES:]
    if md5(message, usedforsecurity=False).digest() != digest:
        return [(None, data)]
    keys: list[str] = []
    records: list[tuple[int, bytes]] = []
    for number, value in _fields(message):
        if isinstance(value, int):
            continue
        if number == KEYS:
            keys.append(value.decode())
        if number == RECORDS:
            fields = dict(_fields(value))
            index, content = fields.get(KEY_INDEX, 0), fields.get(DATA, b"")
            if isinstance(index, bytes) or isinstance(content, int):
                raise ValueError("its aggregated records can't be told apart")
            records.append((index, content))
    if any(index >= len(keys) for index, _ in records):
        raise ValueError("its aggregated records have keys that are not there")
    return [(keys[index], content) for index, content in records]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and content of each field that is a number or has a length; the others are passed
    over."""
    place = 0
    while place < len(message):
        tag, place = varint(message, place)
        kind = tag & 7
        if kind == VARINT:
            value, place = varint(message, place)
            yield tag >> 3, value
            continue
        if kind == BYTES:
            size, place = varint(message, place)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError("its aggregated records can't be told apart")
        if place + size > len(message):
            raise ValueError("its aggregated records end too early")
        if kind == BYTES:
            yield tag >> 3, message[place : place + size]
        place += size


def varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of variable length and the place after it (Protocol Buffers, *Encoding*).

    Raises
    ------
    ValueError
        It has no end, or is longer than ten bytes.
    """
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise ValueError("it ends within a number")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number in it is too long")
