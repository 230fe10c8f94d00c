"""The envelope with which WorkMail has passed a mail on, written on top of the mail where it is stored.

What WorkMail says of a mail comes with the call of the function, and only WorkMail may call it. In the
mail itself a sender can write anything: so the envelope's headers stand before all that the mail had,
and the first header of a name is the one that is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any
from urllib.parse import quote, unquote

ORGANIZATION = "X-Weir-WorkMail-Organization"
SENDER = "X-Weir-Envelope-From"
RECIPIENTS = "X-Weir-Envelope-To"

SAFE = "@.+-_"
"""What stands in a header as it is; all else of an address is percent-encoded (RFC 3986), so that
no address can be a comma, the end of a line or an encoded word of RFC 2047."""


@dataclass(frozen=True)
class Envelope:
    """How a mail came to WorkMail.

    Parameters
    ----------
    organization
        Id of the WorkMail organization.
    sender
        Whom it is from, as WorkMail says; empty for one that says nobody.
    recipients
        The organization's own addresses that it came for. WorkMail leaves some out where all are
        more than 128 KB (``truncated`` in its event).
    """

    organization: str
    sender: str
    recipients: tuple[str, ...]

    @property
    def is_internal(self) -> bool:
        """Whether the sender's domain is one of the recipients': it may be one of the organization's
        own users, whose mails no SES has looked at."""
        domain = _domain(self.sender)
        return not domain or domain in {_domain(one) for one in self.recipients}


def of_event(event: Mapping[str, Any], organization: str) -> Envelope:
    """The envelope of an event of WorkMail (WorkMail Administrator Guide, *Lambda event data*)."""
    envelope = event.get("envelope") or {}
    recipients = (_address(one) for one in envelope.get("recipients") or ())
    return Envelope(
        organization, _address(envelope.get("mailFrom")), tuple(one for one in recipients if one)
    )


def written(envelope: Envelope) -> bytes:
    """An envelope as headers, to be put before a mail."""
    recipients = ",\r\n ".join(quote(one, safe=SAFE) for one in envelope.recipients)
    lines = (
        f"{ORGANIZATION}: {envelope.organization}",
        f"{SENDER}: {quote(envelope.sender, safe=SAFE)}",
        f"{RECIPIENTS}: {recipients}",
    )
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def of_mail(mail: EmailMessage) -> Envelope | None:
    """The envelope on top of a stored mail, or None where there is none."""
    names = [name.lower() for name in mail.keys()[:3]]
    if names != [ORGANIZATION.lower(), SENDER.lower(), RECIPIENTS.lower()]:
        return None
    organization, sender, recipients = (str(value) for value in mail.values()[:3])
    listed = (unquote(one.strip()) for one in recipients.split(","))
    return Envelope(
        organization.strip(), unquote(sender.strip()), tuple(one for one in listed if one)
    )


def _address(given: Any) -> str:
    found = given.get("address") if isinstance(given, Mapping) else None
    return str(found or "").strip()


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower() if "@" in address else ""
