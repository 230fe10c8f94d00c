"""Lambda: who else may call a function, by statements of its resource policy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from weir.aws.base import ServiceAdapter, changed, split_pair
from weir.aws.errors import Conflict
from weir.resource import Change, Observed, Resource, Traits


def split_permission(name: str) -> tuple[str, str]:
    """Function and statement id of a permission's name, ``functionName|statementId``.

    Raises
    ------
    Invalid
        It has not two parts.
    """
    return split_pair(name, "|", "is not functionName|statementId", "lambda")


class Permission(ServiceAdapter):
    """One statement of a function's policy, by its id; statements of others are left as they are.

    Properties: ``Action``, ``Principal`` (a service) and ``SourceArn``, as in ``AddPermission``. No
    call changes one: it is removed and added. No attributes.
    """

    kind = "lambda.Permission"
    service = "lambda"
    traits = Traits()

    def look(self, name: str) -> Observed | None:
        function, statement = split_permission(name)
        found = self.calls.find("GetPolicy", name, FunctionName=function)
        policy = json.loads(found["Policy"]) if found else {}
        for one in policy.get("Statement") or ():
            if one.get("Sid") == statement:
                return Observed(name, _properties(one))
        return None

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        return self._added(resource, tags) or Observed(resource.name, dict(resource.properties))

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        if changed(changes):
            self.delete(observed)
            there = self._added(resource, tags)
            if there is not None:
                return there
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        function, statement = split_permission(observed.name)
        self.calls.find(
            "RemovePermission", observed.name, FunctionName=function, StatementId=statement
        )

    def _added(self, resource: Resource, tags: Mapping[str, str]) -> Observed | None:
        """Add the statement; what is there instead where it was added before, its answer lost."""
        function, statement = split_permission(resource.name)
        try:
            self.calls(
                "AddPermission",
                resource.name,
                FunctionName=function,
                StatementId=statement,
                **resource.properties,
            )
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        return None


def _properties(statement: Mapping[str, Any]) -> dict[str, Any]:
    principal = statement.get("Principal")
    condition = statement.get("Condition") or {}
    sources = [
        value
        for operator in ("ArnLike", "ArnEquals", "StringEquals")
        for key, value in (condition.get(operator) or {}).items()
        if key.lower() == "aws:sourcearn"
    ]
    return {
        "Action": statement.get("Action"),
        "Principal": principal.get("Service") if isinstance(principal, dict) else principal,
        "SourceArn": sources[0] if sources else None,
    }


ADAPTERS = (Permission,)
