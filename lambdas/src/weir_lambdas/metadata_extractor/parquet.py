"""Columns of a Parquet part: by its footer where that suffices, else by reading them one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from weir_lambdas.file_processor.columns import typed_columns
from weir_lambdas.landing.infer import Inference
from weir_lambdas.metadata_extractor.measure import ColumnMeasure

BATCH_ROWS = 65_536
BATCH_BYTES = 32 * 1024 * 1024
"""Values of one column that are held at once."""

BUFFER_BYTES = 1024 * 1024


@dataclass
class ParquetPart:
    """One Parquet part that is open.

    Parameters
    ----------
    file
        The part; read by ranges.
    """

    file: IO[bytes]

    def __post_init__(self) -> None:
        self._parquet = pq.ParquetFile(
            self.file, buffer_size=BUFFER_BYTES, pre_buffer=False, coerce_int96_timestamp_unit="us"
        )
        self.schema: pa.Schema = self._parquet.schema_arrow

    @property
    def names(self) -> list[str]:
        """The top-level columns."""
        return list(self.schema.names)

    def groups(self, limit: int) -> list[int]:
        """The row groups that are read: as many, evenly spread, as the limit in stored bytes takes."""
        sizes = [
            sum(
                self._parquet.metadata.row_group(number).column(place).total_compressed_size
                for place in range(self._parquet.metadata.row_group(number).num_columns)
            )
            for number in range(self._parquet.metadata.num_row_groups)
        ]
        from weir_lambdas.metadata_extractor.sample import chosen

        return chosen(sizes, limit)

    def rows(self, groups: list[int]) -> int:
        """Rows of these row groups."""
        return sum(self._parquet.metadata.row_group(number).num_rows for number in groups)

    def infer(self, inference: Inference) -> None:
        """Take the columns' types into account, as the schema states them."""
        inference.see_columns(typed_columns(self.schema))

    def measure(self, name: str, groups: list[int], measure: ColumnMeasure) -> None:
        """Take one column of these row groups into account.

        Nulls, least and greatest come from the footer where every row group's statistics have
        them (Parquet format, *Statistics*); different values need the column itself.
        """
        kind = self.schema.field(name).type
        if pa.types.is_nested(kind):
            measure.nested()
            measure.present += sum(
                len(batch) - batch.null_count for batch in self._batches(name, groups)
            )
            return
        told = self._told(name, groups)
        for low, high in told or ():
            measure.bounds(low, high)
        for batch in self._batches(name, groups):
            present = len(batch) - batch.null_count
            unique = pc.unique(batch.drop_null())
            if pa.types.is_dictionary(unique.type):
                unique = unique.dictionary_decode()
            measure.count(present, unique.to_pylist())
            if told is None and present and _compares(kind):
                ends = pc.min_max(batch)
                measure.bounds(ends["min"].as_py(), ends["max"].as_py())

    def _told(self, name: str, groups: list[int]) -> list[tuple[Any, Any]] | None:
        """The ends of each row group by the footer; None where one does not tell."""
        place = self.names.index(name)
        if self._parquet.metadata.num_columns != len(self.names):
            place = next(
                at
                for at in range(self._parquet.metadata.num_columns)
                if self._parquet.metadata.schema.column(at).path == name
            )
        found = []
        for number in groups:
            column = self._parquet.metadata.row_group(number).column(place)
            told = column.statistics if column.is_stats_set else None
            if told is None:
                return None
            if not told.has_min_max:
                if told.has_null_count and told.null_count == column.num_values:
                    continue
                return None
            low, high = told.min, told.max
            found.append((low, high))
        return found

    def _batches(self, name: str, groups: list[int]) -> Iterator[Any]:
        weight = max(1, self._weight(name, groups))
        size = max(1, min(BATCH_ROWS, BATCH_BYTES // weight))
        for batch in self._parquet.iter_batches(size, row_groups=groups, columns=[name]):
            if name in batch.schema.names:
                yield batch.column(0)

    def _weight(self, name: str, groups: list[int]) -> int:
        """Bytes of one value of a column, on the average."""
        size = values = 0
        for number in groups:
            group = self._parquet.metadata.row_group(number)
            for at in range(group.num_columns):
                column = group.column(at)
                if column.path_in_schema.partition(".")[0] == name:
                    size += column.total_uncompressed_size
            values += group.num_rows
        return size // max(1, values)


def _compares(kind: pa.DataType) -> bool:
    """Whether values of a type have a least and a greatest that people would want to know."""
    return not (
        pa.types.is_boolean(kind) or pa.types.is_binary(kind) or pa.types.is_dictionary(kind)
    )
