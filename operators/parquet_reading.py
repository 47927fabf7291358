"""Reading a Parquet file: batches within one row group after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from operators.local_file import check_unchanged, clear_errors
from orchestrator.errors import OperatorError, nearest
from orchestrator.sdk.input import EndOfInput, Reader
from orchestrator.sdk.types import canonical_batch, canonical_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestrator.sdk.context import Context


class ParquetReader(Reader):
    """Its position is a row group, and how many of its rows were given."""

    def __init__(
        self,
        context: Context,
        split: Mapping[str, Any],
        columns: Sequence[str],
        position: Mapping[str, int] | None,
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._context, self._split, self._path = context, split, split["path"]
        with clear_errors(self._path):
            self._source = pa.OSFile(self._path, "rb")
        try:
            check_unchanged(self._source.fileno(), split)
            with self._named_errors():
                self._file = pq.ParquetFile(self._source, pre_buffer=False, buffer_size=1 << 20)
                found = self._file.schema_arrow
            self._columns = _chosen(self._path, found.names, columns)
            self.schema = canonical_schema(pa.schema([found.field(name) for name in self._columns]))
        except BaseException:
            self._source.close()
            raise
        self._group, self._given = (position["row_group"], position["rows"]) if position else (0, 0)
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._rest: pa.RecordBatch | None = None

    def read(self) -> pa.RecordBatch:
        rest = self._rest if self._rest is not None else self._next_batch()
        batch = rest.slice(0, self._context.batch_rows)
        while batch.nbytes > self._context.batch_bytes and batch.num_rows > 1:
            batch = batch.slice(0, (batch.num_rows + 1) // 2)
        self._rest = rest.slice(batch.num_rows) if batch.num_rows < rest.num_rows else None
        self._given += batch.num_rows
        return batch

    @property
    def position(self) -> dict[str, int]:
        group, rows = self._group, self._given
        if rows and rows == self._file.metadata.row_group(group).num_rows:
            group, rows = group + 1, 0
        return {"row_group": group, "rows": rows}

    def close(self) -> None:
        self._batches = None
        self._source.close()

    def _next_batch(self) -> pa.RecordBatch:
        """The next rows of the row group at hand, or of the next one that has any."""
        while self._group < self._file.num_row_groups:
            if self._batches is None:
                self._batches = self._row_group(self._given)
            with self._named_errors():
                for batch in self._batches:
                    return batch
            self._group, self._given, self._batches = self._group + 1, 0, None
        check_unchanged(self._source.fileno(), self._split)
        raise EndOfInput

    def _row_group(self, skip: int) -> Iterator[pa.RecordBatch]:
        """The rows of the row group at hand, without the first ones that were given already."""
        read = self._file.iter_batches(
            self._context.batch_rows, row_groups=[self._group], columns=self._columns
        )
        for batch in read:
            left = batch.slice(skip)
            skip = max(0, skip - batch.num_rows)
            if left.num_rows:
                yield canonical_batch(left.select(self._columns))

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Say of an error in the file which file it is, and where in it."""
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, OSError) as error:
            group = getattr(self, "_group", None)
            where = "" if group is None else f", row group {group}"
            raise OperatorError(
                f"{self._path}{where} cannot be read as Parquet: {error}",
                hint="name a complete Parquet file",
                retry=False,
            ) from None


def _chosen(path: str, names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The columns to read; `OperatorError` where one is not there, or its name is not unique."""
    for name in wanted:
        if name not in names:
            raise OperatorError(f"{path} has no column {name!r}", hint=nearest(name, names), retry=False)
    for name in wanted or names:
        if names.count(name) > 1:
            raise OperatorError(f"{path} has two columns {name!r}", hint="rename one", retry=False)
    return list(wanted or names)
