"""Giving up decided epochs that cannot be applied (rule 3.9)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.runs.states import StageState, StopAs
from orchestrator.store import attempts, epochs, stage_runs
from orchestrator.store.tables import Run, StageRun
from orchestrator.store.transitions import move_stage


def owing_stages(connection: Connection, run: Run) -> list[StageRun]:
    """The stages of a run of which a decided epoch is not applied."""
    rows = stage_runs.of_run(connection, run.number).values()
    return [row for row in rows if epochs.owed_epoch(connection, row.id) is not None]


def abandon_stages(connection: Connection, owing: Iterable[StageRun], now: datetime) -> None:
    """Queue an attempt `only = abandon` of each of these stages, which owe an epoch and do not run.

    From the commit on nothing else happens to them (rule 3.9).
    """
    for stage_run in owing:
        attempts.withdraw(connection, stage_run.run, stage_run.id, now)
        failed = {"stop_as": StopAs.FAILED, "unresolved": True, "abandoning": True}
        if stage_run.state == StageState.QUEUED:
            stage_runs.change(connection, stage_run.id, **failed)
        else:
            old, new = stage_run.state, StageState.QUEUED
            move_stage(connection, stage_run.run, stage_run.id, old, new, now=now, **failed)
        attempts.enqueue(connection, stage_run.id, due=now, only="abandon", now=now)
