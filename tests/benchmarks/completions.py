"""No-op completions a second through the store's own functions, and what one hop costs.

Claimers claim in batches and finish in batches; every completion is a queue row, a claim, an end and their
events. Run as `python -m tests.benchmarks.completions [SECONDS]`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from sqlalchemy import text

from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.store import steps
from tests.benchmarks.stores import STORES, commit_time, opened, register, start_runs
from tests.support.store import graph

DONE = Report(Outcome.SUCCESS)
CHAIN = graph({f"s{n:03}": [f"s{n - 1:03}"] if n else [] for n in range(250)})
RUNS = 64  # of 250 tasks: more than any machine works off in the time


def claimer(url: str, batch: int, seconds: float, ready: Barrier, said: Any) -> None:
    """Claim and finish until the time or the work is over; says how many ended, how many transactions
    collided, the seconds of CPU, and whether nothing was left.
    """
    database = opened(url)
    worker = register(database)
    ready.wait()
    until, done = time.perf_counter() + seconds, 0
    began = time.process_time()
    while time.perf_counter() < until:
        claimed = steps.claim(database, worker=worker, limit=batch)
        finished = steps.finish(database, {one.attempt: DONE for one in claimed})
        done += sum(one is not None for one in finished.values())
    left = bool(steps.claim(database, worker=worker, limit=1))
    said.put((done, database.retried, time.process_time() - began, not left))
    database.close()


def throughput(url: str, claimers: int, batch: int, seconds: float) -> str:
    """A line: completions a second by so many processes."""
    database = opened(url)
    for kind in range(4):
        start_runs(database, CHAIN, RUNS // 4, name=f"chain{claimers}-{batch}-{kind}")
    with database.transaction() as connection:
        connection.execute(text("UPDATE pools SET slots = 100000"))
    context = multiprocessing.get_context("spawn")
    ready, said = context.Barrier(claimers), context.Queue()
    processes = [
        context.Process(target=claimer, args=(url, batch, seconds, ready, said)) for _ in range(claimers)
    ]
    for process in processes:
        process.start()
    found = [said.get() for _ in processes]
    for process in processes:
        process.join()
    commit = commit_time(database)
    database.close()
    done, collided, cpu, dry = (sum(numbers) for numbers in zip(*found, strict=True))
    assert not dry, "the work was over before the time: start more runs"
    return (
        f"  {claimers} claimers, batches of {batch}: {done / seconds:,.0f} completions/s, "
        f"{1000 * cpu / max(done, 1):.2f} ms CPU each in the claimers, "
        f"{collided} collisions; a commit {commit}"
    )


def hop(url: str) -> str:
    """A line: the CPU of one finish and the claim that follows, in one process."""
    database = opened(url)
    worker = register(database)
    start_runs(
        database, graph({f"h{n:03}": [f"h{n - 1:03}"] if n else [] for n in range(300)}), 1, name="hop"
    )
    claimed = steps.claim(database, worker=worker)
    cpu, wall = [], []
    while claimed:
        began, at = time.process_time(), time.perf_counter()
        steps.finish(database, {claimed[0].attempt: DONE})
        claimed = steps.claim(database, worker=worker)
        cpu.append(time.process_time() - began)
        wall.append(time.perf_counter() - at)
    commit = commit_time(database)
    database.close()
    middle = [1000 * sorted(times)[len(times) // 2] for times in (cpu, wall)]
    return f"  a hop (finish, claim): {middle[0]:.2f} ms CPU, {middle[1]:.2f} ms in all; a commit {commit}"


def main(seconds: float) -> None:
    """Measure and print."""
    for name, url_in in STORES.items():
        print(name)
        with tempfile.TemporaryDirectory(prefix="fustgo-bench-") as folder, contextlib.ExitStack() as stack:
            url = stack.enter_context(url_in(Path(folder)))
            print(hop(url), flush=True)
            for claimers, batch in ((1, 1), (1, 16), (4, 1), (4, 16)):
                print(throughput(url, claimers, batch, seconds), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
