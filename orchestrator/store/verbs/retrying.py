"""Going on from the last decided epoch (rule 7.1), with all tries again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.runs.advance import below
from orchestrator.runs.order import Only
from orchestrator.runs.states import StageState, StopAs
from orchestrator.store import attempts, dags, epochs, stage_runs
from orchestrator.store.tables import Run, StageRun
from orchestrator.store.transitions import move_stage

STOPPED = (StageState.FAILED, StageState.CANCELLED)


def failed_stages(connection: Connection, run: Run) -> dict[str, StageRun]:
    """The stages of a run that failed or were cancelled, by their ids."""
    rows = stage_runs.of_run(connection, run.number)
    return {stage: row for stage, row in rows.items() if row.state in STOPPED}


def retry_stages(
    connection: Connection, run: Run, failed: Mapping[str, StageRun], *, clear: str, now: datetime
) -> None:
    """Retry these stages, which failed or were cancelled; one that comes after another waits for it.

    What was cancelled before it began is left: whoever settles the run judges it anew. Raises RefusedError
    where the final epoch of one was given up, naming the command `clear`.
    """
    later = below(dags.graph_of(connection, run.version), failed)
    for stage, row in failed.items():
        if row.started_at is None:
            if row.state == StageState.FAILED:
                stage_runs.start_over(connection, row, now)  # failed before it began: judged anew
            continue
        _refuse_incomplete(connection, run, row, clear)
        # What is owed is applied before a rule may end the stage without running (rule 3).
        if stage in later and epochs.owed_epoch(connection, row.id) is None:
            _wait_again(connection, row, now)
        else:
            _queue_again(connection, row, now)


def _wait_again(connection: Connection, stage_run: StageRun, now: datetime) -> None:
    """Put an ended stage back to be judged; if it runs, it goes on from its last decided epoch."""
    fresh = {"tries": 0, "losses": 0, "stop_as": None, "error": None, "started_at": None, "ended_at": None}
    move_stage(connection, stage_run.run, stage_run.id, stage_run.state, StageState.NONE, now=now, **fresh)


def _queue_again(connection: Connection, stage_run: StageRun, now: datetime) -> None:
    """Queue an ended stage again; it goes on from its last decided epoch, with all its tries.

    One that was giving an epoch up goes on with that alone, and ends failed again.
    """
    only: Only | None = "abandon" if stage_run.abandoning else None
    stop_as = StopAs.FAILED if stage_run.abandoning else None
    fresh = {"tries": 0, "losses": 0, "stop_as": stop_as, "error": None, "ended_at": None}
    old, new = stage_run.state, StageState.QUEUED
    move_stage(connection, stage_run.run, stage_run.id, old, new, now=now, **fresh)
    attempts.enqueue(connection, stage_run.id, due=now, only=only, now=now)


def _refuse_incomplete(connection: Connection, run: Run, stage_run: StageRun, clear: str) -> None:
    if epochs.final_given_up(connection, stage_run.id, stage_run.base):
        raise RefusedError(
            f"run {run.number}: the last epoch of {stage_run.stage} was given up, nothing can complete it",
            hint=f"start the run over with {clear}",
        )
