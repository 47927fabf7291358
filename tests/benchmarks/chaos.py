"""200 mixed runs while workers, schedulers and runners are killed with -9, on SQLite and on PostgreSQL.

On PostgreSQL one of the two workers is taken for one of another host, so that its death shows by its silence
alone: lease and beats are those of the settings' defaults. Run as `python -m tests.benchmarks.chaos`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks.stores import STORES
from tests.support.mixed_chaos import Chaos, Plan
from tests.support.services_site import services_site

AS_SHIPPED = {"FUSTGO_WORKER__LEASE": "30s", "FUSTGO_WORKER__HEARTBEAT_INTERVAL": "10s"}


def main() -> None:
    """Do it, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--blows", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=[*STORES], help="only this one")
    args = parser.parse_args()
    for name in [args.store] if args.store else STORES:
        plan = Plan(args.runs, args.blows, (0.5, 2.5), seed=args.seed, elsewhere=name != "SQLite")
        with tempfile.TemporaryDirectory(prefix="fustgo-chaos-") as folder:
            print(f"{name}: {in_turmoil(name, Path(folder), plan)}", flush=True)


def in_turmoil(store: str, folder: Path, plan: Plan) -> str:
    """What happened to these runs; an AssertionError tells what was wrong of them."""
    with STORES[store](folder) as url:
        environ = dict(AS_SHIPPED) if store == "SQLite" else AS_SHIPPED | {"FUSTGO_DATABASE__URL": url}
        with services_site(folder, {}, environ) as place:
            told = Chaos(place, plan).run()
    assert told.wrong == [], f"{told}:\n" + "\n".join(told.wrong)
    return str(told)


if __name__ == "__main__":
    main()
