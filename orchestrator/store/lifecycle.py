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
from orchestrator.store.advancing import Advancing
from orchestrator.store.dags import graph_of, lock_dag
from orchestrator.store.identity import RUN_ID, uuid7
from orchestrator.store.stage_runs import Outline
from orchestrator.store.surroundings import stored_choices
from orchestrator.store.tables import Dag, Run, StageRun
from orchestrator.store.tables.entity import value
from orchestrator.store.transitions import Moves, move_run, tell


def create_run(
    connection: Connection,
    *,
    dag: Dag,
    version: int,
    run_type: str,
    logical_date: datetime | None,
    interval: tuple[datetime, datetime] | None,
    params: Mapping[str, Json],
    held_by: int | None,
    state: RunState,
    project: str,
    file: str | None,
    run_id: str | None = None,
    due_at: datetime | None = None,
    now: datetime,
) -> Run:
    """Create a run with its stage runs; one that is created `running` has its first attempts queued.

    `version` is the id of a version's row. `held_by` is the worker row of the command that executes it, None
    for a run of the services. `run_id` is made from type and logical date
    (`manual__2026-01-01T00:00:00+00:00`) unless given; raises RefusedError where a given one is taken,
    UsageError where it holds other signs than Airflow allows. `due_at`: when its schedule was to fire it.
    """
    lock_dag(connection, dag.id)  # two runs of a DAG at once must not be given one name
    started = now if state == RunState.RUNNING else None
    first, last = interval if interval is not None else (None, None)
    row = connection.execute(
        insert(runs.runs)
        .values(
            uid=uuid7(now),
            dag=dag.id,
            version=version,
            bundle_version=dag.bundle_version,
            run_id=_run_id(connection, dag, run_id, run_type, logical_date or now),
            run_type=run_type,
            lane="backfill" if run_type == "backfill" else "live",
            logical_date=logical_date,
            interval_start=first,
            interval_end=last,
            due_at=due_at,
            params=dict(params),
            state=state,
            paused=False,
            late=False,
            note="",
            held_by=held_by,
            project=project,
            file=file,
            created_at=now,
            started_at=started,
        )
        .returning(runs.runs)
    )
    run = value(Run, row.one())
    tell(connection, "run", now=now, run=run.number, new=state)
    graph = graph_of(connection, version)
    stage_runs.add(connection, run.number, version, graph, lane=run.lane)
    if state != RunState.RUNNING:  # a queued one is judged when it is promoted
        return run
    advance(connection, run, pure.graph_order(graph), now)
    return runs.get(connection, run.number)


def advance(connection: Connection, run: Run, candidates: Iterable[str], now: datetime) -> None:
    """Judge these stages and write what follows (rule 8.4). Nothing follows in a run that does not run."""
    advancing = Advancing(connection, now)
    advancing.of(run.number, run.state, run.cancel_cause, graph_of(connection, run.version)).judge(candidates)
    advancing.follow()


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
    advancing = Advancing(connection, now)
    graph = graph_of(connection, run.version)
    following = advancing.of(run.number, run.state, run.cancel_cause, graph)
    values = {"error": error or stage_run.error, "result": result}
    advancing.end_stage(following, stage_run.id, stage_run.stage, stage_run.state, end, **values)
    advancing.follow()


def settle(connection: Connection, run: Run, now: datetime) -> list[str]:
    """What every verb ends with (rule 8.7): recount, judge what never ran anew, open or end the run.

    An ended run with an open stage becomes `queued`, one that a command holds `running`. The stages
    whose `waiting` was wrong come back.
    """
    graph = graph_of(connection, run.version)
    rows = stage_runs.outline(connection, run.number)
    states = stage_runs.states(rows)
    wrong = stage_runs.miscounted(graph, rows, states)
    if run.state in RUN_ENDS and _is_open(states):
        run = _open_again(connection, run, now)
    if run.state != RunState.QUEUED:  # that one is judged when it is promoted
        ran = {stage for stage, row in rows.items() if row.started_at is not None}
        choices = stored_choices(connection, run.number, graph)
        steps = pure.rejudge(graph, states, ran, choices=choices, cancel_cause=run.cancel_cause)
        states = _write(connection, run, rows, steps, now)
        if run.state in RUN_ENDS and _is_open(states):
            run = _open_again(connection, run, now)
        _end_run(connection, run, graph, states, now)
    stage_runs.count_again(connection, rows, stage_runs.miscounted(graph, rows, states))
    return [*wrong]


def _is_open(states: pure.States) -> bool:
    return any(state not in STAGE_ENDS for state in states.values())


def _end_run(connection: Connection, run: Run, graph: StageGraph, states: pure.States, now: datetime) -> None:
    """End a run of which no stage is open, or read the result of an ended one again."""
    if not _is_open(states):
        result = pure.result(graph, states, run.cancel_cause)
        if result != run.state:
            move_run(connection, run.number, run.state, result, now=now, ended_at=now)


def _write(
    connection: Connection, run: Run, rows: Mapping[str, Outline], steps: Iterable[pure.Step], now: datetime
) -> dict[str, StageState]:
    """Write the steps that `runs.advance` decided for a run; the states that are left.

    What goes back to `none` goes first: a stage that is queued anew has then no attempt any more.
    """
    states, moves = stage_runs.states(rows), Moves(connection, now)
    resets = [rows[step.stage] for step in steps if isinstance(step, pure.ResetStage)]
    if resets:
        attempts.withdraw_all(connection, run.number, [row.id for row in resets], moves)
    gone: dict[str, Any] = {"ended_at": None, "error": None, "result": None}
    for row in resets:
        states[row.stage] = StageState.NONE
        moves.stage(run.number, row.id, row.state, StageState.NONE, **gone)
    moves.flush()
    for step in steps:
        row = rows[step.stage]
        match step:
            case pure.QueueStage():
                moves.stage(run.number, row.id, states[step.stage], StageState.QUEUED)
                moves.enqueue(row.id, due=now)
                states[step.stage] = StageState.QUEUED
            case pure.EndStage():
                moves.stage(run.number, row.id, states[step.stage], step.state, ended_at=now)
                states[step.stage] = step.state
    moves.flush()
    return states


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
    if not connection.execute(taken.where(runs.runs.c.run_id == stem)).first():
        return stem
    like = {*connection.execute(taken.where(runs.runs.c.run_id.startswith(stem, autoescape=True))).scalars()}
    return next(name for name in _numbered(stem) if name not in like)


def _numbered(stem: str) -> Iterable[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}_{number}"
        number += 1
