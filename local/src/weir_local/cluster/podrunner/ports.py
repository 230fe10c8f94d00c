"""Which loopback port stands for each of a pod's container ports.

Pods have no network of their own here, so two of a Deployment can't both listen on 8080. A pod whose
annotation ``podrunner.weir.dev/listen`` is ``<port name>=<variable>[,...]`` gets a free port for
each, and the environment variable says so: the port in its value is replaced, and the host by
loopback (``:8080`` becomes ``127.0.0.1:40123``). A port that the annotation does not name is taken
as it is. The annotation ``podrunner.weir.dev/ports``, set by the runner, tells what was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weir_local.cluster.ports import LOOPBACK, free_ports

LISTEN = "podrunner.weir.dev/listen"
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
    variables
        The named port that each environment variable is to carry.
    """

    local: Mapping[str, int]
    numbers: Mapping[str, int]
    variables: Mapping[str, str]

    def reach(self, port: int | str) -> int:
        """The loopback port to connect to for a container port's number or name."""
        if isinstance(port, str) and not port.isdigit():
            return self.local[port]
        by_number = {number: name for name, number in self.numbers.items()}
        return self.local[by_number[int(port)]] if int(port) in by_number else int(port)

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """``environment`` with the chosen ports in the variables that the annotation names."""
        changed = dict(environment)
        for variable, name in self.variables.items():
            port = str(self.local[name])
            wanted = changed.get(variable, "")
            changed[variable] = f"{LOOPBACK}:{port}" if ":" in wanted else port
        return changed

    @property
    def annotation(self) -> str:
        """What was chosen, in the form of the annotation."""
        return ",".join(f"{name}={port}" for name, port in sorted(self.local.items()))


def choose(pod: Mapping[str, Any]) -> Ports:
    """Choose the ports of a pod."""
    numbers = {
        port["name"]: int(port["containerPort"])
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
        if "name" in port
    }
    text = pod["metadata"].get("annotations", {}).get(LISTEN, "")
    pairs = [pair.strip().partition("=") for pair in text.split(",") if "=" in pair]
    variables = {variable: name for name, _, variable in pairs if name in numbers}
    moved = sorted(set(variables.values()))
    local = numbers | dict(zip(moved, free_ports(len(moved)), strict=True))
    return Ports(local, numbers, variables)
