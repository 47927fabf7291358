"""Marking a stage success or failed: what follows is judged by that (rule 8.7)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from orchestrator.runs.effects import Extra
from orchestrator.runs.states import StageState, StopAs
from orchestrator.store import attempts, epochs, lifecycle, runs
from orchestrator.store.tables import Run, StageRun
from orchestrator.store.transitions import move_stage
from orchestrator.store.verbs.naming import stage_named
from orchestrator.store.verbs.stopping import must_wait, refuse_owing

Mark = Literal["success", "failed"]


def mark_stage(
    connection: Connection, run: Run, now: datetime, *, node: str, state: Mark, actor: str
) -> Iterable[Extra]:
    """Give the stage of a node this end, whatever it is now; one that runs gets it when it has stopped.

    Raises UsageError for a node that is not there, RefusedError where its stage owes an epoch. The run must
    be locked.
    """
    named, stage_run = stage_named(connection, run, node)
    owing = epochs.owing(connection, run.number)
    refuse_owing(run, stage_run, owing, "marking it")
    if not must_wait(connection, stage_run, StopAs(state), owing, now):
        _end(connection, stage_run, StageState(state), f"marked {state} by {actor}", now)
        lifecycle.settle(connection, runs.get(connection, run.number), now)
    return [named]


def _end(connection: Connection, stage_run: StageRun, state: StageState, why: str, now: datetime) -> None:
    if stage_run.state == state:
        return
    attempts.withdraw(connection, stage_run.run, stage_run.id, now)
    values = {
        "error": {"message": why} if state == StageState.FAILED else None,
        "stop_as": None,
        "ended_at": now,
    }
    move_stage(connection, stage_run.run, stage_run.id, stage_run.state, state, now=now, **values)
