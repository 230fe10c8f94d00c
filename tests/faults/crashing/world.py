"""What AWS holds, and how two runs that ought to have come to the same differ."""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crashing.world_server import WORLD

from weir_local.aws.server import LocalAws

Records = dict[str, dict[str, Any]]
"""``service.store`` -> key -> record."""

RANDOM = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\bA(?:ROA|IDA|NPA|KIA|SIA|GPA)[A-Z0-9]{12,}"), "<id>"),
    (re.compile(r"\b(sg|sgr|vpce|eni)-[0-9a-fA-F]{17}\b"), r"\1-<id>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<hex>"),
    (re.compile(r"\b49\d{54}\b"), "<sequence>"),
    (re.compile(r"(?<=:)\d{10}(?=['\"])"), "<second>"),
    (re.compile(r"\b[0-9a-f]{16}(?=\.json)"), "<content>"),
    # A crawler's: one more for each try.
    (re.compile(r'(?<="Version": )\d+\b'), "<count>"),
)
"""What AWS makes up anew each time, and digests of what has such things in it."""


class WorldAws(LocalAws):
    """A local AWS that also tells everything it holds."""

    def command(self) -> list[str]:
        served = Path(__file__).with_name("world_server.py")
        return [
            sys.executable,
            str(served),
            *("--port", str(self.port)),
            *("--state", str(self.state)),
            *("--account", self.account),
            *("--region", self.region),
        ]

    def world(self) -> Records:
        """Everything that is there."""
        with urllib.request.urlopen(f"{self.endpoint}{WORLD}", timeout=30) as reply:
            found: Records = json.load(reply)
        return found


def since(before: Records, now: Records) -> Records:
    """What is there now and was not, or not so; a record that went is None."""
    found: Records = {}
    for store in sorted({*before, *now}):
        old, new = before.get(store, {}), now.get(store, {})
        changed = {key: record for key, record in new.items() if old.get(key) != record}
        changed |= {key: None for key in old if key not in new}
        if changed:
            found[store] = changed
    return found


def masked(records: Records, names: Mapping[str, str]) -> dict[str, Counter[tuple[str, str]]]:
    """Records by store as (key, text), with what is random and what is this run's own taken out.

    :param names: text -> what stands for it
    """

    def mask(text: str) -> str:
        for old, new in names.items():
            text = text.replace(old, new)
        for pattern, stands in RANDOM:
            text = pattern.sub(stands, text)
        return text

    found: dict[str, Counter[tuple[str, str]]] = {}
    for store, of in records.items():
        found.setdefault(mask(store), Counter()).update(
            (mask(key), mask(json.dumps(record, sort_keys=True))) for key, record in of.items()
        )
    return found


@dataclass
class Verdict:
    """How a disturbed run's world differs from an undisturbed one's."""

    orphans: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.orphans or self.duplicates or self.differences)

    def __str__(self) -> str:
        parts = (("orphans", self.orphans), ("duplicates", self.duplicates))
        named = [f"{name}: {'; '.join(of)}" for name, of in parts if of]
        return "\n".join([*named, *self.differences]) or "the same"


Masked = Mapping[str, Counter[tuple[str, str]]]


def judge(undisturbed: Masked, disturbed: Masked) -> Verdict:
    """Compare two worlds, both masked."""
    verdict = Verdict()
    for store in sorted({*undisturbed, *disturbed}):
        right, found = undisturbed.get(store, Counter()), disturbed.get(store, Counter())
        if right == found:
            continue
        right_keys, found_keys = _keys(right), _keys(found)
        for key in sorted({*right_keys, *found_keys}):
            more = found_keys[key] - right_keys[key]
            if more > 0:
                target = verdict.duplicates if right_keys[key] else verdict.orphans
                target.append(f"{store} {key}" + (f" (+{more})" if right_keys[key] else ""))
            elif more < 0:
                verdict.differences.append(f"{store} {key} is missing")
            else:
                texts = [text for (one, text), _ in (found - right).items() if one == key]
                wanted = [text for (one, text), _ in (right - found).items() if one == key]
                for text, want in zip(texts, wanted, strict=False):
                    verdict.differences.append(f"{store} {key}: {_apart(want, text)}")
    return verdict


def _keys(records: Counter[tuple[str, str]]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for (key, _), n in records.items():
        counted[key] += n
    return counted


def _apart(want: str, found: str) -> str:
    """The first fields that differ."""
    apart: list[str] = []

    def walk(path: str, left: Any, right: Any) -> None:
        if left == right:
            return
        if isinstance(left, dict) and isinstance(right, dict):
            for key in sorted({*left, *right}):
                walk(f"{path}.{key}", left.get(key), right.get(key))
        else:
            apart.append(f"{path.lstrip('.')} should be {str(left)[:200]}, is {str(right)[:200]}")

    walk("", json.loads(want), json.loads(found))
    return "; ".join(apart[:6])
