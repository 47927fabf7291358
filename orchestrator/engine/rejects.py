"""Rejects: records that a node refuses. Counted, kept with their reason, limited, routable.

Rejects that nobody routes go to one hidden output of the stage, a folder of JSON lines in the run's
artifacts, and count against the node's `error_limit`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, ClassVar

import pyarrow as pa

from orchestrator.engine.edge import OutputPort
from orchestrator.errors import RejectLimitPassed
from orchestrator.sdk.context import Reject
from orchestrator.sdk.output import Encoder, FileOutput

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("node", "code", "reason", "source", "position", "record")]
)
RATIO_SAMPLE = 1000
"""Rows that a node must have seen before a ratio can fail the run early; at its end it is judged anyhow."""


class RejectPort:
    """The `rejects` port of one node: gathers records and emits them as batches.

    `limit` is the node's `error_limit` (records and ratio), or None where the port is routed.
    """

    def __init__(self, node: str, port: OutputPort, limit: Mapping[str, Any] | None, batch_rows: int) -> None:
        self.node, self.port = node, port
        self.count = 0
        self._limit = limit
        self._batch_rows = batch_rows
        self._waiting: list[Reject] = []

    def refuse(self, reject: Reject) -> None:
        """Take one record; fails at once where no more are allowed."""
        self.count += 1
        self._waiting.append(reject)
        allowed = self._limit.get("records") if self._limit is not None else None
        if allowed is not None and self.count > allowed:
            raise RejectLimitPassed(self._passed(f"{allowed} allowed", reject), hint=self._remedy())

    def flush(self, seen: int, *, ended: bool = False) -> None:
        """Emit what was gathered, and judge the ratio of rejects to rows seen."""
        ratio = self._limit.get("ratio") if self._limit is not None else None
        if (
            ratio is not None
            and (ended or seen >= RATIO_SAMPLE)
            and self.count > ratio * max(seen, self.count)
        ):
            last = self._waiting[-1] if self._waiting else None
            text = f"{self.count} of {seen}, {ratio:.2%} allowed"
            raise RejectLimitPassed(self._passed(text, last), hint=self._remedy())
        while self._waiting:
            now, self._waiting = self._waiting[: self._batch_rows], self._waiting[self._batch_rows :]
            self.port.emit(self._batch(now))

    def _batch(self, rejects: list[Reject]) -> pa.RecordBatch:
        columns = [
            [self.node] * len(rejects),
            [reject.code for reject in rejects],
            [reject.reason for reject in rejects],
            [reject.source for reject in rejects],
            [json.dumps(dict(reject.position)) for reject in rejects],
            [reject.record for reject in rejects],
        ]
        return pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=SCHEMA)

    def _passed(self, allowance: str, reject: Reject | None) -> str:
        text = f"node {self.node!r} refused {self.count} record{'s' * (self.count != 1)} ({allowance})"
        if reject is None:
            return text
        place = ", ".join(f"{key} {value}" for key, value in reject.position.items())
        where = " ".join(filter(None, [reject.source, place]))
        return f"{text}: {where + ': ' if where else ''}{reject.reason}: {reject.record[:200]}"

    def _remedy(self) -> str:
        return (
            f"mend the data, allow some with error_limit: {{records: N}} on {self.node!r}, "
            f"or route them: {self.node}.rejects >> ..."
        )


class RejectLines(FileOutput):
    """The hidden output for rejects that nobody routes: a folder of JSON lines."""

    type: ClassVar[str] = "fustgo.rejects"
    suffix: ClassVar[str] = ".jsonl"

    def encoder(self, file: IO[bytes], schema: pa.Schema, *, beginning: bool) -> Encoder:
        return _JsonLines(file)


class _JsonLines(Encoder):
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, batch: pa.RecordBatch) -> None:
        lines = [json.dumps(record, ensure_ascii=False) for record in batch.to_pylist()]
        self._file.write(("\n".join(lines) + "\n").encode())
