"""When a schedule is planned: as its file is loaded, changed or back, and as its pause is lifted."""

from __future__ import annotations

import select
from datetime import datetime, timedelta
from typing import Any

import pytest

from orchestrator.runs.firing import upcoming
from orchestrator.store import dags, hints, schedules
from orchestrator.store.database import Database
from orchestrator.store.schedules import UnreadableScheduleError
from tests.support.schedules import Scheduled
from tests.support.store import START, ManualClock

HOUR = timedelta(hours=1)
DAY = 24 * HOUR


@pytest.fixture
def site(database: Database) -> Scheduled:
    return Scheduled(database)


def heard(listener: hints.Listener) -> set[str]:
    while select.select([listener], [], [], 10.0)[0]:
        if topics := listener.take():
            return topics
    return set()


def next_of(site: Scheduled, dag: int) -> datetime | None:
    return site.of(dag).next_fire_at


def test_a_new_schedule_is_kept_and_planned(site: Scheduled) -> None:
    dag = site.load(
        schedule="0 2 * * *", timezone="Europe/Berlin", start_date="2025-12-30T00:00:00+01:00", catchup=True,
        params={"limit": 3},
    )  # fmt: skip
    row = site.of(dag)
    assert (row.timetable, row.timezone, row.catchup) == ("0 2 * * *", "Europe/Berlin", True)
    assert (row.start_date, row.end_date) == (START - 49 * HOUR, None)
    assert row.params == {"limit": 3}
    assert row.next_fire_at == START - 47 * HOUR


def test_a_dag_that_never_had_a_schedule_has_no_row(site: Scheduled, database: Database) -> None:
    dag = site.load()
    with database.read() as connection:
        assert schedules.find_schedule(connection, dag) is None
        assert schedules.facts_of(connection, dags.get_dag(connection, dag)) is None


@pytest.mark.parametrize(
    "change",
    [{"schedule": "30m"}, {"timezone": "Asia/Kolkata"}, {"catchup": True},
     {"start_date": "2026-01-01T00:30:00+00:00"}, {"end_date": "2026-01-01T09:00:00+00:00"}],
)  # fmt: skip
def test_only_what_changes_its_times_plans_it_again(
    site: Scheduled, clock: ManualClock, change: dict[str, Any]
) -> None:
    kept: dict[str, Any] = {"schedule": "0 * * * *", "start_date": "2025-12-31T00:00:00+00:00"}
    dag = site.load(**kept)
    site.change_schedule(dag, next_fire_at=START + 5 * HOUR)  # where only a plan would move it
    clock.forward(60)
    site.load(**kept, params={"limit": 3}, max_active_runs=2)
    assert next_of(site, dag) == START + 5 * HOUR
    assert site.of(dag).params == {"limit": 3}
    site.load(**{**kept, **change})
    assert next_of(site, dag) not in (None, START + 5 * HOUR)


def test_a_schedule_that_is_lost_keeps_what_fired_last_and_goes_on_from_there(
    site: Scheduled, database: Database
) -> None:
    dag = site.load(schedule="1h", catchup=True)
    site.change_schedule(dag, last_fire_at=START - 2 * HOUR)
    site.load()
    assert (site.of(dag).timetable, next_of(site, dag)) == (None, None)
    with database.read() as connection:
        assert schedules.facts_of(connection, dags.get_dag(connection, dag)) is None
    site.load(schedule="30m", catchup=True)
    assert next_of(site, dag) == START - 1.5 * HOUR


def test_what_came_due_in_a_pause_is_missed_when_it_is_lifted(site: Scheduled, clock: ManualClock) -> None:
    new, fired = site.load("new", "1h"), site.load("fired", "1h", catchup=True)
    site.change_schedule(fired, last_fire_at=START)
    for dag in (new, fired):
        site.change(dag, paused=True)
    clock.forward(3.5 * 3600)
    for dag in (new, fired):
        site.unpause(dag)
    assert next_of(site, new) == START + 4 * HOUR  # never fired, without a start: it has missed nothing
    assert next_of(site, fired) == START + HOUR


def test_a_removed_dag_that_comes_back_is_planned_as_if_its_pause_were_lifted(
    site: Scheduled, clock: ManualClock
) -> None:
    dag = site.load(schedule="1h")
    site.change(dag, removed_at=clock.now())
    clock.forward(3.5 * 3600)
    site.load(schedule="1h")
    assert next_of(site, dag) == START + 4 * HOUR


def test_what_is_planned_wakes_the_schedulers_and_nothing_else_does(
    site: Scheduled, database: Database
) -> None:
    listener = hints.listen(database, own={"schedule", "ask"})
    dag = site.load(schedule="1h")
    assert heard(listener) == {"schedule"}
    site.load(schedule="1h")
    with database.transaction() as connection:
        hints.mark(connection, "ask")
    assert heard(listener) == {"ask"}
    site.unpause(dag)
    assert heard(listener) == {"schedule"}
    listener.close()


def test_the_facts_of_a_schedule_say_what_comes(site: Scheduled, database: Database) -> None:
    dag = site.load(schedule="@daily", max_active_runs=3)
    with database.read() as connection:
        facts = schedules.facts_of(connection, dags.get_dag(connection, dag))
    assert facts is not None
    assert (facts.max_active_runs, facts.active, facts.paused) == (3, 0, False)
    assert next(upcoming(facts, START + HOUR)).fire_time == START


def test_a_schedule_that_this_host_cannot_read_names_its_dag(site: Scheduled) -> None:
    dag = site.load(schedule="@daily")
    site.change_schedule(dag, timezone="Mars/Olympus")
    with pytest.raises(UnreadableScheduleError, match=r"schedule .* of people cannot be read.*Mars/Olympus"):
        site.unpause(dag)
