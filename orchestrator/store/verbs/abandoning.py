"""Giving up decided epochs that cannot be applied (rule 3.9)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.errors import RefusedError
from orchestrator.runs.effects import Extra, Named, Remark
from orchestrator.runs.states import StageState, StopAs
from orchestrator.store import attempts, epochs, lifecycle, runs, stage_runs
from orchestrator.store.tables import Run, StageRun
from orchestrator.store.transitions import move_stage
from orchestrator.store.verbs.naming import stage_named


def abandon_run(
    connection: Connection, run: Run, now: datetime, *, node: str | None = None
) -> Iterable[Extra]:
    """Give up what the unresolved stages of a run owe, or the stage of a node.

    Raises UsageError for a node that is not there, RefusedError where nothing is unresolved: a stage that
    runs, or waits for a try, applies what it owes by itself. The run must be locked.
    """
    unresolved = [row for row in owing_stages(connection, run) if row.unresolved and not _runs(row)]
    extras: list[Named] = []
    if node is not None:
        named, stage_run = stage_named(connection, run, node)
        unresolved = [row for row in unresolved if row.id == stage_run.id]
        extras = [named]
    if not unresolved:
        whose = f"stage {extras[0].stage} of run {run.number}" if extras else f"run {run.number}"
        raise RefusedError(f"{whose} has no decided epoch that could not be applied: nothing to abandon")
    abandon_stages(connection, unresolved, now)
    lifecycle.settle(connection, runs.get(connection, run.number), now)
    where = "where its target does not answer, its rows may still appear"
    return [*extras, *(Remark(row.stage, where) for row in unresolved)]


def _runs(stage_run: StageRun) -> bool:
    return stage_run.state == StageState.RUNNING


def owing_stages(connection: Connection, run: Run) -> list[StageRun]:
    """The stages of a run of which a decided epoch is not applied."""
    rows = [stage_runs.get(connection, row) for row in sorted(epochs.owing(connection, run.number))]
    return [row for row in rows if row.state != StageState.REMOVED]


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
