"""Event source mappings of streams have AWS's checks, states and pollers.

Lambda API Reference, "CreateEventSourceMapping", "UpdateEventSourceMapping",
"DeleteEventSourceMapping", "EventSourceMappingConfiguration"; Lambda Developer Guide, "Lambda
parameters for Amazon Kinesis Data Streams event source mappings" and "... for Amazon MSK",
"... for self-managed Apache Kafka". Mappings of queues and tables stay MiniStack's.
"""

from __future__ import annotations

import datetime
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from weir_local.aws.streams import checks, kafka, reading, shards
from weir_local.aws.streams.working import NOTHING_YET
from weir_local.aws.wire import Reply, json_error

logger = logging.getLogger("weir.local.aws.lambda")

CHANGE_SECONDS = 0.3
"""How long a mapping is at least in a state of change; AWS takes up to minutes."""
TICK_SECONDS = 0.1

CHANGING = {
    "Creating": "Enabled",
    "Enabling": "Enabled",
    "Updating": "Enabled",
    "Disabling": "Disabled",
}
"""State of change -> what follows it."""

INTERNAL = frozenset({reading.CHECKPOINTS, "ChangedAt", "Then"})
"""Fields of a stored mapping that its answers leave out."""

Mapping = dict[str, Any]


class Reader(Protocol):
    """What polls for one mapping."""

    def tick(self) -> None:
        """Start what may run now."""

    def stop(self) -> None:
        """Ask it to end after its invocation."""

    def ended(self) -> bool:
        """Whether nothing runs."""


def is_stream(mapping: Mapping) -> bool:
    """Whether a mapping, or a request of one, is of Kinesis or Kafka."""
    return checks.kind(mapping) is not None


def reader(mapping: Mapping, account: str, region: str) -> Reader:
    """A poller for a mapping."""
    if checks.kind(mapping) == checks.KINESIS:
        return reading.KinesisReader(mapping, account, region)
    return kafka.KafkaReader(mapping, account, region)


class Supervisor:
    """Brings every mapping's poller into the mapping's state, in one thread."""

    def __init__(self) -> None:
        self.readers: dict[tuple[str, str, str], Reader] = {}
        self.stopping = threading.Event()
        self.thread: threading.Thread | None = None
        self.lock = threading.Lock()

    def ensure(self) -> None:
        """Start the thread if it does not run."""
        with self.lock:
            if self.thread is None or not self.thread.is_alive():
                self.stopping.clear()
                self.thread = threading.Thread(target=self.run, name="stream-mappings", daemon=True)
                self.thread.start()

    def run(self) -> None:
        """The thread: look at every mapping, often."""
        while not self.stopping.is_set():
            try:
                self.round()
            except Exception:
                logger.exception("the round of stream mappings failed")
            self.stopping.wait(TICK_SECONDS)

    def round(self) -> None:
        """Look at every mapping once."""
        from ministack.core.responses import request_scope
        from ministack.services import lambda_svc

        for key, mapping in list(lambda_svc._esms._data.items()):
            if len(key) == 3 and is_stream(mapping):
                with request_scope(key[0], key[1]):
                    self.attend(key, mapping)

    def attend(self, key: tuple[str, str, str], mapping: Mapping) -> None:
        """Bring one mapping's poller into its state."""
        from ministack.services import lambda_svc

        state = mapping["State"]
        poller = self.readers.get(key)
        if state == "Enabled":
            if poller is None:
                poller = self.readers[key] = reader(mapping, key[0], key[1])
            poller.tick()
            return
        if poller is not None:
            poller.stop()
            if not poller.ended():
                return
            del self.readers[key]
        if time.time() - float(mapping.get("ChangedAt", 0)) < CHANGE_SECONDS:
            return
        if state == "Deleting":
            lambda_svc._esms.pop(mapping["UUID"], None)
        elif state in CHANGING:
            mapping["State"] = mapping.pop("Then", None) or CHANGING[state]

    def stop(self) -> None:
        """End the thread and every poller."""
        self.stopping.set()
        if self.thread is not None:
            self.thread.join(5)
        for poller in self.readers.values():
            poller.stop()


supervisor = Supervisor()


def shown(mapping: Mapping) -> Mapping:
    """A mapping as the API answers it."""
    told = {name: value for name, value in mapping.items() if name not in INTERNAL}
    if not told.get("EventSourceArn"):
        told.pop("EventSourceArn", None)
    return told


def seconds(value: Any) -> float:
    """Seconds since the epoch of an API timestamp: a number, or ISO 8601."""
    if isinstance(value, int | float):
        return float(value)
    return datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()


def change(mapping: Mapping, state: str, then: str | None = None) -> None:
    """Let a mapping go through a state of change.

    :param then: the state after it, by default that of :data:`CHANGING`
    """
    mapping["State"] = state
    mapping["ChangedAt"] = time.time()
    mapping["LastModified"] = time.time()
    if then:
        mapping["Then"] = then


def group(mapping: Mapping) -> str:
    """The consumer group of a new mapping."""
    return kafka.group_id(mapping)


def reply(mapping: Mapping, code: int) -> Reply:
    """A mapping as an answer."""
    from ministack.services import lambda_svc

    body = json.dumps(lambda_svc._esm_response(mapping)).encode()
    return code, {"Content-Type": "application/json"}, body


def create(inner: Callable[[Mapping], Reply]) -> Callable[[Mapping], Reply]:
    """CreateEventSourceMapping."""

    def created(data: Mapping) -> Reply:
        from ministack.core.responses import new_uuid
        from ministack.services import lambda_svc

        if not is_stream(data):
            return inner(data)
        name, qualifier, refused = lambda_svc._resolve_existing_esm_function(
            data.get("FunctionName", "")
        )
        if refused:
            return tuple(refused)
        arn = lambda_svc._func_arn(name) + (f":{qualifier}" if qualifier else "")
        _, config = lambda_svc._get_func_record_for_qualifier(name, qualifier)
        problem = checks.problem(data, str((config or {}).get("Role", "")))
        if problem:
            return json_error("InvalidParameterValueException", problem)
        mapping = {
            "UUID": new_uuid(),
            "EventSourceArn": data.get("EventSourceArn", ""),
            "FunctionArn": arn,
            "FunctionName": name,
            "Qualifier": qualifier,
            "StateTransitionReason": "User action",
            "LastProcessingResult": NOTHING_YET,
            **checks.settings(data),
        }
        if data.get("StartingPositionTimestamp") is not None:
            mapping["StartingPositionTimestamp"] = seconds(data["StartingPositionTimestamp"])
        if data.get("Tags"):
            mapping["Tags"] = dict(data["Tags"])
        config = checks.GROUP_CONFIG.get(str(checks.kind(data)))
        if config:
            mapping[config] = {**(data.get(config) or {}), "ConsumerGroupId": group(mapping)}
        enabled = str(data.get("Enabled", True)).lower() != "false"
        change(mapping, "Creating", "Enabled" if enabled else "Disabled")
        lambda_svc._esms[mapping["UUID"]] = mapping
        supervisor.ensure()
        return reply(mapping, 202)

    return created


def busy(mapping: Mapping, verb: str) -> Reply | None:
    """The refusal to change a mapping that is changing."""
    if mapping["State"] in ("Enabled", "Disabled"):
        return None
    return json_error(
        "ResourceInUseException",
        f"Cannot {verb} the event source mapping because it is in use.",
        400,
    )


def update(inner: Callable[[str, Mapping], Reply]) -> Callable[[str, Mapping], Reply]:
    """UpdateEventSourceMapping."""

    def updated(uuid: str, data: Mapping) -> Reply:
        from ministack.services import lambda_svc

        mapping = lambda_svc._esms.get(uuid)
        if mapping is None or not is_stream(mapping):
            return inner(uuid, data)
        refused = busy(mapping, "update")
        if refused:
            return refused
        name, qualifier = mapping["FunctionName"], mapping.get("Qualifier")
        if "FunctionName" in data:
            name, qualifier, missing = lambda_svc._resolve_existing_esm_function(
                data["FunctionName"]
            )
            if missing:
                return tuple(missing)
        _, config = lambda_svc._get_func_record_for_qualifier(name, qualifier)
        fixed = {field: data[field] for field in checks.CHANGEABLE if field in data}
        merged = {**shown(mapping), **fixed}
        problem = checks.problem(merged, str((config or {}).get("Role", "")))
        if problem:
            return json_error("InvalidParameterValueException", problem)
        mapping.update(checks.settings(merged))
        mapping["FunctionName"], mapping["Qualifier"] = name, qualifier
        mapping["FunctionArn"] = lambda_svc._func_arn(name) + (f":{qualifier}" if qualifier else "")
        was = mapping["State"]
        wanted = data.get("Enabled")
        then = was if wanted is None else "Enabled" if wanted else "Disabled"
        state = "Updating" if then == was else "Enabling" if then == "Enabled" else "Disabling"
        change(mapping, state, then)
        supervisor.ensure()
        return reply(mapping, 202)

    return updated


def delete(inner: Callable[[str], Reply]) -> Callable[[str], Reply]:
    """DeleteEventSourceMapping: it is there, Deleting, until its poller ended."""

    def deleted(uuid: str) -> Reply:
        from ministack.services import lambda_svc

        mapping = lambda_svc._esms.get(uuid)
        if mapping is None or not is_stream(mapping):
            return inner(uuid)
        refused = busy(mapping, "delete")
        if refused:
            return refused
        change(mapping, "Deleting")
        supervisor.ensure()
        return reply(mapping, 202)

    return deleted


def install() -> None:
    """Take the mappings of streams from MiniStack."""
    from ministack import app
    from ministack.services import lambda_svc

    save = app._build_persistence_save_dict
    answer = lambda_svc._esm_response
    restore = lambda_svc._restore_esms

    def response(mapping: Mapping) -> Mapping:
        told: Mapping = answer(mapping)
        if not is_stream(mapping):
            return told
        told.pop("Qualifier", None)
        return shown(told)

    def restored(state: Any) -> None:
        restore(state)
        supervisor.ensure()

    def saved() -> Any:
        # The checkpoints that are saved move no more.
        supervisor.stop()
        return save()

    app._build_persistence_save_dict = saved
    lambda_svc._esm_response = response
    lambda_svc._restore_esms = restored
    lambda_svc._create_esm = create(lambda_svc._create_esm)
    lambda_svc._update_esm = update(lambda_svc._update_esm)
    lambda_svc._delete_esm = delete(lambda_svc._delete_esm)
    lambda_svc._poll_kinesis = lambda: False


def uninstall() -> None:
    """End the pollers."""
    supervisor.stop()
    shards.announce()
