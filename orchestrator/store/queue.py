"""Claiming: queued attempts become a worker's, each once in its life (rule 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, or_, select

from orchestrator.runs.choose import choose
from orchestrator.runs.order import Only
from orchestrator.runs.states import AttemptState, RunState, StageState
from orchestrator.store import workers
from orchestrator.store.candidates import find_candidates
from orchestrator.store.dialects import has_row_locks, take_claim_lock
from orchestrator.store.sets import within
from orchestrator.store.tables import Attempt, Dag, Run, StageRun, table_of
from orchestrator.store.tables.entity import part
from orchestrator.store.transitions import Moves

attempts, stage_runs, runs, dags = table_of(Attempt), table_of(StageRun), table_of(Run), table_of(Dag)


@dataclass(frozen=True)
class Claimed:
    """An attempt that this worker now executes, and all that its order is made from.

    `version` is the id of the definition to run, to be asked of `definitions`.
    """

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
    """Claim the next attempts, up to `limit`, in the order of choice; none where nothing fits now.

    `held`: of the runs that this worker holds, one attempt at a time; else of those that nobody holds.
    """
    take_claim_lock(connection)
    if held and _executes(connection, worker):
        return []
    claimed: list[Claimed] = []
    wanted = 1 if held else limit
    while rows := _choose(connection, worker, wanted - len(claimed), held, now):
        claimed += _start(connection, rows, worker, now)
        if len(claimed) == wanted or not rows.is_cut:
            break
    return claimed


def next_due(connection: Connection, *, worker: int, held: bool) -> datetime | None:
    """When the earliest attempt that this worker might claim is due; None where nothing waits for a time."""
    labels = [] if held else workers.get(connection, worker).labels
    due: datetime | None = connection.execute(_DUE[held], {"worker": worker, "labels": labels}).scalar()
    return due


class _Chosen(list[Any]):
    """Rows of what is chosen. `is_cut`: more may fit, which were not looked at."""

    is_cut = False


def _choose(connection: Connection, worker: int, limit: int, held: bool, now: datetime) -> _Chosen:
    """Lock and read what is chosen, but for those whose run a verb is changing just now: they are passed."""
    passed: set[int] = set()
    while True:
        candidates = find_candidates(
            connection, worker=worker, held=held, limit=limit, now=now, passed=passed
        )
        free = {row.pool: row.free for row in candidates if row.free is not None}
        room = {row.dag: row.room for row in candidates}
        chosen = choose(candidates, free, room, limit)
        ids = [row.id for row in chosen]
        query = _LOCK if has_row_locks(connection) else _GET
        rows = {row[0]: row for row in connection.execute(query, {"ids": ids})} if ids else {}
        if len(rows) == len(ids):
            found = _Chosen(rows[attempt] for attempt in ids)
            found.is_cut = len(candidates) >= limit > len(ids)
            return found
        passed |= {row.run for row in chosen if row.id not in rows}


def _start(connection: Connection, rows: Sequence[Any], worker: int, now: datetime) -> list[Claimed]:
    """Make the chosen attempts this worker's."""
    moves, claimed = Moves(connection, now), []
    for row in rows:
        attempt, only = row[0], row[1]
        stage_run, run, dag = part(StageRun, row, 2), part(Run, row, _RUN), part(Dag, row, _DAG)
        began = stage_run.started_at or now
        old, new = AttemptState.QUEUED, AttemptState.RUNNING
        moves.attempt(run.number, stage_run.id, attempt, old, new, worker=worker, claimed_at=now)
        before, after = StageState.QUEUED, StageState.RUNNING
        moves.stage(run.number, stage_run.id, before, after, started_at=began, ended_at=None)
        stage_run.state, stage_run.started_at, stage_run.ended_at = after, began, None
        claimed.append(Claimed(attempt, only, stage_run.base, stage_run, run, dag, stage_run.version))
    moves.flush()
    return claimed


def _executes(connection: Connection, worker: int) -> bool:
    return connection.execute(_RUNNING, {"worker": worker}).first() is not None


def _joined(query: Select[Any]) -> Select[Any]:
    return (
        query.select_from(attempts)
        .join(stage_runs, attempts.c.stage_run == stage_runs.c.id)
        .join(runs, stage_runs.c.run == runs.c.number)
    )


_RUNNING = select(attempts.c.id).where(
    attempts.c.worker == bindparam("worker"), attempts.c.state == AttemptState.RUNNING
)
_CLAIMABLE = (
    attempts.c.state == AttemptState.QUEUED,
    runs.c.state == RunState.RUNNING,
    or_(attempts.c.only.is_not(None), ~runs.c.paused & ~stage_runs.c.paused),
)
_RUN = 2 + len(stage_runs.c)
_DAG = _RUN + len(runs.c)
_GET = (
    _joined(select(attempts.c.id, attempts.c.only, *stage_runs.c, *runs.c, *dags.c))
    .join(dags, runs.c.dag == dags.c.id)
    .where(within(attempts.c.id, "ids"), *_CLAIMABLE)
)
# Verbs hold a run FOR UPDATE, finishes of its other stages do not keep it from being claimed.
_LOCK = _GET.with_for_update(read=True, key_share=True, of=[attempts, runs], skip_locked=True)
_EARLIEST = _joined(select(attempts.c.due_at)).where(*_CLAIMABLE).order_by(attempts.c.due_at).limit(1)
_DUE = {
    True: _EARLIEST.where(runs.c.held_by == bindparam("worker")),
    False: _EARLIEST.where(
        runs.c.held_by.is_(None), or_(stage_runs.c.queue.is_(None), within(stage_runs.c.queue, "labels"))
    ),
}
