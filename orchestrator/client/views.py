"""What people are shown of runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.client.surface import Surface
from orchestrator.store import dags, runs, tables, views
from orchestrator.store.artifacts import run_folder


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

    def rejects_folder(self, view: views.RunView) -> Path | None:
        """Where the rejects of a run lie that nobody routed, as JSON lines; None where there are none."""
        folder = run_folder(self.artifacts, view.run.uid) / "rejects"
        return folder if any(folder.glob("*.jsonl")) else None
