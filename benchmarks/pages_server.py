"""An HTTP server of made-up pages, in a process of its own: what ingestion is measured against.

``/flat`` and ``/nested`` give ``rows`` records, ``size`` a page, made before the first request;
``/slow`` waits ``delay`` seconds before each page; ``/broken`` answers 403 to page ``at`` until
``/mend`` is asked. ``/count`` says how many requests came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from urllib.parse import parse_qs, urlsplit

COUNTRIES = ("DE", "FR", "ES", "IT", "PL", "SE")


def flat(number: int) -> dict[str, object]:
    """A record of ten plain fields, about 230 bytes."""
    return {
        "id": number,
        "name": f"customer {number}",
        "email": f"customer{number}@example.com",
        "country": COUNTRIES[number % 6],
        "active": number % 3 > 0,
        "score": number % 1000 / 8,
        "orders": number % 97,
        "balance": round(number * 1.37 % 10_000, 2),
        "created_at": f"2026-01-{number % 28 + 1:02}T{number % 24:02}:00:00Z",
        "note": "a line of text that says little",
    }


def nested(number: int) -> dict[str, object]:
    """A record with objects and lists in it, about 600 bytes."""
    return {
        "id": number,
        "customer": {
            "name": f"customer {number}",
            "address": {"street": f"Street {number % 500}", "city": "Berlin", "zip": "10115"},
            "tags": ["a", "b", "c"],
        },
        "lines": [
            {"sku": f"sku-{number % 50 + line}", "quantity": line + 1, "price": 19.5 + line}
            for line in range(4)
        ],
        "payment": {"method": "card", "authorised": True, "amount": number % 1000 / 4},
        "created_at": f"2026-01-{number % 28 + 1:02}T{number % 24:02}:00:00Z",
    }


KINDS = {"flat": flat, "nested": nested, "slow": flat, "broken": flat}


class Pages:
    """Pages of one kind, as the bytes of whole HTTP answers."""

    def __init__(self, kind: str, rows: int, size: int) -> None:
        self.last = -(-rows // size)
        self.answers = [
            self._answer(kind, range(start, min(start + size, rows)), size)
            for start in range(0, rows, size)
        ]
        self.beyond = self._answer(kind, range(0), size)

    def _answer(self, kind: str, numbers: range, size: int) -> bytes:
        rows = [KINDS[kind](number) for number in numbers]
        number = numbers.start // size + 1
        following = number + 1 if rows and number < self.last else None
        document = {"data": rows, "pages": self.last, "next": following}
        body = json.dumps(document, separators=(",", ":")).encode()
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        ) + body

    def page(self, number: int) -> bytes:
        """The answer for a page, from 1."""
        return self.answers[number - 1] if 1 <= number <= self.last else self.beyond


REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"


class Server:
    """Answers, and counts what it was asked."""

    def __init__(self, rows: int, size: int, delay: float, at: int) -> None:
        self._pages = {
            "flat": Pages("flat", rows, size),
            "nested": Pages("nested", rows, size),
            "slow": Pages("slow", 100 * 20, 20),
            "broken": Pages("broken", 100 * 20, 20),
        }
        self._delay, self._at = delay, at
        self._count, self._mended = 0, False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept open."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split(b" ", 2)[1].decode()
                writer.write(await self._answer(target))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, target: str) -> bytes:
        parts = urlsplit(target)
        kind = parts.path.strip("/")
        if kind == "count":
            body = json.dumps({"requests": self._count}).encode()
            self._count = 0
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        if kind in ("mend", "break"):
            self._mended = kind == "mend"
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        self._count += 1
        number = int(parse_qs(parts.query).get("page", ["1"])[0])
        if kind == "slow":
            await asyncio.sleep(self._delay)
        if kind == "broken" and number == self._at and not self._mended:
            return REFUSED
        return self._pages[kind].page(number)


async def main() -> None:
    """The command line: prints the port, then serves until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=1_000)
    parser.add_argument("--delay", type=float, default=0.1)
    parser.add_argument("--at", type=int, default=60)
    chosen = parser.parse_args()
    server = Server(chosen.rows, chosen.size, chosen.delay, chosen.at)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=2**20)
    print(listening.sockets[0].getsockname()[1], flush=True)
    async with listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
