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
        pq.write_table(table, folder / "in.parquet", row_group_size=4)
        return ParquetInput(path="in.parquet")


class TestParquetOutput(FileOutputConformance):
    def output(self, path: str) -> ParquetOutput:
        return ParquetOutput(path=path)

    def read(self, path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(path).cast(schema).to_pylist()
        return rows


class TestParquetOutputReadByPolars(TestParquetOutput):
    def read(self, path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pl.read_parquet(path).to_arrow().cast(schema).to_pylist()
        return rows
