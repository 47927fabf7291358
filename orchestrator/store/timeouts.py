"""`dagrun_timeout`: a run that lasts too long is cancelled with that cause, and ends failed (rule 8.9)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from orchestrator.runs.states import RunState
from orchestrator.store import runs
from orchestrator.store.database import Database
from orchestrator.store.runs import runs as _runs
from orchestrator.store.verbs.cancelling import cancel_run

# A command's own run is as long as who waits for it wants it to be.
_TIMED = (
    _runs.c.state == RunState.RUNNING,
    _runs.c.cancel_cause.is_(None),
    _runs.c.held_by.is_(None),
    ~_runs.c.paused,  # its time stands still
)


def end_late(database: Database) -> datetime | None:
    """Cancel every run whose time is over; when the next one's will be, None where none has a limit."""
    now = database.clock.now()
    with database.read() as connection:
        late = list(
            connection.execute(select(_runs.c.number).where(*_TIMED, _runs.c.timeout_at <= now)).scalars()
        )
        following: datetime | None = connection.execute(
            select(func.min(_runs.c.timeout_at)).where(*_TIMED, _runs.c.timeout_at > now)
        ).scalar()
    for number in late:
        database.run_transaction(lambda connection, number=number: _end(connection, number, now))  # type: ignore[misc]
    return following


def _end(connection: Connection, number: int, now: datetime) -> None:
    run = runs.lock(connection, number)
    late = run.timeout_at is not None and run.timeout_at <= now
    if run.state == RunState.RUNNING and run.cancel_cause is None and late and not run.paused:
        cancel_run(connection, run, now, cause="timeout")
