"""Which loopback port is free."""

from __future__ import annotations

import contextlib
import socket

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """``count`` different ports on which nothing listens, chosen by the system.

    All are held open until the last is chosen, so that none comes twice.
    """
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.bind((LOOPBACK, 0))
            ports.append(int(listener.getsockname()[1]))
        return ports


def free_port() -> int:
    """One port on which nothing listens."""
    return free_ports(1)[0]
