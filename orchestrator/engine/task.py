"""The nodes of a stage at work on one thread: inputs are pumped, all others are pushed.

A batch runs through the whole graph before the next is read, so what an input gives as its position
between two batches is exact for everything downstream (rule 2.2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestrator.engine.alignment import Alignment
from orchestrator.engine.boundary import operator_code
from orchestrator.engine.coordinator import Acknowledgement
from orchestrator.engine.edge import Edge, differences
from orchestrator.engine.message import Barrier, EndOfStream, Message
from orchestrator.engine.node import NodeTask
from orchestrator.engine.snapshot import schema_as_text, schema_from_text
from orchestrator.errors import OperatorError
from orchestrator.runs.checkpoint import NodeState
from orchestrator.sdk.input import EndOfInput, Input, Reader
from orchestrator.sdk.processor import ProcessorRuntime

if TYPE_CHECKING:
    from orchestrator.engine.targets import Target
    from orchestrator.sdk.context import Context

Acknowledge = Callable[[str, Acknowledgement], None]


class Pumped(Enum):
    """What one turn of an input brought."""

    BATCH = "batch"
    NOTHING = "nothing"
    ENDED = "ended"


class InputTask(NodeTask):
    """Pumps the splits of an input, one after the other."""

    def __init__(self, operator: Input, context: Context, *rest: Any) -> None:
        super().__init__(*rest)
        self._operator, self._context = operator, context
        self._splits: list[Any] = []
        self._at = 0
        self._reader: Reader | None = None
        self.schema: pa.Schema | None = None
        self.batches = 0
        self.stopped_early = False

    def begin(self) -> None:
        """Plan the splits and open the first."""
        with operator_code(self.node):
            self._splits = list(self._operator.plan(self._context))
        self._open_split(None)

    def resume(self, splits: Sequence[Any], position: Mapping[str, Any]) -> None:
        """Take over the splits of a checkpoint, and open the one to go on with."""
        self._splits, self._at = list(splits), position["split"]
        self.schema = schema_from_text(position["schema"])
        self._open_split(position["at"])

    def pump(self) -> Pumped:
        """Read one batch and push it through the graph."""
        if self.ports["out"].closed:
            self.stopped_early = True
            return Pumped.ENDED
        before = self.watch.enter(self.node)
        try:
            return self._pump()
        finally:
            self.watch.enter(before)

    def _pump(self) -> Pumped:
        if self._reader is None:
            return Pumped.ENDED
        try:
            with operator_code(self.node, f"batch {self.batches + 1}"):
                batch = self._reader.read()
        except EndOfInput:
            self.flush_rejects()
            self._close_reader()
            self._at += 1
            self._open_split(None)
            return Pumped.ENDED if self._at == len(self._splits) else Pumped.NOTHING
        self.flush_rejects()
        if batch is None:
            return Pumped.NOTHING
        self.batches += 1
        with operator_code(self.node, f"batch {self.batches}"):
            self.emit(batch)
        return Pumped.BATCH

    def end(self) -> None:
        """All splits are read (or nobody wants more): say so downstream."""
        self.flush_rejects(ended=True)
        self.ended = True
        for port in self.ports.values():
            port.end()

    def acknowledgement(self, epoch: int, *, final: bool = False) -> Acknowledgement:
        """The position after everything that was sent so far."""
        at = self._reader.position if self._reader is not None else None
        return Acknowledgement(
            self.counters(),
            position={"split": self._at, "at": at, "schema": schema_as_text(self.schema)},
            inputs=self._splits,
            result=self.shared(),
        )

    def applied(self, epoch: int) -> None:
        """Tell the reader that its rows have arrived."""
        if self._reader is not None:
            with operator_code(self.node):
                self._reader.applied(epoch)

    def close(self) -> None:
        self._close_reader()

    def _seen(self) -> int:
        return sum(port.rows for port in self.ports.values())

    def _open_split(self, position: Any | None) -> None:
        if self._at < len(self._splits):
            with operator_code(self.node):
                self._reader = self._operator.open(self._context, self._splits[self._at], position)
                self.schema = self._reader.schema

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with operator_code(self.node):
                reader.close()


class ConsumerTask(NodeTask):
    """What processors and outputs share: alignment, and batches that wait for it."""

    def __init__(self, acknowledge: Acknowledge, *rest: Any) -> None:
        super().__init__(*rest)
        self._alignment = Alignment(self.incoming)
        self._held: deque[tuple[Edge, Message]] = deque()
        self._acknowledge = acknowledge
        self._epoch = 0
        self.batches = 0

    def receive(self, edge: Edge, message: Message) -> None:
        """Take the next message of an edge."""
        before = self.watch.enter(edge.id)
        try:
            self._receive(edge, message)
        finally:
            self.watch.enter(before)

    def _receive(self, edge: Edge, message: Message) -> None:
        if self._alignment.holds(edge):
            self._held.append((edge, message))
        elif isinstance(message, Barrier):
            self._epoch = message.epoch
            if self._alignment.barrier(edge):
                self._aligned()
        elif isinstance(message, EndOfStream):
            self._end_of(edge)
        elif not self.ended:
            self.batches += 1
            self.take(edge, message)

    def _end_of(self, edge: Edge) -> None:
        if self._alignment.end(edge):
            self._aligned()
        if self._alignment.ended and not self.ended:
            self.finish()

    def _aligned(self) -> None:
        self.at_barrier(self._epoch)
        held, self._held = self._held, deque()
        for edge, message in held:
            self._receive(edge, message)

    def take(self, edge: Edge, batch: pa.RecordBatch) -> None:
        """Do the node's work on one batch."""
        raise NotImplementedError

    def finish(self) -> None:
        """Every incoming edge has ended."""
        raise NotImplementedError

    def at_barrier(self, epoch: int) -> None:
        """Everything of the epoch has arrived: acknowledge, and pass the barrier on."""
        self._acknowledge(self.node, self.acknowledgement(epoch))
        for port in self.ports.values():
            port.pass_on(Barrier(epoch))

    def _end(self) -> None:
        """The node has done its work: say so downstream."""
        self.flush_rejects(ended=True)
        self.ended = True
        for port in self.ports.values():
            port.end()


class ProcessorTask(ConsumerTask):
    """Pushes batches through a processor."""

    def __init__(
        self, runtime: ProcessorRuntime, save: Callable[[int], NodeState | None], *rest: Any
    ) -> None:
        super().__init__(*rest)
        self.runtime, self._save = runtime, save

    def take(self, edge: Edge, batch: pa.RecordBatch) -> None:
        place = f"batch {self.batches}"
        with operator_code(self.node, place):
            emitted = self.runtime.process(batch, edge.target_port)
        self._emit_all(emitted, place)
        if self.runtime.done or (self.ports.keys() - {"rejects"} and self._unwanted()):
            self._stop()

    def finish(self) -> None:
        with operator_code(self.node, "at its end"):
            emitted = self.runtime.finish()
        self._emit_all(emitted, "at its end")
        self._end()

    def acknowledgement(self, epoch: int, *, final: bool = False) -> Acknowledgement:
        """State and counters as the barrier passes; one that has ended has no state any more."""
        with operator_code(self.node, "while its state was saved"):
            state = None if self.ended else self._save(epoch)
        return Acknowledgement(self.counters(), state=state, result=self.shared())

    def close(self) -> None:
        with operator_code(self.node, "while it was closed"):
            self.runtime.close()

    def _emit_all(self, emitted: Iterable[Any] | None, place: str) -> None:
        # Only the operator's own steps lie inside the boundary: what fails downstream is not its fault.
        steps = iter(emitted or ())
        end = object()
        while True:
            with operator_code(self.node, place):
                step = next(steps, end)
            if step is end:
                break
            with operator_code(self.node, place):
                self.emit(step)
        self.flush_rejects()

    def _unwanted(self) -> bool:
        return all(port.closed for name, port in self.ports.items() if name != "rejects")

    def _stop(self) -> None:
        """Nothing more is wanted: close the incoming edges and finish what was begun."""
        for edge in self.incoming:
            edge.closed = True
            self._alignment.end(edge)
        if not self.ended:
            self.finish()


class OutputTask(ConsumerTask):
    """Hands batches to a target and seals its epochs."""

    def __init__(self, target: Target, *rest: Any) -> None:
        super().__init__(*rest)
        self.target = target
        self._schema: pa.Schema | None = None

    def take(self, edge: Edge, batch: pa.RecordBatch) -> None:
        with operator_code(self.node, f"batch {self.batches}"):
            if self._schema is None:
                self._schema = batch.schema
            elif not batch.schema.equals(self._schema):
                self._refuse(edge, batch.schema)
            self.target.write(batch)
        self.flush_rejects()

    def _refuse(self, edge: Edge, arriving: pa.Schema) -> None:
        raise OperatorError(
            f"rows from {edge.source!r} have other columns: {differences(self._schema, arriving)}",
            hint="give all nodes that feed an output the same columns and types",
            retry=False,
        )

    def finish(self) -> None:
        self._end()

    def counters(self) -> dict[str, Any]:
        # The schema goes along, so that a final epoch without rows can be applied by another process.
        return {**super().counters(), "schema": schema_as_text(self.target.schema)}

    def acknowledgement(self, epoch: int, *, final: bool = False) -> Acknowledgement:
        """The epoch as durable parts."""
        with operator_code(self.node, f"while epoch {epoch} was sealed"):
            tokens = self.target.seal(epoch, final=final)
        return Acknowledgement(self.counters(), result=self.shared(), tokens=tokens)

    def close(self) -> None:
        with operator_code(self.node, "while it was closed"):
            self.target.close()
