"""What every node of a running stage has: ports, counters, rejects, and a result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.engine.coordinator import Acknowledgement
from orchestrator.engine.edge import Edge, OutputPort
from orchestrator.engine.progress import NodeProgress, Stopwatch
from orchestrator.engine.rejects import RejectPort
from orchestrator.errors import OperatorError

MAX_RESULT_BYTES = 32 << 10  # of one node, of the 64 KiB that are kept for its stage


class NodeTask:
    """What every node has: ports, counters, rejects, and a result."""

    def __init__(
        self,
        node: str,
        incoming: Sequence[Edge],
        ports: Mapping[str, OutputPort],
        rejects: RejectPort,
        watch: Stopwatch,
    ) -> None:
        self.node, self.incoming, self.ports, self.rejects = node, incoming, ports, rejects
        self.watch = watch
        self.ended = False
        self.result: Any = None

    def emit(self, emitted: Any) -> None:
        """Send what an operator gave: a batch for `out`, or a pair of port and batch."""
        if isinstance(emitted, tuple):
            name, batch = emitted
            if name not in self.ports:
                ports = ", ".join(self.ports)
                raise OperatorError(
                    f"node {self.node!r} has no output port {name!r}", hint=f"its ports: {ports}", retry=False
                )
            self.ports[name].emit(batch)
        elif emitted is not None:
            self.ports["out"].emit(emitted)

    @property
    def rows_in(self) -> int:
        """Rows taken on all edges."""
        return sum(edge.rows for edge in self.incoming)

    @property
    def dropped(self) -> int:
        """Rows of data ports that lead nowhere, as the DAG says they may."""
        return sum(port.rows for name, port in self.ports.items() if name != "rejects" and not port.edges)

    def flush_rejects(self, *, ended: bool = False) -> None:
        """Send the records refused so far on their way."""
        if self.rejects.count:
            self.rejects.flush(self._seen(), ended=ended)

    def counters(self) -> dict[str, Any]:
        """Everything counted, as the checkpoint keeps it."""
        return {
            "edges": {edge.id: [edge.rows, edge.bytes] for edge in self.incoming},
            "ports": {name: port.counters() for name, port in self.ports.items()},
            "rejects": self.rejects.count,
            "dropped": self.dropped,
            "ended": self.ended,
        }

    def restore_counters(self, counters: Mapping[str, Any]) -> None:
        """Go on counting from a checkpoint."""
        for edge in self.incoming:
            edge.rows, edge.bytes = counters["edges"].get(edge.id, (0, 0))
        for name, port in self.ports.items():
            port.rows, port.bytes = counters["ports"].get(name, (0, 0))
        self.rejects.count = counters["rejects"]
        self.ended = counters["ended"]

    def acknowledgement(self, epoch: int, *, final: bool = False) -> Acknowledgement:
        """The node's share of an epoch."""
        raise NotImplementedError

    def progress(self) -> NodeProgress:
        """What the node has moved so far."""
        data = [port for name, port in self.ports.items() if name != "rejects"]
        busy = sum(
            self.watch.seconds.get(owner, 0.0) for owner in [self.node, *(edge.id for edge in self.incoming)]
        )
        return NodeProgress(
            rows_in=self.rows_in,
            rows_out=sum(port.rows for port in data),
            bytes_in=sum(edge.bytes for edge in self.incoming),
            bytes_out=sum(port.bytes for port in data),
            rejects=self.rejects.count,
            dropped=self.dropped,
            busy=busy,
        )

    def set_result(self, value: Any) -> None:
        """Take what the node's author sets; `OperatorError` where it is no JSON, or too large to keep."""
        try:
            size = len(json.dumps(value, ensure_ascii=False).encode())
        except (TypeError, ValueError) as error:
            raise OperatorError(
                f"the result is no JSON: {error}", hint="set numbers, texts, lists, dicts"
            ) from None
        if size > MAX_RESULT_BYTES:
            raise OperatorError(
                f"the result has {size} bytes, {MAX_RESULT_BYTES} are kept", hint="write a file"
            )
        self.result = value

    def shared(self) -> dict[str, Any]:
        """The result that later stages and pages see."""
        moved = self.progress()
        rows, size = (
            (moved.rows_out, moved.bytes_out)
            if self.ports.keys() - {"rejects"}
            else (moved.rows_in, moved.bytes_in)
        )
        shown = {"rows": rows, "bytes": size, "rejects": self.rejects.count}
        return shown if self.result is None else {**shown, "result": self.result}

    def _seen(self) -> int:
        return self.rows_in

    def close(self) -> None:
        """Let go of everything."""
