"""Kill the operator at every AWS call, restart it, and count what is not as it should be.

``make kill-everywhere`` kills it at each call of creating, changing, replacing and deleting every
kind, and of building, editing and taking down a whole installation on a real API server, each time
once before AWS sees the call and once after it took effect; and of the whole installation at each
sort of write to Kubernetes. It prints one JSON line.

Keys: ``kill_points``, ``orphans`` (on AWS, and on nobody's status), ``duplicates``,
``differences`` (from the world of an undisturbed run), ``seconds``, ``kind_points``,
``object_points``, ``bad_days`` (operations that were lived through lost replies, failures, throttles,
stale reads, slow roles and taken names).

``OBJECTS=0`` leaves the whole installation out; ``OBJECTS=n`` takes every n-th of its calls. What is
wrong is told on standard error. tests and tests/faults must be on PYTHONPATH, as make does it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from crashing import ground, samples
from crashing.faults import MORE_RULES, OBJECT_RULES, RULES, blamed
from crashing.lives import Lives, Tally
from crashing.object_lives import Mortality, ObjectLives
from crashing.samples import SAMPLES
from crashing.workers import Workers
from crashing.world import WorldAws

from builds import empty_build
from weir.kube.client import Kube, load_config
from weir_local.cluster import ControlPlane, run
from weir_local.stack import REGION, ROOT

NAMESPACE = "team"
ADMIN = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def told(text: str) -> None:
    """Say it to people."""
    print(text, file=sys.stderr, flush=True)


def disturb(lives: Lives, kind: str, tally: Tally) -> None:
    """Live through each kind of bad day, and add what is wrong to the tally."""
    for fault, rule in {**RULES, **MORE_RULES}.items():
        for outcome in lives.live(kind, lambda _, made=rule: made()):
            outcome.verdict.differences += blamed(outcome.met)
            tally.days += 1
            tally.add(f"{kind} {outcome.step.operation}: {fault}", outcome.verdict)


def kinds(folder: Path) -> list[Tally]:
    """Every kind by itself, through the engine."""
    tallies = []
    with WorldAws(folder / "aws", region=samples.REGION) as aws:
        laid = samples.lay(aws)
        with Workers(aws, ADMIN, folder / "workers") as workers:
            lives = Lives(aws, workers, laid, folder)
            for sample in SAMPLES:
                tally = lives.kill_everywhere(sample.kind)
                disturb(lives, sample.kind, tally)
                told(f"{sample.kind}: {tally.points} points\n{tally}".rstrip())
                tallies.append(tally)
    return tallies


def installation(folder: Path, every: int) -> Tally:
    """A whole installation, through the operator's reconciles.

    :param every: take every n-th call
    """
    plane = ControlPlane(folder / "cluster", environ=os.environ)
    plane.start()
    try:
        plane.wait_ready()
        run(plane, "kubectl", "apply", "--server-side", "-f", str(ROOT / "crds"))
        run(
            plane, "kubectl", "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"
        )
        run(plane, "kubectl", "create", "namespace", NAMESPACE)
        with WorldAws(folder / "aws", region=REGION) as aws:
            found = ground.operators(aws, folder)
            environ = {**found["operator"], "AWS_EC2_METADATA_DISABLED": "true"}
            with Workers(aws, environ, folder / "workers", objects=True) as workers:
                lives = ObjectLives(
                    aws,
                    workers,
                    Kube(load_config(str(plane.kubeconfig))),
                    str(plane.kubeconfig),
                    NAMESPACE,
                    found,
                    empty_build(folder / "artifacts"),
                )
                last = max(len(stage.calls) for stage in lives.stages())
                tally = lives.kill_everywhere(range(1, last + 1, every), told)
                for fault, rule in OBJECT_RULES.items():
                    for stage, verdict in lives.live(lambda _, made=rule: made()):
                        tally.days += 1
                        tally.add(f"{stage.name}: {fault}", verdict)
                mortality = Mortality(folder / "last")
                for stage, verdict in lives.live_mortal(mortality):
                    tally.points += len(mortality.met[stage.name])
                    tally.add(f"{stage.name}: killed at its writes to Kubernetes", verdict)
                return tally
    finally:
        plane.stop()


def measure(every: int) -> dict[str, float]:
    """All points, as the JSON line says them.

    :param every: take every n-th call of the whole installation; 0 leaves it out
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weir-kill-") as name:
        by_kind = kinds(Path(name) / "kinds")
        whole = installation(Path(name) / "installation", every) if every else Tally()
    tallies = [*by_kind, whole]
    return {
        "kill_points": sum(tally.points for tally in tallies),
        "orphans": sum(tally.orphans for tally in tallies),
        "duplicates": sum(tally.duplicates for tally in tallies),
        "differences": sum(tally.differences for tally in tallies),
        "seconds": round(time.monotonic() - started, 1),
        "kind_points": sum(tally.points for tally in by_kind),
        "object_points": whole.points,
        "bad_days": sum(tally.days for tally in tallies),
    }


if __name__ == "__main__":
    figures = measure(int(os.environ.get("OBJECTS") or 1))
    print(json.dumps(figures))
    sys.exit(bool(figures["orphans"] or figures["duplicates"] or figures["differences"]))
