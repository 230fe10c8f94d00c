"""What keeps records of a stream from being received, until they are.

Lambda tries a failing batch again and again, and tells nobody. So ``receive`` notes what failed and from
which place on, and has the sealer look at once; that fails with the same words as long as the lane's
position has not passed the place, which puts them on the object.
"""

from __future__ import annotations

from weir_contract.state import EXPIRES, WAITS, place_text, source_pk, waits_sk
from weir_lambdas.common.clock import Clock
from weir_lambdas.common.errors import OutOfTime, SourceUnavailable, WeirError
from weir_lambdas.common.log import REDACTOR
from weir_lambdas.common.state import Table
from weir_lambdas.stream_processor.events import Lane
from weir_lambdas.stream_processor.positions import Positions

FRESH_SECONDS = 900
"""How long a failure counts: Lambda tries again within minutes, and what fails is noted again."""

KEPT_SECONDS = 86_400

KINDS = {kind.__name__: kind for kind in WeirError.__subclasses__()}


class Waits:
    """What keeps one source's records from being received.

    Parameters
    ----------
    source
        ``namespace/name``.
    """

    def __init__(self, table: Table, source: str, clock: Clock) -> None:
        self._table, self._pk, self._clock = table, source_pk(source), clock

    def note(self, lane: Lane, place: int, error: Exception) -> bool:
        """Note that records of a lane are not taken from a place on.

        Returns
        -------
        bool
            Whether that is news: nothing fresh of the lane says the same.
        """
        if isinstance(error, OutOfTime):
            # The rest of a batch comes again: nobody has to do anything.
            return False
        kind, what, where = _said(error)
        now = int(self._clock.now().timestamp())
        before = self._table.get(self._pk, waits_sk(lane.id)) or {}
        said = {"kind": kind, "what": what, "where": where, "lane": lane.title}
        self._table.put(
            self._pk,
            waits_sk(lane.id),
            said | {"place": place_text(place), "at": now, EXPIRES: now + KEPT_SECONDS},
        )
        fresh = int(before.get("at", 0)) > now - FRESH_SECONDS
        return not (fresh and all(before.get(name) == value for name, value in said.items()))

    def standing(self, positions: Positions) -> WeirError | None:
        """What keeps records waiting now, as what failed; None where nothing does."""
        now = int(self._clock.now().timestamp())
        for item in self._table.query(self._pk, WAITS):
            lane = str(item["sk"]).removeprefix(WAITS)
            place = int(item["place"])
            if int(item["at"]) > now - FRESH_SECONDS and positions.read(lane).place < place:
                kind = KINDS.get(str(item["kind"]), SourceUnavailable)
                what = f"{item['what']}: records of {item['lane']} wait from {place} on"
                return kind(what, str(item["where"]))
            self._table.delete(self._pk, str(item["sk"]))
        return None


def _said(error: Exception) -> tuple[str, str, str]:
    """Kind, what is wrong, and where."""
    if isinstance(error, WeirError) and type(error).__name__ in KINDS:
        return type(error).__name__, error.what.rstrip("."), error.where
    return SourceUnavailable.__name__, REDACTOR.text(f"{type(error).__name__}: {error}"), ""
