"""What people are shown of a run: its stages, their attempts and epochs, and the figures that hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from orchestrator.runs.shown import shown_stage
from orchestrator.runs.states import AttemptState, EpochState
from orchestrator.store import dags, stage_runs, workers
from orchestrator.store.tables import Attempt, Dag, Epoch, Progress, Run, StageRun, Worker, table_of
from orchestrator.store.tables.entity import value

attempts, epochs, progress = table_of(Attempt), table_of(Epoch), table_of(Progress)


@dataclass(frozen=True)
class EpochView:
    """An epoch without its content."""

    number: int
    attempt: int
    state: EpochState
    final: bool
    decided_at: datetime
    applied_at: datetime | None


@dataclass(frozen=True)
class StageView:
    """A stage run. `epochs` are all ever decided, also those before a clear.

    `counters` are those of the last epoch since the stage started (over); empty before the first. `live`
    are the figures of the running attempt as it last saved them, `due` when a queued one may be claimed.
    """

    stage_run: StageRun
    nodes: tuple[str, ...]
    attempts: list[Attempt] = field(default_factory=list)
    epochs: list[EpochView] = field(default_factory=list)
    counters: dict[str, Any] = field(default_factory=dict)
    live: dict[str, Any] | None = None
    due: datetime | None = None


@dataclass(frozen=True)
class RunView:
    """A run with all that belongs to it; `holder` is the command that executes it, where one does."""

    run: Run
    dag: Dag
    stages: list[StageView]
    holder: Worker | None = None

    @property
    def dag_name(self) -> str:
        """The DAG as people name it: `adults`, or `adults@local` for a file that was run by hand."""
        return dags.shown_as(self.dag)

    def shown(self, stage: StageView, now: datetime) -> str:
        """The state of one of its stages as people see it."""
        row = stage.stage_run
        ended = [attempt.outcome for attempt in stage.attempts if attempt.outcome is not None]
        return shown_stage(
            row.state,
            paused=self.run.paused or row.paused,
            due=stage.due,
            last=ended[-1] if ended else None,
            now=now,
        )


def show_run(connection: Connection, run: Run) -> RunView:
    """A run as it stands, its stages in topological order."""
    rows = stage_runs.all_of_run(connection, run.number)
    return RunView(
        run=run,
        dag=dags.get_dag(connection, run.dag),
        stages=[_stage(connection, row) for row in rows],
        holder=workers.get(connection, run.held_by) if run.held_by is not None else None,
    )


def published(connection: Connection, run: int, nodes: Collection[str]) -> set[str]:
    """Those of the outputs `nodes` whose final epoch this run has applied, whenever it did."""
    rows = stage_runs.stage_runs
    query = (
        select(epochs.c.tokens)
        .join_from(epochs, rows, epochs.c.stage_run == rows.c.id)
        .where(rows.c.run == run, epochs.c.final, epochs.c.state == EpochState.APPLIED)
    )
    found = {token["node"] for tokens in connection.execute(query).scalars() for token in tokens}
    return found.intersection(nodes)


def _stage(connection: Connection, row: StageRun) -> StageView:
    query = select(attempts).where(attempts.c.stage_run == row.id).order_by(attempts.c.id)
    tries = [value(Attempt, found) for found in connection.execute(query)]
    decided = _epochs(connection, row.id)
    return StageView(
        stage_run=row,
        nodes=tuple(row.nodes),
        attempts=tries,
        epochs=decided,
        counters=_counters(connection, row.id, max((epoch.number for epoch in decided), default=0), row.base),
        live=_live(connection, [attempt.id for attempt in tries if attempt.state == AttemptState.RUNNING]),
        due=next((attempt.due_at for attempt in tries if attempt.state == AttemptState.QUEUED), None),
    )


def _epochs(connection: Connection, stage_run: int) -> list[EpochView]:
    shown = ("number", "attempt", "state", "final", "decided_at", "applied_at")
    query = select(*(epochs.c[name] for name in shown)).where(epochs.c.stage_run == stage_run)
    return [EpochView(*row) for row in connection.execute(query.order_by(epochs.c.number))]


def _counters(connection: Connection, stage_run: int, number: int, base: int) -> dict[str, Any]:
    if number <= base:
        return {}
    query = select(epochs.c.record).where(epochs.c.stage_run == stage_run, epochs.c.number == number)
    counters: dict[str, Any] = connection.execute(query).scalar_one()["counters"]
    return counters


def _live(connection: Connection, running: list[int]) -> dict[str, Any] | None:
    query = select(progress.c.figures).where(progress.c.attempt.in_(running))
    figures: dict[str, Any] | None = connection.execute(query).scalar()
    return figures
