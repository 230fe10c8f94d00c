"""Mails in S3 as something that can be landed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from email.message import EmailMessage
from hashlib import sha256
from typing import Any

from weir_contract.manifest import LandedFile, Part
from weir_contract.moments import iso
from weir_contract.sources import SourceConfig
from weir_lambdas.common.errors import ConfigInvalid
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.common.storage import Storage
from weir_lambdas.email_processor.mail import Attachment, attachments, read
from weir_lambdas.email_processor.trust import address_of, distrust
from weir_lambdas.file_processor.arrived import (
    ArrivedSource,
    Begun,
    Taken,
    Taking,
    duplicate,
    rejected,
    superseded,
)
from weir_lambdas.file_processor.faults import judged
from weir_lambdas.file_processor.globs import matches
from weir_lambdas.file_processor.ledger import Ledger
from weir_lambdas.file_processor.output import Reject, TooManyRejects
from weir_lambdas.file_processor.reading import S3File, Superseded
from weir_lambdas.file_processor.source import ending_of, read_file
from weir_lambdas.file_processor.unpack import Unreadable
from weir_lambdas.landing.infer import Inference

MAX_MAIL_BYTES = 64 * 1024 * 1024
"""SES takes mails of 40 MB (SES Developer Guide, *Service quotas*); base64 is in that."""

STORED = (".pdf",)
"""Endings of what is stored and never parsed, where the format goes by the ending."""


@dataclass(frozen=True)
class Held:
    """An attachment's bytes as a file that can be read."""

    body: bytes
    failed: None = None

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """All of them, from one on."""
        yield self.body[start:]

    def seekable(self) -> io.BufferedReader:
        """As a file object."""
        return io.BufferedReader(io.BytesIO(self.body))


@dataclass
class Mail:
    """What came of one mail so far."""

    parts: tuple[Part, ...] = ()
    rejects: tuple[Reject, ...] = ()
    rows: int = 0


class MailSource(ArrivedSource):
    """Mails that SES or WorkMail has put into a bucket."""

    def __init__(
        self, config: SourceConfig, s3: Any, storage: Storage, ledger: Ledger, secrets: Secrets
    ) -> None:
        if config.email is None:
            raise ConfigInvalid("the source is no source of mails", config.id)
        super().__init__(config, config.email, s3, storage, ledger)
        self._email, self._secrets = config.email, secrets

    def take(self, file: LandedFile, source: S3File, taking: Taking, begun: Begun | None) -> Taken:
        """Take a mail apart: what is not trusted goes to quarantine whole, an attachment that can't
        be read goes there alone. A mail is never begun: one call is enough for it."""
        del begun
        located = source.located
        if located.size > MAX_MAIL_BYTES:
            return rejected(file, f"it is larger than {MAX_MAIL_BYTES} bytes")
        try:
            raw = b"".join(source.chunks())
        except Superseded:
            return superseded(file)
        except Unreadable as error:
            return rejected(file, str(error))
        try:
            with judged(source):
                mail = read(raw)
                reason = distrust(mail, self._email)
                if reason is not None:
                    return rejected(file, reason)
                carried = list(attachments(mail))
                content = sha256(identity(mail, raw, carried)).hexdigest()
        except Unreadable as error:
            return rejected(file, str(error))
        file = replace(file, sha256=content)
        twin = self.twin(content, located, taking)
        if twin is not None and self._email.duplicates == "skip":
            return duplicate(file, twin)
        found, inference = Mail(), Inference(self.config.contract)
        for number, attachment in enumerate(carried):
            if self._means(attachment):
                self._attachment(attachment, number, mail, file, taking, found, inference)
        landed = replace(file, rows=found.rows, rejected=len(found.rejects))
        return Taken(landed, found.parts, found.rejects, inference)

    def _means(self, attachment: Attachment) -> bool:
        if attachment.inline and not self._email.inline:
            return False
        patterns = self._email.patterns
        name = attachment.name.lower()
        return not patterns or any(matches(name, one.lower()) for one in patterns)

    def _attachment(
        self,
        attachment: Attachment,
        number: int,
        mail: EmailMessage,
        file: LandedFile,
        taking: Taking,
        found: Mail,
        inference: Inference,
    ) -> None:
        parsing, name = self._email.parsing, attachment.name
        with self.output(taking) as output:
            try:
                if attachment.fault:
                    raise Unreadable(attachment.fault)
                if len(attachment.body) > self._email.max_bytes:
                    raise Unreadable(f"it is larger than {self._email.max_bytes} bytes (maxBytes)")
                if parsing.format == "stored":
                    output.record(self._stored(attachment, number, mail, file, taking))
                elif parsing.format == "auto" and ending_of(name) in STORED:
                    self._stored(attachment, number, mail, file, taking)
                    return
                else:
                    read_file(Held(attachment.body), parsing, name, output, self._password())
                parts = output.finish()
            except (Unreadable, TooManyRejects) as error:
                told = Reject(0, str(error), f"s3://{file.bucket}/{file.key}", name)
                found.rejects = (*found.rejects, told)
                return
        inference.merge(output.inference)
        found.parts = (*found.parts, *parts)
        found.rows += sum(part.rows for part in parts)
        named = (
            replace(one, within=f"{name}, {one.within}" if one.within else name)
            for one in output.rejects
        )
        found.rejects = (*found.rejects, *named)

    def _password(self) -> str | None:
        text = self._email.password
        return self._secrets.fill(text) if text else None

    def _stored(
        self,
        attachment: Attachment,
        number: int,
        mail: EmailMessage,
        file: LandedFile,
        taking: Taking,
    ) -> dict[str, Any]:
        """Keep an attachment as it is in the raw zone, and say in a record where."""
        suffix = f"{sha256(file.key.encode()).hexdigest()[:12]}-{number:03d}-{attachment.name}"
        key = taking.start.part_key(taking.numbers.next("attachment"), suffix)
        self.put(key, attachment.body, "application/octet-stream")
        return {
            "messageId": str(mail.get("Message-ID", "")).strip(),
            "sender": address_of(mail),
            "subject": " ".join(str(mail.get("Subject", "")).split()),
            "sent": _sent(mail),
            "name": attachment.name,
            "bucket": self.config.raw_bucket,
            "key": key,
            "bytes": len(attachment.body),
            "sha256": sha256(attachment.body).hexdigest(),
        }


def _sent(mail: EmailMessage) -> str | None:
    moment = getattr(mail.get("Date"), "datetime", None)
    return iso(moment) if moment is not None and moment.tzinfo is not None else None


def identity(mail: EmailMessage, raw: bytes, carried: Sequence[Attachment]) -> bytes:
    """What makes a mail the same one: its Message-ID, with its sender, and its attachments. A
    sender's mail server that delivers twice changes other headers, and nothing of these.

    A mail without a Message-ID is its own bytes.
    """
    number = str(mail.get("Message-ID", "")).strip()
    if not number:
        return raw
    bodies = b"".join(sha256(one.body).digest() for one in carried)
    return b"\0".join([number.encode("utf-8", "replace"), address_of(mail).encode(), bodies])
