"""What becomes of a batch: done, retried, split or given up. Decisions alone, no I/O.

Lambda Developer Guide, "Using Lambda to process records from Amazon Kinesis Data Streams",
"Configuring partial batch response with Kinesis Data Streams and Lambda", "Retain discarded batch
records ..." and "Configuring error handling controls for Kafka event sources".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

EXHAUSTED = "RetryAttemptsExhausted"
TOO_OLD = "RecordAgeExceeded"
PAYLOAD_BYTES = 6 * 1024 * 1024
"""The payload of a synchronous invocation ("Lambda quotas")."""
FOREVER = -1

Record = TypeVar("Record")


@dataclass(frozen=True)
class Rules:
    """How a mapping treats batches.

    :param size: most records in a batch
    :param window: seconds to gather a batch
    :param retries: retries after a function's error, -1 for ever
    :param age: seconds after which a record is given up, -1 never
    :param bisect: whether a failed batch is split in two
    :param partial: whether the function reports the records that failed
    """

    size: int = 100
    window: float = 0
    retries: int = FOREVER
    age: float = FOREVER
    bisect: bool = False
    partial: bool = False


@dataclass(frozen=True)
class Attempt(Generic[Record]):
    """Records that go to the function together.

    :param invocations: how often they went there already
    :param retries: how many of those count against the mapping's retries
    """

    records: tuple[Record, ...]
    invocations: int = 0
    retries: int = 0


@dataclass(frozen=True)
class Step(Generic[Record]):
    """What follows an invocation.

    :param done: the records that never come back, in order
    :param again: what is tried next, in order
    :param discarded: what goes to the destination for failures
    """

    done: tuple[Record, ...] = ()
    again: tuple[Attempt[Record], ...] = ()
    discarded: Attempt[Record] | None = None


def rules(mapping: dict[str, Any], window: float = 0) -> Rules:
    """The rules of a mapping as Lambda's API spells them.

    :param window: the default of MaximumBatchingWindowInSeconds
    """
    given = mapping.get("MaximumBatchingWindowInSeconds")
    return Rules(
        size=int(mapping.get("BatchSize") or 100),
        window=float(window if given is None else given),
        retries=int(mapping.get("MaximumRetryAttempts", FOREVER)),
        age=float(mapping.get("MaximumRecordAgeInSeconds", FOREVER)),
        bisect=bool(mapping.get("BisectBatchOnFunctionError")),
        partial="ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or []),
    )


def cut(sizes: Sequence[int], most: int, limit: int = PAYLOAD_BYTES) -> int:
    """How many of the first records make a batch.

    :param sizes: bytes of each record in the event
    :param most: the batch size
    :param limit: bytes of the event's records; one record always goes
    """
    total = count = 0
    for size in sizes[:most]:
        total += size + 2
        if count and total > limit:
            break
        count += 1
    return count


def identifiers(answer: Any) -> list[Any] | None:
    """What a function reports as failed, None when its answer cannot be understood.

    An empty answer, a missing or empty ``batchItemFailures`` is a success; an entry without
    ``itemIdentifier``, or with an empty one, makes the whole batch fail.

    :param answer: what the function returned
    """
    if answer is None or answer in ("", {}):
        return []
    if not isinstance(answer, dict):
        return None
    failures = answer.get("batchItemFailures")
    if failures is None:
        return []
    if not isinstance(failures, list):
        return None
    found = [each.get("itemIdentifier") if isinstance(each, dict) else None for each in failures]
    return None if any(each in (None, "", {}) for each in found) else found


def lowest(reported: list[Any], known: Sequence[Any]) -> int | None:
    """The index of the first failed record, None when all succeeded.

    :param reported: :func:`identifiers`
    :param known: the records' identifiers in order; one that is not here fails the whole batch
    """
    places = {identifier: index for index, identifier in enumerate(known)}
    found = [places.get(identifier, 0) for identifier in reported]
    return min(found, default=None)


def after_success(attempt: Attempt[Record], rest: tuple[Record, ...], given: Rules) -> Step[Record]:
    """What follows an invocation that returned.

    :param rest: the records from the first failed one of their shard or partition on, in order
    """
    if not rest:
        return Step(done=attempt.records)
    if len(rest) == len(attempt.records):
        return after_error(attempt, given)
    # By identity: two records may well be equal.
    left = {id(record) for record in rest}
    done = tuple(record for record in attempt.records if id(record) not in left)
    remaining = replace(attempt, records=rest)
    if given.bisect:
        # Splitting a batch, at the checkpoint as anywhere, does not count as a retry.
        again = replace(remaining, invocations=attempt.invocations + 1)
        return Step(done=done, again=(again,))
    return replace(after_error(remaining, given), done=done)


def after_error(attempt: Attempt[Record], given: Rules) -> Step[Record]:
    """What follows an invocation that failed as a whole."""
    tried = replace(attempt, invocations=attempt.invocations + 1)
    if given.bisect and len(attempt.records) > 1:
        half = len(attempt.records) // 2
        first = replace(tried, records=attempt.records[:half])
        return Step(again=(first, replace(tried, records=attempt.records[half:])))
    if given.retries != FOREVER and attempt.retries >= given.retries:
        return Step(discarded=tried)
    return Step(again=(replace(tried, retries=attempt.retries + 1),))


def outdated(
    attempt: Attempt[Record], arrived: Callable[[Record], float], now: float, age: float
) -> tuple[Attempt[Record] | None, Attempt[Record] | None]:
    """The part of an attempt that is too old, and the rest.

    :param arrived: when a record arrived, seconds since the epoch
    :param now: seconds since the epoch
    :param age: seconds a record may have, -1 for any
    """
    if age == FOREVER:
        return None, attempt
    count = 0
    while count < len(attempt.records) and now - arrived(attempt.records[count]) > age:
        count += 1
    old = replace(attempt, records=attempt.records[:count]) if count else None
    young = attempt.records[count:]
    return old, replace(attempt, records=young) if young else None
