"""Cancelling a run (rule 8.9): by a person, or because it has lasted too long."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.runs.advance import result
from orchestrator.runs.effects import Extra
from orchestrator.runs.states import RUN_ENDS, STAGE_ENDS, RunState, StageState, StopAs
from orchestrator.store import attempts, epochs, runs, stage_runs
from orchestrator.store.dags import graph_of
from orchestrator.store.tables import Run, StageRun
from orchestrator.store.transitions import Moves, move_run
from orchestrator.store.verbs.stopping import must_wait


def cancel_run(
    connection: Connection, run: Run, now: datetime, *, cause: Literal["user", "timeout"] = "user"
) -> Iterable[Extra]:
    """End a run: what runs is asked to stop, what waits ends cancelled, what is owed is applied first.

    The run ends with its last attempt, at once where none runs. One that is being cancelled stays so.
    Raises RefusedError where it has ended. The run must be locked.
    """
    if run.state in RUN_ENDS:
        raise RefusedError(f"run {run.number} has ended ({run.state}): there is nothing to cancel")
    if run.cancel_cause is None:
        runs.change(connection, run.number, cancel_cause=cause)
    owing = epochs.owing(connection, run.number)
    unended = [row for row in stage_runs.all_of_run(connection, run.number) if row.state not in STAGE_ENDS]
    _end(
        connection,
        run,
        [row for row in unended if not must_wait(connection, row, StopAs.CANCELLED, owing, now)],
        now,
    )
    graph, rows = graph_of(connection, run.version), stage_runs.outline(connection, run.number)
    stage_runs.recount(connection, graph, rows)
    states = stage_runs.states(rows)
    if all(state in STAGE_ENDS for state in states.values()):
        ended = result(graph, states, run.cancel_cause or cause)
        move_run(connection, run.number, run.state, ended, now=now, ended_at=now)
    elif run.state == RunState.QUEUED:  # what it owes is claimed in a running run only
        move_run(connection, run.number, run.state, RunState.RUNNING, now=now)
    return ()


def _end(connection: Connection, run: Run, waiting: Collection[StageRun], now: datetime) -> None:
    moves = Moves(connection, now)
    attempts.withdraw_all(connection, run.number, [row.id for row in waiting], moves)
    for row in waiting:
        moves.stage(run.number, row.id, row.state, StageState.CANCELLED, stop_as=None, ended_at=now)
    moves.flush()
