"""Parquet passes the suites that every operator passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from operators.parquet import ParquetInput, ParquetOutput
from orchestrator.sdk.conformance import FileOutputConformance, InputConformance


class TestParquetInput(InputConformance):
    def source(self, folder: Path, table: pa.Table) -> ParquetInput:
        pq.write_table(table, folder / "in.parquet", row_group_size=3)
        return ParquetInput(path="in.parquet")


class TestParquetInputOfPolars(InputConformance):
    """Written by polars: its texts are large, and canonical when read."""

    def source(self, folder: Path, table: pa.Table) -> ParquetInput:
        frame: Any = pl.from_arrow(table)
        frame.write_parquet(folder / "in.parquet", row_group_size=5)
        return ParquetInput(path="in.parquet", columns=tuple(table.column_names))


class TestParquetOutput(FileOutputConformance):
    def output(self, path: str) -> ParquetOutput:
        return ParquetOutput(path=path, row_group_rows=4)

    def read(self, path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pl.read_parquet(path).to_arrow().cast(schema).to_pylist()
        return rows
