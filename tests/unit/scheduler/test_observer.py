"""Who is dead by silence: judged by the observer's own monotonic clock, and by what it saw itself."""

from __future__ import annotations

from typing import TypeAlias

from orchestrator.scheduler.rescuer import Observer

Look: TypeAlias = tuple[float, dict[int, int]]


def observed(looks: list[Look], lease: float = 30) -> list[dict[int, int]]:
    observer = Observer(lease)
    return [observer.silent(beats.items(), now) for now, beats in looks]


def every_two_seconds(
    until: int, beats: dict[int, int], start: int = 0
) -> list[tuple[float, dict[int, int]]]:
    return [(float(now), beats) for now in range(start, until + 1, 2)]


def test_a_beat_that_stands_still_for_a_lease_is_dead_and_not_a_moment_sooner() -> None:
    found = observed(every_two_seconds(30, {1: 7}))
    assert found[-2:] == [{}, {1: 7}]


def test_a_beat_that_moves_lives_on_whatever_the_wall_clock_says() -> None:
    looks: list[Look] = [(float(now), {1: now // 10, 2: 3}) for now in range(0, 90, 2)]
    found = observed(looks)
    assert all(1 not in silent for silent in found)
    assert found[15] == {2: 3}


def test_what_was_seen_before_the_observer_was_stopped_itself_does_not_count() -> None:
    looks = [*every_two_seconds(20, {1: 7}), *every_two_seconds(128, {1: 7}, start=100)]
    assert not any(observed(looks))
    assert observed([*looks, (130.0, {1: 7})])[-1] == {1: 7}


def test_a_row_that_is_gone_is_forgotten() -> None:
    looks = [*every_two_seconds(20, {1: 7}), (22.0, {}), *every_two_seconds(52, {1: 7}, start=24)]
    assert not any(observed(looks))
