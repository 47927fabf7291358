"""One attempt of one stage, from restore to the final epoch. Reads top down as the rules are written.

Restore has a fixed order (rules 3.2-3.7): targets are made ready, staged parts of an abandoned start
go, only then is the checkpoint read, what it still owes is applied, and inputs go on. After that:
read, draw barriers, seal, decide, apply, until everything has ended and the final epoch is applied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.crash import crash_point
from orchestrator.engine.action import entry_of, run_action
from orchestrator.engine.boundary import NodeFailed, operator_code
from orchestrator.engine.coordinator import Acknowledgement, Coordinator, Epoch, StagePort
from orchestrator.engine.memory import use_system_allocator
from orchestrator.engine.message import Barrier
from orchestrator.engine.plan import plan_stage
from orchestrator.engine.progress import StageProgress
from orchestrator.engine.signals import Signals
from orchestrator.engine.spool import SpoolTarget
from orchestrator.engine.stage import Stage
from orchestrator.engine.targets import EpochGivenUp
from orchestrator.engine.task import Pumped
from orchestrator.errors import AttemptLost, FustgoError
from orchestrator.runs.checkpoint import Checkpoint, Decision, Token
from orchestrator.runs.order import Order
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.sdk.decorated import functions_of
from orchestrator.sdk.registry import Registry

PROGRESS_SECONDS = 0.1
IDLE_SECONDS = 0.05


@dataclass(frozen=True)
class Surroundings:
    """What an attempt needs from the process it runs in. `host` is written into tokens.

    `on_error` is told of the error that ends an attempt: a report cannot carry its traceback.
    """

    registry: Registry
    clock: Clock
    host: str
    signals: Signals
    on_error: Callable[[FustgoError], None] = lambda _: None


def run_attempt(order: Order, port: StagePort, around: Surroundings) -> Report:
    """Run an attempt to its end; every way of ending comes back as a value.

    Only what is no error of the stage is raised: interrupts, and bugs of our own.
    """
    tree = Path(order.tree) if order.tree else None
    registry = around.registry.of_tree(tree)
    try:
        if (action := entry_of(order)) is not None:
            ask = partial(port.progress, StageProgress(epoch=0))
            return run_action(order, action, registry, around.clock, around.signals, ask)
        use_system_allocator()
        with functions_of(tree):
            plan = plan_stage(order, registry)
        stage = Stage(order, plan, around.host, lambda: around.signals.cancelled)
        with stage.closing():
            return Attempt(stage, port, around).run()
    except AttemptLost as error:
        return Report(Outcome.LOST, error.message, exit_code=1)
    except FustgoError as error:
        around.on_error(error)
        return failure(error)


def failure(error: FustgoError) -> Report:
    """The outcome that an error stands for."""
    given_up = isinstance(error, EpochGivenUp) or isinstance(error.__cause__, EpochGivenUp)
    return Report(
        Outcome.FAILED,
        error.message,
        hint=error.hint,
        node=error.node if isinstance(error, NodeFailed) else "",
        retry=getattr(error, "retry", True),
        exit_code=error.exit_code if error.exit_code == 3 else 1,
        gives_up=given_up,
    )


class Attempt:
    """The course of one attempt."""

    def __init__(self, stage: Stage, port: StagePort, around: Surroundings) -> None:
        self._stage, self._port, self._around = stage, port, around
        self._order, self._plan = stage.order, stage.plan
        self._tokens: list[Token] = []
        self._coordinator: Coordinator
        self._last: Decision | None = None
        self._refused_pause = False
        self._applied = 0

    def run(self) -> Report:
        """Restore, then go on, or do only what the order says."""
        if self._order.only == "abandon":
            return self._abandon()
        checkpoint = self._prepare()
        self._tokens = list(checkpoint.tokens)
        self._applied = checkpoint.applied
        self._last = checkpoint.last
        self._stage.restore_schemas(checkpoint.last)
        self._settle(checkpoint)
        if checkpoint.last is not None and checkpoint.last.final:
            return self._finish()
        if self._order.only == "apply":
            return Report(Outcome.SUCCESS)
        self._reopen(checkpoint)
        return self._work()

    def _prepare(self) -> Checkpoint:
        """Restore steps 2-5."""
        base = self._order.base
        self._stage.parts.prepare()
        for node, target in self._stage.targets.items():
            with operator_code(node, "while its target was prepared"):
                target.prepare(base)
        crash_point("restore.prepared")
        for node, target in self._stage.targets.items():
            with operator_code(node):
                target.clean(base)
        crash_point("restore.staging_removed")
        checkpoint = self._port.opened()
        crash_point("restore.checkpoint_read")
        for node, target in self._stage.targets.items():
            with operator_code(node):
                target.check(checkpoint)
        return checkpoint

    def _settle(self, checkpoint: Checkpoint) -> None:
        """Restore step 6: what was decided is applied before anything else."""
        if checkpoint.owed is not None:
            self._apply(checkpoint.owed)
            crash_point("restore.applied")

    def _reopen(self, checkpoint: Checkpoint) -> None:
        """Restore step 7."""
        self._coordinator = Coordinator(self._plan.nodes, checkpoint.highest, self._plan.trigger)
        self._stage.open_tasks(checkpoint, self._acknowledge)
        crash_point("restore.reopened")

    def _work(self) -> Report:
        """Read until everything has ended, drawing barriers as they are due."""
        clock, signals = self._around.clock, self._around.signals
        opened_at = shown_at = clock.monotonic()
        batches = 0
        live = [task for task in self._stage.inputs if not task.ended]
        while live:
            idle = True
            for task in list(live):
                pumped = task.pump()
                idle = idle and pumped is Pumped.NOTHING
                batches += pumped is Pumped.BATCH
                if pumped is Pumped.ENDED:
                    task.end()
                    live.remove(task)
            now = clock.monotonic()
            if now - shown_at >= PROGRESS_SECONDS:
                self._show()
                shown_at = now
            if signals.pausing and live and self._stops():
                return self._stop()
            if live and self._coordinator.due(now - opened_at, batches, self._spooled()):
                self._draw_barrier()
                opened_at, batches = clock.monotonic(), 0
            if idle and live:
                signals.wait(IDLE_SECONDS)
        self._draw_final()
        return self._finish()

    def _stops(self) -> bool:
        """Whether a wish to stop can be granted: a stage with one epoch has nothing to keep, and goes on."""
        if self._coordinator.one_epoch and not self._around.signals.cancelled:
            if not self._refused_pause:
                self._port.cannot_pause(self._plan.one_epoch)
            self._refused_pause = True
            return False
        return True

    def _stop(self) -> Report:
        """Stop before the end: with a savepoint, unless all must go at once."""
        if self._around.signals.cancelled:
            return Report(Outcome.CANCELLED, "cancelled", exit_code=130)
        self._draw_barrier()
        return Report(Outcome.PAUSED, exit_code=130)

    def _draw_barrier(self) -> None:
        """End an epoch in the middle: the barrier runs from the inputs through every node."""
        epoch = self._coordinator.begin()
        for task in self._stage.tasks.values():
            if task.ended:
                epoch.acknowledge(task.node, task.acknowledgement(epoch.number))
        for task in self._stage.inputs:
            if not task.ended:
                task.flush_rejects()
                epoch.acknowledge(task.node, task.acknowledgement(epoch.number))
                for port in task.ports.values():
                    port.pass_on(Barrier(epoch.number))
        self._decide(epoch)

    def _draw_final(self) -> None:
        """Every node has ended: the final epoch, mandatory even where it is empty (rule 2.7)."""
        epoch = self._coordinator.begin(final=True)
        for task in self._stage.tasks.values():
            epoch.acknowledge(task.node, task.acknowledgement(epoch.number, final=True))
        self._decide(epoch)

    def _acknowledge(self, node: str, share: Acknowledgement) -> None:
        epoch = self._coordinator.epoch
        assert epoch is not None
        epoch.acknowledge(node, share)

    def _decide(self, epoch: Epoch) -> None:
        decision = epoch.decision()
        self._port.decide(decision)
        self._tokens.extend(decision.tokens)
        self._apply(decision)
        self._coordinator.applied()
        for task in self._stage.inputs:
            task.applied(decision.epoch)
        self._drop_states(decision)

    def _apply(self, decision: Decision) -> None:
        for node, target in self._stage.targets.items():
            mine = self._tokens_of(node)
            with operator_code(node, f"while epoch {decision.epoch} was applied"):
                target.apply(decision, mine)
            crash_point("output.applied")
        self._port.applied(decision.epoch)
        self._applied = decision.epoch
        for node, target in self._stage.targets.items():
            if isinstance(target, SpoolTarget):
                target.applied(decision, self._tokens_of(node))
        self._show()

    def _finish(self) -> Report:
        """After the final epoch was applied: tidy up, then success (rule 2.7)."""
        for node, target in self._stage.targets.items():
            with operator_code(node, "while its stage was finished"):
                target.finish(self._order.base)
        crash_point("stage.finished")
        for node, target in self._stage.targets.items():
            with operator_code(node):
                target.clean_up(self._order.attempt)
        self._stage.clean_up()
        crash_point("staging.removed")
        results = self._last.results if self._last is not None else {}
        shown = {node: result for node, result in results.items() if node != self._plan.rejects}
        return Report(Outcome.SUCCESS, results=shown)

    def _abandon(self) -> Report:
        """Give up the decided epoch: the ledger is raised first, so that no late attempt applies it.

        A target that does not answer stops nothing: that is what may have been wrong. Its rows may come yet.
        """
        self._stage.parts.prepare()
        checkpoint = self._port.opened()
        self._tokens = list(checkpoint.tokens)
        silent = []
        for node, target in self._stage.targets.items():
            try:
                with operator_code(node, "while an epoch was given up"):
                    target.prepare(self._order.base)
                    if checkpoint.owed is not None:
                        target.give_up(checkpoint.owed, self._tokens_of(node))
            except NodeFailed as error:
                silent.append(f"{error.message}: rows of the given-up epoch may still appear there")
            crash_point("output.given_up")
        return Report(Outcome.SUCCESS, "; ".join(silent))

    def _drop_states(self, decision: Decision) -> None:
        """States that this epoch has replaced are not needed any more."""
        if self._last is not None:
            for state in self._last.states.values():
                self._stage.states.remove(state)
        self._last = decision

    def _tokens_of(self, node: str) -> list[Token]:
        return [token for token in self._tokens if token.node == node]

    def _spooled(self) -> int:
        return sum(target.spooled for target in self._stage.targets.values())

    def _show(self) -> None:
        self._port.progress(self._stage.progress(self._applied))
