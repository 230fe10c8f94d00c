"""Writes the workbooks that Excel wrote before 2007 ([MS-XLS] in a [MS-CFB] file): one sheet."""

from __future__ import annotations

import struct
from collections.abc import Sequence

SECTOR, FREE, END = 512, 0xFFFFFFFF, 0xFFFFFFFE


def _record(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(body)) + body


def _stream(name: str, rows: Sequence[Sequence[str | float]]) -> bytes:
    """The stream ``Workbook``: what there is, then the sheet."""

    def globals_of(sheet_at: int) -> bytes:
        bound = struct.pack("<IBBBB", sheet_at, 0, 0, len(name), 0) + name.encode("latin-1")
        begins = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x05, 0, 0, 0, 0))
        return begins + _record(0x0085, bound) + _record(0x000A)

    sheet = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x10, 0, 0, 0, 0))
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            cell = struct.pack("<HHH", number, column, 0)
            if isinstance(value, str):
                text = struct.pack("<HB", len(value), 0) + value.encode("latin-1")
                sheet += _record(0x0204, cell + text)
            else:
                sheet += _record(0x0203, cell + struct.pack("<d", value))
    return globals_of(len(globals_of(0))) + sheet + _record(0x000A)


def _entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
    raw = f"{name}\0".encode("utf-16-le")
    links = (len(raw), kind, 1, FREE, FREE, child, b"", 0, 0, 0, start, size)
    return raw.ljust(64, b"\0") + struct.pack("<HBBIII16sIQQIQ", *links)


def workbook_of(name: str, rows: Sequence[Sequence[str | float]]) -> bytes:
    """A workbook with one sheet of texts (Latin-1) and numbers."""
    # A stream of less than 4096 bytes would have to lie elsewhere.
    stream = _stream(name, rows).ljust(4096, b"\0")
    stream += bytes(-len(stream) % SECTOR)
    sectors = len(stream) // SECTOR
    head = struct.pack(
        "<8s16sHHHHH6xIIIIIIIIII",
        *(bytes.fromhex("d0cf11e0a1b11ae1"), b"", 0x3E, 3, 0xFFFE, 9, 6),
        *(0, 1, 1, 0, 4096, END, 0, END, 0, 0),
    )
    head += struct.pack("<108I", *[FREE] * 108)
    fat = [0xFFFFFFFD, END, *range(3, sectors + 2), END]
    fat += [FREE] * (SECTOR // 4 - len(fat))
    folder = _entry("Root Entry", 5, 1, END, 0) + _entry("Workbook", 2, FREE, 2, len(stream))
    return head + struct.pack("<128I", *fat) + folder.ljust(SECTOR, b"\0") + stream
