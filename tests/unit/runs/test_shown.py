"""States as people see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.runs.shown import shown_run, shown_stage
from orchestrator.runs.states import Outcome, RunState, StageState

NOW = datetime(2026, 1, 31, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("due", "last", "expected"),
    [
        (NOW, None, "queued"),
        (None, None, "queued"),
        (NOW, Outcome.FAILED, "queued"),
        (LATER, Outcome.FAILED, "up_for_retry"),
        (LATER, Outcome.LOST, "up_for_retry"),
        (LATER, Outcome.SNOOZED, "up_for_reschedule"),
        (LATER, Outcome.DRAINED, "scheduled"),
        (LATER, None, "scheduled"),
    ],
)
def test_a_queued_stage_is_shown_by_what_it_waits_for(
    due: datetime | None, last: Outcome | None, expected: str
) -> None:
    assert shown_stage(StageState.QUEUED, paused=False, due=due, last=last, now=NOW) == expected
    assert shown_stage(StageState.QUEUED, paused=True, due=due, last=last, now=NOW) == "paused"


@pytest.mark.parametrize("state", [state for state in StageState if state != StageState.QUEUED])
def test_every_other_state_of_a_stage_is_shown_as_it_is(state: StageState) -> None:
    assert shown_stage(state, paused=True, due=LATER, last=Outcome.FAILED, now=NOW) == state


@pytest.mark.parametrize("state", list(RunState))
def test_a_run_that_has_not_ended_may_be_paused(state: RunState) -> None:
    assert shown_run(state, paused=False) == state
    assert (shown_run(state, paused=True) == "paused") == (state in ("queued", "running"))
