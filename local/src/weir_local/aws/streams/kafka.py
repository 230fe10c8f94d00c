"""A Kafka mapping reads its topic as members of a consumer group, and commits what was processed.

Lambda Developer Guide, "Using Lambda with Amazon MSK" and "Using Lambda with self-managed Apache
Kafka": the events' form, consumer groups, starting positions; "Understanding Kafka-based event
sources' scaling" (pollers); "Configuring error handling controls for Kafka event sources".
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from botocore.credentials import Credentials
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from weir_local.aws.access import role_denial
from weir_local.aws.functions import function_role
from weir_local.aws.serviceclient import role_session
from weir_local.aws.streams import batching, destinations, iamlogins, msk, secrets
from weir_local.aws.streams.invoking import record_metric
from weir_local.aws.streams.working import NOTHING_YET, Worker

logger = logging.getLogger("weir.local.aws.lambda")

WINDOW_SECONDS = 0.5
"""MaximumBatchingWindowInSeconds when it is not given."""
POLL_SECONDS = 0.2
AGAIN_SECONDS = 1.0
"""How long a poller waits before it connects again."""
RETRIES_WITH_DESTINATION = 10
"""Retries when they are infinite and there is a destination."""
POLLERS = 1

CONSUMER = {
    "enable.auto.commit": False,
    "enable.partition.eof": False,
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 500,
    "max.poll.interval.ms": 1_200_000,
    "fetch.wait.max.ms": 100,
    "reconnect.backoff.ms": 100,
    "reconnect.backoff.max.ms": 1_000,
    "topic.metadata.refresh.interval.ms": 2_000,
    "log_level": 0,
}
"""How members poll: a batch may take as long as a function may run."""

PROBLEMS = {
    KafkaError._AUTHENTICATION: "SASL authentication failed.",
    KafkaError._SSL: "Lambda failed to authenticate the Kafka broker.",
    KafkaError._ALL_BROKERS_DOWN: "Connection error. Your Kafka broker cannot be reached.",
    KafkaError._TRANSPORT: "Connection error. Your Kafka broker cannot be reached.",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Cluster failed to authorize Lambda.",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Cluster failed to authorize Lambda.",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "Kafka topic not found.",
}

TOLD = frozenset(f"PROBLEM: {known}" for known in PROBLEMS.values())
CALM_SECONDS = 2.0
"""After which a problem that did not come again may be past."""

CLUSTER = ("DescribeCluster", "DescribeClusterV2", "GetBootstrapBrokers")
NETWORK = (
    "CreateNetworkInterface",
    "DescribeNetworkInterfaces",
    "DescribeVpcs",
    "DeleteNetworkInterface",
    "DescribeSubnets",
    "DescribeSecurityGroups",
)
"""What the role needs so that Lambda gets into the cluster's network."""


def group_id(mapping: dict[str, Any]) -> str:
    """The consumer group of a mapping: as given, else its UUID."""
    for field in ("AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig"):
        given = (mapping.get(field) or {}).get("ConsumerGroupId")
        if given:
            return str(given)
    return str(mapping.get("UUID", ""))


def accesses(mapping: dict[str, Any]) -> list[dict[str, str]]:
    """A mapping's SourceAccessConfigurations."""
    return list(mapping.get("SourceAccessConfigurations") or [])


def denial(mapping: dict[str, Any], role_arn: str, region: str) -> str | None:
    """Why a role may not read a cluster for Lambda, or None."""
    arn = str(mapping.get("EventSourceArn") or "")
    needed = [(f"kafka:{operation}", arn) for operation in (CLUSTER if arn else ())]
    in_network = arn or any(access["Type"] == "VPC_SUBNET" for access in accesses(mapping))
    needed += [(f"ec2:{operation}", "*") for operation in (NETWORK if in_network else ())]
    needed += [
        ("secretsmanager:GetSecretValue", access["URI"])
        for access in accesses(mapping)
        if access["Type"] in secrets.SECRETS
    ]
    for action, resource in needed:
        denied = role_denial(role_arn, action, resource, region)
        if denied:
            return denied
    return None


def enters_by_iam(mapping: dict[str, Any]) -> bool:
    """Whether a mapping of MSK shows brokers its function's role, since it has no other login."""
    logins = {*secrets.MECHANISMS, secrets.CLIENT_CERTIFICATE}
    return bool(mapping.get("EventSourceArn")) and not any(
        access["Type"] in logins for access in accesses(mapping)
    )


def bootstrap(mapping: dict[str, Any]) -> tuple[str, str]:
    """A mapping's servers, and an authority's certificate that is trusted for them, if any.

    :raises SecretUnusable: the cluster is gone
    """
    arn = str(mapping.get("EventSourceArn") or "")
    if not arn:
        endpoints = (mapping.get("SelfManagedEventSource") or {}).get("Endpoints") or {}
        return ",".join(endpoints.get("KAFKA_BOOTSTRAP_SERVERS") or []), ""
    by_certificate = any(one["Type"] == secrets.CLIENT_CERTIFICATE for one in accesses(mapping))
    listener = msk.TLS if by_certificate else msk.BOOTSTRAP
    found = msk.server(arn, msk.IAM if enters_by_iam(mapping) else listener)
    if found is None:
        raise secrets.SecretUnusable(f"{arn} has no broker")
    return found


def signed(value: bytes | str | None) -> list[int]:
    """A header's bytes as Lambda writes them: signed, as Java's are."""
    raw = value.encode() if isinstance(value, str) else value or b""
    return [byte - 256 if byte > 127 else byte for byte in raw]


def text(value: bytes | str | None) -> str | None:
    """A key or value in base64, None when there is none."""
    raw = value.encode() if isinstance(value, str) else value
    return None if raw is None else base64.b64encode(raw).decode()


TIMESTAMPS = {1: "CREATE_TIME", 2: "LOG_APPEND_TIME"}


def place(message: Message) -> str:
    """The topic and partition of a message, as events name it."""
    return f"{message.topic()}-{message.partition()}"


def offset(message: Message) -> int:
    """The offset of a message that was read."""
    return int(message.offset() or 0)


def element(message: Message) -> dict[str, Any]:
    """A message as a record of the event; a key or value that is null is left out."""
    kind, millis = message.timestamp()
    told = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": offset(message),
        "timestamp": millis,
        "timestampType": TIMESTAMPS.get(kind, "NO_TIMESTAMP_TYPE"),
        "key": text(message.key()),
        "value": text(message.value()),
        "headers": [{str(each[0]): signed(each[1])} for each in message.headers() or []],
    }
    return {name: value for name, value in told.items() if value is not None}


def size(message: Message) -> int:
    """About how many bytes a message takes in the event."""
    return (len(message.key() or b"") + len(message.value() or b"")) * 4 // 3 + 300


class Poller(Worker[Message]):
    """One member of the consumer group."""

    def __init__(self, mapping: dict[str, Any], region: str) -> None:
        """:param mapping: as stored
        :param region: the mapping's
        """
        super().__init__(mapping, region)
        self.servers = ""
        self.consumer: Consumer | None = None
        self.read: deque[Message] = deque()
        self.generation = 0
        """Grows whenever partitions go to others."""
        self.taken = 0
        """The generation of the batch at hand."""
        self.troubled = 0.0
        """When something failed last, by the monotonic clock."""
        self.unstarted = False
        """Whether it could not be told where to start: the poller joins again."""

    @property
    def revoked(self) -> bool:
        """Whether the partitions of the batch at hand went to others."""
        return self.taken != self.generation

    def rules(self) -> batching.Rules:
        """How the mapping treats batches."""
        found = batching.rules(self.mapping, WINDOW_SECONDS)
        on_failure = (self.mapping.get("DestinationConfig") or {}).get("OnFailure") or {}
        if found.retries == batching.FOREVER and on_failure.get("Destination"):
            return replace(found, retries=RETRIES_WITH_DESTINATION)
        return found

    def event(self, records: Sequence[Message]) -> dict[str, Any]:
        """The event of Kafka records."""
        arn = self.mapping.get("EventSourceArn")
        places: dict[str, list[dict[str, Any]]] = {}
        for message in records:
            places.setdefault(place(message), []).append(element(message))
        source = (
            {"eventSource": "aws:kafka", "eventSourceArn": arn}
            if arn
            else {"eventSource": "SelfManagedKafka"}
        )
        return {**source, "bootstrapServers": self.servers, "records": places}

    def rest(self, records: tuple[Message, ...], reported: list[Any]) -> tuple[Message, ...]:
        """In each partition, from the lowest offset reported on."""
        known = {(place(message), offset(message)) for message in records}
        lowest: dict[str, int] = {}
        for each in reported:
            if isinstance(each, dict):
                where, number = str(each.get("partition")), each.get("offset")
            else:
                where, _, last = str(each).rpartition("-")
                number = int(last) if last.isdecimal() else None
            if not isinstance(number, int) or (where, number) not in known:
                return records
            lowest[where] = min(number, lowest.get(where, number))
        return tuple(
            message
            for message in records
            if offset(message) >= lowest.get(place(message), offset(message) + 1)
        )

    def arrived(self, record: Message) -> float:
        """The record's timestamp."""
        return float(record.timestamp()[1]) / 1000

    def finish(self, records: Sequence[Message]) -> None:
        """Commit the offsets after the records."""
        following: dict[tuple[str, int], int] = {}
        for message in records:
            key = (str(message.topic()), int(message.partition() or 0))
            following[key] = max(following.get(key, 0), offset(message) + 1)
        offsets = [TopicPartition(*key, number) for key, number in following.items()]
        while self.consumer is not None and not self.revoked:
            try:
                self.consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as failed:
                error = failed.args[0]
                if not error.retriable() and error.code() != KafkaError._TIMED_OUT:
                    # Another member has the partitions: it reads the records again.
                    self.generation += 1
                    return
                if self.stopping.wait(POLL_SECONDS):
                    return
            else:
                return

    def measure(self, _: Sequence[Message]) -> None:
        """OffsetLag: how many records the group is behind, over the partitions of this member."""
        if self.consumer is None:
            return
        lag = 0
        for assigned in self.consumer.position(self.consumer.assignment()):
            _low, high = self.consumer.get_watermark_offsets(assigned, cached=True)
            lag += max(0, high - assigned.offset) if assigned.offset >= 0 and high >= 0 else 0
        record_metric(self.mapping, "OffsetLag", lag, "Count")

    def describe(self, records: Sequence[Message]) -> tuple[str, dict[str, Any]]:
        """KafkaBatchInfo."""
        places: dict[str, list[Message]] = {}
        for message in records:
            places.setdefault(place(message), []).append(message)
        info = {
            "batchSize": len(records),
            "eventSourceArn": self.mapping.get("EventSourceArn") or None,
            "bootstrapServers": self.servers,
            "payloadSize": sum(size(message) for message in records),
            "recordsInfo": {
                where: {
                    "firstRecordOffset": str(offset(found[0])),
                    "lastRecordOffset": str(offset(found[-1])),
                    "firstRecordTimestamp": destinations.moment(self.arrived(found[0])),
                    "lastRecordTimestamp": destinations.moment(self.arrived(found[-1])),
                }
                for where, found in places.items()
            },
        }
        return "KafkaBatchInfo", {name: value for name, value in info.items() if value is not None}

    def source(self, records: Sequence[Message]) -> str:
        """The first record's topic and partition."""
        return place(records[0])

    def halted(self) -> bool:
        """Whether the poller ends, or another member has the batch's partitions."""
        return self.stopping.is_set() or self.revoked

    def idle(self, seconds: float) -> None:
        """Wait between two tries, and stay a member of the group: nothing is read meanwhile."""
        deadline = time.monotonic() + seconds
        if self.consumer is None:
            return
        self.consumer.pause(self.consumer.assignment())
        while not self.halted() and time.monotonic() < deadline:
            self.keep(self.consumer.consume(1, timeout=min(POLL_SECONDS, seconds)))
        if not self.revoked:
            self.consumer.resume(self.consumer.assignment())

    def keep(self, messages: Sequence[Message]) -> None:
        """Keep what was read, and note errors."""
        for message in messages:
            error = message.error()
            if error is None:
                self.read.append(message)
            else:
                self.failed(error)

    def failed(self, error: KafkaError) -> None:
        """Note an error of the client, in AWS's words where it has them."""
        known = PROBLEMS.get(error.code())
        if known:
            self.mapping["LastProcessingResult"] = f"PROBLEM: {known}"
            self.troubled = time.monotonic()

    def recover(self, consumer: Consumer) -> None:
        """A problem that came no more is past, though there was nothing to process since."""
        assigned = consumer.assignment()
        if not assigned or time.monotonic() - self.troubled < CALM_SECONDS:
            return
        try:
            consumer.get_watermark_offsets(assigned[0], timeout=1)
        except KafkaException as failed:
            self.failed(failed.args[0])
        else:
            self.mapping["LastProcessingResult"] = NOTHING_YET

    def start_offsets(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Where partitions are read from: as committed, else the mapping's starting position."""
        assert self.consumer is not None
        committed = self.consumer.committed(partitions, timeout=10)
        fresh = [each for each in committed if each.offset < 0]
        if self.mapping.get("StartingPosition") == "AT_TIMESTAMP" and fresh:
            millis = int(float(self.mapping.get("StartingPositionTimestamp") or 0) * 1000)
            asked = [TopicPartition(each.topic, each.partition, millis) for each in fresh]
            found = self.consumer.offsets_for_times(asked, timeout=10)
            after = {each.partition: each.offset for each in found}
            for each in fresh:
                each.offset = after[each.partition]
        latest = self.mapping.get("StartingPosition") == "LATEST"
        for each in fresh:
            if each.offset < 0:
                low, high = self.consumer.get_watermark_offsets(each, timeout=10)
                at_end = latest or self.mapping.get("StartingPosition") == "AT_TIMESTAMP"
                each.offset = high if at_end else low
        if fresh:
            # The start is kept, so that a restart before the first batch does not move it.
            self.consumer.commit(offsets=fresh, asynchronous=False)
        return committed

    def assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """This member got partitions."""
        self.read.clear()
        try:
            consumer.assign(self.start_offsets(partitions))
            # What was paused between two tries stays so over a rebalance.
            consumer.resume(partitions)
        except KafkaException as failed:
            self.failed(failed.args[0])
            self.unstarted = True

    def lost(self, consumer: Consumer, _: list[TopicPartition]) -> None:
        """Others get this member's partitions: what was read and not committed is theirs."""
        self.read.clear()
        self.generation += 1
        consumer.unassign()

    def configuration(self) -> dict[str, Any]:
        """librdkafka's configuration of the mapping.

        :raises SecretUnusable: a secret cannot be used
        """
        role = function_role(str(self.mapping["FunctionArn"]))
        denied = denial(self.mapping, role, self.region)
        if denied:
            raise secrets.SecretUnusable(denied)
        self.servers, authority = bootstrap(self.mapping)
        found = {
            **CONSUMER,
            "bootstrap.servers": self.servers,
            "group.id": group_id(self.mapping),
            "client.id": f"lambda-{self.mapping['UUID']}",
            "error_cb": self.failed,
            **secrets.settings(
                accesses(self.mapping), role, str(self.mapping["FunctionArn"]), self.region
            ),
        }
        if authority:
            found.setdefault("ssl.ca.pem", authority)
        if enters_by_iam(self.mapping):
            found |= {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "OAUTHBEARER",
                "oauth_cb": self.login,
            }
        return found

    def login(self, _: str) -> tuple[str, float]:
        """A login by IAM as the function's role: the token, and its end in seconds since 1970."""
        function = str(self.mapping["FunctionArn"])
        role = function_role(function)
        session = role_session(role, "lambda.amazonaws.com", function, self.region)
        return iamlogins.signed(
            self.region, Credentials(session.access_key, session.secret_key, session.token)
        )

    def batch(self) -> list[Message]:
        """The next batch; empty when there is none."""
        assert self.consumer is not None
        deadline: float | None = None
        while not self.stopping.is_set():
            rules = self.rules()
            wanted = max(1, rules.size - len(self.read))
            left = POLL_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
            if len(self.read) < rules.size:
                self.keep(self.consumer.consume(wanted, timeout=min(left, POLL_SECONDS)))
            if self.mapping.get("LastProcessingResult") in TOLD:
                self.recover(self.consumer)
            if not self.read:
                return []
            deadline = deadline or time.monotonic() + rules.window
            found = list(self.read)[: rules.size]
            count = batching.cut([size(message) for message in found], rules.size)
            if count == rules.size or count < len(found) or time.monotonic() >= deadline:
                for _ in range(count):
                    self.read.popleft()
                self.taken = self.generation
                return sorted(found[:count], key=lambda each: (place(each), offset(each)))
        return []

    def filtered(self, records: list[Message]) -> list[Message]:
        """The records that pass the mapping's filters."""
        from ministack.services import lambda_svc

        if not self.mapping.get("FilterCriteria"):
            return records
        return [
            message
            for message in records
            if lambda_svc._apply_filter_criteria([filterable(message)], self.mapping)
        ]

    def serve(self) -> None:
        """Be a member until told to stop, or the connection's settings fail."""
        self.consumer = Consumer(self.configuration())
        self.unstarted = False
        try:
            topics = list(self.mapping.get("Topics") or [])
            self.consumer.subscribe(topics, on_assign=self.assigned, on_revoke=self.lost)
            while not self.stopping.is_set() and not self.unstarted:
                records = self.batch()
                if records:
                    kept = self.filtered(records)
                    if not kept or self.process(kept):
                        self.finish(records)
        finally:
            self.consumer.close()
            self.consumer = None

    def run(self) -> None:
        """The poller's thread: connect, serve, and connect again after what fails."""
        while not self.stopping.is_set():
            try:
                self.serve()
            except secrets.SecretUnusable as unusable:
                self.mapping["LastProcessingResult"] = f"PROBLEM: {unusable}"
            except KafkaException as failed:
                self.failed(failed.args[0])
            except Exception:
                logger.exception("a poller of mapping %s failed", self.mapping["UUID"])
                self.mapping["LastProcessingResult"] = "PROBLEM: internal Lambda error"
            self.stopping.wait(AGAIN_SECONDS)


def filterable(message: Message) -> dict[str, Any]:
    """A message as filters see it: the value as JSON where it is such."""
    found = element(message)
    try:
        found["value"] = json.loads(message.value() or b"")
    except ValueError:
        found.pop("value", None)
    return found


class KafkaReader:
    """Runs the pollers of one mapping."""

    def __init__(self, mapping: dict[str, Any], account: str, region: str) -> None:
        """:param mapping: as stored
        :param account: the mapping's
        :param region: the mapping's
        """
        self.mapping = mapping
        self.account = account
        self.region = region
        self.pollers: list[tuple[Poller, threading.Thread]] = []

    def wanted(self) -> int:
        """How many pollers the mapping has."""
        given = self.mapping.get("ProvisionedPollerConfig") or {}
        return int(given.get("MinimumPollers") or POLLERS)

    def tick(self) -> None:
        """Start the pollers that are missing."""
        self.pollers = [each for each in self.pollers if each[1].is_alive()]
        while len(self.pollers) < self.wanted():
            poller = Poller(self.mapping, self.region)
            thread = threading.Thread(
                target=self.run, args=(poller,), name="kafka-poller", daemon=True
            )
            self.pollers.append((poller, thread))
            thread.start()

    def run(self, poller: Poller) -> None:
        """A poller's thread."""
        from ministack.core.responses import request_scope

        with request_scope(self.account, self.region):
            poller.run()

    def stop(self) -> None:
        """Ask every poller to end after its invocation."""
        for poller, _ in self.pollers:
            poller.stopping.set()

    def ended(self) -> bool:
        """Whether no poller runs."""
        return not any(thread.is_alive() for _, thread in self.pollers)
