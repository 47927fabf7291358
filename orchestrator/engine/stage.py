"""One stage, built: tasks wired by edges, outputs with their targets, contexts with what they may use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.engine.boundary import operator_code
from orchestrator.engine.coordinator import Acknowledgement
from orchestrator.engine.edge import OutputPort
from orchestrator.engine.node import NodeTask
from orchestrator.engine.parts import PartFolder, file_writer
from orchestrator.engine.plan import PlannedNode, StagePlan
from orchestrator.engine.progress import Progress, StageProgress, Stopwatch
from orchestrator.engine.rejects import RejectPort
from orchestrator.engine.snapshot import StateFolder, schema_from_text
from orchestrator.engine.spool import SpoolTarget
from orchestrator.engine.targets import DiscardTarget, Target, file_target
from orchestrator.engine.task import InputTask, OutputTask, ProcessorTask
from orchestrator.errors import OperatorError
from orchestrator.runs.checkpoint import Checkpoint, Decision, NodeState
from orchestrator.runs.order import Order
from orchestrator.sdk.connection import Connection
from orchestrator.sdk.context import Context, Reject
from orchestrator.sdk.input import Input
from orchestrator.sdk.operator import Operator, SchemaProblem, Schemas
from orchestrator.sdk.output import ApplyOutput, FileOutput, Output
from orchestrator.sdk.processor import Processor, ProcessorRuntime
from orchestrator.sdk.types import lacks_types


class Stage:
    """The tasks of one attempt, in topological order.

    Outputs' targets exist from the start (`targets`), since restoring begins with them; inputs and
    processors are opened by `open_tasks` when the checkpoint is known.
    """

    def __init__(self, order: Order, plan: StagePlan, host: str, is_cancelled: Callable[[], bool]) -> None:
        self.order, self.plan = order, plan
        self.watch = Stopwatch()
        self.tasks: dict[str, NodeTask] = {}
        self._is_cancelled = is_cancelled
        self.parts = PartFolder(Path(order.artifacts) / "parts", host)
        self.states = StateFolder(self.parts, order.attempt)
        self._host = host
        self.targets: dict[str, Target] = {
            node.id: self._target(node, node.operator)
            for node in plan.nodes.values()
            if isinstance(node.operator, Output)
        }

    @property
    def inputs(self) -> list[InputTask]:
        """The inputs, in topological order."""
        return [task for task in self.tasks.values() if isinstance(task, InputTask)]

    def open_tasks(self, checkpoint: Checkpoint, acknowledge: Callable[[str, Acknowledgement], None]) -> None:
        """Build every task at its place in the checkpoint (restore step 7)."""
        for node in self.plan.nodes.values():
            self.tasks[node.id] = self._task(node, acknowledge)
        for edge in self.plan.edges:
            edge.consumer = self.tasks[edge.target]  # type: ignore[assignment]  # validation: only consumers have inputs
        for task in self.tasks.values():
            self._restore(task, checkpoint)
        self._flow_schemas()
        for task in self.tasks.values():
            if task.ended:
                for port in task.ports.values():
                    port.end()

    def progress(self, epoch: int) -> StageProgress:
        """What has moved so far."""
        edges = {
            edge.id: Progress(edge.rows, edge.bytes, busy=self.watch.seconds.get(edge.id, 0.0))
            for edge in self.plan.edges
            if edge.target != self.plan.rejects
        }
        nodes = {name: task.progress() for name, task in self.tasks.items() if name != self.plan.rejects}
        return StageProgress(edges, nodes, epoch)

    def restore_schemas(self, last: Decision | None) -> None:
        """Give targets the schemas of a checkpoint, for an epoch that is still to be applied."""
        for node, target in self.targets.items():
            if last is not None:
                target.schema = schema_from_text(last.counters[node]["schema"])

    def clean_up(self) -> None:
        """The stage has succeeded: no spooled part or state of its attempts is needed any more."""
        for node in self.plan.nodes:
            writer = file_writer(node, self.order.run_uid, self.order.map_index)
            self.parts.remove_up_to_attempt(writer, self.order.attempt)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Close everything at the end; the first failure is what counts."""
        try:
            yield
        except BaseException:
            self._close_all(quietly=True)
            raise
        self._close_all(quietly=False)

    def _close_all(self, *, quietly: bool) -> None:
        for task in self.tasks.values():
            try:
                task.close()
            except OperatorError:
                if not quietly:
                    raise
        for target in self.targets.values():
            target.close()

    def _target(self, node: PlannedNode, output: Output) -> Target:
        order = self.order
        writer = file_writer(node.id, order.run_uid, order.map_index)
        if isinstance(output, FileOutput):
            home = Path(order.artifacts) if node.id == self.plan.rejects else Path(order.project)
            path = home / Path(output.path).expanduser()
            path = Path(f"{path}/") if output.is_folder else path
            return file_target(output, node.id, path, writer, order.attempt, self._host)
        if isinstance(output, ApplyOutput):
            # An output is opened before its task is built: what it refuses finds its way when that is there.
            context = self._context(node, lambda reject: self.tasks[node.id].rejects.refuse(reject))
            return SpoolTarget(
                output,
                node.id,
                lambda: output.open(context),
                self.parts,
                order.writer(node.id),
                writer,
                order.attempt,
            )
        if getattr(output, "discards", False):
            return DiscardTarget(node.id)
        raise OperatorError(
            f"node {node.id!r}: {output.type} is neither a file output nor gives an applier", retry=False
        )

    def _task(self, node: PlannedNode, acknowledge: Callable[[str, Acknowledgement], None]) -> NodeTask:
        incoming = [edge for edge in self.plan.edges if edge.target == node.id]
        ports = {name: self._port(node.id, name) for name in (*node.operator.output_ports(), "rejects")}
        rejects = RejectPort(node.id, ports["rejects"], node.limit, self.plan.batch_rows)
        rest: tuple[Any, ...] = (node.id, incoming, ports, rejects, self.watch)
        operator = node.operator
        if isinstance(operator, Input):
            made: NodeTask = InputTask(operator, self._context(node, rejects.refuse), *rest)
        elif isinstance(operator, Processor):
            with operator_code(node.id):
                runtime = operator.open(self._context(node, rejects.refuse))
            made = ProcessorTask(runtime, self._saver(node, operator, runtime), acknowledge, *rest)
        else:
            made = OutputTask(self.targets[node.id], acknowledge, *rest)
        return made

    def _port(self, node: str, name: str) -> OutputPort:
        leaving = [edge for edge in self.plan.edges if edge.source == node and edge.source_port == name]
        return OutputPort(node, name, leaving, self.plan.batch_rows)

    def _context(self, node: PlannedNode, refuse: Callable[[Reject], None]) -> Context:
        order = self.order
        wanted = node.operator.connection_names()
        return Context(
            node=node.id,
            project=Path(order.project),
            log=logging.getLogger(f"fustgo.node.{node.id}"),
            batch_rows=self.plan.batch_rows,
            state_folder=Path(order.artifacts),
            tree=Path(order.tree) if order.tree else None,
            names=self.plan.names,
            connections={
                name: Connection.model_validate(value)
                for name, value in order.connections.items()
                if name in wanted
            },
            on_reject=refuse,
            on_result=lambda value: self.tasks[node.id].set_result(value),
            is_cancelled=self._is_cancelled,
        )

    def _saver(
        self, node: PlannedNode, operator: Processor, runtime: ProcessorRuntime
    ) -> Callable[[int], NodeState | None]:
        writer = file_writer(node.id, self.order.run_uid, self.order.map_index)

        def save(epoch: int) -> NodeState | None:
            if not operator.stateful:
                return None
            return self.states.save(writer, epoch, operator.state_version, runtime.snapshot())

        return save

    def _restore(self, task: NodeTask, checkpoint: Checkpoint) -> None:
        last, node = checkpoint.last, task.node
        if last is not None and node in last.counters:
            task.restore_counters(last.counters[node])
            task.result = last.results.get(node, {}).get("result")
        if isinstance(task, InputTask):
            if last is None:
                task.begin()
            else:
                task.resume(last.inputs[node], last.positions[node])
        elif isinstance(task, ProcessorTask) and last is not None and node in last.states:
            state = self.states.load(node, self.plan.nodes[node].operator.state_version, last.states[node])
            with operator_code(node, "while its state was restored"):
                task.runtime.restore(state)
        elif isinstance(task, OutputTask):
            with operator_code(node, "while it was reopened"):
                task.target.reopen(checkpoint)

    def _flow_schemas(self) -> None:
        """Tell outputs the schema they would get, so that no rows still give a header."""
        known: dict[tuple[str, str], Any] = {}
        for task in self.tasks.values():
            operator = self.plan.nodes[task.node].operator
            if isinstance(task, InputTask):
                known[task.node, "out"] = task.schema
                continue
            arriving: dict[str, Any] = {
                edge.target_port: known.get((edge.source, edge.source_port)) for edge in task.incoming
            }
            if isinstance(task, OutputTask):
                task.target.schema = next(iter(arriving.values()), None)
                continue
            with operator_code(task.node):
                for port, schema in _leaving(operator, arriving).items():
                    known[task.node, port] = schema


def _leaving(operator: Operator, arriving: Schemas) -> Schemas:
    """What a node gives for what arrives; nothing is known where the types of what arrives are not."""
    try:
        return operator.output_schemas(arriving)
    except SchemaProblem:
        if lacks_types(arriving.values()):
            return {}
        raise
