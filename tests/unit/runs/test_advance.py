"""Advancing a run is judged by the graph and the states alone, whatever the order of ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dag.arguments import TRIGGER_RULES
from orchestrator.dag.stages import StageGraph
from orchestrator.runs.advance import (
    EndStage,
    QueueStage,
    ResetStage,
    Step,
    advance,
    candidates_after,
    rejudge,
    result,
    waiting_of,
)
from orchestrator.runs.states import STAGE_ENDS, RunState, StageState
from orchestrator.runs.trigger_rules import Verdict
from tests.support.store import graph
from tests.unit.runs.rule_model import EARLY, expected, verdict

NONE, QUEUED, RUNNING = StageState.NONE, StageState.QUEUED, StageState.RUNNING
SUCCESS, FAILED, SKIPPED = StageState.SUCCESS, StageState.FAILED, StageState.SKIPPED
UPSTREAM_FAILED, CANCELLED = StageState.UPSTREAM_FAILED, StageState.CANCELLED

CHAIN = graph({"a": "", "b": "a", "c": "b"})
DIAMOND = graph({"a": "", "b": "a", "c": "a", "d": "bc"})


@st.composite
def graphs(draw: st.DrawFn, rules: tuple[str, ...] = TRIGGER_RULES) -> StageGraph:
    names = "abcdefg"[: draw(st.integers(1, 7))]
    return graph(
        {name: draw(st.sets(st.sampled_from(names[:i]))) if i else () for i, name in enumerate(names)},
        {name: draw(st.sampled_from(rules)) for name in names},
    )


def begin(stages: StageGraph) -> dict[str, StageState]:
    """The states of a run that has just been promoted."""
    none = dict.fromkeys(stages.stages, NONE)
    return followed(stages, none, advance(stages, none, list(stages.stages)))


def ended(
    stages: StageGraph, states: Mapping[str, StageState], stage: str, end: StageState
) -> dict[str, StageState]:
    """The states after a queued stage has run and ended so."""
    now = {**states, stage: end}
    waiting = {name: waiting_of(stages, now, name) for name in now}
    return followed(stages, now, advance(stages, now, candidates_after(stages, stage, end, waiting)))


def followed(
    stages: StageGraph, states: Mapping[str, StageState], steps: Iterable[Step]
) -> dict[str, StageState]:
    """The states after these steps; asserts what holds of every step and every standing of a run."""
    now = dict(states)
    for step in steps:
        match step:
            case QueueStage(stage):
                new = QUEUED
            case EndStage(stage, new):
                pass
        assert now[stage] == NONE, f"{stage} is decided once"
        assert decidable(stages, now, stage), f"{stage} is decided too early"
        now[stage] = new
    left = [stage for stage, state in now.items() if state == NONE and decidable(stages, now, stage)]
    assert left == [], "what can be decided is not left waiting"
    return now


def decidable(stages: StageGraph, states: Mapping[str, StageState], stage: str) -> bool:
    """Whether a stage may leave `none`: all above it have ended, or one so that its rule is certain."""
    above, rule = [states[up] for up in stages[stage].up], stages[stage].rule
    return rule == "always" or all(up in STAGE_ENDS for up in above) or any(up in EARLY[rule] for up in above)


def play(stages: StageGraph, ends: Mapping[str, StageState], pick: Iterator[int]) -> dict[str, StageState]:
    """A whole run: of what is queued, `pick` says which ends next, `ends` how."""
    states = begin(stages)
    while queued := [stage for stage, state in states.items() if state == QUEUED]:
        stage = queued[next(pick) % len(queued)]
        states = ended(stages, states, stage, ends.get(stage, SUCCESS))
    return states


def every_end(stages: StageGraph, ends: Mapping[str, StageState]) -> list[dict[str, StageState]]:
    """The states in which a run can end, over every order in which its stages can."""
    found: list[dict[str, StageState]] = []
    seen: set[tuple[StageState, ...]] = set()
    ways = [begin(stages)]
    while ways:
        states = ways.pop()
        if tuple(states.values()) in seen:
            continue
        seen.add(tuple(states.values()))
        queued = [stage for stage, state in states.items() if state == QUEUED]
        ways += [ended(stages, states, stage, ends[stage]) for stage in queued]
        found += [] if queued else [states]
    return found


def that_ran(stages: StageGraph, states: Mapping[str, StageState]) -> set[str]:
    """The stages of an ended run whose rule let them run."""
    return {
        stage.id for stage in stages if verdict(stage.rule, [states[up] for up in stage.up]) == Verdict.RUN
    }


@given(graphs(), st.data())
def test_the_ends_of_a_run_depend_on_how_stages_end_and_not_on_their_order(
    stages: StageGraph, data: st.DataObject
) -> None:
    """Whatever the rules: a rule that decides early moves when a stage starts, never how any ends."""
    ends = {stage.id: data.draw(st.sampled_from([SUCCESS, FAILED, SKIPPED, CANCELLED])) for stage in stages}
    picks = data.draw(st.lists(st.integers(0, 6), min_size=7, max_size=7))
    assert play(stages, ends, iter(picks)) == expected(stages, ends)


def with_every_rule(edges: Mapping[str, str]) -> Iterator[StageGraph]:
    """The graph with every rule on each stage that has upstreams."""
    joining = [stage for stage, above in edges.items() if above]
    for rules in product(TRIGGER_RULES, repeat=len(joining)):
        yield graph(edges, dict(zip(joining, rules, strict=True)))


def test_every_order_of_every_graph_of_three_stages_gives_the_same_ends() -> None:
    for b, c in product(["", "a"], ["", "a", "b", "ab"]):
        for stages in with_every_rule({"a": "", "b": b, "c": c}):
            for kinds in product([SUCCESS, FAILED, SKIPPED], repeat=3):
                ends = dict(zip("abc", kinds, strict=True))
                assert every_end(stages, ends) == [expected(stages, ends)], (stages, ends)


@pytest.mark.parametrize(
    "edges",
    [{"a": "", "b": "", "c": "", "d": "abc"}, {"a": "", "b": "", "c": "ab", "d": "c"}],
    ids=["fan-in", "fan-in and one more"],
)
def test_every_order_of_a_fan_in_gives_the_same_ends(edges: dict[str, str]) -> None:
    for stages in with_every_rule(edges):
        for kinds in product([SUCCESS, FAILED, SKIPPED, CANCELLED], repeat=4):
            ends = dict(zip("abcd", kinds, strict=True))
            assert every_end(stages, ends) == [expected(stages, ends)], (stages, ends)


def test_every_order_of_a_diamond_gives_the_same_ends() -> None:
    for stages in with_every_rule({"a": "", "b": "a", "c": "a", "d": "bc"}):
        for kinds in product([SUCCESS, FAILED], repeat=3):
            ends = dict(zip("abc", kinds, strict=True)) | {"d": SUCCESS}
            assert every_end(stages, ends) == [expected(stages, ends)], (stages, ends)


@pytest.mark.parametrize(
    ("rule", "end", "becomes"),
    [
        ("one_success", SUCCESS, QUEUED),
        ("one_failed", FAILED, QUEUED),
        ("one_done", CANCELLED, QUEUED),
        ("none_skipped", SKIPPED, SKIPPED),
        ("all_failed", SUCCESS, SKIPPED),
        ("none_failed", FAILED, UPSTREAM_FAILED),
        ("all_done", SUCCESS, NONE),
    ],
)
def test_a_rule_that_is_certain_does_not_wait_for_the_others_and_decides_once(
    rule: str, end: StageState, becomes: StageState
) -> None:
    stages = graph({"a": "", "b": "", "c": "ab"}, {"c": rule})
    states = ended(stages, begin(stages), "a", end)
    assert states == {"a": end, "b": QUEUED, "c": becomes}
    if becomes != NONE:
        assert ended(stages, states, "b", end)["c"] == becomes


def test_a_stage_that_runs_always_begins_with_the_run_and_may_end_before_those_above_it() -> None:
    stages = graph({"a": "", "b": "a"}, {"b": "always"})
    states = ended(stages, begin(stages), "b", SUCCESS)
    assert states == {"a": QUEUED, "b": SUCCESS}
    assert ended(stages, states, "a", FAILED) == {"a": FAILED, "b": SUCCESS}
    assert result(stages, {"a": FAILED, "b": SUCCESS}) == RunState.SUCCESS


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
    assert steps == [EndStage("b", CANCELLED), EndStage("c", CANCELLED)]


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
    assert rejudge(stages, states, that_ran(stages, states)) == []


def test_after_a_verb_what_waits_in_the_queue_stays_there_only_while_its_rule_says_so() -> None:
    stages = graph({"a": "", "b": "", "c": "ab"}, {"c": "one_failed"})
    states = {"a": FAILED, "b": FAILED, "c": QUEUED}
    assert rejudge(stages, {**states, "a": QUEUED}, {"a", "b"}) == []
    assert rejudge(stages, {"a": QUEUED, "b": QUEUED, "c": QUEUED}, {"a", "b"}) == [ResetStage("c")]


def test_after_a_verb_a_stage_that_had_been_skipped_runs_where_its_rule_says_so_now() -> None:
    stages = graph({"a": "", "b": "a", "c": "b"}, {"b": "one_failed", "c": "all_skipped"})
    states = {"a": FAILED, "b": SKIPPED, "c": QUEUED}
    assert rejudge(stages, states, {"a"}) == [ResetStage("b"), QueueStage("b"), ResetStage("c")]


def retry(stages: StageGraph, states: dict[str, StageState]) -> dict[str, StageState]:
    """Retry what failed, and run all that may run then; everything ends well this time."""
    ran = that_ran(stages, states)
    now = {stage: QUEUED if state == FAILED else state for stage, state in states.items()}
    while True:
        for step in rejudge(stages, now, ran):
            match step:
                case QueueStage(stage):
                    now[stage] = QUEUED
                case EndStage(stage, end):
                    now[stage] = end
                case ResetStage(stage):
                    now[stage] = NONE
        stage = next((stage for stage, state in now.items() if state == QUEUED), "")
        if not stage:
            return now
        now[stage] = SUCCESS
        ran.add(stage)


@given(graphs(("all_success",)), st.data())
def test_retrying_what_failed_leads_to_the_same_ends_as_a_run_that_never_failed(
    stages: StageGraph, data: st.DataObject
) -> None:
    ends = {stage.id: data.draw(st.sampled_from([SUCCESS, FAILED])) for stage in stages}
    assert set(retry(stages, play(stages, ends, iter([0] * 7))).values()) == {SUCCESS}


@given(graphs(), st.data())
def test_retrying_leaves_what_ran_and_gives_all_others_what_their_rules_say_in_the_end(
    stages: StageGraph, data: st.DataObject
) -> None:
    ends = {stage.id: data.draw(st.sampled_from([SUCCESS, FAILED])) for stage in stages}
    before = play(stages, ends, iter([0] * 7))
    after = retry(stages, before)
    for stage in stages:
        if stage.id in that_ran(stages, before):
            assert after[stage.id] == SUCCESS
        else:
            found = verdict(stage.rule, [after[up] for up in stage.up])
            assert (found == Verdict.RUN) == (after[stage.id] == SUCCESS)
            assert (found == Verdict.SKIP) == (after[stage.id] == SKIPPED)
