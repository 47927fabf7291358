"""Parquet files, by Arrow's reader and writer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from orchestrator.errors import OperatorError, nearest
from orchestrator.sdk.fields import Templated
from orchestrator.sdk.input import EndOfInput, Input, Reader
from orchestrator.sdk.operator import SchemaProblem, Schemas, operator
from orchestrator.sdk.output import Encoder, FileOutput
from orchestrator.sdk.types import canonical_batch, canonical_schema, type_name

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

    from orchestrator.sdk.context import Context

Compression = Literal["zstd", "snappy", "gzip", "none"]
GROUP_BYTES = 32 << 20  # of Arrow memory: what the writer keeps until it encodes a row group
GROUP_ROWS = 1 << 20
TAIL = 8  # the footer's length and the magic


@operator("parquet")
class ParquetInput(Input):
    """Reads one Parquet file, row group by row group."""

    path: Templated[str] = Field(description="The file.", min_length=1)
    columns: tuple[str, ...] | None = Field(
        default=None, description="The columns to read, in order; all by default."
    )

    def discover(self, context: Context) -> pa.Schema | None:
        path = context.resolve(self.path)
        if not path.exists():
            return None
        [split] = self.plan(context)
        with _opened(split) as file:
            return _selected(file, self.columns, self.path)

    def plan(self, context: Context) -> Sequence[Any]:
        from operators.local_file import plan_file

        return [plan_file(context, self.path)]

    def open(self, context: Context, split: Any, position: Any | None) -> Reader:
        return ParquetReader(context, split, self.columns, self.path, position or {"group": 0, "row": 0})


class ParquetReader(Reader):
    """Gives batches of one row group after another; a position is a row of a row group."""

    def __init__(
        self, context: Context, split: Any, columns: Sequence[str] | None, shown: str, position: Any
    ) -> None:
        self._file = _opened(split)
        self._context, self._columns, self._shown = context, columns, shown
        self.schema = _selected(self._file, columns, shown)
        self._group, self._row = position["group"], position["row"]
        self._batches = self._after(self._row)

    def read(self) -> pa.RecordBatch:
        while True:
            try:
                batch = next(self._batches, None)
            except (OSError, ValueError) as error:
                raise _damaged(self._shown, f"row group {self._group + 1}: {error}") from None
            if batch is not None:
                self._row += batch.num_rows
                return canonical_batch(batch)
            if self._group >= self._file.num_row_groups:
                raise EndOfInput
            self._group, self._row = self._group + 1, 0
            self._batches = self._after(0)

    @property
    def position(self) -> Any:
        return {"group": self._group, "row": self._row}

    def close(self) -> None:
        self._file.close()

    def _after(self, row: int) -> Iterator[pa.RecordBatch]:
        """The batches of the present row group from a row on."""
        if self._group >= self._file.num_row_groups:
            return
        rows = max(1, min(self._context.batch_rows, self._rows_that_fit()))
        columns = None if self._columns is None else list(self._columns)
        for batch in self._file.iter_batches(batch_size=rows, row_groups=[self._group], columns=columns):
            skipped = min(row, batch.num_rows)
            row -= skipped
            if skipped < batch.num_rows:
                # Arrow gives columns in the file's order, whatever was asked for.
                yield batch.slice(skipped).select(self.schema.names)

    def _rows_that_fit(self) -> int:
        group = self._file.metadata.row_group(self._group)
        return int(self._context.batch_bytes // max(1, group.total_byte_size // max(1, group.num_rows)))


@operator("parquet")
class ParquetOutput(FileOutput):
    """Writes Parquet files. One file is joined from its epochs' parts without encoding anything twice."""

    suffix: ClassVar[str] = ".parquet"

    compression: Compression = Field(default="zstd", description="How pages are packed.")
    row_group_rows: int = Field(default=GROUP_ROWS, ge=1, description="The most rows of a row group.")

    def output_schemas(self, inputs: Schemas) -> Schemas:
        schema = inputs.get("in")
        for column in schema or ():
            if str(column.type) in ("month_day_nano_interval", "month_interval", "day_time_interval"):
                raise SchemaProblem(
                    f"column {column.name!r} is {type_name(column.type)}, which a Parquet file cannot hold",
                    hint="turn it into text before",
                )
        return {}

    def encoder(self, file: IO[bytes], schema: pa.Schema, *, beginning: bool) -> Encoder:
        return ParquetEncoder(file, schema, self.compression, self.row_group_rows)

    def join(self, parts: Sequence[Path], target: IO[bytes], schema: pa.Schema) -> None:
        if not parts:
            ParquetEncoder(target, schema, self.compression, self.row_group_rows).close()
            return
        from operators.parquet_footer import MAGIC, join_footers

        target.write(MAGIC)
        footers = []
        for part in parts:
            footer, length = _footer(part)
            footers.append((footer, target.tell() - len(MAGIC)))
            _copy(part, target, len(MAGIC), length - TAIL - len(footer))
        try:
            footer = join_footers(footers)
        except ValueError as error:
            raise OperatorError(f"the parts cannot be joined: {error}", retry=False) from None
        target.write(footer + len(footer).to_bytes(4, "little") + MAGIC)


class ParquetEncoder(Encoder):
    """Gathers batches into row groups: small ones would cost both space and time."""

    def __init__(self, file: IO[bytes], schema: pa.Schema, compression: Compression, group_rows: int) -> None:
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(file, schema, compression=compression)
        self._group_rows = group_rows
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= self._group_rows or self._bytes >= GROUP_BYTES:
            self._encode()

    def close(self) -> None:
        self._encode()
        self._writer.close()

    def _encode(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_batches(self._waiting), row_group_size=self._group_rows)
        self._waiting, self._rows, self._bytes = [], 0, 0


def _opened(split: Any) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from operators.local_file import open_planned

    os.close(open_planned(split))
    try:
        return pq.ParquetFile(split["path"], memory_map=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(split["path"], str(error)) from None


def _damaged(path: str, said: str) -> OperatorError:
    return OperatorError(
        f"{path} is no Parquet file, or a damaged one: {said}",
        hint="check what wrote it, and its path",
        retry=False,
    )


def _selected(file: pq.ParquetFile, columns: Sequence[str] | None, shown: str) -> pa.Schema:
    import pyarrow as pa

    schema = canonical_schema(file.schema_arrow)
    if columns is None:
        return schema
    for name in columns:
        if name not in schema.names:
            raise OperatorError(
                f"{shown} has no column {name!r}", hint=nearest(name, schema.names), retry=False
            )
    return pa.schema([schema.field(name) for name in columns])


def _footer(path: Path) -> tuple[bytes, int]:
    """The footer of a Parquet file, and the file's length."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(length - TAIL)
        size = int.from_bytes(file.read(4), "little")
        file.seek(length - TAIL - size)
        return file.read(size), length


def _copy(part: Path, target: IO[bytes], start: int, stop: int) -> None:
    """Append bytes of a file inside the kernel."""
    target.flush()
    with part.open("rb") as source:
        while start < stop:
            moved = os.sendfile(target.fileno(), source.fileno(), start, min(stop - start, 1 << 30))
            if not moved:
                raise OSError(f"{part} ended early")
            start += moved
    target.seek(0, os.SEEK_END)
