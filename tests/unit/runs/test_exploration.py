"""Every way in which small runs can go, and long random ways of larger ones, each world against a model.

The search takes every interleaving of claims, ends and choices; the walks add losses, late words of lost
attempts, and verbs. Each seeded bug is one that this search must find.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import pytest

from orchestrator.dag.arguments import TRIGGER_RULES
from orchestrator.dag.stages import Branching, StageGraph
from orchestrator.runs import advance as advancing
from orchestrator.runs import branches, ending, trigger_rules
from orchestrator.runs.states import STAGE_ENDS, Outcome, RunState, StageState
from tests.support.store import graph
from tests.unit.runs.run_world import Event, World

KINDS: tuple[Branching | None, ...] = (None, "branch", "short_circuit", "short_circuit_direct")


def every_way(stages: StageGraph, verbs: int = 0, epochs: bool = False) -> int:
    """Go every way that attempts can end, with up to so many verbs anywhere; how many worlds there were."""
    begun = World.begin(stages, epochs)
    begun.check()
    seen = {begun.key()}
    left = [begun]
    while left:
        world = left.pop()
        events = [*world.attempts(), *(world.possible_verbs() if world.verbs < verbs else ())]
        for event in events:
            after = checked(world, event)
            if (key := after.key()) not in seen:
                seen.add(key)
                left.append(after)
    return len(seen)


def walk(stages: StageGraph, seed: int, steps: int) -> World:
    """One random way, verbs and deaths included, and from its end on undisturbed until the run ends."""
    chance = random.Random(seed)
    world = World.begin(stages, epochs=True)
    for _ in range(steps):
        kinds = [list(world.attempts()), list(world.deaths()), list(world.possible_verbs())]
        (events,) = chance.choices(kinds, (6, 1, 2))
        if events:
            world = checked(world, chance.choice(events))
    world = world.resume()
    while events := [event for event in world.attempts() if onward(event)]:
        world = checked(world, chance.choice(events))
    assert world.state != RunState.RUNNING, "the run is stuck"
    return world


def onward(event: Event) -> bool:
    """Whether an event is one of those of which a run can see only so many."""
    return event[0] != "decide" and event[2:] != (Outcome.FAILED,)


def walk_many() -> None:
    for seed in range(500):
        walk(some(2 + seed % 5, seed, retries=seed % 2), seed, 60)


def checked(world: World, event: Event) -> World:
    """The world after an event; what is wrong with it names the way to it."""
    try:
        after = world.after(event)
        after.check()
    except AssertionError as error:
        named = {stage.id: (stage.up, stage.rule, stage.branch) for stage in world.stages}
        raise AssertionError(f"{error}\n{named}\n{world.states}\n{event}") from error
    return after


def graphs(size: int) -> Iterator[dict[str, str]]:
    """The edges of every graph of so many stages, in topological order."""
    names = "abcdef"[:size]
    pairs = list(combinations(names, 2))
    for chosen in product([False, True], repeat=len(pairs)):
        edges = [pair for pair, there in zip(pairs, chosen, strict=True) if there]
        yield {name: "".join(up for up, down in edges if down == name) for name in names}


def with_every_rule_and_kind(edges: dict[str, str]) -> Iterator[StageGraph]:
    """Every rule where something comes before, every kind of choice where something comes after."""
    joining = [stage for stage, above in edges.items() if above]
    forking = [stage for stage in edges if any(stage in above for above in edges.values())]
    for rules in product(TRIGGER_RULES, repeat=len(joining)):
        for kinds in product(KINDS, repeat=len(forking)):
            chosen = {stage: kind for stage, kind in zip(forking, kinds, strict=True) if kind is not None}
            yield graph(edges, dict(zip(joining, rules, strict=True)), chosen)


def some(size: int, seed: int, **settings: Any) -> StageGraph:
    """A random graph, with random rules and kinds."""
    chance = random.Random(seed)
    names = "abcdefgh"[:size]
    edges = {name: "".join(up for up in names[:i] if chance.random() < 0.45) for i, name in enumerate(names)}
    rules = {name: chance.choice(TRIGGER_RULES) for name in names if chance.random() < 0.7}
    chosen = {name: kind for name in names if (kind := chance.choice((*KINDS, None))) is not None}
    return graph(edges, rules, chosen, **settings)


def test_every_way_of_every_graph_of_up_to_three_stages() -> None:
    worlds = sum(
        every_way(stages)
        for size in (1, 2, 3)
        for edges in graphs(size)
        for stages in with_every_rule_and_kind(edges)
    )
    assert worlds > 50_000, "the search got round something"


def test_every_way_of_random_graphs_of_four_stages() -> None:
    for seed in range(250):
        every_way(some(4, seed))


def test_every_way_of_random_graphs_with_a_verb_anywhere_and_of_some_with_two() -> None:
    """Cancel, clear, retry, mark, pause and resume, of every stage, at every moment."""
    for seed in range(40):
        every_way(some(3, seed), verbs=1)
    pairs: list[tuple[str, Branching | None]] = [
        ("one_failed", "branch"),
        ("always", "short_circuit"),
        ("none_failed", None),
    ]
    for rule, kind in pairs:
        every_way(graph({"a": "", "b": "a"}, {"b": rule}, {"a": kind} if kind else None), 1, epochs=True)
        every_way(graph({"a": "", "b": "a"}, {"b": rule}, {"a": kind} if kind else None, retries=1), verbs=2)


def test_long_random_ways_with_verbs_losses_and_late_words() -> None:
    """Whatever people and crashes do: no stage stands wrong, none is stuck, and the run can end."""
    walk_many()


def ends_with_its_leaves(patch: pytest.MonkeyPatch) -> None:
    def over(world: World, states: advancing.States) -> bool:
        return all(states[stage.id] in STAGE_ENDS for stage in world.stages if not stage.down)

    patch.setattr(World, "_is_over", over)


def verb_without_recount(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "_recount", lambda world: world)


def clear_beside_a_live_attempt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "_cleared", lambda world, stage: world._set(stage, state=StageState.NONE, ran=False))


def pause_overwrites_stop_as(patch: pytest.MonkeyPatch) -> None:
    def pause(world: World) -> World:
        running = [stage for stage, row in world._named() if row.attempt == "running"]
        for stage in running:
            world = world._set(stage, stop_as=None)
        return replace(world, paused=True)

    patch.setattr(World, "pause", pause)


def branch_judged_after_its_target(patch: pytest.MonkeyPatch) -> None:
    """Nobody waits for an open branch: only what has been chosen already is looked at."""
    real = branches.judge

    def judge(*arguments: Any) -> trigger_rules.Verdict | None:
        found = real(*arguments)
        return None if found == trigger_rules.Verdict.WAIT else found

    patch.setattr(branches, "judge", judge)


def end_of_a_branch_wakes_its_children_alone(patch: pytest.MonkeyPatch) -> None:
    real = advancing.candidates_after

    def children(stages: StageGraph, stage: str, end: StageState, waiting: Any) -> Iterator[str]:
        return (found for found in real(stages, stage, end, waiting) if waiting.get(found) == 0)

    patch.setattr(advancing, "candidates_after", children)
    patch.setattr(advancing, "_may_follow", lambda stages, stage: stages[stage].down)


def cancel_leaves_none_open(patch: pytest.MonkeyPatch) -> None:
    def rejudge(*arguments: Any, cancel_cause: str | None = None, **named: Any) -> list[advancing.Step]:
        return [] if cancel_cause else real(*arguments, **named)

    real = advancing.rejudge
    patch.setattr(advancing, "rejudge", rejudge)


def one_rule_judged_twice(patch: pytest.MonkeyPatch) -> None:
    """What is queued or has run is judged again when another upstream ends."""
    real = advancing.advance

    def advance(stages: StageGraph, states: Any, candidates: Any, **named: Any) -> list[advancing.Step]:
        wanted = list(candidates)
        return real(stages, {**states, **dict.fromkeys(wanted, StageState.NONE)}, wanted, **named)

    patch.setattr(advancing, "advance", advance)


def skipped_taken_for_failed(patch: pytest.MonkeyPatch) -> None:
    counted = {**trigger_rules._COUNTED_AS, StageState.SKIPPED: "failed"}
    patch.setattr(trigger_rules, "_COUNTED_AS", counted)


def failed_taken_for_skipped(patch: pytest.MonkeyPatch) -> None:
    counted = {**trigger_rules._COUNTED_AS, StageState.FAILED: "skipped"}
    patch.setattr(trigger_rules, "_COUNTED_AS", counted)


def choice_forgotten_by_a_verb(patch: pytest.MonkeyPatch) -> None:
    real = advancing.rejudge

    def rejudge(*arguments: Any, **named: Any) -> list[advancing.Step]:
        return real(*arguments, **{**named, "choices": {}})

    patch.setattr(advancing, "rejudge", rejudge)


def bounced_finish_advances(patch: pytest.MonkeyPatch) -> None:
    def late(world: World, stage: str, outcome: Outcome) -> World:
        row = world[stage]
        if row.attempt:
            world = world._end(stage, StageState.SUCCESS, None)
        return world

    patch.setattr(World, "late", late)


def outcome_in_place_of_stop_as(patch: pytest.MonkeyPatch) -> None:
    """A stage that is being cleared, and ends first, is done."""
    real = ending.fate
    patch.setattr(ending, "fate", lambda situation: real(replace(situation, stop_as=None)))


def ends_though_an_epoch_is_owed(patch: pytest.MonkeyPatch) -> None:
    real = ending.fate
    patch.setattr(ending, "fate", lambda situation: real(replace(situation, owed=False)))


def verb_ends_what_owes_an_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "_must_wait", lambda world, stage: world[stage].attempt == "running")


# Each takes one rule away, by a function of ours that is replaced or one that stands for what the store does;
# with what the search says of it.
BUGS: dict[Callable[[pytest.MonkeyPatch], None], str] = {
    ends_with_its_leaves: "ends with its last open stage",
    verb_without_recount: "waiting is too low",
    clear_beside_a_live_attempt: "its attempt",
    pause_overwrites_stop_as: "was forgotten",
    outcome_in_place_of_stop_as: "was forgotten",
    branch_judged_after_its_target: "stands wrong",
    end_of_a_branch_wakes_its_children_alone: "stands wrong",
    cancel_leaves_none_open: "a cancel left it open",
    one_rule_judged_twice: "decided twice",
    skipped_taken_for_failed: "stands wrong",
    failed_taken_for_skipped: "stands wrong",
    choice_forgotten_by_a_verb: "stands wrong",
    ends_though_an_epoch_is_owed: "an epoch is owed",
    verb_ends_what_owes_an_epoch: "an epoch is owed",
    bounced_finish_advances: "its attempt",
}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_seeded_bug_is_found(
    bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)
    with pytest.raises(AssertionError, match=BUGS[bug]):
        walk_many()
