"""One column's measures, from batches of its values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from weir_contract.metadata import ColumnMetadata
from weir_lambdas.landing.records import RawNumber
from weir_lambdas.metadata_extractor.distinct import Distinct

TEXT_LIMIT = 128
"""Characters of a text that are told as the least or the greatest."""

ZONE = re.compile(r"[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(Z|[+-]\d{2}:?\d{2})$")
NUMERIC = ("integer", "number", "decimal")


class Extremes:
    """The least and the greatest of comparable values."""

    def __init__(self) -> None:
        self.low: Any = None
        self.high: Any = None

    def take(self, low: Any, high: Any, key: Callable[[Any], Any] | None = None) -> None:
        """Take the ends of a batch into account."""
        read = key or (lambda one: one)
        if self.low is None or read(low) < read(self.low):
            self.low = low
        if self.high is None or read(high) > read(self.high):
            self.high = high


class ColumnMeasure:
    """Nulls, different values, least and greatest of one column.

    Parameters
    ----------
    guarded
        Whether the column's content is told nowhere: no least and greatest are kept.
    numeric
        Whether its texts are numbers to the contract (CSV has texts alone): they are compared so.
    """

    def __init__(self, guarded: bool = False, numeric: bool = False) -> None:
        self._guarded, self._numeric = guarded, numeric
        self._distinct = Distinct()
        self._numbers, self._texts = Extremes(), Extremes()
        self._nested = self._incomparable = False
        self._endless = False
        self._zones: set[str] = set()
        self.present = 0

    def see(self, values: Sequence[Any]) -> None:
        """Take a batch into account. None is null."""
        kinds = set(map(type, values))
        present = [one for one in values if one is not None] if type(None) in kinds else values
        kinds.discard(type(None))
        self.present += len(present)
        if not present:
            return
        if dict in kinds or list in kinds:
            self._nested = True
            return
        if bool in kinds and len(kinds) > 1:
            # To Python true is 1.
            self._distinct.add(
                [str(one) if one is True or one is False else one for one in present]
            )
        else:
            self._distinct.add(present)
        self._compare(present, kinds)

    def count(self, present: int, unique: Sequence[Any]) -> None:
        """Take values into account of which only the different ones are at hand."""
        self.present += present
        self._distinct.add(unique)

    def bounds(self, low: Any, high: Any) -> None:
        """Take the ends of a stretch into account, as a Parquet footer tells them."""
        if low is not None and high is not None:
            self._compare([low, high], {type(low), type(high)})

    def nested(self) -> None:
        """The column holds objects or lists: they are neither counted nor compared."""
        self._nested = True

    def _compare(self, values: Sequence[Any], kinds: set[type]) -> None:
        if self._guarded or self._incomparable:
            return
        if kinds <= {str}:
            self._compare_texts(values)
        elif kinds <= {int, float, Decimal, RawNumber}:
            plain = [_number(one) for one in values] if kinds - {int} else values
            known = [one for one in plain if one is not None]
            self._endless = self._endless or len(known) < len(values)
            if known:
                self._numbers.take(min(known), max(known))
        elif bool in kinds or bytes in kinds or len(kinds) > 1:
            self._incomparable = True
        else:
            self._texts.take(min(values), max(values))

    def _compare_texts(self, values: Sequence[Any]) -> None:
        if self._numeric:
            try:
                ends = min(values, key=float), max(values, key=float)
            except ValueError:
                self._incomparable = True
            else:
                self._texts.take(*ends, key=float)
            return
        low, high = min(values), max(values)
        if ZONE.search(low) or ZONE.search(high):
            # Texts with several offsets are not in the order of the moments that they stand for.
            self._zones |= {found[1] if (found := ZONE.search(one)) else "" for one in values}
            if len(self._zones) > 1:
                self._incomparable = True
        self._texts.take(low, high)

    def metadata(self, name: str, kind: str | None, rows: int) -> ColumnMetadata:
        """The column's entry.

        Parameters
        ----------
        kind
            Its type expression, or None where nothing but nulls was seen.
        rows
            Rows that were looked at: those without the key count as nulls.
        """
        numbers = self._numbers.low is not None or self._endless
        both = numbers and self._texts.low is not None
        silent = self._guarded or self._nested or self._incomparable or both
        ends = self._numbers if self._numbers.low is not None else self._texts
        return ColumnMetadata(
            name,
            kind if self.present else None,
            nulls=max(rows - self.present, 0),
            distinct=None if self._nested else self._distinct.count,
            distinct_exact=self._distinct.exact,
            min=None if silent or ends.low is None else _text(ends.low),
            max=None if silent or ends.high is None else _text(ends.high),
        )


def _number(value: Any) -> Any:
    """A number that compares with all others exactly; None for one that is none (NaN), or has no end
    that people would want to read (infinity, 1e9999999)."""
    if isinstance(value, RawNumber):
        return value.decimal
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _text(value: Any) -> str:
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return text[:TEXT_LIMIT]
