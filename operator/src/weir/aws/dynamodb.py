"""DynamoDB: tables, and single items that configure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from weir.aws import tags as tagging
from weir.aws.base import ServiceAdapter, changed, chunks
from weir.aws.calls import wait_for
from weir.aws.documents import ordered
from weir.aws.errors import Conflict, Invalid, Throttled
from weir.resource import Change, Observed, Resource, Traits

BATCH = 100
"""Items that one BatchGetItem takes (DynamoDB API reference)."""

TABLES_PAGE = 100
"""``Limit`` at most (DynamoDB API reference, "ListTables")."""

TABLE = frozenset(
    {
        "KeySchema",
        "AttributeDefinitions",
        "BillingMode",
        "SSEKmsKeyArn",
        "TtlAttribute",
        "PointInTimeRecovery",
        "DeletionProtection",
    }
)
"""What the list of tables does not tell: all but their names."""

BORN: Mapping[str, Any] = {
    "BillingMode": "PAY_PER_REQUEST",
    "SSEKmsKeyArn": None,
    "TtlAttribute": None,
    "PointInTimeRecovery": False,
    "DeletionProtection": False,
}
"""What a table is born with, where nothing else is asked for."""


class Table(ServiceAdapter):
    """A table.

    Properties: ``KeySchema``, ``AttributeDefinitions``, ``BillingMode``, ``SSEKmsKeyArn``,
    ``TtlAttribute``, ``PointInTimeRecovery``, ``DeletionProtection``. Attributes: ``arn``.
    """

    kind = "dynamodb.Table"
    service = "dynamodb"
    tagged_as = ("dynamodb:table",)
    traits = Traits(immutable=frozenset({"KeySchema", "AttributeDefinitions"}), holds_data=True)

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        form = dict(properties)
        if "AttributeDefinitions" in form:
            form["AttributeDefinitions"] = ordered(form["AttributeDefinitions"], "AttributeName")
        return form

    def listing(self, names: Sequence[str]) -> Iterator[Observed]:
        tables = self.calls.pages("ListTables", "TableNames", Limit=TABLES_PAGE)
        return self.tagged(
            names,
            (Observed(name, {}, attributes=self._named(name), unseen=TABLE) for name in tables),
        )

    def _named(self, name: str) -> dict[str, str]:
        return {"arn": self.session.arn("dynamodb", f"table/{name}"), "name": name}

    def look(self, name: str) -> Observed | None:
        described = self.calls.find("DescribeTable", name, TableName=name)
        if described is None:
            return None
        table = described["Table"]
        arn, status = table["TableArn"], table["TableStatus"]
        ttl = self.calls.find("DescribeTimeToLive", name, TableName=name) or {}
        living = ttl.get("TimeToLiveDescription", {})
        backups = self.calls.find("DescribeContinuousBackups", name, TableName=name) or {}
        recovery = backups.get("ContinuousBackupsDescription", {}).get(
            "PointInTimeRecoveryDescription", {}
        )
        tags = self.calls.pages("ListTagsOfResource", "Tags", name, ResourceArn=arn)
        return Observed(
            name=name,
            properties={
                "KeySchema": table.get("KeySchema", []),
                "AttributeDefinitions": ordered(
                    table.get("AttributeDefinitions", []), "AttributeName"
                ),
                "BillingMode": table.get("BillingModeSummary", {}).get(
                    "BillingMode", "PROVISIONED"
                ),
                "SSEKmsKeyArn": table.get("SSEDescription", {}).get("KMSMasterKeyArn"),
                "TtlAttribute": living.get("AttributeName")
                if living.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
                else None,
                "PointInTimeRecovery": recovery.get("PointInTimeRecoveryStatus") == "ENABLED",
                "DeletionProtection": bool(table.get("DeletionProtectionEnabled")),
            },
            attributes=self._named(name),
            tags={} if status == "DELETING" else tagging.mapping(tags),
            settled=status == "ACTIVE",
            detail="" if status == "ACTIVE" else f"TableStatus: {status}",
        )

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:
        wanted = resource.properties
        parameters: dict[str, Any] = {
            "KeySchema": wanted["KeySchema"],
            "AttributeDefinitions": wanted["AttributeDefinitions"],
            "BillingMode": wanted.get("BillingMode", "PAY_PER_REQUEST"),
            "DeletionProtectionEnabled": bool(wanted.get("DeletionProtection")),
            "Tags": tagging.pairs(tags),
        }
        if wanted.get("SSEKmsKeyArn"):
            parameters["SSESpecification"] = _encryption(wanted["SSEKmsKeyArn"])
        name = resource.name
        try:
            self.calls("CreateTable", name, TableName=name, **parameters)
        except Conflict as taken:
            return self.taken_back(resource, tags, taken)
        later = [name for name in ("TtlAttribute", "PointInTimeRecovery") if wanted.get(name)]
        active = wait_for(lambda: self._status(name), lambda status: status == "ACTIVE")
        seen = Observed(
            name,
            {**BORN, **self.canonical(wanted)},
            attributes=self._named(name),
            tags=dict(tags),
            settled=active == "ACTIVE",
            detail="" if active == "ACTIVE" else f"TableStatus: {active}",
        )
        if not seen.settled:
            # What can be set on an active table only is not there yet.
            return replace(
                seen, properties={**seen.properties, **{name: BORN[name] for name in later}}
            )
        for field in later:
            self._put(name, field, wanted[field], seen)
        return seen

    def _status(self, name: str) -> str:
        described = self.calls.find("DescribeTable", name, TableName=name) or {}
        return str(described.get("Table", {}).get("TableStatus", "CREATING"))

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        name, wanted, fields = resource.name, resource.properties, changed(changes)
        table: dict[str, Any] = {}
        if "BillingMode" in fields:
            table["BillingMode"] = wanted["BillingMode"]
        if "SSEKmsKeyArn" in fields:
            table["SSESpecification"] = _encryption(wanted["SSEKmsKeyArn"])
        if "DeletionProtection" in fields:
            table["DeletionProtectionEnabled"] = bool(wanted["DeletionProtection"])
        if table:
            self.calls("UpdateTable", name, TableName=name, **table)
        for field in ("TtlAttribute", "PointInTimeRecovery"):
            if field in fields:
                self._put(name, field, wanted[field], observed)
        new = tagging.missing(observed.tags, tags)
        if new:
            arn = observed.attributes["arn"]
            self.calls("TagResource", name, ResourceArn=arn, Tags=tagging.pairs(new))
        return self.rewritten(resource, observed, changes, tags)

    def delete(self, observed: Observed) -> None:
        name = observed.name
        # Protection is against slips; whoever calls this has been told to delete the data.
        if observed.properties.get("DeletionProtection"):
            self.calls.find("UpdateTable", name, TableName=name, DeletionProtectionEnabled=False)
        self.calls.find("DeleteTable", name, TableName=name)

    def _put(self, name: str, field: str, value: Any, seen: Observed) -> None:
        if field == "TtlAttribute":
            attribute = value or seen.properties["TtlAttribute"]
            self.calls(
                "UpdateTimeToLive",
                name,
                TableName=name,
                TimeToLiveSpecification={"Enabled": bool(value), "AttributeName": attribute},
            )
        else:
            self.calls(
                "UpdateContinuousBackups",
                name,
                TableName=name,
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": bool(value)},
            )


def _encryption(key: str | None) -> dict[str, Any]:
    if not key:
        return {"Enabled": False}
    return {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}


def split_item(name: str) -> tuple[str, str, str]:
    """Table, partition key and sort key of an item's name ``table|pk|sk``.

    Raises
    ------
    Invalid
        It has not three parts.
    """
    parts = name.split("|", 2)
    if len(parts) != 3:
        raise Invalid(f"{name!r} is no table|pk|sk", service="dynamodb", resource=name)
    return parts[0], parts[1], parts[2]


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _decimals(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, Mapping):
        return {key: _decimals(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_decimals(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    return value


class Item(ServiceAdapter):
    """One item of a table whose keys are strings ``pk`` and ``sk``. It takes no owner tags.

    The name is ``table|pk|sk``. Properties: ``Item``, plain values without the keys; the item is
    wholly ours.
    """

    kind = "dynamodb.Item"
    service = "dynamodb"

    def canonical(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        item = properties.get("Item") or {}
        return {
            "Item": {key: _plain(value) for key, value in item.items() if key not in ("pk", "sk")}
        }

    def observe(self, names: Sequence[str]) -> dict[str, Observed]:
        found: dict[str, Observed] = {}
        reader = TypeDeserializer()
        for batch in chunks(list(dict.fromkeys(names)), BATCH):
            wanted = {name: split_item(name) for name in batch}
            tables: dict[str, Any] = {}
            for table, pk, sk in wanted.values():
                keys = tables.setdefault(table, {"Keys": [], "ConsistentRead": True})
                keys["Keys"].append(_key(pk, sk))
            rows = self._batch(tables)
            for name, (table, pk, sk) in wanted.items():
                row = rows.get((table, pk, sk))
                if row is not None:
                    item = {
                        key: _plain(reader.deserialize(value))
                        for key, value in row.items()
                        if key not in ("pk", "sk")
                    }
                    found[name] = Observed(name, {"Item": item})
        return found

    def create(self, resource: Resource, tags: Mapping[str, str]) -> Observed:  # noqa: ARG002
        table, pk, sk = split_item(resource.name)
        writer = TypeSerializer()
        item = {
            key: writer.serialize(_decimals(value))
            for key, value in self.canonical(resource.properties)["Item"].items()
        }
        self.calls("PutItem", resource.name, TableName=table, Item={**item, **_key(pk, sk)})
        return Observed(resource.name, self.canonical(resource.properties))

    def update(
        self,
        resource: Resource,
        observed: Observed,
        changes: Sequence[Change],
        tags: Mapping[str, str],
    ) -> Observed:
        return self.create(resource, tags) if changes else observed

    def delete(self, observed: Observed) -> None:
        table, pk, sk = split_item(observed.name)
        self.calls.find("DeleteItem", observed.name, TableName=table, Key=_key(pk, sk))

    def _batch(self, tables: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
        rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        for _ in range(10):
            # A table that is gone has no items; NotFound names none, so each is asked alone then.
            answer = self.calls.find("BatchGetItem", RequestItems=tables)
            if answer is None:
                if len(tables) > 1:
                    for table, keys in tables.items():
                        rows |= self._batch({table: keys})
                return rows
            for table, items in answer.get("Responses", {}).items():
                rows |= {(table, row["pk"]["S"], row["sk"]["S"]): row for row in items}
            tables = answer.get("UnprocessedKeys") or {}
            if not tables:
                return rows
        raise Throttled(
            "dynamodb BatchGetItem left keys unprocessed ten times",
            service=self.service,
            operation="BatchGetItem",
        )


ADAPTERS = (Table, Item)
