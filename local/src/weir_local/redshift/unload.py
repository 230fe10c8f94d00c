"""UNLOAD: a query's rows to S3.

https://docs.aws.amazon.com/redshift/latest/dg/r_UNLOAD.html
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from weir_local.redshift import commands as c
from weir_local.redshift.catalog import quoted
from weir_local.redshift.copy import split_uri
from weir_local.redshift.errors import SqlError

if TYPE_CHECKING:
    from weir_local.redshift.execute import Session

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def unload(session: Session, command: c.Unload, query: str) -> int:
    """Run an UNLOAD whose query is already DuckDB's.

    Returns
    -------
    int
        How many rows it wrote.

    Raises
    ------
    SqlError
        Files are there already, S3 refuses, or a partition column is missing.
    """
    store = session.assume(command.role)
    names = [name for name, _ in session.describe(query)]
    if len(set(names)) < len(names):
        raise SqlError("UNLOAD can't write two columns of the same name")
    for name in command.partition_by:
        if name not in names:
            raise SqlError(f'partition column "{name}" is not in the query')
    if len(command.partition_by) == len(names) and not command.include_partitions:
        raise SqlError("UNLOAD can't partition by all columns")
    bucket, prefix = split_uri(command.target)
    existing = store.keys(bucket, prefix)
    if existing and command.clean_path:
        for key in existing:
            store.delete(bucket, key)
    elif existing and not command.allow_overwrite:
        raise SqlError(
            "Specified unload destination on S3 is not empty. Consider using a different bucket / "
            "prefix, manually removing the target files in S3, or using the ALLOWOVERWRITE option."
        )
    entries = []
    total = 0
    for directory, rows in _parts(session, command, query, names):
        body = _encoded(command, rows)
        key = f"{prefix}{directory}{_name(command)}"
        store.write(bucket, key, body, command.kms_key_id)
        total += rows.num_rows
        entries.append(
            {
                "url": f"s3://{bucket}/{key}",
                "meta": {"content_length": len(body), "record_count": rows.num_rows},
            }
        )
    if command.manifest:
        document: dict[str, Any] = {"entries": entries}
        if command.manifest_verbose:
            document["meta"] = {
                "content_length": sum(x["meta"]["content_length"] for x in entries),  # type: ignore[index]
                "record_count": total,
            }
        store.write(bucket, f"{prefix}manifest", json.dumps(document).encode(), command.kms_key_id)
    return total


def _parts(
    session: Session, command: c.Unload, query: str, names: Sequence[str]
) -> list[tuple[str, Any]]:
    if not command.partition_by:
        rows = _arrow(session, query)
        return [("", rows)]
    keys = ", ".join(quoted(name) for name in command.partition_by)
    values = session.connection.execute(
        f"SELECT DISTINCT {keys} FROM ({query}) ORDER BY ALL"
    ).fetchall()
    kept = [
        name for name in names if command.include_partitions or name not in command.partition_by
    ]
    listed = ", ".join(quoted(name) for name in kept)
    parts = []
    for value in values:
        where = " AND ".join(
            f"{quoted(name)} IS NOT DISTINCT FROM ?" for name in command.partition_by
        )
        rows = _arrow(session, f"SELECT {listed} FROM ({query}) WHERE {where}", list(value))
        directory = "".join(
            f"{name}={NULL_PARTITION if x is None else quote(_cell(x), safe=' -_.:')}/"
            for name, x in zip(command.partition_by, value, strict=True)
        )
        parts.append((directory, rows))
    return parts


def _arrow(session: Session, query: str, parameters: list[Any] | None = None) -> Any:
    found = session.connection.sql(query, params=parameters or []).to_arrow_table()
    for place, item in enumerate(found.schema):
        if pa.types.is_decimal(item.type) or not isinstance(item.type, pa.ExtensionType):
            continue
        # JSON leaves DuckDB as an extension type; files hold its text.
        storage = found.column(place).cast(item.type.storage_type)
        found = found.set_column(place, pa.field(item.name, item.type.storage_type), storage)
    return found


def _name(command: c.Unload) -> str:
    extension = (
        command.extension
        or {"parquet": "parquet", "json": "json", "csv": "", "text": ""}[command.format]
    )
    compressed = "gz" if command.gzip else ""
    base = "0000_part_00" if command.parallel else "000"
    if command.format == "json" and not command.extension:
        extension = ""
    return ".".join(filter(None, (base, extension, compressed if not command.extension else "")))


def _encoded(command: c.Unload, rows: Any) -> bytes:
    out = io.BytesIO()
    if command.format == "parquet":
        pq.write_table(rows, out, compression="snappy")
        return out.getvalue()
    text = io.StringIO(newline="")
    if command.format == "json":
        for row in rows.to_pylist():
            text.write(json.dumps(row, default=_json_value) + "\n")
    else:
        delimiter = (
            "," if command.format == "csv" and command.delimiter == "|" else command.delimiter
        )
        writer = csv.writer(
            text,
            delimiter=delimiter,
            lineterminator="\n",
            quoting=csv.QUOTE_MINIMAL if command.format == "csv" else csv.QUOTE_NONE,
            quotechar='"' if command.format == "csv" else None,
            escapechar=None if command.format == "csv" else "\\",
        )
        if command.header:
            writer.writerow(rows.schema.names)
        for row in rows.to_pylist():
            writer.writerow([command.null_as if x is None else _cell(x) for x in row.values()])
    body = text.getvalue().encode()
    return gzip.compress(body) if command.gzip else body


def _json_value(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else str(value)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value)
