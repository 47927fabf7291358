"""Each rule taken away is noticed; with the rule in place the same histories are clean."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from .bugs import FURTHER, LISTED, Bug
from .explorer import wander
from .invariants import Violation
from .sweeps import SCENARIOS, sweep
from .world import World

BUDGET = 600
"""Random histories in which a bug must show."""


def histories(bug: Bug, budget: int) -> Iterator[World]:
    """Those in which the bug is looked for, in a fixed order."""
    if bug.scenario:
        yield from sweep(lambda: World(bug.targets, bug.dag_scoped), SCENARIOS[bug.scenario])
        return
    for seed in range(budget):
        world = World(bug.targets, bug.dag_scoped)
        wander(world, seed, verbs=bug.verbs, zombies=bug.zombies)
        yield world


def clean_before_violation(bug: Bug) -> int | None:
    """How many histories come to a good end before one does not; None where all do."""
    clean = 0
    try:
        for _ in histories(bug, BUDGET):
            clean += 1
    except Violation:
        return clean
    return None


@pytest.mark.parametrize("bug", LISTED + FURTHER, ids=lambda bug: bug.name)
def test_a_rule_taken_away_is_noticed(bug: Bug) -> None:
    with bug.seeded():
        clean = clean_before_violation(bug)
    assert clean is not None, "no history shows it"
    assert sum(1 for _ in islice(histories(bug, BUDGET), clean + 1)) == clean + 1


def test_every_listed_bug_is_here() -> None:
    assert len({bug.name for bug in LISTED}) == 18
    assert len({bug.name for bug in LISTED + FURTHER}) == len(LISTED + FURTHER)


def test_a_bug_leaves_the_model_as_it_was() -> None:
    before = [getattr(owner, name) for bug in LISTED for owner, name, _ in bug.replacements]
    for bug in LISTED:
        with bug.seeded():
            pass
    assert before == [getattr(owner, name) for bug in LISTED for owner, name, _ in bug.replacements]
