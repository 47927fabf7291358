"""Runs of the services on a real store: a worker's claims and finishes, a client's verbs, promotion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from orchestrator.client import Client
from orchestrator.dag.stages import StageGraph
from orchestrator.runs.states import RunState
from orchestrator.sdk.registry import Registry
from orchestrator.store import checks, dags, lifecycle, queue, runs, steps
from orchestrator.store.tables import Attempt, Epoch, Run, StageRun, table_of
from orchestrator.store.transitions import move_run
from tests.support.store import Command, document, graph

TABLES = {table_of(entity).name: table_of(entity) for entity in (Run, StageRun, Attempt, Epoch)}
APPEND = {"type": "sqlite", "kind": "output", "config": {"path": "people.db", "table": "people"}}


def staged(
    edges: Mapping[str, Iterable[str]], nodes: Mapping[str, tuple[str, ...]], **settings: Any
) -> StageGraph:
    """A graph of stages that hold these nodes; those that are not named hold one of their name."""
    plain = graph(edges, **settings)
    stages = {name: replace(plain[name], nodes=nodes.get(name, (name,))) for name in plain.stages}
    return StageGraph(stages, plain.critical_path)


@dataclass
class Service(Command):
    """A worker of the services, and the client of somebody who looks on."""

    client: Client = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.client = Client(self.database, Registry(), self.clock, Path("/nowhere"), actor="ada")

    def load(self, stages: StageGraph, dag_id: str = "people", **changes: Any) -> None:
        """Make a graph the newest version of a loaded DAG; `changes` are entries of its nodes."""
        header = changes.pop("header", {})
        now = self.clock.now()
        content = {**document(stages, **changes), **header, "id": dag_id}
        with self.database.transaction() as connection:
            dag = dags.ensure_dag(connection, space=dags.BUNDLE, dag_id=dag_id, now=now)
            dags.ensure_version(
                connection,
                dag,
                hash=f"{sorted(map(repr, stages))}{content}",
                document=content,
                stages=stages.to_json(),
                now=now,
            )

    def begin(self, stages: StageGraph, dag_id: str = "people", **changes: Any) -> Run:
        """A run of a loaded DAG, promoted."""
        self.load(stages, dag_id, **changes)
        run = self.client.trigger(dag_id).run
        self.promote()
        return self.run(run.number)

    def promote(self) -> None:
        """Make every queued run run, as the scheduler does where there is room."""
        with self.database.read() as connection:
            number, state = runs.runs.c.number, runs.runs.c.state
            queued = connection.execute(select(number).where(state == RunState.QUEUED)).scalars().all()
        for number in queued:
            with self.database.transaction() as connection:
                run = runs.lock(connection, number)
                if run.state == RunState.QUEUED:
                    now = self.clock.now()
                    move_run(connection, number, run.state, RunState.RUNNING, now=now, started_at=now)
                    lifecycle.settle(connection, runs.get(connection, number), now)

    def claim(self) -> queue.Claimed | None:
        return next(iter(steps.claim(self.database, worker=self.worker)), None)

    def rows(self) -> dict[str, dict[int, dict[str, Any]]]:
        """Every row of the tables of runs, by table and key."""
        with self.database.read() as connection:
            return {
                name: {
                    next(iter(row._mapping[column.name] for column in table.primary_key)): dict(row._mapping)
                    for row in connection.execute(table.select())
                }
                for name, table in TABLES.items()
            }

    def must_be_sound(self) -> None:
        """Nothing that `db check --runs` would mend."""
        with self.database.transaction() as connection:
            assert checks.check_runs(connection, self.clock.now()) == []
