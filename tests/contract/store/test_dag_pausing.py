"""Pausing a DAG stops its schedule and nothing else (rule 10.3); what people are told that it will fire."""

from __future__ import annotations

import select as sockets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from orchestrator.client.schedules import Outlook
from orchestrator.errors import RefusedError, UsageError
from orchestrator.runs.states import RunState
from orchestrator.store import hints, schedules
from orchestrator.store.database import open_database
from orchestrator.store.dialects import upsert
from orchestrator.store.tables import Dag, table_of
from orchestrator.store.tables.services import Audit, Schedule
from orchestrator.store.verbs.triggering import Trigger, known_dag, trigger_run
from tests.support.services import Service
from tests.support.store import START, ManualClock, graph

DAGS = table_of(Dag)
ONE = graph({"a": ""})


def day(number: int) -> datetime:
    return datetime(2026, 1, number, 2, tzinfo=UTC)


def scheduled(service: Service, timetable: Any = "0 2 * * *", *, row: Any = None, **header: Any) -> Dag:
    """A loaded DAG that fires; `row` are values of its schedule, `header` those of its definition."""
    service.load(ONE, header=header)
    with service.database.transaction() as connection:
        dag = known_dag(connection, "people")
        values = Schedule(dag=dag.id, timetable=timetable, **(row or {})).model_dump()
        upsert(connection, table_of(Schedule), values, key="dag")
        schedules.replan(connection, dag.id, service.clock.now())
    return dag


def change(service: Service, **values: Any) -> None:
    with service.database.transaction() as connection:
        connection.execute(update(DAGS).where(DAGS.c.dag_id == "people").values(**values))


def verbs(service: Service) -> list[tuple[str, str, str]]:
    audits = table_of(Audit)
    query = select(audits.c.actor, audits.c.verb, audits.c.target).where(audits.c.verb.like("%pause_dag"))
    with service.database.read() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(audits.c.id))]


def test_a_pause_stops_the_schedule_and_nothing_else(service: Service) -> None:
    scheduled(service)
    run = service.client.trigger("people").run
    done = service.client.pause_dag("people")
    assert (done.dag.paused, done.changed, done.active) == (True, True, 1)
    assert service.client.next_runs("people").firing is Outlook.PAUSED
    service.promote()
    assert service.run_to_end() == ["a"]
    assert service.run(run.number).state == RunState.SUCCESS
    assert service.client.trigger("people").run.state == RunState.QUEUED
    service.promote()
    assert service.run_to_end() == ["a"]


def test_both_verbs_are_written_down_once_and_a_dry_run_not_at_all(service: Service) -> None:
    scheduled(service)
    dry = service.client.pause_dag("people", dry_run=True)
    assert (dry.dag.paused, dry.changed, verbs(service)) == (True, True, [])
    assert not service.client.show_dag("people").dag.paused
    assert [service.client.pause_dag("people").changed for _ in "ab"] == [True, False]
    dry = service.client.unpause_dag("people", dry_run=True)
    assert (dry.dag.paused, service.client.show_dag("people").dag.paused) == (False, True)
    assert [service.client.unpause_dag("people").changed for _ in "ab"] == [True, False]
    assert verbs(service) == [("ada", "pause_dag", "dag people"), ("ada", "unpause_dag", "dag people")]


@pytest.mark.parametrize(("catchup", "first"), [(True, 2), (False, 4)])
def test_what_came_due_in_a_pause_was_missed_and_catchup_says_what_fires(
    service: Service, clock: ManualClock, catchup: bool, first: int
) -> None:
    """Of three ticks in a pause the oldest or the newest; what `next` shows is what unpausing plans."""
    scheduled(service, row={"catchup": catchup, "last_fire_at": day(1)}, catchup=catchup)
    service.client.pause_dag("people")
    clock.forward(timedelta(days=3, hours=12).total_seconds())
    shown = service.client.next_runs("people", 2)
    assert [tick.fire_time for tick in shown.ticks] == [day(first), day(first + 1)]
    dry = service.client.unpause_dag("people", dry_run=True)
    done = service.client.unpause_dag("people")
    assert done.schedule is not None
    assert (done.schedule.next_fire_at, dry.schedule) == (day(first), done.schedule)
    assert service.client.next_runs("people", 2).ticks == shown.ticks


def test_unpausing_wakes_the_schedulers(service: Service, url: str) -> None:
    scheduled(service)
    service.client.pause_dag("people")
    elsewhere = open_database(url, clock=service.clock)
    listener, heard = hints.listen(elsewhere), set[str]()
    service.client.unpause_dag("people")
    while not heard and sockets.select([listener], [], [], 10.0)[0]:
        heard |= listener.take()
    listener.close()
    elsewhere.close()
    assert "schedule" in heard


def test_what_fires_next_is_told_with_its_dates(service: Service) -> None:
    scheduled(service)
    found = service.client.next_runs("people", 3)
    assert found.firing is Outlook.FIRES
    assert [tick.fire_time for tick in found.ticks] == [day(1), day(2), day(3)]
    assert found.ticks[1].interval == (day(1), day(2))


@pytest.mark.parametrize(
    ("timetable", "row", "values", "firing", "ticks"),
    [
        (None, {}, {}, Outlook.UNSCHEDULED, 0),
        ("0 2 * * *", {"end_date": START - timedelta(days=1)}, {}, Outlook.OVER, 0),
        ("@once", {"start_date": START, "last_fire_at": START}, {}, Outlook.OVER, 0),
        ("@once", {}, {}, Outlook.FIRES, 1),
        ("@continuous", {}, {}, Outlook.FIRES, 1),
        ("0 2 * * *", {}, {"removed_at": START}, Outlook.REMOVED, 0),
        ("0 2 * * *", {}, {"removed_at": START, "paused": True}, Outlook.REMOVED, 0),
        ("0 2 * * *", {}, {"paused": True}, Outlook.PAUSED, 2),
        ("0 2 * * *", {}, {"max_active_runs": 0}, Outlook.HELD_BACK, 2),
    ],
)
def test_what_keeps_a_schedule_from_firing_is_told(
    service: Service, timetable: Any, row: Any, values: Any, firing: Outlook, ticks: int
) -> None:
    scheduled(service, timetable, row=row)
    if values:
        change(service, **values)
    found = service.client.next_runs("people", 2)
    assert (found.firing, len(found.ticks)) == (firing, ticks)
    assert timetable != "@continuous" or found.most == 1


def test_a_dag_without_a_schedule_row_is_paused_and_told_as_one_that_fires_nothing(service: Service) -> None:
    service.load(ONE)
    assert service.client.next_runs("people").firing is Outlook.UNSCHEDULED
    assert service.client.pause_dag("people").schedule is None
    assert service.client.unpause_dag("people").changed


def test_a_name_that_is_none_is_told_with_the_nearest(service: Service) -> None:
    service.load(ONE)
    for verb in (service.client.pause_dag, service.client.unpause_dag, service.client.next_runs):
        with pytest.raises(UsageError, match="there is no DAG 'peopel'") as refused:
            verb("peopel")
        assert "did you mean 'people'?" in refused.value.hint


def test_nothing_new_of_a_removed_dag_starts(service: Service) -> None:
    """Its file is named. Also where it is removed while somebody triggers it; what runs goes on."""
    dag = scheduled(service)
    run = service.client.trigger("people").run
    change(service, removed_at=START, file="people.py", bundle="default")
    with pytest.raises(RefusedError, match=r"people\.py of bundle 'default' does not hold it any more"):
        service.client.trigger("people")
    wanted = Trigger(params={}, logical_date=None, interval=None)
    with pytest.raises(RefusedError, match="was removed"), service.database.transaction() as connection:
        trigger_run(connection, dag, lambda _version: wanted, service.clock.now())
    service.promote()
    assert service.run_to_end() == ["a"]
    assert service.run(run.number).state == RunState.SUCCESS
    assert [view.dag.removed_at for view in service.client.list_dags()] == [START]
