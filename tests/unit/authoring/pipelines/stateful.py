from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from operators import CsvInput, CsvOutput
from orchestrator import DAG, processor


class Numbered:
    """Number the rows, beginning at `start`."""

    def __init__(self, *, start: int = 0) -> None:
        self.next = start

    def process(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        numbers: Any = pa.array(range(self.next, self.next + batch.num_rows), pa.int64())
        self.next += batch.num_rows
        yield batch.append_column("number", numbers)

    def snapshot(self) -> bytes:
        return str(self.next).encode()

    def restore(self, state: bytes) -> None:
        self.next = int(state)


numbered = processor(state_version=2)(Numbered)


@processor(rows=True)
def shout(row: dict[str, Any], *, column: str = "name") -> dict[str, Any]:
    """Write one column in capitals."""
    return {**row, column: row[column].upper()}


with DAG("numbered", settings={"checkpoint": {"every_batches": 1}}) as dag:
    people = CsvInput("people", path="data/people.csv")
    people >> shout >> numbered("numbers", start=1) >> CsvOutput("out", path="out/numbered.csv")
