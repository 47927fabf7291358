"""Workers: who executes, and whether it still lives (rules 9.5 and 9.6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, func, insert, select, update

from orchestrator.runs.states import AttemptState
from orchestrator.store import processes
from orchestrator.store.tables import Attempt, Worker, table_of
from orchestrator.store.tables.entity import value

workers, attempts = table_of(Worker), table_of(Attempt)


class Life(StrEnum):
    """`unknown`: it is on another host, where only its beat could tell."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Beat:
    """The answer to a beat.

    `draining`: finish what you have, and go. `given_back`: running attempts of yours that you have not named
    in two beats running; `rescue.give_back` queues them again. `ended`: you were taken for dead, and what you
    had is another's by now: kill your runners and register anew.
    """

    draining: bool = False
    given_back: tuple[int, ...] = ()
    ended: bool = False


@dataclass(frozen=True)
class Listed:
    """A worker, and how many attempts it runs."""

    worker: Worker
    running: int


def register_worker(
    connection: Connection,
    *,
    host: str,
    pid: int,
    start_time: str,
    kind: str,
    labels: Iterable[str] = (),
    slots: int = 1,
    now: datetime,
) -> int:
    """Insert a worker's row; its id. `processes.this_process()` gives pid and start time."""
    values = {
        "host": host,
        "pid": pid,
        "start_time": start_time,
        "kind": kind,
        "labels": list(labels),
        "slots": slots,
        "draining": False,
        "unseen": [],
    }
    row = connection.execute(
        insert(workers).values(**values, beat=0, beat_at=now, started_at=now).returning(workers.c.id)
    )
    return int(row.scalar_one())


def beat(connection: Connection, worker: int, executing: Collection[int] | None, now: datetime) -> Beat:
    """A worker says that it lives, and which attempts it executes (`executing`, by id; None: all its own)."""
    row = connection.execute(
        select(workers.c.unseen, workers.c.ended_at, workers.c.draining).where(workers.c.id == worker)
    ).one()
    unseen: list[int] = []
    if executing is not None:
        mine = (attempts.c.worker == worker) & (attempts.c.state == AttemptState.RUNNING)
        found = connection.execute(select(attempts.c.id).where(mine)).scalars()
        unseen = sorted(set(found) - set(executing))
    done = connection.execute(
        update(workers)
        .where(workers.c.id == worker, workers.c.ended_at.is_(None))
        .values(beat=workers.c.beat + 1, beat_at=now, unseen=unseen)
    )
    if done.rowcount != 1:
        return Beat(ended=True)
    return Beat(row.draining, tuple(attempt for attempt in unseen if attempt in row.unseen))


def end_worker(connection: Connection, worker: int, now: datetime) -> None:
    """A worker says good-bye, or was found dead."""
    connection.execute(
        update(workers).where(workers.c.id == worker, workers.c.ended_at.is_(None)).values(ended_at=now)
    )


def end_dead(connection: Connection, worker: int, beat_seen: int, now: datetime) -> bool:
    """A worker was found dead: its beat was `beat_seen` for a lease. False where it has beaten since."""
    done = connection.execute(
        update(workers)
        .where(workers.c.id == worker, workers.c.beat == beat_seen, workers.c.ended_at.is_(None))
        .values(ended_at=now)
    )
    return done.rowcount == 1


def ask_to_drain(connection: Connection, worker: int) -> bool:
    """Ask a worker to finish what it has and to go; False: it has ended.

    It looks when it hears the hint `ask`, and at its next beat.
    """
    done = connection.execute(
        update(workers).where(workers.c.id == worker, workers.c.ended_at.is_(None)).values(draining=True)
    )
    return done.rowcount == 1


def get(connection: Connection, worker: int) -> Worker:
    """A worker by its row's id."""
    return value(Worker, connection.execute(select(workers).where(workers.c.id == worker)).one())


def list_workers(connection: Connection, *, ended: bool = False) -> list[Listed]:
    """The workers that have not ended, or all, each with the number of attempts that it runs."""
    running = (
        select(attempts.c.worker, func.count().label("running"))
        .where(attempts.c.state == AttemptState.RUNNING)
        .group_by(attempts.c.worker)
    )
    counts = {row.worker: int(row.running) for row in connection.execute(running)}
    query = select(workers).order_by(workers.c.id)
    found = connection.execute(query if ended else query.where(workers.c.ended_at.is_(None)))
    return [Listed(worker, counts.get(worker.id, 0)) for worker in (value(Worker, row) for row in found)]


def life(worker: Worker) -> Life:
    """Whether a worker lives: on this host by pid and start time, which are seen at once."""
    if worker.ended_at is not None:
        return Life.DEAD
    if worker.host != processes.host():
        return Life.UNKNOWN
    alive = processes.start_time(worker.pid) == worker.start_time
    return Life.ALIVE if alive else Life.DEAD


def shown_as(worker: Worker, now: datetime, lease: float) -> str:
    """What people see: `online`, `draining`, `offline` (silent for `lease` seconds, or dead), `ended`."""
    if worker.ended_at is not None:
        return "ended"
    silent = (now - worker.beat_at).total_seconds() > lease
    if life(worker) == Life.DEAD or silent:
        return "offline"
    return "draining" if worker.draining else "online"
