"""How the ledger hears of a file: by S3's event, and by looking through the prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from weir_contract.sources import Files
from weir_contract.state import CHECKPOINT, source_pk, watch_pk
from weir_lambdas.common.clock import Clock, parse_iso
from weir_lambdas.common.state import Table
from weir_lambdas.file_processor.globs import matches
from weir_lambdas.file_processor.ledger import Ledger
from weir_lambdas.file_processor.reading import Located
from weir_lambdas.landing.batch import Window


@dataclass(frozen=True)
class Watch:
    """A source that watches a bucket.

    Parameters
    ----------
    source
        ``namespace/name``.
    prefix, pattern
        Which keys are meant; ``pattern`` is a glob below the prefix, empty for all.
    machine
        ARN of the state machine that lands them.
    """

    source: str
    prefix: str
    pattern: str
    machine: str

    def means(self, key: str) -> bool:
        """Whether a key is one of the source's files. Folders' own marks are none."""
        return watched(key, self.prefix, self.pattern)


SETUP = "AMAZON_SES_SETUP_NOTIFICATION"
"""What SES puts where a new receipt rule leads, to see whether it may (SES Developer Guide, *Deliver
to S3 bucket action*)."""


def watched(key: str, prefix: str, pattern: str | None) -> bool:
    """Whether a key stands below a prefix, matches a glob there, and is neither a folder's mark nor
    SES's own."""
    if not key.startswith(prefix) or key.endswith("/") or key.rpartition("/")[2] == SETUP:
        return False
    return not pattern or matches(key[len(prefix) :], pattern)


def watches(table: Table, bucket: str) -> Iterator[Watch]:
    """The sources that watch a bucket, as the operator has entered them."""
    for item in table.query(watch_pk(bucket), ""):
        yield Watch(
            str(item["sk"]),
            str(item.get("prefix", "")),
            str(item.get("pattern", "")),
            str(item["stateMachineArn"]),
        )


def located_in(detail: Mapping[str, Any]) -> Located:
    """The object of an S3 event in EventBridge's form (S3 User Guide, *Event message structure*)."""
    found = detail["object"]
    return Located(
        detail["bucket"]["name"],
        found["key"],
        str(found.get("etag", "")).strip('"'),
        int(found.get("size", 0)),
        found.get("version-id"),
    )


def arrive(
    table: Table,
    located: Located,
    at: datetime,
    clock: Clock,
    start: Callable[[str], None],
    sequencer: str = "",
) -> list[str]:
    """Enter an object at every source that means it, and see to it that each is landed.

    The file is entered before the lease is looked at, and a landing looks for files once more after
    it has given its lease back: there is no moment in between in which a file would be forgotten.

    Parameters
    ----------
    start
        Starts an execution of a state machine, by its ARN.
    sequencer
        The event's: tells the order of what was written to a key within one second.

    Returns
    -------
    list of str
        The sources, ``namespace/name``.
    """
    sources = []
    for watch in watches(table, located.bucket):
        if not watch.means(located.key):
            continue
        sources.append(watch.source)
        new = Ledger(table, watch.source).arrive(located, at, sequencer)
        if new and not lands(table, watch.source, clock):
            start(watch.machine)
    return sources


def lands(table: Table, source: str, clock: Clock) -> bool:
    """Whether a landing of the source holds its lease at this moment."""
    item = table.get(source_pk(source), CHECKPOINT) or {}
    return int(item.get("lease_until", 0)) > clock.now().timestamp()


SWEEPERS, LISTED = 8, 1_000
"""Files that are looked up at once, and of how many the places are held."""


def sweep(s3: Any, ledger: Ledger, files: Files) -> int:
    """Enter every file below the prefix that the ledger does not know: those that were there before
    the source was, and those whose event was lost.

    Returns
    -------
    int
        Files that were new.
    """

    def enter(found: tuple[Located, datetime]) -> bool:
        return not ledger.known(found[0]) and ledger.arrive(*found)

    count, files_there = 0, listed(s3, files)
    # A million files one by one take longer than a function may.
    with ThreadPoolExecutor(SWEEPERS, thread_name_prefix="sweep") as pool:
        while some := list(islice(files_there, LISTED)):
            count += sum(pool.map(enter, some))
    return count


def enter_again(
    s3: Any, ledger: Ledger, files: Files, window: Window, request: str, force: bool
) -> int:
    """Enter the files of a window that are not landed, the refused ones among them, so that the
    source's next landing takes them.

    Parameters
    ----------
    window
        Of the moments at which they were written to S3.
    request
        Stands for the backfill: a file is entered once for it, however often this is called.
    force
        Enter those again too that were landed.

    Returns
    -------
    int
        Files that wait now because of it.
    """
    return sum(
        ledger.enter_again(located, at, request, force)
        for located, at in listed(s3, files)
        if window.start <= at < window.end
    )


def listed(s3: Any, files: Files) -> Iterator[tuple[Located, datetime]]:
    """Every file below the prefix that is meant, and when it was written to S3."""
    more: dict[str, str] = {}
    while True:
        page = s3.list_objects_v2(Bucket=files.bucket, Prefix=files.prefix, **more)
        for item in page.get("Contents", []):
            if watched(item["Key"], files.prefix, files.pattern):
                located = Located(
                    files.bucket, item["Key"], item["ETag"].strip('"'), int(item["Size"])
                )
                at = item["LastModified"]
                yield located, at if isinstance(at, datetime) else parse_iso(str(at))
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}
