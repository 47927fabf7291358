"""Every pair of places: one attempt is stopped at any of its steps, the next meets it at any of its own.

A scenario takes a fresh world and two numbers of steps, and answers which of the two it could reach; the
sweep goes through all pairs. What follows is `settle`: everything must come to a good end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

from .explorer import pace_of, settle
from .files import SingleFileOutput
from .invariants import Violation
from .store import Refused
from .world import RUNS, World

Reached = tuple[bool, bool]
Scenario = Callable[[World, int, int], Reached]

FIRST, OTHER = RUNS


def next_attempt(world: World, run: str, host: int = 0) -> int:
    """Claim the queued attempt of the run; 0, which never lives, where the claim must wait."""
    queued = [attempt.id for attempt in world.queued() if attempt.run == run]
    try:
        world.claim(queued[0], pace_of(queued[0]), host)
    except Refused:
        return 0
    return queued[0]


def walk(world: World, attempt: int, steps: int) -> bool:
    """Let the attempt make so many steps; whether it could, and still lives. One that waits stands still."""
    for _ in range(steps):
        if attempt not in world.lives:
            return False
        world.step(attempt)
        if attempt in world.lives and world.lives[attempt].waiting:
            return False
    return attempt in world.lives


def lose(world: World, attempt: int, *, killed: bool = False) -> None:
    """The attempt is declared lost, unless it has reported its end; it is killed before, or a zombie now."""
    if killed and attempt in world.lives:
        world.kill(attempt)
    with suppress(Refused):
        world.take_away(attempt)


def waits_for_claim(world: World, run: str) -> bool:
    """Whether an attempt of the run is queued."""
    return any(attempt.run == run for attempt in world.queued())


def run_out(world: World, *attempts: int) -> None:
    """Let attempts run to their end; where one waits for another's lock, both are left to `settle`."""
    for attempt in attempts:
        while attempt in world.lives:
            world.step(attempt)
            if attempt in world.lives and world.lives[attempt].waiting:
                break


def two_kills(world: World, i: int, j: int) -> Reached:
    """A kill at any step, and a second one at any step of the attempt that follows."""
    first = next_attempt(world, FIRST)
    if not walk(world, first, i):
        return False, False
    lose(world, first, killed=True)
    if not waits_for_claim(world, FIRST):
        return True, False
    second = next_attempt(world, FIRST)
    far = walk(world, second, j)
    lose(world, second, killed=True)
    return True, far


def zombie(world: World, i: int, j: int) -> Reached:
    """An attempt is declared lost and lives on: it wakes at any step of its successor and runs out."""
    first = next_attempt(world, FIRST)
    if not walk(world, first, i):
        return False, False
    lose(world, first)
    if not waits_for_claim(world, FIRST):
        return True, False
    second = next_attempt(world, FIRST, host=1)
    far = walk(world, second, j)
    run_out(world, first, second)
    return True, far


def taking_turns(world: World, i: int, j: int) -> Reached:
    """The same, but zombie and successor move in turn."""
    first = next_attempt(world, FIRST)
    if not walk(world, first, i):
        return False, False
    lose(world, first)
    if not waits_for_claim(world, FIRST):
        return True, False
    second = next_attempt(world, FIRST, host=1)
    far = walk(world, second, j)
    while first in world.lives and second in world.lives:
        world.step(first)
        if second in world.lives:
            world.step(second)
        if all(world.lives[each].waiting for each in (first, second) if each in world.lives):
            break
    return True, far


def cleared(world: World, i: int, j: int) -> Reached:
    """A zombie of an earlier life wakes at any step of an attempt that started over."""
    first = next_attempt(world, FIRST)
    if not walk(world, first, i):
        return False, False
    lose(world, first)
    if not waits_for_claim(world, FIRST):
        return True, False
    run_out(world, next_attempt(world, FIRST, host=1))
    with suppress(Refused):
        world.verb("clear", FIRST)
    if not waits_for_claim(world, FIRST):
        return True, False
    third = next_attempt(world, FIRST, host=1)
    far = walk(world, third, j)
    run_out(world, first, third)
    return True, far


def two_runs(world: World, i: int, j: int) -> Reached:
    """Two runs meet at any pair of their steps; the first goes on, then the second."""
    first = next_attempt(world, FIRST)
    if not walk(world, first, i):
        return False, False
    other = next_attempt(world, OTHER, host=1)
    far = walk(world, other, j)
    run_out(world, first, other)
    return True, far


def overtaken(world: World, i: int, j: int) -> Reached:
    """A run is overtaken by another; then it is lost, and its zombie wakes at any step of its successor."""
    first = next_attempt(world, FIRST)
    if not walk(world, first, i):
        return False, False
    run_out(world, next_attempt(world, OTHER, host=1))
    lose(world, first)
    if not waits_for_claim(world, FIRST):
        return True, False
    second = next_attempt(world, FIRST, host=1)
    far = walk(world, second, j)
    run_out(world, second, first)
    return True, far


def freed(world: World, i: int, j: int) -> Reached:
    """The file that was in the way is removed once the run has given up; then its zombie wakes."""
    first = next_attempt(world, FIRST)
    if not walk(world, first, i):
        return False, False
    run_out(world, next_attempt(world, OTHER, host=1))
    lose(world, first)
    if not waits_for_claim(world, FIRST):
        return True, False
    while waits_for_claim(world, FIRST):
        run_out(world, next_attempt(world, FIRST, host=1))
    for output in world.outputs:
        if isinstance(output, SingleFileOutput):
            output.file = None
    with suppress(Refused):
        world.verb("clear", FIRST)
    second = next_attempt(world, FIRST, host=1) if waits_for_claim(world, FIRST) else 0
    far = walk(world, second, j)
    run_out(world, first)
    return True, far


def lose_the_holder(world: World) -> None:
    """The command that holds the run is gone, if it still had something to do."""
    with suppress(Refused):
        world.verb("lose_holder", FIRST)


def abandoned(world: World, i: int, j: int) -> Reached:
    """The holder is lost with a decided epoch; its zombie wakes at any step of the abandon, or after it."""
    first = next_attempt(world, FIRST)
    if not walk(world, first, i):
        return False, False
    lose_the_holder(world)
    if not world.store.stages[FIRST].unresolved:
        return True, False
    world.verb("abandon", FIRST)
    giver = next_attempt(world, FIRST, host=1)
    far = walk(world, giver, j)
    run_out(world, first, giver)
    return True, far


def abandon_killed(world: World, i: int, j: int) -> Reached:
    """The abandon itself is killed at any step, and the user resumes."""
    first = next_attempt(world, FIRST)
    if not walk(world, first, i):
        return False, False
    lose_the_holder(world)
    if first in world.lives:
        world.kill(first)
    if not world.store.stages[FIRST].unresolved:
        return True, False
    world.verb("abandon", FIRST)
    giver = next_attempt(world, FIRST, host=1)
    far = walk(world, giver, j)
    lose_the_holder(world)
    if giver in world.lives:
        world.kill(giver)
    return True, far


def forgotten(world: World, i: int, j: int) -> Reached:
    """The run is pruned although its zombie lives, which wakes afterwards."""
    first = next_attempt(world, FIRST)
    if not walk(world, first, i):
        return False, False
    lose(world, first)
    if not waits_for_claim(world, FIRST):
        return True, False
    run_out(world, next_attempt(world, FIRST, host=1))
    if world.store.stages[FIRST].state == "success":
        world.verb("prune_blind", FIRST)
    run_out(world, first)
    return True, False


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        two_kills,
        zombie,
        taking_turns,
        cleared,
        two_runs,
        overtaken,
        abandoned,
        abandon_killed,
        forgotten,
        freed,
    )
}


def sweep(make: Callable[[], World], scenario: Scenario) -> Iterator[World]:
    """Every pair of steps, each in a world of its own that came to a good end."""
    for i in count():
        reached = (False, False)
        for j in count():
            world = make()
            try:
                reached = scenario(world, i, j)
                settle(world)
            except Violation as broken:
                raise Violation(
                    f"{broken}\n  stopped at {i} and {j}:\n    " + "\n    ".join(world.trace)
                ) from None
            yield world
            if not reached[1]:
                break
        if not reached[0]:
            break
