"""`dagrun_timeout`: a run that lasts too long is cancelled with that cause, and ends failed (rule 8.9)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, literal_column, select

from orchestrator.runs.states import RunState
from orchestrator.store import runs
from orchestrator.store.database import Database
from orchestrator.store.runs import runs as _runs
from orchestrator.store.troubles import apart
from orchestrator.store.verbs.cancelling import cancel_run


def end_late(database: Database) -> datetime | None:
    """Cancel every run whose time is over; when the next one's will be, None where none has a limit.

    A run that cannot be ended is logged and keeps no other from it. Raises OutOfReachError.
    """
    now = database.clock.now()
    with database.read() as connection:
        late = list(connection.execute(_LATE, {"now": now}).scalars())
        following: datetime | None = connection.execute(_NEXT, {"now": now}).scalar()
    for number in late:
        with apart(database, f"run {number} is not ended, though its time is over"):
            database.run_transaction(lambda connection, number=number: _end(connection, number, now))  # type: ignore[misc]
    return following


def _end(connection: Connection, number: int, now: datetime) -> None:
    run = runs.lock(connection, number)
    late = run.timeout_at is not None and run.timeout_at <= now
    if run.state == RunState.RUNNING and run.cancel_cause is None and late and not run.paused:
        cancel_run(connection, run, now, cause="timeout")


# The first as the partial index `ix_runs_timed` has it. With the sign the next is answered by no index: most
# runs are held by nobody. A command's own run is as long as who waits for it wants it to be.
_HAS_LIMIT: Any = literal_column("state = 'running' AND timeout_at IS NOT NULL")
_HELD_BY_NOBODY: Any = literal_column("+runs.held_by IS NULL")
_TIMED = (
    _HAS_LIMIT,
    _runs.c.cancel_cause.is_(None),
    _HELD_BY_NOBODY,
    ~_runs.c.paused,  # its time stands still
)
_LATE = select(_runs.c.number).where(*_TIMED, _runs.c.timeout_at <= bindparam("now"))
_NEXT = select(func.min(_runs.c.timeout_at)).where(*_TIMED, _runs.c.timeout_at > bindparam("now"))
