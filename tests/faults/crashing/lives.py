"""The lives of a sample: create, change, replace, delete, undisturbed or killed on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crashing import samples
from crashing.samples import BY_KIND, Ground, Sample
from crashing.workers import AFTER, BEFORE, Workers, numbered
from crashing.world import Masked, Records, Verdict, WorldAws, judge, masked, since

from weir.aws.session import is_write
from weir_local.proxy import Rule

DELETE = "delete"
REST_SECONDS = 10.0
"""How long AWS itself may still be at work (a function that is updated), on a busy machine too."""


@dataclass(frozen=True)
class Step:
    """One operation of a kind, as it runs undisturbed: its calls, and the world that it leaves."""

    kind: str
    operation: str
    calls: tuple[str, ...]
    world: Masked
    entries: str


@dataclass
class Tally:
    """What a run over many points came to."""

    points: int = 0
    days: int = 0
    verdicts: list[tuple[str, Verdict]] = field(default_factory=list)

    def add(self, point: str, verdict: Verdict) -> None:
        """Note what is wrong at a point, if anything is."""
        if verdict:
            self.verdicts.append((point, verdict))

    @property
    def orphans(self) -> int:
        """Things that nobody's status lists."""
        return sum(len(verdict.orphans) for _, verdict in self.verdicts)

    @property
    def duplicates(self) -> int:
        """Things that are there twice."""
        return sum(len(verdict.duplicates) for _, verdict in self.verdicts)

    @property
    def differences(self) -> int:
        """Things that are not as in the undisturbed world."""
        return sum(len(verdict.differences) for _, verdict in self.verdicts)

    def __str__(self) -> str:
        return "\n".join(f"{point}:\n{verdict}" for point, verdict in self.verdicts)


@dataclass
class Outcome:
    """How one operation of a disturbed life ended.

    :param verdict: its world against the undisturbed one's
    :param killed: whether a worker was killed
    :param met: failures that the engine met on the way to its end
    """

    step: Step
    verdict: Verdict
    killed: bool
    met: list[str]


Disturb = Callable[[Step], Rule | None]
"""Gives the rule for the worker of a step; None leaves it alone."""


class Lives:
    """Lives samples on one local AWS.

    A life is create, change, replace where there is such a thing, and delete, one after the other;
    each operation may be disturbed, and is then finished by a worker that knows only the status.

    :param aws: the AWS
    :param workers: run the engine
    :param ground: what :func:`crashing.samples.lay` made
    :param folder: for status files
    """

    def __init__(self, aws: WorldAws, workers: Workers, ground: Ground, folder: Path) -> None:
        self.aws, self.workers, self.ground, self.folder = aws, workers, ground, folder
        self._steps: dict[str, list[Step]] = {}
        self._number = 0

    def steps(self, kind: str) -> list[Step]:
        """How a life runs undisturbed."""
        if kind not in self._steps:
            sample = BY_KIND[kind]
            life = self.begin(sample)
            found = []
            for operation in ("create", *sample.stages(), DELETE):
                answer = life.do(operation)
                calls = numbered(self.workers.seen)
                entries = life.mask(_listed(answer["entries"]))
                found.append(Step(kind, operation, calls, life.changed(), entries))
            life.end()
            self._steps[kind] = found
        return self._steps[kind]

    def begin(self, sample: Sample) -> Life:
        """A life under a name of its own."""
        self._number += 1
        return Life(self, sample, f"run{self._number:05d}x")

    def live(self, kind: str, disturb: Disturb) -> list[Outcome]:
        """One life, disturbed.

        :param disturb: says how, step by step
        """
        steps = self.steps(kind)
        life = self.begin(BY_KIND[kind])
        outcomes = []
        for step in steps:
            answer = life.do(step.operation, disturb(step))
            killed = answer is None
            if answer is None:
                answer = life.do(step.operation)
            verdict = life.judged(step)
            entries = life.mask(_listed(answer["entries"]))
            if entries != step.entries:
                verdict.differences.append(f"status should be {step.entries}, is {entries}")
            outcomes.append(Outcome(step, verdict, killed, list(answer["met"])))
        life.end()
        return outcomes

    def kill_everywhere(self, kind: str, *, thorough: bool = True) -> Tally:
        """Every call of every operation of a kind.

        :param thorough: before each call and after it; else only where AWS is left otherwise than
            by another kill: after each write, and before the first
        """
        tally = Tally()
        steps = self.steps(kind)
        for number in range(1, max(len(step.calls) for step in steps) + 1):
            for moment in (BEFORE, AFTER):
                meant = {
                    step.operation
                    for step in steps
                    if number <= len(step.calls) and (thorough or _tells(step, number, moment))
                }
                if meant:
                    self._kill(kind, meant, number, moment, tally)
        return tally

    def _kill(
        self, kind: str, meant: Collection[str], number: int, moment: str, tally: Tally
    ) -> None:
        def disturb(step: Step) -> Rule | None:
            return self.workers.killing(number, moment) if step.operation in meant else None

        for outcome in self.live(kind, disturb):
            step = outcome.step
            if step.operation not in meant:
                continue
            call = step.calls[number - 1]
            if outcome.killed:
                tally.points += 1
            elif any(map(_writes, step.calls[number - 1 :])):
                outcome.verdict.differences.append("nobody was killed")
            # Else AWS was ready sooner than in the undisturbed life: it was asked less often.
            tally.add(
                f"{kind} {step.operation}: killed {moment} call {number} ({call})", outcome.verdict
            )


def _tells(step: Step, number: int, moment: str) -> bool:
    """Whether a kill there leaves AWS otherwise than those before it do."""
    writes = [at for at, call in enumerate(step.calls, 1) if _writes(call)] or [1]
    return number in writes if moment == AFTER else number == writes[0]


def _writes(call: str) -> bool:
    return is_write(call.partition(":")[2])


def _listed(entries: list[dict[str, str]]) -> str:
    """Entries as text, without the mark: a digest of names that are each life's own."""
    return str([{name: text for name, text in one.items() if name != "mark"} for one in entries])


class Life:
    """One sample under a name of its own."""

    def __init__(self, lives: Lives, sample: Sample, suffix: str) -> None:
        self.lives, self.sample, self.suffix = lives, sample, suffix
        self.status = lives.folder / f"{self.suffix}.json"
        samples.before(sample, lives.aws, self.suffix)
        self._before: Records = lives.aws.world()

    def do(self, operation: str, rule: Rule | None = None, uid: str = "") -> Any:
        """One operation in a worker of its own; None where it was killed.

        :param rule: decides about its calls
        :param uid: the owner's, if it is another than before
        """
        job = {
            "do": DELETE if operation == DELETE else "apply",
            "kind": self.sample.kind,
            "stage": operation,
            "suffix": self.suffix,
            "ground": self.lives.ground,
            "endpoint": self.lives.workers.proxy.endpoint,
            "status": str(self.status),
            **({"uid": uid} if uid else {}),
        }
        return self.lives.workers.run(job, rule)

    def mask(self, text: str) -> str:
        """A text without what is this run's own."""
        found = masked({"": {"": text.replace(self.suffix, "SUFFIX")}}, {})
        return next(iter(found[""]))[1]

    def changed(self) -> Masked:
        """What this life has made, masked."""
        now = since(self._before, self.lives.aws.world())
        return masked(now, {self.suffix: "SUFFIX"})

    def judged(self, step: Step) -> Verdict:
        """This life's world against the undisturbed one, once AWS has come to rest."""
        end = time.monotonic() + REST_SECONDS
        while True:
            verdict = judge(step.world, self.changed())
            if not verdict or time.monotonic() > end:
                return verdict
            time.sleep(0.05)

    def end(self) -> None:
        """Leave nothing behind for the next."""
        samples.after(self.sample, self.lives.aws, self.suffix)
        self.status.unlink(missing_ok=True)
