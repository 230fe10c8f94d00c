"""Typed values as JSON has them: the same texts, whichever reader gave the value."""

from __future__ import annotations

import base64
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from weir_lambdas.landing.records import RawNumber


def json_value(value: Any) -> Any:
    """A typed value as JSON has it.

    Decimals keep all their digits, moments are ISO 8601, a stretch of time is seconds, bytes are
    base64. What is no finite number becomes the text that ProtoJSON has for it (Protocol Buffers,
    *ProtoJSON Format*), since JSON knows no such number.
    """
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    if isinstance(value, Decimal):
        return exact(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, UUID):
        return str(value)
    return value


def exact(value: Any) -> Any:
    """A parsed value with the numbers that a double would bend kept as they were written."""
    if isinstance(value, Decimal):
        number = float(value)
        return number if repr(number) == str(value) else RawNumber(str(value))
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return value
