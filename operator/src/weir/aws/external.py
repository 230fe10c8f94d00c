"""Adapters of what Weir only looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from weir.aws.errors import Invalid
from weir.resource import Change, Observed, Resource


class ReadOnly:
    """The writing half of an adapter whose resources are never written."""

    kind: str

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:  # noqa: ARG002
        """Refuse: it must be there.

        Raises
        ------
        Invalid
            Always.
        """
        self._refuse(resource.name)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],  # noqa: ARG002
    ) -> Observed:
        """Say what is there, if it is as required.

        Raises
        ------
        Invalid
            It is not; Weir does not change it.
        """
        if changes:
            self._refuse(resource.name, changes)
        return observed

    def delete(self, observed: Observed) -> None:
        """Leave it where it is."""

    def _refuse(self, name: str, changes: Sequence[Change] = ()) -> NoReturn:
        if changes:
            what = "; ".join(
                f"{item.path} is {item.before!r}, not {item.after!r}" for item in changes
            )
            text = f"{self.kind} {name} is not as required: {what}. Weir does not change it."
        else:
            text = f"{self.kind} {name} does not exist; Weir does not create it: create it, or correct its name"
        raise Invalid(text, resource=name)
