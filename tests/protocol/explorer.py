"""Two ways through the world's possible histories, both deterministic.

`wander` takes random actions from a seed; `sweep` goes through every pair of places at which one attempt
is stopped and the next one meets it. Both end with `settle`: whatever happened, everything must come to
a good end by what a rescuer and a user can do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from .attempt import Pace
from .invariants import Violation, require
from .store import Refused
from .world import World

Action = Callable[[], object]


def pace_of(attempt_id: int) -> Pace:
    """Every try cuts its epochs elsewhere: that is what makes a mixed-up part show."""
    return Pace(rows=1 + attempt_id % 2, ahead=attempt_id % 3 == 0)


def settle(world: World) -> None:
    """Zombies run out or are cut off, lost attempts are noticed, users resume or clear: all runs succeed."""
    for _ in range(2000):
        if not move_on(world):
            break
    else:
        raise Violation("stuck: no end in sight")
    for run, stage in world.store.stages.items():
        good = stage.state == "success" or may_stay_failed(world, run)
        require(good, "nothing is stuck", run, stage.state, stage.stop_as, stage.unresolved)


def may_stay_failed(world: World, run: str) -> bool:
    """A run whose target exists already, or that lost the cursor and must not be cleared (rules 4.3, 6.5)."""
    stage = world.store.stages[run]
    return stage.state in ("failed", "cancelled") and not stage.retry_helps and bool(refusal(world))


def refusal(world: World) -> str:
    """Why a failed run can neither go on nor start over with success."""
    if any(getattr(output, "error_if_exists", False) and output.visible() for output in world.outputs):
        return "the file exists"
    if world.dag_scoped and any(output.whole for output in world.outputs):
        return "another run moved the cursor"
    return ""


def move_on(world: World) -> bool:
    """One thing that a process, a rescuer or a user would do next; False when nothing is left to do."""
    for number in sorted(world.lives):
        life = world.lives[number]
        if life.waiting and (holder := lock_holder(world, number)) is not None:
            world.cut(holder)
        world.step(number)
        return True
    for number in world.unnoticed():
        world.take_away(number)
        return True
    for attempt in world.queued():
        with suppress(Refused):
            world.claim(attempt.id, pace_of(attempt.id))
            return True
    return any(rescue(world, run) for run in list(world.store.stages))


def lock_holder(world: World, waiting: int) -> int | None:
    """Who holds what the attempt waits for, if it is no process that will move by itself."""
    holders = {session.attempt for table in world.tables() for session in table.locks.values()} - {waiting}
    return min(holders, default=None)


def rescue(world: World, run: str) -> bool:
    """What a user does with a run that ended badly: resume, else clear."""
    stage = world.store.stages[run]
    if stage.state not in ("failed", "cancelled") or may_stay_failed(world, run):
        return False
    for verb in ("resume", "clear") if stage.retry_helps else ("clear",):
        with suppress(Refused):
            world.verb(verb, run)
            return True
    return False


def actions(world: World, verbs: tuple[str, ...], zombies: int) -> Iterator[tuple[int, Action]]:
    """Everything that can happen next, with its weight."""
    for number, life in world.lives.items():
        yield 12, partial(world.step, number)
        yield 1, partial(world.kill, number)
        if life.waiting or any(s.attempt == number for table in world.tables() for s in table.sessions):
            yield 1, partial(world.cut, number)
        if life.attempt.state == "running" and len(world.zombies()) < zombies:
            yield 2, partial(world.take_away, number)
    for number in world.unnoticed():
        yield 6, partial(world.take_away, number)
    for attempt in world.queued():
        for host in (0, 1):
            yield 4, partial(world.claim, attempt.id, pace_of(attempt.id), host)
    for run in world.store.stages:
        for verb in verbs:
            yield 1, partial(world.verb, verb, run)


def wander(
    world: World, seed: int, *, steps: int = 60, verbs: tuple[str, ...] = (), zombies: int = 1
) -> None:
    """A random history, then a good end. Whoever moves tends to go on: races need one that stands still."""
    chance = random.Random(seed)
    mover: int | None = None
    for _ in range(steps):
        if chance.random() < 0.05:
            world.answers_to_lose = 1
        if mover in world.lives and not world.lives[mover].waiting and chance.random() < 0.8:
            world.step(mover)
            continue
        choices = list(actions(world, verbs, zombies))
        if not choices:
            break
        with suppress(Refused):
            chance.choices([act for _, act in choices], [weight for weight, _ in choices])[0]()
        mover = chance.choice([*world.lives, None])
    world.answers_to_lose = 0
    settle(world)
