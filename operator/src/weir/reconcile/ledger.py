"""The Platform's state table, as far as the operator reads and writes it, and running executions.

The table's layout is :mod:`weir_contract.state`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from weir.aws.calls import Calls
from weir.aws.errors import AwsError, Conflict, NotFound
from weir.aws.session import AwsSession
from weir_contract.codec import loads
from weir_contract.metadata import Discovered, SchemaNotice
from weir_contract.rows import RowContract
from weir_contract.runs import RunRecord
from weir_contract.state import (
    BODY,
    CHECKPOINT,
    CONTRACT,
    CRAWL,
    DISCOVERED,
    FEED,
    NOTICE,
    PK,
    PROFILE,
    SK,
    pending_sk,
    pipeline_pk,
    run_sk,
    source_pk,
    taken_sk,
    workmail_sk,
)

FEED_PAGE = 200
"""Feed items asked for at a time."""
ENDED = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"})
"""States of an execution that it does not leave."""


STAYING = ("SUBSCRIBER#", "RUN#", "LANE#", PROFILE, CRAWL)
"""Beginnings of a source's sort keys that are no progress: who listens, what ran, what backfills and
replays have landed of it, what is measured, and which crawls of a crawler of its own are owed."""
LEASE = frozenset({"holder", "lease_until"})
"""Attributes of a checkpoint that belong to a running landing."""


class Ledger:
    """Reads of the run ledger, requests for runs, and the executions that answer them."""

    def __init__(self, session: AwsSession) -> None:
        self._table = Calls(session, "dynamodb")
        self._machines = Calls(session, "stepfunctions")
        self._functions = Calls(session, "lambda")

    def feed(self, table: str, since: str) -> Iterator[tuple[str, RunRecord | SchemaNotice]]:
        """Run records and notices of changed shapes in order of time, with their place in the feed,
        from ``since`` on.

        Parameters
        ----------
        since
            UTC, ISO 8601: times and places of the feed both compare with it.
        """
        start: dict[str, Any] = {}
        while True:
            page = self._table(
                "Query",
                about=table,
                TableName=table,
                KeyConditionExpression="#pk = :pk AND #sk > :since",
                ExpressionAttributeNames={"#pk": PK, "#sk": SK},
                ExpressionAttributeValues={":pk": {"S": FEED}, ":since": {"S": since}},
                Limit=FEED_PAGE,
                **start,
            )
            for item in page.get("Items", []):
                if NOTICE in item:
                    yield item[SK]["S"], loads(SchemaNotice, item[NOTICE]["S"])
                else:
                    yield item[SK]["S"], loads(RunRecord, item[BODY]["S"])
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def contract(self, table: str, source: str) -> RowContract | None:
        """The frozen contract of a source ``namespace/name``, or None before its first rows."""
        item = self._get(table, source_pk(source), CONTRACT)
        return None if item is None else loads(RowContract, item[BODY]["S"])

    def discovered(self, table: str, source: str) -> Discovered | None:
        """What landings have shown of a source's shape, or None before they did."""
        item = self._get(table, source_pk(source), DISCOVERED)
        return None if item is None else loads(Discovered, item[BODY]["S"])

    def first_mail(self, table: str, source: str, organization: str) -> str | None:
        """When WorkMail passed on its first mail to a source (UTC, ISO 8601), or None before."""
        item = self._get(table, source_pk(source), workmail_sk(organization))
        return None if item is None else str(item["firstAt"]["S"])

    def request(
        self, table: str, pipeline: str, request: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        """Write down that a run is asked for, once. Returns what stands there: ours or an earlier.

        Parameters
        ----------
        pipeline
            ``namespace/name``.
        request
            What makes the request unique: a hash of the PipelineRun's name and spec.
        """
        place = {PK: {"S": pipeline_pk(pipeline)}, SK: {"S": f"REQUEST#{request}"}}
        try:
            self._table(
                "PutItem",
                about=table,
                TableName=table,
                Item={**place, BODY: {"S": json.dumps(body, sort_keys=True)}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except AwsError as error:
            if error.code != "ConditionalCheckFailedException":
                raise
            item = self._get(table, pipeline_pk(pipeline), f"REQUEST#{request}")
            if item is None:
                raise Conflict(
                    f"the request {request} of {pipeline} was removed while it was read",
                    service="dynamodb",
                ) from error
            return dict(json.loads(item[BODY]["S"]))
        return body

    def settle_request(self, table: str, pipeline: str, request: str, body: dict[str, Any]) -> None:
        """Write down how a requested run ended."""
        self._table(
            "PutItem",
            about=table,
            TableName=table,
            Item={
                PK: {"S": pipeline_pk(pipeline)},
                SK: {"S": f"REQUEST#{request}"},
                BODY: {"S": json.dumps(body, sort_keys=True)},
            },
        )

    def run(self, table: str, partition: str, run: str) -> RunRecord | None:
        """A run's record, or None where the ledger has none of that id.

        Parameters
        ----------
        partition
            The source's or the pipeline's (:func:`weir_contract.state.source_pk`, ``pipeline_pk``).
        """
        item = self._get(table, partition, run_sk(run))
        return None if item is None else loads(RunRecord, item[BODY]["S"])

    def taken_by(self, table: str, pipeline: str, source: str, sequence: int) -> str | None:
        """The pass that has taken a manifest, or None where it waits still.

        Parameters
        ----------
        source
            ``namespace/name``, or with a lane (:func:`weir_contract.manifest.lane_source`).
        """
        item = self._get(table, pipeline_pk(pipeline), taken_sk(source, sequence))
        return None if item is None else str(item["run"]["S"])

    def tried(self, table: str, pipeline: str, source: str, sequence: int) -> tuple[str, int]:
        """The pass that took a waiting manifest and did not end well, and its attempts; ``("", 0)``
        where none has."""
        item = self._get(table, pipeline_pk(pipeline), pending_sk(source, sequence)) or {}
        return item.get("run", {}).get("S", ""), int(item.get("attempt", {}).get("N", "0"))

    def waiting(self, table: str, pipeline: str) -> int:
        """How many manifests wait for a pass of a pipeline ``namespace/name``."""
        pages = self._items(table, pipeline_pk(pipeline), "PENDING#", Select="COUNT")
        return sum(int(page["Count"]) for page in pages)

    def continue_source(self, table: str, former: str, source: str) -> int:
        """Give a source the progress of another, where it has none of its own.

        The checkpoint goes last: as long as it is missing, a repetition goes on. What the former
        source has stays.

        Parameters
        ----------
        former, source
            ``namespace/name``.

        Returns
        -------
        int
            Items that the former source had to give.
        """
        found = [
            item
            for page in self._items(table, source_pk(former))
            for item in page.get("Items", [])
            if not item[SK]["S"].startswith(STAYING)
        ]
        for item in sorted(found, key=lambda one: one[SK]["S"] == CHECKPOINT):
            kept = {name: value for name, value in item.items() if name not in LEASE}
            try:
                self._table(
                    "PutItem",
                    about=table,
                    TableName=table,
                    Item={**kept, PK: {"S": source_pk(source)}},
                    ConditionExpression="attribute_not_exists(pk)",
                )
            except AwsError as error:
                if error.code != "ConditionalCheckFailedException":
                    raise
        return len(found)

    def _items(
        self, table: str, pk: str, beginning: str = "", **more: Any
    ) -> Iterator[dict[str, Any]]:
        """Pages of a partition, of sort keys that begin so."""
        condition, values = "#pk = :pk", {":pk": {"S": pk}}
        names = {"#pk": PK}
        if beginning:
            condition += " AND begins_with(#sk, :sk)"
            values[":sk"], names["#sk"] = {"S": beginning}, SK
        start: dict[str, Any] = {}
        while True:
            page = self._table(
                "Query",
                about=table,
                TableName=table,
                KeyConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                ConsistentRead=True,
                **more,
                **start,
            )
            yield page
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def start(self, machine_arn: str, name: str, payload: dict[str, Any]) -> str:
        """Start an execution, once for each name (names are unique for 90 days). Returns its ARN."""
        try:
            answer = self._machines(
                "StartExecution",
                about=name,
                stateMachineArn=machine_arn,
                name=name,
                input=json.dumps(payload, sort_keys=True),
            )
        except AwsError as error:
            if error.code != "ExecutionAlreadyExists":
                raise
            return machine_arn.replace(":stateMachine:", ":execution:") + f":{name}"
        return str(answer["executionArn"])

    def execution(self, arn: str) -> dict[str, Any] | None:
        """What DescribeExecution says, or None once AWS has forgotten it."""
        try:
            return self._machines("DescribeExecution", about=arn, executionArn=arn)
        except NotFound:
            return None
        except AwsError as error:
            if error.code == "ExecutionDoesNotExist":
                return None
            raise

    def running(self, machine_arn: str) -> list[str]:
        """ARNs of a machine's running executions."""
        try:
            return [
                str(one["executionArn"])
                for one in self._machines.pages(
                    "ListExecutions",
                    "executions",
                    stateMachineArn=machine_arn,
                    statusFilter="RUNNING",
                )
            ]
        except NotFound:
            return []

    def ask_trigger(self, function: str, payload: dict[str, Any]) -> None:
        """Ask the Platform's trigger to look at a pipeline."""
        self._functions(
            "Invoke",
            about=function,
            FunctionName=function,
            InvocationType="Event",
            Payload=json.dumps(payload).encode(),
        )

    def _get(self, table: str, pk: str, sk: str) -> dict[str, Any] | None:
        answer = self._table(
            "GetItem",
            about=table,
            TableName=table,
            Key={PK: {"S": pk}, SK: {"S": sk}},
            ConsistentRead=True,
        )
        item = answer.get("Item")
        return dict(item) if item else None
