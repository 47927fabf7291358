"""Parquet files: columns, compressed, with their schema."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from orchestrator.errors import OperatorError
from orchestrator.sdk.fields import ByteSize, Templated
from orchestrator.sdk.input import Input, Reader
from orchestrator.sdk.operator import SchemaProblem, Schemas, operator
from orchestrator.sdk.output import Encoder, FileOutput

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestrator.sdk.context import Context


@operator("parquet")
class ParquetInput(Input):
    """Reads one Parquet file, row group by row group."""

    path: Templated[str] = Field(description="The file.", min_length=1)
    columns: Sequence[str] = Field(
        default=(), description="The columns to read, in this order; all where none is named."
    )

    def discover(self, context: Context) -> pa.Schema | None:
        from operators.parquet_reading import ParquetReader

        if not context.resolve(self.path).exists():
            return None
        [split] = self.plan(context)
        reader = ParquetReader(context, split, self.columns, None)
        reader.close()
        return reader.schema

    def plan(self, context: Context) -> Sequence[Any]:
        from operators.local_file import plan_file

        return [plan_file(context, self.path)]

    def open(self, context: Context, split: Any, position: Any | None) -> Reader:
        from operators.parquet_reading import ParquetReader

        return ParquetReader(context, split, self.columns, position)


@operator("parquet")
class ParquetOutput(FileOutput):
    """Writes Parquet files.

    A row group is closed when it holds `row_group_rows` rows or `row_group_bytes` bytes of memory, and at the
    end of an epoch; the parts of a single file are joined without encoding anything twice.
    """

    suffix: ClassVar[str] = ".parquet"

    compression: Literal["zstd", "snappy", "none"] = Field(
        default="zstd", description="How pages are compressed; zstd at level 1."
    )
    row_group_rows: int = Field(default=262_144, ge=1, description="The most rows of a row group.")
    row_group_bytes: ByteSize = Field(
        default=64 << 20, ge=1, description="Bytes in memory at which a row group is closed."
    )

    def output_schemas(self, inputs: Schemas) -> Schemas:
        schema = inputs.get("in")
        problem = unwritable(schema) if schema is not None else ""
        if problem:
            raise SchemaProblem(problem, hint="turn it into another type before")
        return {}

    def encoder(self, file: IO[bytes], schema: pa.Schema, *, beginning: bool) -> Encoder:
        problem = unwritable(schema)
        if problem:
            raise OperatorError(problem, hint="turn it into another type before", retry=False)
        return ParquetEncoder(self, file, schema)

    def join(self, parts: Sequence[Path], target: IO[bytes], schema: pa.Schema) -> None:
        from operators.parquet_footer import join_files

        if parts:
            join_files(parts, target)
        else:
            self.encoder(target, schema, beginning=True).close()


def unwritable(schema: pa.Schema) -> str:
    """What is wrong with the first column that Parquet cannot hold; empty where all fit."""
    import pyarrow as pa

    if _fits(schema):
        return ""
    bad = next(column for column in schema if not _fits(pa.schema([column])))
    return f"column {bad.name!r} is {bad.type}, which a Parquet file cannot hold"


def _fits(schema: pa.Schema) -> bool:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.ParquetWriter(io.BytesIO(), schema).close()
    except pa.ArrowNotImplementedError:
        return False
    return True


class ParquetEncoder(Encoder):
    """Collects batches into row groups, and writes each as it is full."""

    def __init__(self, output: ParquetOutput, file: IO[bytes], schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self._schema = schema
        self._most_rows, self._most_bytes = output.row_group_rows, output.row_group_bytes
        level = 1 if output.compression == "zstd" else None
        self._writer = pq.ParquetWriter(file, schema, compression=output.compression, compression_level=level)
        self._held: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        while batch.num_rows:
            part = batch.slice(0, self._most_rows - self._rows)
            self._held.append(part)
            self._rows += part.num_rows
            self._bytes += part.nbytes
            if self._rows >= self._most_rows or self._bytes >= self._most_bytes:
                self._write_row_group()
            batch = batch.slice(part.num_rows)

    def close(self) -> None:
        self._write_row_group()
        self._writer.close()

    def _write_row_group(self) -> None:
        import pyarrow as pa

        if self._held:
            table = pa.Table.from_batches(self._held, self._schema)
            self._held, rows = [], self._rows
            self._rows = self._bytes = 0
            self._writer.write_table(table, row_group_size=rows)
