"""CloudWatch Logs: log groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import FEW, ServiceAdapter, changed, common_prefix
from weir.resource import Change, Observed, Resource, Traits


class LogGroup(ServiceAdapter):
    """A log group. Properties: ``RetentionInDays``, ``KmsKeyId``. Attributes: ``arn``, ``name``."""

    kind = "logs.LogGroup"
    service = "logs"
    traits = Traits()

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value or None for key, value in properties.items()}

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        wanted = set(names)
        many = len(wanted) > FEW
        prefixes = [common_prefix(sorted(wanted))] if many else sorted(wanted)
        tags = tagging.bulk(self.session, "logs:log-group") if many else {}
        found: dict[str, Observed] = {}
        for prefix in prefixes:
            only = {"logGroupNamePrefix": prefix} if prefix else {}
            for group in self.calls.pages("DescribeLogGroups", "logGroups", prefix, **only):
                if group["logGroupName"] in wanted:
                    found[group["logGroupName"]] = self._observed(group, tags)
        return found

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        name, wanted = resource.name, resource.properties
        key = {"kmsKeyId": wanted["KmsKeyId"]} if wanted.get("KmsKeyId") else {}
        self.calls("CreateLogGroup", name, logGroupName=name, tags=dict(tags), **key)
        if wanted.get("RetentionInDays"):
            self._retain(name, wanted["RetentionInDays"])
        return self.must_see(name)

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
        return self.must_see(name)

    def delete(self, observed: Observed) -> None:
        self.calls.find("DeleteLogGroup", observed.name, logGroupName=observed.name)

    def _retain(self, name: str, days: int | None) -> None:
        if days:
            self.calls("PutRetentionPolicy", name, logGroupName=name, retentionInDays=days)
        else:
            self.calls("DeleteRetentionPolicy", name, logGroupName=name)

    def _observed(
        self, group: Mapping[str, Any], tags: Mapping[str, Mapping[str, str]]
    ) -> Observed:
        # Two spellings of the ARN are about; tags want the one without the trailing ":*".
        name, arn = group["logGroupName"], group["arn"].removesuffix(":*")
        own = tags.get(arn)
        if own is None:
            own = self.calls("ListTagsForResource", name, resourceArn=arn).get("tags", {})
        return Observed(
            name=name,
            properties={
                "RetentionInDays": group.get("retentionInDays"),
                "KmsKeyId": group.get("kmsKeyId"),
            },
            attributes={"arn": arn, "name": name},
            tags=dict(own),
        )


ADAPTERS = (LogGroup,)
