"""A workbook's sheet as lines of JSON: a process of its own, since a workbook may end the one that
reads it.

A damaged one makes the library panic, and one cell far away from the others makes it ask for all
memory that lies in between, of which no process recovers. So this one is bounded, and what is left
when it ends early is the file's fault. Its input is the workbook, its output a line for each record,
or one that begins with ``!`` and says why there are none.
"""

from __future__ import annotations

import io
import json
import resource
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, BinaryIO

from weir_lambdas.file_processor.formats.names import column_names
from weir_lambdas.landing.records import dump_line

SECONDS = 600
"""Of a processor, for one workbook."""


class Refused(Exception):
    """The workbook can't be read. The text is for people."""


def main(asked: str, source: BinaryIO, target: BinaryIO) -> None:
    """Read a workbook from one stream, and write its records to the other.

    Parameters
    ----------
    asked
        JSON: ``sheet`` (a name or null), ``headerRow`` (from 1), ``bytes`` (of memory).
    """
    wanted = json.loads(asked)
    resource.setrlimit(resource.RLIMIT_AS, (wanted["bytes"], wanted["bytes"]))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        for record in records(source.read(), wanted["sheet"], wanted["headerRow"]):
            target.write(dump_line(record))
    except Refused as error:
        target.write(b"!" + str(error).encode())
    target.flush()


def records(body: bytes, wanted: str | None, header_row: int) -> Iterator[dict[str, Any]]:
    """The rows of one sheet below its row of names; empty ones are no records.

    Raises
    ------
    Refused
        It is no workbook, is encrypted, or lacks the sheet or the row of names.
    """
    import python_calamine as calamine

    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(body))
    except calamine.PasswordError as error:
        raise Refused("the workbook is encrypted") from error
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise Refused("it is no workbook (xlsx, xls, ods), or it is damaged") from error
    tables = [one for one in book.sheets_metadata if one.typ == calamine.SheetTypeEnum.WorkSheet]
    names = [one.name for one in tables]
    if wanted is not None and wanted not in names:
        raise Refused(f"there is no sheet {wanted!r}; there are {', '.join(names)}")
    if not names:
        raise Refused("the workbook has no sheet")
    shown = [one.name for one in tables if one.visible == calamine.SheetVisibleEnum.Visible]
    try:
        sheet = book.get_sheet_by_name(wanted or (shown or names)[0])
        rows = sheet.to_python(skip_empty_area=False)
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise Refused("its sheet is damaged") from error
    if len(rows) < header_row:
        raise Refused(
            f"the sheet has {len(rows)} rows; the names are said to be in row {header_row} (headerRow)"
        )
    header = column_names(str(cell_value(cell) or "") for cell in rows[header_row - 1])
    for row in rows[header_row:]:
        values = [cell_value(cell) for cell in row]
        if any(value is not None for value in values):
            yield dict(zip(header, values, strict=False))


def cell_value(cell: Any) -> Any:
    """A cell as a JSON value."""
    if cell == "" or cell is None:
        return None
    if isinstance(cell, bool):
        return cell
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    if isinstance(cell, datetime):
        midnight = cell.time() == time(0)
        return cell.date().isoformat() if midnight else cell.isoformat()
    if isinstance(cell, (date, time)):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return cell.total_seconds()
    return cell


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
