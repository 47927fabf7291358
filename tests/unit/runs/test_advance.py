"""Advancing a run is judged by the graph and the states alone, whatever the order of ends."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dag.stages import StageGraph
from orchestrator.runs.advance import (
    EndRun,
    EndStage,
    QueueStage,
    ResetStage,
    advance,
    candidates_after,
    rejudge,
    result,
    waiting_of,
)
from orchestrator.runs.states import STAGE_ENDS, RunState, StageState
from tests.support.store import graph

NONE, QUEUED, RUNNING = StageState.NONE, StageState.QUEUED, StageState.RUNNING
SUCCESS, FAILED, SKIPPED = StageState.SUCCESS, StageState.FAILED, StageState.SKIPPED
UPSTREAM_FAILED, CANCELLED = StageState.UPSTREAM_FAILED, StageState.CANCELLED

CHAIN = graph({"a": "", "b": "a", "c": "b"})
DIAMOND = graph({"a": "", "b": "a", "c": "a", "d": "bc"})


@st.composite
def graphs(draw: st.DrawFn) -> StageGraph:
    names = "abcdefg"[: draw(st.integers(1, 7))]
    return graph(
        {name: draw(st.sets(st.sampled_from(names[:i]))) if i else () for i, name in enumerate(names)}
    )


def play(stages: StageGraph, ends: dict[str, StageState], pick: Iterator[int]) -> dict[str, StageState]:
    """A whole run: of what is queued, `pick` says which ends next, `ends` how."""
    states = dict.fromkeys(stages.stages, NONE)
    steps = advance(stages, states, list(stages.stages))
    while True:
        for step in steps:
            if isinstance(step, QueueStage):
                states[step.stage] = QUEUED
            elif isinstance(step, EndStage):
                states[step.stage] = step.state
        open_stages = [stage for stage, state in states.items() if state == QUEUED]
        assert any(isinstance(step, EndRun) for step in steps) == (not open_stages)
        if not open_stages:
            return states
        stage = open_stages[next(pick) % len(open_stages)]
        states[stage] = ends.get(stage, SUCCESS)
        waiting = {name: waiting_of(stages, states, name) for name in states}
        steps = advance(stages, states, candidates_after(stages, stage, states[stage], waiting))


def expected(stages: StageGraph, ends: dict[str, StageState]) -> dict[str, StageState]:
    """What `all_success` means, said directly: in topological order, from the upstreams' ends."""
    states: dict[str, StageState] = {}
    for stage in stages:
        above = [states[up] for up in stage.up]
        if any(state in (FAILED, CANCELLED, UPSTREAM_FAILED) for state in above):
            states[stage.id] = UPSTREAM_FAILED
        elif any(state == SKIPPED for state in above):
            states[stage.id] = SKIPPED
        else:
            states[stage.id] = ends.get(stage.id, SUCCESS)
    return states


@given(graphs(), st.data())
def test_the_ends_of_a_run_depend_on_how_stages_end_and_not_on_their_order(
    stages: StageGraph, data: st.DataObject
) -> None:
    ends = {stage.id: data.draw(st.sampled_from([SUCCESS, FAILED, SKIPPED, CANCELLED])) for stage in stages}
    picks = data.draw(st.lists(st.integers(0, 6), min_size=7, max_size=7))
    assert play(stages, ends, iter(picks)) == expected(stages, ends)


def test_every_order_of_a_diamond_gives_the_same_ends() -> None:
    for kinds in product([SUCCESS, FAILED, SKIPPED], repeat=4):
        ends = dict(zip("abcd", kinds, strict=True))
        for order in permutations(range(4)):
            assert play(DIAMOND, ends, iter(order)) == expected(DIAMOND, ends)


def test_a_failure_is_told_to_those_below_while_another_upstream_still_runs() -> None:
    states = {"a": SUCCESS, "b": FAILED, "c": RUNNING, "d": NONE}
    assert list(candidates_after(DIAMOND, "b", FAILED, {"d": 1})) == ["d"]
    assert list(candidates_after(DIAMOND, "b", SUCCESS, {"d": 1})) == []
    assert advance(DIAMOND, states, ["d"]) == [EndStage("d", UPSTREAM_FAILED)]


def test_a_run_does_not_end_at_its_leaf_while_something_is_open() -> None:
    states = {"a": SUCCESS, "b": FAILED, "c": RUNNING, "d": UPSTREAM_FAILED}
    assert advance(DIAMOND, states, ["d"]) == []


def test_a_wrong_waiting_can_delay_a_stage_but_never_decide_it() -> None:
    states = {"a": SUCCESS, "b": RUNNING, "c": SUCCESS, "d": NONE}
    assert advance(DIAMOND, states, ["d"]) == []  # `waiting` said 0: the states say that b is open


def test_a_run_that_is_being_cancelled_ends_every_stage_that_waits() -> None:
    states = {"a": CANCELLED, "b": NONE, "c": NONE}
    steps = advance(CHAIN, states, [], cancel_cause="user")
    assert steps == [EndStage("b", CANCELLED), EndStage("c", CANCELLED), EndRun(RunState.CANCELLED)]


def test_a_removed_upstream_is_left_out() -> None:
    states = {"a": StageState.REMOVED, "b": NONE, "c": NONE}
    assert waiting_of(CHAIN, states, "b") == 0
    assert advance(CHAIN, states, ["b"]) == [QueueStage("b")]


@pytest.mark.parametrize(
    ("cause", "states", "state"),
    [
        (None, {"a": SUCCESS, "b": SUCCESS, "c": SUCCESS}, RunState.SUCCESS),
        (None, {"a": SUCCESS, "b": SKIPPED, "c": SKIPPED}, RunState.SUCCESS),
        (None, {"a": FAILED, "b": UPSTREAM_FAILED, "c": UPSTREAM_FAILED}, RunState.FAILED),
        (None, {"a": FAILED, "b": SUCCESS, "c": SUCCESS}, RunState.SUCCESS),
        ("user", {"a": SUCCESS, "b": SUCCESS, "c": SUCCESS}, RunState.CANCELLED),
        ("timeout", {"a": SUCCESS, "b": CANCELLED, "c": CANCELLED}, RunState.FAILED),
    ],
)
def test_the_result_is_read_from_the_cancel_cause_or_from_the_leaves(
    cause: str | None, states: dict[str, StageState], state: RunState
) -> None:
    assert result(CHAIN, states, cause) == state


def test_after_a_verb_what_a_failure_had_ended_waits_again() -> None:
    states = {"a": QUEUED, "b": UPSTREAM_FAILED, "c": UPSTREAM_FAILED}
    assert rejudge(CHAIN, states, {"a"}) == [ResetStage("b"), ResetStage("c")]


def test_after_a_verb_a_stage_that_was_queued_for_a_reason_that_is_gone_goes_back() -> None:
    states = {"a": QUEUED, "b": QUEUED, "c": NONE}
    assert rejudge(CHAIN, states, {"a"}) == [ResetStage("b")]
    assert rejudge(CHAIN, states, {"a", "b"}) == []  # one that ran is touched only where a verb names it


@given(graphs(), st.data())
def test_a_settled_run_is_not_touched_by_another_judgement(stages: StageGraph, data: st.DataObject) -> None:
    ends = {stage.id: data.draw(st.sampled_from([SUCCESS, FAILED, SKIPPED])) for stage in stages}
    states = play(stages, ends, iter([0] * 7))
    ran = {stage for stage, state in states.items() if state in (SUCCESS, FAILED)}
    ran |= {stage for stage, end in ends.items() if end == SKIPPED and states[stage] == SKIPPED}
    steps = rejudge(stages, states, ran)
    assert steps == [EndRun(result(stages, states))]
    assert all(state in STAGE_ENDS for state in states.values())


@given(graphs(), st.data())
def test_retrying_what_failed_leads_to_the_same_ends_as_a_run_that_never_failed(
    stages: StageGraph, data: st.DataObject
) -> None:
    ends = {stage.id: data.draw(st.sampled_from([SUCCESS, FAILED])) for stage in stages}
    states = play(stages, ends, iter([0] * 7))
    ran = {stage for stage, state in states.items() if state in (SUCCESS, FAILED)}
    states = {stage: SUCCESS if state == FAILED else state for stage, state in states.items()}
    while True:
        steps = rejudge(stages, states, ran)
        for step in steps:
            if isinstance(step, EndRun):
                assert all(state == SUCCESS for state in states.values())
                assert step.state == RunState.SUCCESS
                return
            if isinstance(step, QueueStage):
                states[step.stage] = SUCCESS
                ran.add(step.stage)
            else:
                states[step.stage] = step.state if isinstance(step, EndStage) else NONE
