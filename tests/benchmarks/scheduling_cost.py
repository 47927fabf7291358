"""What scheduling a task costs in a DAG of ten thousand tasks and in one of a hundred: CPU per finished task.

Three shapes: ten tasks side by side, layer after layer; one, then all, then one; and a chain. No-op tasks,
claimed and finished in batches, one process. Run as `python -m tests.benchmarks.scheduling_cost [TASKS]`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from orchestrator.dag.stages import Stage, StageGraph
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import runs, steps
from orchestrator.store.database import Database
from tests.benchmarks.stores import commit_time, opened, register, sqlite_url, start_runs

DONE = Report(Outcome.SUCCESS)
SMALL = 100


def layers(tasks: int) -> dict[str, list[str]]:
    """Layers of ten, each task after two of the layer before."""
    names = [f"t{number:05}" for number in range(tasks)]
    return {
        name: [names[index - 10], names[index - index % 10 - 10 + (index + 1) % 10]] if index >= 10 else []
        for index, name in enumerate(names)
    }


def fan(tasks: int) -> dict[str, list[str]]:
    """One task, then all others, then one."""
    middle = [f"t{number:05}" for number in range(tasks - 2)]
    return {"first": [], **{name: ["first"] for name in middle}, "last": middle}


def chain(tasks: int) -> dict[str, list[str]]:
    """One task after the other."""
    names = [f"t{number:05}" for number in range(tasks)]
    return {name: names[index - 1 : index] if index else [] for index, name in enumerate(names)}


SHAPES = {"layers": layers, "fan": fan, "chain": chain}


def graph_of(above: Mapping[str, Sequence[str]]) -> StageGraph:
    """A stage graph from stage -> upstreams."""
    below: dict[str, list[str]] = {stage: [] for stage in above}
    for stage, ups in above.items():
        for up in ups:
            below[up].append(stage)
    return StageGraph({s: Stage(s, (s,), tuple(above[s]), tuple(below[s])) for s in above})


@dataclass(frozen=True)
class Cost:
    """Milliseconds of CPU per task: to create its run, and from its claim to its end."""

    create: float
    finish: float

    def __str__(self) -> str:
        return f"create {self.create:.3f} ms, finish {self.finish:.3f} ms"


def cost(database: Database, worker: int, shape: str, tasks: int, count: int, batch: int) -> Cost:
    """The cost in `count` runs, one after the other, of a DAG of that shape."""
    stages = graph_of(SHAPES[shape](tasks))
    start_runs(database, graph_of({"warm": []}), 1, name=f"warm{shape}{tasks}{batch}")
    work_off(database, worker, batch)
    created = worked = 0.0
    for number in range(count):
        began = time.process_time()
        (run,) = start_runs(database, stages, 1, name=f"{shape}{tasks}-{batch}-{number}")
        created += time.process_time() - began
        began = time.process_time()
        work_off(database, worker, batch)
        worked += time.process_time() - began
        with database.read() as connection:
            assert runs.get(connection, run).state == RunState.SUCCESS
    return Cost(*(1000 * seconds / (tasks * count) for seconds in (created, worked)))


def work_off(database: Database, worker: int, batch: int) -> None:
    """Claim and finish until nothing is left."""
    while claimed := steps.claim(database, worker=worker, limit=batch):
        steps.finish(database, {one.attempt: DONE for one in claimed})


def main(large: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="fustgo-bench-") as folder, sqlite_url(Path(folder)) as url:
        database = opened(url)
        worker = register(database)
        with database.transaction() as connection:
            connection.execute(text("UPDATE pools SET slots = 1000000"))
        print(f"CPU per task, DAGs of {SMALL} and {large:,} tasks; a commit {commit_time(database)}")
        for shape in SHAPES:
            for batch in (16, 1):
                small = cost(database, worker, shape, SMALL, 10, batch)
                big = cost(database, worker, shape, large if batch > 1 else large // 5, 1, batch)
                ratio = (
                    f"ratio create {big.create / small.create:.2f}, finish {big.finish / small.finish:.2f}"
                )
                print(f"  {shape}, batches of {batch}: {small}; {big}; {ratio}", flush=True)
        database.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
