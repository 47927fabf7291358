"""Firing: schedules that are due become runs (rule 11).

A transaction a DAG: its row locked, its schedule read and moved on by compare-and-set, its runs inserted. So
any number of schedulers may fire the same schedules, and whoever is killed in it has done nothing. They share
the work: a DAG that another has locked is passed by. What is decided is `runs.firing`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, literal_column, select, update

from orchestrator.crash import crash_point
from orchestrator.errors import StoreError
from orchestrator.runs.firing import Firing, ScheduleFacts, Tick, decide
from orchestrator.runs.states import RunState
from orchestrator.store import lifecycle, promotion
from orchestrator.store.dags import dags, take_dag
from orchestrator.store.database import Database, OutOfReachError
from orchestrator.store.runs import runs
from orchestrator.store.schedules import (
    FIRES,
    WITH_DAG,
    active_runs,
    facts_from,
    find_schedule,
    first_after,
    schedules,
)
from orchestrator.store.tables import Dag
from orchestrator.store.tables.entity import part
from orchestrator.store.tables.services import Schedule
from orchestrator.store.transitions import tell
from orchestrator.telemetry import metrics

AT_ONCE = 16  # ticks of a DAG that one transaction fires: others write to the store, too
PATIENCE = 0.5  # seconds after which the rest is left to the next call
SOON = timedelta(milliseconds=50)  # after which is looked again at a DAG that somebody else has just locked
_log = logging.getLogger("fustgo.firing")
_complained: dict[tuple[str, str], str] = {}
OF_ITS_OWN = (StoreError, ArithmeticError, LookupError, TypeError, ValueError)
"""What one DAG's rows may raise, by what stands in them: it stops that DAG only."""


@dataclass
class Fired:
    """What a transaction does with a DAG. `ticks`: those that become runs; `more`: others may be due yet."""

    dag_id: str = ""
    ticks: list[Tick] = field(default_factory=list)
    passed_over: list[Firing] = field(default_factory=list)
    more: bool = False


def fire_due(database: Database) -> datetime | None:
    """Fire what is due, and start it; the next moment at which anything is, None where nothing ever is.

    What is held back by `max_active_runs`, or cannot be read, is due at no moment: ask again when a run has
    ended. A schedule that fails is logged and stops no other. Raises OutOfReachError.
    """
    now, until = database.clock.now(), database.clock.monotonic() + PATIENCE
    again: list[datetime] = []
    for dag in _ready(database, now):
        fired = _fire_one(database, dag)
        if database.clock.monotonic() > until:
            return now
        if fired is None:
            again.append(now + SOON)
        elif fired.more:
            again.append(now)
    if again:
        return min(again)
    with database.glance() as connection:
        return first_after(connection, now)


def _ready(database: Database, now: datetime) -> Iterator[Dag]:
    """The DAGs that are due and have room: what is on time does not wait for what others have missed."""
    with database.read() as connection:
        due = [
            (part(Schedule, row, 0), part(Dag, row, len(schedules.c)))
            for row in connection.execute(_DUE, {"now": now})
        ]
        active = active_runs(connection, [dag.id for _, dag in due]) if due else {}
    for row, dag in due:
        if active.get(dag.id, 0) >= dag.max_active_runs:
            continue  # without making its timetable: this is asked whenever a run ends
        try:
            if not facts_from(row, dag, active.get(dag.id, 0)).full:
                yield dag
        except OF_ITS_OWN as error:
            _complain(database, dag, error)


def _fire_one(database: Database, dag: Dag) -> Fired | None:
    """Fire and start one DAG; None where somebody else is about to."""
    try:
        fired = database.run_transaction(lambda connection: fire(connection, dag.id, database.clock.now()))
        crash_point("schedule.committed")
        if fired is not None and fired.ticks:
            promotion.promote(database, dag.id, look=False)
    except OutOfReachError:
        raise
    except OF_ITS_OWN as error:
        _complain(database, dag, error)
        return Fired()
    if fired is not None:
        _measure(fired, database.clock.now())
        _complained.pop((database.place, dag.dag_id), None)
    return fired


def fire(connection: Connection, identity: int, now: datetime) -> Fired | None:
    """Decide and write, from what is read under the DAG's lock; None where somebody else has that.

    Raises UnreadableScheduleError.
    """
    dag = take_dag(connection, identity)
    if dag is None:
        return None
    row = find_schedule(connection, identity)
    if row is None or not _is_due(dag, row, now):
        return Fired()
    fired = Fired(dag.dag_id)
    before = facts_from(row, dag, active_runs(connection, [identity]).get(identity, 0))
    after = _decide(connection, dag, fired, before, now)
    if after is before or not move_on(connection, row, after):
        return Fired()
    crash_point("schedule.moved")
    for tick in fired.ticks:
        _insert_run(connection, dag, row, tick, now)
    for firing in fired.passed_over:
        _tell_missed(connection, dag, firing, now)
    crash_point("schedule.fired")
    return fired


def move_on(connection: Connection, row: Schedule, after: ScheduleFacts) -> bool:
    """Compare and set: False where the schedule was moved since its row was read."""
    is_it = (schedules.c.dag == row.dag, schedules.c.next_fire_at == row.next_fire_at)
    moved = {"next_fire_at": after.next_fire_at, "last_fire_at": after.last_fire_at}
    return connection.execute(update(schedules).where(*is_it).values(**moved)).rowcount == 1


def has_run(connection: Connection, dag: int, logical_date: datetime) -> bool:
    """Whether a scheduled or backfill run has this logical date."""
    return connection.execute(_OF_DATE, {"dag": dag, "date": logical_date}).first() is not None


def _decide(
    connection: Connection, dag: Dag, fired: Fired, facts: ScheduleFacts, now: datetime
) -> ScheduleFacts:
    """Decide tick after tick, up to the room; what is known when all of it is done."""
    for _ in range(AT_ONCE):
        firing = decide(facts, now)
        if firing is None:
            return facts
        following = facts.after(firing)
        if firing.tick is not None and has_run(connection, dag.id, firing.tick.logical_date):
            following = replace(following, active=facts.active)
        elif firing.tick is not None:
            fired.ticks.append(firing.tick)
        if firing.missed_since is not None:
            fired.passed_over.append(firing)
        facts = following
    fired.more = True
    return facts


def _is_due(dag: Dag, row: Schedule, now: datetime) -> bool:
    """As `schedules.FIRES` has it, of rows that were read."""
    has_gone = dag.removed_at is not None or dag.deleted_at is not None
    return not (dag.paused or has_gone) and row.next_fire_at is not None and row.next_fire_at <= now


def _insert_run(connection: Connection, dag: Dag, row: Schedule, tick: Tick, now: datetime) -> None:
    assert dag.version is not None
    lifecycle.create_run(
        connection,
        dag=dag,
        version=dag.version,
        run_type="scheduled",
        logical_date=tick.logical_date,
        interval=tick.interval,
        params=row.params,
        held_by=None,
        state=RunState.QUEUED,
        project=dag.project,
        file=dag.file,
        due_at=tick.fire_time,
        now=now,
    )


def _tell_missed(connection: Connection, dag: Dag, firing: Firing, now: datetime) -> None:
    assert firing.missed_since is not None
    fired = firing.tick.fire_time.isoformat() if firing.tick else None
    detail = {"dag": dag.dag_id, "since": firing.missed_since.isoformat(), "fired": fired}
    tell(connection, "schedule", new="missed", now=now, detail=detail)


def _measure(fired: Fired, now: datetime) -> None:
    for tick in fired.ticks:
        metrics.schedule_delay((now - tick.fire_time).total_seconds(), dag=fired.dag_id)


def _complain(database: Database, dag: Dag, error: Exception) -> None:
    """Say what is wrong with a schedule, once: it is found again each second."""
    key, why = (database.place, dag.dag_id), f"{type(error).__name__}: {error}"
    if _complained.get(key) != why:
        _complained[key] = why
        ours = None if isinstance(error, StoreError) else error
        _log.error("%s does not fire: %s", dag.dag_id, why if ours else error, exc_info=ours)


_DUE = (
    select(schedules, dags)
    .select_from(WITH_DAG)
    .where(schedules.c.next_fire_at <= bindparam("now"), *FIRES)
    .order_by(schedules.c.next_fire_at.desc(), schedules.c.dag)
)
_OF_DATE = select(runs.c.number).where(
    runs.c.dag == bindparam("dag"),
    runs.c.logical_date == bindparam("date"),
    literal_column("runs.run_type IN ('scheduled', 'backfill')"),  # as the partial index has it
)
