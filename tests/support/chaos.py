"""Claimers that are killed at random while they work off random DAGs, and what must be true afterwards.

What becomes of an attempt is drawn from its stage and its number of tries, so that the end of every stage can
be computed from the graph alone: a killed process changes when things happen, never what happens.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from zlib import crc32

from orchestrator.clock import SystemClock
from orchestrator.dag.arguments import TRIGGER_RULES
from orchestrator.dag.stages import Stage, StageGraph
from orchestrator.runs import retry
from orchestrator.runs.advance import result
from orchestrator.runs.report import Report
from orchestrator.runs.states import STAGE_ENDS, Outcome, RunState, StageState
from orchestrator.runs.trigger_rules import Counts, Verdict, judge
from orchestrator.store import dags, lifecycle, promotion, rescue, runs, stage_runs, steps, workers
from orchestrator.store.database import Database, open_database
from orchestrator.store.pools import set_pool
from orchestrator.store.processes import host, start_time, this_process
from tests.support.commands import _server as server
from tests.support.store import document


def claim_for_ever(url: str, limit: int) -> None:
    """What a claimer does until it is killed."""
    store = open_database(url, clock=SystemClock())
    pid, started = this_process()
    with store.transaction() as connection:
        now, kind = store.clock.now(), "worker"
        values = {"host": host(), "pid": pid, "start_time": started, "kind": kind}
        worker = workers.register_worker(connection, **values, now=now)  # type: ignore[arg-type]
    while True:
        claimed = steps.claim(store, worker=worker, limit=limit)
        done = {
            one.attempt: outcome(one.run.number, one.stage_run.stage, one.stage_run.tries) for one in claimed
        }
        steps.finish(store, {attempt: Report(ended) for attempt, ended in done.items()})


def outcome(run: int, stage: str, tries: int) -> Outcome:
    """How the try of a stage ends, always the same: one in six fails."""
    return Outcome.FAILED if crc32(f"{run}/{stage}/{tries}".encode()) % 6 == 0 else Outcome.SUCCESS


def random_graph(chance: random.Random, fewest: int, most: int) -> StageGraph:
    """A DAG of random shape, rules and retries."""
    names = [f"s{number:03}" for number in range(chance.randint(fewest, most))]
    above = {
        name: tuple(sorted(chance.sample(names[:index], min(index, chance.choice((0, 1, 1, 2, 3))))))
        for index, name in enumerate(names)
    }
    below: dict[str, list[str]] = {name: [] for name in names}
    for name, ups in above.items():
        for up in ups:
            below[up].append(name)
    plain = Stage("", ("",), retry_delay=0.0)
    return StageGraph(
        {
            name: replace(
                plain,
                id=name,
                nodes=(name,),
                up=above[name],
                down=tuple(below[name]),
                rule=chance.choice(("all_success", "all_success", *TRIGGER_RULES)),
                retries=chance.choice((0, 0, 1, 2)),
                pool=chance.choice(("default", "default", "narrow")),
            )
            for name in names
        }
    )


def expected(run: int, graph: StageGraph) -> dict[str, StageState]:
    """The end of each stage, from the graph and the outcomes."""
    ends: dict[str, StageState] = {}
    given = {Verdict.SKIP: StageState.SKIPPED, Verdict.UPSTREAM_FAILED: StageState.UPSTREAM_FAILED}
    for stage in graph:
        verdict = judge(stage.rule, Counts.of(ends[up] for up in stage.up))
        tried = (outcome(run, stage.id, tries) for tries in range(stage.retries + 1))
        works = StageState.SUCCESS if Outcome.SUCCESS in tried else StageState.FAILED
        ends[stage.id] = works if verdict == Verdict.RUN else given[verdict]
    return ends


@dataclass(frozen=True)
class Chaos:
    """What happened: how many stages ended, how often a claimer was killed, what went wrong."""

    stages: int
    kills: int
    wrong: tuple[str, ...]
    stuck: tuple[int, ...]
    collisions: int


def run_chaos(
    url: str, *, count: int, fewest: int, most: int, claimers: int = 3, seed: int = 1, seconds: float = 300
) -> Chaos:
    """Work off random DAGs while claimers are killed at random, and compare all ends."""
    chance = random.Random(seed)
    database = open_database(url, clock=SystemClock())
    graphs = _start(database, [random_graph(chance, fewest, most) for _ in range(count)])
    alive: list[ForkServerProcess] = []
    kills = 0
    until = time.monotonic() + seconds
    pause = threading.Event()
    with _all_killed(alive), _no_end_of_losses():
        while _unended(database) and time.monotonic() < until:
            while len(alive) < claimers:
                alive.append(server.Process(target=claim_for_ever, args=(url, chance.choice((1, 4, 16)))))
                alive[-1].start()
            pause.wait(chance.uniform(0.3, 1.5))
            victim = alive.pop(chance.randrange(len(alive)))
            victim.kill()
            victim.join()
            kills += 1
            _rescue(database)
            promotion.sweep(database)
    return _judged(database, graphs, kills)


@contextlib.contextmanager
def _no_end_of_losses() -> Iterator[None]:
    """A stage that is killed often by chance is not taken for the cause."""
    kept = retry.MAX_LOSSES
    retry.MAX_LOSSES = 1_000_000
    try:
        yield
    finally:
        retry.MAX_LOSSES = kept


@contextlib.contextmanager
def _all_killed(processes: list[ForkServerProcess]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _start(database: Database, graphs: list[StageGraph]) -> Mapping[int, StageGraph]:
    started = {}
    now = database.clock.now()
    with database.transaction() as connection:
        set_pool(connection, "narrow", 3)
        for number, graph in enumerate(graphs):
            dag = dags.ensure_dag(connection, space="bundle", dag_id=f"chaos{number % 7}", now=now)
            version = dags.ensure_version(
                connection,
                dag,
                hash=f"chaos{number}",
                document=document(graph),
                stages=graph.to_json(),
                now=now,
            )
            run = lifecycle.create_run(
                connection,
                dag=dags.get_dag(connection, dag.id),
                version=version.id,
                run_type="manual",
                logical_date=now,
                interval=None,
                params={},
                held_by=None,
                state=RunState.QUEUED,
                project="",
                file=None,
                run_id=f"chaos{number}",
                now=now,
            )
            started[run.number] = graph
    promotion.sweep(database)
    return started


def _unended(database: Database) -> bool:
    with database.read() as connection:
        return any(True for _ in runs.unended(connection))


def _rescue(database: Database) -> None:
    """Give away what dead workers ran."""
    with database.read() as connection:
        dead = [
            worker
            for worker in rescue.watched(connection)
            if worker.host == host() and start_time(worker.pid) != worker.start_time
        ]
    for worker in dead:
        rescue.lose(database, worker.id, worker.beat)


def _judged(database: Database, graphs: Mapping[int, StageGraph], kills: int) -> Chaos:
    wrong, stuck, ended = [], [], 0
    with database.read() as connection:
        for number, graph in graphs.items():
            run, rows = runs.get(connection, number), stage_runs.of_run(connection, number)
            states = {stage: row.state for stage, row in rows.items()}
            ended += sum(state in STAGE_ENDS for state in states.values())
            if not set(states.values()) <= STAGE_ENDS or run.state not in (RunState.SUCCESS, RunState.FAILED):
                stuck.append(number)
                continue
            right = expected(number, graph)
            wrong += [
                f"run {number}: {s} is {states[s]}, not {right[s]}" for s in right if states[s] != right[s]
            ]
            if run.state != result(graph, right):
                wrong.append(f"run {number} is {run.state}")
    collisions = database.retried
    database.close()
    return Chaos(ended, kills, tuple(wrong), tuple(stuck), collisions)
