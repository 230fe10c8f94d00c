"""Whether a mail may be believed: the verdicts that SES has written on top of it, and its sender.

SES puts its own headers before all that the sender wrote (SES Developer Guide, *Email receiving
concepts* and *Contents of notifications*). So the first header of a name is SES's, and whatever the
sender has added under the same name comes after it and is not looked at.

WorkMail receives through SES too, but also passes on what its own users write to each other: there the
first header may be the writer's. So of a mail whose sender may be such a user no verdict is believed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any

from weir_contract.sources import Email, Trust
from weir_lambdas.email_processor.envelope import Envelope, of_mail

AUTHORITY = "amazonses.com"
"""The authserv-id of SES (RFC 8601, section 2.5)."""

RECEIVER = re.compile(r"\bby\s+inbound-smtp\.[a-z0-9-]+\.amazonaws\.com\b")
_METHOD = re.compile(r"\s*(spf|dkim|dmarc)\s*=\s*([a-z]+)", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMMENT = re.compile(r"\([^()]*\)")


@dataclass(frozen=True)
class Verdicts:
    """What was found of a mail, in lower case: ``pass``, ``fail``, ``none``; empty where nobody
    said."""

    spf: str = ""
    dkim: str = ""
    dmarc: str = ""
    spam: str = ""
    virus: str = ""


def verdicts(mail: EmailMessage) -> Verdicts:
    """The verdicts on a mail that SES has received; none for a mail that came another way."""
    first = str(mail.get("Received", ""))
    if not RECEIVER.search(_flat(first)):
        return Verdicts()
    results = _COMMENT.sub("", _QUOTED.sub("", _flat(str(mail.get("Authentication-Results", "")))))
    authority, _, rest = results.partition(";")
    methods: dict[str, str] = {}
    if authority.strip().lower() == AUTHORITY:
        # What a sender chooses stands in there too (envelope-from, helo): never at a result's place.
        for name, result in filter(None, map(_result, rest.split(";"))):
            known = methods.get(name, result)
            # A mail may carry several signatures: one that passes is enough (RFC 6376, 6.1). Of the
            # others there is one verdict, and of two the worse one counts.
            better = "pass" in (known, result) if name == "dkim" else known == result == "pass"
            methods[name] = "pass" if better else (known if known != "pass" else result)
    return Verdicts(
        methods.get("spf", ""),
        methods.get("dkim", ""),
        methods.get("dmarc", ""),
        _flat(str(mail.get("X-SES-Spam-Verdict", ""))).lower(),
        _flat(str(mail.get("X-SES-Virus-Verdict", ""))).lower(),
    )


def distrust(mail: EmailMessage, config: Email) -> str | None:
    """Why a mail is not taken, or None where it may be."""
    envelope = of_mail(mail) if config.workmail else None
    if config.workmail and (envelope is None or envelope.organization != config.workmail):
        return (
            f"it did not come through the message flow of WorkMail organization {config.workmail}"
        )
    internal = envelope is not None and envelope.is_internal
    found = Verdicts() if internal else verdicts(mail)
    for name in Trust.__dataclass_fields__:
        verdict = getattr(found, name)
        if getattr(config.trust, name) and verdict != "pass":
            why = ": it may be of the organization's own users, whom SES does not check"
            said = f"{name} is {verdict or 'not known'} (trust.{name})"
            return f"{said}{why}" if internal else said
    if config.recipients and not any(
        allowed(one, config.recipients) for one in recipients_of(mail, envelope)
    ):
        return "it was sent to none of recipients"
    sender = address_of(mail)
    if config.allowed_senders and not allowed(sender, config.allowed_senders):
        return "its sender is none of allowedSenders"
    return None


def _result(text: str) -> tuple[str, str] | None:
    """Method and result at the beginning of one of the header's parts (RFC 8601, 2.2)."""
    found = _METHOD.match(text)
    return (found.group(1).lower(), found.group(2).lower()) if found else None


_FOR = re.compile(r"\bfor\s+<?([^\s<>;]+@[^\s<>;]+)>?", re.IGNORECASE)


def recipient_of(mail: EmailMessage) -> str:
    """The address to which SES has received a mail, in lower case; empty where it does not say.

    The envelope's (RFC 5321, 4.4: the clause ``for``), not what the sender wrote into ``To``.
    """
    found = _FOR.search(_flat(str(mail.get("Received", ""))))
    return found.group(1).lower() if found else ""


def recipients_of(mail: EmailMessage, envelope: Envelope | None) -> tuple[str, ...]:
    """Whom a mail came for: by the envelope where WorkMail has passed it on, else as SES says."""
    if envelope is not None:
        return tuple(one.lower() for one in envelope.recipients)
    return (recipient_of(mail),)


def address_of(mail: EmailMessage) -> str:
    """The address in ``From``, in lower case; empty where there is not exactly one."""
    found = mail.get_all("From", [])
    if len(found) != 1:
        return ""
    addresses: Sequence[Any] = getattr(found[0], "addresses", ())
    if len(addresses) != 1:
        return ""
    written = next(str(value) for name, value in mail.raw_items() if name.lower() == "from")
    # Two parsers that see two addresses are being led astray.
    text, address = _flat(str(found[0])), str(addresses[0].addr_spec).lower()
    seen = [parseaddr(text)[1], *_ANGLED.findall(_QUOTED.sub("", _flat(written)))]
    return address if all(one.strip().lower() == address for one in seen) else ""


_ANGLED = re.compile(r"<([^<>]*)>")


def allowed(sender: str, senders: tuple[str, ...]) -> bool:
    """Whether an address is listed, by itself or by its domain (``@example.com`` or, as SES's
    receipt rules have it, ``example.com``)."""
    domain = sender.rpartition("@")[2]
    return bool(sender) and any(one.lower() in (sender, f"@{domain}", domain) for one in senders)


def _flat(text: str) -> str:
    return " ".join(text.split())
