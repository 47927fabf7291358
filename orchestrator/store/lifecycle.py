"""The life of a run: created, advanced as its stages end, ended; the transactions that several need.

Decisions are `orchestrator.runs`'; this module reads what they need and writes what they say. Every
function works inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from orchestrator.dag.stages import StageGraph
from orchestrator.errors import RefusedError, StoreError, UsageError
from orchestrator.runs import advance as pure
from orchestrator.runs.checkpoint import Checkpoint, Decision, Json
from orchestrator.runs.ending import End
from orchestrator.runs.states import RUN_ENDS, STAGE_ENDS, RunState, StageState
from orchestrator.store import attempts, epochs, runs, stage_runs
from orchestrator.store.dags import graph_of, lock_dag
from orchestrator.store.identity import RUN_ID, uuid7
from orchestrator.store.stage_runs import Outline
from orchestrator.store.tables import Dag, DagVersion, Run, StageRun
from orchestrator.store.transitions import move_run, move_stage, tell


def create_run(
    connection: Connection,
    *,
    dag: Dag,
    version: DagVersion,
    run_type: str,
    logical_date: datetime | None,
    interval: tuple[datetime, datetime] | None,
    params: Mapping[str, Json],
    held_by: int | None,
    state: RunState,
    project: str,
    file: str | None,
    run_id: str | None = None,
    now: datetime,
) -> Run:
    """Create a run with its stage runs; one that is created `running` has its first attempts queued.

    `held_by` is the worker row of the command that executes it, None for a run of the services.
    `run_id` is made from type and logical date (`manual__2026-01-01T00:00:00+00:00`) unless given; raises
    RefusedError where a given one is taken, UsageError where it holds other signs than Airflow allows.
    """
    lock_dag(connection, dag.id)  # two runs of a DAG at once must not be given one name
    started = now if state == RunState.RUNNING else None
    first, last = interval if interval is not None else (None, None)
    row = connection.execute(
        insert(runs.runs)
        .values(
            uid=uuid7(now),
            dag=dag.id,
            version=version.id,
            bundle_version=dag.bundle_version,
            run_id=_run_id(connection, dag, run_id, run_type, logical_date or now),
            run_type=run_type,
            lane="backfill" if run_type == "backfill" else "live",
            logical_date=logical_date,
            interval_start=first,
            interval_end=last,
            params=dict(params),
            state=state,
            paused=False,
            note="",
            held_by=held_by,
            project=project,
            file=file,
            created_at=now,
            started_at=started,
        )
        .returning(runs.runs.c.number)
    )
    run = runs.get(connection, row.scalar_one())
    tell(connection, "run", now=now, run=run.number, new=state)
    graph = graph_of(connection, version.id)
    stage_runs.add(connection, run.number, version.id, graph)
    advance(connection, run, pure.graph_order(graph), now)
    return runs.get(connection, run.number)


def advance(connection: Connection, run: Run, candidates: Iterable[str], now: datetime) -> None:
    """Judge these stages and write what follows (rule 8.4). Nothing follows in a run that does not run."""
    if run.state == RunState.RUNNING:
        graph = graph_of(connection, run.version)
        rows = stage_runs.outline(connection, run.number)
        cause = run.cancel_cause
        steps = pure.advance(graph, stage_runs.states(rows), candidates, cancel_cause=cause)
        states = write(connection, run, rows, steps, now)
        _end_run(connection, run, graph, states, now)


def _end_run(connection: Connection, run: Run, graph: StageGraph, states: pure.States, now: datetime) -> None:
    """End a run of which no stage is open, or read the result of an ended one again."""
    if all(state in STAGE_ENDS for state in states.values()):
        result = pure.result(graph, states, run.cancel_cause)
        if result != run.state:
            move_run(connection, run.number, run.state, result, now=now, ended_at=now)


def write(
    connection: Connection, run: Run, rows: Mapping[str, Outline], steps: Iterable[pure.Step], now: datetime
) -> dict[str, StageState]:
    """Write the steps that `runs.advance` decided for a run, in their order; the states that are left."""
    graph = graph_of(connection, run.version)
    states = stage_runs.states(rows)
    for step in steps:
        row, old = rows[step.stage], states[step.stage]
        match step:
            case pure.QueueStage():
                states[step.stage] = StageState.QUEUED
                move_stage(connection, run.number, row.id, old, StageState.QUEUED, now=now)
                attempts.enqueue(connection, row.id, due=now, now=now)
            case pure.EndStage():
                states[step.stage] = step.state
                move_stage(connection, run.number, row.id, old, step.state, now=now, ended_at=now)
                stage_runs.lower_waiting(connection, run.number, graph[step.stage].down)
            case pure.ResetStage():
                states[step.stage] = StageState.NONE
                attempts.withdraw(connection, run.number, row.id, now)
                gone = {"ended_at": None, "error": None, "result": None}
                move_stage(connection, run.number, row.id, old, StageState.NONE, now=now, **gone)
    return states


def opened(connection: Connection, attempt: int) -> Checkpoint:
    """An attempt has opened its targets (rules 3.1-3.3) and may read where it goes on (3.4).

    Raises AttemptLost.
    """
    held = attempts.hold(connection, attempt)
    return epochs.checkpoint(connection, held.stage_run, held.base)


def decide(connection: Connection, attempt: int, decision: Decision, now: datetime) -> None:
    """Write an epoch's decision: from the commit on, it is the truth (rule 2.4).

    A repeat of the attempt's own last decision is answered as done. Raises AttemptLost; StoreError where
    the epoch may not be decided now (rules 2.6, 1.5), which is a defect of the caller.
    """
    held = attempts.hold(connection, attempt)
    last = epochs.last_epoch(connection, held.stage_run)
    if epochs.is_same(last, attempt, decision):
        return
    if held.only is not None:
        raise StoreError(f"attempt {attempt} may only {held.only} what is owed, not decide an epoch")
    epochs.refuse_unless_next(last, decision, held.base)
    epochs.insert_epoch(connection, held.run, held.stage_run, attempt, decision, now)


def applied(connection: Connection, attempt: int, epoch: int, now: datetime) -> None:
    """Every output has applied this epoch; marked already is done. Raises AttemptLost."""
    held = attempts.hold(connection, attempt)
    epochs.mark_applied(connection, held.run, held.stage_run, epoch, now)
    if held.unresolved:
        stage_runs.change(connection, held.stage_run, unresolved=False)


def end_stage(
    connection: Connection,
    run: Run,
    stage_run: StageRun,
    end: End,
    *,
    error: dict[str, Any] | None,
    result: Json = None,
    now: datetime,
) -> None:
    """End a stage whose attempt has ended, tell its children, and advance the run."""
    ended_well = end.state in (StageState.SUCCESS, StageState.SKIPPED)
    values = {
        "error": None if ended_well else error or stage_run.error,
        "result": result if end.state == StageState.SUCCESS else None,
        "unresolved": end.unresolved,
        "stop_as": None,
        "ended_at": now,
    }
    move_stage(connection, run.number, stage_run.id, stage_run.state, end.state, now=now, **values)
    graph = graph_of(connection, run.version)
    if stage_run.stage in graph.stages:
        below = graph[stage_run.stage].down
        stage_runs.lower_waiting(connection, run.number, below)
        waiting = stage_runs.waiting(connection, run.number, below)
        advance(connection, run, pure.candidates_after(graph, stage_run.stage, end.state, waiting), now)
    else:  # a version without it: nothing waits for it any more, but the run may have waited for its end
        advance(connection, run, (), now)


def settle(connection: Connection, run: Run, now: datetime) -> list[str]:
    """What every verb ends with (rule 8.7): recount, judge what never ran anew, open or end the run.

    An ended run with an open stage becomes `queued`, one that a command holds `running`. The stages
    whose `waiting` was wrong come back.
    """
    graph = graph_of(connection, run.version)
    rows = stage_runs.outline(connection, run.number)
    wrong = stage_runs.recount(connection, graph, rows)
    states = stage_runs.states(rows)
    if run.state in RUN_ENDS and any(state not in STAGE_ENDS for state in states.values()):
        run = _open_again(connection, run, now)
    if run.state == RunState.QUEUED:
        return wrong  # judged when it is promoted
    ran = {stage for stage, row in rows.items() if row.started_at is not None}
    steps = pure.rejudge(graph, states, ran, cancel_cause=run.cancel_cause)
    states = write(connection, run, rows, steps, now)
    if run.state in RUN_ENDS and any(state not in STAGE_ENDS for state in states.values()):
        run = _open_again(connection, run, now)
    _end_run(connection, run, graph, states, now)
    if any(isinstance(step, pure.ResetStage) for step in steps):  # those below wait for it again
        stage_runs.recount(connection, graph, stage_runs.outline(connection, run.number))
    return wrong


def _open_again(connection: Connection, run: Run, now: datetime) -> Run:
    state = RunState.QUEUED if run.held_by is None else RunState.RUNNING
    fresh = {"ended_at": None, "cancel_cause": None}
    move_run(connection, run.number, run.state, state, now=now, **fresh)
    return runs.get(connection, run.number)


def _run_id(
    connection: Connection, dag: Dag, given: str | None, run_type: str, logical_date: datetime
) -> str:
    taken = select(runs.runs.c.run_id).where(runs.runs.c.dag == dag.id)
    if given is not None:
        if not RUN_ID.fullmatch(given):
            raise UsageError(f"run id {given!r}", hint="letters, digits and _ . ~ : + -, at most 250")
        if connection.execute(taken.where(runs.runs.c.run_id == given)).first():
            raise RefusedError(
                f"{dag.dag_id} has a run {given!r} already", hint="leave it out, or take another"
            )
        return given
    stem = f"{run_type}__{logical_date.isoformat()}"
    like = {*connection.execute(taken.where(runs.runs.c.run_id.startswith(stem, autoescape=True))).scalars()}
    return next(name for name in _numbered(stem) if name not in like)


def _numbered(stem: str) -> Iterable[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}_{number}"
        number += 1
