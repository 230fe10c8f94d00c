"""The function ``trigger``: manifests, schedules and sweeps become executions of pipelines, and files
become executions of the sources that watch for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError

from weir_contract.codec import loads
from weir_contract.manifest import Manifest, lane_source, parse_manifest_key
from weir_lambdas.common.aws import client
from weir_lambdas.common.clock import SystemClock, parse_iso
from weir_lambdas.common.config import environment
from weir_lambdas.common.entry import entry
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.log import log
from weir_lambdas.common.state import Table
from weir_lambdas.common.storage import Storage
from weir_lambdas.file_processor.arrivals import arrive, located_in
from weir_lambdas.trigger.executions import StepFunctions, new_name
from weir_lambdas.trigger.flight import FlightBusy, Flights, Pace
from weir_lambdas.trigger.sweep import subscribers, sweep, told


@entry
def handler(event: Mapping[str, Any], _context: Any) -> dict[str, Any]:
    """Entry point.

    Parameters
    ----------
    event
        An SQS batch of S3 "Object Created" events from EventBridge; ``{"sweep": true}``; or
        ``{"pipeline": "namespace/name", "stateMachineArn"?, "scheduledTime"?, "requestedBy"?}``.

    Returns
    -------
    dict
        ``{"batchItemFailures": [...]}`` for a batch, so that SQS redelivers those alone;
        ``{"found": n}`` for a sweep; ``{"execution": arn or None}`` for a request.
    """
    trigger = Trigger(
        Table(client("dynamodb"), environment("WEIR_STATE_TABLE")),
        Storage(client("s3")),
        StepFunctions(client("stepfunctions")),
        environment("WEIR_RAW_BUCKET"),
    )
    if "Records" in event:
        return trigger.batch(event["Records"])
    if event.get("sweep"):
        return trigger.sweep()
    if "pipeline" in event:
        return trigger.request(event)
    raise ConfigInvalid("the event has none of Records, sweep and pipeline", "trigger")


@dataclass
class Trigger:
    """The function's parts, put together."""

    table: Table
    storage: Storage
    executions: StepFunctions
    raw_bucket: str

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.flights = Flights(
            self.table, self.executions, self.clock, lambda: new_name(self.clock)
        )

    def batch(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """Take a batch; what fails is named, and comes again."""
        failed = []
        for record in records:
            try:
                self.object_created(json.loads(record["body"]))
            except (FlightBusy, ClientError, BotoCoreError, ValueError, KeyError) as error:
                log("WARNING", "event not taken", id=record["messageId"], error=repr(error))
                failed.append({"itemIdentifier": record["messageId"]})
        return {"batchItemFailures": failed}

    def object_created(self, body: Mapping[str, Any]) -> None:
        """Take one S3 event, in EventBridge's form: a manifest is for pipelines, another object for
        the sources that watch it."""
        detail = body["detail"]
        bucket, key = detail["bucket"]["name"], detail["object"]["key"]
        parsed = parse_manifest_key(key) or parse_manifest_key(unquote_plus(key))
        if parsed is None or bucket != self.raw_bucket:
            at = parse_iso(str(body["time"])) if body.get("time") else self.clock.now()
            order = str(detail["object"].get("sequencer", ""))
            sources = arrive(
                self.table, located_in(detail), at, self.clock, self.start_landing, order
            )
            log("INFO", "file arrived", bucket=bucket, object=key, sources=sources)
            return
        counted = lane_source(parsed.source, parsed.lane)
        everyone, uri = told(self.table, parsed.source, parsed.lane), f"s3://{bucket}/{key}"
        counts = any(Pace.of(one).max_bytes is not None for one in everyone.values())
        size = loads(Manifest, self.storage.get_uri(uri)).bytes if counts else 0
        for pipeline, subscription in everyone.items():
            if self.flights.arrive(pipeline, counted, parsed.sequence, uri, size):
                self.ensure(pipeline, subscription)

    def ensure(self, pipeline: str, subscription: Mapping[str, Any]) -> None:
        """Start the pipeline's execution if none flies, unless arrivals do not start it."""
        if subscription.get("onArrival", True) is False:
            return
        started = self.flights.ensure(
            pipeline,
            str(subscription["stateMachineArn"]),
            Pace.of(subscription),
        )
        if started:
            log("INFO", "execution started", pipeline=pipeline, execution=started)

    def start_landing(self, machine: str) -> None:
        """Start a source's state machine for what has arrived."""
        self.executions.start(machine, new_name(self.clock), {"arrival": True})

    def sweep(self) -> dict[str, Any]:
        """Find what was lost. A pipeline that is being started is left to its starter."""

        def ensure(pipeline: str, subscription: Mapping[str, Any]) -> None:
            try:
                self.ensure(pipeline, subscription)
            except FlightBusy as busy:
                log("INFO", "flight busy", pipeline=pipeline, reason=str(busy))

        found = sweep(self.table, self.storage, self.flights, self.raw_bucket, ensure)
        log("INFO", "swept", found=found)
        return {"found": found}

    def request(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Start a pass on request, of a schedule or a person."""
        pipeline = str(event["pipeline"])
        machine = event.get("stateMachineArn") or self._machine(pipeline)
        self.flights.request(pipeline, event.get("requestedBy"))
        payload = {key: event[key] for key in ("scheduledTime", "requestedBy") if event.get(key)}
        return {"execution": self.flights.ensure(pipeline, str(machine), Pace(), payload)}

    def _machine(self, pipeline: str) -> str:
        """The state machine by the Platform's naming, from any subscription of the pipeline."""
        namespace = pipeline.partition("/")[0]
        for folder in self.storage.folders(self.raw_bucket, f"{namespace}/"):
            found = subscribers(self.table, folder.rstrip("/")).get(pipeline)
            if found:
                return str(found["stateMachineArn"])
        raise ConfigInvalid(
            "no source has a subscription of this pipeline yet; pass stateMachineArn", pipeline
        )
