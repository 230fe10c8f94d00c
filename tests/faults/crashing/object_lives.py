"""The life of a whole installation: Platform, DataSource and its managed Pipeline, on a real API
server and the local AWS, killed on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crashing.lives import REST_SECONDS, Tally
from crashing.workers import AFTER, BEFORE, Workers, numbered
from crashing.world import Masked, Verdict, WorldAws, judge, masked, since

from weir.kube.client import Kube
from weir.kube.keys import API_VERSION, Key
from weir_local.proxy import Rule

PLATFORM = "faulty"
SOURCE = "orders"
STAGES = ("create", "edit", "delete")
RESTARTS = 400


def platform_spec(
    found: dict[str, Any], endpoint: str, namespace: str, stage: str
) -> dict[str, Any]:
    """The Platform before and after the edit."""
    spec: dict[str, Any] = {
        "region": found["region"],
        "accountId": found["account"],
        "endpointUrl": endpoint,
        "permissionsBoundaryArn": found["boundary"],
        "redshift": {
            "workgroup": found["redshift"]["workgroupName"],
            "database": found["redshift"]["database"],
            "adminSecretArn": found["redshift"]["adminSecretArn"],
            "copyRoleArn": found["redshift"]["copyRoleArn"],
        },
        "grants": [{"namespaces": {"names": [namespace]}, "allow": ["adopt", "delete"]}],
        "deletionPolicy": "Delete",
        "tags": {"stage": stage},
    }
    if stage == "edit":
        spec["notifications"] = {"onFailure": [{"email": "ops@example.com"}]}
    return spec


def source_spec(stage: str) -> dict[str, Any]:
    """The DataSource before and after the edit."""
    fields = [
        {"name": "id", "type": "integer", "nullable": False},
        {"name": "name", "type": "string"},
    ]
    if stage == "edit":
        fields.append({"name": "note", "type": "string"})
    return {
        "platform": PLATFORM,
        "source": {
            "restApi": {
                "endpoint": f"https://api.example.com/{stage}",
                "schedule": "rate(1 hour)" if stage == "create" else "rate(2 hours)",
            }
        },
        "schema": {"fields": fields, "keys": ["id"]},
        "destination": {"prefix": "orders/"},
        "redshift": {"schema": "sales", "table": "orders", "distkey": "id"},
        "deletionPolicy": "Delete",
        "suspend": True,
    }


@dataclass(frozen=True)
class Stage:
    """A stage as it runs undisturbed."""

    name: str
    calls: tuple[str, ...]
    world: Masked
    entries: str


Disturb = Callable[[Stage], Rule | None]


@dataclass
class Mortality:
    """Kills the operator at its writes to Kubernetes, once at each sort of write of a stage.

    :param last: a file by which it is known where a worker died
    """

    last: Path
    met: dict[str, list[str]] = field(default_factory=dict)

    def job(self, stage: str) -> dict[str, Any]:
        """What the next worker of a stage is told. Every second one dies before the write."""
        met = self.met.setdefault(stage, [])
        return {"mortal": {"met": met, "before": len(met) % 2 == 0, "last": str(self.last)}}

    def died(self, stage: str) -> None:
        """A worker of a stage was killed."""
        self.met[stage].append(self.last.read_text())


class ObjectLives:
    """Lives whole installations.

    :param aws: the local AWS
    :param workers: run the operator
    :param kube: the API server, as its administrator
    :param kubeconfig: the operator's way there
    :param namespace: where the DataSource lives
    :param found: what bootstrap wrote down, with ``account``, ``region`` and ``boundary``
    :param artifacts: the folder of the functions' code
    """

    def __init__(
        self,
        aws: WorldAws,
        workers: Workers,
        kube: Kube,
        kubeconfig: str,
        namespace: str,
        found: dict[str, Any],
        artifacts: Path,
    ) -> None:
        self.aws, self.workers, self.kube = aws, workers, kube
        self._job = {"kubeconfig": kubeconfig, "artifacts": str(artifacts)}
        self._namespace, self._found = namespace, found
        self._stages: list[Stage] = []
        self.restarts = 0
        self.said: list[str] = []
        """What events said in the last life."""

    def stages(self) -> list[Stage]:
        """How a life runs undisturbed. The first life is for what is made once and for all."""
        if not self._stages:
            self._live(lambda _name: None)
            self._live(lambda _name: None, record=True)
        return self._stages

    def live(self, disturb: Disturb) -> list[tuple[Stage, Verdict]]:
        """One life in which each stage is disturbed, and gone on with until it is done.

        :param disturb: gives the rule for each worker of a stage, the first and those after it
        """
        by_name = {stage.name: stage for stage in self.stages()}
        return self._live(lambda name: disturb(by_name[name]))

    def live_mortal(self, mortality: Mortality) -> list[tuple[Stage, Verdict]]:
        """One life in which the operator is killed at its writes to Kubernetes."""
        self.stages()
        return self._live(lambda _name: None, mortality=mortality)

    def kill_at(self, number: int, moment: str) -> Disturb:
        """Kill the operator once in each stage, at its n-th call."""
        done: set[str] = set()

        def disturb(stage: Stage) -> Rule | None:
            if stage.name in done or number > len(stage.calls):
                return None
            done.add(stage.name)
            return self.workers.killing(number, moment)

        return disturb

    def kill_at_each(self) -> Disturb:
        """Kill the operator again and again: once at each writing operation that a stage calls."""
        met: set[tuple[str, str]] = set()
        return lambda stage: self.workers.killing_new(met, stage.name)

    def kill_everywhere(
        self, numbers: range | None = None, told: Callable[[str], None] = lambda _text: None
    ) -> Tally:
        """Every call of every stage, both moments.

        :param numbers: of the calls; all by default
        :param told: hears of each life
        """
        tally = Tally()
        last = max(len(stage.calls) for stage in self.stages())
        for number in numbers or range(1, last + 1):
            for moment in (BEFORE, AFTER):
                for stage, verdict in self.live(self.kill_at(number, moment)):
                    if number > len(stage.calls):
                        continue
                    tally.points += 1
                    if verdict:
                        call = stage.calls[number - 1]
                        point = f"{stage.name}: killed {moment} call {number} ({call})"
                        tally.add(point, verdict)
                        told(f"{point}: {verdict}")
            told(f"call {number} of {last}: {tally.points} points")
        return tally

    def _live(
        self,
        rule_of: Callable[[str], Rule | None],
        record: bool = False,
        mortality: Mortality | None = None,
    ) -> list[tuple[Stage, Verdict]]:
        verdicts: list[tuple[Stage, Verdict]] = []
        self.said = []
        before = self.aws.world()
        names: dict[str, str] = {}
        for name in STAGES:
            self._write(name)
            job = {**self._job, "do": "clear" if name == "delete" else "settle"}
            answer, calls = None, ()
            for _ in range(RESTARTS):
                told = mortality.job(name) if mortality else {}
                answer = self.workers.run({**job, **told}, rule_of(name))
                if answer is not None:
                    calls = numbered(self.workers.seen)
                    break
                self.restarts += 1
                if mortality:
                    mortality.died(name)
            assert answer is not None, f"{name}: {RESTARTS} restarts were not enough"
            self.said += answer["said"]
            names |= {line["name"]: f"<{line['owner']} {line['id']}>" for line in answer["entries"]}
            shown = str(
                [(one["owner"], one["id"], one["kind"], one["state"]) for one in answer["entries"]]
            )
            world = masked(since(before, self.aws.world()), {})
            if record:
                self._stages.append(Stage(name, calls, world, shown))
                continue
            if not self._stages:
                continue
            stage = next(one for one in self._stages if one.name == name)
            end = time.monotonic() + REST_SECONDS
            verdict = judge(stage.world, world)
            while verdict and time.monotonic() < end:
                time.sleep(0.05)
                verdict = judge(stage.world, masked(since(before, self.aws.world()), {}))
            if shown != stage.entries:
                verdict.differences.append(f"status should be {stage.entries}, is {shown}")
            verdicts.append((stage, verdict))
        return verdicts

    def _write(self, stage: str) -> None:
        """What the user does in a stage."""
        platform = Key("Platform", "", PLATFORM)
        source = Key("DataSource", self._namespace, SOURCE)
        if stage == "delete":
            for key in (source, platform):
                there = self.kube.get(key)
                assert there is not None, key
                self.kube.delete(there)
            return
        endpoint = self.workers.proxy.endpoint
        specs = {
            platform: platform_spec(self._found, endpoint, self._namespace, stage),
            source: source_spec(stage),
        }
        for key, spec in specs.items():
            there = self.kube.get(key)
            if there is not None:
                self.kube.replace({**there, "spec": spec})
                continue
            metadata = {"name": key.name}
            if key.namespace:
                metadata["namespace"] = key.namespace
            body = {"apiVersion": API_VERSION, "kind": key.kind, "metadata": metadata, "spec": spec}
            self.kube.create(body)
