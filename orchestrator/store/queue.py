"""Claiming: one queued attempt becomes a worker's, once in its life (rule 9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, Select, and_, func, or_, select

from orchestrator.runs.choose import choose
from orchestrator.runs.order import Only
from orchestrator.runs.states import AttemptState, RunState, StageState
from orchestrator.store import dags as dag_rows
from orchestrator.store import pools as pool_rows
from orchestrator.store import runs as run_rows
from orchestrator.store import stage_runs as stage_rows
from orchestrator.store import workers as worker_rows
from orchestrator.store.dialects import has_row_locks, take_claim_lock
from orchestrator.store.tables import Attempt, Dag, Pool, Run, StageRun, table_of
from orchestrator.store.transitions import move_attempt, move_stage

attempts, stage_runs, runs = table_of(Attempt), table_of(StageRun), table_of(Run)
dags, pools = table_of(Dag), table_of(Pool)


@dataclass(frozen=True)
class Claimed:
    """An attempt that this worker now executes, and all that its order is made from."""

    attempt: int
    only: Only | None
    base: int
    stage_run: StageRun
    run: Run
    dag: Dag
    version: int


def claim(
    connection: Connection, *, worker: int, limit: int = 1, held: bool = False, now: datetime
) -> list[Claimed]:
    """Claim the next attempts, up to `limit`; none where there is nothing to claim now.

    `held`: of the runs that this worker holds, one attempt at a time; else of those that nobody holds.
    """
    take_claim_lock(connection)
    if held and _executes(connection, worker):
        return []
    found: list[Claimed] = []
    while len(found) < (1 if held else limit):
        one = _claim(connection, worker, held, now)
        if one is None:
            break
        found.append(one)
    return found


def is_claimable(connection: Connection, *, worker: int, now: datetime) -> bool:
    """Whether anything may be there to claim of the runs that nobody holds. Takes no lock."""
    return connection.execute(_candidates(connection, worker, False, now).limit(1)).first() is not None


def _claim(connection: Connection, worker: int, held: bool, now: datetime) -> Claimed | None:
    chosen = _choose(connection, worker, held, now)
    if chosen is None:
        return None
    old, new = AttemptState.QUEUED, AttemptState.RUNNING
    values = {"worker": worker, "claimed_at": now}
    move_attempt(connection, chosen.run, chosen.stage_run, chosen.id, old, new, now=now, **values)
    started = {"started_at": chosen.started_at or now, "ended_at": None}
    before, after = StageState.QUEUED, StageState.RUNNING
    move_stage(connection, chosen.run, chosen.stage_run, before, after, now=now, **started)
    return _claimed(connection, chosen.id, chosen.only, chosen.stage_run)


def next_due(connection: Connection, *, worker: int, held: bool) -> datetime | None:
    """When the earliest attempt that this worker might claim is due; None where nothing waits for a time."""
    query = _joined(select(func.min(attempts.c.due_at).label("due"))).where(
        *_claimable(connection, worker, held)
    )
    due: datetime | None = connection.execute(query).scalar()
    return due


def _choose(connection: Connection, worker: int, held: bool, now: datetime) -> Row[Any] | None:
    """The first candidate that fits, but for those whose run a verb is changing just now."""
    candidates = list(connection.execute(_candidates(connection, worker, held, now)))
    if not candidates:
        return None
    slots, used = pool_rows.slots(connection), _used(connection)
    while (chosen := choose(candidates, slots, used)) is not None:
        if _hold(connection, chosen, _claimable(connection, worker, held)):
            break
        candidates.remove(chosen)
    return chosen


def _hold(connection: Connection, chosen: Row[Any], claimable: list[ColumnElement[bool]]) -> bool:
    """Lock a candidate and its run for this transaction, where it is one still and no verb holds the run."""
    if not has_row_locks(connection):
        return True
    query = (
        select(attempts.c.id)
        .join(stage_runs, attempts.c.stage_run == stage_runs.c.id)
        .join(runs, stage_runs.c.run == runs.c.number)
        .where(attempts.c.id == chosen.id, *claimable)
        .with_for_update(read=True, key_share=True, of=[attempts, runs], skip_locked=True)
    )
    return connection.execute(query).first() is not None


def _executes(connection: Connection, worker: int) -> bool:
    running = select(attempts.c.id).where(
        attempts.c.worker == worker, attempts.c.state == AttemptState.RUNNING
    )
    return connection.execute(running.limit(1)).first() is not None


def _claimed(connection: Connection, attempt: int, only: Only | None, stage_run: int) -> Claimed:
    stage = stage_rows.get(connection, stage_run)
    run = run_rows.get(connection, stage.run)
    dag = dag_rows.get_dag(connection, run.dag)
    return Claimed(attempt, only, stage.base, stage, run, dag, stage.version)


def _candidates(connection: Connection, worker: int, held: bool, now: datetime) -> Select[Any]:
    """Queued attempts that nothing excludes for longer than this claim, in the order of choice.

    Live before backfill, then priority, the runs' order, and age.
    """
    columns = (attempts.c.id, attempts.c.only, attempts.c.stage_run, stage_runs.c.run)
    of_stage = (stage_runs.c.pool, stage_runs.c.pool_slots, stage_runs.c.started_at)
    fits = stage_runs.c.pool_slots <= func.coalesce(pools.c.slots, stage_runs.c.pool_slots)
    below_cap = _running_of_dag() < dags.c.max_active_tasks
    return (
        _joined(select(*columns, *of_stage))
        .where(*_claimable(connection, worker, held), attempts.c.due_at <= now, fits, below_cap)
        .order_by(
            runs.c.lane.desc(),  # "live" is after "backfill" in the alphabet
            stage_runs.c.weight.desc(),
            runs.c.number,
            attempts.c.id,
        )
    )


def _claimable(connection: Connection, worker: int, held: bool) -> list[ColumnElement[bool]]:
    """Queued, in a running run that is ours to execute, and not paused.

    What may only apply, or give up, what is owed is claimed though run or stage is paused. A command
    executes every stage of its run itself, whatever label a stage asks for.
    """
    conditions = [
        attempts.c.state == AttemptState.QUEUED,
        runs.c.state == RunState.RUNNING,
        or_(attempts.c.only.is_not(None), and_(~runs.c.paused, ~stage_runs.c.paused)),
    ]
    if held:
        return [*conditions, runs.c.held_by == worker]
    labels = worker_rows.get(connection, worker).labels
    labelled = or_(stage_runs.c.queue.is_(None), stage_runs.c.queue.in_(labels))
    return [*conditions, runs.c.held_by.is_(None), labelled]


def _joined(query: Select[Any]) -> Select[Any]:
    return (
        query.select_from(attempts)
        .join(stage_runs, attempts.c.stage_run == stage_runs.c.id)
        .join(runs, stage_runs.c.run == runs.c.number)
        .join(dags, runs.c.dag == dags.c.id)
        .outerjoin(pools, stage_runs.c.pool == pools.c.name)
    )


@cache
def _running_of_dag() -> ScalarSelect[int]:
    """How many attempts of the candidate's DAG run now."""
    attempt, stage, run = attempts.alias(), stage_runs.alias(), runs.alias()
    return (
        select(func.count())
        .select_from(attempt)
        .join(stage, attempt.c.stage_run == stage.c.id)
        .join(run, stage.c.run == run.c.number)
        .where(attempt.c.state == AttemptState.RUNNING, run.c.dag == runs.c.dag)
        .correlate(runs)
        .scalar_subquery()
    )


def _used(connection: Connection) -> dict[str, int]:
    """The slots that running attempts take, of every pool."""
    query = (
        select(stage_runs.c.pool, func.sum(stage_runs.c.pool_slots).label("used"))
        .join_from(attempts, stage_runs, attempts.c.stage_run == stage_runs.c.id)
        .where(attempts.c.state == AttemptState.RUNNING)
        .group_by(stage_runs.c.pool)
    )
    return {row.pool: int(row.used) for row in connection.execute(query)}
