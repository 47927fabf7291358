"""The schedules of DAGs: set when a file is loaded, planned anew when a pause is lifted (rule 11).

Whoever changes one holds the lock of its DAG's row (`dags.lock_dag`), as firing does.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, func, literal_column, select, update

from orchestrator.dag.timetable import ScheduleProblem, Timetable
from orchestrator.errors import StoreError
from orchestrator.runs.firing import ScheduleFacts, plan
from orchestrator.store import hints
from orchestrator.store.dags import dags, get_dag, lock_dag
from orchestrator.store.dialects import upsert
from orchestrator.store.runs import runs
from orchestrator.store.sets import within
from orchestrator.store.tables import Dag, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.tables.services import Schedule

if TYPE_CHECKING:
    from orchestrator.store.loading import Loaded

schedules = table_of(Schedule)
FIRES: Any = (
    ~dags.c.paused,
    dags.c.removed_at.is_(None),
    dags.c.deleted_at.is_(None),
    dags.c.version.is_not(None),
)
"""What must hold of a DAG whose schedule fires."""
WITH_DAG = schedules.join(dags, schedules.c.dag == dags.c.id)
_TIMES = ("timetable", "timezone", "start_date", "end_date", "catchup")
_FIRED = ("next_fire_at", "last_fire_at")
_KEPT = 4096  # timetables: to make one takes longer than to ask it


class UnreadableScheduleError(StoreError):
    """A stored schedule means nothing on this host, as where it does not know the time zone."""


def set_schedule(connection: Connection, dag: Dag, loaded: Loaded, now: datetime) -> None:
    """Make the schedule of a DAG that which its file says, under its lock.

    `dag` is its row as it was before: where that says removed, the DAG comes back. Then, and where the
    schedule is new or fires otherwise than before, the next fire time is planned. Raises
    UnreadableScheduleError.
    """
    wanted, row = _wanted(loaded), find_schedule(connection, dag.id)
    if row is None and wanted["timetable"] is None:
        return
    before = {} if row is None else {name: getattr(row, name) for name in wanted}
    is_back = dag.removed_at is not None
    if before == wanted and not is_back:
        return
    fires_otherwise = is_back or not before or any(before[name] != wanted[name] for name in _TIMES)
    if fires_otherwise:
        known = {} if row is None else {name: getattr(row, name) for name in _FIRED}
        fresh = Schedule(dag=dag.id, **wanted, **known)
        wanted["next_fire_at"] = _planned(fresh, dag, now, paused=dag.paused or is_back)
        hints.mark(connection, "schedule")
    upsert(connection, schedules, {"dag": dag.id, **wanted}, key="dag")


def replan(connection: Connection, dag: int, now: datetime) -> None:
    """Plan when a DAG fires next, because its pause is being lifted; `dag` is its row's id.

    Raises UnreadableScheduleError.
    """
    lock_dag(connection, dag)
    row = find_schedule(connection, dag)
    if row is not None:
        planned = _planned(row, get_dag(connection, dag), now, paused=True)
        connection.execute(update(schedules).where(schedules.c.dag == dag).values(next_fire_at=planned))
        hints.mark(connection, "schedule")


def find_schedule(connection: Connection, dag: int) -> Schedule | None:
    """The schedule of a DAG, by its row's id: also of one that has lost it; None where it never had one."""
    row = connection.execute(_OF_DAG, {"dag": dag}).first()
    return None if row is None else value(Schedule, row)


def facts_of(connection: Connection, dag: Dag) -> ScheduleFacts | None:
    """What decides when a DAG fires; None where it has no schedule. Raises UnreadableScheduleError."""
    row = find_schedule(connection, dag.id)
    if row is None or row.timetable is None:
        return None
    return facts_from(row, dag, active_runs(connection, [dag.id]).get(dag.id, 0))


def facts_from(row: Schedule, dag: Dag, active: int) -> ScheduleFacts:
    """The same, of a schedule's row, its DAG's, and the number of its active runs."""
    return ScheduleFacts(
        timetable=timetable_of(row, dag),
        catchup=row.catchup,
        paused=dag.paused,
        next_fire_at=row.next_fire_at,
        last_fire_at=row.last_fire_at,
        active=active,
        max_active_runs=dag.max_active_runs,
    )


def timetable_of(row: Schedule, dag: Dag) -> Timetable:
    """The timetable of a schedule, made once a process. Raises UnreadableScheduleError."""
    written = json.dumps(row.timetable)
    try:
        return _timetable(written, row.timezone, row.start_date, row.end_date)
    except ScheduleProblem as problem:
        raise UnreadableScheduleError(
            f"the schedule {written} of {dag.dag_id} cannot be read on this host: {problem.message}",
            hint=problem.hint or "load its file again",
        ) from problem


def first_after(connection: Connection, moment: datetime) -> datetime | None:
    """The first time after a moment at which any DAG is due."""
    found: datetime | None = connection.execute(_NEXT, {"moment": moment}).scalar()
    return found


def active_runs(connection: Connection, of: Collection[int]) -> dict[int, int]:
    """How many runs of each of these DAGs are queued or running, without backfills and what commands hold."""
    return {row.dag: row.active for row in connection.execute(_ACTIVE, {"dags": of})}


def _wanted(loaded: Loaded) -> dict[str, Any]:
    said: Mapping[str, Any] = loaded.document
    dates = {name: said.get(name) for name in ("start_date", "end_date")}
    return {
        "timetable": said.get("schedule"),
        "timezone": said.get("timezone") or "UTC",
        **{name: text and datetime.fromisoformat(text) for name, text in dates.items()},
        "catchup": bool(said.get("catchup")),
        "params": dict(loaded.params),
    }


def _planned(row: Schedule, dag: Dag, now: datetime, *, paused: bool) -> datetime | None:
    """The next fire time; `paused`: what came due since the last one was missed."""
    if row.timetable is None:
        return None
    return plan(replace(facts_from(row, dag, active=0), paused=paused), now)


@lru_cache(_KEPT)
def _timetable(written: str, zone: str, start: datetime | None, end: datetime | None) -> Timetable:
    return Timetable.from_document(json.loads(written), timezone=zone, start_date=start, end_date=end)


_NEXT = (
    select(schedules.c.next_fire_at)
    .select_from(WITH_DAG)
    .where(schedules.c.next_fire_at > bindparam("moment"), *FIRES)
    .order_by(schedules.c.next_fire_at)
    .limit(1)
)
_OF_DAG = select(schedules).where(schedules.c.dag == bindparam("dag"))
_ACTIVE = (
    select(runs.c.dag, func.count().label("active"))
    .where(
        literal_column("runs.state IN ('queued', 'running')"),  # as the partial index has it
        within(runs.c.dag, "dags"),
        runs.c.backfill.is_(None),
        runs.c.held_by.is_(None),
    )
    .group_by(runs.c.dag)
)
