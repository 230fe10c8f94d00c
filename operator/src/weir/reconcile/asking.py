"""A thread that asks something of every Platform again and again, one that is silent holding no other up."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from weir.reconcile.world import World, Worlds

AT_A_TIME = 8
"""Platforms that are asked side by side: one that does not answer holds no other up."""


class PlatformAsker(ABC):
    """Asks each Platform that this process works for, never twice at a time.

    Parameters
    ----------
    name
        Of the threads.
    worlds
        The Platforms that are known.
    seconds
        Between two rounds of questions.
    at_a_time
        Platforms that are asked side by side.
    serves
        Whether a Platform is this process's to work for.
    """

    def __init__(
        self,
        name: str,
        worlds: Worlds,
        seconds: float,
        at_a_time: int,
        serves: Callable[[str], bool],
    ) -> None:
        self._worlds, self._seconds, self._serves = worlds, seconds, serves
        self._asking: dict[str, Future[None]] = {}
        self._pool = ThreadPoolExecutor(at_a_time, thread_name_prefix=name)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.stopping = threading.Event()

    @abstractmethod
    def ask(self, platform: str, world: World) -> None:
        """One question to one Platform. Raises nothing."""

    def start(self) -> None:
        """Start asking."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self.stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self.stopping.wait(self._seconds):
            self._asking = {name: one for name, one in self._asking.items() if not one.done()}
            for platform, world in self._worlds.known().items():
                if platform in self._asking or not self._serves(platform):
                    continue
                try:
                    self._asking[platform] = self._pool.submit(self.ask, platform, world)
                except RuntimeError:
                    return  # It was told to stop meanwhile: the pool takes nothing any more.
