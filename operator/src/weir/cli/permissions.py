"""Which IAM permissions does a plan add?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from weir.reconcile.diff import contains_unknown
from weir.reconcile.plan import Action, Verb

ROLE = "iam.Role"
GIVING = frozenset({Verb.CREATE, Verb.UPDATE, Verb.REPLACE, Verb.ADOPT})


@dataclass(frozen=True, order=True)
class Permission:
    """One action on one resource that a policy allows. ``condition`` is its JSON, empty for none."""

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
    before = action.observed.properties if action.observed else {}
    return tuple(sorted(set(_of_role(action.resource.properties)) - set(_of_role(before))))


def _of_role(properties: Mapping[str, Any]) -> Iterator[Permission]:
    for policy in (properties.get("Policies") or {}).values():
        for statement in _many((policy or {}).get("Statement")):
            if statement.get("Effect") != "Allow":
                continue
            condition = _condition(statement.get("Condition"))
            for name in _many(statement.get("Action")):
                for resource in _many(statement.get("Resource")):
                    yield Permission(str(name), _text(resource), condition)


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _text(value: Any) -> str:
    return repr(value) if contains_unknown(value) else str(value)


def _condition(value: Any) -> str:
    """Equal conditions as equal text: IAM takes one value and a list of one as the same."""
    if not value:
        return ""
    return ", ".join(
        f"{operator} {key} {' '.join(sorted(map(_text, _many(values))))}"
        for operator, keys in sorted(value.items())
        for key, values in sorted(keys.items())
    )
