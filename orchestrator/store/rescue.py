"""What becomes of the work of those who died: lost attempts, claims whose answer was lost."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, exists, or_, select

from orchestrator.runs.report import Report
from orchestrator.runs.states import AttemptState, Outcome
from orchestrator.store import attempts, finishing, workers
from orchestrator.store.database import Database
from orchestrator.store.tables import Attempt, Worker, table_of
from orchestrator.store.tables.entity import value

_workers, _attempts = table_of(Worker), table_of(Attempt)


def watched(connection: Connection) -> list[Worker]:
    """The workers that may have to be rescued: those that have not ended, and those that ended too soon.

    A service's attempt may name a worker that has ended: it was stopped, was taken for dead, and went on to
    claim.
    """
    runs_one = exists().where(
        _workers.c.kind != "command",
        _attempts.c.worker == _workers.c.id,
        _attempts.c.state == AttemptState.RUNNING,
    )
    query = select(_workers).where(or_(_workers.c.ended_at.is_(None), runs_one)).order_by(_workers.c.id)
    return [value(Worker, row) for row in connection.execute(query)]


def lose(database: Database, worker: int, beat_seen: int) -> list[int]:
    """End the running attempts of a dead worker as lost, with all that follows (rule 9.5).

    One transaction, which states the beat that was seen: where the worker has beaten since, nothing happens.
    The attempts that were lost come back. Its runners on this host must be dead by now.
    """
    return database.run_transaction(
        lambda connection: _lose(connection, worker, beat_seen, database.clock.now())
    )


def give_back(database: Database, ids: Collection[int]) -> None:
    """Queue running attempts again that their worker has never heard of (rule 9.6): no try, no loss."""
    report = Report(Outcome.DRAINED, "the answer to its claim was lost")
    database.run_transaction(
        lambda connection: finishing.finish(
            connection, dict.fromkeys(sorted(ids), report), database.clock.now()
        )
    )


def _lose(connection: Connection, worker: int, beat_seen: int, now: datetime) -> list[int]:
    found = _running(connection, worker)
    attempts.lock_runs(connection, found)  # the first locks of all, the worker's row after them
    row = workers.get(connection, worker)
    if row.ended_at is None and not workers.end_dead(connection, worker, beat_seen, now):
        return []
    # What it has claimed since is left to the next sweep: that run is not locked.
    lost = [attempt for attempt in _running(connection, worker) if attempt in found]
    died = Report(
        Outcome.LOST, f"worker {worker} (process {row.pid} on {row.host}) died", cause="worker lost"
    )
    finishing.finish(connection, dict.fromkeys(lost, died), now)
    return lost


def _running(connection: Connection, worker: int) -> list[int]:
    query = select(_attempts.c.id).where(
        _attempts.c.worker == worker, _attempts.c.state == AttemptState.RUNNING
    )
    return list(connection.execute(query.order_by(_attempts.c.id)).scalars())
