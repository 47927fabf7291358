"""Each tick fires once, whoever fires and whoever is killed in it; a rule taken away is noticed (rule 11)."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from orchestrator import crash
from orchestrator.crash import CrashPointFailure
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import dags, firing, promotion, steps
from orchestrator.store.database import Database, open_database
from orchestrator.store.schedules import schedules
from orchestrator.store.tables import Dag
from tests.protocol.names import FIRING_STEPS
from tests.support.schedules import Scheduled
from tests.support.store import START, Command, ManualClock

SECOND = timedelta(seconds=1)
PACES = {"each": 1, "narrow": 2, "newest": 3}  # seconds between two ticks
LIMITS = {"each": 100, "narrow": 2, "newest": 16}


class Violation(AssertionError):
    """A promise that was broken."""


@pytest.fixture
def other(url: str, database: Database, clock: ManualClock) -> Iterator[Database]:
    """A second scheduler's store."""
    opened = open_database(url, clock=clock)
    yield opened
    opened.close()


# --- random histories -------------------------------------------------------------------------------


class Walk:
    """Two schedulers that fire in turn, some of them killed on the way, while runs end and time passes."""

    def __init__(self, schedulers: list[Database], command: Command, clock: ManualClock, seed: int) -> None:
        self.schedulers, self.command, self.clock = schedulers, command, clock
        self.site, self.chance = Scheduled(schedulers[0]), random.Random(seed)
        self.dags = {name: self.load(name) for name in PACES}
        self.deaths = 0

    def load(self, name: str) -> int:
        limit, start = LIMITS[name], START.isoformat()
        header: dict[str, Any] = {"catchup": name != "newest", "max_active_runs": limit, "start_date": start}
        return self.site.load(name, f"{PACES[name]}s", **header)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.clock.forward(self.chance.choice((0, 0.5, 1, 2.5)))
            act = self.chance.choice((self.fire, self.fire, self.fire_and_die, self.end_runs, self.fill))
            act()
            self.must_keep_limits()
        self.settle()
        self.must_be_whole()

    def fire(self) -> None:
        try:
            firing.fire_due(self.chance.choice(self.schedulers))
        except IntegrityError as error:
            raise Violation(f"a date was fired twice: {error}") from error

    def fire_and_die(self) -> None:
        point, passing = self.chance.choice(FIRING_STEPS), self.chance.choice((1, 2))
        with armed(f"{point}@{passing}=fail"):
            try:
                self.fire()
            except CrashPointFailure:
                self.deaths += 1

    def end_runs(self) -> None:
        promotion.sweep(self.schedulers[0])
        found = steps.claim(self.schedulers[0], worker=self.command.worker, limit=self.chance.choice((1, 20)))
        ended = {one.attempt: Report(Outcome.SUCCESS) for one in found}
        steps.finish(self.schedulers[0], ended)

    def fill(self) -> None:
        """A backfill takes a date that is to come, or has come."""
        dag = self.dags["each"]
        after = int((self.clock.now() - START).total_seconds()) + self.chance.randint(-1, 3)
        date = START + max(after, 0) * SECOND
        if date not in self.site.dates(dag):
            self.site.create(dag, "backfill", date)

    def settle(self) -> None:
        """All ends, and all that is due by now fires."""
        while True:
            before = sum(len(self.site.runs(dag)) for dag in self.dags.values())
            for _ in range(3):
                self.fire()
                for _ in range(10):
                    self.end_runs()
            if sum(len(self.site.runs(dag)) for dag in self.dags.values()) == before:
                return

    def must_keep_limits(self) -> None:
        for name, dag in self.dags.items():
            open_runs = [run for run in self.site.runs(dag) if is_active(run)]
            if len(open_runs) > LIMITS[name]:
                raise Violation(f"{name} has {len(open_runs)} active runs")

    def must_be_whole(self) -> None:
        for name, dag in self.dags.items():
            seconds = (self.clock.now() - START).total_seconds()
            ticks = [START + n * PACES[name] * SECOND for n in range(int(seconds // PACES[name]) + 1)]
            dates = [date for run in self.site.runs(dag) if (date := run.logical_date) and date <= ticks[-1]]
            if len(set(dates)) != len(dates):
                raise Violation(f"{name} fired a tick twice")
            missing = {*ticks} - {*dates} if name != "newest" else {ticks[-1]} - {*dates}
            if missing or not {*dates} <= {*ticks}:
                raise Violation(f"{name} missed {sorted(missing)}")
            if any(run.state != RunState.SUCCESS for run in self.site.runs(dag)):
                raise Violation(f"a run of {name} never ran")


def is_active(run: Any) -> bool:
    return run.state in (RunState.QUEUED, RunState.RUNNING) and run.backfill is None


@contextmanager
def armed(text: str) -> Iterator[None]:
    crash._passed.clear()
    crash.arm(text)
    try:
        yield
    finally:
        crash.arm("")


@pytest.mark.parametrize("seed", range(3))
def test_of_two_schedulers_that_are_killed_anywhere_each_tick_fires_once(
    database: Database, other: Database, command: Command, clock: ManualClock, seed: int
) -> None:
    walk = Walk([database, other], command, clock, seed)
    walk.run(40)
    assert walk.deaths


# --- both at once -----------------------------------------------------------------------------------


class Stopper:
    """Stands in for the crash points: the first scheduler stops at one until it is let go, or dies there."""

    def __init__(self, point: str, dies: bool) -> None:
        self.point, self.dies = point, dies
        self.reached, self.may_go = threading.Event(), threading.Event()
        self.first: int | None = None

    def __call__(self, name: str) -> None:
        if name == self.point and threading.get_ident() == self.first:
            self.reached.set()
            assert self.may_go.wait(60)
            if self.dies:
                raise CrashPointFailure(name)

    def fire(self, database: Database) -> None:
        self.first = threading.get_ident()
        try:
            firing.fire_due(database)
        except CrashPointFailure:
            assert self.dies
        finally:
            self.reached.set()


def both_at_once(database: Database, other: Database, point: str, dies: bool, patch: Any) -> list[Any]:
    """Two schedulers fire at once, the first standing at a point meanwhile; what they raised."""
    stopper, raised = Stopper(point, dies), []
    patch.setattr(firing, "crash_point", stopper)

    def guarded(work: Callable[[Database], object], store: Database) -> None:
        try:
            work(store)
        except Exception as error:
            raised.append(error)

    first = threading.Thread(target=guarded, args=(stopper.fire, database))
    second = threading.Thread(target=guarded, args=(firing.fire_due, other))
    first.start()
    assert stopper.reached.wait(60)
    second.start()
    second.join(0.3)  # as far as it comes: inside the first one's transaction it has to wait
    stopper.may_go.set()
    first.join(60)
    second.join(60)
    return raised


@pytest.mark.parametrize("dies", [False, True], ids=["goes on", "dies"])
@pytest.mark.parametrize("point", FIRING_STEPS)
def test_who_fires_at_the_same_time_fires_what_the_other_has_not(
    database: Database, other: Database, clock: ManualClock, monkeypatch: Any, point: str, dies: bool
) -> None:
    site = Scheduled(database)
    dag = site.load(schedule="1h", catchup=True, start_date="2025-12-31T12:00:00+00:00")
    assert both_at_once(database, other, point, dies, monkeypatch) == []
    firing.fire_due(other)
    assert site.dates(dag) == [START + timedelta(hours=hour - 12) for hour in range(13)]
    promotion.sweep(other)
    assert {run.state for run in site.runs(dag)} == {RunState.RUNNING}


# --- seeded bugs ------------------------------------------------------------------------------------


def moved_without_comparing(connection: Any, row: Any, after: Any) -> bool:
    moved = {"next_fire_at": after.next_fire_at, "last_fire_at": after.last_fire_at}
    return bool(
        connection.execute(schedules.update().where(schedules.c.dag == row.dag).values(**moved)).rowcount
    )


@pytest.mark.parametrize("dialect", ["postgresql"])  # SQLite has one writer: nothing interleaves there
@pytest.mark.parametrize(("without_lock", "without_compare"), [(True, False), (False, True), (True, True)])
def test_lock_and_compare_each_do_it_alone_and_without_both_a_date_is_fired_twice(
    database: Database, other: Database, monkeypatch: Any, without_lock: bool, without_compare: bool
) -> None:
    site = Scheduled(database)
    dag = site.load(schedule="1h", catchup=True, start_date="2025-12-31T12:00:00+00:00")
    if without_lock:
        monkeypatch.setattr(firing, "take_dag", dags.get_dag)
    if without_compare:
        monkeypatch.setattr(firing, "move_on", moved_without_comparing)
    raised = both_at_once(database, other, "schedule.fired", False, monkeypatch)
    if without_lock and without_compare:
        assert [type(error) for error in raised] == [IntegrityError]
    else:
        assert raised == []
    assert len(site.dates(dag)) == 13


def moved_before_the_runs(database: Database, dag: Dag) -> firing.Fired | None:
    """Two transactions: the schedule is moved on in the first, the runs are inserted in the second."""
    planned: list[Any] = []
    insert = firing._insert_run
    firing._insert_run = lambda connection, *values: planned.append(values)
    try:
        fired = database.run_transaction(
            lambda connection: firing.fire(connection, dag.id, database.clock.now())
        )
    finally:
        firing._insert_run = insert
    crash.crash_point("schedule.committed")
    for values in planned:
        database.run_transaction(lambda connection, values=values: insert(connection, *values))  # type: ignore[misc]
    promotion.promote(database, dag.id)
    return fired


BUGS: dict[str, tuple[str, Any, str]] = {
    "the schedule moves on in a transaction of its own": ("_fire_one", moved_before_the_runs, "missed"),
    "runs of a backfill are not looked for": ("has_run", lambda *_: False, "fired twice"),
    "active runs are not counted": ("active_runs", lambda *_: {}, "active runs"),
}


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_rule_taken_away_is_noticed(
    database: Database, other: Database, command: Command, clock: ManualClock, monkeypatch: Any, bug: str
) -> None:
    name, function, broken = BUGS[bug]
    monkeypatch.setattr(firing, name, function)
    with pytest.raises(Violation, match=broken):
        Walk([database, other], command, clock, seed=0).run(40)
