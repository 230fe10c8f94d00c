"""The Platform's own record of who writes for it: an epoch in its state table that only rises.

A Lease lives in the cluster. Where the cluster's memory goes back (etcd restored from a backup) or a
machine's clock stood still, two processes may both take themselves for the holder. The table is on
the AWS side: each tenure writes its number down before its first write, and one that finds a higher
number there knows that it is not the latest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from weir.aws.calls import Calls
from weir.aws.errors import AwsError
from weir.aws.session import AwsSession
from weir.kube.election import NotHeld
from weir_contract.state import EPOCH, LEASE, PK, SK

log = structlog.get_logger("weir.epoch")

AGAIN = 30.0
"""Seconds until the next try where the table could not be written: the lease guards meanwhile."""


def raise_epoch(session: AwsSession, table: str, epoch: int, holder: str) -> int:
    """Write down that whoever writes for the Platform now is the ``epoch``-th.

    Parameters
    ----------
    table
        The Platform's state table.
    epoch
        The number of the holder's tenure: ``leaseTransitions`` of the Platform's Lease.
    holder
        Who that is.

    Returns
    -------
    int
        The epoch that stands there; one above ``epoch`` belongs to a later holder.

    Raises
    ------
    AwsError
        The table is not there, or can't be written.
    """
    calls = Calls(session, "dynamodb")
    place = {PK: {"S": LEASE}, SK: {"S": EPOCH}}
    try:
        calls(
            "PutItem",
            about=table,
            TableName=table,
            Item={**place, "epoch": {"N": str(epoch)}, "holder": {"S": holder}},
            ConditionExpression="attribute_not_exists(#pk) OR #epoch < :epoch"
            " OR (#epoch = :epoch AND #holder = :holder)",
            ExpressionAttributeNames={"#pk": PK, "#epoch": "epoch", "#holder": "holder"},
            ExpressionAttributeValues={":epoch": {"N": str(epoch)}, ":holder": {"S": holder}},
        )
    except AwsError as error:
        if error.code != "ConditionalCheckFailedException":
            raise
        answer = calls("GetItem", about=table, TableName=table, Key=place, ConsistentRead=True)
        found = int(answer["Item"]["epoch"]["N"]) if "Item" in answer else 0
        # Equal numbers of two holders: neither is the later one, and both have to step back.
        return max(found, epoch + 1)
    return epoch


class Epoch:
    """The check of one tenure: one call before its first write, none after.

    Parameters
    ----------
    number
        The tenure's.
    table
        The name of the state table, once there is one.
    session
        The Platform's session.
    surpass
        Told a higher number that stands there: the tenure is over, and the next gets a number above.
    """

    def __init__(
        self,
        platform: str,
        number: int,
        holder: str,
        table: Callable[[], str | None],
        session: Callable[[], AwsSession | None],
        surpass: Callable[[str, int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._platform = platform
        self._number = number
        self._holder = holder
        self._table = table
        self._session = session
        self._surpass = surpass
        self._clock = clock
        self._done = False
        self._next = float("-inf")
        self._asking = threading.local()
        self._lock = threading.Lock()

    def __call__(self) -> None:
        """Pass a write, the tenure's first one once the table says that it is the latest.

        Raises
        ------
        NotHeld
            A later tenure has written its number down.
        """
        if self._done or getattr(self._asking, "now", False):
            return
        with self._lock:
            if self._done or self._clock() < self._next:
                return
            table, session = self._table(), self._session()
            if table is None or session is None:
                return
            self._asking.now = True
            try:
                found = raise_epoch(session, table, self._number, self._holder)
            except AwsError as error:
                # Whatever is wrong with the table, it is the reconcile that mends it.
                self._next = self._clock() + AGAIN
                log.info("not raised", platform=self._platform, error=str(error))
                return
            finally:
                self._asking.now = False
            if found > self._number:
                log.warning("surpassed", platform=self._platform, tenure=self._number, epoch=found)
                self._surpass(self._platform, found)
                raise NotHeld(
                    f"Platform {self._platform} has had a later holder ({found}) than this replica "
                    f"({self._number})"
                )
            self._done = True
