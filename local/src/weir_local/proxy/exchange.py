"""One AWS call as it passes the proxy, and what a rule may do with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Headers = dict[str, str]
"""Names in lower case."""


@dataclass(frozen=True)
class Exchange:
    """One AWS call on its way.

    :param number: it is the how manieth of all calls since the proxy began, or was reset; from 1
    :param service: botocore's name of the service; empty where the request does not tell
    :param operation: the API operation, ``CreateFunction``; ``GET /path`` where nobody knows it
    :param nth: it is the how manieth of its service and operation; from 1
    :param method: the HTTP method
    :param target: path and query, as sent
    :param headers: by lower-case name
    :param body: whole
    """

    number: int
    service: str
    operation: str
    nth: int
    method: str
    target: str
    headers: Headers
    body: bytes

    @property
    def name(self) -> str:
        """``lambda:CreateFunction``."""
        return f"{self.service}:{self.operation}"


@dataclass(frozen=True)
class Reply:
    """An answer: status, headers by lower-case name, body."""

    status: int
    headers: Headers
    body: bytes


DROPPED = Reply(0, {}, b"")
"""No answer: the connection is closed."""

Forward = Callable[[], Awaitable[Reply]]
"""Sends the call on and gives AWS's answer; may be called twice, for a call that arrives twice."""

Rule = Callable[[Exchange, Forward], Awaitable[Reply]]
"""Decides about each call: sends it on or not, and what the caller gets."""


async def pass_on(_exchange: Exchange, forward: Forward) -> Reply:
    """The rule that changes nothing."""
    return await forward()
