"""Stores that are looked at in parts: what they hold in the order of its keys, from any key on.

MiniStack's listings and look-ups walk through all that a store holds. Here its stores keep their
keys in order, and :func:`only` shows whoever walks through one, in this thread and meanwhile, no
more than some of its keys. So its own code renders a page, and the page costs what it holds.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

Key = tuple[str, ...]
"""Account, region where the store has one for each, and the key that the service uses."""

ORDERED = (
    ("cloudwatch", "_alarms"),
    ("cloudwatch", "_composite_alarms"),
    ("cloudwatch", "_resource_tags"),
    ("cloudwatch_logs", "_log_groups"),
    ("glue", "_connections"),
    ("glue", "_crawlers"),
    ("glue", "_databases"),
    ("glue", "_jobs"),
    ("glue", "_tables"),
    ("iam", "_groups"),
    ("iam", "_policies"),
    ("iam", "_roles"),
    ("iam", "_users"),
    ("kms", "_aliases"),
    ("lambda_svc", "_esms"),
    ("lambda_svc", "_functions"),
    ("scheduler", "_schedules"),
    ("secretsmanager", "_secrets"),
    ("stepfunctions", "_state_machines"),
    ("stepfunctions", "_tags"),
)
"""Module of ``ministack.services`` and its store."""

_shown: ContextVar[Mapping[int, tuple[Key, ...]] | None] = ContextVar("shown", default=None)
"""By the ids of stores, the keys of them that are shown; what is not in here is shown whole."""


class Ordered(dict[Key, Any]):
    """A dict that knows its keys in order. A walk through it sees what :func:`only` leaves of it.

    Parameters
    ----------
    items
        What it holds from the start.
    """

    def __init__(self, items: Mapping[Key, Any] | None = None) -> None:
        super().__init__(items or {})
        self._order: list[Key] = sorted(super().keys())
        self._lock = threading.RLock()

    def __setitem__(self, key: Key, value: Any) -> None:
        with self._lock:
            if not super().__contains__(key):
                insort(self._order, key)
            super().__setitem__(key, value)

    def __delitem__(self, key: Key) -> None:
        with self._lock:
            super().__delitem__(key)
            del self._order[bisect_left(self._order, key)]

    def pop(self, key: Key, *default: Any) -> Any:
        """As dict's."""
        with self._lock:
            if super().__contains__(key):
                del self._order[bisect_left(self._order, key)]
            return super().pop(key, *default)

    def popitem(self) -> tuple[Key, Any]:
        """As dict's."""
        with self._lock:
            key, value = super().popitem()
            del self._order[bisect_left(self._order, key)]
            return key, value

    def setdefault(self, key: Key, default: Any = None) -> Any:
        """As dict's."""
        with self._lock:
            if not super().__contains__(key):
                self[key] = default
            return self[key]

    def update(self, *others: Any, **named: Any) -> None:
        """As dict's."""
        with self._lock:
            super().update(*others, **named)
            self._order = sorted(super().keys())

    def __ior__(self, other: Any) -> Ordered:  # type: ignore[override, misc]
        self.update(other)
        return self

    def clear(self) -> None:
        """As dict's."""
        with self._lock:
            super().clear()
            self._order = []

    def __iter__(self) -> Iterator[Key]:
        keys = self._window()
        return super().__iter__() if keys is None else iter(self._part(keys))

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is a plain dict: nobody looks at it in parts, and a lock can't be copied.
        return dict, (dict(super().items()),)

    def keys(self) -> Any:
        """As dict's, of what is shown."""
        keys = self._window()
        return super().keys() if keys is None else self._part(keys).keys()

    def items(self) -> Any:
        """As dict's, of what is shown."""
        keys = self._window()
        return super().items() if keys is None else self._part(keys).items()

    def values(self) -> Any:
        """As dict's, of what is shown."""
        keys = self._window()
        return super().values() if keys is None else self._part(keys).values()

    def after(
        self, scope: Key, key: str, prefix: str, count: int, itself: bool = False
    ) -> list[Key]:
        """The next keys in order.

        Parameters
        ----------
        scope
            What they begin with: account, and region where the store has one.
        key
            Of the service: only what comes after it.
        prefix
            What the service's keys begin with.
        count
            So many at most.
        itself
            Whether ``key`` itself counts too.
        """
        bisect = bisect_left if itself else bisect_right
        with self._lock:
            at = max(
                bisect_left(self._order, (*scope, prefix)),
                bisect(self._order, (*scope, key)) if key else 0,
            )
            found = self._order[at : at + count]
        return [one for one in found if one[:-1] == scope and one[-1].startswith(prefix)]

    def _window(self) -> tuple[Key, ...] | None:
        shown = _shown.get()
        return None if shown is None else shown.get(id(self))

    def _part(self, keys: Iterable[Key]) -> dict[Key, Any]:
        with self._lock:
            return {key: self[key] for key in keys if super(Ordered, self).__contains__(key)}


def ordered(store: Any) -> Ordered:
    """The dict behind one of MiniStack's stores of :data:`ORDERED`."""
    found = store._data
    if not isinstance(found, Ordered):
        raise TypeError("the store has no order: name it in ORDERED")
    return found


def scope(store: Any) -> Key:
    """What the keys of a store begin with in the request's account and region."""
    found = store._prefix()
    return found if isinstance(found, tuple) else (found,)


def keys_after(store: Any, key: str, prefix: str, count: int, itself: bool = False) -> list[str]:
    """The service's next keys of a store in the request's account and region; see ``after``."""
    return [one[-1] for one in ordered(store).after(scope(store), key, prefix, count, itself)]


@contextmanager
def only(shown: Iterable[tuple[Any, Iterable[str]]]) -> Iterator[None]:
    """Show no more of some stores than these keys, to this thread and meanwhile.

    What asks for a key by name finds it all the same: walks are what it is about.

    Parameters
    ----------
    shown
        Each store with the service's keys, in the request's account and region.
    """
    windows = {
        id(ordered(store)): tuple((*scope(store), key) for key in keys) for store, keys in shown
    }
    token = _shown.set({**(_shown.get() or {}), **windows})
    try:
        yield
    finally:
        _shown.reset(token)


def install() -> None:
    """Order the stores, and let the look-ups of tags by ARN look at one place."""
    from ministack.services import iam, lambda_svc, tagging

    for module, name in ORDERED:
        store = getattr(import_module(f"ministack.services.{module}"), name)
        store._data = Ordered(store._data)

    inner: Callable[[str], dict[str, str] | None] = tagging.resource_tags
    places = {
        "iam": ("/", (iam._roles, iam._users)),
        "lambda": (":", (lambda_svc._functions,)),
    }

    def resource_tags(arn: str) -> dict[str, str] | None:
        service = arn.split(":", 3)[2] if arn.count(":") >= 5 else ""
        if service not in places:
            return inner(arn)
        mark, stores = places[service]
        key = arn.rpartition(mark)[2]
        with only((store, [key] if key in store else []) for store in stores):
            return inner(arn)

    tagging.resource_tags = resource_tags
