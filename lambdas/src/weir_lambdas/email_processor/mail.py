"""Any real mail taken apart: nested, forwarded, wrongly encoded, packed by Outlook."""

from __future__ import annotations

import binascii
import email.errors
import email.policy
import re
import secrets
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from email.headerregistry import BaseHeader, HeaderRegistry
from email.message import EmailMessage, Message
from email.parser import BytesFeedParser
from functools import lru_cache
from typing import cast

from weir_lambdas.email_processor.tnef import NoTnef, files
from weir_lambdas.file_processor.unpack import Unreadable

MAX_DEPTH = 20
"""Mails within mails; real ones have two or three."""

MAX_ATTACHMENTS = 1_000
TNEF_TYPES = ("application/ms-tnef", "application/vnd.ms-tnef")
TEXT_TYPES = ("text/plain", "text/html")
ENDINGS = {
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "text/xml": ".xml",
    "application/xml": ".xml",
    "application/json": ".json",
    "application/x-ndjson": ".jsonl",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
}
"""Type -> ending of a file to which its sender, a machine mostly, has given no name."""


class _Headers(HeaderRegistry):
    """The standard library's headers, with one class for each name and not one for each header."""

    def __init__(self) -> None:
        super().__init__()
        self._classes: dict[str, type[BaseHeader]] = {}

    def __getitem__(self, name: str) -> type[BaseHeader]:
        lower = name.lower()
        if lower not in self._classes:
            if len(self._classes) >= KEPT_HEADERS:
                return super().__getitem__(name)
            self._classes[lower] = super().__getitem__(name)
        return self._classes[lower]

    def __call__(self, name: str, value: str) -> BaseHeader:
        try:
            return super().__call__(name, value)
        except Exception:  # noqa: BLE001 - the library's parsers trip over what senders write
            return cast("BaseHeader", _AsWritten(name, value))


class _AsWritten(str):
    """A header that can't be parsed, as its text."""

    max_count = None

    def __new__(cls, name: str, value: str) -> _AsWritten:
        found = super().__new__(cls, " ".join(value.split()))
        found.name = name
        return found

    name: str
    defects: tuple[Exception, ...] = ()

    def fold(self, **_: object) -> str:
        """As one line."""
        return f"{self.name}: {self}\n"


KEPT_HEADERS = 256
"""The library parses a header whenever it is asked for; so many are kept, which makes a mail's own
be parsed once."""

POLICY = email.policy.default.clone(header_factory=lru_cache(KEPT_HEADERS)(_Headers()))


class NoMail(Unreadable):
    """What was stored is no mail that can be taken apart. The text is for people."""


@dataclass(frozen=True)
class Attachment:
    """One file that a mail carries.

    Parameters
    ----------
    name
        Without any folder, made harmless; never empty.
    inline
        Whether it is shown within the mail and was not attached to it.
    fault
        Why its bytes are not those that were sent; empty: they are.
    """

    name: str
    body: bytes
    inline: bool
    fault: str = ""


def read(raw: bytes) -> EmailMessage:
    """A mail's headers and parts (RFC 5322, RFC 2045).

    Raises
    ------
    NoMail
        It has no headers at all, or the parser trips over it.
    """
    shrunk, cut = _without_runs(raw)
    parser = BytesFeedParser(EmailMessage, policy=POLICY)
    try:
        parser.feed(shrunk)
        mail = parser.close()
    except Exception as error:
        raise NoMail(f"it can't be taken apart ({type(error).__name__})") from error
    if cut:
        _put_back(mail, cut)
    if not mail.keys():
        raise NoMail("it has no headers: this is no mail")
    return mail


_RUN = re.compile(rb"^(?:[A-Za-z0-9+/]{60,996}+\r?\n){8,}+", re.MULTILINE)
"""Lines as base64 has them. None of them can be a header, a boundary or an empty line."""


def _without_runs(raw: bytes) -> tuple[bytes, dict[str, str]]:
    """A mail with one line in place of each long run of base64, and what those lines stand for.

    The parser goes by lines, in Python, and nothing within such a run tells it anything: a mail with
    a large attachment is parsed many times as fast without.
    """
    word, cut = secrets.token_hex(16), dict[str, str]()

    def line(run: re.Match[bytes]) -> bytes:
        name, body = f"{word}{len(cut):08x}", run[0].rstrip(b"\r\n")
        cut[name] = body.decode("ascii")
        return name.encode() + run[0][len(body) :]

    return _RUN.sub(line, raw), cut


def _put_back(mail: Message, cut: dict[str, str]) -> None:
    names = re.compile("|".join(map(re.escape, cut)))

    def whole(text: str) -> str:
        return names.sub(lambda name: cut[name[0]], text)

    for part in mail.walk():
        if isinstance(body := part.get_payload(), str):
            part.set_payload(whole(body))
        part.preamble, part.epilogue = (
            whole(text) if text else text for text in (part.preamble, part.epilogue)
        )


def attachments(mail: Message, depth: int = 0) -> Iterator[Attachment]:
    """Every file of a mail in its order, of forwarded mails and of winmail.dat too.

    Raises
    ------
    NoMail
        It is nested too deeply or carries too many files.
    """
    count = 0
    for part, level in _leaves(mail, depth):
        for found in _of_part(part, level):
            count += 1
            if count > MAX_ATTACHMENTS:
                raise NoMail(f"it carries more than {MAX_ATTACHMENTS} files")
            yield found


def _leaves(part: Message, depth: int) -> Iterator[tuple[Message, int]]:
    if depth > MAX_DEPTH:
        raise NoMail(f"it is nested more than {MAX_DEPTH} deep")
    if part.is_multipart():
        for child in part.get_payload():
            if isinstance(child, Message):
                yield from _leaves(child, depth + 1)
        return
    yield part, depth


def _of_part(part: Message, depth: int) -> Iterator[Attachment]:
    name, kind = file_name(part), part.get_content_type()
    disposition = (part.get_content_disposition() or "").lower()
    if not name and disposition != "attachment" and (kind in TEXT_TYPES or not _bytes(part)):
        return
    body = _bytes(part)
    shown = name or f"unnamed{ENDINGS.get(kind, '')}"
    inline = disposition == "inline" or (not disposition and bool(part.get("Content-ID")))
    if body is None:
        yield Attachment(shown, b"", inline, "its base64 is damaged")
    elif kind in TNEF_TYPES or name.lower() == "winmail.dat":
        yield from _outlook(body, name)
    elif kind == "message/rfc822" or (name.lower().endswith(".eml") and body):
        # A mail that was attached as a file, with a transfer encoding that keeps it from being
        # taken apart with the rest (RFC 2046, 5.2.1 forbids it, senders do it all the same).
        try:
            forwarded = read(body)
        except NoMail as error:
            yield Attachment(shown, body, inline, str(error))
        else:
            yield from attachments(forwarded, depth + 1)
    else:
        yield Attachment(shown, body, inline)


def _bytes(part: Message) -> bytes | None:
    """A part's bytes; None where they were damaged on their way."""
    if str(part.get("Content-Transfer-Encoding", "")).strip().lower() == "base64":
        return _unbase64(part.get_payload())
    try:
        body = part.get_payload(decode=True)
    except (ValueError, LookupError, email.errors.MessageError):
        return b""
    return body if isinstance(body, bytes) else b""


_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]+=*)*+")


def _unbase64(payload: object) -> bytes | None:
    """The standard library drops what is no base64, and goes on with what comes out of it. Some
    mailers put several pieces one after another, each with its padding, or leave out the last one's."""
    if not isinstance(payload, str):
        return b""
    try:
        text = b"".join(payload.encode("ascii").split())
        if not _BASE64.fullmatch(text):
            return None
        if b"=" not in text.rstrip(b"="):
            return _piece(text.rstrip(b"="))
        return b"".join(map(_piece, re.findall(rb"[^=]+", text)))
    except ValueError:
        return None


def _piece(text: bytes) -> bytes:
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4))


def _outlook(body: bytes, name: str) -> Iterator[Attachment]:
    """The files in a TNEF stream; one that can't be read comes as it is."""
    try:
        found = list(files(body))
    except NoTnef:
        yield Attachment(name or "winmail.dat", body, False)
        return
    for one in found:
        yield Attachment(harmless(one.name) or "unnamed", one.body, False)


def file_name(part: Message) -> str:
    """The name that a part has (RFC 2183, RFC 2231, and RFC 2047 where it does not belong), made
    harmless; empty where it has none."""
    try:
        found = part.get_filename()
    except Exception:  # noqa: BLE001 - the library trips over pieces of RFC 2231 in disorder
        found = None
    return harmless(_decoded(str(found))) if found else ""


def _decoded(text: str) -> str:
    """Encoded words that a sender has put into a parameter, as many do against RFC 2047, 5."""
    if "=?" not in text:
        return text
    from email.header import decode_header, make_header

    try:
        return str(make_header(decode_header(text)))
    except (ValueError, LookupError, email.errors.HeaderParseError):
        return text


_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/]')


def harmless(name: str) -> str:
    """A name without folders, control characters and direction marks, of at most 200 characters."""
    last = re.split(r"[\\/]", name)[-1]
    plain = "".join(one for one in last if unicodedata.category(one) not in ("Cc", "Cf", "Cs"))
    plain = _UNSAFE.sub("_", unicodedata.normalize("NFC", plain)).strip(" .")
    if len(plain) > 200:
        head, dot, ending = plain.rpartition(".")
        keep = f"{dot}{ending}" if dot and len(ending) <= 10 else ""
        plain = (head or plain)[: 200 - len(keep)] + keep
    return plain
