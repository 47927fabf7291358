"""Runners: the children of workers, as rows that outlive them.

A runner is written when it is forked, before it gets an order, so that whoever takes over from a dead
worker of its host can kill what is left (rule 3.1).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from orchestrator.store.tables import table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.tables.services import Runner

runners = table_of(Runner)


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
