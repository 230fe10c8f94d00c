"""How much room do a column's values need? Digits of its numbers, bytes of its texts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from weir_contract.widening import DECIMAL_DIGITS, INTEGER_DIGITS, MAX_SCALE
from weir_lambdas.landing.records import RawNumber

NUMBER = re.compile(r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?\s*")
"""Text that the pipeline takes for a number (weir_glue.common.casts)."""

MAX_TEXT = 512
"""Characters beyond which a text is looked at as text alone: no number is as long."""

INT64 = range(-(2**63), 2**63)


@dataclass
class Needs:
    """The room that values need.

    Parameters
    ----------
    whole, fraction
        Digits before and after the point, zeros at the ends left out. A number that no decimal
        holds is left out: it is the row that does not fit then.
    longest
        Bytes of the longest text, UTF-8.
    """

    whole: int = 0
    fraction: int = 0
    longest: int = 0

    def see(self, value: Any) -> None:
        """Take one value into account; objects, lists, booleans and null need nothing."""
        if isinstance(value, str):
            self.longest = max(self.longest, len(value.encode("utf-8", "surrogatepass")))
            if len(value) <= MAX_TEXT and NUMBER.fullmatch(value):
                self._number(Decimal(value.strip()))
        elif isinstance(value, bool):
            return
        elif isinstance(value, int):
            self._integer(value)
        elif isinstance(value, float):
            if math.isfinite(value):
                self._number(Decimal(repr(value)))
        elif isinstance(value, RawNumber):
            if (number := value.decimal) is not None:
                self._number(number)
        elif isinstance(value, Decimal) and value.is_finite():
            self._number(value)

    def see_many(self, values: Iterable[Any]) -> None:
        """Take values into account."""
        known = list(values)
        if known and set(map(type, known)) == {int}:
            self._integer(min(known))
            self._integer(max(known))
            return
        for value in known:
            self.see(value)

    def merge(self, other: Needs) -> None:
        """Take what others of the same column need into account."""
        self.whole = max(self.whole, other.whole)
        self.fraction = max(self.fraction, other.fraction)
        self.longest = max(self.longest, other.longest)

    def _integer(self, value: int) -> None:
        if abs(value) < 10**DECIMAL_DIGITS:
            digits = len(str(abs(value)))
            # The last integers of 19 digits are no BIGINT any more.
            self.whole = max(self.whole, digits if value in INT64 else max(digits, 20))

    def _number(self, number: Decimal) -> None:
        _, digits, exponent = number.as_tuple()
        kept = "".join(map(str, digits)).lstrip("0").rstrip("0")
        if not kept or not isinstance(exponent, int):
            return
        first = number.adjusted() + 1
        fraction = max(0, len(kept) - first)
        if max(first, 0) > DECIMAL_DIGITS or fraction > MAX_SCALE:
            return
        if not fraction and first >= INTEGER_DIGITS:
            self._integer(int(number))
            return
        self.whole = max(self.whole, first)
        self.fraction = max(self.fraction, fraction)
