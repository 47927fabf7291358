"""What people are shown of runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.client.surface import Surface
from orchestrator.store import dag_views, dags, loading, runs, tables, views
from orchestrator.store.artifacts import run_folder
from orchestrator.store.tables.services import LoadError

if TYPE_CHECKING:
    from orchestrator.runs.why import Reason


@dataclass(frozen=True)
class Views(Surface):
    """Reading runs; changes nothing but what a dead command left."""

    def list_runs(self, *, dag: str | None = None, limit: int = 20) -> list[tuple[tables.Run, str]]:
        """The newest runs, each with its DAG as people name it."""
        self._release()
        with self.database.read() as connection:
            found = runs.list_runs(connection, dag=dag, limit=limit)
        return [(run, dags.shown_as(owner)) for run, owner in found]

    def show_run(self, text: str) -> views.RunView:
        """A run with its stages, attempts and figures."""
        self._release()
        with self.database.read() as connection:
            return views.show_run(connection, runs.find_run(connection, text))

    def dag_of(self, text: str) -> str:
        """The id of a run's DAG; raises UsageError where there is no such run."""
        with self.database.read() as connection:
            return dags.get_dag(connection, runs.find_run(connection, text).dag).dag_id

    def list_dags(self) -> list[dag_views.DagView]:
        """The DAGs that the services have loaded, each with its newest run; also those that were removed."""
        self._release()
        with self.database.read() as connection:
            return dag_views.list_dags(connection)

    def show_dag(self, dag_id: str) -> dag_views.DagView:
        """A loaded DAG, also a removed one; raises UsageError where there is none of this id."""
        self._release()
        with self.database.read() as connection:
            return dag_views.find_dag(connection, dag_id)

    def load_errors(self) -> list[LoadError]:
        """The DAG files that the services could not load."""
        with self.database.read() as connection:
            return loading.load_errors(connection)

    def why(self, text: str, node: str | None = None) -> list[Reason]:
        """What keeps a run, or the stage of one node, in words with the remedy; empty where nothing waits.

        Raises UsageError where there is no such run or node.
        """
        from orchestrator.store import waiting  # the one verb that needs it

        self._release()
        with self.database.read() as connection:
            run = runs.find_run(connection, text)
            return waiting.why_waits(connection, run, node, now=self.clock.now())

    def rejects_folder(self, view: views.RunView) -> Path | None:
        """Where the rejects of a run lie that nobody routed, as JSON lines; None where there are none."""
        folder = run_folder(self.artifacts, view.run.uid) / "rejects"
        return folder if any(folder.glob("*.jsonl")) else None
