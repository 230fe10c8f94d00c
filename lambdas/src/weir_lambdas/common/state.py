"""The Platform's DynamoDB table, spoken to in plain Python values (:mod:`weir_contract.state`)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from weir_contract.codec import dumps, loads
from weir_contract.moments import iso
from weir_contract.rows import RowContract
from weir_contract.runs import RunRecord
from weir_contract.state import (
    BODY,
    CONTRACT,
    EXPIRES,
    FEED,
    FEED_RETENTION_SECONDS,
    PK,
    RUN_RETENTION_SECONDS,
    SK,
    feed_sk,
    pipeline_pk,
    run_sk,
    source_pk,
)
from weir_lambdas.common.attributes import from_item, to_item
from weir_lambdas.common.aws import error_code

CONDITION_FAILED = "ConditionalCheckFailedException"
TRANSACTION_CANCELED = "TransactionCanceledException"
MAX_TRANSACTION = 100
"""Actions in one TransactWriteItems (DynamoDB Developer Guide, *Transactions*)."""


@dataclass(frozen=True)
class Update:
    """An update expression with its names and values in Python's form.

    ``condition`` empty means unconditional. Attribute names that DynamoDB reserves are written
    ``#name`` in the expressions and need no further declaration.
    """

    expression: str
    values: Mapping[str, Any]
    condition: str = ""

    def parameters(self) -> dict[str, Any]:
        """The parameters of UpdateItem and of a transaction's Update."""
        text = f"{self.expression} {self.condition}"
        words = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
        names = {word: word[1:] for word in words if word.startswith("#")}
        parameters: dict[str, Any] = {"UpdateExpression": self.expression}
        if self.condition:
            parameters["ConditionExpression"] = self.condition
        if names:
            parameters["ExpressionAttributeNames"] = names
        if self.values:
            parameters["ExpressionAttributeValues"] = to_item(
                {f":{name}": value for name, value in self.values.items()}
            )
        return parameters


class Table:
    """Items by ``(pk, sk)``; every read is strongly consistent.

    Parameters
    ----------
    dynamodb
        A DynamoDB client.
    name
        The table.
    """

    def __init__(self, dynamodb: Any, name: str) -> None:
        self._db, self.name = dynamodb, name

    def get(self, pk: str, sk: str) -> dict[str, Any] | None:
        """An item, or None."""
        item = self._db.get_item(
            TableName=self.name, Key=to_item({PK: pk, SK: sk}), ConsistentRead=True
        ).get("Item")
        return from_item(item) if item else None

    def put(self, pk: str, sk: str, values: Mapping[str, Any]) -> None:
        """Write an item, whatever was there."""
        self._db.put_item(TableName=self.name, Item=to_item({PK: pk, SK: sk} | dict(values)))

    def put_new(self, pk: str, sk: str, values: Mapping[str, Any]) -> bool:
        """Write an item that must not be there yet; returns whether it was written."""
        try:
            self._db.put_item(
                TableName=self.name,
                Item=to_item({PK: pk, SK: sk} | dict(values)),
                ConditionExpression="attribute_not_exists(pk)",
            )
        except ClientError as error:
            if error_code(error) == CONDITION_FAILED:
                return False
            raise
        return True

    def update(self, pk: str, sk: str, update: Update) -> dict[str, Any] | None:
        """Change an item; returns it as it is afterwards, or None where the condition failed."""
        try:
            answer = self._db.update_item(
                TableName=self.name,
                Key=to_item({PK: pk, SK: sk}),
                ReturnValues="ALL_NEW",
                **update.parameters(),
            )
        except ClientError as error:
            if error_code(error) == CONDITION_FAILED:
                return None
            raise
        return from_item(answer.get("Attributes", {}))

    def delete(self, pk: str, sk: str) -> None:
        """Delete an item, if it is there."""
        self._db.delete_item(TableName=self.name, Key=to_item({PK: pk, SK: sk}))

    def query(
        self,
        pk: str,
        prefix: str,
        *,
        limit: int | None = None,
        newest_first: bool = False,
        since: str = "",
    ) -> Iterator[dict[str, Any]]:
        """Items of a partition whose sort key begins with ``prefix`` (empty: all), in order of it.

        ``since``, which begins with the prefix, is the first sort key that is meant.
        """
        asked = {":pk": pk, ":sk": prefix} if prefix else {":pk": pk}
        condition = " AND begins_with(sk, :sk)" if prefix else ""
        if since:
            # The last character of Unicode: it sorts behind all that a key has after its prefix.
            asked = {":pk": pk, ":since": since, ":end": f"{prefix}\U0010ffff"}
            condition = " AND sk BETWEEN :since AND :end"
        start: dict[str, Any] = {}
        left = limit
        while left is None or left > 0:
            page = self._db.query(
                TableName=self.name,
                KeyConditionExpression=f"pk = :pk{condition}",
                ExpressionAttributeValues=to_item(asked),
                ConsistentRead=True,
                ScanIndexForward=not newest_first,
                **({"Limit": left} if left else {}),
                **start,
            )
            for item in page["Items"]:
                yield from_item(item)
            if left is not None:
                left -= len(page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def transact(self, actions: Sequence[Mapping[str, Any]]) -> bool:
        """Run actions of :func:`putting`, :func:`absent` and :func:`updating`, all or none.

        Returns
        -------
        bool
            False where a condition failed and nothing was written.

        Raises
        ------
        botocore.exceptions.ClientError
            Anything else, such as a conflict with another transaction that outlasts the retries.
        """
        items = [
            {kind: {"TableName": self.name} | dict(body)}
            for action in actions
            for kind, body in action.items()
        ]
        for attempt in range(8):
            try:
                self._db.transact_write_items(TransactItems=items)
            except ClientError as error:
                if error_code(error) != TRANSACTION_CANCELED:
                    raise
                codes = {
                    reason.get("Code") for reason in error.response.get("CancellationReasons", [])
                }
                if "ConditionalCheckFailed" in codes:
                    return False
                if attempt == 7 or "TransactionConflict" not in codes:
                    raise
                time.sleep(0.02 * 2**attempt)
            else:
                return True
        raise AssertionError("unreachable: the last attempt returns or raises")


def putting(pk: str, sk: str, values: Mapping[str, Any], *, new: bool = False) -> dict[str, Any]:
    """A transaction's Put; ``new`` demands that the item is not there yet."""
    body: dict[str, Any] = {"Item": to_item({PK: pk, SK: sk} | dict(values))}
    if new:
        body["ConditionExpression"] = "attribute_not_exists(pk)"
    return {"Put": body}


def absent(pk: str, sk: str) -> dict[str, Any]:
    """A transaction's condition that an item is not there."""
    return {
        "ConditionCheck": {
            "Key": to_item({PK: pk, SK: sk}),
            "ConditionExpression": "attribute_not_exists(pk)",
        }
    }


def updating(pk: str, sk: str, update: Update) -> dict[str, Any]:
    """A transaction's Update."""
    return {"Update": {"Key": to_item({PK: pk, SK: sk})} | update.parameters()}


def run_partition(record: RunRecord) -> str:
    """The partition in which a run's record lives."""
    return source_pk(record.object) if record.kind == "source" else pipeline_pk(record.object)


def record_actions(record: RunRecord, now: float) -> Iterable[dict[str, Any]]:
    """The two puts of a run's record: itself, and its pointer in the feed.

    Parameters
    ----------
    record
        The run. Its place in the feed is the moment at which it finished, or of this news of it.
    now
        Epoch seconds, for the items' expiry.
    """
    pk, sk = run_partition(record), run_sk(record.run)
    body = dumps(record)
    yield putting(pk, sk, {BODY: body, EXPIRES: int(now) + RUN_RETENTION_SECONDS})
    pointer = {
        "target_pk": pk,
        "target_sk": sk,
        "state": record.state,
        BODY: body,
        EXPIRES: int(now) + FEED_RETENTION_SECONDS,
    }
    news = iso(datetime.fromtimestamp(now, UTC)) if record.state == "Running" else record.started
    at = feed_sk(record.finished or news, record.object, record.run)
    yield putting(FEED, at, pointer)


def write_record(table: Table, record: RunRecord, now: float) -> None:
    """Write a run's record and its feed item, both or none."""
    table.transact(list(record_actions(record, now)))


def read_record(table: Table, partition: str, run: str) -> RunRecord | None:
    """A run's record, or None."""
    item = table.get(partition, run_sk(run))
    return loads(RunRecord, item[BODY]) if item else None


def read_contract(table: Table, source: str) -> RowContract | None:
    """The frozen contract of a source ``namespace/name``, or None before its first rows."""
    item = table.get(source_pk(source), CONTRACT)
    return loads(RowContract, item[BODY]) if item else None
