"""Processors: what turns batches into batches.

An operator without state may define `process` on itself; one with state builds a runtime object in
`open` and gives `snapshot` and `restore`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from orchestrator.sdk.operator import Operator
from orchestrator.sdk.properties import Kind

if TYPE_CHECKING:
    import pyarrow as pa

    from orchestrator.sdk.context import Context

Emitted: TypeAlias = "Iterable[pa.RecordBatch | tuple[str, pa.RecordBatch]]"
"""What a processor gives: batches for port `out`, or pairs of port and batch."""


class ProcessorRuntime(ABC):
    """One processor at work, on one thread."""

    @abstractmethod
    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        """What a batch becomes: batches for port `out`, or pairs of port and batch.

        Called for any port at any time: what cannot be used yet is kept or spilled, never waited for.
        """

    def finish(self) -> Emitted:
        """What is left when every input has ended."""
        return ()

    @property
    def done(self) -> bool:
        """Whether no further rows are wanted: the node's inputs are closed and it finishes (`limit`)."""
        return False

    def snapshot(self) -> bytes:
        """The state as it stands between two batches; only asked of stateful operators."""
        return b""

    def restore(self, state: bytes) -> None:
        """Take over the state that `snapshot` gave, perhaps in another process."""

    def close(self) -> None:
        """Let go of everything; called once, whatever happened."""


class _Stateless(ProcessorRuntime):
    """Serves an operator that defines `process` itself."""

    def __init__(self, processor: Processor) -> None:
        self._process = processor.process

    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        return self._process(batch, port)


class Processor(Operator):
    """Transforms batches.

    `row_local`: each output row comes from one input row, in order. `stateful`: it remembers between
    batches; then `open` must return a runtime with `snapshot` and `restore`, or `can_snapshot` is
    False and its stage has one epoch.
    """

    kind: ClassVar[Kind] = Kind.PROCESSOR
    can_snapshot: ClassVar[bool] = True

    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        """The verb of an operator without state; see `ProcessorRuntime.process`."""
        raise NotImplementedError(f"{type(self).__name__} defines neither process nor open")

    def open(self, context: Context) -> ProcessorRuntime:
        """The runtime object; the default serves operators that define `process` themselves."""
        return _Stateless(self)


class RowFailed(Exception):
    """A row on which an author's function failed; `row` counts from 1 in its batch, the cause is chained."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row}")
        self.row = row
