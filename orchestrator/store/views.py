"""What people are shown of a run: its stages, their attempts and epochs, and the figures that hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Select, Table, func, select

from orchestrator.runs.shown import shown_stage
from orchestrator.runs.states import AttemptState, EpochState, Outcome
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


def lines_of(attempts: Iterable[Attempt]) -> list[list[Attempt]]:
    """Attempts as people are told of them: each by itself, but those that snoozed in a row together."""
    grouped = groupby(attempts, lambda one: None if one.outcome == Outcome.SNOOZED else one.id)
    return [list(together) for _, together in grouped]


def show_run(connection: Connection, run: Run) -> RunView:
    """A run as it stands, its stages in topological order. A handful of queries, however many they are."""
    rows = stage_runs.all_of_run(connection, run.number)
    decided, moved = _epochs(connection, run.number), _live(connection, run.number)
    counters = _counters(connection, run.number)
    return _view(
        connection,
        run,
        [
            replace(
                stage,
                epochs=decided.get(stage.stage_run.id, []),
                counters=counters.get(stage.stage_run.id, {}),
                live=moved.get(stage.stage_run.id),
            )
            for stage in _stages(connection, run, rows)
        ],
    )


def outline(connection: Connection, run: Run) -> RunView:
    """A run with the states of its stages and their attempts, without epochs and figures: to be watched."""
    return _view(connection, run, _stages(connection, run, stage_runs.all_of_run(connection, run.number)))


def _view(connection: Connection, run: Run, stages: list[StageView]) -> RunView:
    holder = workers.get(connection, run.held_by) if run.held_by is not None else None
    return RunView(run, dags.get_dag(connection, run.dag), stages, holder)


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


def _stages(connection: Connection, run: Run, rows: list[StageRun]) -> list[StageView]:
    query = _of_run(select(attempts), attempts, run.number).order_by(attempts.c.id)
    tries: dict[int, list[Attempt]] = {row.id: [] for row in rows}
    for found in connection.execute(query):
        tries[found.stage_run].append(value(Attempt, found))
    return [
        StageView(
            stage_run=row,
            nodes=tuple(row.nodes),
            attempts=tries[row.id],
            due=next((one.due_at for one in tries[row.id] if one.state == AttemptState.QUEUED), None),
        )
        for row in rows
    ]


def _epochs(connection: Connection, run: int) -> dict[int, list[EpochView]]:
    shown = ("number", "attempt", "state", "final", "decided_at", "applied_at")
    query = _of_run(select(epochs.c.stage_run, *(epochs.c[name] for name in shown)), epochs, run)
    found: dict[int, list[EpochView]] = {}
    for stage_run, *columns in connection.execute(query.order_by(epochs.c.number)):
        found.setdefault(stage_run, []).append(EpochView(*columns))
    return found


def _counters(connection: Connection, run: int) -> dict[int, dict[str, Any]]:
    """The counters of each stage run's last epoch, where it was decided since the stage started (over)."""
    rows = stage_runs.stage_runs
    last = _of_run(select(func.max(epochs.c.id)), epochs, run).where(epochs.c.number > rows.c.base)
    query = select(epochs.c.stage_run, epochs.c.record).where(
        epochs.c.id.in_(last.group_by(epochs.c.stage_run))
    )
    return {stage_run: record["counters"] for stage_run, record in connection.execute(query)}


def _live(connection: Connection, run: int) -> dict[int, dict[str, Any]]:
    """The figures of running attempts, by stage run."""
    query = _of_run(select(attempts.c.stage_run, progress.c.figures), attempts, run)
    running = query.join(progress, progress.c.attempt == attempts.c.id).where(
        attempts.c.state == AttemptState.RUNNING
    )
    return {row.stage_run: row.figures for row in connection.execute(running)}


def _of_run(query: Select[Any], table: Table, run: int) -> Select[Any]:
    """The rows of a table that belong to stage runs of a run."""
    rows = stage_runs.stage_runs
    return query.join_from(table, rows, table.c.stage_run == rows.c.id).where(rows.c.run == run)
