"""Edges and output ports on one thread: an emitted batch is pushed straight into the consumer.

Here the promises of an edge are kept: no batch over the batch size, one schema for the whole run,
canonical types, rows and bytes counted. An edge that its consumer closed takes nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestrator.engine.message import END, Barrier, Message
from orchestrator.errors import OperatorError
from orchestrator.sdk.types import canonical_batch, canonical_schema

if TYPE_CHECKING:
    from orchestrator.engine.task import ConsumerTask


class Edge:
    """One stream edge of a stage."""

    def __init__(self, source: str, source_port: str, target: str, target_port: str) -> None:
        self.source, self.source_port = source, source_port
        self.target, self.target_port = target, target_port
        self.id = f"{source}.{source_port}>{target}.{target_port}"
        self.rows = self.bytes = 0
        self.closed = False
        self.consumer: ConsumerTask

    def send(self, message: Message) -> None:
        """Hand a message to the consumer; what a closed edge is sent is let go."""
        if not self.closed:
            self.consumer.receive(self, message)


class OutputPort:
    """One output port of a node, with the edges that leave it."""

    def __init__(self, node: str, name: str, edges: Sequence[Edge], batch_rows: int) -> None:
        self.node, self.name, self.edges = node, name, edges
        self.rows = self.bytes = 0
        self.schema: pa.Schema | None = None
        self._batch_rows = batch_rows
        self._arriving: pa.Schema | None = None
        self._canonical = True

    @property
    def closed(self) -> bool:
        """Whether nobody takes anything more from this port."""
        return bool(self.edges) and all(edge.closed for edge in self.edges)

    def emit(self, batch: pa.RecordBatch) -> None:
        """Send a batch along every edge, in pieces of at most the batch size."""
        if batch.num_rows == 0:
            return
        batch = self._pinned(batch)
        for start in range(0, batch.num_rows, self._batch_rows):
            piece = batch if batch.num_rows <= self._batch_rows else batch.slice(start, self._batch_rows)
            size = piece.nbytes
            self.rows += piece.num_rows
            self.bytes += size
            for edge in self.edges:
                if not edge.closed:
                    edge.rows += piece.num_rows
                    edge.bytes += size
                    edge.consumer.receive(edge, piece)

    def pass_on(self, message: Barrier) -> None:
        """Send a barrier along every edge."""
        for edge in self.edges:
            edge.send(message)

    def end(self) -> None:
        """Say on every edge that nothing follows."""
        for edge in self.edges:
            edge.send(END)

    def counters(self) -> list[int]:
        """Rows and bytes, for the checkpoint."""
        return [self.rows, self.bytes]

    def _pinned(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch in the port's one schema; the first batch fixes it."""
        if self._arriving is None or not batch.schema.equals(self._arriving):
            self._pin(batch.schema)
        return batch if self._canonical else canonical_batch(batch)

    def _pin(self, arriving: pa.Schema) -> None:
        canonical = canonical_schema(arriving)
        if self.schema is not None and not canonical.equals(self.schema):
            raise OperatorError(
                f"the schema of port {self.name!r} changed in mid-run: {differences(self.schema, canonical)}",
                hint="declare the types (`schema=`, `columns`), or cast before this node's output",
                retry=False,
            )
        self.schema, self._arriving = canonical, arriving
        self._canonical = canonical.equals(arriving)


def differences(old: pa.Schema | None, new: pa.Schema) -> str:
    """What is not the same in two schemas, column by column."""
    if old is None:
        return ", ".join(new.names)
    found = []
    for name in dict.fromkeys([*old.names, *new.names]):
        was, now = _type_of(old, name), _type_of(new, name)
        if was != now:
            found.append(f"{name} was {was or 'absent'}, is {now or 'absent'}")
    return "; ".join(found) or "the columns stand in another order"


def _type_of(schema: pa.Schema, name: str) -> Any:
    index = schema.get_field_index(name)
    return schema.field(index).type if index >= 0 else None
