"""Workers: who executes, and whether it still lives."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, insert, select, update

from orchestrator.store import processes
from orchestrator.store.tables import Worker, table_of
from orchestrator.store.tables.entity import value

workers = table_of(Worker)


class Life(StrEnum):
    """`unknown`: it is on another host, where only its beat could tell."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


def register_worker(
    connection: Connection, *, host: str, pid: int, start_time: str, kind: str, now: datetime
) -> int:
    """Insert a worker's row; its id. `processes.this_process()` gives pid and start time."""
    values = {
        "host": host,
        "pid": pid,
        "start_time": start_time,
        "kind": kind,
        "labels": [],
        "slots": 1,
        "draining": False,
    }
    row = connection.execute(
        insert(workers).values(**values, beat=0, beat_at=now, started_at=now).returning(workers.c.id)
    )
    return int(row.scalar_one())


def end_worker(connection: Connection, worker: int, now: datetime) -> None:
    """A worker says good-bye, or was found dead."""
    connection.execute(
        update(workers).where(workers.c.id == worker, workers.c.ended_at.is_(None)).values(ended_at=now)
    )


def get(connection: Connection, worker: int) -> Worker:
    """A worker by its row's id."""
    return value(Worker, connection.execute(select(workers).where(workers.c.id == worker)).one())


def life(worker: Worker) -> Life:
    """Whether a worker lives: on this host by pid and start time, which are seen at once."""
    if worker.ended_at is not None:
        return Life.DEAD
    if worker.host != processes.host():
        return Life.UNKNOWN
    alive = processes.start_time(worker.pid) == worker.start_time
    return Life.ALIVE if alive else Life.DEAD
