"""States, waits, the choice of a claim, and versions: the small pure decisions."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dag.stages import Stage
from orchestrator.runs import states
from orchestrator.runs.checkpoint import Checkpoint, Decision
from orchestrator.runs.choose import choose
from orchestrator.runs.compatible import differences
from orchestrator.runs.retry import LONGEST_DELAY, delay, losses_left, tries_left
from orchestrator.runs.states import AttemptState, EpochState, RunState, StageState, may_follow


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        (RunState, states.RUN_TRANSITIONS),
        (StageState, states.STAGE_TRANSITIONS),
        (AttemptState, states.ATTEMPT_TRANSITIONS),
        (EpochState, states.EPOCH_TRANSITIONS),
    ],
)
def test_each_table_names_every_state_and_none_follows_itself(
    kind: type, table: dict[object, object]
) -> None:
    assert set(table) == set(kind)  # type: ignore[call-overload]
    for state in kind:  # type: ignore[attr-defined]
        assert not may_follow(state, state)


def test_a_done_attempt_and_an_applied_epoch_stay_as_they_are() -> None:
    assert not any(may_follow(AttemptState.DONE, state) for state in AttemptState)
    assert not any(may_follow(EpochState.APPLIED, state) for state in EpochState)


def test_a_stage_runs_only_out_of_the_queue() -> None:
    assert [old for old in StageState if may_follow(old, StageState.RUNNING)] == [StageState.QUEUED]


def test_states_of_different_things_are_not_compared() -> None:
    with pytest.raises(TypeError):
        may_follow(RunState.QUEUED, StageState.RUNNING)


def test_waits_are_constant_or_double_up_to_a_cap() -> None:
    constant = Stage("a", ("a",), retry_delay=5)
    assert [delay(constant, failures) for failures in (1, 2, 9)] == [5, 5, 5]
    doubling = Stage("a", ("a",), retry_delay=5, retry_exponential_backoff=True, max_retry_delay=30)
    assert [delay(doubling, failures) for failures in (1, 2, 3, 4, 10_000)] == [5, 10, 20, 30, 30]
    uncapped = Stage("a", ("a",), retry_delay=5, retry_exponential_backoff=True)
    assert delay(uncapped, 10_000) == LONGEST_DELAY


def test_retries_are_tries_after_the_first_and_losses_have_a_limit_of_three() -> None:
    stage = Stage("a", ("a",), retries=2)
    assert [tries_left(stage, failures) for failures in (1, 2, 3)] == [True, True, False]
    assert [losses_left(losses) for losses in (1, 2, 3, 4)] == [True, True, True, False]


@dataclass(frozen=True)
class Queued:
    number: int
    pool: str
    pool_slots: int


@given(
    st.lists(st.tuples(st.sampled_from("pq"), st.integers(1, 3)), max_size=6),
    st.dictionaries(st.sampled_from("pq"), st.integers(0, 4)),
    st.dictionaries(st.sampled_from("pq"), st.integers(0, 4)),
)
def test_the_choice_is_the_first_that_fits_and_overtakes_nobody_in_its_pool(
    asked: list[tuple[str, int]], slots: dict[str, int], used: dict[str, int]
) -> None:
    candidates = [Queued(number, pool, size) for number, (pool, size) in enumerate(asked)]

    def fits(candidate: Queued) -> bool:
        free = slots.get(candidate.pool, 10**9) - used.get(candidate.pool, 0)
        return candidate.pool_slots <= free

    firsts = {pool: next((c for c in candidates if c.pool == pool), None) for pool in "pq"}
    allowed = [first for first in firsts.values() if first is not None and fits(first)]
    assert choose(candidates, slots, used) == min(allowed, key=lambda c: c.number, default=None)


def document(*nodes: dict[str, object]) -> dict[str, object]:
    defaults = {"type": "csv", "kind": "output"}
    return {"format": 1, "id": "d", "nodes": [{**defaults, **node} for node in nodes]}


def test_a_run_may_go_on_when_only_configurations_changed() -> None:
    old = document({"id": "in", "kind": "input"}, {"id": "out", "from": "in", "config": {"path": "a"}})
    new = document({"id": "in", "kind": "input"}, {"id": "out", "from": "in", "config": {"path": "b"}})
    assert differences(old, new) == []


def test_everything_that_keeps_a_run_from_going_on_is_named_at_once() -> None:
    old = document(
        {"id": "in", "kind": "input"},
        {"id": "sessions", "kind": "processor", "from": "in", "state_version": 1},
        {"id": "out", "from": "sessions"},
        {"id": "gone", "from": "in"},
    )
    new = document(
        {"id": "in", "kind": "input", "type": "parquet"},
        {"id": "sessions", "kind": "processor", "from": "in", "state_version": 2},
        {"id": "out", "from": "sessions.late"},
        {"id": "fresh", "from": "in"},
    )
    assert differences(old, new) == [
        "node gone is gone",
        "node fresh is new",
        "node in: its type was csv, it is parquet",
        "node sessions: its state_version was 1, it is 2",
        "node sessions: port out.late is newly wired",
        "node sessions: port out.out is no longer wired",
    ]


def test_an_epoch_that_was_applied_or_given_up_is_not_owed() -> None:
    last = Decision(3)
    assert Checkpoint(highest=3, applied=2, last=last).owed == last
    assert Checkpoint(highest=3, applied=3, last=last).owed is None
    assert Checkpoint(highest=3, applied=2, abandoned=3, last=last).owed is None
    assert Checkpoint(base=3, highest=3, applied=2).owed is None
