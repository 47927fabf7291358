"""What is due fires: the run that it makes, what is held back, and what fires nothing (rule 11)."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import events, firing, lifecycle, promotion, steps
from orchestrator.store.database import Database
from orchestrator.telemetry import metrics, names
from tests.support.schedules import Scheduled
from tests.support.store import START, Command, ManualClock, graph

HOUR = timedelta(hours=1)
SINCE: dict[str, Any] = {"start_date": "2025-12-31T00:00:00+00:00", "catchup": True}


@pytest.fixture
def site(database: Database) -> Scheduled:
    return Scheduled(database)


def finish_all(site: Scheduled, command: Command) -> int:
    """Execute what can be claimed; how many attempts that were."""
    done = 0
    while found := steps.claim(site.database, worker=command.worker, limit=50):
        steps.finish(site.database, {one.attempt: Report(Outcome.SUCCESS) for one in found})
        done += len(found)
    return done


def test_a_due_schedule_makes_a_run_that_is_running_at_once(site: Scheduled, clock: ManualClock) -> None:
    dag = site.load(schedule="0 * * * *", params={"limit": 3})
    site.change(dag, project="/data", bundle_version="v1", max_active_runs=2)
    assert firing.fire_due(site.database) == START + HOUR  # it fires at START itself, where it was loaded
    clock.forward(3600.25)
    assert firing.fire_due(site.database) == START + 2 * HOUR
    run = site.runs(dag)[-1]
    assert (run.run_type, run.run_id) == ("scheduled", "scheduled__2026-01-01T01:00:00+00:00")
    assert (run.logical_date, run.due_at) == (START + HOUR, START + HOUR)
    assert (run.interval_start, run.interval_end) == (START, START + HOUR)
    assert (run.params, run.project, run.file, run.bundle_version) == (
        {"limit": 3},
        "/data",
        "people.py",
        "v1",
    )
    assert (run.state, run.lane, run.late) == (RunState.RUNNING, "live", False)
    assert site.of(dag).last_fire_at == START + HOUR


def test_what_is_not_due_fires_nothing_and_tells_when_it_is(site: Scheduled, clock: ManualClock) -> None:
    assert firing.fire_due(site.database) is None
    clock.forward(1)
    dag, _ = site.load("hourly", "0 * * * *"), site.load("daily", "@daily")
    assert firing.fire_due(site.database) == START + HOUR
    assert site.runs(dag) == []


def test_catching_up_fires_up_to_the_room_and_goes_on_as_runs_end(
    site: Scheduled, command: Command, clock: ManualClock
) -> None:
    dag = site.load(schedule="1h", **SINCE)
    site.change(dag, max_active_runs=20)
    while firing.fire_due(site.database) == clock.now():
        pass
    assert site.dates(dag) == [START + (hour - 24) * HOUR for hour in range(20)]
    assert {run.due_at for run in site.runs(dag)} == set(site.dates(dag))
    assert firing.fire_due(site.database) is None  # held back: not a moment to wait for
    finish_all(site, command)
    firing.fire_due(site.database)
    assert site.dates(dag) == [START + (hour - 24) * HOUR for hour in range(25)]


def test_without_catchup_the_newest_fires_and_the_others_are_told_to_be_missed(
    site: Scheduled, clock: ManualClock
) -> None:
    dag = site.load(schedule="1h")
    clock.forward(3.5 * 3600)
    firing.fire_due(site.database)
    assert site.dates(dag) == [START + 3 * HOUR]
    with site.database.read() as connection:
        (missed,) = (one for one in events.after(connection, events.Cursor())[0] if one.kind == "schedule")
    assert (missed.new, missed.detail) == (
        "missed", {"dag": "people", "since": START.isoformat(), "fired": (START + 3 * HOUR).isoformat()}
    )  # fmt: skip


def test_a_continuous_dag_follows_itself(site: Scheduled, command: Command, clock: ManualClock) -> None:
    dag = site.load(schedule="@continuous")
    for _ in range(3):
        clock.forward(60)
        firing.fire_due(site.database)
        firing.fire_due(site.database)
        finish_all(site, command)
    found = site.runs(dag)
    assert len(found) == 3
    assert [run.interval_start for run in found[1:]] == [run.logical_date for run in found[:-1]]


def test_once_is_once(site: Scheduled, command: Command, clock: ManualClock) -> None:
    dag = site.load(schedule="@once")
    assert firing.fire_due(site.database) is None
    finish_all(site, command)
    clock.forward(3600)
    firing.fire_due(site.database)
    assert site.dates(dag) == [START]


@pytest.mark.parametrize("why", ["paused", "removed_at", "deleted_at"])
def test_a_dag_that_is_paused_or_gone_fires_nothing(site: Scheduled, clock: ManualClock, why: str) -> None:
    dag = site.load(schedule="1h")
    site.change(dag, **{why: True if why == "paused" else START})
    clock.forward(3600)
    assert firing.fire_due(site.database) is None
    with site.database.transaction() as connection:  # neither does one that has just become so
        assert firing.fire(connection, dag, clock.now()) == firing.Fired()
    assert site.runs(dag) == []


def test_a_date_that_a_backfill_has_moves_the_schedule_on(site: Scheduled, clock: ManualClock) -> None:
    dag = site.load(schedule="1h", **SINCE)
    site.change(dag, max_active_runs=3)
    for hour in (-24, -22):
        site.create(dag, "backfill", START + hour * HOUR)
    firing.fire_due(site.database)
    fired = [run.logical_date for run in site.runs(dag) if run.run_type == "scheduled"]
    assert fired == [START + hour * HOUR for hour in (-23, -21, -20)]


def test_manual_runs_take_places_and_those_of_commands_and_backfills_do_not(
    site: Scheduled, command: Command, clock: ManualClock
) -> None:
    dag = site.load(schedule="1h", **SINCE)
    site.change(dag, max_active_runs=3)
    site.create(dag, "manual", START)
    site.create(dag, "manual", START, held_by=command.worker)
    site.create(dag, "backfill", START)
    firing.fire_due(site.database)
    assert len([run for run in site.runs(dag) if run.run_type == "scheduled"]) == 2


def test_a_run_id_that_somebody_took_does_not_stop_a_schedule(site: Scheduled, clock: ManualClock) -> None:
    dag = site.load(schedule="@once")
    site.create(dag, "manual", START, run_id=f"scheduled__{START.isoformat()}")
    firing.fire_due(site.database)
    assert site.runs(dag)[-1].run_id == f"scheduled__{START.isoformat()}_2"


def test_what_is_on_time_does_not_wait_for_what_others_have_missed(
    site: Scheduled, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = [site.load(f"behind{n}", "1m", max_active_runs=1000, **SINCE) for n in range(3)]
    on_time = site.load("on_time", "1h")
    for dag in behind:
        site.change(dag, max_active_runs=1000)
    monkeypatch.setattr(firing, "PATIENCE", -1.0)  # a pass gets to one DAG
    firing.fire_due(site.database)
    assert site.dates(on_time) == [START]
    for _ in range(3):
        firing.fire_due(site.database)
    assert sum(len(site.runs(dag)) for dag in behind) == 3 * firing.AT_ONCE


def test_a_schedule_that_cannot_be_read_is_said_once_and_stops_no_other(
    site: Scheduled, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = site.load("broken", "1h"), site.load("whole", "1h")
    site.change_schedule(broken, timezone="Mars/Olympus")
    with caplog.at_level(logging.ERROR):
        firing.fire_due(site.database)
        firing.fire_due(site.database)
    (said,) = (record.getMessage() for record in caplog.records)
    assert "broken does not fire" in said
    assert "Mars/Olympus" in said
    assert site.dates(whole) == [START]


def test_a_schedule_whose_stages_cannot_be_read_stops_no_other(
    site: Scheduled, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the store refuses of one DAG."""
    from orchestrator.errors import StoreError

    broken, whole = site.load("broken", "1h"), site.load("whole", "1h")
    create = lifecycle.create_run

    def refuse(connection, *, dag, **values):  # type: ignore[no-untyped-def]
        if dag.id == broken:
            raise StoreError("no")
        return create(connection, dag=dag, **values)

    monkeypatch.setattr(lifecycle, "create_run", refuse)
    firing.fire_due(site.database)
    assert [record.getMessage() for record in caplog.records] == ["broken does not fire: no"]
    assert (site.dates(broken), site.dates(whole)) == ([], [START])
    assert site.of(broken).next_fire_at == START
    monkeypatch.undo()
    firing.fire_due(site.database)
    assert site.dates(broken) == [START]


def test_the_delay_from_due_to_fired_is_measured(site: Scheduled, clock: ManualClock) -> None:
    measured = []

    class Sink:
        def measure(self, metric, value, attributes=None) -> None:  # type: ignore[no-untyped-def]
            if metric is names.SCHEDULE_DELAY:
                measured.append((value, attributes))

    site.load(schedule="1h")
    clock.forward(0.25)
    metrics.attach(Sink())
    try:
        firing.fire_due(site.database)
    finally:
        metrics.attach(None)
    assert measured == [(0.25, {names.DAG: "people"})]


def test_an_empty_dag_fires_and_ends(site: Scheduled, clock: ManualClock) -> None:
    dag = site.load(schedule="1h", stages=graph({}))
    firing.fire_due(site.database)
    (run,) = site.runs(dag)
    assert run.state == RunState.SUCCESS
    assert promotion.sweep(site.database) == []
