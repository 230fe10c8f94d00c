"""How many mails a second one worker takes: ``python -m benchmarks.ingest_email`` prints a JSON line.

Mails of 20 KB with a CSV of 200 rows each, as SES stores them, through the function's own source:
read, judged, taken apart, their records typed and written as parts; what is imported with the first
mail is imported before the clock (benchmarks/cold_starts.py measures that). S3 and the ledger are in memory
and answer after the time that they take within a region: 15 ms for an object, 4 ms for an item.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

from weir_contract.rows import RowContract
from weir_contract.sources import Email, Files, SourceConfig
from weir_lambdas.common.clock import SystemClock
from weir_lambdas.common.secrets import Secrets
from weir_lambdas.common.storage import Storage
from weir_lambdas.email_processor.source import MailSource
from weir_lambdas.file_processor.ledger import Arrived
from weir_lambdas.file_processor.reading import Located
from weir_lambdas.landing.batch import Start

S3_SECONDS, ITEM_SECONDS = 0.015, 0.004
ROWS = 200

TOP = (
    "Return-Path: <ann@example.com>\r\n"
    "Received: from mail.example.com by inbound-smtp.eu-west-1.amazonaws.com with SMTP id abc for "
    "orders@weir.example; Fri, 02 Jan 2026 02:04:06 +0000\r\n"
    "X-SES-Spam-Verdict: PASS\r\n"
    "X-SES-Virus-Verdict: PASS\r\n"
    "Authentication-Results: amazonses.com; spf=pass; dkim=pass header.i=@example.com; "
    "dmarc=pass header.from=example.com;\r\n"
)
"""What SES puts above a mail."""


def mail(number: int) -> bytes:
    """One mail as SES stores it."""
    letter = EmailMessage()
    letter["From"], letter["To"] = "Ann <ann@example.com>", "orders@weir.example"
    letter["Subject"], letter["Message-ID"] = f"Orders {number}", f"<{number}@example.com>"
    letter["Date"] = "Fri, 02 Jan 2026 03:04:05 +0100"
    letter.set_content("The orders of the day are in the file.")
    rows = "".join(
        f"{number * ROWS + row},customer {row},{row * 1.25:.2f},2026-01-{row % 28 + 1:02}\n"
        for row in range(ROWS)
    )
    body = f"id,name,amount,day\n{rows}".encode()
    letter.add_attachment(body, maintype="text", subtype="csv", filename="orders.csv")
    return TOP.encode() + letter.as_bytes()


class MemoryS3:
    """The two calls that mails need."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def get_object(self, **asked: Any) -> dict[str, Any]:
        """A range of an object."""
        time.sleep(S3_SECONDS)
        start, end = (int(one) for one in asked["Range"].removeprefix("bytes=").split("-"))
        return {"Body": io.BytesIO(self._objects[asked["Key"]][start : end + 1])}

    def put_object(self, **asked: Any) -> dict[str, Any]:
        """An object, of which only its size is of interest."""
        time.sleep(S3_SECONDS)
        return {"ETag": str(len(asked["Body"]))}


class MemoryLedger:
    """The questions that a landing asks the ledger."""

    def __init__(self, waiting: list[Arrived]) -> None:
        self._waiting = waiting

    def begin(self) -> None:
        """No call before this one died."""
        time.sleep(2 * ITEM_SECONDS)

    def end(self) -> None:
        """The call is over."""
        time.sleep(ITEM_SECONDS)

    def waiting(self, limit: int | None = None) -> Iterator[Arrived]:
        """All mails."""
        return iter(self._waiting[:limit])

    def contract(self) -> RowContract | None:
        """None is frozen yet."""
        return None

    def landed_as(self, _content: str, _file: Located) -> str | None:
        """None was landed before."""
        time.sleep(ITEM_SECONDS)
        return None


def measure(count: int = 500) -> dict[str, float]:
    """Mails a second, of so many (500 at most: one landing)."""
    objects = {f"mail/{number:05}": mail(number) for number in range(count)}
    waiting = [
        Arrived(key, Located("mails", key, f"etag{key}", len(body)))
        for key, body in objects.items()
    ]
    config = SourceConfig(
        "p", "n", "s", "raw", "state", RowContract(), quarantine_bucket="quarantine",
        files=Files("mails"), email=Email("mails", "mail/", patterns=("*.csv",)),
    )  # fmt: skip
    s3: Any = MemoryS3(objects)
    ledger: Any = MemoryLedger(waiting)
    source = MailSource(config, s3, Storage(s3), ledger, Secrets(None, {}, SystemClock()))
    start = Start(
        "run", datetime.now(UTC), None, {}, None, lambda: 900.0, lambda: False,
        lambda number, suffix: f"part-{number}.{suffix}",
    )  # fmt: skip
    began, busy = time.perf_counter(), time.process_time()
    with redirect_stdout(io.StringIO()) as said:
        batches = list(source.batches(start))
    rows = sum(part.rows for batch in batches for part in batch.parts)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    if rows != count * ROWS:
        raise SystemExit(f"{rows} rows, not {count * ROWS}: {batches[0]}\n{said.getvalue()[:300]}")
    return {
        "email_messages_per_s": round(count / seconds),
        "email_messages_per_cpu_s": round(count / busy),
    }


if __name__ == "__main__":
    measure(1)
    print(json.dumps(measure()))
