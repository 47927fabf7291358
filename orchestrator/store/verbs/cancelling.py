"""Cancelling a run (rule 8.9): by a person, or because it has lasted too long."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.runs.advance import result
from orchestrator.runs.effects import Extra
from orchestrator.runs.states import RUN_ENDS, STAGE_ENDS, RunState, StageState, StopAs
from orchestrator.store import attempts, runs, stage_runs
from orchestrator.store.dags import graph_of
from orchestrator.store.tables import Run, StageRun
from orchestrator.store.transitions import move_run, move_stage
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
    for stage_run in stage_runs.of_run(connection, run.number).values():
        if stage_run.state not in STAGE_ENDS and not must_wait(connection, stage_run, StopAs.CANCELLED, now):
            _end(connection, stage_run, now)
    graph, rows = graph_of(connection, run.version), stage_runs.outline(connection, run.number)
    stage_runs.recount(connection, graph, rows)
    states = stage_runs.states(rows)
    if all(state in STAGE_ENDS for state in states.values()):
        ended = result(graph, states, run.cancel_cause or cause)
        move_run(connection, run.number, run.state, ended, now=now, ended_at=now)
    elif run.state == RunState.QUEUED:  # what it owes is claimed in a running run only
        move_run(connection, run.number, run.state, RunState.RUNNING, now=now)
    return ()


def _end(connection: Connection, stage_run: StageRun, now: datetime) -> None:
    attempts.withdraw(connection, stage_run.run, stage_run.id, now)
    old, new = stage_run.state, StageState.CANCELLED
    move_stage(connection, stage_run.run, stage_run.id, old, new, now=now, stop_as=None, ended_at=now)
