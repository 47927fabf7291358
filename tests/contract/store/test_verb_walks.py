"""Random verbs over live runs leave none stuck, and nothing that the rules do not allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from orchestrator.runs.states import (
    AttemptState,
    EpochState,
    RunState,
    StageState,
    State,
    may_follow,
)
from orchestrator.store import checks
from orchestrator.store.tables import Event, table_of
from tests.support.services import Service
from tests.support.walks import Walk, steps_of_walk

STATES: Mapping[str, Callable[[str], State]] = {
    "run": RunState,
    "stage": StageState,
    "attempt": AttemptState,
    "epoch": EpochState,
}
FLAG = "paused"  # told as if it were a state of its own


def test_a_walk_of_verbs_over_live_runs_leaves_none_stuck_and_no_state_outside_the_tables(
    service: Service,
) -> None:
    walk = Walk(service, Random(3), live=steps_of_walk(few=8, many=50))
    for index in range(steps_of_walk(few=120, many=5_000)):
        walk.step()
        if index % 25 == 0:
            assert walk.faults(newest=120) == []
    service.promote()
    assert walk.faults() == []
    walk.run_out()
    assert walk.faults() == []
    assert walk.unended() == []
    with service.database.transaction() as connection:
        assert checks.check_runs(connection, service.clock.now()) == []
    verbs = {"abandon", "cancel", "clear", "mark", "note", "pause", "resume", "retry"}
    assert verbs <= walk.told.keys(), walk.told
    must_be_allowed(service)


def must_be_allowed(service: Service) -> None:
    """Every transition that was told is one of the tables'."""
    with service.database.read() as connection:
        told = connection.execute(table_of(Event).select()).all()
    for event in told:
        if event.old is not None and FLAG not in (event.old, event.new):
            state = STATES[event.kind]
            assert may_follow(state(event.old), state(event.new)), event
