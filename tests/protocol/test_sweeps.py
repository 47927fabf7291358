"""Every pair of steps: a kill and a second one, a zombie at any step of its successor, two runs that meet."""

from __future__ import annotations

import pytest

from .names import STEPS
from .sweeps import SCENARIOS, sweep
from .world import World

ONE = ("append", "upsert", "overwrite", "folder", "grown", "joined")
PAIR = ("append", "folder")
WORLDS: dict[str, list[tuple[str, ...]]] = {
    "two_kills": [("append",), ("overwrite",), ("folder",), ("joined_if_absent",), ("append", "grown")],
    "zombie": [*((kind,) for kind in ONE), ("grown_if_absent",), PAIR],
    "taking_turns": [("append",), ("folder",), ("grown",), ("upsert", "joined")],
    "cleared": [(kind,) for kind in ONE],
    "two_runs": [("append",), ("overwrite",), ("folder",), ("joined",), ("grown_if_absent",)],
    "overtaken": [("overwrite",), ("upsert",), ("joined_if_absent",), ("append", "grown_if_absent")],
    "abandoned": [*((kind,) for kind in ONE), ("grown_if_absent",), PAIR, ("append", "joined_if_absent")],
    "abandon_killed": [
        *((kind,) for kind in ONE),
        ("joined_if_absent",),
        PAIR,
        ("append", "joined_if_absent"),
    ],
    "forgotten": [(kind,) for kind in ONE],
    "freed": [("grown_if_absent",), ("joined_if_absent",)],
}
CASES = [(name, targets) for name, worlds in WORLDS.items() for targets in worlds]
CURSOR_CASES = [
    (name, (kind,))
    for name in ("two_kills", "zombie", "cleared", "two_runs", "overtaken", "abandoned")
    for kind in ("append", "upsert", "grown")
]


def name_of(value: object) -> str:
    return value if isinstance(value, str) else "+".join(map(str, value)) if isinstance(value, tuple) else ""


@pytest.mark.parametrize(("scenario", "targets"), CASES, ids=name_of)
def test_nothing_lost_doubled_or_stuck_at_any_pair_of_steps(scenario: str, targets: tuple[str, ...]) -> None:
    assert sum(1 for _ in sweep(lambda: World(targets), SCENARIOS[scenario])) > 20


@pytest.mark.parametrize(("scenario", "targets"), CURSOR_CASES, ids=name_of)
def test_nothing_lost_doubled_or_stuck_with_a_cursor(scenario: str, targets: tuple[str, ...]) -> None:
    assert sum(1 for _ in sweep(lambda: World(targets, dag_scoped=True), SCENARIOS[scenario])) > 20


def test_every_listed_step_is_passed() -> None:
    """A step that no history passes would be a rule that no test sees."""
    passed: set[str] = set()
    for targets in (("append", "folder"), ("append", "grown")):
        for world in sweep(lambda targets=targets: World(targets, size=1), SCENARIOS["abandoned"]):  # type: ignore[misc]
            passed |= world.steps_passed
    assert passed == set(STEPS)
