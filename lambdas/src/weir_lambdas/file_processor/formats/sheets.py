"""Spreadsheets: xlsx, xlsm, xls and ods."""

from __future__ import annotations

import io
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import Any

from weir_contract.sources import Parsing
from weir_lambdas.file_processor.formats.base import Sink
from weir_lambdas.file_processor.formats.delimited import column_names
from weir_lambdas.file_processor.unpack import Unreadable, as_file

MAX_WORKBOOK_BYTES = 256 * 1024 * 1024
"""A workbook is a zip that has to be jumped about in: it is held in memory."""


def read_sheet(chunks: Iterable[bytes], parsing: Parsing, sink: Sink) -> None:
    """One sheet, with the columns' names in ``headerRow``. Empty rows are no records.

    Dates come as ISO 8601, whole numbers without a fraction (a sheet knows doubles only).

    Raises
    ------
    Unreadable
        It is no workbook, is encrypted, or lacks the sheet or the row of names.
    """
    import python_calamine as calamine

    body = as_file(chunks).read(MAX_WORKBOOK_BYTES + 1)
    if len(body) > MAX_WORKBOOK_BYTES:
        raise Unreadable(f"a workbook of more than {MAX_WORKBOOK_BYTES} bytes")
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(body))
    except calamine.PasswordError as error:
        raise Unreadable("the workbook is encrypted") from error
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise Unreadable("it is no workbook (xlsx, xls, ods), or it is damaged") from error
    names = book.sheet_names
    if parsing.sheet is not None and parsing.sheet not in names:
        raise Unreadable(f"there is no sheet {parsing.sheet!r}; there are {', '.join(names)}")
    if not names:
        raise Unreadable("the workbook has no sheet")
    sheet = book.get_sheet_by_name(parsing.sheet or names[0])
    rows = sheet.to_python(skip_empty_area=False)
    if len(rows) < parsing.header_row:
        raise Unreadable(
            f"the sheet has {len(rows)} rows; the names are said to be in row "
            f"{parsing.header_row} (headerRow)"
        )
    header = column_names(str(cell_value(cell) or "") for cell in rows[parsing.header_row - 1])
    for row in rows[parsing.header_row :]:
        values = [cell_value(cell) for cell in row]
        if any(value is not None for value in values):
            sink.record(dict(zip(header, values, strict=False)))


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
