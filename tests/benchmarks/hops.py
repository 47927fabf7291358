"""What a hop costs: an action ends, the next one is queued, claimed, handed to a runner, and begins.

A real worker on a SQLite home, runs created through the store; the events table proves that every hop was
queued, claimed and ended on its own. A disk's fsync time stands beside: a hop is two commits.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any

from sqlalchemy import func, select

from orchestrator.store.tables import Event as EventRow
from orchestrator.store.tables import table_of
from tests.benchmarks.processes import fsync_milliseconds
from tests.support.site import Site, site

events = table_of(EventRow)


def action(node: str, after: Sequence[str] = (), function: str = "noop") -> dict[str, Any]:
    """The entry of an action."""
    config = {"function": f"tests.benchmarks.noop:{function}"}
    made = {"id": node, "type": "python", "kind": "action", "config": config}
    return made | ({"after": list(after)} if after else {})


def chain(name: str, length: int) -> dict[str, Any]:
    """One after the other."""
    nodes = [action(f"a{n}", [f"a{n - 1}"] if n else []) for n in range(length)]
    return {"id": name, "nodes": nodes, "max_active_tasks": 64, "max_active_runs": 64}


def fan(name: str, width: int) -> dict[str, Any]:
    """One, then many, then one."""
    middle = [f"m{n}" for n in range(width)]
    nodes = [action("first"), *(action(node, ["first"]) for node in middle), action("last", middle)]
    return {"id": name, "nodes": nodes, "max_active_tasks": 64}


def seconds(place: Site, stored: tuple[int, int], runs: int, stages: int) -> float:
    """From the creation of the first run to the end of the last; asserts that every stage made its way."""
    began = perf_counter()
    numbers = [place.start(stored) for _ in range(runs)]
    for number in numbers:
        assert place.wait(number).state == "success"
    took = perf_counter() - began
    moves = ("queued", "running", "success")
    for number in numbers:
        query = select(func.count()).where(events.c.run == number, events.c.kind == "stage")
        with place.database.read() as connection:
            for move in moves:
                found = connection.execute(query.where(events.c.new == move)).scalar()
                assert found == stages, f"run {number}: {found} of {stages} stages became {move}"
    return took


def best_of(times: int, measure: Callable[[], float]) -> str:
    """The median and the best, after one that warms up."""
    measure()
    taken = [measure() for _ in range(times)]
    return f"{statistics.median(taken):.3f} s (best {min(taken):.3f})"


def latencies(place: Site, trials: int, apart: float) -> list[float]:
    """Milliseconds from a run's creation to the first line of its action."""
    stored = place.dag({"id": "clock", "nodes": [action("tell", function="tells_the_time")]})
    found = []
    for _ in range(trials):
        number = place.start(stored)
        run = place.wait(number)
        found.append((place.stages(number)["tell"].result["tell"] - run.created_at.timestamp()) * 1000)
        Event().wait(apart)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100, help="of the latency, a second apart")
    parser.add_argument("--slots", type=int, default=4)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fustgo-bench-") as name, site(Path(name)) as place:
        worker = place.worker(slots=args.slots)
        print(f"fsync {fsync_milliseconds(Path(name)):.2f} ms; {args.slots} slots")
        hundred, wide = place.dag(chain("hundred", 100)), place.dag(fan("wide", 100))
        five = place.dag(chain("five", 5))
        found = best_of(5, lambda: seconds(place, hundred, 1, 100))
        print(f"  100 dependent no-op actions: {found}, to stay under 0.5 s")
        print(f"  1 -> 100 -> 1: {best_of(5, lambda: seconds(place, wide, 1, 102))}, to stay under 0.6 s")
        print(f"  20 runs of 5 at once: {best_of(5, lambda: seconds(place, five, 20, 5))}, under 1 s")
        waited = sorted(latencies(place, args.trials, 1.0))
        print(
            f"  trigger to first user code, {args.trials} trials: median {statistics.median(waited):.1f} ms, "
            f"p95 {waited[int(len(waited) * 0.95)]:.1f} ms; to stay under 30 ms"
        )
        worker.end()


if __name__ == "__main__":
    main()
