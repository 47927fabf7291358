"""What is late is told of once: runs that nothing had started of, and ticks that are held back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.store import events, firing, late, steps
from orchestrator.store.database import Database
from orchestrator.telemetry import metrics, names
from tests.support.schedules import Scheduled
from tests.support.store import START, Command, ManualClock, graph

SECOND = timedelta(seconds=1)


@pytest.fixture
def site(database: Database) -> Scheduled:
    return Scheduled(database)


def told(site: Scheduled) -> list[tuple[str, Any]]:
    with site.database.read() as connection:
        found = events.after(connection, events.Cursor())[0]
    return [(one.kind, one.run or one.detail) for one in found if one.new == "late"]


def test_a_run_of_which_nothing_started_in_time_is_late_once(site: Scheduled, clock: ManualClock) -> None:
    dag = site.load(schedule="1h")
    firing.fire_due(site.database)
    (run,) = site.runs(dag)
    assert late.tell_late(site.database) == START + 15 * SECOND
    clock.forward(14.9)
    assert late.tell_late(site.database) == START + 15 * SECOND
    assert told(site) == []
    clock.forward(0.1)
    following = late.tell_late(site.database)
    assert following == START + timedelta(hours=1, seconds=15)  # the next tick, were it not fired
    assert late.tell_late(site.database) == following
    assert told(site) == [("run", run.number)]
    assert site.runs(dag)[0].late


@pytest.mark.parametrize(("claimed_after", "is_late"), [(14.0, False), (15.0, False), (15.5, True)])
def test_what_counts_is_when_the_first_attempt_was_claimed(
    site: Scheduled, command: Command, clock: ManualClock, claimed_after: float, is_late: bool
) -> None:
    """However late one looks; a second attempt, or stage, that waits is nothing to it."""
    dag = site.load(schedule="1h", stages=graph({"a": "", "b": "a"}))
    firing.fire_due(site.database)
    clock.forward(claimed_after)
    (claimed,) = steps.claim(site.database, worker=command.worker)
    clock.forward(100)
    steps.finish(site.database, {claimed.attempt: Report(Outcome.SUCCESS)})
    late.tell_late(site.database)
    assert [run.late for run in site.runs(dag)] == [is_late]
    assert told(site) == ([("run", site.runs(dag)[0].number)] if is_late else [])


def test_runs_of_missed_ticks_are_late_from_their_creation(site: Scheduled, clock: ManualClock) -> None:
    dag = site.load(schedule="1h", start_date="2025-12-31T22:00:00+00:00", catchup=True)
    firing.fire_due(site.database)
    late.tell_late(site.database)
    assert [run.late for run in site.runs(dag)] == [True, True, False]


def test_manual_runs_and_runs_that_have_ended_are_never_late(
    site: Scheduled, command: Command, clock: ManualClock
) -> None:
    site.load("ended", "1h")
    firing.fire_due(site.database)
    (claimed,) = steps.claim(site.database, worker=command.worker)
    steps.finish(site.database, {claimed.attempt: Report(Outcome.SUCCESS)})
    command.start(graph({"a": ""}), held_by=None)
    clock.forward(60)
    late.tell_late(site.database)
    assert told(site) == []


def test_a_tick_that_is_held_back_is_late_and_so_is_the_next_one(
    site: Scheduled, command: Command, clock: ManualClock
) -> None:
    site.load(schedule="20s", catchup=True, max_active_runs=1)
    firing.fire_due(site.database)
    (claimed,) = steps.claim(site.database, worker=command.worker)
    clock.forward(20)
    firing.fire_due(site.database)
    assert late.tell_late(site.database) == START + 35 * SECOND
    clock.forward(15)
    assert late.tell_late(site.database) is None  # fires no more before a run ends
    first = ("schedule", {"dag": "people", "due": (START + 20 * SECOND).isoformat()})
    assert told(site) == [first]
    steps.finish(site.database, {claimed.attempt: Report(Outcome.SUCCESS)})
    firing.fire_due(site.database)
    clock.forward(25)
    late.tell_late(site.database)
    late.tell_late(site.database)
    run, second = 2, ("schedule", {"dag": "people", "due": (START + 40 * SECOND).isoformat()})
    assert told(site) == [first, ("run", run), second]


def test_a_pause_and_a_run_of_its_own_make_nothing_late(
    site: Scheduled, command: Command, clock: ManualClock
) -> None:
    paused = site.load("paused", "20s")
    site.change(paused, paused=True)
    site.load("endless", "@continuous")
    firing.fire_due(site.database)
    assert len(steps.claim(site.database, worker=command.worker)) == 1
    clock.forward(100)
    assert late.tell_late(site.database) is None
    assert told(site) == []


def test_late_runs_are_counted_by_their_dag(site: Scheduled, clock: ManualClock) -> None:
    counted = []

    class Sink:
        def measure(self, metric, value, attributes=None) -> None:  # type: ignore[no-untyped-def]
            if metric is names.RUNS_LATE:
                counted.append((value, attributes))

    for name in ("one", "two"):
        site.load(name, "1h")
    firing.fire_due(site.database)
    clock.forward(15)
    metrics.attach(Sink())
    try:
        late.tell_late(site.database)
        late.tell_late(site.database)
    finally:
        metrics.attach(None)
    assert counted == [(1, {names.DAG: "one"}), (1, {names.DAG: "two"})]
