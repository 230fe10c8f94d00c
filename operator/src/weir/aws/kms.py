"""KMS: keys, found by their alias."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, changed
from weir.aws.documents import encode, policy
from weir.aws.errors import Conflict
from weir.resource import Change, Observed, Resource, Traits

DELETION_DAYS = 7
"""The shortest window that KMS allows; until then the deletion can be taken back."""

TAG_ALIAS = "weir.dev/alias"
"""Names the alias a key was made for, so that one whose alias never came to be is found again."""

PAGE = 100
"""``Limit`` at most (KMS API, "ListAliases")."""

KEY = frozenset({"Description", "KeyPolicy", "EnableKeyRotation", "Enabled"})
"""What the list of aliases does not tell of their keys."""


class Key(ServiceAdapter):
    """A symmetric key and its alias. The name is the alias, ``alias/weir-...`` (a key of somebody
    else's may be named by its ARN).

    Properties: ``Description``, ``KeyPolicy``, ``EnableKeyRotation``. Attributes: ``arn``, ``keyId``,
    ``aliasArn``. Deleting schedules the key's deletion and frees the alias.
    """

    kind = "kms.Key"
    service = "kms"
    tagged_as = ("kms:key",)
    traits = Traits(holds_data=True)

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = {**properties, "Enabled": True}
        if "KeyPolicy" in form:
            form["KeyPolicy"] = policy(form["KeyPolicy"])
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        yield from self.tagged(
            (name for name in names if name.startswith("alias/")),
            (
                Observed(
                    alias["AliasName"],
                    {},
                    attributes=self._named(alias["AliasName"], alias["TargetKeyId"]),
                    unseen=KEY,
                )
                for alias in self.calls.pages("ListAliases", "Aliases", Limit=PAGE)
                if alias.get("TargetKeyId")
            ),
        )
        others = [name for name in names if not name.startswith("alias/")]
        yield from self.observe(others).values()

    def _named(self, name: str, key_id: str) -> dict[str, str]:
        return {
            "arn": self.session.arn("kms", f"key/{key_id}"),
            "keyId": key_id,
            "aliasArn": self.session.arn("kms", name) if name.startswith("alias/") else "",
        }

    def look(self, name: str) -> Observed | None:
        described = self.calls.find("DescribeKey", name, KeyId=name)
        if described is None:
            return None
        key = described["KeyMetadata"]
        key_id, leaving = key["KeyId"], key["KeyState"] == "PendingDeletion"
        document = self.calls("GetKeyPolicy", name, KeyId=key_id, PolicyName="default")["Policy"]
        rotation = {} if leaving else self.calls("GetKeyRotationStatus", name, KeyId=key_id)
        tags = tagging.mapping(
            self.calls.pages("ListResourceTags", "Tags", name, KeyId=key_id), "TagKey", "TagValue"
        )
        return Observed(
            name=name,
            properties={
                "Description": key.get("Description", ""),
                "KeyPolicy": policy(document),
                "EnableKeyRotation": bool(rotation.get("KeyRotationEnabled")),
                "Enabled": bool(key.get("Enabled")),
            },
            attributes={**self._named(name, key_id), "arn": key["Arn"]},
            tags=tags,
            detail="scheduled for deletion" if leaving else "",
        )

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        wanted = resource.properties
        made = self._unaliased(resource.name)
        again = bool(made)
        for spare in made[1:]:
            self._retire(resource.name, spare)
        if again:
            key_id = made[0]
        else:
            parameters: dict[str, Any] = {
                "Description": wanted.get("Description", ""),
                "Tags": tagging.pairs({**tags, TAG_ALIAS: resource.name}, "TagKey", "TagValue"),
            }
            if wanted.get("KeyPolicy"):
                parameters["Policy"] = encode(wanted["KeyPolicy"])
            # CreateKey knows no token: a second try after a lost reply would make a second key.
            created = self.calls.once("CreateKey", resource.name, **parameters)
            key_id = created["KeyMetadata"]["KeyId"]
        try:
            self.calls("CreateAlias", resource.name, AliasName=resource.name, TargetKeyId=key_id)
        except Conflict as taken:
            there = self.calls.find("DescribeKey", resource.name, KeyId=resource.name)
            if there is None or there["KeyMetadata"]["KeyId"] != key_id:
                if not again:
                    # Nobody has used the key that was made a moment ago.
                    self._retire(resource.name, key_id)
                return self.taken_back(resource, tags, taken)
            # An earlier try of the same call did it, and its reply was lost.
        if wanted.get("EnableKeyRotation"):
            self.calls("EnableKeyRotation", resource.name, KeyId=key_id)
        if again:
            return self.must_see(resource.name)
        given = self.canonical({"Description": "", "EnableKeyRotation": False, **wanted})
        # KMS gives a key that is born without a policy one of its own.
        unknown = frozenset() if wanted.get("KeyPolicy") else frozenset({"KeyPolicy"})
        return Observed(
            resource.name,
            given,
            attributes=self._named(resource.name, key_id),
            tags={**tags, TAG_ALIAS: resource.name},
            unseen=unknown,
        )

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        wanted, fields = resource.properties, changed(changes)
        about, key_id = resource.name, observed.attributes["keyId"]
        if not observed.properties["Enabled"]:
            if observed.detail:
                self.calls("CancelKeyDeletion", about, KeyId=key_id)
            self.calls("EnableKey", about, KeyId=key_id)
        if "Description" in fields:
            self.calls(
                "UpdateKeyDescription",
                about,
                KeyId=key_id,
                Description=wanted.get("Description") or "",
            )
        if "KeyPolicy" in fields:
            self.calls(
                "PutKeyPolicy",
                about,
                KeyId=key_id,
                PolicyName="default",
                Policy=encode(wanted["KeyPolicy"]),
            )
        if "EnableKeyRotation" in fields:
            verb = "Enable" if wanted["EnableKeyRotation"] else "Disable"
            self.calls(f"{verb}KeyRotation", about, KeyId=key_id)
        new = tagging.missing(observed.tags, tags)
        if new:
            self.calls(
                "TagResource", about, KeyId=key_id, Tags=tagging.pairs(new, "TagKey", "TagValue")
            )
        seen = self.rewritten(resource, observed, changes, tags)
        return replace(seen, properties={**seen.properties, "Enabled": True})

    def delete(self, observed: Observed) -> None:
        described = self.calls.find("DescribeKey", observed.name, KeyId=observed.name)
        if described is None:
            return
        key = described["KeyMetadata"]
        # The alias goes last: until then the key is found again after a crash.
        if key["KeyState"] != "PendingDeletion":
            self._retire(observed.name, key["KeyId"])
        self.calls.find("DeleteAlias", observed.name, AliasName=observed.name)

    def _retire(self, about: str, key_id: str) -> None:
        self.calls.find(
            "ScheduleKeyDeletion", about, KeyId=key_id, PendingWindowInDays=DELETION_DAYS
        )

    def _unaliased(self, alias: str) -> list[str]:
        """Keys made for this alias that never got it, as after a crash between the two calls."""
        found = []
        for arn, tags in tagging.bulk(self.session, "kms:key", key=TAG_ALIAS, value=alias).items():
            if tags.get(TAG_ALIAS) != alias:
                continue
            key_id = arn.rpartition("/")[2]
            key = self.calls.find("DescribeKey", alias, KeyId=key_id)
            if key is not None and key["KeyMetadata"]["KeyState"] == "Enabled":
                found.append(key_id)
        return sorted(found)


ADAPTERS = (Key,)
