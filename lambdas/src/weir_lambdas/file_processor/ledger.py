"""Which files have arrived, and what became of each: every one is landed once, whatever comes twice.

A file is an object's bucket, key and etag; where that etag comes a second time (overwritten, and
overwritten back; another version) also the sequencer of S3's event, which tells one state of an object from
another. Its item is written once when it arrives, with a second one that waits to be landed. The manifest is the commit: whoever lands next settles the ledger by the
manifests that it has not seen, so that a death between the two loses and doubles nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from weir_contract.codec import dumps, loads
from weir_contract.manifest import LandedFile, Manifest
from weir_contract.moments import iso
from weir_contract.rows import RowContract
from weir_contract.state import (
    BODY,
    CONTENT,
    FILE,
    LATEST,
    SETTLED,
    TAKING,
    WAITING,
    files_pk,
    source_pk,
)
from weir_lambdas.common.state import Table, Update, putting, read_contract, updating
from weir_lambdas.file_processor.reading import Located

WRITERS = 8
"""Files that are entered at once."""


def file_id(located: Located) -> str:
    """Stands for one state of one object: 32 hexadecimal digits."""
    again = (located.again,) if located.again else ()
    text = "\0".join((located.bucket, located.key, located.etag, *again))
    return sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Arrived:
    """A file that waits to be landed; ``sk`` is its place in the queue."""

    sk: str
    located: Located


def _latest_sk(bucket: str, key: str) -> str:
    return f"{LATEST}{sha256(f'{bucket}/{key}'.encode()).hexdigest()[:32]}"


MAX_DEATHS = 2
"""Calls that may die while they read one file alone."""


@dataclass(frozen=True)
class Fallen:
    """What is known of a call that died while it read files.

    Parameters
    ----------
    sk
        The file that it read alone; empty where it read many at once.
    deaths
        How many calls have died of that file.
    """

    sk: str
    deaths: int

    def killed_by(self, sk: str) -> bool:
        """Whether a file is not to be tried again."""
        return sk == self.sk and self.deaths >= MAX_DEATHS


class Ledger:
    """The files of one source.

    Parameters
    ----------
    source
        ``namespace/name``.
    """

    def __init__(self, table: Table, source: str) -> None:
        self._table, self._source = table, source
        self._pk, self._files = source_pk(source), files_pk(source)

    def arrive(self, located: Located, at: datetime, sequencer: str = "") -> bool:
        """A file is there. Returns False where it was known already.

        What a sweep has found has no sequencer: the first event with its etag is taken for the one
        that told of it.

        Parameters
        ----------
        at
            When it was written to S3: files are landed in this order.
        sequencer
            Of S3's event, in hex: the same where an event comes twice, and of two states of one object
            the later has the greater one (S3 User Guide, *Event message structure*).
        """
        if self._enter_new(located, at, sequencer):
            return True
        first = self._first(located, sequencer) if sequencer else sequencer
        if first == sequencer:
            return False
        return self._enter_new(replace(located, again=sequencer), at, sequencer)

    def _enter_new(self, located: Located, at: datetime, sequencer: str) -> bool:
        number, body = file_id(located), dumps(located)
        told = {"sequencer": sequencer} if sequencer else {}
        item = {BODY: body, "state": "waiting", **told}
        return self._table.transact(
            [
                putting(self._files, f"{FILE}{number}", item, new=True),
                putting(self._pk, f"{WAITING}{iso(at)}#{sequencer}#{number}", {BODY: body}),
            ]
        )

    def _first(self, located: Located, sequencer: str) -> str:
        """The sequencer of the first state of an object with that etag: this one, if none is known."""
        item = self._table.update(
            self._files,
            f"{FILE}{file_id(located)}",
            Update(
                "SET sequencer = if_not_exists(sequencer, :sequencer)", {"sequencer": sequencer}
            ),
        )
        return str((item or {}).get("sequencer", ""))

    def enter_again(self, located: Located, at: datetime, request: str, force: bool) -> bool:
        """Let a file wait that is not landed, or (``force``) that is. Returns whether it waits now
        because of this call; once for each ``request``, whatever is repeated.

        Parameters
        ----------
        at
            When it was written to S3.
        """
        number = file_id(located)
        item = self._table.get(self._files, f"{FILE}{number}")
        if item is None:
            return self.arrive(located, at)
        state = str(item["state"])
        if state == "waiting" or (state in ("landed", "duplicate") and not force):
            return False
        update = Update(
            "SET #state = :waiting, asked_by = :request",
            {"waiting": "waiting", "request": request, "old": state},
            "#state = :old AND (attribute_not_exists(asked_by) OR asked_by <> :request)",
        )
        body = {BODY: dumps(located)}
        return self._table.transact(
            [
                updating(self._files, f"{FILE}{number}", update),
                putting(self._pk, f"{WAITING}{iso(at)}#{number}", body),
            ]
        )

    def known(self, located: Located) -> bool:
        """Whether a file has arrived before."""
        return self._table.get(self._files, f"{FILE}{file_id(located)}") is not None

    def latest(self, located: Located) -> str | None:
        """The SHA-256, in hex, of what was landed of an object last; None where nothing was."""
        item = self._table.get(self._files, _latest_sk(located.bucket, located.key))
        return None if item is None else str(item["content"])

    def waiting(self, limit: int | None = None) -> Iterator[Arrived]:
        """Files that are not landed, the oldest first."""
        for item in self._table.query(self._pk, WAITING, limit=limit):
            yield Arrived(str(item["sk"]), loads(Located, item[BODY]))

    def waits(self, sk: str) -> Arrived | None:
        """The file at a place in the queue, or None where it is not there any more."""
        item = self._table.get(self._pk, sk)
        return None if item is None else Arrived(sk, loads(Located, item[BODY]))

    def landed_as(self, content: str, file: Located) -> str | None:
        """The ``s3://`` URI of another file that was landed with that content, or None.

        Parameters
        ----------
        content
            The content's SHA-256 in hex.
        """
        item = self._table.get(self._files, f"{CONTENT}{content}")
        if item is None or item.get("file") == file_id(file):
            return None
        return str(item["uri"])

    def begin(self) -> Fallen | None:
        """A call begins to read. Returns what the one before it died of, if it did."""
        item = self._table.get(self._pk, TAKING)
        fallen = Fallen(str(item["file"]), int(item["deaths"])) if item else None
        self._taking(fallen or Fallen("", 0))
        return fallen

    def alone(self, sk: str, fallen: Fallen) -> None:
        """A call that is careful begins to read one file."""
        self._taking(Fallen(sk, fallen.deaths + 1 if sk == fallen.sk else 1))

    def end(self) -> None:
        """A call has come to its end, whichever."""
        self._table.delete(self._pk, TAKING)

    def _taking(self, now: Fallen) -> None:
        values = {"file": now.sk, "deaths": now.deaths}
        self._table.update(self._pk, TAKING, Update("SET #file = :file, #deaths = :deaths", values))

    def contract(self) -> RowContract | None:
        """The source's frozen contract, or None before its first rows."""
        return read_contract(self._table, self._source)

    def settled(self) -> int:
        """The sequence up to which the ledger agrees with the manifests."""
        return int((self._table.get(self._pk, SETTLED) or {}).get("sequence", 0))

    def settle(self, manifest: Manifest) -> None:
        """Enter what a committed manifest has taken. May be called any number of times."""
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="ledger") as pool:
            for entered in [
                pool.submit(self._enter, one, manifest.sequence) for one in manifest.files
            ]:
                entered.result()
        self._table.update(
            self._pk,
            SETTLED,
            Update(
                "SET #sequence = :sequence",
                {"sequence": manifest.sequence},
                "attribute_not_exists(pk) OR #sequence < :sequence",
            ),
        )

    def _enter(self, file: LandedFile, sequence: int) -> None:
        located = Located(file.bucket, file.key, file.etag, file.bytes, file.version_id)
        # Which of several states with one etag it was, its place among those that wait tells.
        number = file.waiting.rpartition("#")[2] or file_id(located)
        if file.sha256 and file.state == "landed":
            content = {"file": number, "uri": located.uri, "sequence": sequence}
            self._table.put_new(self._files, f"{CONTENT}{file.sha256}", content)
        if file.sha256 and file.state in ("landed", "duplicate"):
            # Manifests are entered in their order, the files of one side by side.
            self._table.update(
                self._files,
                _latest_sk(file.bucket, file.key),
                Update(
                    "SET #content = :content, #place = :place",
                    {"content": file.sha256, "place": f"{sequence:020}{file.waiting}"},
                    "attribute_not_exists(pk) OR #place < :place",
                ),
            )
        self._table.update(
            self._files,
            f"{FILE}{number}",
            Update(
                "SET #state = :state, #sequence = :sequence, #reason = :reason, #rows = :rows",
                {
                    "state": file.state,
                    "sequence": sequence,
                    "reason": file.reason,
                    "rows": file.rows,
                },
            ),
        )
        if file.waiting:
            self._table.delete(self._pk, file.waiting)


def unsettled(ledger: Ledger, newest: int) -> Sequence[int]:
    """Sequences of the manifests that the ledger has not seen, up to the newest."""
    return range(ledger.settled() + 1, newest + 1)
