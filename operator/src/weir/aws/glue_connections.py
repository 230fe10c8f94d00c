"""Glue: connections, through which jobs run in a VPC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, changed, with_tags
from weir.aws.errors import Conflict
from weir.aws.glue import tagged
from weir.resource import Change, Observed, Resource, Traits

PAGE = 1000
"""``MaxResults`` at most (Glue API, "GetConnections")."""
FIELDS = (
    "ConnectionType",
    "Description",
    "ConnectionProperties",
    "PhysicalConnectionRequirements",
)


class Connection(ServiceAdapter):
    """A connection. Properties: ``ConnectionType``, ``Description``, ``ConnectionProperties``,
    ``PhysicalConnectionRequirements{SubnetId, SecurityGroupIdList, AvailabilityZone}``.

    Attributes: ``arn``, ``name``.
    """

    kind = "glue.Connection"
    service = "glue"
    tagged_as = ("glue:connection",)
    traits = Traits(unordered=frozenset({"PhysicalConnectionRequirements.SecurityGroupIdList"}))

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        found = self.calls.pages(
            "GetConnections", "ConnectionList", HidePassword=True, MaxResults=PAGE
        )
        return self.tagged(names, map(self._observed, found))

    def look(self, name: str) -> Observed | None:
        found = self.calls.find("GetConnection", name, Name=name, HidePassword=True)
        if found is None:
            return None
        seen = self._observed(found["Connection"])
        return tagged(self, seen)

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        given = self._input(resource.name, resource.properties)
        try:
            self.calls("CreateConnection", resource.name, ConnectionInput=given, Tags=dict(tags))
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        return with_tags(self._observed(given), tags)

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        name = resource.name
        if changed(changes) & set(FIELDS):
            # The call replaces the whole definition: what is not managed is kept as seen.
            given = self._input(name, {**observed.properties, **resource.properties})
            self.calls("UpdateConnection", name, Name=name, ConnectionInput=given)
        new = tagging.missing(observed.tags, tags)
        if new:
            arn = observed.attributes["arn"]
            self.calls("TagResource", name, ResourceArn=arn, TagsToAdd=new)
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        self.calls.find("DeleteConnection", observed.name, ConnectionName=observed.name)

    @staticmethod
    def _input(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        given = {key: properties[key] for key in FIELDS if properties.get(key) is not None}
        return {"ConnectionProperties": {}, **given, "Name": name}

    def _observed(self, connection: Mapping[str, Any]) -> Observed:
        name = connection["Name"]
        where = connection.get("PhysicalConnectionRequirements") or {}
        return Observed(
            name,
            {
                "ConnectionType": connection.get("ConnectionType"),
                "Description": connection.get("Description") or "",
                "ConnectionProperties": dict(connection.get("ConnectionProperties") or {}),
                "PhysicalConnectionRequirements": dict(where),
            },
            attributes={"arn": self.session.arn("glue", f"connection/{name}"), "name": name},
        )


ADAPTERS = (Connection,)
