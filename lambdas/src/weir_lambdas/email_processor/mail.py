"""Any real mail taken apart: nested, forwarded, wrongly encoded, packed by Outlook."""

from __future__ import annotations

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

MAX_DEPTH = 20
"""Mails within mails; real ones have two or three."""

MAX_ATTACHMENTS = 1_000
TNEF_TYPES = ("application/ms-tnef", "application/vnd.ms-tnef")
TEXT_TYPES = ("text/plain", "text/html")


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


KEPT_HEADERS = 256
"""The library parses a header whenever it is asked for; so many are kept, which makes a mail's own
be parsed once."""

POLICY = email.policy.default.clone(header_factory=lru_cache(KEPT_HEADERS)(_Headers()))


class NoMail(Exception):
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
    """

    name: str
    body: bytes
    inline: bool


def read(raw: bytes) -> EmailMessage:
    """A mail's headers and parts (RFC 5322, RFC 2045).

    Raises
    ------
    NoMail
        It has no headers at all.
    """
    shrunk, cut = _without_runs(raw)
    parser = BytesFeedParser(EmailMessage, policy=POLICY)
    parser.feed(shrunk)
    mail = parser.close()
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
    if kind in TNEF_TYPES or name.lower() == "winmail.dat":
        yield from _outlook(body, name)
    elif kind == "message/rfc822" or (name.lower().endswith(".eml") and body):
        # A mail that was attached as a file, with a transfer encoding that keeps it from being
        # taken apart with the rest (RFC 2046, 5.2.1 forbids it, senders do it all the same).
        yield from attachments(read(body), depth + 1)
    else:
        inline = disposition == "inline" or (not disposition and bool(part.get("Content-ID")))
        yield Attachment(name or "unnamed", body, inline)


def _bytes(part: Message) -> bytes:
    try:
        body = part.get_payload(decode=True)
    except (ValueError, LookupError, email.errors.MessageError):
        return b""
    return body if isinstance(body, bytes) else b""


def _outlook(body: bytes, name: str) -> Iterator[Attachment]:
    """The files in a TNEF stream ([MS-OXTNEF]); one that can't be read comes as it is."""
    from tnefparse import TNEF

    try:
        stream = TNEF(body, do_checksum=False)
        found = [(_text(one.long_filename() or one.name), one.data) for one in stream.attachments]
    except Exception as error:  # noqa: BLE001 - the parser raises what its bytes make it trip over
        del error
        yield Attachment(name or "winmail.dat", body, False)
        return
    for title, data in found:
        yield Attachment(harmless(title) or "unnamed", bytes(data), False)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def file_name(part: Message) -> str:
    """The name that a part has (RFC 2183, RFC 2231, and RFC 2047 where it does not belong), made
    harmless; empty where it has none."""
    try:
        found = part.get_filename()
    except (ValueError, LookupError, IndexError, email.errors.MessageError):
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
