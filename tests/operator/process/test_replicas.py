"""Several operator processes that share the Platforms: what happens when one ends, hangs or joins."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from replica import TERMS, Process, objects, wait

from builds import empty_build
from weir.aws.session import is_write
from weir.kube.client import Kube, Stale
from weir.kube.keys import RECONCILE_AT, Key
from weir.kube.leases import NO_PLATFORM, REPLICA, Leases
from weir_local.aws.server import LocalAws
from weir_local.cluster import ControlPlane
from weir_local.proxy import Exchange, Forward, Proxy, Reply
from weir_local.stack import CLUSTER_ID

pytestmark = [pytest.mark.cluster, pytest.mark.aws]

PLATFORMS = ("north", "south", "west")
SLACK = 30.0
"""Seconds that a busy machine may take beside what the lease's terms ask for."""


@dataclass
class Traffic:
    """What reaches AWS, by replica; calls of one of them can be held back."""

    calls: list[tuple[float, str, str]] = field(default_factory=list)
    held: str = ""
    waiting: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    async def rule(self, exchange: Exchange, forward: Forward) -> Reply:
        found = re.search(r"app/(\S+)", exchange.headers.get("user-agent", ""))
        name = found[1] if found else ""
        self.calls.append((time.monotonic(), name, exchange.operation))
        if name and name == self.held:
            self.waiting.set()
            while not self.go.is_set():
                await asyncio.sleep(0.02)
        return await forward()

    def hold(self, name: str) -> None:
        """Hold the next calls of a replica back, until :meth:`let_go`."""
        self.waiting.clear()
        self.go.clear()
        self.held = name

    def let_go(self) -> None:
        self.held = ""
        self.go.set()

    def writes(self, name: str, since: float) -> list[str]:
        return [
            operation
            for at, replica, operation in list(self.calls)
            if replica == name and at >= since and is_write(operation)
        ]


class Line:
    """A way to the API server that can be cut."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._cut = threading.Event()
        self._open: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def cut(self) -> None:
        self._cut.set()
        self._server.close()
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # It has been closed by the other side.

    def _accept(self) -> None:
        while not self._cut.is_set():
            try:
                near, _ = self._server.accept()
                far = socket.create_connection(self._to)
            except OSError:
                return
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return Traffic()


@pytest.fixture(scope="module")
def platforms(
    process_aws: tuple[LocalAws, dict], kube: Kube, kube_namespace: str, traffic: Traffic
) -> Iterator[tuple[str, ...]]:
    """Three Platforms whose calls are seen."""
    with Proxy(process_aws[0].endpoint, traffic.rule) as proxy:
        for name in PLATFORMS:
            platform, _ = objects(kube_namespace, proxy.endpoint, "unused")
            platform["metadata"]["name"] = name
            kube.create(platform)
        yield PLATFORMS
        traffic.let_go()


class Group:
    """The replicas of one test, which find each other in a namespace of their own."""

    def __init__(
        self, kubeconfig: Path, folder: Path, environment: dict[str, str], kube: Kube, space: str
    ) -> None:
        self._kubeconfig = kubeconfig
        self._folder = folder
        calm = {"WEIR_LEASE_NAMESPACE": space, "WEIR_DRIFT_INTERVAL": "10m"}
        self._environment = {**environment, **calm}
        self.leases = Leases(kube, space, CLUSTER_ID)
        self.replicas: list[Process] = []

    def start(self, name: str, kubeconfig: Path | None = None, **environment: str) -> Process:
        """One more replica, once it is ready."""
        replica = Process(
            kubeconfig or self._kubeconfig,
            self._folder,
            {**self._environment, "WEIR_POD_NAME": name, **environment},
            name,
        )
        self.replicas.append(replica)
        assert wait(lambda: replica.page("/readyz")[0] == 200), replica.log.read_text()[-5000:]
        return replica

    def held(self) -> dict[str, str]:
        """Platform -> name of the replica that holds it."""
        return {
            lease.platform: lease.holder.partition("_")[0]
            for lease in self.leases.list().values()
            if lease.role != REPLICA and lease.holder
        }

    def all_with(self, name: str) -> Callable[[], bool]:
        return lambda: self.held() == dict.fromkeys((*PLATFORMS, NO_PLATFORM), name)


@pytest.fixture
def group(
    cluster: ControlPlane,
    process_aws: tuple[LocalAws, dict],
    kube: Kube,
    platforms: tuple[str, ...],
    traffic: Traffic,
    tmp_path: Path,
) -> Iterator[Group]:
    space = f"leases-{uuid.uuid4().hex[:8]}"
    kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": space}})
    empty_build(tmp_path)
    made = Group(cluster.kubeconfig, tmp_path, process_aws[1]["operator"], kube, space)
    yield made
    traffic.let_go()
    for replica in made.replicas:
        replica.kill()
    kube.request("DELETE", f"/api/v1/namespaces/{space}")


def ask(kube: Kube, name: str, **spec: Any) -> Callable[[], bool]:
    """Ask for a fresh look at a Platform, and perhaps for a change. Gives whether it has happened."""
    mark = uuid.uuid4().hex
    key = Key("Platform", "", name)

    def change() -> bool:
        obj = kube.get(key)
        assert obj is not None
        obj["metadata"].setdefault("annotations", {})[RECONCILE_AT] = mark
        obj["spec"].update(spec)
        try:
            kube.replace(obj)
        except Stale:
            return False
        return True

    assert wait(change)
    return lambda: ((kube.get(key) or {}).get("status") or {}).get("reconcileAt") == mark


def test_replicas_share_the_platforms_and_one_that_joins_gets_its_share(
    group: Group, kube: Kube, platforms: tuple[str, ...]
) -> None:
    one = group.start("one")
    assert wait(group.all_with("one")), group.held()
    two = group.start("two")
    assert "role=standby" in two.page("/readyz")[1]
    assert two.page("/healthz")[0] == 200
    assert "weir_resources{" not in two.page("/metrics")[1]
    for name in platforms:
        assert f'weir_lease_held{{platform="{name}"}} 0.0' in two.page("/metrics")[1]

    def shared() -> bool:
        holders = list(group.held().values())
        return sorted(map(holders.count, ("one", "two"))) == [2, 2]

    assert wait(shared, TERMS.duration + SLACK), group.held()
    before = group.held()
    mine = next(name for name in platforms if before[name] == "two")
    assert wait(ask(kube, mine)), two.log.read_text()[-3000:]
    assert f'weir_lease_held{{platform="{mine}"}} 1.0' in two.page("/metrics")[1]
    assert f'weir_lease_held{{platform="{mine}"}} 0.0' in one.page("/metrics")[1]
    assert "role=holder" in one.page("/healthz")[1]
    time.sleep(TERMS.retry_period * 6)
    assert group.held() == before, "shares that are fair stay as they are"


def test_another_works_within_the_lease_when_a_replica_is_killed(
    group: Group, kube: Kube, platforms: tuple[str, ...]
) -> None:
    one = group.start("one")
    two = group.start("two")
    assert wait(group.all_with("one")), group.held()
    one.kill()
    began = time.monotonic()
    done = ask(kube, "north")
    assert wait(done, TERMS.duration + SLACK), two.log.read_text()[-3000:]
    seconds = time.monotonic() - began
    print(f"killed: another has worked after {seconds:.1f} s of a lease of {TERMS.duration:g} s")
    assert group.held()["north"] == "two"
    assert wait(group.all_with("two"), SLACK)
    assert re.search(r'weir_failovers_total\{platform="north"\} 1.0', two.page("/metrics")[1])


def test_a_replica_that_was_stopped_beyond_its_lease_writes_nothing_more(
    group: Group, kube: Kube, platforms: tuple[str, ...], traffic: Traffic
) -> None:
    one = group.start("one")
    two = group.start("two")
    assert wait(group.all_with("one")), group.held()
    traffic.hold("one")
    done = ask(kube, "north", tags={"stopped": uuid.uuid4().hex[:8]})
    assert traffic.waiting.wait(SLACK), "the holder has begun"
    one.process.send_signal(signal.SIGSTOP)
    # Two writes can't be told apart from one: AWS has what was under way, and may do it late.
    try:
        assert wait(done, TERMS.duration + SLACK), two.log.read_text()[-3000:]
        assert wait(group.all_with("two"), SLACK)
        traffic.let_go()
        since = time.monotonic()
    finally:
        one.process.send_signal(signal.SIGCONT)
    assert wait(
        lambda: one.process.poll() is not None or "role=standby" in one.page("/healthz")[1], SLACK
    )
    if one.process.poll() is None:
        time.sleep(TERMS.retry_period * 4)
    assert traffic.writes("one", since) == []
    assert one.process.poll() in (None, 1)
    assert re.search(r'"event": "(ended|handed over|lost)"', one.log.read_text())
    assert group.all_with("two")()


def test_a_replica_that_does_not_reach_the_api_server_stops_before_another_begins(
    group: Group,
    cluster: ControlPlane,
    kube: Kube,
    platforms: tuple[str, ...],
    traffic: Traffic,
    tmp_path: Path,
) -> None:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    server = config["clusters"][0]["cluster"]["server"]
    host, port = server.removeprefix("https://").rsplit(":", 1)
    line = Line(host, int(port))
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{line.port}"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    one = group.start("one", path)
    two = group.start("two")
    assert wait(group.all_with("one")), group.held()
    line.cut()
    began = time.monotonic()
    assert wait(lambda: "role=standby" in one.page("/healthz")[1], TERMS.duration + SLACK)
    assert wait(group.all_with("two"), TERMS.duration + SLACK), group.held()
    since = time.monotonic()
    print(f"cut off: another has taken over after {since - began:.1f} s")
    assert wait(ask(kube, "north", tags={"cut": uuid.uuid4().hex[:8]})), two.log.read_text()[-3000:]
    assert traffic.writes("one", since) == []
    assert traffic.writes("two", since) != []


def test_a_clean_end_hands_over_without_waiting_for_the_lease_to_run_out(
    group: Group, kube: Kube, platforms: tuple[str, ...], traffic: Traffic
) -> None:
    """A reconcile that is under way at SIGTERM is finished first."""
    long = {
        "WEIR_LEASE_DURATION": "180",
        "WEIR_RENEW_DEADLINE": "150",
        "WEIR_STOP_AFTER": "2m",
    }
    one = group.start("one", **long)
    group.start("two", **long)
    assert wait(group.all_with("one")), group.held()
    traffic.hold("one")
    done = ask(kube, "south", tags={"clean": uuid.uuid4().hex[:8]})
    assert traffic.waiting.wait(SLACK), "a reconcile is under way"
    began = time.monotonic()
    one.process.send_signal(signal.SIGTERM)
    assert wait(lambda: group.held().get("north") == "two", SLACK), group.held()
    print(f"SIGTERM: another has taken over after {time.monotonic() - began:.1f} s")
    assert group.held()["south"] == "one", "not given back while it is worked on"
    traffic.let_go()
    assert wait(group.all_with("two"), 120), group.held()
    assert wait(done, SLACK)
    one.process.wait(120)
    assert one.process.returncode == 0
    assert '"given_back": true' in one.log.read_text()
