"""Calls of one AWS service, their failures as :mod:`weir.aws.errors`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from weir.aws.errors import NotFound, classify
from weir.aws.session import AwsSession

Answer = dict[str, Any]
T = TypeVar("T")


class Calls:
    """One service through a session: ``calls("CreateFunction", about=name, FunctionName=name)``.

    Operations have AWS's own names, so that what is written here is what IAM policies, CloudTrail
    and error messages say.
    """

    def __init__(self, session: AwsSession, service: str) -> None:
        self.session = session
        self.service = service
        self.pages_read = 0
        """Pages of listings so far; threads may lose a few, it measures and does not count."""

    def __call__(self, operation: str, /, about: str = "", **parameters: Any) -> Answer:
        """Make one call.

        Parameters
        ----------
        operation
            The API operation: ``CreateFunction``.
        about
            The physical name of what it is about, for messages.

        Raises
        ------
        AwsError
            It failed; the subclass says how.
        """
        return self._call(self.session.client(self.service), operation, about, parameters)

    def once(self, operation: str, /, about: str = "", **parameters: Any) -> Answer:
        """As a call, but tried once: for what has no token and would be made twice.

        Raises
        ------
        AwsError
            It failed. After a Transient it may have happened all the same: look before another.
        """
        client = self.session.client(self.service, once=True)
        return self._call(client, operation, about, parameters)

    def find(self, operation: str, /, about: str = "", **parameters: Any) -> Answer | None:
        """As a call, but None where what it names does not exist."""
        try:
            return self(operation, about, **parameters)
        except NotFound:
            return None

    def _call(self, client: Any, operation: str, about: str, parameters: dict[str, Any]) -> Answer:
        try:
            answer: Answer = getattr(client, xform_name(operation))(**parameters)
        except (ClientError, BotoCoreError) as error:
            raise classify(error, service=self.service, resource=about) from error
        return answer

    def pages(
        self, operation: str, key: str, /, about: str = "", **parameters: Any
    ) -> Iterator[Any]:
        """Every item of a listing, page by page; ``key`` is the list in the answer."""
        try:
            client = self.session.client(self.service)
            for page in client.get_paginator(xform_name(operation)).paginate(**parameters):
                self.pages_read += 1
                yield from page.get(key) or ()
        except (ClientError, BotoCoreError) as error:
            raise classify(error, service=self.service, resource=about) from error


def wait_for(
    look: Callable[[], T],
    settled: Callable[[T], bool],
    *,
    seconds: float = 5.0,
    first: float = 0.05,
) -> T:
    """Look until it is settled or the time is over, and give the last look either way.

    For changes that AWS ends within moments. Longer ones are the engine's: it looks again when
    ``Observed.settled`` is False, and others get their turn meanwhile.

    Parameters
    ----------
    seconds
        The most time to spend.
    first
        Seconds before the second look; doubled each time, up to one second.
    """
    end, pause = time.monotonic() + seconds, first
    while True:
        seen = look()
        left = end - time.monotonic()
        if settled(seen) or left <= 0:
            return seen
        time.sleep(min(pause, left))
        pause = min(pause * 2, 1.0)
