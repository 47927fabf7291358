"""Pools: named numbers of slots. A stage whose pool has no row here is not limited by it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, case, delete, func, insert, select

from orchestrator.dag.stages import StageGraph
from orchestrator.errors import RefusedError, UsageError, nearest
from orchestrator.runs.states import AttemptState, StageState
from orchestrator.store.dialects import upsert
from orchestrator.store.tables import Attempt, Dag, DagVersion, Pool, StageRun, table_of
from orchestrator.store.tables.entity import value

DEFAULT_SLOTS = 128
DEFAULT = "default"
MOST_SLOTS = 2**31 - 1
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,250}")
pools, stage_runs, attempts = table_of(Pool), table_of(StageRun), table_of(Attempt)


@dataclass(frozen=True)
class PoolUse:
    """A pool, the slots that running attempts hold of it, and those that queued ones wait for."""

    pool: Pool
    running: int
    queued: int


def add_default_pool(connection: Connection) -> None:
    """The pool of every stage that names none; part of a new store."""
    connection.execute(
        insert(pools).values(name=DEFAULT, slots=DEFAULT_SLOTS, description="Stages that name no pool.")
    )


def set_pool(connection: Connection, name: str, slots: int, description: str = "") -> None:
    """Create a pool or change its size; raises UsageError for a bad name, or a size that none can have."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a pool",
            hint="letters, digits, `_`, `.` and `-`, at most 250 of them",
        )
    if not 0 <= slots <= MOST_SLOTS:
        raise UsageError(f"pool {name!r}: {slots} slots", hint=f"0 to {MOST_SLOTS:,}")
    upsert(connection, pools, {"name": name, "slots": slots, "description": description}, key="name")


def slots(connection: Connection) -> dict[str, int]:
    """The size of every pool."""
    rows = connection.execute(select(pools.c.name, pools.c.slots))
    return {row.name: row.slots for row in rows}


def list_pools(connection: Connection) -> list[PoolUse]:
    """Every pool with what is used of it, by name."""
    held = {
        state: func.sum(case((attempts.c.state == state, stage_runs.c.pool_slots), else_=0))
        for state in _OPEN
    }
    query = (
        select(stage_runs.c.pool, *held.values())
        .join_from(attempts, stage_runs, attempts.c.stage_run == stage_runs.c.id)
        .where(attempts.c.state != AttemptState.DONE)
        .group_by(stage_runs.c.pool)
    )
    used = {name: (int(running), int(queued)) for name, running, queued in connection.execute(query)}
    found = (value(Pool, row) for row in connection.execute(select(pools).order_by(pools.c.name)))
    return [PoolUse(pool, *used.get(pool.name, (0, 0))) for pool in found]


_OPEN = (AttemptState.RUNNING, AttemptState.QUEUED)
_OPEN_STATES = (StageState.NONE, StageState.QUEUED, StageState.RUNNING)


def unset_pools(connection: Connection) -> dict[str, list[str]]:
    """The pools that nobody has set, so that they have no limit, and by whom each is asked for."""
    known, found = slots(connection), dict[str, list[str]]()
    for pool, user in (*_open_users(connection, known), *_dag_users(connection)):
        if pool not in known:
            found.setdefault(pool, []).append(user)
    return dict(sorted(found.items()))


def delete_pool(connection: Connection, name: str) -> None:
    """Delete a pool that nothing asks for.

    Raises UsageError where there is none, RefusedError for the default one and for one that a stage of a
    run that has not ended, or of a DAG, names: it would have no limit any more.
    """
    known = slots(connection)
    if name not in known:
        raise UsageError(f"there is no pool {name!r}", hint=nearest(name, known))
    if name == DEFAULT:
        raise RefusedError(
            "the pool 'default' is that of every stage that names none",
            hint="`fustgo pools set default N` changes its size",
        )
    if users := _runs_with(connection, name) or _dags_with(connection, name):
        raise RefusedError(
            f"pool {name!r} is asked for by {', '.join(users)}: without it they would have no limit",
            hint=f"`fustgo pools set {name} 0` holds them back; delete it when they name another",
        )
    connection.execute(delete(pools).where(pools.c.name == name))


def _runs_with(connection: Connection, name: str) -> list[str]:
    query = select(stage_runs.c.run, stage_runs.c.stage).where(
        stage_runs.c.pool == name, stage_runs.c.state.in_(_OPEN_STATES)
    )
    return [f"stage {row.stage} of run {row.run}" for row in connection.execute(query.limit(3))]


def _dags_with(connection: Connection, name: str) -> list[str]:
    return [user for pool, user in _dag_users(connection) if pool == name][:3]


def _dag_users(connection: Connection) -> Iterator[tuple[str, str]]:
    """The pool of every stage of every DAG, and the stage's name."""
    dags, versions = table_of(Dag), table_of(DagVersion)
    query = (
        select(dags.c.dag_id, versions.c.stages)
        .join_from(dags, versions, dags.c.version == versions.c.id)
        .where(dags.c.deleted_at.is_(None))
    )
    for dag, stages in connection.execute(query):
        for stage in StageGraph.from_json(stages):
            yield stage.pool, f"stage {stage.id} of DAG {dag}"


def _open_users(connection: Connection, but: Collection[str]) -> Iterator[tuple[str, str]]:
    """The open stages of runs whose pool is none of these, at most a hundred."""
    query = select(stage_runs.c.pool, stage_runs.c.stage, stage_runs.c.run).where(
        stage_runs.c.pool.not_in(but), stage_runs.c.state.in_(_OPEN_STATES)
    )
    for row in connection.execute(query.limit(100)):
        yield row.pool, f"stage {row.stage} of run {row.run}"
