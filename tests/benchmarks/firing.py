"""Schedules on time, on both databases: from due to fired and claimed; and 20 DAGs at one-second intervals
for a minute while one of two schedulers is killed with -9 again and again.

Run as `python -m tests.benchmarks.firing`.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from orchestrator.store.tables import Attempt, Run, StageRun
from tests.benchmarks.stores import STORES
from tests.support.firing_chaos import NOT_PAUSED, FiringChaos, seconds_late, write_each_second
from tests.support.services_site import ServicesSite, services_site


def main() -> None:
    """Do it, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dags", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=[*STORES], help="only this one")
    args = parser.parse_args()
    for name in [args.store] if args.store else STORES:
        for dags in (1, 5):
            print(f"{name}, {dags} DAGs each second: {on_time(name, dags)}", flush=True)
        with site(name) as place:
            write_each_second(place, args.dags)
            told = FiringChaos(place, seconds=args.seconds, away=(0.5, 3), seed=args.seed).run()
        assert told.wrong == [], f"{told}:\n" + "\n".join(told.wrong)
        print(f"{name}, {args.dags} DAGs each second, schedulers killed: {told}", flush=True)


def on_time(store: str, dags: int, seconds: float = 10) -> str:
    """How long after they were due runs were created, and their first attempts claimed, while all live."""
    with site(store) as place:
        write_each_second(place, dags)
        place.serving(place.service("worker", slots=4))
        place.serving(place.scheduler())
        Event().wait(seconds)
        runs = {run.number: run for run in place.table(Run)}
        stages = {stage.id: stage.run for stage in place.table(StageRun)}
        created = [seconds_late(run) for run in runs.values()]
        claimed = [
            (attempt.claimed_at - due).total_seconds()
            for attempt in place.table(Attempt)
            if attempt.claimed_at and (due := runs[stages[attempt.stage_run]].due_at)
        ]
    return f"from due to created {_spread(created)}; to claimed {_spread(claimed)}"


@contextlib.contextmanager
def site(store: str) -> Iterator[ServicesSite]:
    """A site on a store that loses nothing in a power cut."""
    with tempfile.TemporaryDirectory(prefix="fustgo-firing-") as name:
        folder = Path(name)
        with STORES[store](folder) as url:
            environ = dict(NOT_PAUSED) if store == "SQLite" else {**NOT_PAUSED, "FUSTGO_DATABASE__URL": url}
            with services_site(folder, {}, environ) as place:
                yield place


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    middle, most = ordered[len(ordered) // 2], ordered[len(ordered) * 19 // 20]
    return f"{1000 * middle:.0f} ms (95 %: {1000 * most:.0f}, worst {1000 * ordered[-1]:.0f})"


if __name__ == "__main__":
    main()
