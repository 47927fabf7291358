"""Runs of the services on a real store: a worker's claims and finishes, a client's verbs, promotion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.client import Client
from orchestrator.dag.stages import StageGraph
from orchestrator.store import checks, dags, promotion, queue, steps
from orchestrator.store.tables import Attempt, Epoch, Run, StageRun, table_of
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
        self.client = Client(self.database, self.clock, Path("/nowhere"), actor="ada")

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
        """Make what waits run where there is room, as the scheduler's sweep does."""
        promotion.sweep(self.database)

    def waiting(self, stages: StageGraph) -> Run:
        """A run that stays queued: its DAG may have one at a time, and has that one."""
        self.load(stages, header={"max_active_runs": 1})
        self.client.trigger("people")
        return self.client.trigger("people").run

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
