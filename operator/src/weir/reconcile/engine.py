"""One key in, one result out: the step lists by kind, and what happens around each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import structlog

from weir.aws.errors import AwsError
from weir.kube.client import Denied, Gone, KubeError, Object, Stale
from weir.kube.election import NotHeld
from weir.kube.keys import Key, is_deleting
from weir.reconcile import dataschema, datasource, pipeline, pipelinerun, platform
from weir.reconcile.graph import GraphError
from weir.reconcile.look import Halt, Look, halt_of
from weir.reconcile.services import Result, Services
from weir.reconcile.steps import abandoned
from weir.reconcile.view import Unreadable

STEPS: Mapping[str, Callable[[Services, Object], Result]] = {
    "Platform": platform.reconcile,
    "DataSchema": dataschema.reconcile,
    "DataSource": datasource.reconcile,
    "Pipeline": pipeline.reconcile,
    "PipelineRun": pipelinerun.reconcile,
}
"""Kind -> its steps."""

log = structlog.get_logger("weir.reconcile")


class Reconciler:
    """Reconciles any object by its key. Safe to call from many threads, one a key at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def reconcile(self, key: Key) -> Result:
        """One look at one object. Raises nothing but what is a fault of this program."""
        started = time.monotonic()
        result = self._reconcile(key)
        seconds = time.monotonic() - started
        self._services.metrics.reconciled(key.kind, result.outcome, seconds)
        log.info(
            "reconciled",
            kind=key.kind,
            object=key.id,
            outcome=result.outcome,
            seconds=round(seconds, 3),
        )
        return result

    def _reconcile(self, key: Key) -> Result:
        obj = self._services.store.get(key)
        if obj is None:
            self._forget(key)
            return Result("gone")
        steps = STEPS.get(key.kind)
        if steps is None:
            return Result("converged")
        try:
            return steps(self._services, obj)
        except Stale:
            # Somebody wrote meanwhile: the watch brings the new object, this is for a lost event.
            self._refresh(key)
            return Result("stale", 0.5)
        except Gone:
            # The watch did not bring its deletion, or not yet.
            self._services.store.remove(obj)
            self._forget(key)
            return Result("gone")
        except NotHeld as error:
            # Another replica goes on with it, and says what becomes of it.
            log.info("handed over", kind=key.kind, object=key.id, why=str(error))
            return Result("handed over", 1.0)
        except (Denied, KubeError) as error:
            log.warning("kubernetes", kind=key.kind, object=key.id, error=str(error))
            return Result("failed", failed=True)
        except Unreadable as error:
            if is_deleting(obj) and abandoned(Look(self._services, obj)):
                return Result("deleted")
            return self._say(obj, Halt("Unreadable", str(error), stalled=True))
        except GraphError as error:
            return self._say(obj, Halt("Invalid", str(error), stalled=True))
        except AwsError as error:
            return self._say(obj, halt_of([error]))

    def _forget(self, key: Key) -> None:
        """The object is gone, and all that was kept of it."""
        self._services.metrics.forget(key)
        self._services.wishes.pop(key, None)
        self._services.obeyed.pop(key, None)
        self._services.worlds.disown(key)
        self._services.books.drop(key)

    def _refresh(self, key: Key) -> None:
        try:
            fresh = self._services.kube.get(key)
        except KubeError:
            return
        if fresh is not None:
            self._services.store.put(fresh)

    def _say(self, obj: Object, halt: Halt) -> Result:
        """Write why the look ended, on the newest object there is."""
        current = self._services.store.get(Key.of(obj)) or obj
        try:
            return Look(self._services, current).close(halt)
        except KubeError as error:
            log.warning("status", object=Key.of(obj).id, error=str(error))
            return Result("failed", failed=True)
