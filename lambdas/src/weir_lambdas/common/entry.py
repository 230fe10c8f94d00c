"""Where a function begins and ends: what leaves it by an error has no secret and no row in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from weir_lambdas.common.errors import WeirError
from weir_lambdas.common.log import REDACTOR

Handler = Callable[[Mapping[str, Any], Any], dict[str, Any]]


def entry(handler: Handler) -> Handler:
    """The handler, whose errors can be written to its log as they are, with their tracebacks.

    A :class:`WeirError` says all that is to be said; what it came from, which may quote a record or
    an answer, is left out. Of any other error, and of all that it came from, known secrets are.
    """

    @wraps(handler)
    def guarded(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        try:
            return handler(event, context)
        except Exception as error:
            _mend(error)
            raise

    return guarded


def _mend(error: BaseException) -> None:
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, WeirError):
            current.__cause__, current.__context__ = None, None
        else:
            current.args = tuple(
                REDACTOR.text(one) if isinstance(one, str) else one for one in current.args
            )
        current = current.__cause__ or current.__context__
