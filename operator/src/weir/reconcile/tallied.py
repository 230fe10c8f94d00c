"""A gauge over all objects, made of what each of them says of itself."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Mapping

from prometheus_client import Gauge

Labels = tuple[str, ...]
_Said = frozenset[tuple[Labels, int]]


class Tallied:
    """Adds up what objects say, by labels, and takes it away when they say it no longer.

    Parameters
    ----------
    gauge
        What shows the sums; a sum of nothing is no sample. Its values are set here alone.
    """

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._said: dict[Hashable, _Said] = {}
        self._same: dict[_Said, _Said] = {}
        """Each thing to say once: thousands of objects say the same."""
        self._sums: Counter[Labels] = Counter()
        self._lock = threading.Lock()

    def put(self, who: Hashable, said: Mapping[Labels, int]) -> None:
        """Somebody says this now, in place of what was said before; nothing forgets him.

        Parameters
        ----------
        said
            Counts by the gauge's labels.
        """
        new: _Said = frozenset((labels, count) for labels, count in said.items() if count)
        with self._lock:
            old = self._said.get(who, frozenset())
            if old == new:
                return
            if new:
                self._said[who] = self._same.setdefault(new, new)
            else:
                del self._said[who]
            self._add(old, -1)
            self._add(new, 1)
            for labels in {labels for labels, _ in old ^ new}:
                self._show(labels)
            if len(self._same) > 2 * len(self._said) + 64:
                self._same = {one: one for one in self._said.values()}

    def _add(self, said: _Said, sign: int) -> None:
        for labels, count in said:
            self._sums[labels] += sign * count

    def _show(self, labels: Labels) -> None:
        total = self._sums[labels]
        if total:
            self._gauge.labels(*labels).set(total)
        else:
            del self._sums[labels]
            self._gauge.remove(*labels)
