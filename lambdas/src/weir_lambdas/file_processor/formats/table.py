"""Format -> who reads it. Each module is imported at its first use: a cold start pays for one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from weir_contract.sources import FileFormat
from weir_lambdas.file_processor.formats.base import Read, ReadOn

READERS: dict[FileFormat, tuple[str, str]] = {
    "csv": ("delimited", "read_csv"),
    "tsv": ("delimited", "read_tsv"),
    "json": ("documents", "read_json"),
    "jsonLines": ("lines", "read_json_lines"),
    "xml": ("documents", "read_xml"),
    "fixedWidth": ("lines", "read_fixed_width"),
    "xlsx": ("sheets", "read_sheet"),
    "parquet": ("columnar", "read_parquet"),
    "avro": ("columnar", "read_avro"),
    "orc": ("columnar", "read_orc"),
}
"""Format -> module beside this one, and function."""

BY_PLACE: frozenset[FileFormat] = frozenset(("csv", "tsv", "jsonLines", "fixedWidth"))
"""Formats whose readers can begin at a place within a file: those with a record a line or so."""


def reader(name: FileFormat) -> Read:
    """The reader of a format."""
    module, function = READERS[name]
    found: Read = getattr(import_module(f"{__package__}.{module}"), function)
    return found


def reader_on(name: FileFormat) -> ReadOn | None:
    """The reader of a format that can begin within a file; None where it has to begin anew."""
    found: Any = reader(name)
    return found if name in BY_PLACE else None
