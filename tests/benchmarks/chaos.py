"""200 mixed runs while workers, schedulers and runners are killed with -9 or stopped, on both databases.

On PostgreSQL one of the two workers is taken for one of another host, so that its death shows by its silence
alone: lease and beats are those of the settings' defaults. Run as `python -m tests.benchmarks.chaos`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.store.tables import Attempt
from tests.benchmarks.stores import STORES
from tests.support.mixed_chaos import Chaos, Plan
from tests.support.services_site import ServicesSite, services_site, stops_inside

AS_SHIPPED = {"FUSTGO_WORKER__LEASE": "30s", "FUSTGO_WORKER__HEARTBEAT_INTERVAL": "10s"}

STEPS = {
    "id": "steps",
    "nodes": [
        {"id": f"step{n}", "type": "bash", "kind": "action", "config": {"command": "true"}} for n in range(2)
    ],
}


def main() -> None:
    """Do it, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--blows", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=[*STORES], help="only this one")
    args = parser.parse_args()
    for name in [args.store] if args.store else STORES:
        plan = Plan(
            args.runs, args.blows, (0.5, 2.5), (5.0, 45.0), seed=args.seed, elsewhere=name != "SQLite"
        )
        with tempfile.TemporaryDirectory(prefix="fustgo-chaos-") as folder:
            print(f"{name}: {in_turmoil(name, Path(folder), plan)}", flush=True)
        with tempfile.TemporaryDirectory(prefix="fustgo-chaos-") as folder:
            print(f"  {held_up(name, Path(folder))}", flush=True)


def in_turmoil(store: str, folder: Path, plan: Plan) -> str:
    """What happened to these runs; an AssertionError tells what was wrong of them."""
    with as_shipped(store, folder) as place:
        told = Chaos(place, plan).run()
    assert told.wrong == [], f"{told}:\n" + "\n".join(told.wrong)
    return str(told)


def held_up(store: str, folder: Path) -> str:
    """How long others are held up by a worker that was stopped inside a transaction of the store."""
    mark = folder / "inside"
    with as_shipped(store, folder) as place:
        (place.project / "dags" / "steps.json").write_text(json.dumps(STEPS))
        place.serving(place.scheduler())
        stopped = place.service("worker", before=stops_inside(mark), slots=1)
        run = place.trigger("steps")
        place.until(mark.exists, "the transaction")
        other = place.service("worker", slots=1)
        place.until(lambda: place.get(run).state == "success", "the end", seconds=120)
        began = mark.stat().st_mtime
        claims = sorted(at - began for one in place.attempts(run) if (at := claimed(one)) > began)
        ended = "was killed" if stopped.process.poll() is not None else "lost its session"
        other.end()
    return (
        f"stopped inside a transaction: others claimed after {claims[0]:.1f} s, "
        f"its own stage ran again after {claims[-1]:.1f} s; it {ended}"
    )


def claimed(attempt: Attempt) -> float:
    """When it was claimed; 0 before it is."""
    return attempt.claimed_at.timestamp() if attempt.claimed_at else 0.0


@contextlib.contextmanager
def as_shipped(store: str, folder: Path) -> Iterator[ServicesSite]:
    """A site on this store with the settings' defaults."""
    with STORES[store](folder) as url:
        environ = dict(AS_SHIPPED) if store == "SQLite" else AS_SHIPPED | {"FUSTGO_DATABASE__URL": url}
        with services_site(folder, {}, environ) as place:
            yield place


if __name__ == "__main__":
    main()
