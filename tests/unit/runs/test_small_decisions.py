"""States, waits, the choice of a claim, and versions: the small pure decisions."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
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


TRIES = (1, 2, 3, 4, 99)


def test_waits_are_constant_or_double_up_to_a_cap() -> None:
    constant = Stage("a", ("a",), retry_delay=5)
    assert [delay(constant, failures, 7) for failures in (1, 2, 9)] == [5, 5, 5]
    doubling = Stage("a", ("a",), retry_delay=5, retry_exponential_backoff=True, max_retry_delay=30)
    longest = [
        max(delay(doubling, failures, attempt) for attempt in range(999)) for failures in (1, 2, 3, 4, 99)
    ]
    assert longest == pytest.approx([5, 10, 20, 30, 30], rel=0.01)
    shortest = [min(delay(doubling, failures, attempt) for attempt in range(999)) for failures in TRIES]
    assert shortest == pytest.approx([2.5, 5, 10, 15, 15], rel=0.01)
    uncapped = Stage("a", ("a",), retry_delay=5, retry_exponential_backoff=True)
    assert (
        LONGEST_DELAY * 0.9 < max(delay(uncapped, 10_000, attempt) for attempt in range(99)) < LONGEST_DELAY
    )


def test_what_fails_together_is_not_tried_again_together_and_each_always_after_the_same_time() -> None:
    stage = Stage("a", ("a",), retry_delay=100, retry_exponential_backoff=True)
    waits = [delay(stage, 1, attempt) for attempt in range(1000)]
    assert waits == [delay(stage, 1, attempt) for attempt in range(1000)]
    tenths = [sum(5 * part <= wait - 50 < 5 * (part + 1) for wait in waits) for part in range(10)]
    assert all(70 < found < 130 for found in tenths), tenths


def test_retries_are_tries_after_the_first_and_losses_have_a_limit_of_three() -> None:
    stage = Stage("a", ("a",), retries=2)
    assert [tries_left(stage, failures) for failures in (1, 2, 3)] == [True, True, False]
    assert [losses_left(losses) for losses in (1, 2, 3, 4)] == [True, True, True, False]


@dataclass(frozen=True)
class Queued:
    number: int
    pool: str
    pool_slots: int
    dag: int


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from("pq"), st.integers(1, 3), st.integers(1, 2)), max_size=7),
    st.dictionaries(st.sampled_from("pq"), st.integers(0, 6)),
    st.dictionaries(st.integers(1, 2), st.integers(0, 3)),
    st.integers(1, 5),
)
def test_a_choice_is_the_one_that_trying_all_finds(
    asked: list[tuple[str, int, int]], free: dict[str, int], room: dict[int, int], limit: int
) -> None:
    """Of all sets of candidates, the one that fits and in which each is as early as can be: who is not in it
    had no room in its DAG, or no place in its pool, or somebody of its pool before it had none.
    """
    candidates = [Queued(number, *rest) for number, rest in enumerate(asked)]

    def why_not(chosen: list[Queued], candidate: Queued) -> str | None:
        before = [one for one in chosen if one.number < candidate.number]
        if len(before) == limit:
            return "full"
        if sum(one.dag == candidate.dag for one in before) >= room.get(candidate.dag, 99):
            return "dag"
        taken = sum(one.pool_slots for one in before if one.pool == candidate.pool)
        if taken + candidate.pool_slots > free.get(candidate.pool, 99):
            return "pool"
        earlier = [one for one in candidates[: candidate.number] if one.pool == candidate.pool]
        closed = any(why_not(chosen, one) == "pool" for one in earlier if one not in chosen)
        return "closed" if closed else None

    subsets = (
        [one for one in candidates if picked >> one.number & 1] for picked in range(2 ** len(candidates))
    )
    right = [
        chosen
        for chosen in subsets
        if all((why_not(chosen, one) is None) == (one in chosen) for one in candidates)
    ]
    assert [choose(candidates, free, room, limit)] == right


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
