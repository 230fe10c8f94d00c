"""What Lambda gives up on goes to the mapping's destination, under the function's role.

Lambda Developer Guide, "Retain discarded batch records for a Kinesis Data Streams event source in
Lambda" and "Capturing discarded batches for Amazon MSK and self-managed Apache Kafka event
sources": queues and topics get metadata alone, buckets the whole event too, as an escaped JSON
string.
"""

from __future__ import annotations

import datetime
import json
import logging
import uuid
from dataclasses import dataclass
from typing import Any

import botocore.exceptions

from weir_local.aws.access import RoleRefused, role_denial
from weir_local.aws.deliveries import key_of
from weir_local.aws.serviceclient import client, role_session

logger = logging.getLogger("weir.local.aws.lambda")

NEEDED: dict[str, tuple[str, ...]] = {
    "sqs": ("SendMessage",),
    "sns": ("Publish",),
    "s3": ("PutObject", "ListBucket"),
}
"""Service of a destination -> what the function's role needs there."""


@dataclass(frozen=True)
class Discarded:
    """A batch that Lambda gave up on.

    :param condition: why: RetryAttemptsExhausted or RecordAgeExceeded
    :param invocations: how often the function was invoked with it
    :param info: the name and value of the batch's description, such as KinesisBatchInfo
    :param source: the shard or partition, a part of the S3 key
    :param event: the batch as the function gets it
    """

    condition: str
    invocations: int
    info: tuple[str, dict[str, Any]]
    source: str
    event: dict[str, Any]


def moment(seconds: float | None = None) -> str:
    """A time as the records have it, in milliseconds and UTC.

    :param seconds: since the epoch; now by default
    """
    zone = datetime.UTC
    at = datetime.datetime.now(zone) if seconds is None else None
    at = at or datetime.datetime.fromtimestamp(float(seconds or 0), zone)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def document(mapping: dict[str, Any], batch: Discarded) -> dict[str, Any]:
    """The invocation record, without the event."""
    responded = {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    return {
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": mapping["FunctionArn"],
            "condition": batch.condition,
            "approximateInvokeCount": batch.invocations,
        },
        "responseContext": responded if batch.invocations else None,
        "version": "1.0",
        "timestamp": moment(),
        batch.info[0]: batch.info[1],
    }


def object_key(mapping_uuid: str, source: str, now: datetime.datetime) -> str:
    """The S3 key of an invocation record.

    :param source: the shard
    :param now: in UTC
    """
    return (
        f"aws/lambda/{mapping_uuid}/{source}/{now:%Y/%m/%d}/{now:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
    )


def resource(destination: str, operation: str) -> str:
    """The ARN that a destination's operation is judged on."""
    return f"{destination}/aws/lambda/*" if operation == "PutObject" else destination


def denial(destination: str, role_arn: str, region: str) -> str | None:
    """Why a role may not write to a destination, or None.

    :returns: AWS's words of CreateEventSourceMapping, and the denial
    """
    service = destination.split(":")[2]
    for operation in NEEDED[service]:
        arn = resource(destination, operation)
        denied = role_denial(role_arn, f"{service}:{operation}", arn, region)
        if denied:
            return (
                "The provided execution role does not have permissions to call "
                f"{operation} on {service.upper()}: {denied}"
            )
    key = key_of(service, destination)
    via = {"kms:viaservice": f"{service}.{region}.amazonaws.com"}
    for action in ("kms:GenerateDataKey", "kms:Decrypt") if key else ():
        denied = role_denial(role_arn, action, str(key), region, via)
        if denied:
            return f"The provided execution role does not have permissions to use the key: {denied}"
    return None


def deliver(mapping: dict[str, Any], role_arn: str, region: str, batch: Discarded) -> str | None:
    """Write an invocation record to a mapping's destination, if it has one.

    :param role_arn: the function's execution role
    :returns: why it could not be written, or None
    """
    on_failure = (mapping.get("DestinationConfig") or {}).get("OnFailure") or {}
    destination = str(on_failure.get("Destination") or "")
    if not destination:
        return None
    service = destination.split(":")[2]
    told = document(mapping, batch)
    try:
        session = role_session(role_arn, "lambda.amazonaws.com", mapping["FunctionArn"], region)
        caller = client(session, service, region)
        if service == "sqs":
            caller.send_message(QueueUrl=queue_url(destination), MessageBody=json.dumps(told))
        elif service == "sns":
            caller.publish(TopicArn=destination, Message=json.dumps(told))
        else:
            told["payload"] = json.dumps(batch.event)
            caller.put_object(
                Bucket=destination.rsplit(":", 1)[-1],
                Key=object_key(mapping["UUID"], batch.source, datetime.datetime.now(datetime.UTC)),
                Body=json.dumps(told).encode(),
                ContentType="application/json",
            )
    except (RoleRefused, botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as no:
        logger.warning("mapping %s: nothing written to %s: %s", mapping["UUID"], destination, no)
        return str(no)
    return None


def queue_url(arn: str) -> str:
    """The URL of a queue of this endpoint."""
    from ministack.services import sqs

    return str(sqs._queue_url(arn.rsplit(":", 1)[-1]))
