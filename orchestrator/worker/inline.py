"""The inline executor: runs the attempts of held runs in this thread, straight on the store.

`fustgo run` is this: claim, build the order, run the engine, finish, until the run has ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Protocol

from orchestrator.clock import Clock
from orchestrator.crash import crash_point
from orchestrator.engine.pipeline import Surroundings, failure, run_attempt
from orchestrator.engine.progress import StageProgress
from orchestrator.engine.signals import Signals
from orchestrator.errors import FustgoError, RefusedError
from orchestrator.runs.checkpoint import Checkpoint, Decision
from orchestrator.runs.report import Report
from orchestrator.runs.states import RUN_ENDS, Outcome, StageState
from orchestrator.sdk.registry import Registry
from orchestrator.store import queue, runs, steps
from orchestrator.store.attempts import lost
from orchestrator.store.database import Database
from orchestrator.store.definitions import Definitions
from orchestrator.store.processes import host
from orchestrator.store.verbs import pausing
from orchestrator.telemetry.masking import hiding
from orchestrator.worker.deadline import Deadline
from orchestrator.worker.orders import Orders
from orchestrator.worker.running import secrets_of
from orchestrator.worker.stage import as_json
from orchestrator.worker.words import fit

SAVE_SECONDS = 1.0
LONGEST_WAIT = 1.0


class Watcher(Protocol):
    """Whoever wants to see the run go on; called in the thread that runs it."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def show(self, stage: str, progress: StageProgress) -> None:
        """The present figures of the running stage."""


class InlinePort:
    """The engine's port, straight on the store."""

    def __init__(
        self, database: Database, claimed: queue.Claimed, signals: Signals, watcher: Watcher
    ) -> None:
        self._database, self._attempt = database, claimed.attempt
        self._stage = claimed.stage_run.stage
        self._signals, self._watcher = signals, watcher
        self._saved_at = database.clock.monotonic()

    def opened(self) -> Checkpoint:
        return steps.opened(self._database, self._attempt)

    def decide(self, decision: Decision) -> None:
        steps.decide(self._database, self._attempt, decision)

    def applied(self, epoch: int) -> None:
        steps.applied(self._database, self._attempt, epoch)

    def cannot_pause(self, reason: str) -> None:
        self._watcher.note(f"{self._stage}: nothing to keep, {reason}; press again to stop at once")

    def progress(self, progress: StageProgress) -> None:
        self._watcher.show(self._stage, progress)
        now = self._database.clock.monotonic()
        if now - self._saved_at < SAVE_SECONDS:
            return
        self._saved_at = now
        asked = steps.progress(self._database, self._attempt, as_json(progress))
        if asked.stop is not None:
            self._signals.cancel()
        elif asked.pause:
            self._signals.pause()


@dataclass(frozen=True)
class InlineWorker:
    """Executes what one worker row holds. `artifacts` is the store's folder for the files of runs.

    `on_error` is told of what ends an attempt, with its traceback.
    """

    database: Database
    registry: Registry
    clock: Clock
    artifacts: Path
    worker: int
    signals: Signals
    environ: Mapping[str, str]
    on_error: Callable[[FustgoError], None] = lambda _: None

    @cached_property
    def orders(self) -> Orders:
        """Makes the orders; definitions are parsed once."""
        return Orders(self.database, Definitions(self.database), self.artifacts, self.environ)

    def run_to_end(self, run: int, watcher: Watcher, tree: Path) -> Report | None:
        """Execute a held run until it ends or is paused; the last report that was no success.

        `tree` is where the DAG's code lies. A retry that is due later is waited for.
        """
        worst: Report | None = None
        while True:
            claimed = steps.claim(self.database, worker=self.worker, held=True)
            if claimed:
                report = self._execute(claimed[0], watcher, tree)
                worst = report if report.outcome != Outcome.SUCCESS else worst
            if self.signals.pausing:
                self._pause(run)
            if claimed:
                continue
            with self.database.read() as connection:
                state = runs.get(connection, run)
                due = queue.next_due(connection, worker=self.worker, held=True)
            if state.state in RUN_ENDS or state.paused:
                return worst
            self._wait(due)

    def _execute(self, claimed: queue.Claimed, watcher: Watcher, tree: Path) -> Report:
        """Run one attempt and finish it with all that follows."""
        crash_point("restore.killed")  # a held run's earlier process is dead, or the claim was refused
        signals = Signals() if claimed.only is not None else self.signals
        try:
            order = self.orders.make(claimed, str(tree))
            secrets, port = secrets_of(order), InlinePort(self.database, claimed, signals, watcher)
            with hiding(secrets.masked), Deadline(self._timeout(claimed), signals) as deadline:
                around = Surroundings(self.registry, self.clock, host(), deadline.signals, self.on_error)
                report = deadline.judged(run_attempt(order, port, around))
            report = fit(report, secrets)
            self._tell_late(claimed, deadline, report, watcher)
        except FustgoError as error:
            self.on_error(error)
            report = replace(failure(error), retry=False)
        except Exception as error:
            # A defect of ours: the run must not look as if it went on, and the traceback must be seen.
            self._finish(claimed, Report(Outcome.FAILED, f"internal error: {error!r}", retry=False), watcher)
            raise
        return report if report.outcome == Outcome.LOST else self._finish(claimed, report, watcher)

    def _timeout(self, claimed: queue.Claimed) -> float | None:
        """The seconds that an attempt may take; what only applies or gives up is not hurried."""
        if claimed.only is not None:
            return None
        return self.orders.definitions.graph(claimed.version)[claimed.stage_run.stage].execution_timeout

    def _tell_late(
        self, claimed: queue.Claimed, deadline: Deadline, report: Report, watcher: Watcher
    ) -> None:
        """A time-out is told as an error; where the attempt went on all the same, that is told."""
        if not deadline.passed:
            return
        if report.outcome == Outcome.FAILED:
            self.on_error(FustgoError(report.message, hint=report.hint))
        else:
            stage = claimed.stage_run.stage
            watcher.note(f"{stage}: its execution_timeout is over, and it did not look whether to stop")

    def _finish(self, claimed: queue.Claimed, report: Report, watcher: Watcher) -> Report:
        """Write an attempt's end; the report of it, a failure where the store refused what it wanted done."""
        done = steps.finish(self.database, {claimed.attempt: report})[claimed.attempt]
        if done is None:
            raise lost(claimed.attempt)
        if report.outcome == Outcome.SUCCESS and report.message:
            watcher.note(f"{claimed.stage_run.stage}: {report.message}")
        if report.outcome == Outcome.FAILED and done.stage == StageState.QUEUED and done.due is not None:
            at = done.due.strftime("%H:%M:%S")
            watcher.note(f"{claimed.stage_run.stage}: {report.message}\n  another try is due at {at} UTC")
        if report.outcome == Outcome.SUCCESS and claimed.only is None and done.stage == StageState.FAILED:
            return Report(Outcome.FAILED, exit_code=1)
        return report

    def _pause(self, run: int) -> None:
        """Raise the run's flag, so that nothing more of it is claimed; an ended run stays as it is."""
        with contextlib.suppress(RefusedError):  # it has ended
            self.database.run_transaction(
                lambda connection: pausing.pause_run(
                    connection, runs.get(connection, run), now=self.clock.now()
                )
            )

    def _wait(self, due: datetime | None) -> None:
        """Sleep until something is due, a second at most, or until somebody asks us to stop."""
        seconds = (due - self.clock.now()).total_seconds() if due is not None else LONGEST_WAIT
        self.signals.wait(min(LONGEST_WAIT, max(0.0, seconds)))
