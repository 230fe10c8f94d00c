"""HTTP/1.1 messages as the proxy needs them: whole, with their length known."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from weir_local.proxy.exchange import Headers, Reply

HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"})
"""Headers that are about one connection alone (RFC 9110, section 7.6.1)."""
BODILESS = frozenset({204, 304})


class Broken(Exception):
    """The other side closed the connection, or does not speak HTTP/1.1."""


@dataclass(frozen=True)
class Message:
    """A request or an answer: the first line's three parts, headers as they came, body."""

    first: tuple[str, str, str]
    pairs: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def headers(self) -> Headers:
        """By lower-case name; the last of several counts."""
        return {name.lower(): value for name, value in self.pairs}


async def read_message(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter | None = None,
    *,
    bodiless: bool = False,
) -> Message | None:
    """The next message of a connection, or None where it ended before one began.

    :param reader: the connection
    :param writer: where ``Expect: 100-continue`` is answered, for a request
    :param bodiless: an answer to HEAD: its length is of a body that does not follow
    :raises Broken: it ended in between
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise Broken("the connection ended in the headers") from error
        return None
    except (asyncio.LimitOverrunError, ConnectionError) as error:
        raise Broken(str(error)) from error
    lines = head[:-4].decode("latin-1").split("\r\n")
    first = lines[0].split(" ", 2)
    pairs = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        pairs.append((name, value.strip()))
    named = {name.lower(): value for name, value in pairs}
    if writer is not None and "100-continue" in named.get("expect", "").lower():
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        body = b"" if bodiless else await _body(reader, named, request=writer is not None)
    except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
        raise Broken("the connection ended in the body") from error
    return Message((first[0], first[1], first[2] if len(first) > 2 else ""), tuple(pairs), body)


async def _body(reader: asyncio.StreamReader, headers: Headers, *, request: bool) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        parts = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        while await reader.readuntil(b"\r\n") != b"\r\n":
            continue
        return b"".join(parts)
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return b"" if request else await reader.read()


def request_bytes(message: Message) -> bytes:
    """A request as it is sent on: its body's length instead of chunks, and no Expect."""
    method, target, _ = message.first
    lines = [f"{method} {target} HTTP/1.1"]
    dropped = HOP | {"transfer-encoding", "content-length", "expect"}
    lines += [f"{name}: {value}" for name, value in message.pairs if name.lower() not in dropped]
    if message.body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(message.body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + message.body


def reply_bytes(reply: Reply, method: str) -> bytes:
    """An answer as the caller gets it."""
    dropped = HOP | {"transfer-encoding"}
    kept = {name: value for name, value in reply.headers.items() if name not in dropped}
    if method != "HEAD" and reply.status not in BODILESS:
        kept["content-length"] = str(len(reply.body))
    lines = [f"HTTP/1.1 {reply.status} -", *(f"{name}: {value}" for name, value in kept.items())]
    body = b"" if method == "HEAD" or reply.status in BODILESS else reply.body
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
