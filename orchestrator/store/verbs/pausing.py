"""Pausing and resuming a run, or one stage of it (rule 10)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.runs.states import RUN_ENDS
from orchestrator.store import runs
from orchestrator.store.tables import Run
from orchestrator.store.transitions import tell


def pause_run(connection: Connection, run: Run, *, now: datetime) -> None:
    """Raise a run's pause flag: nothing of it is claimed, its attempts are asked for a savepoint (rule 10).

    Raises RefusedError where the run has ended; a paused run stays paused.
    """
    run = runs.lock(connection, run.number)
    if run.state in RUN_ENDS:
        raise RefusedError(f"run {run.number} has ended ({run.state}): there is nothing to pause")
    if not run.paused:
        runs.change(connection, run.number, paused=True)
        tell(connection, "run", now=now, run=run.number, old=run.state, new="paused")
