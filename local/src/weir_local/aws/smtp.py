"""The local AWS's mail server: SMTP on loopback, where SES has its inbound endpoint.

Its port is in the file ``smtp-port`` of the state directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

from weir_local.aws import receiving
from weir_local.aws.server import LOOPBACK, SMTP_PORT_FILE

logger = logging.getLogger("weir.local.aws.smtp")

_running: list[tuple[asyncio.AbstractEventLoop, threading.Thread]] = []


class Inbound:
    """What the server asks about a mail; the names of the methods are aiosmtpd's.

    :param account: whose rule sets apply
    :param region: where
    """

    def __init__(self, account: str, region: str) -> None:
        self.account, self.region = account, region

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        """Whether a recipient is one that SES receives for."""
        refused = receiving.refusal(address, self.account, self.region)
        if refused:
            return refused
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:
        """Take a whole mail."""
        came = receiving.Envelope(
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            helo=str(session.host_name or "localhost"),
            ip=str(session.peer[0]),
        )
        body = bytes(envelope.original_content)
        try:
            number = await asyncio.to_thread(
                receiving.receive, came, body, self.account, self.region
            )
        except receiving.Refused as error:
            return str(error)
        except Exception:
            logger.exception("a mail could not be received")
            return "451 4.3.0 Requested action aborted: local error in processing"
        return f"250 OK {number}"


def start() -> None:
    """Listen on a free port of loopback, in a thread of its own."""
    inbound = Inbound(os.environ["MINISTACK_ACCOUNT_ID"], os.environ["MINISTACK_REGION"])
    loop = asyncio.new_event_loop()

    def protocol() -> SMTP:
        return SMTP(
            inbound, data_size_limit=receiving.MAIL_BYTES, hostname="inbound-smtp.localhost",
            loop=loop,
        )  # fmt: skip

    server = loop.run_until_complete(loop.create_server(protocol, LOOPBACK, 0))
    port = server.sockets[0].getsockname()[1]
    (Path(os.environ["WEIR_LOCAL_STATE"]) / SMTP_PORT_FILE).write_text(str(port))

    def run() -> None:
        with contextlib.closing(loop):
            loop.run_forever()
            server.close()

    thread = threading.Thread(target=run, name="smtp", daemon=True)
    thread.start()
    _running.append((loop, thread))


def stop() -> None:
    """Listen no more."""
    while _running:
        loop, thread = _running.pop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
