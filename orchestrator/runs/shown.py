"""How states are shown to people: as they are stored, but for what a flag or a date says beside them."""

from __future__ import annotations

from datetime import datetime

from orchestrator.runs.states import Outcome, RunState, StageState

PAUSED = "paused"
_LATER = {
    Outcome.FAILED: "up_for_retry",
    Outcome.LOST: "up_for_retry",
    Outcome.SNOOZED: "up_for_reschedule",
}


def shown_run(state: RunState, *, paused: bool) -> str:
    """The state of a run, or `paused`."""
    return PAUSED if paused and state in (RunState.QUEUED, RunState.RUNNING) else str(state)


def shown_stage(
    state: StageState, *, paused: bool, due: datetime | None, last: Outcome | None, now: datetime
) -> str:
    """The state of a stage run, with Airflow's names where it is queued for later.

    `paused`: its run or itself; `due`: when its queued attempt may be claimed; `last`: how the attempt
    before ended.
    """
    if state != StageState.QUEUED:
        return str(state)
    if paused:
        return PAUSED
    if due is None or due <= now:
        return str(state)
    return _LATER.get(last, "scheduled") if last is not None else "scheduled"
