"""Runs stages in this process, without a store: a port in memory, and crash points that raise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, ClassVar

import pyarrow as pa

from orchestrator import crash
from orchestrator.clock import SystemClock
from orchestrator.crash import CrashPointFailure, crash_point
from orchestrator.engine.coordinator import Trigger
from orchestrator.engine.edge import Edge
from orchestrator.engine.pipeline import Attempt, Surroundings, failure
from orchestrator.engine.plan import ALLOW_NO_REJECTS, PlannedNode, StagePlan
from orchestrator.engine.plan import _in_order as in_order
from orchestrator.engine.progress import StageProgress
from orchestrator.engine.rejects import RejectLines
from orchestrator.engine.signals import Signals
from orchestrator.engine.stage import Stage
from orchestrator.errors import AttemptLost, FustgoError
from orchestrator.runs.checkpoint import Checkpoint, Decision
from orchestrator.runs.order import Only, Order
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.output import Encoder, FileOutput
from orchestrator.sdk.registry import Registry
from orchestrator.sdk.testing_operators import ListOutput


class Lines(Encoder):
    """JSON lines; keeps nothing back."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, batch: pa.RecordBatch) -> None:
        for row in batch.to_pylist():
            self._file.write(json.dumps(row).encode() + b"\n")


class GrowingLines(FileOutput):
    """A file output of the growing kind."""

    type: ClassVar[str] = "lines"
    suffix: ClassVar[str] = ".jsonl"
    grows: ClassVar[bool] = True

    def encoder(self, file: IO[bytes], schema: pa.Schema, *, beginning: bool) -> Encoder:
        if beginning:
            file.write(json.dumps(schema.names).encode() + b"\n")
        return Lines(file)


class JoinedLines(FileOutput):
    """A file output whose parts are joined."""

    type: ClassVar[str] = "joined"
    suffix: ClassVar[str] = ".jsonl"

    def encoder(self, file: IO[bytes], schema: pa.Schema, *, beginning: bool) -> Encoder:
        return Lines(file)

    def join(self, parts: Sequence[Path], target: IO[bytes], schema: pa.Schema) -> None:
        for part in parts:
            target.write(part.read_bytes())


@dataclass
class MemoryPort:
    """The store's side of one stage run, in memory."""

    decided: list[Decision] = field(default_factory=list)
    applied_epoch: int = 0
    base: int = 0
    holder: int = 0
    attempt: int = 0
    shown: StageProgress = field(default_factory=StageProgress)

    def opened(self) -> Checkpoint:
        self._guard()
        kept = [decision for decision in self.decided if decision.epoch > self.base]
        return Checkpoint(
            base=self.base,
            highest=max((decision.epoch for decision in self.decided), default=self.base),
            applied=self.applied_epoch,
            last=kept[-1] if kept else None,
            tokens=tuple(token for decision in kept for token in decision.tokens),
        )

    def decide(self, decision: Decision) -> None:
        self._guard()
        assert all(earlier.epoch <= self.applied_epoch for earlier in self.decided), "decided before applied"
        self.decided.append(Decision.from_json(json.loads(json.dumps(decision.to_json()))))
        crash_point("epoch.decided")

    def applied(self, epoch: int) -> None:
        self._guard()
        self.applied_epoch = epoch
        crash_point("epoch.applied")

    def progress(self, progress: StageProgress) -> None:
        self.shown = progress

    def cannot_pause(self, reason: str) -> None:
        raise AssertionError(f"a pause was refused: {reason}")

    def _guard(self) -> None:
        if self.attempt != self.holder:
            raise AttemptLost("the attempt was taken away")


@dataclass
class StageRun:
    """One stage run that attempts can be started for, in folders of its own.

    `edges` are written `source.port>target.port`; `limits` are the nodes' `error_limit`.
    """

    folder: Path
    operators: Mapping[str, Operator]
    edges: Sequence[str]
    batch_rows: int = 2
    trigger: Trigger | None = field(default_factory=lambda: Trigger(every_batches=1))
    limits: Mapping[str, Any] = field(default_factory=dict)
    port: MemoryPort = field(default_factory=MemoryPort)
    run_uid: str = "0190-run"
    signals: Signals = field(default_factory=Signals)

    def plan(self) -> StagePlan:
        """The plan, with the hidden output for rejects."""
        edges = [Edge(*part_of(edge.split(">")[0]), *part_of(edge.split(">")[1])) for edge in self.edges]
        routed = {edge.source for edge in edges if edge.source_port == "rejects"}
        nodes = {
            name: PlannedNode(name, made, None if name in routed else self.limits.get(name, ALLOW_NO_REJECTS))
            for name, made in self.operators.items()
        }
        hidden = [name for name in self.operators if name not in routed]
        edges += [Edge(name, "rejects", "s.rejects", "in") for name in hidden]
        nodes["s.rejects"] = PlannedNode("s.rejects", RejectLines(path="rejects/"))
        return StagePlan(in_order(nodes, edges), edges, self.batch_rows, self.trigger, rejects="s.rejects")

    def order(self, only: Only | None = None) -> Order:
        """The order of the next attempt, which takes over the stage run."""
        self.port.holder = self.port.attempt = self.port.holder + 1
        (self.folder / "artifacts").mkdir(parents=True, exist_ok=True)
        return Order(
            attempt=self.port.holder, dag_id="dag", dag_uid="dag-uid", run_uid=self.run_uid, run_id="run",
            stage="s", map_index=-1, base=self.port.base, document={}, nodes=tuple(self.operators),
            project=str(self.folder),
            artifacts=str(self.folder / "artifacts"), only=only,
        )  # fmt: skip

    def attempt(self, only: Only | None = None) -> Report:
        """Run an attempt to its end; a crash point that was armed with `fail` raises."""
        order, port = self.order(only), replace(self.port)
        port.decided = self.port.decided
        try:
            return run_planned(order, self.plan(), self.port, self.signals)
        except FustgoError as error:
            return failure(error)

    def crash_at(self, point: str, passing: int = 1) -> bool:
        """Run an attempt that dies at a crash point; false where it got to its end without passing it."""
        crash._passed.clear()
        crash.arm(f"{point}@{passing}=fail")
        try:
            self.attempt()
        except CrashPointFailure:
            return True
        finally:
            crash.arm("")
        return False

    def clear(self) -> None:
        """Start over: the base rises to the highest number."""
        self.port.base = max((decision.epoch for decision in self.port.decided), default=self.port.base)

    def leftovers(self) -> list[str]:
        """Files that no success leaves: everything hidden but ids, and parts among the artifacts."""
        return sorted(
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and path.name != "id" and (".fustgo" in path.parts or "parts" in path.parts)
        )


def run_planned(order: Order, plan: StagePlan, port: MemoryPort, signals: Signals) -> Report:
    """Run a plan that was made by hand."""
    stage = Stage(order, plan, "host", lambda: signals.cancelled)
    with stage.closing():
        return Attempt(stage, port, Surroundings(Registry(), SystemClock(), "host", signals)).run()


def part_of(end: str) -> tuple[str, str]:
    """`node.port` as a pair; the port is `out` or `in` where none is named."""
    node, _, port = end.partition(".")
    return node, port


def succeed(stage: StageRun) -> None:
    """Run attempts until one succeeds; at most three are needed."""
    for _ in range(3):
        if stage.attempt().outcome is Outcome.SUCCESS:
            return
    raise AssertionError("no attempt succeeded")


Make = Callable[[], Mapping[str, Operator]]


def clear_memory() -> None:
    """Forget all targets in memory."""
    ListOutput.targets.clear()
