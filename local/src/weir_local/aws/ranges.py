"""A range of a version of an object is that range, as of the newest one.

Amazon S3 API: GetObject (Range, versionId); RFC 9110, section 14. The emulator answers a GET that names
a version with the whole object.
"""

from __future__ import annotations

import re

from weir_local.aws.wire import Reply

RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def sliced(header: str, body: bytes) -> tuple[int, int] | None:
    """First byte, and the one after the last, of a range; None where it can't be had.

    :param header: ``Range`` of the request
    """
    match = RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(0, len(body) - int(match[2])), len(body)
    start = int(match[1])
    end = min(int(match[2]) + 1 if match[2] else len(body), len(body))
    return (start, end) if start < end else None


def install() -> None:
    """Cut what S3 answers to a GET of a version with a range."""
    from ministack import app

    inner = app.SERVICE_HANDLERS["s3"]

    async def ranged(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
    ) -> Reply:
        reply: Reply = await inner(method, path, headers, body, query)
        status, given, content = reply
        wanted = headers.get("range", "")
        if method != "GET" or status != 200 or not wanted or "versionId" not in query:
            return reply
        found = sliced(wanted, content)
        if found is None:
            return reply
        start, end = found
        # A checksum is of the whole object, so that a part of it comes without.
        kept = {
            name: value
            for name, value in given.items()
            if name.lower() != "content-length" and not name.lower().startswith("x-amz-checksum-")
        }
        kept["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        kept["Content-Length"] = str(end - start)
        return 206, kept, content[start:end]

    app.SERVICE_HANDLERS["s3"] = ranged
