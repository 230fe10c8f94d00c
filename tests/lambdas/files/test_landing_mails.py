"""From stored mails to committed manifests."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any

import pytest

from lambdas.files.test_landing_files import SOURCE, Died, Dying, Rig
from weir_contract.rows import RowContract
from weir_contract.sources import Email, Files, Parsing, SourceConfig
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.common.state import Table, Update
from weir_lambdas.common.storage import Storage
from weir_lambdas.email_processor.source import MailSource
from weir_lambdas.file_processor.arrivals import sweep, watched
from weir_lambdas.file_processor.reading import Located
from weir_lambdas.landing.land import Lander, Landing


class Post(Rig):
    """One source of mails on the local AWS."""

    def deliver(self, name: str, raw: bytes) -> None:
        self.ledger.arrive(self.upload(f"mail/{name}", raw), datetime.now(UTC))

    def land(self, run: str, s3: Any = None, looks: int = 1_000_000_000) -> Landing:
        storage, clock = Storage(self.s3), SystemClock()
        secrets = Secrets(None, {}, clock)
        source = MailSource(self.config, self.s3, storage, self.ledger, secrets)
        left = chain(repeat(600.0, looks), repeat(5.0))
        return Lander(self.config, source, self.table, storage, clock, lambda: next(left)).land(
            run, None, None
        )

    def states(self) -> list[tuple[str, str]]:
        return [(file.state, file.reason) for one in self.manifests() for file in one.files]


@pytest.fixture
def post(aws: Callable[[str], Any], new_bucket: Callable[[], str], table: Table) -> Post:
    raw = new_bucket()
    config = SourceConfig(
        platform="default",
        namespace="shop",
        name="orders",
        raw_bucket=raw,
        state_table=table.name,
        contract=RowContract(),
        quarantine_bucket=new_bucket(),
        files=Files(raw),
        email=Email(raw, "mail/", patterns=("*.csv", "*.xlsx", "*.pdf", "*.json")),
    )
    return Post(aws("s3"), table, config)


def test_attachments_become_rows_and_the_rest_of_the_mail_does_not(post: Post, mails: Any) -> None:
    letter, stored = mails
    mail = letter(**{"a.csv": b"id\n1\n2\n", "logo.png": b"png", "b.json": b'[{"id": "3"}]'})
    post.deliver("1", stored(mail))
    assert post.land("r1").rows == 3
    assert sorted(row["id"] for row in post.records()) == ["1", "2", "3"]
    assert post.states() == [("landed", "")]


def test_a_mail_that_is_not_trusted_goes_to_quarantine_with_the_reason(
    post: Post, mails: Any
) -> None:
    letter, stored = mails
    post.deliver("1", stored(letter(**{"a.csv": b"id\n1\n"}), virus="FAIL"))
    assert post.land("r1").rows == 0
    assert post.states() == [("rejected", "virus is fail (trust.virus)")]
    (row,) = post.quarantined()
    assert row["reason"] == "mail/1: virus is fail (trust.virus)"
    assert row["record"].startswith("s3://")


def test_a_mail_twice_lands_once_by_its_message_id(post: Post, mails: Any) -> None:
    letter, stored = mails
    post.deliver("1", stored(letter(**{"a.csv": b"id\n1\n"})))
    again = letter(**{"a.csv": b"id\n1\n"})
    again["Received"] = "from elsewhere by another way"
    post.deliver("2", stored(again))
    changed = letter(**{"a.csv": b"id\n2\n"})
    post.deliver("3", stored(changed))
    post.land("r1")
    assert [state for state, _ in post.states()] == ["landed", "duplicate", "landed"]
    assert [row["id"] for row in post.records()] == ["1", "2"]


def test_of_two_mails_taken_at_once_the_later_is_the_duplicate(post: Post, mails: Any) -> None:
    letter, stored = mails
    slow = "".join(f"{number}\n" for number in range(50_000))
    post.deliver("1", stored(letter(**{"a.csv": b"id\n" + slow.encode()})))
    for name in ("2", "3", "4"):
        post.deliver(name, stored(letter(**{"a.csv": b"id\n" + slow.encode()})))
    assert post.land("r1").rows == 50_000
    assert [state for state, _ in post.states()] == ["landed", *["duplicate"] * 3]


def test_twenty_rounds_of_death_repeats_and_disorder_land_every_mail_once(
    post: Post, mails: Any
) -> None:
    letter, stored = mails
    chance = random.Random(11)
    expected: set[str] = set()
    sent: list[tuple[Located, bytes]] = []
    for round_ in range(20):
        for number in range(chance.randint(1, 3)):
            ids = [f"{round_}-{number}-{row}" for row in range(chance.randint(1, 9))]
            expected |= set(ids)
            mail = letter(**{"a.csv": ("id\n" + "\n".join(ids[:4])).encode()})
            rest = json.dumps([{"id": one} for one in ids[4:]]).encode()
            mail.add_attachment(rest, maintype="application", subtype="json", filename="b.json")
            mail.replace_header("Message-ID", f"<{round_}-{number}@example.com>")
            raw = stored(mail)
            sent.append((post.upload(f"mail/{round_}-{number}", raw), raw))
        again = chance.choice(sent)[1]
        sent.append((post.upload(f"mail/{round_}-again", again), again))
        events = [*chance.sample(sent, min(3, len(sent))), *sent[-4:]]
        chance.shuffle(events)
        for located, _ in events:
            post.arrive(located)
        left = [chance.randint(1, 16)]
        db = Dying(post.table._db, left, chance.random() < 0.5)
        dying = Post(
            Dying(post.s3, left, chance.random() < 0.5), Table(db, post.table.name), post.config
        )
        try:
            dying.land(f"run-{round_}", looks=chance.choice([1, 2, 1000]))
        except Died:
            pass
        post.table.update(
            f"SOURCE#{SOURCE}", "CHECKPOINT", Update("SET lease_until = :zero", {"zero": 0})
        )
    for located, _ in sent:
        post.arrive(located)
    while not post.land("last").complete:
        pass
    assert list(post.ledger.waiting()) == []
    landed = [row["id"] for row in post.records()]
    assert len(landed) == len(set(landed)) == len(expected)
    assert set(landed) == expected


def test_a_broken_attachment_goes_to_quarantine_alone(post: Post, mails: Any) -> None:
    letter, stored = mails
    post.deliver("1", stored(letter(**{"bad.json": b"{", "good.csv": b"id\n1\n"})))
    post.land("r1")
    assert [row["id"] for row in post.records()] == ["1"]
    assert post.states() == [("landed", "")]
    (row,) = post.quarantined()
    assert row["reason"].startswith("mail/1, bad.json: it is no JSON")


def test_stored_attachments_have_a_record_each(post: Post, mails: Any) -> None:
    letter, stored = mails
    email = replace(post.config.email, parsing=Parsing("stored"))  # type: ignore[type-var]
    object.__setattr__(post.config, "email", email)
    post.deliver("1", stored(letter(**{"in/voice.pdf": b"%PDF-1.7"})))
    post.land("r1")
    (record,) = post.records()
    assert (record["name"], record["sender"], record["subject"], record["sent"]) == (
        "voice.pdf",
        "ann@example.com",
        "Orders",
        "2026-01-02T02:04:05.000Z",
    )
    body = post.s3.get_object(Bucket=record["bucket"], Key=record["key"])["Body"].read()
    assert body == b"%PDF-1.7" and record["bytes"] == 8


def test_what_is_no_mail_is_rejected(post: Post) -> None:
    post.deliver("1", b"\r\njust text")
    post.land("r1")
    assert post.states()[0][0] == "rejected"


def test_a_mail_that_cannot_be_taken_apart_keeps_no_other_away(post: Post, mails: Any) -> None:
    letter, stored = mails
    many = letter(**{f"{number}.txt": b"x" for number in range(1_001)})
    post.deliver("1", stored(many))
    other = letter(**{"a.csv": b"id\n1\n"})
    post.deliver("2", stored(other))
    assert post.land("r1").rows == 1
    assert sorted(post.states()) == [
        ("landed", ""),
        ("rejected", "it carries more than 1000 files"),
    ]


def test_an_attached_mail_that_is_none_keeps_no_other_attachment_away(
    post: Post, mails: Any
) -> None:
    letter, stored = mails
    email = replace(post.config.email, patterns=())  # type: ignore[type-var]
    object.__setattr__(post.config, "email", email)
    post.deliver("1", stored(letter(**{"notes.eml": b"\n\n", "a.csv": b"id\n1\n"})))
    assert post.land("r1").rows == 1
    (row,) = post.quarantined()
    assert row["reason"] == "mail/1, notes.eml: it has no headers: this is no mail"


def test_a_line_of_an_attachment_is_told_with_its_mail_file_and_member(
    post: Post, mails: Any
) -> None:
    letter, stored = mails
    email = replace(post.config.email, patterns=())  # type: ignore[type-var]
    object.__setattr__(post.config, "email", email)
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("a.csv", b"a,b\n1,2\n3\n")
    post.deliver("1", stored(letter(**{"b.csv": b"a,b\n1\n", "c.zip": body.getvalue()})))
    post.land("r1")
    assert sorted(row["reason"] for row in post.quarantined()) == [
        "mail/1, b.csv, line 2: 1 fields instead of 2",
        "mail/1, c.zip, a.csv, line 3: 1 fields instead of 2",
    ]


def test_what_ses_tries_a_new_rule_with_is_no_mail(post: Post) -> None:
    setup = "mail/AMAZON_SES_SETUP_NOTIFICATION"
    post.upload(setup, b"Subject: Amazon SES Setup Notification\r\n\r\nHello")
    assert post.config.email is not None
    place = Files(post.config.email.bucket, post.config.email.prefix)
    assert sweep(post.s3, post.ledger, place) == 0
    assert not watched(setup, "mail/", "")
    assert watched("mail/another", "mail/", "")
