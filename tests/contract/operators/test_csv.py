"""CSV passes the suites that every operator passes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa

from operators.csv import CsvInput, CsvOutput
from orchestrator.sdk.conformance import FileOutputConformance, InputConformance
from orchestrator.sdk.testing import encode, make_context, read_all
from orchestrator.sdk.types import type_name


class TestCsvInput(InputConformance):
    def source(self, folder: Path, table: pa.Table) -> CsvInput:
        (folder / "in.csv").write_bytes(encode(CsvOutput(path="x"), table.to_batches(), table.schema))
        return CsvInput(
            path="in.csv", columns={column.name: type_name(column.type) for column in table.schema}
        )


class TestCsvInputOfSemicolonsAndCrlf(InputConformance):
    """Written by Python's own writer; it knows no null, so the tables hold none that a text could be."""

    def source(self, folder: Path, table: pa.Table) -> CsvInput:
        with (folder / "in.csv").open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.writer(file, delimiter=";", quotechar="'")
            writer.writerows([row.values() for row in table.to_pylist()])
        columns = {column.name: type_name(column.type) for column in table.schema}
        return CsvInput(path="in.csv", delimiter=";", quote="'", has_header=False, columns=columns)

    def expected(self, table: pa.Table) -> list[dict[str, Any]]:
        return [
            {name: None if value == "" else value for name, value in row.items()} for row in table.to_pylist()
        ]


class TestCsvOutput(FileOutputConformance):
    def output(self, path: str) -> CsvOutput:
        return CsvOutput(path=path)

    def read(self, path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
        """By pyarrow's reader, which keeps quoted empty texts apart from nulls."""
        from pyarrow import csv as arrow_csv

        table = arrow_csv.read_csv(
            path,
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=schema,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        rows: list[dict[str, Any]] = table.cast(schema).to_pylist()
        return rows


def test_an_output_without_a_header_is_read_back_by_names(tmp_path: Path) -> None:
    batch = pa.record_batch({"a": [1, None], "b": ["", None]})
    (tmp_path / "x.csv").write_bytes(encode(CsvOutput(path="x", has_header=False, delimiter="\t"), [batch]))
    source = CsvInput(path="x.csv", has_header=False, delimiter="\t", columns={"a": "int64", "b": "string"})
    assert read_all(source, make_context(tmp_path)) == [batch]
