"""Pausing and resuming a run, or one stage of it (rule 10)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, func, select

from orchestrator.errors import RefusedError
from orchestrator.runs.effects import Extra, Remark
from orchestrator.runs.report import Report
from orchestrator.runs.states import RUN_ENDS, STAGE_ENDS, Outcome
from orchestrator.store import attempts, epochs, finishing, runs, stage_runs
from orchestrator.store.dags import graph_of
from orchestrator.store.tables import Attempt, Event, Run, StageRun, table_of
from orchestrator.store.transitions import tell
from orchestrator.store.verbs.naming import stage_named


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


def pause(
    connection: Connection, run: Run, now: datetime, *, node: str | None = None, at_once: bool = False
) -> Iterable[Extra]:
    """Pause a run, or the stage of a node. What runs is asked for a savepoint, and goes on from that.

    `at_once` takes running attempts away instead of asking: what they did since their last epoch is lost,
    and told. Raises RefusedError where run or stage has ended, or a command holds the run and should be
    stopped at once. The run must be locked.
    """
    if at_once and run.held_by is not None:
        raise RefusedError(
            f"run {run.number} is executed by a command: it alone can stop at once",
            hint="press Ctrl-C there twice; without `now` it is asked for a savepoint",
        )
    if node is None:
        pause_run(connection, run, now=now)
        return _stop(connection, run, None, now, at_once)
    named, stage_run = stage_named(connection, run, node)
    if stage_run.state in STAGE_ENDS:
        raise RefusedError(f"stage {stage_run.stage} of run {run.number} has ended ({stage_run.state})")
    if not stage_run.paused:
        stage_runs.change(connection, stage_run.id, paused=True)
        ids = {"run": run.number, "stage_run": stage_run.id}
        tell(connection, "stage", now=now, old=stage_run.state, new="paused", **ids)
    return [named, *_stop(connection, run, stage_run, now, at_once)]


def resume(connection: Connection, run: Run, now: datetime, *, node: str | None = None) -> Iterable[Extra]:
    """Take the pause flag off a run, or off the stage of a node; timeouts have stood still meanwhile.

    Nothing changes where it is not paused. Raises RefusedError where the run has ended unpaused. The run must
    be locked.
    """
    if node is not None:
        named, stage_run = stage_named(connection, run, node)
        if not stage_run.paused:
            return [named, Remark(stage_run.stage, "is not paused")]
        stage_runs.change(connection, stage_run.id, paused=False)
        ids = {"run": run.number, "stage_run": stage_run.id}
        tell(connection, "stage", now=now, old="paused", new=stage_run.state, **ids)
        return [named]
    if not run.paused:
        if run.state in RUN_ENDS:
            raise RefusedError(f"run {run.number} has ended ({run.state}): there is nothing to resume")
        paused = _paused_stages(stage_runs.all_of_run(connection, run.number))
        return [Remark("", f"run {run.number} is not paused{paused}")]
    later = {}
    if run.timeout_at is not None:
        later["timeout_at"] = run.timeout_at + (now - (_paused_at(connection, run) or now))
    runs.change(connection, run.number, paused=False, **later)
    tell(connection, "run", now=now, run=run.number, old="paused", new=run.state)
    return ()


def _stop(
    connection: Connection, run: Run, only: StageRun | None, now: datetime, at_once: bool
) -> list[Extra]:
    """Say what becomes of what runs (of `only` this stage); take it away where that is wanted."""
    remarks: list[Extra] = []
    for attempt in attempts.running(connection, run.number):
        if only is not None and attempt.stage_run != only.id:
            continue
        stage_run = stage_runs.get(connection, attempt.stage_run)
        if attempt.only is not None:
            remarks.append(Remark(stage_run.stage, "a decided epoch reaches its targets all the same"))
        elif at_once:
            remarks.append(Remark(stage_run.stage, _lost(connection, stage_run)))
            _take_away(connection, attempt, now)
        elif graph_of(connection, stage_run.version)[stage_run.stage].is_action:
            remarks.append(Remark(stage_run.stage, "an action keeps no savepoint: it runs to its end"))
    return remarks


def _take_away(connection: Connection, attempt: Attempt, now: datetime) -> None:
    """End an attempt as paused, whatever its runner does: that one's writes bounce from here on."""
    finishing.finish(connection, {attempt.id: Report(Outcome.PAUSED)}, now)


def _lost(connection: Connection, stage_run: StageRun) -> str:
    epoch = epochs.highest(connection, stage_run.id)
    if epoch > stage_run.base:
        return f"what it did after epoch {epoch} is lost, it goes on from there"
    return "all that it did is lost, it starts from its beginning"


def _paused_at(connection: Connection, run: Run) -> datetime | None:
    events = table_of(Event)
    raised = select(func.max(events.c.at)).where(
        events.c.run == run.number, events.c.kind == "run", events.c.new == "paused"
    )
    found: datetime | None = connection.execute(raised).scalar()
    return found


def _paused_stages(rows: Iterable[StageRun]) -> str:
    names = [row.stage for row in rows if row.paused]
    return f"; its stage {names[0]} is: resume that" if names else ""
