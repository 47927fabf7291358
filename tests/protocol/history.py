"""The words in which the tests of single rules tell a history."""

from __future__ import annotations

from .attempt import Pace
from .sql import TableOutput
from .sweeps import FIRST, run_out
from .world import World

ONE_ROW = Pace(rows=1)


def claim(world: World, run: str = FIRST, pace: Pace = ONE_ROW, host: int = 0) -> int:
    number = next(attempt.id for attempt in world.queued() if attempt.run == run)
    world.claim(number, pace, host)
    return number


def walk_to(world: World, attempt: int, step: str, passing: int = 1) -> None:
    """Stop the attempt right after the step."""
    while passing:
        name = world.step(attempt)
        assert name is not None, f"the attempt ended before {step}"
        passing -= name == step


def outcome(world: World, attempt: int) -> tuple[str | None, bool]:
    """How the attempt ended, and whether another try could help."""
    run_out(world, attempt)
    row = world.store.attempts[attempt]
    return row.outcome, world.store.stages[row.run].retry_helps


def table(world: World) -> TableOutput:
    output = world.outputs[0]
    assert isinstance(output, TableOutput)
    return output


def indexes(world: World, run: str = FIRST) -> list[int]:
    return sorted(row.place for row in world.outputs[0].visible() if row.run == run)
