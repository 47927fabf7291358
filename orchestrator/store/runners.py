"""Runners: the children of workers, as rows that outlive them.

A runner is written when it is forked, before it gets an order, so that whoever takes over from a dead
worker of its host can kill what is left (rule 3.1).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from orchestrator.store import workers as worker_rows
from orchestrator.store.tables import Attempt, Worker, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.tables.services import Runner

runners, workers, attempts = table_of(Runner), table_of(Worker), table_of(Attempt)


def add(
    connection: Connection,
    worker: int,
    pid: int,
    start_time: str,
    bundle_version: str | None,
    now: datetime,
) -> int:
    """Insert a runner of a worker; its id. `processes.start_time(pid)` gives the start time."""
    row = connection.execute(
        insert(runners)
        .values(worker=worker, pid=pid, start_time=start_time, bundle_version=bundle_version, started_at=now)
        .returning(runners.c.id)
    )
    return int(row.scalar_one())


def end(connection: Connection, ids: Collection[int], now: datetime) -> None:
    """These runners are gone for good."""
    if ids:
        connection.execute(
            update(runners).where(runners.c.id.in_(ids), runners.c.ended_at.is_(None)).values(ended_at=now)
        )


def left(connection: Connection, worker: int) -> list[Runner]:
    """The runners of a worker that nobody has seen end."""
    query = select(runners).where(runners.c.worker == worker, runners.c.ended_at.is_(None))
    return [value(Runner, row) for row in connection.execute(query.order_by(runners.c.id))]


def of_dead_workers(connection: Connection, host: str) -> list[Runner]:
    """The runners that dead workers of this host have left; nobody has seen them end."""
    found = connection.execute(_LEFT_HERE.order_by(runners.c.id), {"host": host})
    return [value(Runner, row) for row in found.all() if _is_of_dead(connection, row.worker)]


def of_earlier_attempts(
    connection: Connection, stage_runs: Collection[int], worker: int, host: str
) -> list[Runner]:
    """The runners that dead workers of this host have left, of those that had attempts of these stage runs.

    `worker` knows its own.
    """
    others = connection.execute(_OTHERS, {"stage_runs": list(stage_runs), "worker": worker}).scalars().all()
    if not others:
        return []  # as nearly always: this is asked with every claim
    return [runner for runner in of_dead_workers(connection, host) if runner.worker in others]


_LEFT_HERE = (
    select(runners)
    .join_from(runners, workers)
    .where(runners.c.ended_at.is_(None), workers.c.host == bindparam("host"))
)
_OTHERS = (
    select(attempts.c.worker)
    .where(
        attempts.c.stage_run.in_(bindparam("stage_runs", expanding=True)),
        attempts.c.worker != bindparam("worker"),
    )
    .distinct()
)


def _is_of_dead(connection: Connection, worker: int) -> bool:
    return worker_rows.life(worker_rows.get(connection, worker)) == worker_rows.Life.DEAD
