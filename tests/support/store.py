"""A store on a real database with a clock that stands still, and a command that works on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from orchestrator.dag.stages import Branching, Stage, StageGraph
from orchestrator.runs.checkpoint import Decision, Token
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import (
    attempts,
    dags,
    lifecycle,
    processes,
    queue,
    runs,
    stage_runs,
    steps,
    workers,
)
from orchestrator.store.database import Database
from orchestrator.store.finishing import Finished
from orchestrator.store.sqlite import SqliteDatabase, open_sqlite
from orchestrator.store.tables import DagVersion, Run, StageRun
from orchestrator.store.verbs import held
from orchestrator.store.writers import LEASE

START = datetime(2026, 1, 1, tzinfo=UTC)
_hashes = count(1)


@dataclass
class ManualClock:
    """A clock that moves when it is told to."""

    instant: datetime = START
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.seconds

    def forward(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)
        self.seconds += seconds


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'home' / 'fustgo.db'}"


def graph(
    edges: Mapping[str, Iterable[str]],
    rules: Mapping[str, str] | None = None,
    branches: Mapping[str, Branching] | None = None,
    **settings: Any,
) -> StageGraph:
    """A stage graph from stage -> upstreams, in topological order; each stage holds one node of its name.

    `rules` are the trigger rules of those that have another than `all_success`, `branches` the kinds of those
    that choose.
    """
    up = {stage: tuple(above) for stage, above in edges.items()}
    down = {stage: tuple(other for other, above in up.items() if stage in above) for stage in up}
    stages = {stage: Stage(stage, (stage,), up[stage], down[stage], **settings) for stage in up}
    for stage, rule in (rules or {}).items():
        stages[stage] = replace(stages[stage], rule=rule)
    for stage, kind in (branches or {}).items():
        stages[stage] = replace(stages[stage], branch=kind)
    return StageGraph(stages, tuple(up))


def document(stages: StageGraph, **changes: Mapping[str, Any]) -> dict[str, Any]:
    """A definition with the nodes of a graph; `changes` are entries of single nodes."""
    nodes = [
        {"id": node, "type": "generate", "kind": "input", **changes.get(node, {})}
        for stage in stages
        for node in stage.nodes
    ]
    return {"format": 1, "id": "people", "nodes": nodes}


@dataclass
class Command:
    """A command that executes runs: a worker row of this process, or of one that is gone."""

    database: Database
    clock: ManualClock
    pid: int = 0
    started: str = ""
    worker: int = field(init=False)

    def __post_init__(self) -> None:
        if not self.pid:
            self.pid, self.started = processes.this_process()
        with self.database.transaction() as connection:
            self.worker = workers.register_worker(
                connection,
                host=processes.host(),
                pid=self.pid,
                start_time=self.started,
                kind="command",
                now=self.clock.now(),
            )

    def start(self, stages: StageGraph, *, params: Mapping[str, Any] | None = None, **values: Any) -> Run:
        """Create a run of a DAG with this graph."""
        now = self.clock.now()
        with self.database.transaction() as connection:
            dag = dags.ensure_dag(connection, space="/project", dag_id="people", now=now)
            version = dags.ensure_version(
                connection,
                dag,
                hash=f"hash{next(_hashes)}",
                document=document(stages),
                stages=stages.to_json(),
                now=now,
            )
            settings = {"held_by": self.worker, "state": RunState.RUNNING, "run_type": "manual"}
            return lifecycle.create_run(
                connection,
                dag=dag,
                version=version.id,
                interval=None,
                params=params or {},
                project="/project",
                file="people.py",
                now=now,
                **{**settings, "logical_date": now, **values},
            )

    def claim(self) -> queue.Claimed | None:
        return next(iter(steps.claim(self.database, worker=self.worker, held=True)), None)

    def must_claim(self, stage: str | None = None) -> queue.Claimed:
        claimed = self.claim()
        assert claimed is not None, "nothing was there to claim"
        assert stage is None or claimed.stage_run.stage == stage
        return claimed

    def epoch(self, attempt: int, number: int, *, final: bool = False, rows: int = 0) -> Decision:
        decision = Decision(
            number,
            final=final,
            positions={"in": number},
            counters={"in": {"rows": number}},
            tokens=(Token("out", number, f"part-{number}", 10, rows=rows),),
        )
        steps.decide(self.database, attempt, decision)
        return decision

    def whole_epoch(self, attempt: int, number: int, *, final: bool = False, rows: int = 0) -> None:
        self.epoch(attempt, number, final=final, rows=rows)
        steps.applied(self.database, attempt, number)

    def finish(self, attempt: int, outcome: Outcome = Outcome.SUCCESS, **values: Any) -> Finished:
        """Finish an attempt; raises AttemptLost where it bounced."""
        finished = steps.finish(self.database, {attempt: Report(outcome, **values)})[attempt]
        if finished is None:
            raise attempts.lost(attempt)
        return finished

    def run_to_end(self, outcomes: Mapping[str, Outcome] | None = None) -> list[str]:
        """Execute all that can be claimed; the stages in the order of their claims."""
        done = []
        while (claimed := self.claim()) is not None:
            done.append(claimed.stage_run.stage)
            self.finish(claimed.attempt, (outcomes or {}).get(claimed.stage_run.stage, Outcome.SUCCESS))
        return done

    def run(self, number: int) -> Run:
        with self.database.read() as connection:
            return runs.get(connection, number)

    def stages(self, number: int) -> dict[str, StageRun]:
        with self.database.read() as connection:
            return stage_runs.of_run(connection, number)

    def states(self, number: int) -> dict[str, str]:
        return {stage: str(row.state) for stage, row in self.stages(number).items()}


def gone_process() -> tuple[int, str]:
    """Pid and start time of a process that does not live any more: our own pid, begun at another time."""
    pid, started = processes.this_process()
    return pid, f"{started}0"


def open_store(folder: Path, clock: ManualClock | None = None) -> SqliteDatabase:
    """A store in a file below a folder."""
    return open_sqlite(url_of(folder), clock=clock or ManualClock(), create=True, lease=LEASE)


def resume(database: Database, run: Run, command: Command, **values: Any) -> Run:
    with database.transaction() as connection:
        return held.resume_held(connection, run, worker=command.worker, actor="ada", now=START, **values)


def clear(database: Database, run: Run, command: Command, **values: Any) -> Run:
    with database.transaction() as connection:
        return held.clear_held(connection, run, worker=command.worker, actor="ada", now=START, **values)


def version_of(database: Database, stages: StageGraph, **changes: Any) -> DagVersion:
    with database.transaction() as connection:
        dag = dags.ensure_dag(connection, space="/project", dag_id="people", now=START)
        return dags.ensure_version(
            connection,
            dag,
            hash=f"other{len(changes)}{sorted(stages.stages)}",
            document=document(stages, **changes),
            stages=stages.to_json(),
            now=START,
        )
