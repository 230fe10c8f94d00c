"""Secrets Manager: that a secret is there. Its value is read by functions inside AWS, never here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, common_prefix
from weir.aws.external import ReadOnly
from weir.resource import Observed, Traits

PAGE = 100
"""``MaxResults`` at most (Secrets Manager API, "ListSecrets")."""


class Secret(ReadOnly, ServiceAdapter):
    """A secret of somebody else's, by name or ARN. Attributes: ``arn``, ``name``, ``kmsKeyId``."""

    kind = "secretsmanager.Secret"
    service = "secretsmanager"
    traits = Traits(holds_data=True)

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        wanted = set(names)
        named = sorted(name for name in wanted if not name.startswith("arn:"))
        yield from self.observe(sorted(wanted - set(named))).values()
        # The filter compares beginnings, without regard to case.
        prefix = common_prefix(named)
        only: dict[str, Any] = {"Filters": [{"Key": "name", "Values": [prefix]}]} if prefix else {}
        for secret in self.calls.pages(
            "ListSecrets", "SecretList", IncludePlannedDeletion=True, MaxResults=PAGE, **only
        ):
            if secret["Name"] in wanted:
                yield _observed(secret["Name"], secret)

    def look(self, name: str) -> Observed | None:
        found = self.calls.find("DescribeSecret", name, SecretId=name)
        return _observed(name, found) if found else None


def _observed(name: str, secret: Mapping[str, object]) -> Observed:
    leaving = secret.get("DeletedDate")
    pairs = secret.get("Tags") or []
    return Observed(
        name=name,
        properties={},
        attributes={
            "arn": str(secret["ARN"]),
            "name": str(secret["Name"]),
            "kmsKeyId": str(secret.get("KmsKeyId") or ""),
        },
        tags=tagging.mapping(pairs if isinstance(pairs, list) else []),
        settled=leaving is None,
        detail="" if leaving is None else "the secret is scheduled for deletion: restore it",
    )


ADAPTERS = (Secret,)
