"""What lies around the records of an answer, cut out in one reading of its bytes.

An answer like ``{"data": [...], "next": ...}`` is read twice to find its records: once for its
members, once for the list's elements. Once the names of the members are known, msgspec finds both in
one go; an answer that has others is read as the first one was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

MAX_LEARNED = 16
"""A source whose answers have other members again and again is read twice."""

MAX_MEMBERS = 100


class Envelope:
    """Members of a source's answers, as far as they are known."""

    def __init__(self) -> None:
        self._key: str | None = None
        self._names: dict[str, str] = {}
        self._learned = 0
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self.detected: str | None = None
        """The member that had the list of records where no selector names it: null there is none."""

    def cut(self, body: bytes, key: str) -> tuple[Mapping[str, Any], list[Any]] | None:
        """The members of an answer and the elements of the list ``key``, each as its JSON text.

        None where the answer has a member that is not known, or no list there: whoever reads it
        otherwise says what is wrong with it.
        """
        if self._decoder is None or key != self._key:
            return None
        try:
            found = self._decoder.decode(body)
        except (msgspec.MsgspecError, RecursionError):
            return None
        values = ((name, getattr(found, field)) for name, field in self._names.items())
        members = {name: value for name, value in values if value is not msgspec.UNSET}
        return (members, members[key]) if key in members else None

    def learn(self, members: Mapping[str, Any], key: str) -> None:
        """Take an answer's members into account, of which ``key`` is the list of records."""
        if self._learned >= MAX_LEARNED:
            return
        self._learned += 1
        names = dict.fromkeys([*(self._names if key == self._key else ()), *members])
        self._decoder = None
        if len(names) > MAX_MEMBERS:
            return
        self._key = key
        self._names = {name: f"m{number}" for number, name in enumerate(names)}
        made: list[Any] = [
            (field, list[msgspec.Raw] if name == key else msgspec.Raw, msgspec.UNSET)
            for name, field in self._names.items()
        ]
        answer = msgspec.defstruct(
            "Answer",
            made,
            rename={field: name for name, field in self._names.items()},
            forbid_unknown_fields=True,
        )
        self._decoder = msgspec.json.Decoder(answer)
