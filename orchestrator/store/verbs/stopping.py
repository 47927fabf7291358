"""Asking what runs to stop, and what becomes of what owes an epoch (rules 3 "Unresolved", 8.8)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.runs.states import STAGE_ENDS, StageState, StopAs
from orchestrator.store import attempts, hints, stage_runs
from orchestrator.store.tables import Run, StageRun


def must_wait(
    connection: Connection, stage_run: StageRun, end: StopAs, owing: Collection[int], now: datetime
) -> bool:
    """Keep `end` for a stage that cannot have it at once; False for one that can. `owing`: those that owe.

    What runs is asked to stop; what waits and owes a decided epoch applies that first. A later verb
    overwrites an earlier one, but for `removed`; what is being given up goes on with that alone (rule 3.9).
    """
    if stage_run.state == StageState.RUNNING:
        _keep(connection, stage_run, end)
        return True
    if stage_run.state != StageState.QUEUED or stage_run.id not in owing:
        return False
    if not stage_run.abandoning:
        _keep(connection, stage_run, end)
        attempts.withdraw(connection, stage_run.run, stage_run.id, now)
        attempts.enqueue(connection, stage_run.id, due=now, only="apply", now=now)
    return True


def _keep(connection: Connection, stage_run: StageRun, end: StopAs) -> None:
    if stage_run.stop_as not in (end, StopAs.REMOVED) and not stage_run.abandoning:
        stage_runs.change(connection, stage_run.id, stop_as=end)
        hints.mark(connection, "ask")


def refuse_owing(run: Run, stage_run: StageRun, owing: Collection[int], verb: str) -> None:
    """Raise RefusedError where an ended stage owes a decided epoch, or is giving one up (rule 3)."""
    owes = stage_run.state in STAGE_ENDS and stage_run.id in owing
    if owes or stage_run.abandoning:
        what = "is being given up" if stage_run.abandoning else "has not reached its targets yet"
        raise RefusedError(
            f"run {run.number}: a decided epoch of {stage_run.stage} {what}, {verb} must wait",
            hint=f"`fustgo runs retry {run.number}` goes on with it"
            + ("" if stage_run.abandoning else f"; `fustgo runs abandon {run.number}` gives it up"),
        )
