"""Decimals of Avro with every digit that was written.

fastavro rounds a decimal to the precision of its schema, without a word. Writers do not all keep to that
precision: what does not fit a column is the contract's to say.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import fastavro.read

KINDS = ("bytes-decimal", "fixed-decimal")


def exact_decimal(data: bytes, writer_schema: Any, _reader_schema: Any = None) -> Decimal:
    """A decimal (Apache Avro Specification, *Decimal*).

    Parameters
    ----------
    data
        The unscaled number, two's complement, big-endian.
    writer_schema
        Its schema: ``scale`` digits are behind the point.

    Raises
    ------
    ValueError
        It has more than 4,300 digits.
    """
    unscaled = int.from_bytes(data, "big", signed=True)
    return Decimal(f"{unscaled}E-{writer_schema.get('scale', 0)}")


def read_exactly() -> None:
    """Have fastavro read decimals so."""
    for kind in KINDS:
        fastavro.read.LOGICAL_READERS[kind] = exact_decimal
