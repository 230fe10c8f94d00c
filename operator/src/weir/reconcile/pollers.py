"""Can Lambda's pollers read what the objects' mappings name? Asked between two drift rounds.

What they can't read reaches no function, so that nothing else would say it soon. One listing of a
Platform's mappings shows what their pollers say; who has one that says something new is woken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import structlog

from weir.aws.errors import AwsError
from weir.aws.mappings import EventSourceMapping
from weir.kube.conditions import FLOWING, false, find
from weir.kube.keys import Key
from weir.reconcile.asking import AT_A_TIME, PlatformAsker
from weir.reconcile.drift import wake_owners
from weir.reconcile.inventory import Finding
from weir.reconcile.look import Look
from weir.reconcile.queue import Lane
from weir.reconcile.world import World, Worlds
from weir.resource import Resource
from weir_contract.pollers import REASON, advised

log = structlog.get_logger("weir.pollers")

SECONDS = 30.0
"""Between two questions: what AWS says of a mapping is on the object within a minute."""


class PollerWatcher(PlatformAsker):
    """Asks what the pollers of each Platform's mappings say, and wakes the owners where it is new.

    Parameters
    ----------
    wake
        Puts an object into the queue of work.
    found
        Told of what was found: a listing shows drift of a mapping too.
    serves
        Whether a Platform is this process's to work for.
    opening
        Whether objects wait for their first look still: it shows what a listing would.
    """

    def __init__(
        self,
        worlds: Worlds,
        wake: Callable[[Key, Lane], None],
        found: Callable[[Sequence[Finding]], None] = lambda _findings: None,
        serves: Callable[[str], bool] = lambda _platform: True,
        opening: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__("pollers", worlds, SECONDS, AT_A_TIME, serves)
        self._wake, self._found, self._opening = wake, found, opening

    def ask(self, platform: str, world: World) -> None:
        """One listing of one Platform's mappings; none where it has no mapping."""
        if self._opening():
            return
        try:
            woken = self.hear(world)
        except AwsError as error:
            log.warning("not heard", platform=platform, error=str(error))
        except Exception:
            # A fault of this program must not end the asking: say it, and ask again.
            log.exception("fault", platform=platform)
        else:
            if woken:
                log.info("heard", platform=platform, woken=len(woken))

    def hear(self, world: World) -> set[Key]:
        """List the mappings and wake the owners of those of which something is new.

        Returns
        -------
        set of Key
            The objects that were woken.

        Raises
        ------
        AwsError
            They can't be listed.
        """
        seen = world.inventory.survey(EventSourceMapping.kind)
        # Whether a resource is as wanted is for looks and drift rounds to say.
        news = [finding for finding in seen if finding.what != "unconfirmed"]
        self._found(news)
        return wake_owners(world.inventory, news, self._wake)


def hear_pollers(look: Look, world: World, resources: Iterable[Resource]) -> None:
    """Say on an object that does not flow what keeps Lambda's pollers from reading its source.

    Parameters
    ----------
    resources
        Those that the object wants; what was seen of its mappings last counts.
    """
    mappings = (one.key for one in resources if one.kind == EventSourceMapping.kind)
    seen = [observed for key in mappings if (observed := world.inventory.peek(key)) is not None]
    problems = sorted({one.attributes.get("problem", "") for one in seen} - {""})
    before = find(look.obj.get("status") or {}, FLOWING) or {}
    was_so, events = before.get("reason") == REASON, look.services.events
    if not problems:
        if was_so:
            events.say(look.obj, "SourceRead", "Lambda's pollers have no problem any more", "Run")
        return
    message = advised("; ".join(one.rstrip(".") for one in problems))
    if not was_so:
        events.warn(look.obj, REASON, message, "Run")
    look.flowing = false(FLOWING, REASON, message)
