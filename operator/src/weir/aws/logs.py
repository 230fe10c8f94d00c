"""CloudWatch Logs: log groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, changed, common_prefix, with_tags
from weir.aws.errors import Conflict
from weir.resource import Change, Observed, Resource, Traits

PAGE = 50
"""``limit`` at most (CloudWatch Logs API, "DescribeLogGroups")."""


class LogGroup(ServiceAdapter):
    """A log group. Properties: ``RetentionInDays``, ``KmsKeyId``. Attributes: ``arn``, ``name``."""

    kind = "logs.LogGroup"
    service = "logs"
    tagged_as = ("logs:log-group",)
    traits = Traits()

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value or None for key, value in properties.items()}

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        found: dict[str, Observed] = {}
        for name in dict.fromkeys(names):
            for seen in self._listed({name}):
                arn = seen.attributes["arn"]
                tags = self.calls("ListTagsForResource", name, resourceArn=arn).get("tags", {})
                found[name] = with_tags(seen, tags)
        return found

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        return self.tagged(names, self._listed(set(names)))

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        name, wanted = resource.name, resource.properties
        key = {"kmsKeyId": wanted["KmsKeyId"]} if wanted.get("KmsKeyId") else {}
        try:
            self.calls("CreateLogGroup", name, logGroupName=name, tags=dict(tags), **key)
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        if wanted.get("RetentionInDays"):
            self._retain(name, wanted["RetentionInDays"])
        arn = self.session.arn("logs", f"log-group:{name}")
        return with_tags(
            Observed(
                name,
                {"RetentionInDays": None, "KmsKeyId": None, **self.canonical(wanted)},
                attributes={"arn": arn, "name": name},
            ),
            tags,
        )

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        name, wanted, fields = resource.name, resource.properties, changed(changes)
        if "RetentionInDays" in fields:
            self._retain(name, wanted["RetentionInDays"])
        if "KmsKeyId" in fields:
            if wanted["KmsKeyId"]:
                self.calls("AssociateKmsKey", name, logGroupName=name, kmsKeyId=wanted["KmsKeyId"])
            else:
                self.calls("DisassociateKmsKey", name, logGroupName=name)
        new = tagging.missing(observed.tags, tags)
        if new:
            self.calls("TagResource", name, resourceArn=observed.attributes["arn"], tags=new)
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        self.calls.find("DeleteLogGroup", observed.name, logGroupName=observed.name)

    def _retain(self, name: str, days: int | None) -> None:
        if days:
            self.calls("PutRetentionPolicy", name, logGroupName=name, retentionInDays=days)
        else:
            self.calls("DeleteRetentionPolicy", name, logGroupName=name)

    def _listed(self, names: Set[str]) -> Iterator[Observed]:
        prefix = common_prefix(sorted(names))
        only = {"logGroupNamePrefix": prefix} if prefix else {}
        for group in self.calls.pages("DescribeLogGroups", "logGroups", prefix, limit=PAGE, **only):
            if group["logGroupName"] in names:
                yield _observed(group)


def _observed(group: Mapping[str, Any]) -> Observed:
    # Two spellings of the ARN are about; tags want the one without the trailing ":*".
    name, arn = group["logGroupName"], group["arn"].removesuffix(":*")
    return Observed(
        name=name,
        properties={
            "RetentionInDays": group.get("retentionInDays"),
            "KmsKeyId": group.get("kmsKeyId"),
        },
        attributes={"arn": arn, "name": name},
    )


ADAPTERS = (LogGroup,)
