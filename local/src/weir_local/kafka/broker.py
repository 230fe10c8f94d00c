"""Apache Kafka as one process on loopback: KRaft, one node; TLS with SASL, by IAM, mutual; plaintext.

Apache Kafka documentation, "KRaft", "Security: SASL/SCRAM, SASL/PLAIN", "PEM key stores",
"Encryption and Authentication using SSL".
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import boto3
from confluent_kafka import KafkaException, Producer
from confluent_kafka import admin as kafka_admin

from weir_local.cluster.processes import Processes
from weir_local.kafka import jars
from weir_local.kafka.certificates import certificates

START_SECONDS = 60.0
STOP_SECONDS = 10.0
NOTING_SECONDS = 120.0
PORTS = range(15_000, 32_000)
NAME = "broker"
USER = "weir"
ITERATIONS = 4096
PARTITION_BY_KEY = -1
SCRAM_256, SCRAM_512 = (
    kafka_admin.ScramMechanism.SCRAM_SHA_256,
    kafka_admin.ScramMechanism.SCRAM_SHA_512,
)
JVM = (
    "-Xmx320m",
    "-Xshare:auto",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)

CONFIG = r"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=CONTROLLER://127.0.0.1:{controller},PLAINTEXT://127.0.0.1:{plain},\
  SECURE://127.0.0.1:{secure},MUTUAL://127.0.0.1:{mutual},IAM://127.0.0.1:{iam}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},\
  SECURE://localhost:{secure},MUTUAL://localhost:{mutual},IAM://localhost:{iam}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,\
  SECURE:SASL_SSL,MUTUAL:SSL,IAM:SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
listener.name.secure.scram-sha-512.sasl.jaas.config={scram}
listener.name.secure.scram-sha-256.sasl.jaas.config={scram}
listener.name.secure.plain.sasl.jaas.config={plain_login}
listener.name.mutual.ssl.client.auth=required
listener.name.iam.sasl.enabled.mechanisms=AWS_MSK_IAM,OAUTHBEARER
listener.name.iam.aws_msk_iam.sasl.jaas.config=weir.Iam$Login required;
listener.name.iam.aws_msk_iam.sasl.server.callback.handler.class=weir.Iam$Tokens
listener.name.iam.oauthbearer.sasl.jaas.config={bearer}
listener.name.iam.oauthbearer.sasl.server.callback.handler.class=weir.Iam$Tokens
authorizer.class.name=weir.Iam$Judge
weir.iam.asked={directory}/iam.properties
ssl.keystore.type=PEM
ssl.keystore.location={directory}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={directory}/ca.pem
log.dirs={directory}/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.num.partitions=2
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.hours=24
log.cleaner.dedupe.buffer.size=2097152
"""
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
BEARER = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
PLAIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    'username="{user}" password="{password}" user_{user}="{password}";'
)

AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/{region}/kafka/aws4_request, SignedHeaders=host, "
    "Signature=0"
)
"""The local AWS's root, whose signature it does not look at."""

Header = tuple[str, bytes]
Message = tuple[bytes | str | None, bytes | str | None, Sequence[Header]]
"""Key, value and headers."""


class BrokerError(RuntimeError):
    """The broker does not come up; the text names its log."""


@dataclass(frozen=True)
class Access:
    """How to reach a broker.

    :param plain: the port without encryption and login
    :param secure: the port with TLS and SASL
    :param controller: the port of the controller
    :param user: for SCRAM and PLAIN
    :param password: the user's
    :param mutual: the port with TLS where clients show a certificate; 0 of one made without it
    :param iam: the port with TLS and logins by IAM; 0 of one made without it
    """

    plain: int
    secure: int
    controller: int
    user: str
    password: str
    mutual: int = 0
    iam: int = 0


class Broker:
    """A broker in a state directory, which keeps its ports, login and data over restarts.

    ``with Broker(directory) as broker: broker.create_topic("orders", 3)``
    """

    def __init__(self, directory: Path | str) -> None:
        """:param directory: everything that it writes; the log is ``broker.log``"""
        self.directory = Path(directory).resolve()
        self.processes = Processes(self.directory)
        self._producer: Producer | None = None

    @property
    def access(self) -> Access:
        """Ports and login.

        :raises BrokerError: it was never started
        """
        try:
            found = json.loads((self.directory / "access.json").read_text())
        except OSError as error:
            raise BrokerError(f"no broker was started in {self.directory}") from error
        return Access(**found)

    @property
    def bootstrap(self) -> str:
        """The server with TLS and SASL (SCRAM-SHA-512, SCRAM-SHA-256, PLAIN)."""
        return f"localhost:{self.access.secure}"

    @property
    def mutual(self) -> str:
        """The server with TLS that wants a client's certificate."""
        return f"localhost:{self.access.mutual}"

    @property
    def iam(self) -> str:
        """The server with TLS and SASL by IAM (AWS_MSK_IAM, OAUTHBEARER), once it is a cluster's."""
        return f"localhost:{self.access.iam}"

    @property
    def client_certificate(self) -> dict[str, str]:
        """A client's ``certificate`` and ``privateKey`` (PEM), in the form that Lambda wants."""
        files = {"certificate": "client.pem", "privateKey": "client-key.pem"}
        return {key: (self.directory / name).read_text() for key, name in files.items()}

    @property
    def plaintext(self) -> str:
        """The server without TLS and login."""
        return f"127.0.0.1:{self.access.plain}"

    @property
    def user(self) -> str:
        """The user."""
        return self.access.user

    @property
    def password(self) -> str:
        """The user's password."""
        return self.access.password

    @property
    def ca_file(self) -> Path:
        """The file of the authority's certificate."""
        return self.directory / "ca.pem"

    @property
    def ca_pem(self) -> str:
        """The authority's certificate."""
        return self.ca_file.read_text()

    def running(self) -> bool:
        """Whether it runs."""
        return self.processes.running(NAME)

    def start(self, note: Path | None = None) -> Self:
        """Start it, on the ports it had, and wait until it answers; nothing when it runs.

        :param note: a file that gets Java's archive of its classes when it is stopped
        :raises BrokerError: it did not come up
        :raises JarsMissing: its jars were never resolved
        """
        if self.running():
            return self
        self.prepare()
        options = () if note is None else (f"-XX:ArchiveClassesAtExit={note}",)
        config = str(self.directory / "kafka.conf")
        self.processes.start(NAME, java("kafka.Kafka", config, options=options))
        self._wait()
        self.set_password(self.user, self.password)
        return self

    def stop(self, grace: float = STOP_SECONDS) -> None:
        """End it; its data stay.

        :param grace: seconds after which it is killed
        """
        if self._producer is not None:
            self._producer.flush(5)
            self._producer = None
        self.processes.stop(NAME, grace=grace)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self) -> dict[str, Any]:
        """librdkafka's configuration of a client without TLS and login."""
        return {"bootstrap.servers": self.plaintext, "log_level": 0}

    def admin(self) -> kafka_admin.AdminClient:
        """An administrator's client."""
        return kafka_admin.AdminClient(self.client())

    def set_password(self, user: str, password: str) -> None:
        """Make a SCRAM user, or change its password."""
        admin = self.admin()  # its answers end with it
        for mechanism in (SCRAM_512, SCRAM_256):
            info = kafka_admin.ScramCredentialInfo(mechanism, ITERATIONS)
            change = kafka_admin.UserScramCredentialUpsertion(user, info, password.encode())
            for made in admin.alter_user_scram_credentials([change]).values():
                made.result(10)

    def create_topic(self, name: str, partitions: int = 1) -> str:
        """Make a topic; its name."""
        admin = self.admin()  # its answers end with it
        admin.create_topics([kafka_admin.NewTopic(name, partitions, 1)])[name].result(10)
        return name

    def delete_topic(self, name: str) -> None:
        """Delete a topic, and wait until its name is free."""
        admin = self.admin()  # its answers end with it
        admin.delete_topics([name])[name].result(10)
        deadline = time.monotonic() + 10
        while name in admin.list_topics(timeout=10).topics:
            if time.monotonic() > deadline:
                raise BrokerError(f"{name} is still there; see {self.directory}")
            time.sleep(0.1)
        self._producer = None

    def grow_topic(self, name: str, partitions: int) -> None:
        """Give a topic more partitions, and wait until clients are told of them."""
        admin = self.admin()  # its answers end with it
        wanted = kafka_admin.NewPartitions(name, partitions)
        admin.create_partitions([wanted])[name].result(10)
        deadline = time.monotonic() + 10
        while len(admin.list_topics(name, timeout=10).topics[name].partitions) < partitions:
            if time.monotonic() > deadline:
                raise BrokerError(f"{name} has no {partitions} partitions; see {self.directory}")
            time.sleep(0.1)
        if self._producer is not None:
            # The next one asks for the partitions anew.
            self._producer.flush(5)
            self._producer = None

    def produce(
        self, topic: str, messages: Iterable[Message | str], partition: int | None = None
    ) -> None:
        """Write messages and wait until the broker has them.

        :param messages: (key, value, headers) each, or a value alone
        :param partition: where; by key when left out
        :raises KafkaException: they were not taken
        """
        if self._producer is None:
            self._producer = Producer(self.client())
        failures: list[Any] = []

        def delivered(error: Any, _: Any) -> None:
            if error is not None:
                failures.append(error)

        where = PARTITION_BY_KEY if partition is None else partition
        for message in messages:
            key, value, headers = (None, message, ()) if isinstance(message, str) else message
            self._producer.produce(
                topic, value, key, where, on_delivery=delivered, headers=list(headers)
            )
        self._producer.flush(30)
        if failures:
            raise KafkaException(failures[0])

    def declare_msk(self, session: boto3.Session, name: str) -> str:
        """Make an MSK cluster of the local AWS with this broker behind it; its ARN.

        Logins by IAM are judged as the cluster's from then on: a broker that is declared again is,
        for them, the last cluster alone.

        :param session: one that may make clusters on the local AWS
        :param name: the cluster's name
        """
        nodes = {"InstanceType": "kafka.t3.small", "ClientSubnets": ["subnet-local"]}
        client = session.client("kafka")
        made = client.create_cluster_v2(
            ClusterName=name,
            Tags={
                "weir:bootstrap": self.bootstrap,
                "weir:ca": str(self.ca_file),
                "weir:iam": self.iam,
                "weir:tls": self.mutual,
            },
            Provisioned={
                "BrokerNodeGroupInfo": nodes,
                "ClientAuthentication": {
                    "Sasl": {"Scram": {"Enabled": True}, "Iam": {"Enabled": True}},
                    "Tls": {"Enabled": True},
                },
                "KafkaVersion": "4.2.x",
                "NumberOfBrokerNodes": 1,
            },
        )
        arn = str(made["ClusterArn"])
        asked = {
            "endpoint": client.meta.endpoint_url,
            "cluster": arn,
            "authorization": AUTHORIZATION.format(region=client.meta.region_name),
        }
        text = "".join(f"{name}={value}\n" for name, value in asked.items())
        self._write("iam.properties", text)
        return arn

    def secrets(self, session: boto3.Session, prefix: str) -> tuple[str, str]:
        """Write the login and the authority to Secrets Manager, in the forms that Lambda wants.

        :param session: one that may make secrets on the local AWS
        :param prefix: of their names; MSK asks for ``AmazonMSK_``
        :returns: the ARNs of the login and of the authority's certificate
        """
        manager = session.client("secretsmanager")
        values = {
            "login": {"username": self.user, "password": self.password},
            "ca": {"certificate": self.ca_pem},
        }
        login, authority = (
            str(manager.create_secret(Name=prefix + name, SecretString=json.dumps(value))["ARN"])
            for name, value in values.items()
        )
        return login, authority

    def prepare(self) -> None:
        """Write the configuration and certificates, and format the storage, once."""
        if (self.directory / "access.json").exists():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        plain, secure, controller, mutual, iam = ports(5)
        access = Access(plain, secure, controller, USER, secrets.token_urlsafe(24), mutual, iam)
        made = certificates("Weir local Kafka", USER)
        login = PLAIN.format(user=access.user, password=access.password)
        config = CONFIG.format(
            plain=access.plain,
            secure=access.secure,
            controller=access.controller,
            mutual=access.mutual,
            iam=access.iam,
            bearer=BEARER,
            scram=SCRAM,
            plain_login=login,
            directory=self.directory,
        )
        files = {
            "kafka.conf": config,
            "ca.pem": made.authority,
            "server.pem": made.server,
            "client.pem": made.client,
            "client-key.pem": made.client_key,
        }
        for name, text in files.items():
            self._write(name, text)
        if template().exists():
            shutil.copytree(template(), self.directory / "data")
        else:
            self._format()
        self._write("access.json", json.dumps(asdict(access)))

    def _format(self) -> None:
        """Format the storage."""
        done = subprocess.run(
            java(
                "kafka.tools.StorageTool",
                *("format", "--cluster-id", secrets.token_urlsafe(16)),
                *("--config", str(self.directory / "kafka.conf")),
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BrokerError(f"Kafka's storage was not made: {done.stdout} {done.stderr}")

    def _write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text)

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        log = self.processes.log(NAME)
        while time.monotonic() < deadline:
            if not self.running():
                tail = log.read_text(errors="replace")[-1500:]
                raise BrokerError(f"Kafka ended; its log is {log}:\n{tail}")
            try:
                self.admin().list_topics(timeout=1)
            except KafkaException:
                time.sleep(0.1)
            else:
                return
        self.stop()
        raise BrokerError(f"Kafka did not answer in {START_SECONDS:.0f} s; see {log}")


def ports(count: int) -> list[int]:
    """Free ports below those that systems give to connections that go out.

    A broker keeps its ports while it is stopped and takes seconds to bind them: in that time no
    connection of another program may get one of them.
    """
    found: set[int] = set()
    while len(found) < count:
        port = PORTS.start + secrets.randbelow(len(PORTS))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.add(port)
    return sorted(found)


def archive() -> Path:
    """Java's archive of the broker's classes: with it the broker starts in half the time."""
    return jars.cache() / f"classes-{jars.VERSION}-{jars.mark()}.jsa"


def template() -> Path:
    """A formatted storage, which every new broker begins with."""
    return jars.cache() / f"storage-{jars.VERSION}"


def java(program: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """The command of one of Kafka's programs.

    :param options: of the virtual machine, besides the usual ones
    """
    path = ":".join(str(jar) for jar in jars.jars())
    known = () if options or not archive().exists() else (f"-XX:SharedArchiveFile={archive()}",)
    return ["java", *JVM, *known, *options, "-cp", path, program, *arguments]


def warm() -> Iterator[str]:
    """Fetch the jars, and note what lets the broker start faster, where it was not done.

    :returns: lines that say what is done
    :raises JarsMissing: the jars cannot be resolved
    """
    yield from jars.warm()
    if archive().exists() and template().exists():
        return
    yield f"noting the classes of Apache Kafka {jars.VERSION} in {jars.cache()}, once"
    with tempfile.TemporaryDirectory(dir=jars.cache()) as directory:
        broker = Broker(Path(directory) / "broker")
        noted, formatted = Path(directory) / "classes.jsa", Path(directory) / "formatted"
        broker.prepare()
        shutil.copytree(broker.directory / "data", formatted)
        try:
            broker.start(note=noted)
        finally:
            broker.stop(NOTING_SECONDS)
        if not template().exists():
            formatted.replace(template())
        noted.replace(archive())


def broker_environment(broker: Broker) -> dict[str, str]:
    """The variables by which a person's shell reaches a broker."""
    return {
        "WEIR_KAFKA_BOOTSTRAP": broker.bootstrap,
        "WEIR_KAFKA_PLAINTEXT": broker.plaintext,
        "WEIR_KAFKA_CA": str(broker.ca_file),
        "WEIR_KAFKA_USER": broker.user,
        "WEIR_KAFKA_PASSWORD": broker.password,
    }
