"""A process that dies at one of its AWS calls, as seen by the code in it."""

from __future__ import annotations

from typing import Any


class Killed(BaseException):
    """The process is no more."""


class Mortal:
    """An AWS client that dies before or after its n-th call, and is dead from there on.

    :param client: the boto3 client
    :param life: ``left``: how many calls are left, shared by the clients of one process
    :param after: whether the last call takes effect
    """

    def __init__(self, client: Any, life: dict[str, int], after: bool) -> None:
        self._client, self._life, self._after = client, life, after

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def tried(**options: Any) -> Any:
            self._life["left"] -= 1
            if self._life["left"] < 0 or (self._life["left"] == 0 and not self._after):
                raise Killed
            answer = call(**options)
            if self._life["left"] == 0:
                raise Killed
            return answer

        return tried
