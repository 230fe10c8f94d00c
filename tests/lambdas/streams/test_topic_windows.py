"""Windows of the past of Kafka's topics, read from a real broker: each record once, wherever it dies."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from lambdas.streams.past_windows import (
    LANE,
    ROUNDS,
    Dying,
    held,
    land_rounds,
    land_window,
    wanted,
)
from lambdas.streams.rig import Rig
from weir_contract.moments import iso
from weir_contract.sources import Egress, Kafka
from weir_contract.state import CHECKPOINT, source_pk
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
from weir_lambdas.common.storage import Storage
from weir_lambdas.landing.batch import Window
from weir_lambdas.stream_processor import brokers, topics
from weir_lambdas.stream_processor.topics import PastTopics
from weir_local.aws.server import LocalAws
from weir_local.kafka import Broker

BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)
"""Brokers keep a day."""
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
HERE = Egress(allow_loopback=True)


class Manager:
    """Secrets Manager with these secrets."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def get_secret_value(self, **asked: Any) -> Any:
        return {"SecretString": json.dumps(self.values[asked["SecretId"]]), "VersionId": "1"}


@dataclass
class Reading:
    """A source of topics whose windows are landed."""

    rig: Rig
    broker: Broker
    chance: random.Random
    secrets: dict[str, Any] = field(default_factory=dict)
    egress: Egress = HERE
    msk: Any = None

    @property
    def kafka(self) -> Kafka:
        assert self.rig.config.stream is not None and self.rig.config.stream.kafka is not None
        return self.rig.config.stream.kafka

    def use(self, **changes: Any) -> None:
        stream = replace(self.rig.config.stream, kafka=replace(self.kafka, **changes))
        self.rig.config = replace(self.rig.config, stream=stream)

    def put(self, number: int, topic: str, partition: int, **more: Any) -> None:
        producer = Producer({**self.broker.client(), "compression.type": more.pop("codec", "none")})
        at = int((BEGIN + timedelta(minutes=number)).timestamp() * 1000)
        value = more.pop("value", body(number))
        producer.produce(topic, value, partition=partition, timestamp=at, **more)
        assert producer.flush(10) == 0

    def connect(self) -> brokers.Brokers:
        manager = Manager(**self.secrets)
        secrets = Secrets(manager, {name: name for name in self.secrets}, self.rig.clock)
        return brokers.connect(self.kafka, secrets, self.egress, lambda: self.msk)

    def land(
        self, window: Window, run: str = "part", life: int = 10**9, looks: int = 10**9, **more: Any
    ) -> Any:
        rig = self.rig

        def source(storage: Storage, _dying: Dying) -> PastTopics:
            force = more.get("force", False)
            return PastTopics(rig.config, self.connect, storage, rig.clock, rig.loads(), force)

        lane = more.get("lane", LANE)
        return land_window(rig, self.chance, source, window, run, life, looks, lane)

    def ids(self, lane: str = LANE) -> list[int]:
        return [row["id"] for row in self.rig.records(lane)]


def body(number: int) -> bytes:
    return b"broken" if number % 13 == 12 else json.dumps({"id": number}).encode()


def minutes(low: float, high: float) -> Window:
    return Window(BEGIN + timedelta(minutes=low), BEGIN + timedelta(minutes=high))


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """A local AWS that enforces IAM."""
    with LocalAws(tmp_path_factory.mktemp("account")) as local:
        yield local


@pytest.fixture
def reading(stream_rig: Callable[..., Rig], kafka: Broker) -> Callable[..., Reading]:
    def make(*partitions: int, seed: int = 0, **settings: Any) -> Reading:
        rig = stream_rig("kafka", **settings)
        rig.clock.moment = BEGIN + timedelta(hours=5)
        names = [
            kafka.create_topic(f"{rig.config.raw_bucket}-{n}", count)
            for n, count in enumerate(partitions or (1,))
        ]
        told = Kafka(
            topics=tuple(names),
            servers=(kafka.bootstrap,),
            login="scramSha512",
            secret="${SECRET:login}",
            authority="${SECRET:authority}",
        )
        rig.config = replace(rig.config, stream=replace(rig.config.stream, kafka=told))
        secrets = {
            "login": {"username": kafka.user, "password": kafka.password},
            "authority": {"certificate": kafka.ca_pem},
        }
        return Reading(rig, kafka, random.Random(seed), secrets)

    return make


def test_twenty_rounds_of_death_land_each_record_of_windows_that_meet_once(
    reading: Callable[..., Reading],
) -> None:
    found = reading(3, 1)
    found.use(login="none", secret=None, authority=None, servers=(found.broker.plaintext,))
    chance = found.chance
    places = [(name, n) for name, count in zip(found.kafka.topics, (3, 1), strict=True)
              for n in range(count)]  # fmt: skip
    for number in range(60):
        topic, partition = chance.choice(places)
        found.put(number, topic, partition, codec=CODECS[number % len(CODECS)])
    admin = found.broker.admin()
    groups = admin.list_consumer_groups().result(10).valid
    times = [BEGIN + timedelta(minutes=number) for number in range(61)]
    deaths = 0
    for landed in land_rounds(found.land, found.rig, chance, times, 12):
        assert held(found.rig, landed) == wanted(landed)
        deaths += landed.deaths
    assert deaths > ROUNDS
    # Neither the source's own place nor a consumer group has moved.
    assert found.rig.table.get(source_pk(found.rig.config.id), CHECKPOINT) is None
    assert len(admin.list_consumer_groups().result(10).valid) == len(groups)


def test_a_record_is_known_by_what_lambda_knows_it_by(reading: Callable[..., Reading]) -> None:
    found = reading(2, metadata=True)
    (topic,) = found.kafka.topics
    found.put(0, topic, 1, key=b"k", headers=[("kind", b"\xff"), ("none", None)])
    found.put(1, topic, 1, key=b"k", value=None)
    found.put(12, topic, 1)
    found.land(minutes(0, 60))
    first, gone = found.rig.records(LANE)
    at = iso(BEGIN)
    assert first["_stream"] == {
        "topic": topic,
        "partition": 1,
        "offset": 0,
        "time": at,
        "key": "k",
        "headers": [{"name": "kind", "value": "base64:/w=="}, {"name": "none", "value": None}],
    }
    assert gone["_stream"]["tombstone"] is True and gone["_stream"]["offset"] == 1
    (bad,) = found.rig.quarantined()
    assert bad["reason"].startswith(f"partition 1 of the topic {topic}, offset 2: ")


def test_what_a_transaction_took_back_is_not_landed_and_its_markers_end_a_window(
    reading: Callable[..., Reading],
) -> None:
    found = reading()
    (topic,) = found.kafka.topics
    producer = Producer({**found.broker.client(), "transactional.id": topic})
    producer.init_transactions(20)
    # A marker is as old as the transaction's end: such a window is one of now.
    now = datetime.now(UTC)
    found.rig.clock.moment = now + timedelta(hours=2)
    for number, keeps in ((0, True), (1, False), (2, True), (3, False)):
        producer.begin_transaction()
        producer.produce(topic, body(number))
        (producer.commit_transaction if keeps else producer.abort_transaction)(20)
    window = Window(now - timedelta(hours=1), now + timedelta(hours=1))
    assert found.land(window).complete
    assert found.ids() == [0, 2]


def test_a_window_whose_beginning_is_dropped_is_refused_unless_the_rest_is_wanted(
    reading: Callable[..., Reading],
) -> None:
    found = reading()
    (topic,) = found.kafka.topics
    for number in range(4):
        found.put(number, topic, 0)
    admin = found.broker.admin()  # its answers end with it
    admin.delete_records([TopicPartition(topic, 0, 2)])[TopicPartition(topic, 0)].result(10)
    with pytest.raises(NoLongerKept, match=r"before offset 2 are dropped.*is of"):
        found.land(minutes(0, 60))
    assert found.land(minutes(3, 60), "b", lane="clicks/b").complete
    assert found.land(minutes(0, 60), "c", lane="clicks/c", force=True).complete
    assert (found.ids("clicks/b"), found.ids("clicks/c")) == ([3], [2, 3])


def test_an_empty_window_lands_nothing_and_is_done(reading: Callable[..., Reading]) -> None:
    found = reading(2)
    landed = found.land(minutes(0, 60))
    assert (landed.rows, landed.complete) == (0, True)


def test_brokers_that_fall_silent_are_told(
    reading: Callable[..., Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = reading()
    (topic,) = found.kafka.topics
    found.put(0, topic, 0)
    monkeypatch.setattr(topics, "SILENT_SECONDS", -1.0)
    monkeypatch.setattr(brokers.Brokers, "read", lambda _: {})
    with pytest.raises(SourceUnavailable, match="give nothing from offset 0 on"):
        found.land(minutes(0, 60))


@pytest.mark.parametrize("login", ["scramSha512", "scramSha256", "plain", "none"])
def test_every_login_of_self_managed_brokers_is_taken(
    login: Any, reading: Callable[..., Reading]
) -> None:
    found = reading()
    if login == "none":
        found.use(login="none", secret=None, authority=None, servers=(found.broker.plaintext,))
    else:
        found.use(login=login)
    with found.connect() as connected:
        assert len(connected.partitions(found.kafka.topics[0])) == 1


class Msk:
    """Amazon MSK, which knows these listeners."""

    def __init__(self, **listeners: str) -> None:
        self.listeners = listeners

    def get_bootstrap_brokers(self, **_: Any) -> Any:
        return {f"BootstrapBrokerString{name}": server for name, server in self.listeners.items()}


@pytest.mark.parametrize("locked", [False, True], ids=["open key", "key with a password"])
def test_brokers_that_want_a_certificate_are_shown_the_secrets(
    locked: bool, reading: Callable[..., Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "CONNECT_SECONDS", 2.0)
    found = reading(2)
    topic = found.kafka.topics[0]
    found.put(0, topic, 1)
    shown = found.broker.client_certificate
    if locked:
        key = load_pem_private_key(shown["privateKey"].encode(), None)
        sealed = BestAvailableEncryption(b"of the key")
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed).decode()
        shown |= {"privateKey": text, "privateKeyPassword": "of the key"}
    found.secrets["login"] = shown
    found.use(login="mtls", servers=(found.broker.mutual,))
    assert found.land(minutes(0, 60)).complete
    assert found.ids() == [0]
    # The broker looks at it: without one it takes nobody.
    found.use(login="none")
    with pytest.raises((SourceUnauthorized, SourceUnavailable)):
        found.connect()
    if locked:
        found.use(login="mtls")
        found.secrets["login"] = shown | {"privateKeyPassword": "another"}
        with pytest.raises(SecretMissing, match="its password is wrong") as raised:
            found.connect()
        assert "another" not in str(raised.value)


def test_brokers_of_msk_are_entered_by_certificate_and_by_password(
    reading: Callable[..., Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = reading(2)
    found.put(0, found.kafka.topics[0], 1)
    # In the place of the public authority that MSK's certificates are of.
    monkeypatch.setenv("SSL_CERT_FILE", str(found.broker.ca_file))
    found.msk = Msk(SaslScram=found.broker.bootstrap, Tls=found.broker.mutual)
    found.secrets["certificate"] = found.broker.client_certificate
    arn = "arn:aws:kafka:eu-central-1:111122223333:cluster/shop/0f0e0d0c-1"
    found.use(cluster=arn, servers=(), authority=None)
    assert found.land(minutes(0, 60), "a", lane="clicks/a").complete
    found.use(login="mtls", secret="${SECRET:certificate}")
    assert found.land(minutes(0, 60), "b", lane="clicks/b").complete
    assert found.ids("clicks/a") == found.ids("clicks/b") == [0]


def test_brokers_of_msk_are_entered_by_the_functions_role_as_far_as_its_policies_let_it(
    reading: Callable[..., Reading], account: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = reading(2)
    topic = found.kafka.topics[0]
    found.put(0, topic, 1)
    arn = found.broker.declare_msk(account.admin_session(), "shop")
    topics = f"{arn.replace(':cluster/', ':topic/')}/{topic}"
    enter, find = ("kafka-cluster:Connect", arn), ("kafka:GetBootstrapBrokers", arn)
    # In the place of the public authority that MSK's certificates are of.
    monkeypatch.setenv("SSL_CERT_FILE", str(found.broker.ca_file))
    found.use(login="iam", cluster=arn, servers=(), secret=None, authority=None)

    def become(*may: tuple[str, str]) -> None:
        """A function whose role may do this."""
        allowed = [{"Effect": "Allow", "Action": act, "Resource": on} for act, on in may]
        keys = account.principal({"Statement": allowed})
        found.msk = account.session(keys).client("kafka")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["aws_access_key_id"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["aws_secret_access_key"])
        monkeypatch.setenv("AWS_DEFAULT_REGION", keys["region_name"])

    describe, read = [(f"kafka-cluster:{one}", topics) for one in ("DescribeTopic", "ReadData")]
    become(find, enter, describe, read)
    assert found.land(minutes(0, 60)).complete
    assert found.ids() == [0]
    become(find, describe, read)
    with pytest.raises(SourceUnauthorized, match="do not take the login"):
        found.connect()
    become(find, enter)
    with pytest.raises(SourceNotFound, match="the login may not see it"):
        found.land(minutes(0, 60), "again", lane="clicks/again")
    become(find, enter, describe)
    with pytest.raises(SourceForbidden, match="Describe and Read"):
        found.land(minutes(0, 60), "again", lane="clicks/again")
    become(enter, describe, read)
    with pytest.raises(SourceForbidden, match="kafka:GetBootstrapBrokers"):
        found.connect()
    found.msk = Msk(SaslIam=found.broker.iam)
    found.use(login="scramSha512")
    with pytest.raises(ConfigInvalid, match="no brokers that take the login scramSha512"):
        found.connect()


CASES: dict[str, tuple[dict[str, Any], type[WeirError], str]] = {
    "key": ({"login": {"username": "u"}}, SecretMissing, "login#password"),
    "no PEM": ({"authority": {"certificate": "secret text"}}, SecretMissing, "no PEM"),
}


@pytest.mark.parametrize("case", CASES)
def test_secrets_that_do_not_fit_are_told_without_their_values(
    case: str, reading: Callable[..., Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "CONNECT_SECONDS", 2.0)
    secrets, kind, why = CASES[case]
    found = reading()
    found.secrets |= secrets
    with pytest.raises(kind, match=why) as raised:
        found.connect()
    assert "secret text" not in str(raised.value)


def test_a_wrong_password_is_told_as_such_each_time_though_brokers_close_as_they_answer(
    reading: Callable[..., Reading],
) -> None:
    found = reading()
    found.secrets["login"] = {"username": "u", "password": "not this one"}
    for _ in range(5):
        with pytest.raises(SourceUnauthorized, match=r"kafka\.auth") as raised:
            found.connect()
        assert "not this one" not in str(raised.value)


def test_brokers_are_connected_to_only_where_the_platform_allows(
    reading: Callable[..., Reading],
) -> None:
    found = reading()
    found.egress = Egress()
    with pytest.raises(EgressRefused, match="loopback"):
        found.connect()
    found.egress = replace(HERE, hosts=("kafka.example.com",))
    with pytest.raises(EgressRefused, match="none of the hosts"):
        found.connect()
    # The one that is named first may be reached, but says that the others are elsewhere.
    found.use(login="none", secret=None, authority=None, servers=(found.broker.plaintext,))
    found.egress = replace(HERE, hosts=("localhost",))
    found.use(servers=(found.broker.plaintext.replace("127.0.0.1", "localhost"),))
    with pytest.raises(EgressRefused, match=r"127.0.0.1 is none of the hosts"):
        found.land(minutes(0, 60))


def test_brokers_of_a_strange_authority_and_topics_that_are_not_there_are_told(
    reading: Callable[..., Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "CONNECT_SECONDS", 1.0)
    found = reading()
    found.use(authority=None)
    with pytest.raises(SourceUnavailable, match="certificate"):
        found.connect()
    found.use(servers=("localhost:1",))
    with pytest.raises(SourceUnavailable, match="network: vpc"):
        found.connect()
    found.use(servers=(found.broker.bootstrap,), authority="${SECRET:authority}", topics=("no",))
    with pytest.raises(SourceNotFound, match="no such topic"):
        found.land(minutes(0, 60))


def test_errors_of_the_client_are_told_in_our_words(reading: Callable[..., Reading]) -> None:
    found = reading()
    with found.connect() as connected:
        for theirs, ours in (
            (brokers.errors.TopicAuthorizationFailedError, SourceForbidden),
            (brokers.errors.CorruptRecordError, SourceBadAnswer),
            (brokers.errors.OffsetOutOfRangeError, NoLongerKept),
        ):
            with pytest.raises(ours), connected._told():
                raise theirs
