"""Kafka's brokers as a backfill reads them: without a consumer group, so that nobody's offsets move.

Sources: the protocol as kafka-python speaks it; Lambda Developer Guide, *Configuring cluster
authentication methods in Lambda* (the secrets' forms, for Amazon MSK and self-managed Kafka); Amazon
MSK API reference, *GetBootstrapBrokers*.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import kafka.codec
from backports.zstd import ZstdFile
from botocore.exceptions import BotoCoreError, ClientError
from kafka import KafkaConsumer, TopicPartition, errors
from kafka.net import KafkaConnectionManager, KafkaNetClient, KafkaNetSocket, NetworkSelector
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

from weir_contract.secrets import SecretRef, secret_refs
from weir_contract.sources import Egress, Kafka
from weir_lambdas.common.aws import error_code
from weir_lambdas.common.egress import host_allowed, refusal
from weir_lambdas.common.errors import (
    ConfigInvalid,
    EgressRefused,
    NoLongerKept,
    SecretMissing,
    SourceBadAnswer,
    SourceForbidden,
    SourceNotFound,
    SourceUnauthorized,
    SourceUnavailable,
    WeirError,
)
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.stream_processor.events import CALENDAR_END_MILLIS

MECHANISMS = {
    "scramSha512": "SCRAM-SHA-512",
    "scramSha256": "SCRAM-SHA-256",
    "plain": "PLAIN",
    "iam": "AWS_MSK_IAM",
}
"""Login -> SASL mechanism."""

ADDRESSES = {
    "none": ("BootstrapBrokerStringTls", "BootstrapBrokerString"),
    "iam": ("BootstrapBrokerStringSaslIam",),
    "scramSha512": ("BootstrapBrokerStringSaslScram",),
    "mtls": ("BootstrapBrokerStringTls",),
}
"""Login -> where *GetBootstrapBrokers* has the listeners that take it, the better first."""

CONNECT_SECONDS = 15.0
POLL_SECONDS = 1.0
POLL_RECORDS = 5_000
FETCH_BYTES = 16 * 1024 * 1024
"""Of one answer of a broker: bounds memory, whatever the number of partitions."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

DENIALS = (errors.SaslAuthenticationFailedError, errors.UnsupportedSaslMechanismError)
"""What brokers say to a login that they do not take."""

REASONS: tuple[tuple[type[Exception], type[WeirError], str], ...] = (
    (
        errors.SaslAuthenticationFailedError,
        SourceUnauthorized,
        "the brokers do not take the login of kafka.auth",
    ),
    (
        errors.UnsupportedSaslMechanismError,
        SourceUnauthorized,
        "the brokers know no login of this kind; see kafka.auth",
    ),
    (
        errors.AuthorizationError,
        SourceForbidden,
        "the login may not read the topic: it needs Describe and Read on it",
    ),
    (errors.UnknownTopicOrPartitionError, SourceNotFound, "the topic, or a partition, is gone"),
    (
        errors.OffsetOutOfRangeError,
        NoLongerKept,
        "records of the window were dropped while it was read",
    ),
    (errors.UnsupportedCodecError, SourceBadAnswer, "records are compressed in an unknown way"),
    (errors.CorruptRecordError, SourceBadAnswer, "a record's checksum is wrong"),
)
"""The client's error -> ours, and what it says; all others are brokers that can't be reached."""


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int


class Record(Protocol):
    """A record as the client gives it: ``timestamp`` in milliseconds since 1970."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class _Zstd:
    """What the client wants of a library for zstd, by the one that functions have."""

    class ZstdDecompressor:
        """Reads frame after frame."""

        def stream_reader(self, stream: Any, **_: Any) -> ZstdFile:
            """The text behind a compressed stream, of which several frames may be one."""
            return ZstdFile(stream)


kafka.codec.zstd = _Zstd

Received = tuple[bytes, Exception | None]


def _whole(receive: Callable[[Any], Received]) -> Callable[[Any], Received]:
    """The client's reading of a connection, such that nothing is lost at its end.

    A broker that refuses a login answers and closes in one go; the client would forget the answer,
    and try again until its time is up.
    """

    def received(transport: Any) -> Received:
        data, error = receive(transport)
        # The end is there at the next reading too.
        return (data, None) if data else (data, error)

    return received


for _transport in (KafkaTCPTransport, KafkaSSLTransport):
    _transport._sock_recv = _whole(_transport._sock_recv)


class Brokers:
    """A connection to a cluster. ``with connect(...) as brokers:`` closes it."""

    def __init__(self, consumer: Any, told: Callable[[], Any]) -> None:
        """:param told: turns the client's errors into ours"""
        self._consumer, self._told = consumer, told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close(autocommit=False, timeout_ms=1000)

    def partitions(self, topic: str) -> list[Partition]:
        """A topic's partitions, in order.

        Raises
        ------
        SourceNotFound
            There is no such topic, or the login may not see it.
        """
        with self._told():
            found = self._consumer.partitions_for_topic(topic)
        if not found:
            raise SourceNotFound(
                "there is no such topic, or the login may not see it", f"the topic {topic}"
            )
        return [Partition(topic, number) for number in sorted(found)]

    def firsts(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset of the oldest record that is kept, of each."""
        return self._edges(self._consumer.beginning_offsets, partitions)

    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The offset behind the newest record that is committed, of each."""
        return self._edges(self._consumer.end_offsets, partitions)

    def since(
        self, partitions: Iterable[Partition], moment: datetime
    ) -> dict[Partition, tuple[int, datetime]]:
        """The first record with this time or a later one, its offset and time; none where all are
        older."""
        millis = -((EPOCH - moment) // timedelta(milliseconds=1))
        asked = {TopicPartition(*one): millis for one in partitions}
        with self._told():
            found = self._consumer.offsets_for_times(asked)
        return {
            Partition(key.topic, key.partition): (
                int(one.offset),
                EPOCH + timedelta(milliseconds=min(one.timestamp, CALENDAR_END_MILLIS - 1)),
            )
            for key, one in found.items()
            if one is not None and one.offset >= 0
        }

    def begin(self, places: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets on."""
        with self._told():
            self._consumer.assign([TopicPartition(*one) for one in places])
            for one, offset in places.items():
                self._consumer.seek(TopicPartition(*one), offset)

    def read(self) -> dict[Partition, list[Record]]:
        """Records that come next; empty where none came within a second."""
        with self._told():
            found = self._consumer.poll(POLL_SECONDS * 1000, max_records=POLL_RECORDS)
        return {Partition(key.topic, key.partition): some for key, some in found.items()}

    def place(self, partition: Partition) -> int:
        """The offset that is read next: past markers of transactions, and what was compacted away."""
        with self._told():
            return int(self._consumer.position(TopicPartition(*partition)))

    def end(self, partition: Partition) -> None:
        """Read no more of a partition."""
        with self._told():
            self._consumer.pause(TopicPartition(*partition))

    def _edges(
        self, ask: Callable[[list[Any]], Any], partitions: Iterable[Partition]
    ) -> dict[Partition, int]:
        with self._told():
            found = ask([TopicPartition(*one) for one in partitions])
        return {Partition(key.topic, key.partition): int(one) for key, one in found.items()}


def connect(where: Kafka, secrets: Secrets, egress: Egress, msk: Callable[[], Any]) -> Brokers:
    """Reach the brokers.

    Parameters
    ----------
    egress
        Where the Platform allows to go. An MSK cluster was granted by its ARN: its brokers may have
        private addresses and any name.
    msk
        Gives a client of Amazon MSK.

    Raises
    ------
    EgressRefused
        A broker is where the function must not go; the ones behind the first as well.
    SecretMissing
        The login, or the authority's certificate.
    SourceUnauthorized, SourceForbidden, SourceUnavailable
        The brokers refuse, or don't answer.
    """
    servers = list(where.servers) or _msk_servers(where, msk)
    if where.cluster:
        egress = replace(egress, allow_private=True, hosts=())
    guard = _Guard(egress)
    told = _told(f"the brokers {', '.join(sorted(servers))}", guard)
    settings = _login(where, secrets)
    with told():
        for server in servers:
            # The client tries for long; what it may not reach can be said at once.
            host, _, port = server.rpartition(":")
            guard.judged(host.strip("[]"), int(port))
        consumer = KafkaConsumer(
            bootstrap_servers=servers,
            client_id="weir-backfill",
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            allow_auto_create_topics=False,
            isolation_level="read_committed",
            max_poll_records=POLL_RECORDS,
            fetch_max_bytes=FETCH_BYTES,
            bootstrap_timeout_ms=int(CONNECT_SECONDS * 1000),
            metrics_enabled=False,
            proxy_url=guard.register(),
            kafka_client=guard.client,
            **settings,
        )
    return Brokers(consumer, told)


def _msk_servers(where: Kafka, msk: Callable[[], Any]) -> list[str]:
    place = f"the MSK cluster {where.cluster}"
    try:
        found = msk().get_bootstrap_brokers(ClusterArn=where.cluster)
    except ClientError as error:
        code = error_code(error)
        if code in ("AccessDeniedException", "ForbiddenException"):
            raise SourceForbidden(
                "the function's role may not find its brokers (kafka:GetBootstrapBrokers)", place
            ) from error
        if code == "NotFoundException":
            raise SourceNotFound("it is gone", place) from error
        raise SourceUnavailable(f"Amazon MSK answered {code}", place) from error
    except BotoCoreError as error:
        raise SourceUnavailable("Amazon MSK could not be reached", place) from error
    for name in ADDRESSES.get(where.login, ()):
        if found.get(name):
            return str(found[name]).split(",")
    raise ConfigInvalid(f"it has no brokers that take the login {where.login}", place)


def _login(where: Kafka, secrets: Secrets) -> dict[str, Any]:
    """The client's settings of encryption and login."""
    mechanism = MECHANISMS.get(where.login)
    if where.login == "none" and not (where.authority or where.cluster):
        # As Lambda's pollers: who names neither login nor authority has brokers without TLS.
        return {"security_protocol": "PLAINTEXT"}
    found: dict[str, Any] = {
        "security_protocol": "SASL_SSL" if mechanism else "SSL",
        "ssl_context": _tls(where, secrets),
    }
    if mechanism:
        found["sasl_mechanism"] = mechanism
    if mechanism and where.login != "iam":
        found["sasl_plain_username"] = _secret(secrets, where.secret, "username")
        found["sasl_plain_password"] = _secret(secrets, where.secret, "password")
    return found


def _tls(where: Kafka, secrets: Secrets) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        if where.authority:
            authority = _secret(secrets, where.authority, "certificate")
            context.load_verify_locations(cadata=authority)
        if where.login == "mtls":
            _load_certificate(context, where, secrets)
    except (ssl.SSLError, ValueError) as error:
        # The error's own text may hold what was read.
        raise SecretMissing(
            "a certificate or key is no PEM, or its password is wrong", "kafka"
        ) from error
    return context


def _load_certificate(context: ssl.SSLContext, where: Kafka, secrets: Secrets) -> None:
    """The certificate that is shown. The library reads files only: it is there for that moment."""
    chain = "\n".join(_secret(secrets, where.secret, key) for key in ("certificate", "privateKey"))
    try:
        password: str | None = _secret(secrets, where.secret, "privateKeyPassword")
    except SecretMissing:
        password = None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chain.pem"
        file.touch(mode=0o600)
        file.write_text(chain)
        # Without a password the library would ask for one at a terminal.
        context.load_cert_chain(file, password=password or "")


def _secret(secrets: Secrets, written: str | None, key: str) -> str:
    if not written:
        raise ConfigInvalid("the login needs a secret", "kafka.auth")
    return secrets.resolve(SecretRef(next(secret_refs(written)).name, key))


class _Guard:
    """Lets the client connect to judged addresses only, and keeps what was refused.

    Parameters
    ----------
    egress
        Where it may go.
    """

    SCHEME = "weir"

    def __init__(self, egress: Egress) -> None:
        self.egress = egress
        self.refused: EgressRefused | None = None
        self.connected = False
        self.denied: Exception | None = None

    def client(self, **settings: Any) -> Any:
        """The client's network side, which ends at the first login that a broker refuses: the client
        itself would go on until its time is up, and then tell of that alone."""
        guard = self

        class Manager(KafkaConnectionManager):  # type: ignore[misc]
            def get_connection(self, *arguments: Any, **options: Any) -> Any:
                if guard.denied is not None:
                    raise guard.denied
                found = super().get_connection(*arguments, **options)
                found.init_future.add_errback(guard.note)
                return found

        net = NetworkSelector(**settings)
        return KafkaNetClient(net, Manager(net, **settings), **settings)

    def note(self, error: Exception) -> None:
        """Keep what a broker said to the login."""
        if isinstance(error, DENIALS):
            self.denied = error

    def register(self) -> str:
        """Have the client make its sockets here; the setting that tells it so.

        The client knows makers of sockets by the scheme of a proxy's URL. This one is no proxy: it
        connects to the broker itself, on an address that was looked at.
        """
        guard = self

        class GuardedSocket(KafkaNetSocket):  # type: ignore[misc]
            SCHEMES = (self.SCHEME,)

            def dns_lookup(self, host: str, port: int, **_: Any) -> list[Any]:
                return guard.judged(host, port)

            async def sock_connect(self, *arguments: Any, **options: Any) -> Any:
                opened = await super().sock_connect(*arguments, **options)
                guard.connected = True
                return opened

        KafkaNetSocket.register_class(GuardedSocket)
        return f"{self.SCHEME}://broker"

    def judged(self, host: str, port: int) -> list[Any]:
        """Addresses of a broker, all of which may be connected to.

        Raises
        ------
        KafkaConnectionError
            One may not; ``refused`` says why. Or the name is unknown.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise errors.KafkaConnectionError(f"{host} is unknown") from error
        if self.egress.hosts and not host_allowed(host, self.egress.hosts):
            self._refuse(f"{host} is none of the hosts that the Platform allows", host)
        for *_, address in found:
            if reason := refusal(str(address[0]), self.egress):
                self._refuse(f"{host} resolves to {address[0]}, {reason}", host)
        return found

    def _refuse(self, why: str, host: str) -> None:
        self.refused = EgressRefused(why, host)
        raise errors.KafkaConnectionError(why)


def _told(place: str, guard: _Guard) -> Callable[[], Any]:
    @contextmanager
    def told() -> Iterator[None]:
        try:
            yield
        except errors.KafkaError as error:
            if guard.refused is not None:
                raise guard.refused from error
            error = guard.denied or error
            for theirs, ours, why in REASONS:
                if isinstance(error, theirs):
                    raise ours(why, place) from error
            what = (
                "they were reached and then broke off: is their certificate of a public authority, "
                "or of kafka.caSecret, and does their listener take the login of kafka.auth?"
                if guard.connected
                else "they could not be reached from where the function runs: with network: vpc that "
                "is the Platform's VPC, whose subnets must lead to the brokers"
            )
            raise SourceUnavailable(f"{what} ({type(error).__name__})", place) from error

    return told
