"""One look at one object: its status as it becomes, its finalizer, and how the look ends."""

from __future__ import annotations

import copy
import random
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from weir.aws.errors import AccessDenied, AwsError, Conflict, Invalid, NotYet, Throttled
from weir.kube.client import Object
from weir.kube.conditions import (
    FLOWING,
    READY,
    RECONCILING,
    STALLED,
    SUSPENDED,
    SYNCED,
    Condition,
    false,
    find,
    is_true,
    merged,
    true,
)
from weir.kube.keys import FINALIZER, RECONCILE_AT, Key, annotation, is_deleting
from weir.reconcile.apply import Applied, Entry, NotConverging
from weir.reconcile.plan import Action, PhysicalKey, Verb
from weir.reconcile.runs import instant, to_the_second
from weir.reconcile.services import Result, Services
from weir.reconcile.world import drift_seconds
from weir.resource import titled

SOON = 2.0
"""Seconds until the next look at what AWS is still working on."""
BACKSTOP = 10.0
"""Drift intervals after which an object is looked at though nobody asked and nothing changed."""
THROTTLE_PAUSE = 5.0
"""Seconds after a call that was throttled, at least, where the error names none."""
DUE_SLACK = 1.0
"""Seconds after which what was due at a time is certainly past."""
SETTLES = "Waiting"
"""Why an object is not ready while AWS works on it: a look that was asked for ends after that."""
TOLD_FIELDS = 8
"""Fields that an event or a message names."""
TOLD_PROBLEMS = 3
ALL_WELL = "everything is as the spec says"
"""What Ready says, as condition and as event."""

TERMINAL = (Conflict, Invalid, AccessDenied)
"""No retry helps until a person does something; tried again slowly all the same."""


class Halt(Exception):
    """The look ends here, and this is what is said of it.

    Parameters
    ----------
    reason
        CamelCase, for the conditions.
    message
        What is wrong, where, and what to do.
    stalled
        Whether it stays so until somebody does something.
    after
        Seconds to the next look; None where the change that is waited for asks for it.
    synced
        Whether AWS is as wanted all the same.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        stalled: bool = False,
        after: float | None = None,
        synced: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.stalled = stalled
        self.after = after
        self.synced = synced


class Look:
    """One look at one object.

    ``status`` is a copy that the steps write into; :meth:`close` sends it if it has changed.
    ``same_wish`` says that exactly this was wanted at the last look: what differs now was done by
    others.
    """

    def __init__(self, services: Services, obj: Object) -> None:
        self.services = services
        self.obj = obj
        self.key = Key.of(obj)
        self.status: dict[str, Any] = copy.deepcopy(obj.get("status") or {})
        self.flowing: Condition | None = None
        self.routed: Condition | None = None
        self.suspended = ""
        self.same_wish = False
        self.due: datetime | None = None
        """When a condition changes by itself, if it does: the object is looked at then."""

    @property
    def generation(self) -> int:
        """``metadata.generation``."""
        return int(self.obj["metadata"].get("generation", 0))

    @property
    def forced(self) -> bool:
        """Whether somebody asks for a fresh look, by a new value of ``weir.dev/reconcile-at``."""
        asked = annotation(self.obj, RECONCILE_AT)
        return asked is not None and asked != self.status.get("reconcileAt")

    def begins(self) -> bool:
        """Whether this is the first look of those that ``weir.dev/reconcile-at`` asks for: the next
        ones, until AWS has settled, know what this one saw."""
        asked = annotation(self.obj, RECONCILE_AT) or ""
        before = self.services.obeyed.get(self.key)
        self.services.obeyed[self.key] = asked
        return before != asked

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits for this look: the spec has changed, or a fresh look is asked for."""
        return self.forced or self.status.get("observedGeneration") != self.generation

    @property
    def entries(self) -> list[Entry]:
        """``status.resources``."""
        return [Entry.from_status(line) for line in self.status.get("resources") or []]

    def enter(self, entries: Sequence[Entry]) -> None:
        """Set ``status.resources``."""
        self.status["resources"] = [entry.to_status() for entry in entries]

    def write_ahead(self, entries: Sequence[Entry]) -> None:
        """Put the resources that are about to be created on the object, now."""
        self.enter(entries)
        self._send(self.status)

    def hold(self) -> None:
        """Put our finalizer on the object: from here on nothing is left behind."""
        present = list(self.obj["metadata"].get("finalizers") or [])
        if FINALIZER not in present:
            self.obj = self.services.kube.set_finalizers(self.obj, [*present, FINALIZER])
            self.services.saved(self.obj)

    def release(self) -> None:
        """Take our finalizer off: nothing is left."""
        present = list(self.obj["metadata"].get("finalizers") or [])
        if FINALIZER in present:
            present.remove(FINALIZER)
            self.obj = self.services.kube.set_finalizers(self.obj, present)
            self.services.saved(self.obj)
        self.services.metrics.forget(self.key)

    def drift(self) -> float:
        """Seconds to the next look where all is well: the Platform's ``driftInterval`` rules."""
        interval = self._platform().get("spec", {}).get("driftInterval")
        return drift_seconds(interval, self.services.options.drift_interval)

    def rest(self) -> float:
        """Seconds until an object is looked at with which all is well, though nothing happened.

        What changes on AWS the drift rounds find; this is for what nobody tells. Nobody tells when a
        namespace loses the labels that a grant selects by: that is asked as often as AWS is.
        """
        grants = self._platform().get("spec", {}).get("grants") or ()
        selects = any((one.get("namespaces") or {}).get("matchLabels") for one in grants)
        return self.drift() if selects else BACKSTOP * self.drift()

    def _platform(self) -> Object:
        """The object's Platform, or nothing where there is none."""
        name = self.key.name
        if self.key.kind != "Platform":
            name = self.obj["spec"].get("platform", "default")
        return self.services.store.get(Key("Platform", "", name)) or {}

    def tell(
        self,
        done: Sequence[Action],
        echoes: Collection[PhysicalKey] = (),
        drifted: Collection[PhysicalKey] = (),
    ) -> None:
        """Events for what was done: what had changed behind our back, and what stays behind.

        ``echoes`` were written by ourselves a moment ago: AWS may still show them as they were.
        ``drifted`` were found otherwise than they had been left.
        """
        known = {entry.key for entry in self.entries if entry.state == "Ready"}
        synced = find(self.obj.get("status") or {}, SYNCED) or {}
        settled = synced.get("observedGeneration") == self.generation
        mine = known if self.same_wish else known.intersection(drifted)
        for action in done:
            if action.verb is Verb.RETAIN:
                note = f"{titled(action.kind, action.name)} {action.reason}: it stays on AWS"
                self.services.events.say(self.obj, "Retained", note)
            elif action.verb is Verb.ADOPT:
                what = titled(action.kind, action.name)
                note = f"{what} was there before: taken over, and it stays when this object goes"
                self.services.events.say(self.obj, "Adopted", note)
            elif settled and (action.kind, action.name) in mine.difference(echoes):
                self.services.events.warn(self.obj, "DriftCorrected", drift_note(action))
                self.services.metrics.mended(action.kind)

    def applied(self, result: Applied) -> Halt | None:
        """Take over what an apply came to. Returns why the object is not synced, or None."""
        self.tell(result.done, result.echoes, result.drifted)
        self.enter(result.entries)
        self.services.metrics.owns(self.key, result.entries)
        self.services.metrics.acted(result.done)
        if result.problems:
            return halt_of([problem.error for problem in result.problems])
        if result.waiting:
            return Halt(SETTLES, "; ".join(result.waiting[:TOLD_PROBLEMS]), after=SOON)
        return None

    def close(self, halt: Halt | None, *, ready: str = "", reason: str = "Ready") -> Result:
        """Write the conditions, send the status if it has changed, and say when to look again.

        Parameters
        ----------
        halt
            Why the object is not ready; None says that it is.
        ready
            The message of Ready.
        reason
            The reason of Ready.
        """
        if halt is not None and halt.reason == Throttled.__name__ and self._stays_synced():
            return self._wait(halt)
        conditions = self._conditions(halt, ready, reason)
        was_ready = is_true(self.obj, READY)
        self.status["conditions"] = merged(
            (self.obj.get("status") or {}).get("conditions") or [],
            conditions,
            self.generation,
            to_the_second(self.services.now()),
        )
        self.status["observedGeneration"] = self.generation
        deleted = instant(self.obj["metadata"].get("deletionTimestamp"))
        self.services.metrics.says(
            self.key, self.status["conditions"], deleted.timestamp() if deleted else None
        )
        asked = annotation(self.obj, RECONCILE_AT)
        if asked is not None and (halt is None or halt.reason != SETTLES):
            self.status["reconcileAt"] = asked
        status = {name: value for name, value in self.status.items() if value is not None}
        if status != (self.obj.get("status") or {}):
            self._send(status)
        if halt is None or halt.synced:
            self.services.metrics.synced(self.key, self.generation)
        if halt is None:
            if not was_ready:
                self.services.events.say(self.obj, "Ready", ready or ALL_WELL)
            outcome = "suspended" if self.suspended else "converged"
            return Result(outcome, self.rest(), at_latest=self._until_due())
        throttled = halt.reason == Throttled.__name__
        fell = was_ready and not halt.synced
        if not throttled and (halt.stalled or fell or is_deleting(self.obj)):
            self.services.events.warn(self.obj, halt.reason, halt.message)
        if throttled:
            return self._wait(halt)
        outcome = halt.reason.lower() if halt.stalled else "progressing"
        waits = halt.after is None and not halt.stalled
        if halt.stalled or halt.reason in RETRIED:
            return Result(outcome, halt.after, failed=True)
        return Result(outcome, self.drift() if waits else halt.after)

    def _stays_synced(self) -> bool:
        """Whether AWS was as this spec says at the last look: that nobody can look now is no news."""
        synced = find(self.obj.get("status") or {}, SYNCED) or {}
        return (
            synced.get("status") == "True"
            and synced.get("observedGeneration") == self.generation
            and not is_deleting(self.obj)
        )

    def _wait(self, halt: Halt) -> Result:
        """AWS has too many calls. That is nobody's failure: it is tried again, each at its time."""
        status = {name: value for name, value in self.status.items() if value is not None}
        if status != (self.obj.get("status") or {}):
            self._send(status)
        pause = THROTTLE_PAUSE if halt.after is None else halt.after
        return Result("throttled", pause * (1.0 + random.random()))

    def _until_due(self) -> float | None:
        """Seconds until a condition changes by itself; None where none does."""
        if self.due is None:
            return None
        left = (self.due - self.services.now()).total_seconds()
        return left + DUE_SLACK if left > 0 else None

    def _conditions(self, halt: Halt | None, ready: str, reason: str) -> list[Condition]:
        count = len(self.status.get("resources") or [])
        in_sync = true(SYNCED, "Synced", f"{count} AWS resources are as the spec says")
        if halt is None:
            found = [true(READY, reason, ready or ALL_WELL), in_sync]
        else:
            synced = in_sync if halt.synced else false(SYNCED, halt.reason, halt.message)
            kind = STALLED if halt.stalled else RECONCILING
            found = [
                false(READY, halt.reason, halt.message),
                synced,
                true(kind, halt.reason, halt.message),
            ]
        if self.flowing is not None:
            found.append(self.flowing)
        if self.routed is not None:
            found.append(self.routed)
        if self.suspended:
            found.append(true(SUSPENDED, "Suspended", self.suspended))
        return found

    def _send(self, status: dict[str, Any]) -> None:
        clean = {name: value for name, value in status.items() if value is not None}
        self.obj = self.services.kube.put_status(self.obj, clean)
        self.services.saved(self.obj)


RETRIED = frozenset({"NotYet", "NotFound", "Throttled", "Transient", "AwsError"})
"""Reasons of halts that come from AWS: tried again, later each time."""


def halt_of(errors: Sequence[AwsError]) -> Halt:
    """What several failures come to: the worst one's class, and what they say.

    The text begins with those of that class, so that it fits the reason; another class is named
    before what it says.
    """
    worst = min(errors, key=_rank)
    texts = {
        str(error) if type(error) is type(worst) else f"{type(error).__name__}: {error}": error
        for error in errors
    }
    told = sorted(texts, key=lambda text: (type(texts[text]) is not type(worst), text))
    message = "; ".join(told[:TOLD_PROBLEMS])
    if len(told) > TOLD_PROBLEMS:
        message += f"; and {len(told) - TOLD_PROBLEMS} more"
    return Halt(
        type(worst).__name__,
        message,
        stalled=isinstance(worst, TERMINAL),
        after=worst.retry_after,
    )


_ORDER = (NotConverging, Conflict, Invalid, AccessDenied, NotYet, Throttled)


def _rank(error: AwsError) -> int:
    return next((i for i, one in enumerate(_ORDER) if isinstance(error, one)), len(_ORDER))


def drift_note(action: Action) -> str:
    """What had changed behind our back, and what was done about it."""
    what = titled(action.kind, action.name)
    if action.verb is Verb.CREATE:
        return f"{what} was gone and has been created again"
    paths = [change.path for change in (*action.changes, *action.tag_changes)]
    fields = ", ".join(paths[:TOLD_FIELDS]) + (", …" if len(paths) > TOLD_FIELDS else "")
    return f"{what} was changed from outside and has been put right: {fields}"


def keep_flowing(look: Look) -> None:
    """Where a look ends before it knows better, Flowing stays as it was."""
    if look.flowing is None:
        before = find(look.obj.get("status") or {}, FLOWING)
        if before is not None:
            look.flowing = Condition(
                FLOWING, before["status"], before["reason"], before.get("message", "")
            )
