"""Tags in bulk: what the Resource Groups Tagging API says of everything that Weir tagged."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from weir.aws import tags as tagging
from weir.aws.session import AwsSession
from weir.resource import TAG_CLUSTER

LAG_SECONDS = 120.0
"""How long after a write the API may still say what was before; it names no bound (Resource Groups
Tagging API reference, "GetResources": eventually consistent)."""


class TagIndex:
    """ARN -> tags of some resource types, read with the listing that asks for them.

    A resource that is missing here may be tagged all the same: just created, or of a type that the
    API lists late. Its tags are then *unseen*, never absent.

    Parameters
    ----------
    types
        As the API filters by them: ``lambda:function``, or ``sqs`` for all of a service.
    """

    def __init__(self, session: AwsSession, *types: str) -> None:
        self._session = session
        self._types = types
        self._lock = threading.Lock()
        self._touched: dict[str, float] = {}

    def touched(self, arn: str) -> None:
        """Tags of ``arn`` were just written: the index says nothing of it for a while."""
        with self._lock:
            self._touched[arn] = time.monotonic()

    def read(self) -> Mapping[str, Mapping[str, str]]:
        """The tags of all that carry the cluster's tag, of whichever cluster: one call per 100.

        Raises
        ------
        AccessDenied
            ``tag:GetResources`` is missing.
        """
        found = tagging.bulk(self._session, *self._types, key=TAG_CLUSTER)
        limit = time.monotonic() - LAG_SECONDS
        with self._lock:
            self._touched = {arn: at for arn, at in self._touched.items() if at > limit}
            for arn in self._touched:
                found.pop(arn, None)
        return found
