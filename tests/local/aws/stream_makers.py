"""What the tests of streams make on the local AWS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aws_makers import allow, eventually, give, make_function, make_role, unique

from keyed_tables import KEYED
from weir_local.aws.server import EndpointSession

POLL = [
    "kinesis:DescribeStream",
    "kinesis:DescribeStreamSummary",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:ListShards",
]

CODE = """
import base64, json, os, time
import boto3

table = boto3.client("dynamodb")

def handler(event, context):
    records = event.get("Records") or [r for p in event["records"].values() for r in p]
    rows = []
    for record in records:
        body = record.get("kinesis") or record
        data = base64.b64decode(body.get("data") or body.get("value") or "").decode()
        where = record.get("eventID") or f"{body['topic']}-{body['partition']}:{body['offset']}"
        rows.append([where, data])
    first = records[0]
    text = json.dumps(event)
    table.put_item(TableName=os.environ["CALLS"], Item={
        "pk": {"S": first.get("eventSourceARN") or first["topic"]},
        "sk": {"S": f"{time.time_ns():020d}-{context.aws_request_id}"},
        "rows": {"S": json.dumps([[where, data[:40]] for where, data in rows])},
        "event": {"S": text if len(text) < 100_000 else "{}"}})
    if any(row[1].startswith("slow") for row in rows):
        time.sleep(0.05)
    for record, (_, data) in zip(records, rows):
        if data.startswith("poison"):
            raise RuntimeError("poison")
        if data.startswith("report"):
            name = record["kinesis"]["sequenceNumber"] if "kinesis" in record else {
                "partition": f"{record['topic']}-{record['partition']}",
                "offset": record["offset"]}
            return {"batchItemFailures": [{"itemIdentifier": name}]}
        if data.startswith("{"):
            return json.loads(data)
"""
"""Notes each batch in a table; ``poison`` raises, ``report`` is reported, JSON is the answer."""


@dataclass
class Seen:
    """What a recorder got from one stream or topic.

    :param table: where it notes its batches
    :param source: the ARN of the stream or consumer, or the topic
    """

    admin: EndpointSession
    table: str
    source: str

    def items(self) -> list[dict[str, Any]]:
        """The notes in the order of the invocations."""
        found: list[dict[str, Any]] = self.admin.client("dynamodb").query(
            TableName=self.table,
            ConsistentRead=True,
            KeyConditionExpression="pk = :source",
            ExpressionAttributeValues={":source": {"S": self.source}},
        )["Items"]
        return found

    def rows(self) -> list[list[list[str]]]:
        """The batches: [where, data] of each record."""
        return [json.loads(item["rows"]["S"]) for item in self.items()]

    def calls(self) -> list[list[str]]:
        """The batches: the data of each record."""
        return [[row[1] for row in rows] for rows in self.rows()]

    def events(self) -> list[dict[str, Any]]:
        """The whole events of the batches."""
        return [json.loads(item["event"]["S"]) for item in self.items()]

    def data(self) -> list[str]:
        """The records' data, in order, repeats included."""
        return [value for values in self.calls() for value in values]

    def wait(self, count: int, seconds: float = 20) -> list[str]:
        """The data of at least so many records."""

        def enough() -> list[str] | None:
            found = self.data()
            return found if len(found) >= count else None

        found: list[str] = eventually(enough, seconds)
        return found


@dataclass
class Recorder:
    """A function that notes what it gets.

    :param name: the function
    :param role: its execution role's ARN
    """

    admin: EndpointSession
    name: str
    role: str
    table: str

    def of(self, source: str) -> Seen:
        """What it got from a stream or topic."""
        return Seen(self.admin, self.table, source)


def recorder(admin: EndpointSession, *statements: dict[str, Any]) -> Recorder:
    """A recorder with what its role may do besides noting."""
    table = unique("calls")
    admin.client("dynamodb").create_table(
        TableName=table,
        **KEYED,
    )
    role = make_role(admin, "lambda")
    give(admin, role, allow("dynamodb:PutItem", f"arn:aws:dynamodb:*:*:table/{table}"), *statements)
    name = make_function(admin, role, CODE, Environment={"Variables": {"CALLS": table}})
    admin.client("lambda").get_waiter("function_active_v2").wait(FunctionName=name)
    return Recorder(admin, name, role, table)


def stream(admin: EndpointSession, shards: int = 1, **more: Any) -> tuple[str, str]:
    """An active Kinesis stream: its name and ARN."""
    kinesis = admin.client("kinesis")
    name = unique("stream")
    kinesis.create_stream(StreamName=name, ShardCount=shards, **more)
    return name, active(admin, name)


def active(admin: EndpointSession, name: str) -> str:
    """Wait until a stream is active; its ARN."""
    kinesis = admin.client("kinesis")

    def described() -> Any:
        summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        return summary if summary["StreamStatus"] == "ACTIVE" else None

    return str(eventually(described)["StreamARN"])


def put(admin: EndpointSession, name: str, values: Iterable[str], key: str = "key") -> None:
    """Put records under one partition key."""
    records = [{"Data": value.encode(), "PartitionKey": key} for value in values]
    admin.client("kinesis").put_records(StreamName=name, Records=records)


def put_at(admin: EndpointSession, name: str, values: Iterable[str], hash_key: int) -> None:
    """Put records where a hash key is."""
    records = [
        {"Data": value.encode(), "PartitionKey": "key", "ExplicitHashKey": str(hash_key)}
        for value in values
    ]
    admin.client("kinesis").put_records(StreamName=name, Records=records)


def map_stream(admin: EndpointSession, arn: str, function: str, **more: Any) -> str:
    """A mapping that is enabled, reading from the start; its UUID."""
    client = admin.client("lambda")
    settings = {"StartingPosition": "TRIM_HORIZON", **more}
    uuid = client.create_event_source_mapping(
        EventSourceArn=arn, FunctionName=function, **settings
    )["UUID"]
    return settled(admin, uuid)


def settled(admin: EndpointSession, uuid: str, state: str = "Enabled") -> str:
    """Wait for a mapping's state; the UUID."""
    client = admin.client("lambda")
    eventually(lambda: client.get_event_source_mapping(UUID=uuid)["State"] == state)
    return uuid


def still(seconds: float = 0.6) -> None:
    """Wait long enough for what must not happen."""
    time.sleep(seconds)
