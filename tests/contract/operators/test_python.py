"""python passes the suite of processors: a function of batches, one of rows, a class with state."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.sdk.conformance import ProcessorConformance
from orchestrator.sdk.function import processor
from orchestrator.sdk.python import Python


@processor
def doubled(batch: pa.RecordBatch, *, factor: int = 2) -> Any:
    small: Any = batch["number"].fill_null(0)
    small = pc.divide(small, 1000)
    return batch.append_column("doubled", pc.multiply(small, factor))


@processor(rows=True)
def loud(row: dict[str, Any], *, mark: str = "!") -> Any:
    return {**row, "text": (row["text"] or "") + mark} if row["id"] != 3 else None


class Counted:
    def __init__(self, *, start: int = 0) -> None:
        self.seen = start

    def process(self, batch: pa.RecordBatch) -> Any:
        first, self.seen = self.seen, self.seen + batch.num_rows
        return batch.append_column("number_so_far", pa.array(range(first, self.seen), pa.int64()))

    def snapshot(self) -> bytes:
        return json.dumps(self.seen).encode()

    def restore(self, state: bytes) -> None:
        self.seen = json.loads(state)


counted = processor(Counted)


class TestFunctionOfBatches(ProcessorConformance):
    def processor(self) -> Python:
        return doubled("x", factor=3)


class TestFunctionOfRows(ProcessorConformance):
    def processor(self) -> Python:
        return loud("x", mark="?")


class TestClassWithState(ProcessorConformance):
    def processor(self) -> Python:
        return counted("x", start=5)
