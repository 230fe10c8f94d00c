"""Which permissions does a plan add? Compares policies as sets of what they allow, not as text.

A comparison that can't be made exactly says *grows*: whoever reads a plan may be told of a permission
that was there in another form, and is never spared one that was not. What is exact: wildcards in
actions, resources and principals, several values of a condition, conditions that go, denials that go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from weir.aws.documents import policy
from weir.reconcile.plan import Action, Verb
from weir.resource import Unknown

GIVING = frozenset({Verb.CREATE, Verb.UPDATE, Verb.REPLACE, Verb.ADOPT})
IDENTITY, TRUST, RESOURCE = "policy", "trust", "resource policy"
"""What a document governs: what a role may do, who may take the role, who may use a resource."""
DOCUMENTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "iam.Role": (("Policies", IDENTITY), ("AssumeRolePolicyDocument", TRUST)),
    "kms.Key": (("KeyPolicy", RESOURCE),),
    "s3.Bucket": (("Policy", RESOURCE),),
    "sns.Topic": (("Policy", RESOURCE),),
    "sqs.Queue": (("Policy", RESOURCE),),
}
"""Kind -> its properties that hold policy documents, and what these govern."""

POSITIVE = frozenset(
    {
        "ArnEquals", "ArnLike", "BinaryEquals", "Bool", "DateEquals", "IpAddress", "NumericEquals",
        "StringEquals", "StringEqualsIgnoreCase", "StringLike",
    }
)  # fmt: skip
"""Condition operators that ask for one of their values (IAM user guide, "Condition operators"):
fewer values allow less."""
NEGATIVE = frozenset(
    {
        "ArnNotEquals", "ArnNotLike", "DateNotEquals", "NotIpAddress", "NumericNotEquals",
        "StringNotEquals", "StringNotEqualsIgnoreCase", "StringNotLike",
    }
)  # fmt: skip
"""Operators that ask for none of their values: more values allow less."""
SET_PREFIXES = ("ForAllValues:", "ForAnyValue:")

Condition = tuple[str, str, frozenset[str]]
"""Operator, key in small letters, values."""


@dataclass(frozen=True, order=True)
class Growth:
    """Something that is allowed after an action and not before it.

    Parameters
    ----------
    document
        ``policy``, ``trust``, ``resource policy``, ``managed policy`` or ``permissions boundary``.
    why
        ``allowed``; ``no longer denied``; ``attached`` (a managed policy); ``lifted`` or ``changed``
        (a permissions boundary).
    actions, resources, principals
        What the statement names, as far as it is new. A leading ``not`` stands for NotAction,
        NotResource and NotPrincipal. ``principals`` is empty in a role's own policies.
    condition
        Under which it holds; empty for none.
    """

    document: str
    why: str
    actions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()
    condition: str = ""

    def __str__(self) -> str:
        if not self.actions:
            return f"{self.document} {self.why}: {', '.join(self.resources)}"
        text = f"{', '.join(self.actions)} on {', '.join(self.resources)}"
        if self.document == TRUST:
            text = ", ".join(self.actions)
        if self.principals:
            text += f" by {', '.join(self.principals)}"
        if self.condition:
            text += f" if {self.condition}"
        return text if self.why == "allowed" else f"{self.why}: {text}"


@dataclass(frozen=True)
class _Side:
    """What one element of a statement matches: some patterns, or all but these."""

    patterns: frozenset[str]
    negated: bool = False

    def covers(self, other: _Side) -> bool:
        """Whether it matches whatever ``other`` matches."""
        if self.negated:
            if other.negated:
                return all(_any_covers(other.patterns, one) for one in self.patterns)
            return all(_disjoint(a, b) for a in self.patterns for b in other.patterns)
        if other.negated:
            return "*" in self.patterns
        return all(_any_covers(self.patterns, one) for one in other.patterns)

    def each(self) -> Iterable[_Side]:
        """One side for each pattern, where that comes to the same."""
        return [self] if self.negated else [_Side(frozenset({one})) for one in self.patterns]

    def shown(self) -> str:
        text = ", ".join(sorted(self.patterns))
        return f"not {text}" if self.negated else text


@dataclass(frozen=True)
class _Grant:
    """A statement, or a part of one."""

    effect: str
    principals: _Side | None
    actions: _Side
    resources: _Side
    conditions: frozenset[Condition]

    def covers(self, other: _Grant) -> bool:
        """Whether it holds for every request for which ``other`` holds."""
        return (
            _principals_cover(self.principals, other.principals)
            and self.actions.covers(other.actions)
            and self.resources.covers(other.resources)
            and all(any(_implies(b, a) for b in other.conditions) for a in self.conditions)
        )

    def parts(self) -> Iterator[_Grant]:
        """One grant for each principal, action and resource."""
        principals = self.principals.each() if self.principals else [None]
        for who, what, where in product(principals, self.actions.each(), self.resources.each()):
            yield _Grant(self.effect, who, what, where, self.conditions)


def grown(action: Action) -> tuple[Growth, ...]:
    """What is allowed after an action and not before it, in order.

    A policy that is known after apply only can't be compared; it shows as unknown in the plan.
    """
    if action.resource is None or action.verb not in GIVING:
        return ()
    wanted: Mapping[str, Any] = action.resource.properties
    before: Mapping[str, Any] = action.observed.properties if action.observed else {}
    found: list[Growth] = []
    for name, document in DOCUMENTS.get(action.kind, ()):
        if name in wanted and not isinstance(wanted[name], Unknown):
            found += compare(
                _documents(name, before.get(name)), _documents(name, wanted[name]), document
            )
    if action.kind == "iam.Role":
        found += _attached(before, wanted)
        found += _boundary(action, before, wanted)
    return tuple(sorted(found))


def lost_actions(action: Action) -> frozenset[str]:
    """IAM actions that an update takes from a role altogether: what runs may miss them."""
    if action.kind != "iam.Role" or action.resource is None or action.observed is None:
        return frozenset()
    wanted = action.resource.properties.get("Policies")
    if isinstance(wanted, Unknown):
        return frozenset()
    before = _documents("Policies", action.observed.properties.get("Policies"))
    after = _documents("Policies", wanted)
    lost = {name for one in compare(after, before, IDENTITY) for name in one.actions}
    kept = [one.actions for one in _grants(after) if one.effect == "Allow"]
    return frozenset(
        name
        for name in lost
        if not any(side.covers(_Side(frozenset({name.lower()}))) for side in kept)
    )


def compare(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], document: str
) -> tuple[Growth, ...]:
    """What policies allow together that others did not allow together, in order.

    Parameters
    ----------
    before, after
        Policy documents in AWS's JSON form; the order of documents, statements and items, and a
        string in place of a list of one, make no difference.
    document
        ``policy``, ``trust`` or ``resource policy``, for :class:`Growth`.

    Returns
    -------
    tuple of Growth
        Empty only if every request that ``after`` allows was allowed by ``before``.
    """
    former, new = list(_grants(before)), list(_grants(after))
    spelling = {name.lower(): name for name in (*_action_names(before), *_action_names(after))}
    allowed = [grant for grant in former if grant.effect == "Allow"]
    denied = [grant for grant in new if grant.effect == "Deny"]
    more = _uncovered((one for one in new if one.effect == "Allow"), allowed)
    freed = _uncovered((one for one in former if one.effect == "Deny"), denied)
    return tuple(
        sorted(
            [
                *_grouped(more, document, "allowed", spelling),
                *_grouped(freed, document, "no longer denied", spelling),
            ]
        )
    )


def _uncovered(grants: Iterable[_Grant], by: Sequence[_Grant]) -> list[_Grant]:
    return [
        part
        for grant in grants
        if grant not in by
        for part in grant.parts()
        if not any(one.covers(part) for one in by)
    ]


def _grouped(
    parts: Iterable[_Grant], document: str, why: str, spelling: Mapping[str, str]
) -> Iterator[Growth]:
    """Parts that differ in their action alone, or in their resource alone, in one line."""
    resources: dict[tuple[str, str, str], set[str]] = {}
    for part in parts:
        who = part.principals.shown() if part.principals else ""
        key = (who, _shown_conditions(part.conditions), part.actions.shown())
        resources.setdefault(key, set()).add(part.resources.shown())
    actions: dict[tuple[str, str, tuple[str, ...]], set[str]] = {}
    for (who, condition, action), places in resources.items():
        key_of_places = (who, condition, tuple(sorted(places)))
        actions.setdefault(key_of_places, set()).add(_spelled(action, spelling))
    principals: dict[tuple[str, tuple[str, ...], tuple[str, ...]], set[str]] = {}
    for (who, condition, where), names in actions.items():
        principals.setdefault((condition, where, tuple(sorted(names))), set()).add(who)
    for (condition, where, what), whom in principals.items():
        yield Growth(document, why, what, where, tuple(sorted(whom - {""})), condition)


def _spelled(action: str, spelling: Mapping[str, str]) -> str:
    """An action as the policy has it: the canonical form has small letters."""
    head = "not " if action.startswith("not ") else ""
    names = action.removeprefix("not ").split(", ")
    return head + ", ".join(spelling.get(name, name) for name in names)


def _documents(name: str, value: Any) -> list[Mapping[str, Any]]:
    """The policy documents that a property holds."""
    if not value or isinstance(value, Unknown):
        return []
    found = list(value.values()) if name == "Policies" else [value]
    return [one for one in found if one and not isinstance(one, Unknown)]


def _grants(documents: Iterable[Mapping[str, Any]]) -> Iterator[_Grant]:
    for document in documents:
        for statement in policy(document).get("Statement", []):
            yield _Grant(
                str(statement.get("Effect", "Allow")),
                _principals(statement),
                _side(statement, "Action", fold=True),
                _side(statement, "Resource"),
                frozenset(_conditions(statement.get("Condition") or {})),
            )


def _side(statement: Mapping[str, Any], name: str, *, fold: bool = False) -> _Side:
    negated = f"Not{name}" in statement
    found = statement.get(f"Not{name}" if negated else name)
    items = {repr(one) if isinstance(one, Unknown) else str(one) for one in _many(found)} or {"*"}
    return _Side(frozenset(one.lower() if fold else one for one in items), negated)


def _principals(statement: Mapping[str, Any]) -> _Side | None:
    negated = "NotPrincipal" in statement
    found = statement.get("NotPrincipal" if negated else "Principal")
    if found is None:
        return None
    return _Side(
        frozenset(f"{sort}:{one}" for sort, names in found.items() for one in _many(names)), negated
    )


def _principals_cover(one: _Side | None, other: _Side | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.covers(other)


def _conditions(value: Mapping[str, Any]) -> Iterator[Condition]:
    for operator, keys in value.items():
        for key, values in keys.items():
            yield operator, key.lower(), frozenset(map(str, _many(values)))


def _implies(narrow: Condition, wide: Condition) -> bool:
    """Whether ``wide`` holds wherever ``narrow`` does."""
    if narrow[:2] != wide[:2]:
        return False
    operator = narrow[0]
    for prefix in SET_PREFIXES:
        operator = operator.removeprefix(prefix)
    plain = operator.removesuffix("IfExists")
    if plain in POSITIVE:
        return narrow[2] <= wide[2]
    if plain in NEGATIVE and operator == narrow[0]:
        return narrow[2] >= wide[2]
    return narrow[2] == wide[2]


def _shown_conditions(conditions: Iterable[Condition]) -> str:
    return " and ".join(
        f"{operator} {key} {' or '.join(sorted(values))}"
        for operator, key, values in sorted(conditions, key=lambda one: (one[0], one[1]))
    )


def _any_covers(patterns: Iterable[str], pattern: str) -> bool:
    return any(pattern_covers(one, pattern) for one in patterns)


def pattern_covers(wide: str, narrow: str) -> bool:
    """Whether ``wide`` matches every text that ``narrow`` matches; both may have ``*`` and ``?``.

    ``narrow`` is read as a text in which its own ``*`` is matched by nothing but a ``*``. That never
    says yes wrongly, and says no wrongly only where several wildcards of ``wide`` would have to share
    one of ``narrow``.
    """
    at = back = 0
    star = -1
    place = 0
    while place < len(narrow):
        if at < len(wide) and wide[at] == "*":
            star, back = at, place
            at += 1
        elif at < len(wide) and narrow[place] != "*" and wide[at] in (narrow[place], "?"):
            at += 1
            place += 1
        elif star >= 0:
            back += 1
            at, place = star + 1, back
        else:
            return False
    return all(one == "*" for one in wide[at:])


def _disjoint(one: str, other: str) -> bool:
    """Whether two patterns match no text in common, as far as their fixed beginnings tell."""
    head, tail = (text.partition("*")[0].partition("?")[0] for text in (one, other))
    length = min(len(head), len(tail))
    if head[:length] != tail[:length]:
        return True
    return head == one and tail == other and one != other


def _attached(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Growth]:
    new = set(_many(wanted.get("ManagedPolicyArns"))) - set(_many(before.get("ManagedPolicyArns")))
    if new:
        yield Growth("managed policy", "attached", resources=tuple(sorted(map(str, new))))


def _boundary(
    action: Action, before: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Iterator[Growth]:
    former, new = before.get("PermissionsBoundary"), wanted.get("PermissionsBoundary")
    if action.observed is not None and former and former != new:
        why = "changed" if new else "lifted"
        yield Growth("permissions boundary", why, resources=(str(former),))


def _action_names(documents: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for document in documents:
        for statement in _many(document.get("Statement")):
            yield from map(str, _many(statement.get("Action", statement.get("NotAction"))))


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
