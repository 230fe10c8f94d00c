"""Trust first, then any real mail taken apart."""

from __future__ import annotations

import base64
import email
import email.policy
import io
import re
import zipfile
from email.message import EmailMessage
from typing import Any

import py7zr
import pytest
import pyzipper
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_contract.sources import Email, Parsing, Trust
from weir_lambdas.email_processor.mail import NoMail, attachments, harmless, read
from weir_lambdas.email_processor.source import identity
from weir_lambdas.email_processor.trust import address_of, allowed, distrust, verdicts
from weir_lambdas.file_processor.source import ending_of, format_of
from weir_lambdas.file_processor.unpack import Unreadable

ALL = Trust(dmarc=True)


def config(**fields: Any) -> Email:
    return Email("b", "p/", **fields)


def names(mail: EmailMessage | bytes) -> list[str]:
    raw = mail if isinstance(mail, bytes) else mail.as_bytes()
    return [one.name for one in attachments(read(raw))]


def test_a_mail_that_passed_everything_is_trusted(mails: Any) -> None:
    letter, stored = mails
    assert distrust(read(stored(letter())), config(trust=ALL)) is None


@pytest.mark.parametrize("verdict", ["spf", "dkim", "dmarc", "spam", "virus"])
@pytest.mark.parametrize("said", ["fail", "none", "GRAY"])
def test_each_verdict_that_is_no_pass_is_the_reason(mails: Any, verdict: str, said: str) -> None:
    letter, stored = mails
    reason = distrust(read(stored(letter(), **{verdict: said})), config(trust=ALL))
    assert reason == f"{verdict} is {said.lower()} (trust.{verdict})"


def test_a_verdict_that_is_not_asked_for_does_not_count(mails: Any) -> None:
    letter, stored = mails
    assert distrust(read(stored(letter(), dmarc="fail")), config()) is None


def test_what_the_sender_wrote_about_itself_is_not_believed(mails: Any) -> None:
    letter, stored = mails
    forged = letter()
    forged["X-SES-Spam-Verdict"] = "PASS"
    forged["Authentication-Results"] = "amazonses.com; spf=pass; dkim=pass; dmarc=pass"
    assert verdicts(read(forged.as_bytes())).spam == ""
    assert verdicts(read(stored(forged, spf="fail", spam="FAIL"))).spf == "fail"
    assert verdicts(read(stored(forged, spam="FAIL"))).spam == "fail"


def test_senders_are_allowed_by_address_or_domain(mails: Any) -> None:
    letter, stored = mails
    mail = read(stored(letter()))
    assert distrust(mail, config(allowed_senders=("@Example.com",))) is None
    assert distrust(mail, config(allowed_senders=("bob@example.com",))) is not None
    assert not allowed("", ("@",)) and not allowed("x@sub.example.com", ("@example.com",))


@pytest.mark.parametrize(
    ("recipients", "taken"),
    [(("orders@weir.example",), True), (("Weir.example",), True), (("other@weir.example",), False)],
)
def test_the_envelopes_recipient_counts_and_not_what_the_sender_wrote(
    mails: Any, recipients: tuple[str, ...], taken: bool
) -> None:
    letter, stored = mails
    mail = letter()
    del mail["To"]
    mail["To"] = "other@weir.example"
    reason = distrust(read(stored(mail)), config(recipients=recipients))
    assert (reason is None) is taken


def test_two_senders_are_no_sender() -> None:
    mail = EmailMessage()
    mail["From"] = "a@x.org, b@example.com"
    assert address_of(mail) == ""
    assert address_of(read(b"From: a@x.org\r\nFrom: b@example.com\r\n\r\n")) == ""


def test_forwarded_mails_are_taken_apart_too(mails: Any) -> None:
    letter, _ = mails
    inner = letter(**{"inner.csv": b"a\n1\n"})
    outer = letter(**{"outer.csv": b"a\n2\n"})
    outer.add_attachment(inner)
    assert names(outer) == ["outer.csv", "inner.csv"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("attachment; filename*=UTF-8''%E2%82%AC%20rates.csv", "€ rates.csv"),
        ("attachment; filename*0=long-; filename*1=name.csv", "long-name.csv"),
        ('attachment; filename="=?utf-8?B?w7xiZXIuY3N2?="', "über.csv"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\temp\\\\x.csv"', "x.csv"),
        ("attachment", "unnamed"),
    ],
)
def test_names_are_read_as_they_were_meant_and_lead_nowhere(header: str, expected: str) -> None:
    body = base64.b64encode(b"a,b\n").decode()
    raw = (
        "From: a@b.c\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Disposition: {header}\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}\r\n"
    )
    assert names(raw.encode()) == [expected]


def test_inline_is_told_from_attached(mails: Any) -> None:
    letter, _ = mails
    mail = letter(**{"data.csv": b"a\n"})
    mail.add_attachment(b"png", "image", "png", filename="logo.png", disposition="inline")
    found = {one.name: one.inline for one in attachments(read(mail.as_bytes()))}
    assert found == {"data.csv": False, "logo.png": True}


def tnef(name: bytes, body: bytes) -> bytes:
    """A TNEF stream with one file ([MS-OXTNEF], 2.1.3)."""

    def attribute(level: int, number: int, data: bytes) -> bytes:
        head = bytes([level]) + number.to_bytes(4, "little") + len(data).to_bytes(4, "little")
        return head + data + (sum(data) % 65536).to_bytes(2, "little")

    return (
        (0x223E9F78).to_bytes(4, "little")
        + (1).to_bytes(2, "little")
        + attribute(1, 0x00089006, (0x00010000).to_bytes(4, "little"))
        + attribute(2, 0x00069002, b"\1\0" + b"\0" * 12)
        + attribute(2, 0x00018010, name + b"\0")
        + attribute(2, 0x0006800F, body)
    )


def test_files_in_winmail_dat_are_found(mails: Any) -> None:
    letter, _ = mails
    mail = letter(**{"winmail.dat": tnef(b"orders.csv", b"a\n1\n")})
    (found,) = attachments(read(mail.as_bytes()))
    assert (found.name, found.body) == ("orders.csv", b"a\n1\n")
    broken = letter(**{"winmail.dat": b"no tnef"})
    assert names(broken) == ["winmail.dat"]


def props(*values: tuple[int, int, bytes]) -> bytes:
    """Properties of an attachment: type, id, bytes ([MS-OXTNEF], 2.1.3.4)."""
    found = len(values).to_bytes(4, "little")
    for kind, number, body in values:
        found += kind.to_bytes(2, "little") + number.to_bytes(2, "little")
        found += (1).to_bytes(4, "little") + len(body).to_bytes(4, "little")
        found += body + b"\0" * (-len(body) % 4)
    return found


def outlook(*attributes: tuple[int, bytes]) -> bytes:
    found = (0x223E9F78).to_bytes(4, "little") + b"\1\0"
    for number, body in attributes:
        found += b"\2" + number.to_bytes(4, "little") + len(body).to_bytes(4, "little")
        found += body + b"\0\0"
    return found


def test_outlooks_long_names_are_taken_and_the_messages_within_opened(mails: Any) -> None:
    letter, _ = mails
    inner = outlook((0x00069002, b""), (0x0006800F, b"b"))
    long = (0x1F, 0x3707, "a long näme.csv\0".encode("utf-16-le"))
    message = (0x0D, 0x3701, b"\7" * 16 + inner)
    stream = outlook(
        (0x00069002, b""),
        (0x00018010, b"ALONGN~1.CSV\0"),
        (0x0006800F, b"a"),
        (0x00069005, props(long)),
        (0x00069002, b""),
        (0x00069005, props(message)),
    )
    mail = letter(**{"winmail.dat": stream})
    found = [(one.name, one.body) for one in attachments(read(mail.as_bytes()))]
    assert found == [("a long näme.csv", b"a"), ("unnamed", b"b")]


@pytest.mark.parametrize("cut", [5, 20, 40])
def test_outlooks_lengths_are_not_believed(mails: Any, cut: int) -> None:
    letter, _ = mails
    endless = outlook((0x00069002, b""), (0x00069005, b"\xff" * 4 + b"\x1e\0\1\x37" + b"\xff" * 40))
    assert names(letter(**{"winmail.dat": endless})) == ["winmail.dat"]
    assert names(letter(**{"winmail.dat": tnef(b"a.csv", b"x" * 50)[:-cut]})) == ["winmail.dat"]


@pytest.mark.parametrize(
    "header",
    [
        "Message-ID: <[",
        "Message-ID: <>",
        "From: <",
        "From: a:;",
        'From: "\\',
        "From: =?utf-8?q?",
        "Date: 30 Feb 99999 99:99:99 +9999",
        "MIME-Version: 1.Message-ID: <[0",
        "Content-Type: ;",
        "Content-Disposition: attachment; filename*0*=utf-8''%; filename*=x; filename*1=y",
        "Content-ID: <",
        "Content-Transfer-Encoding: =?",
    ],
)
def test_headers_that_nobody_can_parse_keep_no_attachment_away(mails: Any, header: str) -> None:
    letter, _ = mails
    name = re.escape(header.partition(":")[0].encode())
    body = re.sub(rb"(?im)^" + name + rb":.*\n", b"", letter(**{"a.csv": b"x"}).as_bytes(), count=1)
    read_back = read(f"{header}\n".encode() + body)
    assert distrust(read_back, config(allowed_senders=("@other.example",))) is not None
    identity(read_back, b"", list(attachments(read_back)))
    assert str(read_back.get("Message-ID", "")) is not None


def test_a_sender_can_not_write_its_own_verdicts_into_what_ses_repeats(mails: Any) -> None:
    letter, stored = mails
    raw = stored(letter(), dkim="fail", dmarc="fail").replace(
        b"client-ip=1.2.3.4;",
        b'client-ip=1.2.3.4; envelope-from="x; dkim=pass; dmarc=pass"@evil.example; helo=dkim=pass;',
    )
    found = verdicts(read(raw))
    assert (found.spf, found.dkim, found.dmarc) == ("pass", "fail", "fail")
    twice = stored(letter(), dmarc="fail").replace(b"; dmarc=fail", b"; dmarc=fail; dmarc=pass")
    assert verdicts(read(twice)).dmarc == "fail"


@pytest.mark.parametrize(
    "sender",
    ["ann@example.com <eve@evil.example>", "ann@example.com, eve@evil.example", "<", "a:;", "x"],
)
def test_a_sender_whom_two_parsers_see_differently_is_none(sender: str) -> None:
    mail = read(f"From: {sender}\nTo: b@x\n\n".encode())
    assert not allowed(address_of(mail), ("ann@example.com",))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"aWQKMQo=", b"id\n1\n"),
        (b"aWQKMQo", b"id\n1\n"),
        (b"aWQK\nMQo= \n", b"id\n1\n"),
        (b"aWQKMQ==CjI=", b"id\n1\n2"),
        (b"", b""),
        (b"aWQKM", None),
        (b"aWQK!MQo=", None),
        (b"aWQKMQo=\n--\nSent by a list (c)", None),
        (b"aWQK\xffMQo=", None),
    ],
)
def test_broken_base64_is_told_and_not_guessed(body: bytes, expected: bytes | None) -> None:
    mail = read(
        b"From: a@b\nContent-Type: text/csv; name=a.csv\nContent-Transfer-Encoding: base64\n\n"
        + body
    )
    (found,) = attachments(mail)
    assert found.body == (expected or b"")
    assert found.fault == ("" if expected is not None else "its base64 is damaged")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("text/csv", "unnamed.csv"), ("application/json", "unnamed.json"), ("image/png", "unnamed")],
)
def test_a_file_without_a_name_ends_as_its_type_says(kind: str, expected: str) -> None:
    assert names(f"From: a@b\nContent-Type: {kind}\n\nx\n".encode()) == [expected]


def test_mails_nested_without_end_are_refused() -> None:
    mail = EmailMessage()
    mail["From"] = "a@b.c"
    mail.set_content("x")
    for _ in range(30):
        outer = EmailMessage()
        outer["From"] = "a@b.c"
        outer.set_content("see below")
        outer.add_attachment(mail)
        mail = outer
    with pytest.raises(NoMail, match="nested"):
        names(mail)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    try:
        mail = read(raw)
    except NoMail:
        return
    for found in attachments(mail):
        assert found.name and "/" not in found.name
    verdicts(mail)
    address_of(mail)


LINES = st.sampled_from(
    [
        b"",
        b"--b",
        b"--b--",
        b"Content-Type: text/csv",
        b"Content-Transfer-Encoding: base64",
        b"Content-Type: multipart/mixed; boundary=b",
        b"Content-Type: message/rfc822",
        b" folded",
        b"QUJD",
        b"QUJDREVGR0hJ" * 6,
        b"\n".join([b"QUJDREVGR0hJ" * 6] * 9),
        b"\r\n".join([b"QUJDREVGR0hJ" * 5] * 8),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=30))
def test_a_mail_is_what_the_standard_library_reads(lines: list[tuple[bytes, bytes]]) -> None:
    raw = b"A: b\nContent-Type: multipart/mixed; boundary=b\n" + b"".join(map(b"".join, lines))
    expected = email.message_from_bytes(raw, policy=email.policy.default)

    def shape(mail: EmailMessage) -> list[Any]:
        return [
            (
                part.items(),
                None if part.is_multipart() else part.get_payload(),
                part.preamble,
                part.epilogue,
                [type(one) for one in part.defects],
            )
            for part in mail.walk()
        ]

    assert shape(read(raw)) == shape(expected)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_a_harmless_name_is_one_name(name: str) -> None:
    found = harmless(name)
    assert len(found) <= 200 and not set(found) & set('/\\\0\n<>:"|?*')
    assert found not in (".", "..")


def test_encrypted_archives_are_opened_with_the_stated_password(reading: Any) -> None:
    aes = io.BytesIO()
    with pyzipper.AESZipFile(aes, "w", encryption=pyzipper.WZ_AES) as archive:
        archive.setpassword(b"secret")
        archive.writestr("x.csv", b"a,b\n1,2\n")
    seven = io.BytesIO()
    with py7zr.SevenZipFile(seven, "w", password="secret") as packed:
        packed.writestr(b"a,b\n1,2\n", "x.csv")
    for body in (aes.getvalue(), seven.getvalue()):
        seen = reading(body, Parsing("auto"), name="x.zip", password="secret")
        assert seen.rows == [{"a": "1", "b": "2"}]
        with pytest.raises(Unreadable, match="no password is stated"):
            reading(body, Parsing("auto"))
        with pytest.raises(Unreadable, match="password") as caught:
            reading(body, Parsing("auto"), password="guess")
        assert "guess" not in str(caught.value)


def test_a_7z_bomb_is_stopped(reading: Any) -> None:
    file = io.BytesIO()
    with py7zr.SevenZipFile(file, "w") as packed:
        packed.writestr(b"\0" * (8 << 20), "x.csv")
    with pytest.raises(Unreadable, match="unfolds to more than"):
        reading(file.getvalue(), Parsing("auto", max_bytes=1 << 20))


def test_a_plain_zip_opens_whatever_the_password(reading: Any) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.csv", "a\n1\n")
    assert reading(file.getvalue(), Parsing("csv"), password="x").rows == [{"a": "1"}]


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a/B.CSV.gz", ".csv"), ("x.tar", ".tar"), (".hidden", ""), ("none", ""), ("a.b/c", "")],
)
def test_endings_are_told_below_the_packing(name: str, ending: str) -> None:
    assert ending_of(name) == ending
    if ending != ".csv":
        with pytest.raises(Unreadable, match="state it"):
            format_of("auto", name)
