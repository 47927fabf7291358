"""Promotion: queued runs start in the order of their creation, up to what may run at once (rule 8.13).

A transaction of its own, so that nobody who holds a run waits for a DAG. Whoever ended a run or changed one
by a verb promotes at once; the scheduler's sweep is the net.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, literal_column, select

from orchestrator.runs.states import RunState
from orchestrator.store import lifecycle, runs
from orchestrator.store.dags import dags, lock_dag, versions
from orchestrator.store.database import Database
from orchestrator.store.sets import within
from orchestrator.store.tables import Run, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.transitions import move_run
from orchestrator.store.troubles import apart
from orchestrator.units import parse_duration


def promote(database: Database, dag: int, *, look: bool = True) -> list[int]:
    """Start what may start of a DAG's queued runs; their numbers.

    Runs of a backfill count against its limit only, those that a command holds against none. Without `look`
    it is not looked first whether there are any: the caller has made one.
    """
    if look:
        with database.read() as connection:
            if not _fitting(connection, dag):
                return []
    return database.run_transaction(lambda connection: _promote(connection, dag, database.clock.now()))


def sweep(database: Database) -> list[int]:
    """Start what may start of any DAG: for what nobody promoted when it could be.

    A DAG whose runs cannot be started is logged and keeps no other from it. Raises OutOfReachError.
    """
    with database.read() as connection:
        waiting = list(connection.execute(_DAGS).scalars())
    started: list[int] = []
    for dag in waiting:
        with apart(database, f"the queued runs of DAG row {dag} are not started"):
            started += promote(database, dag)
    return started


def _promote(connection: Connection, dag: int, now: datetime) -> list[int]:
    lock_dag(connection, dag)
    fitting = [value(Run, row) for row in connection.execute(_LOCK, {"numbers": _fitting(connection, dag)})]
    for run in fitting:
        started = {"started_at": run.started_at or now, "timeout_at": _timeout(connection, run, now)}
        move_run(connection, run.number, RunState.QUEUED, RunState.RUNNING, now=now, **started)
        lifecycle.settle(connection, runs.get(connection, run.number), now)
    return [run.number for run in fitting]


def _fitting(connection: Connection, dag: int) -> list[int]:
    """The queued runs for which there is room."""
    given = {"dag": dag}
    queued = connection.execute(_QUEUED, given).all()
    if not queued:
        return []
    active = {row.backfill: row.active for row in connection.execute(_ACTIVE, given)}
    room: dict[int | None, int] = {None: connection.execute(_LIMIT, given).scalar_one()}
    room |= _room_of_backfills(connection, {row.backfill for row in queued} - {None})
    fitting: list[int] = []
    for row in queued:
        if active.get(row.backfill, 0) < room[row.backfill]:
            active[row.backfill] = active.get(row.backfill, 0) + 1
            fitting.append(row.number)
    return fitting


def _room_of_backfills(connection: Connection, ids: set[int]) -> dict[int | None, int]:
    """How many runs of each of these backfills may run at once; none of a paused one."""
    if not ids:
        return {}
    from orchestrator.store.tables.services import Backfill  # most DAGs have none

    backfills = table_of(Backfill)
    query = select(backfills.c.id, backfills.c.max_active_runs, backfills.c.paused)
    rows = connection.execute(query.where(backfills.c.id.in_(ids)))
    return {row.id: 0 if row.paused else row.max_active_runs for row in rows}


def _timeout(connection: Connection, run: Run, now: datetime) -> datetime | None:
    """When the run is to be ended, if it has not ended before."""
    longest = connection.execute(_TIMEOUT, {"version": run.version}).scalar()
    return None if longest is None else now + parse_duration(longest)


_runs = runs.runs
_UNENDED: Any = literal_column("runs.state IN ('queued', 'running')")  # as the partial index has it
_SERVICES = (_UNENDED, _runs.c.held_by.is_(None))
_OF_DAG = (*_SERVICES, _runs.c.dag == bindparam("dag"))
_QUEUED = (
    select(_runs.c.number, _runs.c.backfill)
    .where(*_OF_DAG, _runs.c.state == RunState.QUEUED)
    .order_by(_runs.c.number)
)
_ACTIVE = (
    select(_runs.c.backfill, func.count().label("active"))
    .where(*_OF_DAG, _runs.c.state == RunState.RUNNING)
    .group_by(_runs.c.backfill)
)
_LIMIT = select(dags.c.max_active_runs).where(dags.c.id == bindparam("dag"))
_DAGS = (
    select(_runs.c.dag).where(*_SERVICES, _runs.c.state == RunState.QUEUED).distinct().order_by(_runs.c.dag)
)
_LOCK = (
    select(_runs)
    .where(within(_runs.c.number, "numbers"), _runs.c.state == RunState.QUEUED)
    .order_by(_runs.c.number)
    .with_for_update(key_share=True)
)
_TIMEOUT = select(versions.c.document["dagrun_timeout"].as_string()).where(
    versions.c.id == bindparam("version")
)
