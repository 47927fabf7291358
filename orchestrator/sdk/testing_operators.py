"""Operators for tests of what surrounds operators: a list of rows, a target in memory, state that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from orchestrator.sdk.context import Context
from orchestrator.sdk.input import EndOfInput, Input, InputChanged, Reader
from orchestrator.sdk.operator import Schemas, operator
from orchestrator.sdk.output import Applier, ApplyOutput, Delivery, LedgerGone
from orchestrator.sdk.processor import Emitted, Processor, ProcessorRuntime
from orchestrator.sdk.testing import as_rows, schema_of
from orchestrator.sdk.types import TypeName

if TYPE_CHECKING:
    import pyarrow as pa


@operator("list")
class ListInput(Input):
    """Gives rows that are written down in its configuration; each split is a list of rows."""

    columns: dict[str, TypeName] = Field(description="Names and types of the columns.")
    rows: list[list[Any]] = Field(default_factory=list, description="The rows, each a list of values.")
    split_rows: int = Field(default=0, ge=0, description="Rows of one split; 0 makes one split.")

    def discover(self, context: Context) -> pa.Schema:
        return schema_of(self.columns)

    def output_schemas(self, inputs: Schemas) -> Schemas:
        return {"out": schema_of(self.columns)}

    def plan(self, context: Context) -> Sequence[Any]:
        size = self.split_rows or max(len(self.rows), 1)
        return [
            {"start": start, "stop": min(start + size, len(self.rows)), "of": len(self.rows)}
            for start in range(0, max(len(self.rows), 1), size)
        ]

    def open(self, context: Context, split: Any, position: Any | None) -> Reader:
        if split["of"] != len(self.rows):
            raise InputChanged(f"the list had {split['of']} rows and has {len(self.rows)}")
        return _ListReader(self, context, split, position)


class _ListReader(Reader):
    def __init__(self, source: ListInput, context: Context, split: Any, position: Any | None) -> None:
        self.schema = source.discover(context)
        self._rows, self._stop = source.rows, split["stop"]
        self._next: int = split["start"] if position is None else position
        self._size = context.batch_rows

    def read(self) -> pa.RecordBatch:
        import pyarrow as pa

        if self._next >= self._stop:
            raise EndOfInput
        rows = self._rows[self._next : min(self._next + self._size, self._stop)]
        self._next += len(rows)
        columns = [
            pa.array([row[index] for row in rows], column.type) for index, column in enumerate(self.schema)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    @property
    def position(self) -> int:
        return self._next


@dataclass
class MemoryTarget:
    """What a `ListOutput` filled: rows, and the epoch that each writer reached."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    ledger: dict[str, int] = field(default_factory=dict)


@operator("list")
class ListOutput(ApplyOutput):
    """Appends rows to a target in this process's memory, which outlives the applier."""

    targets: ClassVar[dict[str, MemoryTarget]] = {}

    target: str = Field(description="The name of the target.")

    def open(self, context: Context) -> Applier:
        return _ListApplier(self.targets.setdefault(self.target, MemoryTarget()))


class _ListApplier(Applier):
    def __init__(self, target: MemoryTarget) -> None:
        self._target = target

    def prepare_stage(self, writer: str, base: int) -> None:
        self._target.ledger.setdefault(writer, base)

    def apply(self, delivery: Delivery) -> None:
        held = self.held_epoch(delivery.writer)
        if held is None:
            raise LedgerGone(f"the ledger row of {delivery.writer} is gone")
        if held < delivery.epoch:
            batches = (batch for part in delivery.parts for batch in part.batches())
            self._target.rows.extend(as_rows(batches))
            self._target.ledger[delivery.writer] = delivery.epoch

    def held_epoch(self, writer: str) -> int | None:
        return self._target.ledger.get(writer)

    def give_up(self, writer: str, epoch: int) -> None:
        self._target.ledger[writer] = max(epoch, self._target.ledger[writer])


@operator("numbered")
class Numbered(Processor):
    """Adds the number of the row, counted over all batches."""

    stateful: ClassVar[bool] = True

    column: str = Field(default="row", description="The name of the new column.")

    def output_schemas(self, inputs: Schemas) -> Schemas:
        import pyarrow as pa

        schema = inputs.get("in")
        return {"out": schema.append(pa.field(self.column, pa.int64())) if schema is not None else None}

    def open(self, context: Context) -> ProcessorRuntime:
        return _Numbering(self.column)


class _Numbering(ProcessorRuntime):
    def __init__(self, column: str) -> None:
        self._column, self._given = column, 0

    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        import pyarrow as pa

        start, self._given = self._given, self._given + batch.num_rows
        yield batch.append_column(self._column, pa.array(range(start, self._given), pa.int64()))

    def snapshot(self) -> bytes:
        return str(self._given).encode()

    def restore(self, state: bytes) -> None:
        self._given = int(state)
