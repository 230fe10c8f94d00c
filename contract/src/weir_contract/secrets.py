"""``${SECRET:name#jsonKey}`` and ``${BUCKET:zone}``: how a spec names what it must not contain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SECRET = re.compile(
    r"\$\{SECRET:([A-Za-z0-9_][A-Za-z0-9_+=.@/-]{0,254})(?:#([A-Za-z0-9_.-]{1,128}))?\}"
)
BUCKET = re.compile(r"\$\{BUCKET:(raw|processed|curated|artifacts|quarantine)\}")
ANY = re.compile(r"\$\{[^}]*\}?")


@dataclass(frozen=True)
class SecretRef:
    """A reference to a secret, or to one key of a secret that holds a JSON object."""

    name: str
    json_key: str | None = None


def secret_refs(text: str) -> Iterator[SecretRef]:
    """Every secret reference in a text."""
    for match in SECRET.finditer(text):
        yield SecretRef(match.group(1), match.group(2))


def substitute_secrets(text: str, resolve: Callable[[SecretRef], str]) -> str:
    """The text with every reference replaced by what ``resolve`` gives for it."""
    return SECRET.sub(lambda match: resolve(SecretRef(match.group(1), match.group(2))), text)


def substitute_buckets(text: str, buckets: dict[str, str]) -> str:
    """The text with ``${BUCKET:zone}`` replaced; a zone without a bucket raises KeyError."""
    return BUCKET.sub(lambda match: buckets[match.group(1)], text)


def malformed_refs(text: str) -> list[str]:
    """Every ``${...}`` in a text that is no reference, so that a typo is an error, not a header."""
    return [
        found
        for found in ANY.findall(text)
        if not SECRET.fullmatch(found) and not BUCKET.fullmatch(found)
    ]
