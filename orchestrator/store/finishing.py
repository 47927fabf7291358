"""Ending attempts with all that follows from it, many in one transaction (rules 8.3, 8.11)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from orchestrator.errors import StoreError
from orchestrator.runs.checkpoint import Json
from orchestrator.runs.ending import Again, Clear, End, Situation, fate
from orchestrator.runs.report import Report
from orchestrator.runs.states import RUN_ENDS, AttemptState, Outcome, RunState, StageState, StopAs
from orchestrator.store import attempts, epochs, lifecycle, runs, stage_runs
from orchestrator.store.dags import graph_of
from orchestrator.store.tables import Run, StageRun
from orchestrator.store.transitions import move_stage

MAX_RESULT = 64 * 1024  # bytes of a stage's result as JSON


@dataclass(frozen=True)
class Finished:
    """What a finish left: the stage's state, when its next attempt is due, and the run's state."""

    stage: StageState
    due: datetime | None
    run: RunState


def finish(
    connection: Connection, reports: Mapping[int, Report], now: datetime
) -> dict[int, Finished | None]:
    """End running attempts, each as its report says, with all that follows.

    None is the answer for one that does not run any more: it was taken away, nothing of it counts. A
    repeat with the same outcome, whose answer was lost, is answered as done (rule 1.3).
    """
    attempts.lock_runs(connection, reports)
    return {attempt: _finish(connection, attempt, report, now) for attempt, report in reports.items()}


def _finish(connection: Connection, attempt: int, report: Report, now: datetime) -> Finished | None:
    ended = attempts.get(connection, attempt)
    stage_run = stage_runs.get(connection, ended.stage_run)
    if ended.state == AttemptState.DONE and ended.outcome == report.outcome:
        return _standing(connection, stage_run.id)
    if ended.state != AttemptState.RUNNING:
        return None
    run = runs.get(connection, stage_run.run)
    report = _with_effects(connection, run, stage_run, attempt, report, now)
    failure = error_of(report)
    if ended.only == "abandon" and report.outcome == Outcome.SUCCESS:
        epochs.give_up(connection, run.number, stage_run.id, now)
        stage_runs.change(connection, stage_run.id, abandoning=False)
    owed = epochs.owed_epoch(connection, stage_run.id)
    if report.outcome == Outcome.SUCCESS and owed is not None:
        raise StoreError(f"attempt {attempt} cannot succeed: epoch {owed} is not applied")
    attempts.end(connection, ended, run.number, report.outcome, error=failure, now=now)
    situation = Situation(
        outcome=report.outcome,
        stage=graph_of(connection, stage_run.version)[stage_run.stage],
        only=ended.only,
        stop_as=stage_run.stop_as,
        owed=owed is not None,
        open_run=run.state not in RUN_ENDS and run.cancel_cause is None,
        retry=report.retry,
        give_up=report.gives_up,
        tries=stage_run.tries,
        losses=stage_run.losses,
    )
    match fate(situation):
        case End() as end:
            result = _checked(dict(report.results) or None)
            lifecycle.end_stage(connection, run, stage_run, end, error=failure, result=result, now=now)
        case Again() as again:
            _try_again(connection, stage_run, again, failure, report, now)
        case Clear():
            stage_runs.start_over(connection, stage_run, now)
            graph, rows = graph_of(connection, run.version), stage_runs.outline(connection, run.number)
            stage_runs.recount(connection, graph, rows)
            lifecycle.advance(connection, run, [stage_run.stage], now)
    return _standing(connection, stage_run.id)


def _with_effects(
    connection: Connection, run: Run, stage_run: StageRun, attempt: int, report: Report, now: datetime
) -> Report:
    """Apply the effects of a success that counts; the failure that it becomes where one is refused."""
    counts = report.outcome == Outcome.SUCCESS and stage_run.stop_as in (None, StopAs.SUCCESS)
    if not (report.effects and counts):
        return report
    from orchestrator.store import effects  # reads definitions, which no other finish needs

    refusal = effects.apply(connection, run, stage_run, attempt, report.effects, now)
    if refusal is None:
        return report
    return Report(
        Outcome.FAILED, refusal.message, hint=refusal.hint, node=stage_run.stage, retry=False, exit_code=1
    )


def error_of(report: Report) -> dict[str, Any] | None:
    """What the store keeps of a report that tells of no success; None where it has nothing to say."""
    if report.outcome == Outcome.SUCCESS:
        return None
    told = {"message": report.message, "hint": report.hint, "node": report.node, "cause": report.cause}
    return {name: text for name, text in told.items() if text} or None


def _try_again(
    connection: Connection,
    stage_run: StageRun,
    again: Again,
    error: dict[str, Any] | None,
    report: Report,
    now: datetime,
) -> None:
    values = {"tries": again.tries, "losses": again.losses, "stop_as": again.stop_as}
    if again.only == "abandon":
        stage_runs.change(connection, stage_run.id, abandoning=True)
    old, new = stage_run.state, StageState.QUEUED
    error = error or stage_run.error
    move_stage(connection, stage_run.run, stage_run.id, old, new, now=now, error=error, **values)
    due = now + timedelta(seconds=again.delay)
    if report.outcome == Outcome.SNOOZED and report.until is not None and again.only is None:
        due = max(now, report.until)
    attempts.enqueue(connection, stage_run.id, due=due, only=again.only, now=now)


def _standing(connection: Connection, stage_run: int) -> Finished:
    stage = stage_runs.get(connection, stage_run)
    due = select(attempts.attempts.c.due_at).where(
        attempts.attempts.c.stage_run == stage_run, attempts.attempts.c.state == AttemptState.QUEUED
    )
    return Finished(stage.state, connection.execute(due).scalar(), runs.get(connection, stage.run).state)


def _checked(result: Json) -> Json:
    if result is not None and (size := len(json.dumps(result).encode())) > MAX_RESULT:
        raise StoreError(
            f"a result of {size} bytes: at most {MAX_RESULT} are kept",
            hint="write it to a file, return its path",
        )
    return result
