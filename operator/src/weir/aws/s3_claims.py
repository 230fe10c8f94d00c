"""S3: whose bucket is this, of those that Weir did not make and so does not tag?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from weir.aws.base import ServiceAdapter
from weir.aws.errors import AwsError, Conflict
from weir.aws.s3 import split_uri
from weir.resource import Change, Observed, Resource, Traits

TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
"""Somebody was faster (Amazon S3 User Guide, *How to prevent object overwrites with conditional
writes*)."""


class Claim(ServiceAdapter):
    """A Platform's claim on a bucket: an object named by its URI, whose content is the owner's tags."""

    kind = "s3.Claim"
    service = "s3"
    traits = Traits()

    def look(self, name: str) -> Observed | None:
        bucket, key = split_uri(name)
        found = self.calls.find("GetObject", name, Bucket=bucket, Key=key)
        if found is None:
            return None
        return self._observed(name, json.loads(found["Body"].read()))

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        try:
            self._put(resource.name, tags, IfNoneMatch="*")
        except AwsError as error:
            if error.code not in TAKEN:
                raise
            taken = Conflict(
                str(error), service=self.service, operation="PutObject", resource=resource.name
            )
            return self.taken_back(resource, tags, taken)
        return self._observed(resource.name, tags)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],  # noqa: ARG002
        tags: Mapping[str, str],
    ) -> Observed:
        whole = {**observed.tags, **tags}
        self._put(resource.name, whole)
        return self._observed(resource.name, whole)

    def delete(self, observed: Observed) -> None:
        bucket, key = split_uri(observed.name)
        self.calls.find("DeleteObject", observed.name, Bucket=bucket, Key=key)

    def _put(self, name: str, tags: Mapping[str, str], **conditions: str) -> None:
        bucket, key = split_uri(name)
        body = json.dumps(dict(tags), sort_keys=True).encode()
        self.calls(
            "PutObject",
            name,
            Bucket=bucket,
            Key=key,
            Body=body,
            ContentType="application/json",
            **conditions,
        )

    def _observed(self, name: str, tags: Mapping[str, str]) -> Observed:
        bucket, key = split_uri(name)
        arn = f"arn:{self.session.partition}:s3:::{bucket}/{key}"
        return Observed(name, {}, attributes={"arn": arn}, tags=dict(tags))


ADAPTERS = (Claim,)
