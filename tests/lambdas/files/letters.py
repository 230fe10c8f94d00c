"""Mails as SES stores them."""

from __future__ import annotations

from email.message import EmailMessage

SES_HEADERS = (
    ("Return-Path", "<ann@example.com>"),
    (
        "Received",
        "from mail.example.com by inbound-smtp.eu-west-1.amazonaws.com with SMTP id abc for orders@weir.example; Fri, 02 Jan 2026 02:04:06 +0000",
    ),
    ("X-SES-Spam-Verdict", "{spam}"),
    ("X-SES-Virus-Verdict", "{virus}"),
    (
        "Authentication-Results",
        "amazonses.com; spf={spf} (spfCheck: dkim=fail is a comment) client-ip=1.2.3.4; "
        "dkim={dkim} header.i=@example.com; dmarc={dmarc} header.from=example.com;",
    ),
)


def stored(mail: EmailMessage, **verdicts: str) -> bytes:
    """A mail's bytes with the headers that SES puts on top."""
    said = {"spam": "PASS", "virus": "PASS", "spf": "pass", "dkim": "pass", "dmarc": "pass"}
    said |= verdicts
    top = "".join(f"{name}: {text.format(**said)}\r\n" for name, text in SES_HEADERS)
    return top.encode() + mail.as_bytes()


def letter(**attached: bytes) -> EmailMessage:
    """A mail of Ann's with a text and files."""
    mail = EmailMessage()
    mail["From"], mail["To"] = "Ann <ann@example.com>", "orders@weir.example"
    mail["Subject"], mail["Message-ID"] = "Orders", "<1@example.com>"
    mail["Date"] = "Fri, 02 Jan 2026 03:04:05 +0100"
    mail.set_content("see the file")
    for name, body in attached.items():
        mail.add_attachment(body, maintype="application", subtype="octet-stream", filename=name)
    return mail
