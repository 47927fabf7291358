"""Telling of what is late: a scheduled run of which nothing had started 15 s after it was due, and a tick
that has been held back for as long.

The run of a tick that was missed is late from its creation.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, literal_column, or_, select, update

from orchestrator.store.dags import dags, lock_dag
from orchestrator.store.database import Database
from orchestrator.store.runs import runs
from orchestrator.store.schedules import FIRES, WITH_DAG, first_after, schedules
from orchestrator.store.sets import within
from orchestrator.store.transitions import Moves, tell
from orchestrator.store.troubles import apart
from orchestrator.telemetry import metrics

LATE_AFTER = timedelta(seconds=15)
AT_ONCE = 500  # runs that one transaction tells of


def tell_late(database: Database) -> datetime | None:
    """Tell of all that is late and was not told of; when the next may be, None where nothing is awaited."""
    now = database.clock.now()
    due = now - LATE_AFTER
    with database.read() as connection:
        found = list(connection.execute(_late_runs(connection.dialect.name), {"due": due}).scalars())
        held_back = [
            (row.dag, row.next_fire_at)
            for row in connection.execute(_HELD_BACK, {"due": due})
            if row.timetable != "@continuous"  # that waits for its last run by its nature
        ]
        awaited = [connection.execute(_NEXT_RUN, {"due": due}).scalar(), first_after(connection, due)]
    if found:
        _tell_runs(database, found, due, now)
    for dag, fire_time in held_back:
        with apart(database, f"the late tick of DAG row {dag} is not told"):
            database.run_transaction(
                lambda connection, dag=dag, at=fire_time: _tell_tick(connection, dag, at, now)  # type: ignore[misc]
            )
    if len(found) == AT_ONCE:
        return now
    return min((moment + LATE_AFTER for moment in awaited if moment is not None), default=None)


def _tell_runs(database: Database, numbers: list[int], due: datetime, now: datetime) -> None:
    told = database.run_transaction(lambda connection: _mark_runs(connection, numbers, due, now))
    for dag in told:
        metrics.run_late(dag=dag)


def _mark_runs(connection: Connection, numbers: list[int], due: datetime, now: datetime) -> list[str]:
    """Mark those of these runs that are late still; the ids of their DAGs."""
    locked = _late_runs(connection.dialect.name, locking=True)
    late = list(connection.execute(locked, {"due": due, "numbers": numbers}).scalars())
    connection.execute(update(runs).where(within(runs.c.number, "_late")).values(late=True), {"_late": late})
    moves, of = Moves(connection, now), []
    for row in connection.execute(_TOLD, {"numbers": late}):
        moves.tell("run", new="late", run=row.number, detail={"due": row.due_at.isoformat()})
        of.append(row.dag_id)
    moves.flush()
    return of


def _tell_tick(connection: Connection, dag: int, fire_time: datetime, now: datetime) -> None:
    """Tell of a tick, unless it has fired or was told of just now."""
    lock_dag(connection, dag)
    is_it = (schedules.c.dag == dag, schedules.c.next_fire_at == fire_time, _UNTOLD)
    if connection.execute(update(schedules).where(*is_it).values(late_fire_at=fire_time)).rowcount == 1:
        name = connection.execute(select(dags.c.dag_id).where(dags.c.id == dag)).scalar_one()
        detail = {"dag": name, "due": fire_time.isoformat()}
        tell(connection, "schedule", new="late", now=now, detail=detail)


_AWAITED: Any = literal_column("due_at IS NOT NULL AND NOT late AND state IN ('queued', 'running')")
_LIMIT = {  # of a run; SQLite's instants are texts, and its functions count milliseconds
    "sqlite": f"strftime('%Y-%m-%d %H:%M:%f', due_at, '{LATE_AFTER.seconds} seconds') || '999'",
    "postgresql": f"due_at + interval '{LATE_AFTER.seconds} seconds'",
}


@cache
def _late_runs(dialect: str, *, locking: bool = False) -> Any:
    """The runs that were due at `due`, of which nothing had started in time (the index is `ix_runs_due`)."""
    in_time = f"""EXISTS (
        SELECT 1 FROM stage_runs JOIN attempts ON attempts.stage_run = stage_runs.id
        WHERE stage_runs.run = runs.number AND attempts.claimed_at <= {_LIMIT[dialect]})"""  # noqa: S608
    query = (
        select(runs.c.number)
        .where(_AWAITED, runs.c.due_at <= bindparam("due"), ~literal_column(in_time).self_group())
        .order_by(runs.c.number)
    )
    if locking:
        return query.where(within(runs.c.number, "numbers")).with_for_update(key_share=True)
    return query.limit(AT_ONCE)


_TOLD = (
    select(runs.c.number, runs.c.due_at, dags.c.dag_id)
    .join_from(runs, dags, runs.c.dag == dags.c.id)
    .where(within(runs.c.number, "numbers"))
    .order_by(runs.c.number)
)
_NEXT_RUN = (
    select(runs.c.due_at).where(_AWAITED, runs.c.due_at > bindparam("due")).order_by(runs.c.due_at).limit(1)
)
_UNTOLD: Any = or_(schedules.c.late_fire_at.is_(None), schedules.c.late_fire_at != schedules.c.next_fire_at)
_HELD_BACK = (
    select(schedules.c.dag, schedules.c.next_fire_at, schedules.c.timetable)
    .select_from(WITH_DAG)
    .where(schedules.c.next_fire_at <= bindparam("due"), _UNTOLD, *FIRES)
    .order_by(schedules.c.next_fire_at)
)
