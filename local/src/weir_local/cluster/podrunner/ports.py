"""Which loopback port stands for each of a pod's container ports.

Pods have no network of their own here, so two of a Deployment can't both listen on 8080, and nothing
may listen beyond loopback. A variable whose value is an address of all interfaces with one of the
pod's named ports (``0.0.0.0:8080``, ``:8080``) tells the program where to listen: that port is
replaced by a free one, and the host by loopback (``127.0.0.1:40123``). A port that no variable names
is taken as it is. The annotation ``podrunner.weir.dev/ports``, set by the runner, tells what was
chosen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir_local.cluster.ports import LOOPBACK, free_ports

_EVERYWHERE = re.compile(r"^(?:0\.0\.0\.0|\[::\])?:(\d+)$")
CHOSEN = "podrunner.weir.dev/ports"


@dataclass(frozen=True)
class Ports:
    """The ports of one pod.

    Parameters
    ----------
    local
        The loopback port for each named container port.
    numbers
        The number of each named container port.
    moved
        Names of the ports that were replaced.
    """

    local: Mapping[str, int]
    numbers: Mapping[str, int]
    moved: frozenset[str]

    def reach(self, port: int | str) -> int:
        """The loopback port to connect to for a container port's number or name."""
        if isinstance(port, str) and not port.isdigit():
            return self.local[port]
        by_number = {number: name for name, number in self.numbers.items()}
        return self.local[by_number[int(port)]] if int(port) in by_number else int(port)

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """``environment`` with the chosen ports in every address of all interfaces."""
        by_number = {self.numbers[name]: self.local[name] for name in self.moved}
        changed = dict(environment)
        for variable, value in environment.items():
            number = listening(value)
            if number in by_number:
                changed[variable] = f"{LOOPBACK}:{by_number[number]}"
        return changed

    @property
    def annotation(self) -> str:
        """What was chosen, in the form of the annotation."""
        return ",".join(f"{name}={port}" for name, port in sorted(self.local.items()))


def listening(value: str) -> int | None:
    """The port of an address of all interfaces; None for any other text."""
    match = _EVERYWHERE.match(value)
    return int(match[1]) if match else None


def choose(pod: Mapping[str, Any]) -> Ports:
    """Choose the ports of a pod."""
    containers = pod["spec"]["containers"]
    numbers = {
        port["name"]: int(port["containerPort"])
        for container in containers
        for port in container.get("ports", ())
        if "name" in port
    }
    named = {
        listening(entry.get("value", ""))
        for container in containers
        for entry in container.get("env", ())
    }
    moved = sorted(name for name, number in numbers.items() if number in named)
    local = numbers | dict(zip(moved, free_ports(len(moved)), strict=True))
    return Ports(local, numbers, frozenset(moved))
