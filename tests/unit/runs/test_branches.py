"""Branches and short-circuits: what a choice forbids, and who waits for one (rule 8.6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.dag.arguments import TRIGGER_RULES
from orchestrator.dag.stages import Branching, Stage, StageGraph
from orchestrator.runs.advance import (
    EndStage,
    QueueStage,
    ResetStage,
    Step,
    advance,
    candidates_after,
    rejudge,
    waiting_of,
)
from orchestrator.runs.states import STAGE_ENDS, StageState
from tests.support.store import graph

NONE, QUEUED, RUNNING = StageState.NONE, StageState.QUEUED, StageState.RUNNING
SUCCESS, FAILED, SKIPPED = StageState.SUCCESS, StageState.FAILED, StageState.SKIPPED
UPSTREAM_FAILED, CANCELLED = StageState.UPSTREAM_FAILED, StageState.CANCELLED

FORK = graph({"b": "", "x": "b", "y": "b", "join": "xy"}, {"join": "none_failed"}, {"b": "branch"})


def after(
    stages: StageGraph, ended: str, end: StageState = SUCCESS, choice: Any = None, **others: StageState
) -> dict[str, StageState]:
    """The states after one stage ended so; all others stand in `none` unless named."""
    states = {**dict.fromkeys(stages.stages, NONE), **others, ended: end}
    waiting = {stage: waiting_of(stages, states, stage) for stage in states}
    candidates = candidates_after(stages, ended, end, waiting)
    return written(states, advance(stages, states, candidates, choices={ended: choice}))


def written(states: Mapping[str, StageState], steps: list[Step]) -> dict[str, StageState]:
    now = dict(states)
    for step in steps:
        match step:
            case QueueStage(stage):
                now[stage] = QUEUED
            case EndStage(stage, end):
                now[stage] = end
            case ResetStage(stage):
                now[stage] = NONE
    return now


def test_what_a_branch_did_not_choose_is_skipped_and_what_joins_goes_by_its_rule() -> None:
    assert after(FORK, "b", choice=["x"]) == {"b": SUCCESS, "x": QUEUED, "y": SKIPPED, "join": NONE}
    assert after(FORK, "b", choice=[]) == {"b": SUCCESS, "x": SKIPPED, "y": SKIPPED, "join": QUEUED}


def test_a_direct_downstream_to_which_a_chosen_one_leads_is_left_to_its_rule() -> None:
    stages = graph({"b": "", "x": "b", "join": "bx"}, {"join": "none_failed"}, {"b": "branch"})
    assert after(stages, "b", choice=["x"]) == {"b": SUCCESS, "x": QUEUED, "join": NONE}
    assert after(stages, "b", choice=["join"]) == {"b": SUCCESS, "x": SKIPPED, "join": QUEUED}


def test_a_choice_that_names_what_is_not_there_is_passed_over() -> None:
    assert after(FORK, "b", choice=["gone", "x"])["x"] == QUEUED
    assert after(FORK, "b", choice=["gone", "join"])["x"] == SKIPPED  # join is not direct


def test_a_stage_is_chosen_by_any_of_its_nodes() -> None:
    loading = {**FORK.stages, "x": replace(FORK["x"], nodes=("x", "load"))}
    assert after(replace(FORK, stages=loading), "b", choice="load")["x"] == QUEUED


SHORT = {"s": "", "x": "s", "y": "x", "other": "", "z": ("y", "other")}


def test_a_false_short_circuit_skips_all_below_whatever_their_rule() -> None:
    for rule in TRIGGER_RULES:
        stages = graph(SHORT, {"y": rule, "z": rule}, {"s": "short_circuit"})
        states = after(stages, "s", choice=False, other=QUEUED)
        assert states == {"s": SUCCESS, "x": SKIPPED, "y": SKIPPED, "other": QUEUED, "z": SKIPPED}


def test_or_its_direct_downstreams_alone_and_those_below_go_by_their_rules() -> None:
    stages = graph(SHORT, {"y": "all_done"}, {"s": "short_circuit_direct"})
    states = after(stages, "s", choice=False, other=QUEUED)
    assert states == {"s": SUCCESS, "x": SKIPPED, "y": QUEUED, "other": QUEUED, "z": NONE}


@pytest.mark.parametrize("rule", TRIGGER_RULES)
@pytest.mark.parametrize("standing", [NONE, QUEUED, RUNNING])
def test_what_an_open_one_can_still_forbid_waits_for_it_whatever_its_rule(
    rule: str, standing: StageState
) -> None:
    forked = graph({"b": "", "a": "", "x": "ba"}, {"x": rule}, {"b": "branch"})
    shorted = graph({"s": "", "m": "s", "a": "", "x": "ma"}, {"x": rule}, {"s": "short_circuit"})
    for end in STAGE_ENDS:
        assert advance(forked, {"b": standing, "a": end, "x": NONE}, ["x"]) == []
        assert advance(shorted, {"s": standing, "m": SUCCESS, "a": end, "x": NONE}, ["x"]) == []


def test_what_waited_for_a_short_circuit_alone_is_judged_when_that_ends_however_it_ends() -> None:
    """`z` runs always, and is no child of the short-circuit: no count of upstreams would wake it."""
    stages = graph(SHORT, {"z": "always"}, {"s": "short_circuit"})
    assert after(stages, "s", choice=True, other=QUEUED)["z"] == QUEUED
    assert after(stages, "s", FAILED, other=QUEUED)["z"] == QUEUED
    assert after(stages, "s", CANCELLED, other=QUEUED)["z"] == QUEUED
    above = graph({"a": "", **SHORT, "s": "a"}, {"z": "always"}, {"s": "short_circuit"})
    assert after(above, "a", FAILED, other=QUEUED) == {  # the short-circuit never ran
        "a": FAILED, "s": UPSTREAM_FAILED, "x": UPSTREAM_FAILED, "y": UPSTREAM_FAILED,
        "other": QUEUED, "z": QUEUED,
    }  # fmt: skip


@pytest.mark.parametrize("end", [SUCCESS, FAILED, SKIPPED, CANCELLED])
def test_one_that_stored_no_choice_forbids_nothing(end: StageState) -> None:
    """Failed, skipped, or marked a success without having run: the rules decide, as in Airflow."""
    stages = graph({"b": "", "x": "b", "y": "b"}, {"x": "all_done", "y": "all_success"}, {"b": "branch"})
    states = after(stages, "b", end)
    assert states["x"] == QUEUED
    assert states["y"] == {SUCCESS: QUEUED, SKIPPED: SKIPPED}.get(end, UPSTREAM_FAILED)


def test_a_choice_counts_only_while_its_branch_stands_as_a_success() -> None:
    stages = graph({"b": "", "x": "b"}, {"x": "all_failed"}, {"b": "branch"})
    assert after(stages, "b", FAILED, choice=[]) == {"b": FAILED, "x": QUEUED}


def test_two_branches_over_one_stage_either_may_forbid_it() -> None:
    stages = graph({"a": "", "b": "", "x": "ab"}, None, {"a": "branch", "b": "branch"})
    assert after(stages, "a", choice=[], b=QUEUED)["x"] == SKIPPED  # b cannot change it any more
    assert after(stages, "a", choice=["x"], b=QUEUED)["x"] == NONE


def test_after_a_verb_what_a_choice_forbids_stays_skipped() -> None:
    states = {"b": SUCCESS, "x": SUCCESS, "y": NONE, "join": SUCCESS}
    assert rejudge(FORK, states, {"b", "x", "join"}, choices={"b": ["x"]}) == [EndStage("y", SKIPPED)]
    assert rejudge(FORK, {**states, "y": SKIPPED}, {"b", "x", "join"}, choices={"b": ["x"]}) == []


def test_a_cleared_branch_is_waited_for_again_by_what_never_ran() -> None:
    states = {"b": QUEUED, "x": QUEUED, "y": SKIPPED, "join": NONE}
    assert rejudge(FORK, states, {"b"}) == [ResetStage("x"), ResetStage("y")]
    assert rejudge(FORK, states, {"b", "x"}) == [ResetStage("y")]  # x ran: no verb named it


def test_a_cleared_branch_may_choose_otherwise() -> None:
    states = {"b": SUCCESS, "x": SUCCESS, "y": NONE, "join": NONE}
    chosen = written(states, advance(FORK, states, ["x", "y"], choices={"b": ["y"]}))
    assert chosen == {"b": SUCCESS, "x": SUCCESS, "y": QUEUED, "join": NONE}


class Read(Mapping[str, StageState]):
    """States that remember who was looked at."""

    def __init__(self, states: Mapping[str, StageState]) -> None:
        self._states, self.seen = states, set[str]()

    def __getitem__(self, stage: str) -> StageState:
        self.seen.add(stage)
        return self._states[stage]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all states of a run were read")

    def __len__(self) -> int:
        raise AssertionError("all states of a run were counted")


def test_an_end_looks_at_no_stage_that_cannot_matter() -> None:
    """In a run of ten thousand stages: at the candidates, what is above them, and what can forbid them."""
    chain = {f"c{i}": (f"c{i - 1}",) if i else () for i in range(10_000)}
    stages = graph_of_chain(chain, {f"c{i}": "branch" for i in range(0, 10_000, 10)})
    states = Read(dict.fromkeys(chain, NONE) | {f"c{i}": SUCCESS for i in range(5001)})
    candidates = list(candidates_after(stages, "c4999", SUCCESS, {"c5000": 0}))
    assert candidates == ["c5000"]
    candidates = list(candidates_after(stages, "c5000", SUCCESS, {"c5001": 0}))
    steps = advance(stages, states, candidates, choices={"c5000": ["c5001"]})
    assert steps == [QueueStage("c5001")]
    assert states.seen == {"c5000", "c5001"}


def graph_of_chain(chain: Mapping[str, tuple[str, ...]], branches: Mapping[str, Branching]) -> StageGraph:
    """A long chain: `graph` looks for the downstreams of each stage in all of them."""
    names = [*chain, None]
    stages = {
        stage: Stage(stage, (stage,), up, (below,) if below else (), branch=branches.get(stage))
        for (stage, up), below in zip(chain.items(), names[1:], strict=True)
    }
    return StageGraph(stages)
