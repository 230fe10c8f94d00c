"""A landing's metadata, out of its manifest and its parts. Memory is bounded whatever their size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from weir_contract.manifest import Manifest, Part
from weir_contract.metadata import GUARDED, ColumnMetadata, LandingMetadata, schema_fingerprint
from weir_contract.rows import Field, RowContract
from weir_lambdas.file_processor.reading import Located, S3File
from weir_lambdas.file_processor.unpack import STREAMS, Unreadable
from weir_lambdas.landing.infer import MAX_COLUMNS, Columns, Inference, columns_of, value_at
from weir_lambdas.metadata_extractor.jsonlines import lines, records
from weir_lambdas.metadata_extractor.measure import NUMERIC, ColumnMeasure
from weir_lambdas.metadata_extractor.sample import SAMPLE_BYTES, chosen

CHUNK_BYTES = 1024 * 1024
BATCH_ROWS = 4_096


class Measuring:
    """The measures of one landing, as its records go by.

    Parameters
    ----------
    contract
        What the source promises: guarded columns, what texts stand for, paths that lie deeper.
    """

    def __init__(self, contract: RowContract) -> None:
        self._guarded = {_head(item) for item in contract.fields if item.classification in GUARDED}
        self._deep = {item.path: item for item in contract.fields if not _is_top(item)}
        self._guarded_deep = {
            item.path for item in self._deep.values() if item.classification in GUARDED
        }
        self._numeric = {
            item.path for item in contract.fields if (item.type or "").partition("(")[0] in NUMERIC
        }
        self._open = Inference(RowContract())
        self._paths = Inference(RowContract(fields=tuple(Field(path, path) for path in self._deep)))
        self._columns: dict[str, ColumnMeasure] = {}
        self._left_out: set[str] = set()
        self.rows = self.unreadable = 0

    def column(self, key: str) -> ColumnMeasure | None:
        """The measure of a top-level key, or None for one too many."""
        found = self._columns.get(key)
        if found is None:
            if len(self._columns) >= MAX_COLUMNS:
                if len(self._left_out) < MAX_COLUMNS:
                    self._left_out.add(key)
                return None
            found = ColumnMeasure(key in self._guarded, key in self._numeric)
            self._columns[key] = found
        return found

    def see(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take records into account."""
        self.rows += len(rows)
        alike = columns_of(rows)
        self._open.see_all(rows if alike is None else Columns(alike))
        columns: Mapping[str, Sequence[Any]] = _gathered(rows) if alike is None else alike
        for key, values in columns.items():
            measure = self.column(key)
            if measure is not None:
                measure.see(values)
        if self._deep:
            self._paths.see_all(rows)
            for path in self._deep:
                deep = self._columns.get(path)
                if deep is None:
                    deep = ColumnMeasure(path in self._guarded_deep, path in self._numeric)
                    self._columns[path] = deep
                deep.see([value_at(row, path) for row in rows])

    def see_parquet(self, part: Any, groups: list[int]) -> None:
        """Take row groups of a Parquet part into account."""
        self.rows += part.rows(groups)
        part.infer(self._open)
        for name in part.names:
            measure = self.column(name)
            if measure is not None:
                part.measure(name, groups, measure)

    def columns(self) -> tuple[ColumnMetadata, ...]:
        """Every column, in order of the names. A deeper path without a value is no column: whether
        it is null or not there can't be told."""
        named = self._open.paths
        types = {named[name]: kind for name, kind in self._open.types.items()}
        types |= self._paths.types
        return tuple(
            measure.metadata(key, types.get(key), self.rows)
            for key, measure in sorted(self._columns.items())
            if measure.present or key not in self._deep
        )

    @property
    def left_out(self) -> int:
        """Columns beyond the most that are measured."""
        return len(self._left_out)


def _head(item: Field) -> str:
    """The top-level key under which a field's value stands."""
    return item.path.partition(".")[0].partition("[")[0] or item.path


def _is_top(item: Field) -> bool:
    return not any(letter in item.path for letter in ".[")


def _gathered(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows with different keys as columns; a key that a row lacks is counted by its absence."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        for key, value in row.items():
            found.setdefault(key, []).append(value)
    return found


class Extractor:
    """Measures landings.

    Parameters
    ----------
    s3
        An S3 client.
    enough
        Whether the function's time is nearly over: the rest is left out then, and it is said.
    limit
        Stored bytes that are read of a landing.
    """

    def __init__(
        self, s3: Any, enough: Callable[[], bool] = lambda: False, limit: int = SAMPLE_BYTES
    ) -> None:
        self._s3, self._enough, self._limit = s3, enough, limit

    def extract(self, manifest: Manifest, contract: RowContract) -> LandingMetadata:
        """A landing's metadata.

        Parameters
        ----------
        contract
            The frozen contract with the classifications that are stated now.

        Raises
        ------
        botocore.exceptions.ClientError
            A part can't be read.
        """
        measuring = Measuring(contract)
        parts = [part for part in manifest.parts if part.rows]
        left = self._limit
        read, whole = 0, True
        picked = chosen([part.bytes for part in parts], self._limit)
        for number, index in enumerate(picked):
            if number and self._enough():
                whole = False
                break
            size, all_of_it = self._read(manifest.bucket, parts[index], left, measuring)
            left -= size
            read += 1
            whole = whole and all_of_it
        columns = _typed(measuring.columns(), manifest, contract)
        formats = {part.format for part in parts}
        return LandingMetadata(
            source=manifest.source,
            sequence=manifest.sequence,
            run=manifest.run,
            landed_time=manifest.landed_time,
            rows=manifest.rows,
            bytes=manifest.bytes,
            parts=len(manifest.parts),
            rows_read=measuring.rows,
            rows_unreadable=measuring.unreadable,
            bytes_read=self._limit - left,
            parts_read=read,
            sampled=not whole or read < len(parts),
            fingerprint=schema_fingerprint((one.name, one.type) for one in columns),
            landing_fingerprint=manifest.fingerprint,
            columns=columns,
            columns_left_out=measuring.left_out,
            format="mixed" if len(formats) > 1 else next(iter(formats), "jsonl"),
        )

    def _read(self, bucket: str, part: Part, limit: int, measuring: Measuring) -> tuple[int, bool]:
        """Read a part. Returns the stored bytes that were read, and whether that was all of it."""
        if part.format == "parquet":
            return self._read_parquet(bucket, part, limit, measuring)
        version = {"VersionId": part.version_id} if part.version_id else {}
        body = self._s3.get_object(Bucket=bucket, Key=part.key, **version)["Body"]
        told = _Told(body.iter_chunks(CHUNK_BYTES), limit if part.bytes > limit else part.bytes)
        plain = STREAMS["gzip" if part.key.endswith(".gz") else "none"](told.chunks())
        stopped = False
        for some in lines(_until(plain, lambda: told.over), lambda: told.over):
            for start in range(0, len(some), BATCH_ROWS):
                rows = records(some[start : start + BATCH_ROWS])
                measuring.unreadable += min(len(some) - start, BATCH_ROWS) - len(rows)
                if rows:
                    measuring.see(rows)
            if self._enough():
                stopped = True
                break
        body.close()
        return told.size, not (stopped or told.over)

    def _read_parquet(
        self, bucket: str, part: Part, limit: int, measuring: Measuring
    ) -> tuple[int, bool]:
        # Arrow takes a third of a second to load: only where there is Parquet.
        from weir_lambdas.metadata_extractor.parquet import ParquetPart

        version = {"VersionId": part.version_id} if part.version_id else {}
        etag = self._s3.head_object(Bucket=bucket, Key=part.key, **version)["ETag"].strip('"')
        with ThreadPoolExecutor(1) as pool:
            located = Located(bucket, part.key, etag, part.bytes, part.version_id)
            opened = ParquetPart(S3File(self._s3, located, pool).seekable())
            groups = opened.groups(max(limit, 1))
            measuring.see_parquet(opened, groups)
            return min(part.bytes, limit), opened.rows(groups) == part.rows


class _Told:
    """Chunks up to a limit, and whether it was reached before their end."""

    def __init__(self, chunks: Iterable[bytes], limit: int) -> None:
        self._chunks, self._limit = chunks, limit
        self.size, self.over = 0, False

    def chunks(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if self.size + len(chunk) > self._limit and self.size:
                self.over = True
                return
            self.size += len(chunk)
            yield chunk


def _until(chunks: Iterator[bytes], cut: Callable[[], bool]) -> Iterator[bytes]:
    """Plain text up to where the packed stream was cut on purpose."""
    try:
        yield from chunks
    except Unreadable:
        if not cut():
            raise


def _typed(
    columns: Iterable[ColumnMetadata], manifest: Manifest, contract: RowContract
) -> tuple[ColumnMetadata, ...]:
    """The columns with the types that the landing itself has inferred, where it has: from every
    row, and from texts of CSV, which are not told by JSON."""
    inferred = {
        item.path: manifest.inferred[item.name]
        for item in contract.fields
        if item.name in manifest.inferred
    }
    return tuple(
        replace(one, type=inferred.get(one.name, one.type)) if one.type is not None else one
        for one in columns
    )
