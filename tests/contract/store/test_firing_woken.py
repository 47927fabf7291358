"""A scheduler fires in the moment in which something is due: nothing of this waits for its next look."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator import settings
from orchestrator.clock import SystemClock
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.scheduler import service
from orchestrator.store import processes, steps, workers
from orchestrator.store.database import Database, open_database
from tests.support.schedules import Scheduled

NEVER = 600.0  # seconds
FIRES = """
import sys
from orchestrator.clock import SystemClock
from orchestrator.store import firing
from orchestrator.store.database import open_database
from tests.support.schedules import Scheduled

database = open_database(sys.argv[1], clock=SystemClock())
dag = Scheduled(database).load(schedule=sys.argv[2], start_date="2026-01-01T00:00:00+00:00")
firing.fire_due(database)
heavy = ("apscheduler", "networkx", "orchestrator.dag.model")
print(len(Scheduled(database).runs(dag)), [name for name in heavy if name in sys.modules])
database.close()
"""


class NothingToLoad:
    """A loading that neither ends nor fails."""

    def __init__(self) -> None:
        self.ends = os.pipe()

    def fileno(self) -> int:
        return self.ends[0]


@pytest.fixture
def served(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A store with a scheduler at work that looks by itself once, in the beginning."""
    for name in ("FIRE_EVERY", "PROMOTE_EVERY", "LONGEST_WAIT"):
        monkeypatch.setattr(service, name, NEVER)
    database = open_database(url, clock=SystemClock())
    found = settings.load(environ={"FUSTGO_HOME": str(tmp_path)})
    (stop, end), loading = os.pipe(), NothingToLoad()
    scheduler = service.Scheduler(database, found, stop)
    thread = threading.Thread(target=scheduler.run, args=(loading,))
    thread.start()
    yield database
    os.write(end, b"s")
    thread.join(30)
    scheduler.close()
    database.close()
    for descriptor in (stop, end, *loading.ends):
        os.close(descriptor)


@pytest.fixture
def beside(url: str) -> Iterator[Database]:
    """The store as another process opens it."""
    opened = open_database(url, clock=SystemClock())
    yield opened
    opened.close()


def until(true: Callable[[], Any]) -> None:
    pause, tries = threading.Event(), 0
    while not true():
        pause.wait(0.02)
        tries += 1
        assert tries < 1000, "it did not come about"


def test_what_is_loaded_and_due_fires_at_once(served: Database, beside: Database) -> None:
    """Whether by the scheduler's own loading, or by another's."""
    for opened in (served, beside):
        site = Scheduled(opened)
        dag = site.load(f"of_{opened is served}", "@once")
        until(partial(site.runs, dag))


def test_the_end_of_a_run_and_of_a_pause_fire_what_waited_for_it(served: Database, beside: Database) -> None:
    site = Scheduled(beside)
    dag = site.load(schedule="@continuous")
    until(lambda: site.runs(dag))
    worker = register(beside)
    for _ in range(2):
        before = len(site.runs(dag))
        until(lambda: steps.finish(beside, claimed(beside, worker)))
        until(partial(has_more, site, dag, before))
    site.change(dag, paused=True)
    until(lambda: steps.finish(beside, claimed(beside, worker)))
    before = len(site.runs(dag))
    site.unpause(dag)
    until(partial(has_more, site, dag, before))


def has_more(site: Scheduled, dag: int, before: int) -> bool:
    return len(site.runs(dag)) > before


def register(database: Database) -> int:
    """A worker; its row."""
    pid, started = processes.this_process()
    with database.transaction() as connection:
        return workers.register_worker(
            connection, host=processes.host(), pid=pid, start_time=started, kind="worker", slots=1,
            now=database.clock.now(),
        )  # fmt: skip


def claimed(database: Database, worker: int) -> dict[int, Report]:
    return {one.attempt: Report(Outcome.SUCCESS) for one in steps.claim(database, worker=worker)}


def test_ticks_fire_when_they_are_due(served: Database, beside: Database) -> None:
    site = Scheduled(beside)
    dag = site.load(schedule="1s", catchup=True)
    until(lambda: len(site.runs(dag)) == 3)
    late = [(run.created_at - run.due_at).total_seconds() for run in site.runs(dag) if run.due_at]
    assert min(late) < 0.2, late  # of an idle machine: milliseconds


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(("schedule", "needed"), [("1h", []), ("0 * * * *", ["apscheduler"])])
def test_firing_imports_no_more_than_its_schedule_needs(url: str, schedule: str, needed: list[str]) -> None:
    said = subprocess.run(
        [sys.executable, "-c", FIRES, url, schedule], capture_output=True, text=True, check=True
    )
    assert said.stdout == f"1 {needed}\n"


def test_a_defect_of_a_duty_is_told_once_a_minute_and_ends_nothing(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> float:
        raise OverflowError("date value out of range")

    scheduler = service.Scheduler(database, settings.load(environ={"FUSTGO_HOME": str(tmp_path)}), stop=0)
    try:
        duty = service.Duty(fail)
        for _ in range(3):
            scheduler._do(duty)
    finally:
        scheduler.close()
    [told] = [record for record in caplog.records if record.exc_info]
    assert told.exc_info is not None
    assert told.exc_info[0] is OverflowError
    assert 0 < duty.due - database.clock.monotonic() <= 1.0
