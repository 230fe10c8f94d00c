"""Which IAM permissions does a plan add?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from weir.aws.documents import policy
from weir.reconcile.plan import Action, Verb

ROLE = "iam.Role"
GIVING = frozenset({Verb.CREATE, Verb.UPDATE, Verb.REPLACE, Verb.ADOPT})


@dataclass(frozen=True, order=True)
class Permission:
    """One action on one resource that a policy allows; ``condition`` is empty for none."""

    action: str
    resource: str
    condition: str = ""

    def __str__(self) -> str:
        text = f"{self.action} on {self.resource}"
        return f"{text} if {self.condition}" if self.condition else text


def grown(action: Action) -> tuple[Permission, ...]:
    """What a role may do after an action and may not do before it, in order.

    A permission whose condition changes counts: nobody can tell which of two conditions is wider.
    """
    if action.kind != ROLE or action.resource is None or action.verb not in GIVING:
        return ()
    wanted = action.resource.properties
    before = action.observed.properties if action.observed else {}
    # IAM tells no case in the names of actions, and the canonical form has small letters.
    spelling = {name.lower(): name for name in _actions(wanted)}
    new = set(_permissions(wanted)) - set(_permissions(before))
    return tuple(sorted(replace(one, action=spelling[one.action]) for one in new))


def _actions(properties: Mapping[str, Any]) -> Iterator[str]:
    for document in (properties.get("Policies") or {}).values():
        for statement in document["Statement"]:
            yield from _many(statement.get("Action"))


def _permissions(properties: Mapping[str, Any]) -> Iterator[Permission]:
    for document in (properties.get("Policies") or {}).values():
        for statement in policy(document).get("Statement", []):
            if statement.get("Effect") != "Allow":
                continue
            condition = _condition(statement.get("Condition") or {})
            for name in _many(statement.get("Action")):
                for resource in _many(statement.get("Resource")):
                    yield Permission(name, str(resource), condition)


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _condition(value: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{operator} {key} {' '.join(map(str, _many(values)))}"
        for operator, keys in sorted(value.items())
        for key, values in sorted(keys.items())
    )
