"""`dagrun_timeout`: a run whose time is over ends failed, with that cause, when its attempts have ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.store import attempts, runs, steps, timeouts
from orchestrator.store.database import Database
from orchestrator.store.verbs import cancelling
from tests.support.plans import plan_of
from tests.support.store import START, Command, ManualClock, graph

CHAIN = graph({"a": "", "b": "a"})


def timed(command: Command, seconds: float, **values: Any) -> int:
    settings: dict[str, Any] = {"held_by": None, **values}
    run = command.start(CHAIN, **settings)
    with command.database.transaction() as connection:
        runs.change(connection, run.number, timeout_at=START + timedelta(seconds=seconds))
    return run.number


def ended(command: Command, run: int) -> tuple[str, str | None]:
    found = command.run(run)
    return str(found.state), found.cancel_cause


def test_a_run_that_waits_ends_at_once_and_the_nearest_time_comes_back(
    database: Database, clock: ManualClock, command: Command
) -> None:
    first, second = timed(command, 10), timed(command, 20)
    assert timeouts.end_late(database) == START + timedelta(seconds=10)
    clock.forward(10)
    following: datetime | None = timeouts.end_late(database)
    assert following == START + timedelta(seconds=20)
    assert ended(command, first) == ("failed", "timeout")
    assert command.states(first) == {"a": "cancelled", "b": "cancelled"}
    assert ended(command, second) == ("running", None)
    clock.forward(10)
    assert timeouts.end_late(database) is None


def test_what_runs_is_asked_to_stop_and_the_run_ends_with_it(
    database: Database, clock: ManualClock, command: Command
) -> None:
    run = timed(command, 10)
    (claimed,) = steps.claim(database, worker=command.worker)
    clock.forward(11)
    timeouts.end_late(database)
    assert ended(command, run) == ("running", "timeout")
    with database.transaction() as connection:
        assert attempts.asked(connection, claimed.attempt).stop == "cancelled"
    assert timeouts.end_late(database) is None
    steps.finish(database, {claimed.attempt: Report(Outcome.CANCELLED)})
    assert ended(command, run) == ("failed", "timeout")


def test_a_run_that_a_command_holds_is_left_to_whoever_waits_for_it(
    database: Database, clock: ManualClock, command: Command
) -> None:
    run = timed(command, 10, held_by=command.worker)
    clock.forward(11)
    assert timeouts.end_late(database) is None
    assert ended(command, run) == ("running", None)


def test_however_many_runs_have_ended_only_those_with_a_limit_are_looked_at(
    database: Database, clock: ManualClock, command: Command
) -> None:
    timed(command, 10)
    for query in (timeouts._LATE, timeouts._NEXT):
        assert plan_of(database, query, now=clock.now()) <= {"ix_runs_timed", "ix_runs_open"}


def test_a_run_that_cannot_be_ended_keeps_no_other_from_it(
    database: Database,
    clock: ManualClock,
    command: Command,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is raised; it is said once until it has gone well."""
    bad, good = timed(command, 10), timed(command, 10)
    cancel = cancelling.cancel_run

    def refuse(connection: Any, run: Any, *rest: Any, **more: Any) -> Any:
        if run.number == bad:
            raise OverflowError("date value out of range")
        return cancel(connection, run, *rest, **more)

    clock.forward(11)
    with monkeypatch.context() as broken:
        broken.setattr(timeouts, "cancel_run", refuse)
        timeouts.end_late(database)
        timeouts.end_late(database)
    assert [ended(command, run)[0] for run in (bad, good)] == ["running", "failed"]
    (said,) = (record.getMessage() for record in caplog.records)
    assert f"run {bad} is not ended" in said
    assert "date value out of range" in said
    timeouts.end_late(database)
    assert ended(command, bad)[0] == "failed"
