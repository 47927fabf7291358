"""What the store is told of an attempt's end, by what this worker wanted of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.worker.running import Ending, Running, told, told_of_death

ENDED = (Outcome.SUCCESS, Outcome.FAILED, Outcome.CANCELLED, Outcome.PAUSED, Outcome.SNOOZED)


def running(ending: Ending | None) -> Running:
    made = Running(cast(Any, None), cast(Any, None), Path("log"), timeout=1.5)
    made.ending = ending
    return made


@pytest.mark.parametrize("outcome", ENDED)
@pytest.mark.parametrize("ending", [None, Ending.STOPPED, Ending.OUT_OF_MEMORY])
def test_what_a_runner_reports_is_told_as_it_is(ending: Ending | None, outcome: Outcome) -> None:
    assert told(running(ending), Report(outcome)) == Report(outcome)


@pytest.mark.parametrize("ending", [None, *Ending])
def test_an_attempt_that_was_taken_away_tells_nothing(ending: Ending | None) -> None:
    assert told(running(ending), Report(Outcome.LOST)) is None
    assert told(running(Ending.TAKEN), Report(Outcome.SUCCESS)) is None
    assert told_of_death(running(Ending.TAKEN), -9, []) is None


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.SUCCESS, Outcome.SUCCESS),
        (Outcome.FAILED, Outcome.FAILED),
        (Outcome.CANCELLED, Outcome.FAILED),
        (Outcome.PAUSED, Outcome.FAILED),
    ],
)
def test_out_of_time_is_a_failure_unless_it_was_done(outcome: Outcome, expected: Outcome) -> None:
    report = told(running(Ending.TIMED_OUT), Report(outcome))
    assert report is not None
    assert report.outcome is expected
    assert report.message == ("" if outcome is Outcome.SUCCESS else "timed out after 1.5 s")


@pytest.mark.parametrize("outcome", [Outcome.PAUSED, Outcome.CANCELLED])
def test_what_stops_with_its_worker_is_handed_back(outcome: Outcome) -> None:
    assert told(running(Ending.DRAINED), Report(outcome)) == Report(Outcome.DRAINED)


@pytest.mark.parametrize(
    ("ending", "status", "outcome", "cause"),
    [
        (None, -9, Outcome.LOST, "signal 9"),
        (None, -11, Outcome.LOST, "signal 11"),
        (None, 3, Outcome.LOST, "exit code 3"),
        (Ending.OUT_OF_MEMORY, -9, Outcome.LOST, "out of memory"),
        (Ending.STOPPED, -9, Outcome.CANCELLED, ""),
        (Ending.DRAINED, -9, Outcome.DRAINED, ""),
        (Ending.TIMED_OUT, -9, Outcome.FAILED, ""),
    ],
)
def test_a_death_is_told_by_its_cause(
    ending: Ending | None, status: int, outcome: Outcome, cause: str
) -> None:
    report = told_of_death(running(ending), status, ["the last words"])
    assert report is not None
    assert (report.outcome, report.cause) == (outcome, cause)
    if outcome is Outcome.LOST:
        assert cause in report.message
        assert report.message.endswith("the last words")


@pytest.mark.parametrize(
    ("ending", "why", "message"),
    [
        (
            Ending.OUT_OF_MEMORY,
            "it took 312 MiB, worker.memory_limit is 100MiB",
            "its process was killed, out of memory: it took 312 MiB, worker.memory_limit is 100MiB",
        ),
        (
            None,
            "the kernel of this host killed 2 processes",
            "its process died of signal 9 (SIGKILL), while the kernel of this host killed 2 processes",
        ),
    ],
)
def test_a_kill_says_what_is_known_of_it(ending: Ending | None, why: str, message: str) -> None:
    killed = running(ending)
    killed.why = why
    report = told_of_death(killed, -9, [])
    assert report is not None
    assert report.message == message
